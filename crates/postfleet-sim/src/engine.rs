//! The simulated engine: closed process groups on a ring of hosts, with extended virtual synchrony.
//!
//! It behaves as Corosync does, seen through the trait of carriers. One daemon a host orders messages, joins and
//! leaves on the ring that it is in. When the ring breaks, nothing is ordered until a new one is formed; those who
//! come from one old ring into one new ring first deliver what at least one of them had received, up to the first
//! hole, and behind it what they had sent themselves (the transitional configuration); then their processes learn
//! who left, then who joined; then the new ring orders. What was accepted and had no place in the order yet goes out
//! on the new ring. Processes are told of a ring when its daemons are in step; a ring that breaks before is told to
//! nobody, and who went over different rings in between has left and come back. Every side of a partition goes on. A daemon that stood still learns in two changes in a row that
//! all others left and came back. Links may pass in one direction only, or join hosts that do not all hear each
//! other: a ring then holds hosts that hear each other pairwise, and the daemons try others again and again.
//!
//! One seed decides everything. Nothing here knows a view, a name or a count.

mod faults;
mod form;
mod host;
mod order;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::Rc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::cell::RefCell;
use core::task::{Context, Poll};
use core::time::Duration;
use host::{Endpoint, Host, Item, OUTGOING_MAX, Outgoing, Ring, Submission};
use postfleet_bus::{Carrier, CarrierEvent, RawId, RawReason, Submit};
use postfleet_types::{Monotonic, Random};

/// The number of a host; the first part of the identity of what is attached there.
pub type HostId = u32;

/// The two connections of a member. Each is a process group of its own; the order of one says nothing about the
/// other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Membership, control, heartbeats.
    Main,
    /// Replicated data.
    Shared,
}

impl Class {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Main, Self::Shared];

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Main => 0,
            Self::Shared => 1,
        }
    }

    /// `m` or `s`, as the console prints them.
    #[must_use]
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Main => "m",
            Self::Shared => "s",
        }
    }
}

/// How long things take. Every duration is an upper bound; the seed picks the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From acceptance to the place in the order: the wait for the token.
    pub origin: Duration,
    /// From one host to another.
    pub transit: Duration,
    /// From a daemon to a process on its host.
    pub local: Duration,
    /// From a silent failure to the new ring: token and consensus. At least four fifths of it.
    pub detection: Duration,
    /// From the repair of a network to the common ring.
    pub merge: Duration,
    /// From the new ring to its first message.
    pub sync: Duration,
}

impl Timing {
    /// Everything at once: for cases about order, not time.
    pub const PROMPT: Self = Self {
        origin: Duration::ZERO,
        transit: Duration::ZERO,
        local: Duration::ZERO,
        detection: Duration::from_millis(1500),
        merge: Duration::ZERO,
        sync: Duration::ZERO,
    };

    /// What three hosts of one rack do with a token of one second.
    pub const RACK: Self = Self {
        origin: Duration::from_millis(3),
        transit: Duration::from_millis(6),
        local: Duration::from_millis(2),
        detection: Duration::from_millis(1500),
        merge: Duration::from_millis(400),
        sync: Duration::from_millis(50),
    };
}

/// Why there is no attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The daemon does not run.
    #[error("the engine of this host does not run")]
    NoEngine,
    /// The same process is still in the group: its leave has not been ordered yet.
    #[error("the engine still knows this process; try again")]
    TryAgain,
}

/// The engine of all hosts. Clones are the same engine.
#[derive(Clone, Debug)]
pub struct Engine(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    now: Monotonic,
    random: Random,
    timing: Timing,
    hosts: BTreeMap<HostId, Host>,
    rings: BTreeMap<u64, Ring>,
    next_ring: u64,
    /// Directions in which nothing passes.
    blocked: BTreeSet<(HostId, HostId)>,
    /// When the daemons form rings anew.
    form_at: Option<Monotonic>,
    endpoints: BTreeMap<(Class, RawId), Endpoint>,
    /// Unread events at which an attachment ends.
    inbox_max: usize,
    /// Hosts whose majority is a quorum; zero: nothing counts votes.
    expected: usize,
    /// The next rings come about by way of others.
    detours: bool,
    /// Who went over different rings in between is not told apart.
    forgetful: bool,
    /// Something was handed in since the last run.
    dirty: bool,
}

