//! The carrier's thread: dispatches, sends what had to wait, leaves.

use super::{Class, Shared, monotonic};
use crate::history::History;
use crate::library::Group;
use crate::status::Status;
use crate::stream::{Meaning, RingId, Stream, is_own};
use core::sync::atomic::Ordering;
use core::time::Duration;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use postfleet_bus::carrier::{CarrierEvent, CarrierLost};
use postfleet_bus::notice::Severity;
use std::collections::BTreeSet;
use std::os::fd::AsFd;

/// Events taken before they are handed over.
const TURN_EVENTS_MAX: usize = 256;

/// Without a reason to wake up the thread looks around this often.
const IDLE: Duration = Duration::from_secs(1);

/// From one attempt to leave to the next while the daemon cannot take it.
const LEAVE_AGAIN: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// As soon as everything has come back.
    Wanted,
    /// The daemon has been asked.
    Asked,
}

pub(super) fn serve(shared: &Shared, class: Class, group: &Group) {
    let mut stream = Stream::new(shared.own);
    let mut ring = Ring { class, hosts: BTreeSet::new(), sequence: 0, history: History::default() };
    let mut leaving = Leaving::No;
    let lost = loop {
        if shared.stop.load(Ordering::Acquire) {
            if shared.detach.load(Ordering::Acquire) && leaving != Leaving::Asked {
                // Dropped before it could leave; the others shall not take it for a process that ended.
                let _ = shared.cpg.leave(group);
            }
            break CarrierLost::Detached;
        }
        if shared.detach.load(Ordering::Acquire) && leaving == Leaving::No {
            leaving = Leaving::Wanted;
        }
        if let Err(status) = shared.send() {
            break broken(shared, "cpg_mcast_joined", status);
        }
        let (idle, deadline) = {
            let outgoing = shared.outgoing();
            (outgoing.is_idle(), outgoing.deadline())
        };
        let mut timeout = deadline.map_or(IDLE, |at| at.since(monotonic())).min(IDLE);
        if leaving == Leaving::Wanted && idle {
            match shared.cpg.leave(group) {
                status if status.is_ok() => leaving = Leaving::Asked,
                Status::TRY_AGAIN => timeout = timeout.min(LEAVE_AGAIN),
                // Not a member any more: the stream ends by itself, or has no more to say.
                status => break broken(shared, "cpg_leave", status),
            }
        }
        match wait(shared, timeout) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(status) => break broken(shared, "cpg_fd_get", status),
        }
        match take(shared, &mut stream, &mut ring) {
            Taken::All => {}
            Taken::Ended => return end(shared),
            Taken::Overrun => {
                // In order, as far as the ring is concerned: nothing of this process is wrong.
                let _ = shared.cpg.leave(group);
                return end(shared);
            }
            Taken::Broken(status) => break broken(shared, "cpg_dispatch", status),
        }
    };
    shared.ended.store(true, Ordering::Relaxed);
    shared.publish([CarrierEvent::Lost(lost)]);
    end(shared);
}

fn end(shared: &Shared) {
    shared.ended.store(true, Ordering::Relaxed);
    shared.stop.store(true, Ordering::Release);
    let _ = shared.wake_watch.write(1);
}

fn broken(shared: &Shared, call: &str, status: Status) -> CarrierLost {
    if shared.detach.load(Ordering::Acquire) {
        return CarrierLost::Detached;
    }
    // The node says what it means for it; this is for those who look closer.
    shared.notice(Severity::Info, format!("Corosync does not answer any more ({call}: {status})"));
    CarrierLost::Daemon
}

/// Waits for the daemon, a wake-up or the timeout. `true`: the daemon has something to say.
fn wait(shared: &Shared, timeout: Duration) -> Result<bool, Status> {
    let fd = shared.cpg.fd()?;
    let mut fds = [PollFd::new(shared.wake.as_fd(), PollFlags::POLLIN), PollFd::new(fd, PollFlags::POLLIN)];
    // A pause of less than a millisecond is one millisecond, not a busy loop.
    let timeout = timeout.max(Duration::from_millis(1));
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    // An interrupted poll finds nothing ready; the next round asks again.
    if poll(&mut fds, timeout).is_err() {
        return Ok(false);
    }
    let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|flags| !flags.is_empty());
    let [wake, daemon] = &fds;
    if ready(wake) {
        let _ = shared.wake.read();
    }
    Ok(ready(daemon))
}

enum Taken {
    /// Nothing more is there now, or the turn is over.
    All,
    /// The stream has ended, and the reader knows.
    Ended,
    /// The reader is too slow, and knows.
    Overrun,
    Broken(Status),
}

fn take(shared: &Shared, stream: &mut Stream, ring: &mut Ring) -> Taken {
    let mut told = Vec::new();
    let mut events = Vec::new();
    let mut outcome = Taken::All;
    while events.len() < TURN_EVENTS_MAX {
        let status = shared.cpg.dispatch(&mut told);
        for told in told.drain(..) {
            match stream.take(told) {
                Meaning::Event(event) => {
                    if is_own(&event, shared.own) && shared.outgoing().returned() {
                        events.push(CarrierEvent::Ready);
                    }
                    events.push(event);
                }
                Meaning::Ring(id, hosts) => events.extend(stream.settle(&ring.changed(shared, id, hosts))),
                Meaning::Nothing => {}
            }
        }
        match status {
            Status::OK => {}
            Status::TRY_AGAIN => break,
            status => {
                outcome = Taken::Broken(status);
                break;
            }
        }
    }
    if matches!(events.last(), Some(CarrierEvent::Lost(_))) {
        outcome = Taken::Ended;
    }
    if !events.is_empty() && !shared.publish(events) {
        return Taken::Overrun;
    }
    // Only now: what is said of the quorum of a ring counts for those who can read who is in it.
    if shared.ring.swap(ring.sequence, Ordering::AcqRel) != ring.sequence {
        shared.nudge();
        let _ = shared.wake_watch.write(1);
    }
    outcome
}

/// The ring, as this attachment follows it.
struct Ring {
    class: Class,
    hosts: BTreeSet<u32>,
    sequence: u64,
    history: History,
}

impl Ring {
    /// Takes a new ring; returns the hosts that may have delivered something else before it.
    fn changed(&mut self, shared: &Shared, id: RingId, hosts: BTreeSet<u32>) -> BTreeSet<u32> {
        let parted = self.history.advance(id, &hosts);
        // Once for both classes.
        if self.class == Class::Main {
            if hosts != self.hosts {
                let list: Vec<String> = hosts.iter().map(u32::to_string).collect();
                let text = format!("Corosync ring {id} has {} hosts: {}", hosts.len(), list.join(", "));
                shared.notice(Severity::Notice, text);
            }
            if !parted.is_empty() {
                let text = format!(
                    "Corosync formed ring {id} in more than one attempt; all others have left and come back, because \
                     they may have received other messages"
                );
                shared.notice(Severity::Notice, text);
            }
        }
        shared.hosts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone_from(&hosts);
        self.hosts = hosts;
        self.sequence = id.sequence;
        parted
    }
}
