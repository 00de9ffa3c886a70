//! A carrier for tests: several attachments in one process, one shared order, virtual time, one seed.
//!
//! [`Network`] is the whole bus of one class. It behaves as a ring-based engine does, its raw behaviour only:
//! what was ordered before a split is delivered on each side up to a point that the side agrees on, and at least
//! up to its own members' last ordered message; what was not yet ordered goes out in the next configuration; an
//! engine that stood still learns in two changes in a row that all others left and came back.

mod endpoint;
mod faults;
mod order;

use crate::carrier::{Carrier, CarrierEvent, RawId, Submit};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::Rc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::cell::RefCell;
use core::task::{Context, Poll};
use core::time::Duration;
use endpoint::{Endpoint, OUTGOING_MAX};
use postfleet_types::{Monotonic, Random};

/// How a network times things. Every duration is an upper bound; the seed picks the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From acceptance to the place in the order.
    pub origin: Duration,
    /// From the order to delivery, for each attachment.
    pub transit: Duration,
    /// From a join, leave or death of a process to the change.
    pub change: Duration,
    /// From a silent failure to the change; exact, it is what [`Carrier::bound`] answers.
    pub detection: Duration,
}

impl Timing {
    /// Everything at once: for cases about order, not time.
    pub const PROMPT: Self = Self {
        origin: Duration::ZERO,
        transit: Duration::ZERO,
        change: Duration::ZERO,
        detection: Duration::from_millis(1500),
    };

    /// Delays of some milliseconds that differ from member to member: for random schedules.
    pub const UNEVEN: Self = Self {
        origin: Duration::from_millis(3),
        transit: Duration::from_millis(6),
        change: Duration::from_millis(15),
        detection: Duration::from_millis(1500),
    };
}

/// A scripted bus. Clones are the same bus.
#[derive(Clone, Debug)]
pub struct Network(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    now: Monotonic,
    random: Random,
    timing: Timing,
    endpoints: BTreeMap<RawId, Endpoint>,
    /// Which side of a split a host is on; one that is not listed is on side 0.
    sides: BTreeMap<u32, u32>,
    components: BTreeMap<u32, Component>,
    next_minor: u32,
    next_side: u32,
    next_serial: u64,
    /// The last place in the order that each attachment's messages have.
    last_serial_of: BTreeMap<RawId, u64>,
    /// Deliver only what [`Network::step`] releases.
    stepwise: bool,
}

/// Attachments that hear each other.
#[derive(Debug, Default)]
struct Component {
    members: BTreeSet<RawId>,
    /// Nothing is ordered before this: the engine forms a new configuration.
    stalled_until: Monotonic,
}

impl Network {
    /// An empty bus.
    #[must_use]
    pub fn new(seed: u64, timing: Timing) -> Self {
        Self(Rc::new(RefCell::new(State {
            now: Monotonic::ZERO,
            random: Random::seeded(seed),
            timing,
            endpoints: BTreeMap::new(),
            sides: BTreeMap::new(),
            components: BTreeMap::new(),
            next_minor: 1,
            next_side: 1,
            next_serial: 1,
            last_serial_of: BTreeMap::new(),
            stepwise: false,
        })))
    }

    /// Attaches a process on `host`.
    #[must_use]
    pub fn attach(&self, host: u32) -> Scripted {
        let id = self.0.borrow_mut().attach(host, false);
        Scripted { id, network: self.clone() }
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Monotonic {
        self.0.borrow().now
    }

    /// Moves the virtual time on; what is due becomes readable.
    pub fn set_time(&self, now: Monotonic) {
        let mut state = self.0.borrow_mut();
        state.now = state.now.max(now);
        state.order_what_is_due();
        state.wake_ready();
    }

    /// When something that is not readable now becomes so.
    #[must_use]
    pub fn next_due(&self) -> Option<Monotonic> {
        self.0.borrow().next_due()
    }

    /// From now on nothing is delivered until [`Network::step`] releases it.
    pub fn set_stepwise(&self, stepwise: bool) {
        self.0.borrow_mut().stepwise = stepwise;
    }

    /// Releases the next `count` events of one attachment.
    pub fn step(&self, id: RawId, count: usize) {
        let mut state = self.0.borrow_mut();
        if let Some(endpoint) = state.endpoints.get_mut(&id) {
            endpoint.released += count;
            endpoint.wake();
        }
    }

    /// All attachments, ghosts too.
    #[must_use]
    pub fn attached(&self) -> Vec<RawId> {
        self.0.borrow().endpoints.keys().copied().collect()
    }
}

/// One attachment to a [`Network`].
#[derive(Debug)]
pub struct Scripted {
    id: RawId,
    network: Network,
}

impl Drop for Scripted {
    /// A dropped attachment is a process that ended.
    fn drop(&mut self) {
        if let Ok(mut state) = self.network.0.try_borrow_mut() {
            state.remove(self.id, crate::carrier::RawReason::ProcessDown);
        }
    }
}

impl Carrier for Scripted {
    fn id(&self) -> RawId {
        self.id
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CarrierEvent> {
        let mut state = self.network.0.borrow_mut();
        state.order_what_is_due();
        let (now, stepwise) = (state.now, state.stepwise);
        match state.endpoints.get_mut(&self.id) {
            Some(endpoint) => endpoint.poll(now, stepwise, context),
            None => Poll::Pending,
        }
    }

    fn submit(&mut self, bytes: Bytes) -> Submit {
        let mut state = self.network.0.borrow_mut();
        let delay = state.timing.origin;
        let origin = state.now + state.pick(delay);
        let Some(endpoint) = state.endpoints.get_mut(&self.id) else { return Submit::Gone };
        if endpoint.leaving || endpoint.lost {
            return Submit::Gone;
        }
        if endpoint.outgoing.len() >= OUTGOING_MAX {
            endpoint.owes_ready = true;
            return Submit::Busy;
        }
        if core::mem::take(&mut endpoint.drops_next) {
            return Submit::Accepted;
        }
        endpoint.accept(origin, bytes);
        state.order_what_is_due();
        Submit::Accepted
    }

    fn detach(&mut self) {
        let mut state = self.network.0.borrow_mut();
        if let Some(endpoint) = state.endpoints.get_mut(&self.id) {
            endpoint.leaving = true;
        }
        state.order_what_is_due();
    }

    fn bound(&self) -> Duration {
        self.network.0.borrow().timing.detection
    }

    fn bytes_max(&self) -> usize {
        2_000_000
    }
}

#[cfg(test)]
mod tests;
