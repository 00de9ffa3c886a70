//! A carrier for one: it hands the only member its own messages.

use crate::carrier::{Carrier, CarrierEvent, CarrierLost, RawId, Submit};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

/// Messages that may be under way to oneself; more is `Busy`, so that an application that only sends is told.
const UNDER_WAY_MAX: usize = 1024;

/// The bus of a node that shares nothing.
#[derive(Debug)]
pub struct Solo {
    id: RawId,
    events: VecDeque<CarrierEvent>,
    waker: Option<Waker>,
    detached: bool,
    owes_ready: bool,
}

impl Solo {
    /// Attaches. `process` is the own process id; it only shows in displays.
    #[must_use]
    pub fn new(process: u32) -> Self {
        let id = RawId { major: process, minor: 0 };
        let first = CarrierEvent::Change { members: vec![id], left: Vec::new(), joined: vec![id] };
        Self { id, events: VecDeque::from([first]), waker: None, detached: false, owes_ready: false }
    }

    fn push(&mut self, event: CarrierEvent) {
        self.events.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Carrier for Solo {
    fn id(&self) -> RawId {
        self.id
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CarrierEvent> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        if core::mem::take(&mut self.owes_ready) {
            return Poll::Ready(CarrierEvent::Ready);
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn submit(&mut self, bytes: Bytes) -> Submit {
        if self.detached {
            return Submit::Gone;
        }
        if self.events.len() >= UNDER_WAY_MAX {
            self.owes_ready = true;
            return Submit::Busy;
        }
        let from = self.id;
        self.push(CarrierEvent::Deliver { from, bytes });
        Submit::Accepted
    }

    fn detach(&mut self) {
        if !core::mem::replace(&mut self.detached, true) {
            self.push(CarrierEvent::Lost(CarrierLost::Detached));
        }
    }

    fn bound(&self) -> Duration {
        Duration::ZERO
    }

    fn bytes_max(&self) -> usize {
        usize::MAX
    }
}
