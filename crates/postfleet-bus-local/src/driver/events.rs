//! The events between the carrier's thread and the application, behind a lock.

use core::task::{Poll, Waker};
use postfleet_bus::carrier::{CarrierEvent, EventQueue};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// A plain lock: it is held for one push or pop, never while something else is waited for.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<EventQueue>);

impl Events {
    /// Hands events over. Returns false when the reader was too slow and the stream has ended because of it.
    pub(super) fn push(&self, events: &mut VecDeque<CarrierEvent>) -> bool {
        if events.is_empty() {
            return true;
        }
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let in_time = queue.push(events.drain(..));
        let waker = queue.take_waker();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        in_time
    }

    pub(super) fn poll(&self, waker: &Waker) -> Poll<CarrierEvent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll(waker)
    }
}