impl Engine {
    /// An engine without hosts.
    #[must_use]
    pub fn new(seed: u64, timing: Timing) -> Self {
        Self(Rc::new(RefCell::new(State {
            now: Monotonic::ZERO,
            random: Random::seeded(seed),
            timing,
            hosts: BTreeMap::new(),
            rings: BTreeMap::new(),
            next_ring: 1,
            blocked: BTreeSet::new(),
            form_at: None,
            endpoints: BTreeMap::new(),
            inbox_max: usize::MAX,
            expected: 0,
            detours: false,
            forgetful: false,
            dirty: false,
        })))
    }

    /// From now on an attachment with more unread events ends, unless its process stands still as a whole.
    pub fn set_inbox_max(&self, events: usize) {
        self.0.borrow_mut().inbox_max = events;
    }

    /// From now on the majority of so many hosts is a quorum.
    pub fn set_expected(&self, hosts: usize) {
        self.0.borrow_mut().expected = hosts;
    }

    /// A host whose daemon has been on the ring of those it hears for some time.
    pub fn add_host(&self, host: HostId) {
        let mut state = self.0.borrow_mut();
        state.boot(host);
        state.form();
        state.run();
    }

    /// Attaches a process.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(&self, class: Class, host: HostId, process: u32) -> Result<Attachment, AttachError> {
        let mut state = self.0.borrow_mut();
        let id = RawId { major: host, minor: process };
        state.attach(class, id)?;
        Ok(Attachment { class, id, engine: self.clone() })
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Monotonic {
        self.0.borrow().now
    }

    /// Moves the virtual time on; what is due becomes readable.
    pub fn set_time(&self, now: Monotonic) {
        let mut state = self.0.borrow_mut();
        while let Some(due) = state.next_due().filter(|due| *due < now) {
            state.now = due;
            state.run();
        }
        state.now = state.now.max(now);
        state.run();
    }

    /// When something that is not readable now becomes so, or the engine has to be called for another reason.
    #[must_use]
    pub fn next_due(&self) -> Option<Monotonic> {
        self.0.borrow().next_due()
    }

    /// Whether the attachment of this process has something to read now.
    #[must_use]
    pub fn is_readable(&self, class: Class, id: RawId) -> bool {
        let mut state = self.0.borrow_mut();
        state.run_if_dirty();
        let now = state.now;
        state.is_readable(class, id, now)
    }

    /// Who is with a host on its ring, itself included; nobody when its daemon does not run.
    #[must_use]
    pub fn ring_of(&self, host: HostId) -> Vec<HostId> {
        let state = self.0.borrow();
        let ring = state.hosts.get(&host).and_then(|host| state.rings.get(&host.ring));
        ring.map(|ring| ring.members.iter().copied().collect()).unwrap_or_default()
    }

    /// Whether two hosts can talk to each other, whatever rings they are on.
    #[must_use]
    pub fn is_open(&self, a: HostId, b: HostId) -> bool {
        let state = self.0.borrow();
        !state.blocked.contains(&(a, b)) && !state.blocked.contains(&(b, a))
    }

    /// The upper bound of the time from a silent crash to the change without the crashed.
    #[must_use]
    pub fn bound(&self) -> Duration {
        self.0.borrow().bound()
    }
}

impl State {
    fn attach(&mut self, class: Class, id: RawId) -> Result<(), AttachError> {
        let key = (class, id);
        let endpoint_is_there = self.endpoints.contains_key(&key);
        let host = self.hosts.get_mut(&id.major).filter(|host| host.up).ok_or(AttachError::NoEngine)?;
        let known = host.groups.get(class.index()).is_some_and(|group| group.contains(&id));
        if endpoint_is_there || known || host.outgoing.iter().any(|outgoing| outgoing.item.is_of(class, id)) {
            return Err(AttachError::TryAgain);
        }
        self.endpoints.insert(key, Endpoint::default());
        self.hand_in(class, id, Item::Join);
        self.run();
        Ok(())
    }

    /// A time up to `most`, in steps of a quarter of a millisecond so that things also happen at once.
    fn pick(&mut self, most: Duration) -> Duration {
        let steps = u64::try_from(most.as_micros() / 250).unwrap_or(0);
        if steps == 0 {
            return Duration::ZERO;
        }
        Duration::from_micros(self.random.below(steps + 1) * 250)
    }

    fn bound(&self) -> Duration {
        self.timing.detection + self.timing.local
    }

