//! Events that the application has not read yet, promise P22.

use crate::event::{BusEvent, LostReason};
use alloc::collections::VecDeque;

/// What one event costs beside its payload; an estimate that keeps small events honest.
const EVENT_BYTES: usize = 200;

#[derive(Debug)]
pub(super) struct Inbox {
    events: VecDeque<BusEvent>,
    bytes: usize,
    closed: bool,
}

impl Inbox {
    pub(super) const fn new() -> Self {
        Self { events: VecDeque::new(), bytes: 0, closed: false }
    }

    /// Events and bytes that wait.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.events.len(), self.bytes)
    }

    pub(super) fn push(&mut self, event: BusEvent) {
        if !self.closed {
            self.bytes += cost(&event);
            self.events.push_back(event);
        }
    }

    /// The last event. What waits before it stays readable: it is a prefix of what others deliver.
    pub(super) fn close(&mut self, reason: LostReason) {
        self.push(BusEvent::Lost { reason });
        self.closed = true;
    }

    pub(super) fn pop(&mut self) -> Option<BusEvent> {
        let event = self.events.pop_front()?;
        self.bytes = self.bytes.saturating_sub(cost(&event));
        if self.events.is_empty() && self.events.capacity() > 4096 {
            self.events = VecDeque::new();
        }
        Some(event)
    }
}

fn cost(event: &BusEvent) -> usize {
    match event {
        BusEvent::Message { payload, .. } => payload.len() + EVENT_BYTES,
        BusEvent::View { members, .. } => (members.len() + 1) * EVENT_BYTES,
        BusEvent::GroupView { members, .. } => members.len() * 40 + EVENT_BYTES,
        BusEvent::SendReady | BusEvent::Lost { .. } => EVENT_BYTES,
    }
}
