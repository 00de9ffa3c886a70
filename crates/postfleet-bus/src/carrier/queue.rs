//! The events between a carrier's thread and the application: bounded, and waking whoever waits.

use super::{CarrierEvent, CarrierLost};
use alloc::collections::VecDeque;
use core::task::{Poll, Waker};

/// More events than this unread end the stream (P22).
pub const EVENTS_MAX: usize = 100_000;

/// More bytes than this unread end the stream (P22).
pub const EVENT_BYTES_MAX: usize = 256 << 20;

/// Events that the application has not read yet. A carrier with a thread of its own keeps it behind a lock.
#[derive(Debug, Default)]
pub struct EventQueue {
    waiting: VecDeque<CarrierEvent>,
    bytes: usize,
    waker: Option<Waker>,
    closed: bool,
}

impl EventQueue {
    /// Hands events over; nothing follows a [`CarrierEvent::Lost`]. Returns false when the reader was too slow and
    /// the stream has ended because of it. Wake [`EventQueue::take_waker`] when the lock is free again.
    pub fn push(&mut self, events: impl IntoIterator<Item = CarrierEvent>) -> bool {
        let mut in_time = true;
        for event in events {
            if self.closed {
                continue;
            }
            self.bytes += cost(&event);
            self.closed = matches!(event, CarrierEvent::Lost(_));
            self.waiting.push_back(event);
            if !self.closed && (self.waiting.len() > EVENTS_MAX || self.bytes > EVENT_BYTES_MAX) {
                self.waiting.push_back(CarrierEvent::Lost(CarrierLost::Overrun));
                self.closed = true;
                in_time = false;
            }
        }
        in_time
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Who waits for an event.
    pub const fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// The next event; when there is none, the waker is kept.
    pub fn poll(&mut self, waker: &Waker) -> Poll<CarrierEvent> {
        if let Some(event) = self.waiting.pop_front() {
            self.bytes = self.bytes.saturating_sub(cost(&event));
            return Poll::Ready(event);
        }
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
        Poll::Pending
    }
}

fn cost(event: &CarrierEvent) -> usize {
    match event {
        CarrierEvent::Deliver { bytes, .. } => bytes.len(),
        CarrierEvent::Change { .. } | CarrierEvent::Ready | CarrierEvent::Lost(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::RawId;
    use alloc::vec;
    use bytes::Bytes;

    fn deliver(length: usize) -> CarrierEvent {
        CarrierEvent::Deliver { from: RawId::default(), bytes: Bytes::from(vec![0; length]) }
    }

    #[test]
    fn bus_p22_a_reader_that_does_not_read_is_lost_and_memory_stays_bounded() {
        let check = |length: usize, expected: usize| {
            let mut events = EventQueue::default();
            let mut pushed = 0;
            while events.push([deliver(length)]) {
                pushed += 1;
                assert!(pushed <= expected);
            }
            assert_eq!(pushed, expected);
            // Nothing follows the end.
            events.push([deliver(1)]);
            let mut last = None;
            let mut count = 0;
            while let Poll::Ready(event) = events.poll(Waker::noop()) {
                count += 1;
                last = Some(event);
            }
            assert_eq!((count, last), (expected + 2, Some(CarrierEvent::Lost(CarrierLost::Overrun))));
        };
        check(0, EVENTS_MAX);
        check(4 << 20, EVENT_BYTES_MAX / (4 << 20));
    }

    #[test]
    fn whoever_waits_is_woken_once() {
        let mut events = EventQueue::default();
        assert_eq!(events.poll(Waker::noop()), Poll::Pending);
        events.push([CarrierEvent::Ready]);
        assert!(events.take_waker().is_some());
        assert!(events.take_waker().is_none());
        assert_eq!(events.poll(Waker::noop()), Poll::Ready(CarrierEvent::Ready));
    }
}
