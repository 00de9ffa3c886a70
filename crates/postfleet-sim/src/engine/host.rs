//! What a daemon, a ring and an attachment are.

use super::{Class, HostId};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::task::Waker;
use core::time::Duration;
use postfleet_bus::{CarrierEvent, RawId, RawReason};
use postfleet_types::Monotonic;

/// Accepted messages of one attachment that have no place in the order yet; one more is `Busy`.
pub(super) const OUTGOING_MAX: usize = 256;

/// What gets a place in the order.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Join,
    Leave(RawReason),
    Message(Bytes),
}

#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub(super) class: Class,
    pub(super) id: RawId,
    pub(super) item: Item,
}

impl Submission {
    pub(super) fn is_of(&self, class: Class, id: RawId) -> bool {
        self.class == class && self.id == id
    }
}

/// Something that waits for the token.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) at: Monotonic,
    pub(super) item: Submission,
}

/// A daemon.
#[derive(Debug)]
pub(super) struct Host {
    /// The process is there.
    pub(super) up: bool,
    /// It stands still.
    pub(super) frozen: bool,
    pub(super) ring: u64,
    /// The rings it has been on since its processes were told of one: that one first, the present one last.
    pub(super) chain: Vec<u64>,
    /// The hosts of the ring that its processes were told of last.
    pub(super) told: BTreeSet<HostId>,
    /// The place on its ring that it delivers next.
    pub(super) next: usize,
    /// Who is in each group, as this daemon has delivered it.
    pub(super) groups: [BTreeSet<RawId>; 2],
    pub(super) outgoing: VecDeque<Outgoing>,
    /// What reaches it takes so much longer.
    pub(super) delay: Duration,
}

impl Host {
    pub(super) const fn runs(&self) -> bool {
        self.up && !self.frozen
    }

    /// Messages of one attachment that wait here.
    pub(super) fn waiting(&self, class: Class, id: RawId) -> usize {
        self.outgoing.iter().filter(|o| o.item.is_of(class, id)).count()
    }
}

/// A place in the order of a ring.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) source: HostId,
    pub(super) item: Submission,
    /// When it reaches each host; who is missing here does not get it unless it is sent again.
    pub(super) arrives: BTreeMap<HostId, Monotonic>,
}

#[derive(Debug)]
pub(super) struct Ring {
    pub(super) members: BTreeSet<HostId>,
    /// All members are there and hear each other: the token goes round.
    pub(super) whole: bool,
    /// The daemons are in step, and messages get places.
    pub(super) orders_from: Monotonic,
    /// The processes have not been told of it yet: that happens when the daemons are in step.
    pub(super) untold: bool,
    /// The place of the first entry in `log`.
    pub(super) base: usize,
    pub(super) log: VecDeque<Entry>,
}

impl Ring {
    pub(super) fn entry(&self, place: usize) -> Option<&Entry> {
        self.log.get(place.checked_sub(self.base)?)
    }

    pub(super) fn end(&self) -> usize {
        self.base + self.log.len()
    }
}

/// An attachment as its daemon sees it.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    pub(super) inbox: VecDeque<(Monotonic, CarrierEvent)>,
    last_due: Monotonic,
    /// Its own join has been delivered here.
    pub(super) joined: bool,
    pub(super) leaving: bool,
    /// The end of its stream is in the inbox or has been read.
    pub(super) ended: bool,
    pub(super) owes_ready: bool,
    pub(super) drops_next: bool,
    /// The process as a whole stands still.
    pub(super) paused: bool,
    /// At least so long between two of its messages.
    pub(super) pace: Option<Duration>,
    last_origin: Monotonic,
    pub(super) waker: Option<Waker>,
}

impl Endpoint {
    pub(super) fn push(&mut self, due: Monotonic, event: CarrierEvent) {
        if self.ended {
            return;
        }
        self.ended = matches!(event, CarrierEvent::Lost(_));
        self.last_due = self.last_due.max(due);
        self.inbox.push_back((self.last_due, event));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn next_origin(&mut self, origin: Monotonic) -> Monotonic {
        let paced = self.pace.map_or(Monotonic::ZERO, |pace| self.last_origin + pace);
        self.last_origin = origin.max(paced);
        self.last_origin
    }
}
