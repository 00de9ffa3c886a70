//! One log: a queue with a bound, and the thread that writes.
//!
//! ```text
//!  tasks, threads ── push (never waits) ──► queue ──► thread of the log ──► destination
//!                        └─ full: counted as lost       └─ fails: tried again every second, lines wait in the queue
//! ```
//!
//! Lines are written in the order in which they were pushed. What was pushed before a reopening is in the file that was
//! open before it.

use super::destination::Destination;
use crate::lock::locked;
use crate::notices::{Severity, notice};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often a destination that fails is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often lost lines are told while they go on being lost.
const TELL: Duration = Duration::from_secs(60);

/// What may wait for a destination: lines, and their octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) lines: usize,
    pub(super) octets: usize,
}

/// How a log is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Its path.
    pub(crate) name: String,
    /// Lines in the file.
    pub(crate) written: u64,
    /// Lines that wait.
    pub(crate) waiting: u64,
    /// Lines that nobody will see.
    pub(crate) lost: u64,
    /// Why lines wait: what the destination said last.
    pub(crate) trouble: Option<String>,
}

/// Makes the line that says how many were lost.
pub(super) type SaysLost = fn(u64) -> String;

/// A log that is being written.
pub(super) struct Output {
    name: String,
    bound: Bound,
    mode: AtomicU32,
    queue: Mutex<Queue>,
    wake: Condvar,
    written: AtomicU64,
    lost: AtomicU64,
    /// Of those, how many have been told.
    told: AtomicU64,
    /// What a line says that tells of lost ones, in a log that can say so itself.
    says_lost: Mutex<Option<SaysLost>>,
    /// Told when the thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    octets: usize,
    /// Lines that the thread has taken and not written yet, and their octets.
    in_hand: (usize, usize),
    reopen: Vec<oneshot::Sender<io::Result<()>>>,
    trouble: Option<String>,
    closing: bool,
    ended: bool,
}

