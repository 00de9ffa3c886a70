//! One attempt to connect at a time.
//!
//! A daemon that stands still holds whoever calls it, for as long as it does. So connecting is the work of a thread that
//! can be left behind. While it hangs no other one is started for the same group, and when it gets through after all,
//! nobody waits for what it has made: that is undone.

use super::{OPEN_PATIENCE, OpenError};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{io, thread};

/// Attempts under way, by group, and when they began.
static UNDER_WAY: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());

fn under_way() -> MutexGuard<'static, BTreeMap<String, Instant>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the entry of an attempt, however the attempt ends.
struct Entry(String);

impl Drop for Entry {
    fn drop(&mut self) {
        under_way().remove(&self.0);
    }
}

/// Whether somebody still waits for the attempt.
#[derive(Clone, Default)]
pub(super) struct Awaited(Arc<AtomicBool>);

impl Awaited {
    /// `false`: whatever is done now will have to be undone.
    pub(super) fn holds(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }

    fn ends(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// How an attempt is made, and what follows it on the same thread.
pub(super) trait Connect: Send + 'static {
    type Made: Clone + Send;

    fn connect(&self, awaited: &Awaited) -> Result<Self::Made, OpenError>;

    /// Somebody has it.
    fn serve(&self, made: &Self::Made);

    /// It came too late.
    fn undo(&self, made: &Self::Made);
}

/// Connects on a thread of its own and waits for it, for [`OPEN_PATIENCE`] at most.
pub(super) fn attempt<C: Connect>(
    group: &str,
    thread: thread::Builder,
    connect: C,
) -> Result<C::Made, OpenError> {
    attempt_within(OPEN_PATIENCE, group, thread, connect)
}

fn attempt_within<C: Connect>(
    patience: Duration,
    group: &str,
    thread: thread::Builder,
    connect: C,
) -> Result<C::Made, OpenError> {
    {
        let mut under_way = under_way();
        if let Some(since) = under_way.get(group) {
            return Err(OpenError::Silent { patience: since.elapsed() });
        }
        under_way.insert(group.to_owned(), Instant::now());
    }
    let entry = Entry(group.to_owned());
    let awaited = Awaited::default();
    let of_thread = awaited.clone();
    // Without room, so that what is handed over has been taken.
    let (answer, answered) = sync_channel(0);
    thread
        .spawn(move || {
            let made = connect.connect(&of_thread);
            drop(entry);
            match made {
                Ok(made) => {
                    if answer.send(Ok(made.clone())).is_ok() {
                        connect.serve(&made);
                    } else {
                        connect.undo(&made);
                    }
                }
                Err(error) => drop(answer.send(Err(error))),
            }
        })
        .map_err(OpenError::System)?;
    match answered.recv_timeout(patience) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => {
            awaited.ends();
            Err(OpenError::Silent { patience })
        }
        Err(RecvTimeoutError::Disconnected) => {
            Err(OpenError::System(io::Error::other("the connecting thread ended")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Stands still until it is told to go on.
    struct Daemon {
        goes_on: Mutex<Receiver<()>>,
        does: Sender<&'static str>,
    }

    impl Connect for Daemon {
        type Made = u32;

        fn connect(&self, awaited: &Awaited) -> Result<u32, OpenError> {
            self.does.send("connect").unwrap();
            let _ = self.goes_on.lock().unwrap().recv();
            self.does.send(if awaited.holds() { "in time" } else { "late" }).unwrap();
            Ok(7)
        }

        fn serve(&self, _made: &u32) {
            self.does.send("serve").unwrap();
        }

        fn undo(&self, _made: &u32) {
            self.does.send("undo").unwrap();
        }
    }

    #[test]
    fn a_daemon_that_stands_still_holds_one_thread_and_its_late_answer_is_undone() {
        let (does, done) = channel();
        let mut going = Vec::new();
        let mut open = |patience| {
            let (go_on, goes_on) = channel();
            going.push(go_on);
            let daemon = Daemon { goes_on: Mutex::new(goes_on), does: does.clone() };
            attempt_within(patience, "postfleet/attempt/m", thread::Builder::new(), daemon)
        };
        let silent = |answer: Result<u32, OpenError>| matches!(answer, Err(OpenError::Silent { .. }));
        for _ in 0..3 {
            assert!(silent(open(Duration::from_millis(20))));
        }
        assert_eq!(done.try_iter().collect::<Vec<_>>(), ["connect"]);
        going[0].send(()).unwrap();
        let next = || done.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!([next(), next()], ["late", "undo"]);
        // Now there may be another attempt; dropping its sender lets it go on at once.
        let (go_on, goes_on) = channel();
        drop(go_on);
        let daemon = Daemon { goes_on: Mutex::new(goes_on), does };
        let made =
            attempt_within(Duration::from_secs(10), "postfleet/attempt/m", thread::Builder::new(), daemon);
        assert_eq!(made.unwrap(), 7);
        assert_eq!([next(), next(), next()], ["connect", "in time", "serve"]);
    }
}
