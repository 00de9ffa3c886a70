//! One attachment as the network sees it.

use crate::carrier::CarrierEvent;
use alloc::collections::VecDeque;
use bytes::Bytes;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use postfleet_types::Monotonic;

/// Accepted messages that are not ordered yet; one more is `Busy`.
pub(super) const OUTGOING_MAX: usize = 256;

/// An event on its way to an attachment.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) due: Monotonic,
    /// Its place in the order; changes have one too.
    pub(super) serial: u64,
    pub(super) event: CarrierEvent,
}

#[derive(Debug, Default)]
pub(super) struct Endpoint {
    pub(super) host: u32,
    pub(super) inbox: VecDeque<Entry>,
    pub(super) last_due: Monotonic,
    /// The highest place in the order that was read.
    pub(super) consumed: u64,
    /// Accepted, not yet ordered: when it may be, and the message.
    pub(super) outgoing: VecDeque<(Monotonic, Bytes)>,
    pub(super) last_origin: Monotonic,
    pub(super) owes_ready: bool,
    pub(super) leaving: bool,
    /// It has left; the end of its stream is on its way.
    pub(super) detached: bool,
    pub(super) lost: bool,
    pub(super) ghost: bool,
    /// Its engine stands still.
    pub(super) frozen: bool,
    /// Its process stands still.
    pub(super) paused: bool,
    pub(super) drops_next: bool,
    /// At least so long between two of its messages.
    pub(super) pace: Option<Duration>,
    pub(super) delay: Duration,
    pub(super) released: usize,
    pub(super) waker: Option<Waker>,
}

impl Endpoint {
    pub(super) fn accept(&mut self, origin: Monotonic, bytes: Bytes) {
        let paced = self.pace.map_or(Monotonic::ZERO, |pace| self.last_origin + pace);
        self.last_origin = origin.max(self.last_origin).max(paced);
        self.outgoing.push_back((self.last_origin, bytes));
    }

    pub(super) fn push(&mut self, due: Monotonic, serial: u64, event: CarrierEvent) {
        if self.ghost || self.lost {
            return;
        }
        self.last_due = self.last_due.max(due + self.delay);
        self.inbox.push_back(Entry { due: self.last_due, serial, event });
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn is_readable(&self, now: Monotonic) -> bool {
        !self.frozen && self.inbox.front().is_some_and(|entry| entry.due <= now)
    }

    pub(super) fn poll(
        &mut self,
        now: Monotonic,
        stepwise: bool,
        context: &mut Context<'_>,
    ) -> Poll<CarrierEvent> {
        if self.is_readable(now)
            && (!stepwise || self.released > 0)
            && let Some(entry) = self.inbox.pop_front()
        {
            self.released = self.released.saturating_sub(1);
            self.consumed = self.consumed.max(entry.serial);
            self.lost |= matches!(entry.event, CarrierEvent::Lost(_));
            return Poll::Ready(entry.event);
        }
        if self.owes_ready && !self.lost && self.outgoing.len() < OUTGOING_MAX / 2 {
            self.owes_ready = false;
            return Poll::Ready(CarrierEvent::Ready);
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