impl Output {
    /// Starts the thread.
    pub(super) fn start(
        name: &str,
        bound: Bound,
        mode: u32,
        destination: Box<dyn Destination>,
    ) -> io::Result<Arc<Self>> {
        let output = Arc::new(Self {
            name: name.to_owned(),
            bound,
            mode: AtomicU32::new(mode),
            queue: Mutex::default(),
            wake: Condvar::new(),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            told: AtomicU64::new(0),
            says_lost: Mutex::default(),
            ended: Condvar::new(),
        });
        let run = Arc::clone(&output);
        std::thread::Builder::new().name("log".into()).spawn(move || run.run(destination))?;
        Ok(output)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes a line without its end. Never waits: a line that finds no room is lost, and counted.
    pub(super) fn push(&self, line: impl Into<Vec<u8>>) {
        let mut line = line.into();
        line.push(b'\n');
        let mut queue = locked(&self.queue);
        let lines = queue.lines.len() + queue.in_hand.0;
        let octets = queue.octets + queue.in_hand.1 + line.len();
        if queue.closing || lines >= self.bound.lines || octets > self.bound.octets {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.octets += line.len();
        let first = queue.lines.is_empty();
        queue.lines.push_back(line);
        drop(queue);
        if first {
            self.wake.notify_one();
        }
    }

    /// Has the file closed and opened again, after everything that was pushed before. The answer comes when it is done.
    pub(super) fn reopen(&self) -> oneshot::Receiver<io::Result<()>> {
        let (done, told) = oneshot::channel();
        let mut queue = locked(&self.queue);
        if !queue.ended {
            queue.reopen.push(done);
        }
        drop(queue);
        self.wake.notify_one();
        told
    }

    /// The mode of files that are made from now on.
    pub(super) fn set_mode(&self, mode: u32) {
        self.mode.store(mode, Ordering::Relaxed);
    }

    /// How it says itself that lines were lost.
    pub(super) fn set_says_lost(&self, says: Option<SaysLost>) {
        *locked(&self.says_lost) = says;
    }

    /// Lines that were lost and nobody has been told of; they are told now.
    pub(super) fn untold(&self) -> u64 {
        let lost = self.lost.load(Ordering::Relaxed);
        lost - self.told.swap(lost, Ordering::Relaxed).min(lost)
    }

    /// No more lines come: those that wait are written if they can be, and the thread ends.
    pub(super) fn close(&self) {
        locked(&self.queue).closing = true;
        self.wake.notify_one();
    }

    /// Waits for the thread to end; `false` when it has not until then. What it could not write is lost.
    pub(super) fn wait_closed(&self, until: Instant) -> bool {
        let mut queue = locked(&self.queue);
        while !queue.ended {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return false };
            queue = self.ended.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(super) fn figures(&self) -> Figures {
        let queue = locked(&self.queue);
        Figures {
            name: self.name.clone(),
            written: self.written.load(Ordering::Relaxed),
            waiting: (queue.lines.len() + queue.in_hand.0) as u64,
            lost: self.lost.load(Ordering::Relaxed),
            trouble: queue.trouble.clone(),
        }
    }

    fn run(&self, mut destination: Box<dyn Destination>) {
        let mut lines = VecDeque::new();
        let mut losses = Losses { said: 0, at: None };
        let mut failing = false;
        loop {
            let (reopen, closing) = self.take(&mut lines, failing);
            let outcome = destination.append(&mut lines);
            self.settle(&mut lines, outcome.as_ref().err());
            for done in reopen {
                // Lines that the old file did not take go to the new one.
                let opened = destination.reopen(self.mode.load(Ordering::Relaxed));
                // Nobody may be waiting for the answer.
                let _gone = done.send(opened);
            }
            match &outcome {
                Err(error) if !failing => notice(
                    Severity::Critical,
                    format_args!(
                        "log {} cannot be written: {error}; mail goes on, {} lines wait at most, more are lost",
                        self.name, self.bound.lines
                    ),
                ),
                Ok(()) if failing => {
                    notice(Severity::Notice, format_args!("log {} is written again", self.name));
                }
                Ok(()) | Err(_) => {}
            }
            failing = outcome.is_err();
            self.tell_losses(&mut losses, &mut lines, failing);
            if closing && (failing || lines.is_empty() && locked(&self.queue).lines.is_empty()) {
                break;
            }
        }
        let left = (lines.len() + locked(&self.queue).lines.len()) as u64;
        if left > 0 {
            self.lost.fetch_add(left, Ordering::Relaxed);
            self.told.fetch_add(left, Ordering::Relaxed);
            // Not under the lock: the line may be for this very log.
            notice(Severity::Critical, format_args!("log {}: the last {left} lines are lost", self.name));
        }
        let mut queue = locked(&self.queue);
        (queue.lines, queue.octets, queue.in_hand) = (VecDeque::new(), 0, (0, 0));
        queue.reopen.clear();
        queue.ended = true;
        self.ended.notify_all();
    }

    /// Waits for work, and takes it: lines behind those that are at hand, and who wants the file reopened.
    fn take(
        &self,
        lines: &mut VecDeque<Vec<u8>>,
        failing: bool,
    ) -> (Vec<oneshot::Sender<io::Result<()>>>, bool) {
        let again = failing.then(|| Instant::now() + RETRY);
        let mut queue = locked(&self.queue);
        while queue.reopen.is_empty() && !queue.closing {
            match again {
                // New lines do not make a full disk work.
                Some(again) => {
                    let Some(left) = again.checked_duration_since(Instant::now()) else { break };
                    let waited = self.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner);
                    queue = waited.0;
                }
                None if !queue.lines.is_empty() || !lines.is_empty() => break,
                None => queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
        lines.append(&mut queue.lines);
        queue.in_hand = (lines.len(), queue.in_hand.1 + queue.octets);
        queue.octets = 0;
        (std::mem::take(&mut queue.reopen), queue.closing)
    }

    /// Books what was written.
    fn settle(&self, lines: &mut VecDeque<Vec<u8>>, error: Option<&io::Error>) {
        let left = (lines.len(), lines.iter().map(Vec::len).sum());
        let mut queue = locked(&self.queue);
        let written = queue.in_hand.0.saturating_sub(left.0);
        queue.in_hand = left;
        queue.trouble = error.map(ToString::to_string);
        self.written.fetch_add(written as u64, Ordering::Relaxed);
    }

    /// Tells that lines were lost: in the log itself where it can say so, and to whoever reads notices.
    fn tell_losses(&self, losses: &mut Losses, lines: &mut VecDeque<Vec<u8>>, failing: bool) {
        let lost = self.lost.load(Ordering::Relaxed);
        let says = *locked(&self.says_lost);
        if let Some(says) = says.filter(|_| !failing && lost > losses.said) {
            let mut line = says(lost - losses.said).into_bytes();
            line.push(b'\n');
            let mut queue = locked(&self.queue);
            queue.in_hand = (queue.in_hand.0 + 1, queue.in_hand.1 + line.len());
            lines.push_back(line);
        }
        if !failing {
            // A log that cannot say it has no such line to make up for.
            losses.said = lost;
        }
        let recently = losses.at.is_some_and(|at| at.elapsed() < TELL);
        if lost == self.told.load(Ordering::Relaxed) || (failing && recently) {
            return;
        }
        let more = self.untold();
        losses.at = Some(Instant::now());
        notice(
            Severity::Error,
            format_args!("log {}: {more} lines are lost, because its destination is full or slow", self.name),
        );
    }
}

/// Lost lines that the log has said itself, and when notices were told last.
struct Losses {
    said: u64,
    at: Option<Instant>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A disk that does as it is told: takes so many lines, then fails until it is told again.
    struct Disk {
        room: Arc<Mutex<usize>>,
        taken: mpsc::Sender<String>,
    }

    impl Destination for Disk {
        fn append(&mut self, lines: &mut VecDeque<Vec<u8>>) -> io::Result<()> {
            while !lines.is_empty() {
                let mut room = locked(&self.room);
                *room = room.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
                // The test may have seen enough.
                let _seen =
                    self.taken.send(String::from_utf8(lines.pop_front().unwrap_or_default()).unwrap());
            }
            Ok(())
        }

        fn reopen(&mut self, _mode: u32) -> io::Result<()> {
            let _seen = self.taken.send(String::from("reopened"));
            Ok(())
        }
    }

    fn output(lines: usize, room: usize) -> (Arc<Output>, Arc<Mutex<usize>>, mpsc::Receiver<String>) {
        let (taken, seen) = mpsc::channel();
        let room = Arc::new(Mutex::new(room));
        let disk = Box::new(Disk { room: Arc::clone(&room), taken });
        let output = Output::start("a log", Bound { lines, octets: 1000 }, 0o644, disk).unwrap();
        output.set_says_lost(Some(|lost| format!("{lost} lost")));
        (output, room, seen)
    }

    fn next(seen: &mpsc::Receiver<String>) -> String {
        seen.recv_timeout(PATIENCE).unwrap()
    }

    fn wait_for(output: &Output, what: &str, condition: impl Fn(&Figures) -> bool) -> Figures {
        let started = Instant::now();
        loop {
            let figures = output.figures();
            if condition(&figures) {
                return figures;
            }
            assert!(started.elapsed() < PATIENCE, "{what}: {figures:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn lines_come_in_their_order_and_a_reopening_among_them() {
        let (output, _, seen) = output(100, 100);
        output.push("1");
        let told = output.reopen();
        told.blocking_recv().unwrap().unwrap();
        output.push("2");
        assert_eq!([next(&seen), next(&seen), next(&seen)], ["1\n", "reopened", "2\n"]);
        wait_for(&output, "both are booked", |figures| figures.written == 2);
        output.close();
        assert!(output.wait_closed(Instant::now() + PATIENCE));
        output.push("late");
        assert_eq!((output.figures().lost, output.untold(), output.untold()), (1, 1, 0));
    }

    #[test]
    fn a_full_disk_keeps_lines_to_the_bound_and_what_is_lost_is_counted_and_told() {
        let (output, room, seen) = output(4, 1);
        for number in 0..2 {
            output.push(number.to_string());
        }
        assert_eq!(next(&seen), "0\n");
        wait_for(&output, "the disk is full", |figures| figures.trouble.is_some());
        for number in 2..8 {
            output.push(number.to_string());
        }
        let figures = wait_for(&output, "four wait", |figures| figures.waiting == 4);
        assert_eq!((figures.written, figures.lost), (1, 3));
        *locked(&room) = 100;
        let rest: Vec<String> = (0..5).map(|_| next(&seen)).collect();
        assert_eq!(rest, ["1\n", "2\n", "3\n", "4\n", "3 lost\n"]);
        let figures = wait_for(&output, "all is written", |figures| figures.waiting == 0);
        assert_eq!((figures.written, figures.lost, figures.trouble), (6, 3, None));
        output.close();
        assert!(output.wait_closed(Instant::now() + PATIENCE));
    }

    #[test]
    fn how_losses_are_said_changes_with_the_form_of_the_lines() {
        let (output, room, seen) = output(1, 0);
        let lose = |output: &Output, room: &Mutex<usize>| {
            *locked(room) = 0;
            output.push("kept");
            wait_for(output, "the disk is full", |figures| figures.trouble.is_some());
            output.push("lost");
            *locked(room) = 100;
        };
        lose(&output, &room);
        assert_eq!([next(&seen), next(&seen)], ["kept\n", "1 lost\n"]);
        wait_for(&output, "all is written", |figures| figures.waiting == 0);
        output.set_says_lost(None);
        lose(&output, &room);
        assert_eq!(next(&seen), "kept\n");
        wait_for(&output, "all is written", |figures| figures.waiting == 0 && figures.trouble.is_none());
        // Losses are told behind the lines: once another is written, that has been done.
        output.push("more");
        assert_eq!(next(&seen), "more\n");
        wait_for(&output, "there is room", |figures| figures.waiting == 0);
        output.set_says_lost(Some(|lost| format!("{lost} gone")));
        lose(&output, &room);
        assert_eq!([next(&seen), next(&seen)], ["kept\n", "1 gone\n"]);
    }

    #[test]
    fn octets_have_a_bound_too_and_the_end_counts_what_it_leaves() {
        let (output, _, _seen) = output(100, 0);
        output.push("x".repeat(600));
        output.push("y".repeat(600));
        assert_eq!(output.figures().lost, 1);
        wait_for(&output, "the disk is full", |figures| figures.trouble.is_some());
        output.close();
        assert!(output.wait_closed(Instant::now() + PATIENCE));
        let figures = output.figures();
        assert_eq!((figures.waiting, figures.lost, figures.written), (0, 2, 0));
        // Nobody waits for ever for a log that is closed.
        assert!(output.reopen().blocking_recv().is_err());
    }
}