    fn is_readable(&self, class: Class, id: RawId, now: Monotonic) -> bool {
        self.endpoints.get(&(class, id)).is_some_and(|e| {
            e.inbox.front().is_some_and(|(due, _)| *due <= now) || self.is_ready(class, id, e)
        })
    }

    /// Whether a process that was told `Busy` may go on.
    fn is_ready(&self, class: Class, id: RawId, endpoint: &Endpoint) -> bool {
        endpoint.owes_ready
            && !endpoint.ended
            && self.hosts.get(&id.major).is_some_and(|host| host.waiting(class, id) < OUTGOING_MAX / 2)
    }

    /// Puts something into the queue of a daemon. Queues are first in, first out for each process.
    fn hand_in(&mut self, class: Class, id: RawId, item: Item) {
        let delay = self.timing.origin;
        let origin = self.now + self.pick(delay);
        let Some(host) = self.hosts.get_mut(&id.major) else { return };
        let at = match self.endpoints.get_mut(&(class, id)) {
            Some(endpoint) => endpoint.next_origin(origin),
            None => origin,
        };
        let item = Submission { class, id, item };
        // Behind everything of the same process, however long that takes.
        let last = host.outgoing.iter().filter(|o| o.item.is_of(class, id)).map(|o| o.at).max();
        let at = last.map_or(at, |last| last.max(at));
        host.outgoing.push_back(Outgoing { at, item });
        self.dirty = true;
    }

    fn run_if_dirty(&mut self) {
        if core::mem::take(&mut self.dirty) {
            self.run();
        }
    }
}

/// The attachment of one process to one class.
#[derive(Debug)]
pub struct Attachment {
    class: Class,
    id: RawId,
    engine: Engine,
}

impl Drop for Attachment {
    /// A handle that goes away is, to its daemon, a process that ended.
    fn drop(&mut self) {
        if let Ok(mut state) = self.engine.0.try_borrow_mut() {
            state.close(self.class, self.id);
        }
    }
}

impl Carrier for Attachment {
    fn id(&self) -> RawId {
        self.id
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CarrierEvent> {
        let mut state = self.engine.0.borrow_mut();
        state.run_if_dirty();
        let now = state.now;
        let key = (self.class, self.id);
        let is_ready = state.endpoints.get(&key).is_some_and(|e| state.is_ready(self.class, self.id, e));
        let Some(endpoint) = state.endpoints.get_mut(&key) else { return Poll::Pending };
        if let Some((_, event)) = endpoint.inbox.pop_front_if(|(due, _)| *due <= now) {
            return Poll::Ready(event);
        }
        if is_ready {
            endpoint.owes_ready = false;
            return Poll::Ready(CarrierEvent::Ready);
        }
        endpoint.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn submit(&mut self, bytes: Bytes) -> Submit {
        let mut state = self.engine.0.borrow_mut();
        let (class, id) = (self.class, self.id);
        let waiting = state.hosts.get(&id.major).map_or(0, |host| host.waiting(class, id));
        let Some(endpoint) = state.endpoints.get_mut(&(class, id)) else { return Submit::Gone };
        if endpoint.leaving || endpoint.ended {
            return Submit::Gone;
        }
        if waiting >= OUTGOING_MAX {
            endpoint.owes_ready = true;
            return Submit::Busy;
        }
        if !core::mem::take(&mut endpoint.drops_next) {
            state.hand_in(class, id, Item::Message(bytes));
        }
        Submit::Accepted
    }

    fn detach(&mut self) {
        let mut state = self.engine.0.borrow_mut();
        let (class, id) = (self.class, self.id);
        let Some(endpoint) = state.endpoints.get_mut(&(class, id)) else { return };
        if endpoint.ended || core::mem::replace(&mut endpoint.leaving, true) {
            return;
        }
        state.hand_in(class, id, Item::Leave(RawReason::Left));
    }

    fn bound(&self) -> Duration {
        self.engine.bound()
    }

    fn quorum(&self) -> Option<bool> {
        let state = self.engine.0.borrow();
        let ring = state.hosts.get(&self.id.major).and_then(|host| state.rings.get(&host.ring));
        let held = ring.is_some_and(|ring| ring.members.len() * 2 > state.expected);
        let unread =
            state.endpoints.get(&(self.class, self.id)).is_some_and(|endpoint| !endpoint.inbox.is_empty());
        (state.expected > 0 && !(held && unread)).then_some(held)
    }

    fn bytes_max(&self) -> usize {
        1_047_552
    }
}

#[cfg(test)]
mod tests;
