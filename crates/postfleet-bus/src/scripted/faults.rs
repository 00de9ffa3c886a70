//! What can be done to a scripted bus.

use super::{Component, Network, State};
use crate::carrier::{CarrierLost, RawId, RawReason};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::Monotonic;

impl Network {
    /// Splits the network. Hosts that are not listed keep company with each other.
    pub fn partition(&self, sets: &[Vec<u32>]) {
        self.0.borrow_mut().partition(sets);
    }

    /// Joins all sides, except hosts whose engine stands still.
    pub fn heal(&self) {
        self.0.borrow_mut().heal();
    }

    /// A process ends without a word. Its ordered messages are delivered, the others not.
    pub fn crash(&self, id: RawId) {
        self.0.borrow_mut().remove(id, RawReason::ProcessDown);
    }

    /// A host ends without a word: others notice after the detection time, and may have lost its last messages.
    pub fn crash_host(&self, host: u32) {
        self.0.borrow_mut().crash_host(host);
    }

    /// The process of this attachment reads nothing (it is not told; the rig does not poll it).
    pub fn set_paused(&self, id: RawId, paused: bool) {
        if let Some(endpoint) = self.0.borrow_mut().endpoints.get_mut(&id) {
            endpoint.paused = paused;
        }
    }

    /// The engine of a host stands still.
    pub fn engine_stop(&self, host: u32) {
        self.0.borrow_mut().engine_stop(host);
    }

    /// It goes on: its processes learn that all others left, then that they came back.
    pub fn engine_resume(&self, host: u32) {
        let mut state = self.0.borrow_mut();
        for id in state.ids_on(&[host]) {
            if let Some(endpoint) = state.endpoints.get_mut(&id) {
                endpoint.frozen = false;
            }
        }
        state.heal();
    }

    /// The engine of a host is killed: its attachments end.
    pub fn engine_restart(&self, host: u32) {
        let mut state = self.0.borrow_mut();
        for id in state.ids_on(&[host]) {
            let side = state.side(host);
            let was_in = state.components.get_mut(&side).is_some_and(|c| c.members.remove(&id));
            if was_in {
                let due = state.now;
                state.change(side, due, &[(id, RawReason::NodeDown)], &[]);
            }
            state.lose(id, CarrierLost::Daemon);
        }
    }

    /// What reaches this attachment takes so much longer from now on.
    pub fn delay(&self, id: RawId, delay: Duration) {
        if let Some(endpoint) = self.0.borrow_mut().endpoints.get_mut(&id) {
            endpoint.delay = delay;
        }
    }

    /// At least so long between two messages of this attachment.
    pub fn throttle(&self, id: RawId, pace: Option<Duration>) {
        let mut state = self.0.borrow_mut();
        let now = state.now;
        if let Some(endpoint) = state.endpoints.get_mut(&id) {
            endpoint.pace = pace;
            if pace.is_none() {
                for (at, _) in &mut endpoint.outgoing {
                    *at = (*at).min(now);
                }
            }
        }
        state.order_what_is_due();
    }

    /// The next message accepted from this attachment vanishes.
    pub fn drop_next(&self, id: RawId) {
        if let Some(endpoint) = self.0.borrow_mut().endpoints.get_mut(&id) {
            endpoint.drops_next = true;
        }
    }

    /// An attachment that never speaks and never leaves.
    #[must_use]
    pub fn ghost(&self, host: u32) -> RawId {
        self.0.borrow_mut().attach(host, true)
    }

    /// The stream of this attachment ends.
    pub fn lose(&self, id: RawId, reason: CarrierLost) {
        self.0.borrow_mut().lose(id, reason);
    }
}

impl State {
    fn partition(&mut self, sets: &[Vec<u32>]) {
        let mut wanted: BTreeMap<u32, u32> = BTreeMap::new();
        let rest = self.next_side;
        self.next_side += 1;
        for set in sets {
            let side = self.next_side;
            self.next_side += 1;
            wanted.extend(set.iter().map(|host| (*host, side)));
        }
        let hosts: BTreeSet<u32> = self.endpoints.values().map(|endpoint| endpoint.host).collect();
        let frozen: BTreeSet<u32> =
            self.endpoints.values().filter(|e| e.frozen).map(|endpoint| endpoint.host).collect();
        for host in hosts.union(&wanted.keys().copied().collect()) {
            wanted.entry(*host).or_insert(rest);
        }
        // A split only divides: who did not hear each other before does not now. Hosts of one old side that stay
        // together get one new side.
        let mut sides: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        let mut assigned = BTreeMap::new();
        for (host, set) in &wanted {
            if frozen.contains(host) {
                assigned.insert(*host, self.side(*host));
                continue;
            }
            let key = (self.side(*host), *set);
            let side = *sides.entry(key).or_insert_with(|| {
                self.next_side += 1;
                self.next_side
            });
            assigned.insert(*host, side);
        }
        self.regroup(assigned);
    }

