//! The one order: joins, leaves and messages get their places here.

use super::State;
use super::endpoint::Endpoint;
use crate::carrier::{CarrierEvent, CarrierLost, RawId, RawReason};
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::Monotonic;

impl State {
    /// A time up to `most`, in steps of a quarter of a millisecond so that things also happen at once.
    pub(super) fn pick(&mut self, most: Duration) -> Duration {
        let steps = u64::try_from(most.as_micros() / 250).unwrap_or(0);
        Duration::from_micros(self.random.below(steps + 1) * 250)
    }

    pub(super) fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    pub(super) fn side(&self, host: u32) -> u32 {
        self.sides.get(&host).copied().unwrap_or(0)
    }

    pub(super) fn attach(&mut self, host: u32, ghost: bool) -> RawId {
        let id = RawId { major: host, minor: self.next_minor };
        self.next_minor += 1;
        self.endpoints.insert(id, Endpoint { host, ghost, ..Endpoint::default() });
        let side = self.side(host);
        self.components.entry(side).or_default().members.insert(id);
        let delay = self.timing.change;
        let due = self.now + self.pick(delay);
        self.change(side, due, &[], &[id]);
        id
    }

    /// Tells a component that its members are now different. The place in the order is now.
    pub(super) fn change(
        &mut self,
        side: u32,
        due: Monotonic,
        left: &[(RawId, RawReason)],
        joined: &[RawId],
    ) {
        let serial = self.serial();
        let Some(component) = self.components.get(&side) else { return };
        let members: Vec<RawId> = component.members.iter().copied().collect();
        for id in &members {
            if let Some(endpoint) = self.endpoints.get_mut(id) {
                let event = CarrierEvent::Change {
                    members: members.clone(),
                    left: left.to_vec(),
                    joined: joined.to_vec(),
                };
                endpoint.push(due, serial, event);
            }
        }
    }

    /// Takes an attachment away.
    pub(super) fn remove(&mut self, id: RawId, reason: RawReason) {
        let Some(endpoint) = self.endpoints.remove(&id) else { return };
        let side = self.side(endpoint.host);
        let was_in = self.components.get_mut(&side).is_some_and(|component| component.members.remove(&id));
        if was_in {
            let delay = self.timing.change;
            let due = self.now + self.pick(delay);
            self.change(side, due, &[(id, reason)], &[]);
        }
    }

    /// Gives accepted messages their places, oldest first, and lets those leave that have nothing more to say.
    pub(super) fn order_what_is_due(&mut self) {
        loop {
            let next = self
                .endpoints
                .iter()
                .filter(|(_, endpoint)| !endpoint.frozen)
                .filter_map(|(id, endpoint)| endpoint.outgoing.front().map(|(at, _)| (*at, *id)))
                .filter(|(at, id)| *at <= self.now && self.stalled_until(*id) <= self.now)
                .min();
            let Some((_, id)) = next else { break };
            let message = self.endpoints.get_mut(&id).and_then(|endpoint| endpoint.outgoing.pop_front());
            if let Some((_, bytes)) = message {
                self.deliver_to_all(id, &bytes);
            }
        }
        let done: Vec<RawId> = self
            .endpoints
            .iter()
            .filter(|(_, e)| e.leaving && !e.detached && !e.lost && !e.frozen && e.outgoing.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in done {
            let now = self.now;
            if let Some(mut endpoint) = self.endpoints.remove(&id) {
                let side = self.side(endpoint.host);
                let was_in = self.components.get_mut(&side).is_some_and(|c| c.members.remove(&id));
                if was_in {
                    self.change(side, now, &[(id, RawReason::Left)], &[]);
                }
                endpoint.detached = true;
                let serial = self.serial();
                endpoint.push(now, serial, CarrierEvent::Lost(CarrierLost::Detached));
                self.endpoints.insert(id, endpoint);
            }
        }
    }

    fn stalled_until(&self, id: RawId) -> Monotonic {
        self.component_of(id).map_or(Monotonic::ZERO, |component| component.stalled_until)
    }

    fn component_of(&self, id: RawId) -> Option<&super::Component> {
        self.components.values().find(|component| component.members.contains(&id))
    }

    fn deliver_to_all(&mut self, from: RawId, bytes: &bytes::Bytes) {
        let Some(component) = self.component_of(from) else { return };
        let members: Vec<RawId> = component.members.iter().copied().collect();
        let serial = self.serial();
        self.last_serial_of.insert(from, serial);
        for id in members {
            let transit = self.timing.transit;
            let due = self.now + self.pick(transit);
            if let Some(endpoint) = self.endpoints.get_mut(&id) {
                endpoint.push(due, serial, CarrierEvent::Deliver { from, bytes: bytes.clone() });
                if due <= self.now {
                    endpoint.wake();
                }
            }
        }
    }

    pub(super) fn wake_ready(&mut self) {
        let now = self.now;
        for endpoint in self.endpoints.values_mut().filter(|endpoint| endpoint.is_readable(now)) {
            endpoint.wake();
        }
    }

    pub(super) fn next_due(&self) -> Option<Monotonic> {
        let reads = self
            .endpoints
            .values()
            .filter(|endpoint| !endpoint.frozen && !endpoint.paused)
            .filter_map(|endpoint| endpoint.inbox.front().map(|entry| entry.due));
        let orders = self
            .endpoints
            .iter()
            .filter(|(_, endpoint)| !endpoint.frozen)
            .filter_map(|(id, e)| e.outgoing.front().map(|(at, _)| (*at).max(self.stalled_until(*id))));
        reads.chain(orders).filter(|due| *due > self.now).min()
    }

    pub(super) fn all_members(&self, side: u32) -> Vec<RawId> {
        self.components.get(&side).map(|c| c.members.iter().copied().collect()).unwrap_or_default()
    }

    pub(super) fn ids_on(&self, hosts: &[u32]) -> Vec<RawId> {
        self.endpoints.iter().filter(|(_, e)| hosts.contains(&e.host)).map(|(id, _)| *id).collect()
    }

    pub(super) fn lose(&mut self, id: RawId, reason: CarrierLost) {
        let now = self.now;
        let serial = self.serial();
        if let Some(endpoint) = self.endpoints.get_mut(&id) {
            endpoint.inbox.clear();
            endpoint.outgoing.clear();
            endpoint.push(now, serial, CarrierEvent::Lost(reason));
            endpoint.wake();
        }
    }
}
