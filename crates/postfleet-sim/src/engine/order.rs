//! The order of a ring: what gets a place, when it reaches whom, and what the processes then see.

use super::host::{Entry, Item, Submission};
use super::{Class, HostId, State};
use alloc::vec::Vec;
use postfleet_bus::{CarrierEvent, CarrierLost, RawId, RawReason};
use postfleet_types::Monotonic;

impl State {
    /// Does everything that is due.
    pub(super) fn run(&mut self) {
        self.dirty = false;
        loop {
            let mut progress = false;
            if self.form_at.is_some_and(|at| at <= self.now) {
                self.form();
                progress = true;
            }
            progress |= self.tell_rings();
            progress |= self.originate();
            progress |= self.deliver_what_arrived();
            if !progress {
                return;
            }
        }
    }

    /// Gives places in the order, oldest first.
    fn originate(&mut self) -> bool {
        let mut any = false;
        loop {
            let next = self
                .hosts
                .iter()
                .filter(|(_, host)| self.next_origin(host).is_some_and(|at| at <= self.now))
                .filter_map(|(id, host)| Some((host.outgoing.iter().map(|outgoing| outgoing.at).min()?, *id)))
                .min();
            let Some((_, source)) = next else { return any };
            any = true;
            let Some(host) = self.hosts.get_mut(&source) else { return any };
            let ring = host.ring;
            // Processes do not wait for each other: whoever is due first goes first.
            let first =
                host.outgoing.iter().enumerate().min_by_key(|(index, o)| (o.at, *index)).map(|(at, _)| at);
            let Some(outgoing) = first.and_then(|at| host.outgoing.remove(at)) else { return any };
            let members: Vec<HostId> =
                self.rings.get(&ring).map(|ring| ring.members.iter().copied().collect()).unwrap_or_default();
            let mut arrives = alloc::collections::BTreeMap::new();
            for member in members {
                let mut at = self.now;
                if member != source {
                    let transit = self.timing.transit;
                    let slower = self.hosts.get(&member).map(|host| host.delay).unwrap_or_default();
                    at = at + self.pick(transit) + slower;
                }
                arrives.insert(member, at);
            }
            if let Some(ring) = self.rings.get_mut(&ring) {
                ring.log.push_back(Entry { source, item: outgoing.item, arrives });
            }
        }
    }

    /// When the oldest thing in the queue of a host may get its place.
    fn next_origin(&self, host: &super::Host) -> Option<Monotonic> {
        if !host.runs() {
            return None;
        }
        let ring = self.rings.get(&host.ring).filter(|ring| ring.whole && !ring.untold)?;
        let first = host.outgoing.iter().map(|outgoing| outgoing.at).min()?;
        Some(first.max(ring.orders_from))
    }

    fn deliver_what_arrived(&mut self) -> bool {
        let mut any = false;
        let hosts: Vec<HostId> = self.hosts.iter().filter(|(_, h)| h.runs()).map(|(id, _)| *id).collect();
        for id in hosts {
            while let Some(host) = self.hosts.get(&id) {
                let place = host.next;
                let entry = self.rings.get(&host.ring).and_then(|ring| ring.entry(place));
                let Some(entry) = entry.filter(|e| e.arrives.get(&id).is_some_and(|at| *at <= self.now))
                else {
                    break;
                };
                let item = entry.item.clone();
                any = true;
                self.deliver(id, &item);
                if let Some(host) = self.hosts.get_mut(&id) {
                    host.next = place + 1;
                }
            }
        }
        if any {
            self.forget_delivered();
        }
        any
    }

    /// Drops what every host on its ring has delivered.
    fn forget_delivered(&mut self) {
        for (id, ring) in &mut self.rings {
            let on_it = self.hosts.values().filter(|host| host.ring == *id).map(|host| host.next);
            let Some(least) = on_it.min() else { continue };
            while ring.base < least && ring.log.pop_front().is_some() {
                ring.base += 1;
            }
        }
    }

