//! The events between the carrier's thread and the application: bounded, and waking whoever waits.

use core::task::{Poll, Waker};
use postfleet_bus::carrier::{CarrierEvent, CarrierLost};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// More events than this unread end the stream (P22).
pub const EVENTS_MAX: usize = 100_000;

/// More bytes than this unread end the stream (P22).
pub const EVENT_BYTES_MAX: usize = 256 << 20;

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<CarrierEvent>,
    bytes: usize,
    waker: Option<Waker>,
    closed: bool,
}

/// A plain lock: it is held for one push or pop, never while something else is waited for.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<Inner>);

impl Events {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands events over. Returns false when the reader was too slow and the stream has ended because of it.
    pub(super) fn push(&self, events: &mut VecDeque<CarrierEvent>) -> bool {
        if events.is_empty() {
            return true;
        }
        let mut in_time = true;
        let waker = {
            let mut inner = self.inner();
            for event in events.drain(..) {
                if inner.closed {
                    continue;
                }
                inner.bytes += cost(&event);
                inner.closed = matches!(event, CarrierEvent::Lost(_));
                inner.waiting.push_back(event);
                if !inner.closed && (inner.waiting.len() > EVENTS_MAX || inner.bytes > EVENT_BYTES_MAX) {
                    inner.waiting.push_back(CarrierEvent::Lost(CarrierLost::Overrun));
                    inner.closed = true;
                    in_time = false;
                }
            }
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        in_time
    }

    pub(super) fn poll(&self, waker: &Waker) -> Poll<CarrierEvent> {
        let mut inner = self.inner();
        if let Some(event) = inner.waiting.pop_front() {
            inner.bytes = inner.bytes.saturating_sub(cost(&event));
            return Poll::Ready(event);
        }
        if !inner.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            inner.waker = Some(waker.clone());
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
    use bytes::Bytes;
    use postfleet_bus::carrier::RawId;

    fn deliver(length: usize) -> CarrierEvent {
        CarrierEvent::Deliver { from: RawId::default(), bytes: Bytes::from(vec![0; length]) }
    }

    #[test]
    fn bus_p22_a_reader_that_does_not_read_is_lost_and_memory_stays_bounded() {
        let check = |length: usize, expected: usize| {
            let events = Events::default();
            let mut pushed = 0;
            let in_time = |events: &Events| events.push(&mut VecDeque::from([deliver(length)]));
            while in_time(&events) {
                pushed += 1;
                assert!(pushed <= expected);
            }
            assert_eq!(pushed, expected);
            // Nothing follows the end.
            events.push(&mut VecDeque::from([deliver(1)]));
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
}
