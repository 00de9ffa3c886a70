//! What waits to be handed to the carrier.

use crate::envelope::{Body, Header, Heartbeat, Install, Round};
use crate::event::{Destination, SendId};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use postfleet_types::{Epoch, GroupName, ViewId};

/// The send queue's bound in bytes, promise P21.
pub(super) const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Messages of the layer itself. They overtake the application's: a backlog must not hold up membership.
#[derive(Debug)]
pub(super) enum Control {
    Round(Round),
    /// Filled in when it is submitted, so that it is true at that moment.
    Hello,
    Install(Install),
    Heartbeat(Heartbeat),
}

/// Messages that keep the order in which the application asked for them.
#[derive(Debug)]
pub(super) enum Queued {
    Data(Data),
    Join(GroupName),
    Leave(GroupName),
    Bye,
}

#[derive(Debug)]
pub(super) struct Data {
    pub(super) id: SendId,
    pub(super) to: Vec<Destination>,
    pub(super) kind: u16,
    pub(super) only_in: Option<ViewId>,
    pub(super) managers_only: bool,
    pub(super) payload: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) control: VecDeque<Control>,
    ordered: VecDeque<Queued>,
    bytes: usize,
    /// The carrier said busy and has not said ready since.
    pub(super) busy: bool,
    /// A send was refused; [`crate::BusEvent::SendReady`] is owed.
    pub(super) refused: bool,
    sends: u64,
    /// A DATA message as it was built for a busy carrier, with the number it then had.
    built: Option<(u64, Bytes)>,
}

impl Queue {
    /// Messages and bytes that wait.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.ordered.len(), self.bytes)
    }

    pub(super) fn has_room(&self, bytes: usize, messages_max: usize) -> bool {
        self.ordered.len() < messages_max
            && (self.ordered.is_empty() || self.bytes.saturating_add(bytes) <= QUEUE_BYTES_MAX)
    }

    pub(super) fn is_below_half(&self, messages_max: usize) -> bool {
        self.ordered.len() * 2 < messages_max.max(1) && self.bytes * 2 < QUEUE_BYTES_MAX
    }

    pub(super) const fn next_send(&mut self) -> SendId {
        self.sends += 1;
        SendId(self.sends)
    }

    pub(super) fn push(&mut self, item: Queued) {
        self.bytes += bytes_of(&item);
        self.ordered.push_back(item);
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        self.built = None;
        let item = self.ordered.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes_of(&item));
        if self.ordered.is_empty() && self.ordered.capacity() > 1024 {
            self.ordered = VecDeque::new();
        }
        Some(item)
    }

    pub(super) fn drop_ordered(&mut self) {
        self.ordered.clear();
        self.bytes = 0;
        self.built = None;
    }

    pub(super) fn keep_built(&mut self, sequence: u64, bytes: Bytes) {
        self.built = Some((sequence, bytes));
    }

    /// The front of the ordered queue as a message.
    pub(super) fn build(&self, epoch: Epoch, sequence: u64, view: ViewId) -> Option<Bytes> {
        if let Some((number, bytes)) = &self.built
            && *number == sequence
        {
            return Some(bytes.clone());
        }
        let body = match self.ordered.front()? {
            Queued::Data(data) => Body::Data(data.payload.clone()),
            Queued::Join(group) => Body::Join(group.clone()),
            Queued::Leave(group) => Body::Leave(group.clone()),
            Queued::Bye => Body::Bye,
        };
        let mut header = Header::new(&body, epoch, sequence, view);
        if let Some(Queued::Data(data)) = self.ordered.front() {
            header.kind = data.kind;
            header.managers_only = data.managers_only;
            header.view_bound = data.only_in.is_some();
            header.view = data.only_in.unwrap_or(view);
            header.to = data.to.clone();
        }
        Some(header.encode(&body))
    }

    /// Forgets the messages of a round that is over, or a heartbeat that a newer one replaces.
    pub(super) fn cancel(&mut self, what: impl Fn(&Control) -> bool) {
        self.control.retain(|control| !what(control));
    }
}

fn bytes_of(item: &Queued) -> usize {
    match item {
        Queued::Data(data) => data.payload.len(),
        Queued::Join(_) | Queued::Leave(_) | Queued::Bye => 0,
    }
}
