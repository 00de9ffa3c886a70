//! What can be done to the engine.

use super::host::{Host, Item, Outgoing, Ring, Submission};
use super::{Class, Engine, HostId, State};
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_bus::{CarrierEvent, CarrierLost, RawId};

impl Engine {
    /// Starts the daemon of a host that is not there yet or was killed. It is alone on its ring at first.
    pub fn boot(&self, host: HostId) {
        let mut state = self.0.borrow_mut();
        state.boot(host);
        state.run();
    }

    /// The daemon ends without a word; the streams of its processes end at once.
    pub fn kill(&self, host: HostId) {
        let mut state = self.0.borrow_mut();
        state.kill(host);
        state.run();
    }

    /// The daemon stands still.
    pub fn freeze(&self, host: HostId) {
        self.0.borrow_mut().set_frozen(host, true);
    }

    /// It goes on.
    pub fn thaw(&self, host: HostId) {
        self.0.borrow_mut().set_frozen(host, false);
    }

    /// Nothing passes from one host to another any more, in this direction.
    pub fn block(&self, from: HostId, to: HostId) {
        let mut state = self.0.borrow_mut();
        state.block(from, to);
        state.review();
    }

    /// Splits the network: hosts of different sets do not hear each other. Those in no set hear only each other.
    pub fn partition(&self, sets: &[Vec<HostId>]) {
        let mut state = self.0.borrow_mut();
        let hosts: Vec<HostId> = state.hosts.keys().copied().collect();
        let set_of = |host: &HostId| sets.iter().position(|set| set.contains(host));
        for a in &hosts {
            for b in &hosts {
                if set_of(a) != set_of(b) {
                    state.block(*a, *b);
                }
            }
        }
        state.review();
    }

    /// Everything passes again.
    pub fn heal(&self) {
        let mut state = self.0.borrow_mut();
        state.blocked.clear();
        state.review();
    }

    /// What reaches this host from others takes so much longer.
    pub fn delay(&self, host: HostId, delay: Duration) {
        if let Some(host) = self.0.borrow_mut().hosts.get_mut(&host) {
            host.delay = delay;
        }
    }

    /// At least so long between two messages of this attachment.
    pub fn throttle(&self, class: Class, id: RawId, pace: Option<Duration>) {
        let mut state = self.0.borrow_mut();
        let now = state.now;
        let Some(endpoint) = state.endpoints.get_mut(&(class, id)) else { return };
        endpoint.pace = pace;
        if pace.is_none()
            && let Some(host) = state.hosts.get_mut(&id.major)
        {
            for outgoing in host.outgoing.iter_mut().filter(|outgoing| outgoing.item.is_of(class, id)) {
                outgoing.at = outgoing.at.min(now);
            }
        }
        state.run();
    }

    /// The process of this attachment stands still as a whole, its attachment too.
    pub fn set_paused(&self, class: Class, id: RawId, paused: bool) {
        if let Some(endpoint) = self.0.borrow_mut().endpoints.get_mut(&(class, id)) {
            endpoint.paused = paused;
        }
    }

    /// The next message accepted from this attachment vanishes.
    pub fn drop_next(&self, class: Class, id: RawId) {
        if let Some(endpoint) = self.0.borrow_mut().endpoints.get_mut(&(class, id)) {
            endpoint.drops_next = true;
        }
    }

    /// The rings that form next come about by way of others, which break before the daemons are in step: nobody is told
    /// of those. When no rings are about to form, the present ones break now.
    pub fn detour(&self) {
        let mut state = self.0.borrow_mut();
        state.detours = true;
        if state.form_at.is_none() {
            state.form_at = Some(state.now);
        }
        state.run();
    }

    /// From now on processes are told what libcpg tells: whoever came from the latest ring has stayed, whatever ring
    /// it was on before. The promises cannot be kept then; carriers have to know better.
    pub fn set_forgetful(&self, forgetful: bool) {
        self.0.borrow_mut().forgetful = forgetful;
    }

    /// A member appears on the ring of this host that never speaks and never leaves, as when a host joined the ring
    /// and died while it was being taken up.
    pub fn ghost(&self, via: HostId, class: Class, ghost: RawId) {
        let mut state = self.0.borrow_mut();
        let at = state.now;
        if let Some(host) = state.hosts.get_mut(&via) {
            let item = Submission { class, id: ghost, item: Item::Join };
            host.outgoing.push_back(Outgoing { at, item });
        }
        state.run();
    }
}

impl State {
    pub(super) fn boot(&mut self, host: HostId) {
        if self.hosts.get(&host).is_some_and(|host| host.up) {
            return;
        }
        let ring = self.next_ring;
        self.next_ring += 1;
        let alone = Ring {
            members: BTreeSet::from([host]),
            whole: true,
            orders_from: self.now,
            untold: false,
            base: 0,
            log: VecDeque::new(),
        };
        self.rings.insert(ring, alone);
        let daemon = Host {
            up: true,
            frozen: false,
            ring,
            chain: vec![ring],
            told: BTreeSet::from([host]),
            next: 0,
            groups: [BTreeSet::new(), BTreeSet::new()],
            outgoing: VecDeque::new(),
            delay: Duration::ZERO,
        };
        self.hosts.insert(host, daemon);
        self.review();
    }

    fn kill(&mut self, host: HostId) {
        let now = self.now;
        let Some(daemon) = self.hosts.get_mut(&host) else { return };
        daemon.up = false;
        daemon.frozen = false;
        daemon.ring = 0;
        daemon.outgoing.clear();
        for group in &mut daemon.groups {
            group.clear();
        }
        for ((_, id), endpoint) in &mut self.endpoints {
            if id.major == host {
                endpoint.push(now, CarrierEvent::Lost(CarrierLost::Daemon));
            }
        }
        self.review();
    }

    fn set_frozen(&mut self, host: HostId, frozen: bool) {
        let Some(daemon) = self.hosts.get_mut(&host).filter(|host| host.up) else { return };
        daemon.frozen = frozen;
        self.review();
        self.run();
    }

    fn block(&mut self, from: HostId, to: HostId) {
        let now = self.now;
        if !self.blocked.insert((from, to)) {
            return;
        }
        // What is on the way is lost.
        let ring = self.hosts.get(&to).map_or(0, |host| host.ring);
        if let Some(ring) = self.rings.get_mut(&ring) {
            for entry in ring.log.iter_mut().filter(|entry| entry.source == from) {
                if entry.arrives.get(&to).is_some_and(|at| *at > now) {
                    entry.arrives.remove(&to);
                }
            }
        }
    }
}