    fn engine_stop(&mut self, host: u32) {
        for id in self.ids_on(&[host]) {
            if let Some(endpoint) = self.endpoints.get_mut(&id) {
                endpoint.frozen = true;
            }
        }
        self.next_side += 1;
        let mut sides = self.sides.clone();
        sides.insert(host, self.next_side);
        self.regroup(sides);
    }

    fn crash_host(&mut self, host: u32) {
        let ids = self.ids_on(&[host]);
        self.next_side += 1;
        let mut sides = self.sides.clone();
        sides.insert(host, self.next_side);
        self.regroup(sides.clone());
        for id in ids {
            self.endpoints.remove(&id);
        }
        self.components.remove(&self.next_side);
        sides.remove(&host);
        self.sides.remove(&host);
    }

    /// Puts hosts on new sides. A side that loses members cuts what was ordered but is not delivered there, at
    /// one place for all, and learns of the loss after the detection time.
    fn regroup(&mut self, assigned: BTreeMap<u32, u32>) {
        let before = core::mem::take(&mut self.components);
        let old_sides = core::mem::replace(&mut self.sides, assigned);
        let due = self.now + self.timing.detection;
        for (old_side, old) in before {
            let mut parts: BTreeMap<u32, BTreeSet<RawId>> = BTreeMap::new();
            for id in &old.members {
                let Some(endpoint) = self.endpoints.get(id) else { continue };
                let side = if self.sides.contains_key(&endpoint.host) {
                    self.side(endpoint.host)
                } else {
                    old_sides.get(&endpoint.host).copied().unwrap_or(old_side)
                };
                parts.entry(side).or_default().insert(*id);
            }
            let divides = parts.len() > 1;
            for (side, members) in parts {
                if !divides {
                    let stalled_until = old.stalled_until;
                    self.components.insert(side, Component { members, stalled_until });
                    continue;
                }
                self.cut(&members);
                let left: Vec<(RawId, RawReason)> =
                    old.members.difference(&members).map(|id| (*id, RawReason::NodeDown)).collect();
                self.components.insert(side, Component { members, stalled_until: due });
                self.change(side, due, &left, &[]);
            }
        }
    }

    /// Drops the end of what is on its way to these members: they agree on how much they still deliver. What one
    /// of them has read or has had ordered itself stays.
    fn cut(&mut self, members: &BTreeSet<RawId>) {
        let mut floor = 0;
        let mut last = 0;
        for id in members {
            floor = floor.max(self.last_serial_of.get(id).copied().unwrap_or(0));
            let Some(endpoint) = self.endpoints.get(id) else { continue };
            floor = floor.max(endpoint.consumed);
            last = last.max(endpoint.inbox.back().map_or(0, |entry| entry.serial));
            // A change stays: it was agreed.
            let changes = endpoint
                .inbox
                .iter()
                .filter(|e| !matches!(e.event, crate::carrier::CarrierEvent::Deliver { .. }));
            floor = floor.max(changes.map(|entry| entry.serial).max().unwrap_or(0));
        }
        let keep_all = self.random.below(2) == 0;
        let cut = if keep_all || last <= floor { last } else { floor + self.random.below(last - floor + 1) };
        for id in members {
            if let Some(endpoint) = self.endpoints.get_mut(id) {
                endpoint.inbox.retain(|entry| entry.serial <= cut);
            }
        }
    }

    fn heal(&mut self) {
        let frozen: BTreeSet<u32> =
            self.endpoints.values().filter(|e| e.frozen).map(|endpoint| endpoint.host).collect();
        let (whole, apart): (Vec<_>, Vec<_>) = core::mem::take(&mut self.components)
            .into_iter()
            .partition(|(side, _)| !frozen.iter().any(|host| self.side(*host) == *side));
        let hosts: BTreeSet<u32> = self.endpoints.values().map(|endpoint| endpoint.host).collect();
        let sides: BTreeMap<u32, u32> =
            hosts.iter().filter(|h| frozen.contains(h)).map(|host| (*host, self.side(*host))).collect();
        self.sides = sides;
        self.components.extend(apart);
        let all: BTreeSet<RawId> = whole.iter().flat_map(|(_, c)| c.members.iter().copied()).collect();
        let delay = self.timing.change.saturating_mul(10);
        let pending = whole.iter().map(|(_, component)| component.stalled_until).max();
        let due = (self.now + self.pick(delay)).max(pending.unwrap_or(Monotonic::ZERO));
        let several = whole.iter().filter(|(_, component)| !component.members.is_empty()).count() > 1;
        self.components.insert(0, Component { members: all.clone(), stalled_until: due });
        if !several {
            return;
        }
        let serial = self.serial();
        let members: Vec<RawId> = self.all_members(0);
        for (_, component) in whole {
            let joined: Vec<RawId> = all.difference(&component.members).copied().collect();
            for id in &component.members {
                if let Some(endpoint) = self.endpoints.get_mut(id) {
                    let event = crate::carrier::CarrierEvent::Change {
                        members: members.clone(),
                        left: Vec::new(),
                        joined: joined.clone(),
                    };
                    endpoint.push(due, serial, event);
                }
            }
        }
    }
}