    /// What a daemon does at a place of the order.
    pub(super) fn deliver(&mut self, host: HostId, submission: &Submission) {
        let Submission { class, id, item } = submission;
        let Some(daemon) = self.hosts.get_mut(&host) else { return };
        let Some(group) = daemon.groups.get_mut(class.index()) else { return };
        match item {
            Item::Join => {
                group.insert(*id);
                if id.major == host
                    && let Some(endpoint) = self.endpoints.get_mut(&(*class, *id))
                {
                    endpoint.joined = true;
                }
                self.tell(host, *class, &[], &[*id]);
            }
            Item::Leave(reason) => {
                if !group.remove(id) {
                    return;
                }
                // Who leaves sees the end of its stream instead of a change without itself.
                let due = self.due();
                if let Some(endpoint) = self.endpoints.get_mut(&(*class, *id)).filter(|_| id.major == host) {
                    endpoint.joined = false;
                    endpoint.push(due, CarrierEvent::Lost(CarrierLost::Detached));
                }
                self.tell(host, *class, &[(*id, *reason)], &[]);
            }
            Item::Message(bytes) => {
                if group.contains(id) {
                    let event = CarrierEvent::Deliver { from: *id, bytes: bytes.clone() };
                    self.push_to_local(host, *class, &event);
                }
            }
        }
    }

    fn due(&mut self) -> Monotonic {
        let local = self.timing.local;
        self.now + self.pick(local)
    }

    /// Tells the processes of a host that a group has changed.
    pub(super) fn tell(&mut self, host: HostId, class: Class, left: &[(RawId, RawReason)], joined: &[RawId]) {
        let Some(daemon) = self.hosts.get(&host) else { return };
        let members =
            daemon.groups.get(class.index()).map(|g| g.iter().copied().collect()).unwrap_or_default();
        let event = CarrierEvent::Change { members, left: left.to_vec(), joined: joined.to_vec() };
        self.push_to_local(host, class, &event);
    }

    fn push_to_local(&mut self, host: HostId, class: Class, event: &CarrierEvent) {
        let from = RawId { major: host, minor: 0 };
        let to = RawId { major: host, minor: u32::MAX };
        let local: Vec<RawId> = self
            .endpoints
            .range((class, from)..=(class, to))
            .filter(|(_, endpoint)| endpoint.joined && !endpoint.ended)
            .map(|((_, id), _)| *id)
            .collect();
        for id in local {
            let due = self.due();
            let Some(endpoint) = self.endpoints.get_mut(&(class, id)) else { continue };
            endpoint.push(due, event.clone());
            if endpoint.inbox.len() > self.inbox_max && !endpoint.paused {
                self.overrun(class, id);
            }
        }
    }

    /// The process does not read: its attachment gives up, and leaves.
    fn overrun(&mut self, class: Class, id: RawId) {
        let now = self.now;
        if let Some(endpoint) = self.endpoints.get_mut(&(class, id)) {
            endpoint.inbox.clear();
            endpoint.push(now, CarrierEvent::Lost(CarrierLost::Overrun));
        }
        self.hand_in(class, id, Item::Leave(RawReason::Left));
    }

    /// The handle of an attachment was closed, or its process ended. What it had handed in may be lost, the last
    /// first.
    pub(super) fn close(&mut self, class: Class, id: RawId) {
        let Some(endpoint) = self.endpoints.remove(&(class, id)) else { return };
        if endpoint.ended {
            return;
        }
        let waiting = self.hosts.get(&id.major).map_or(0, |host| host.waiting(class, id));
        let kept = usize::try_from(self.random.below(waiting as u64 + 1)).unwrap_or(0);
        if let Some(host) = self.hosts.get_mut(&id.major) {
            let mut place = 0;
            host.outgoing.retain(|outgoing| {
                let is_message =
                    outgoing.item.is_of(class, id) && matches!(outgoing.item.item, Item::Message(_));
                place += usize::from(is_message);
                !is_message || place <= kept
            });
        }
        // A leave that is on its way already is enough.
        if !endpoint.leaving {
            self.hand_in(class, id, Item::Leave(RawReason::ProcessDown));
        }
        self.dirty = true;
    }

    pub(super) fn next_due(&self) -> Option<Monotonic> {
        let reads = self
            .endpoints
            .values()
            .filter(|endpoint| !endpoint.paused)
            .filter_map(|endpoint| endpoint.inbox.front().map(|(due, _)| *due));
        let origins = self.hosts.values().filter_map(|host| self.next_origin(host));
        let arrivals =
            self.hosts.iter().filter(|(_, host)| host.runs()).filter_map(|(id, host)| {
                self.rings.get(&host.ring)?.entry(host.next)?.arrives.get(id).copied()
            });
        let tellings =
            self.rings.values().filter(|ring| ring.untold && ring.whole).map(|ring| ring.orders_from);
        let later = |due: &Monotonic| *due > self.now;
        reads.chain(tellings).chain(origins).chain(arrivals).chain(self.form_at).filter(later).min()
    }
}
