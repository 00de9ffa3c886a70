//! How rings come to be: who is with whom, what is still delivered of the old ring, and what the processes learn.

use super::host::Ring;
use super::{Class, HostId, State};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use postfleet_bus::{RawId, RawReason};

impl State {
    /// Whether two daemons run and hear each other.
    fn hear(&self, a: HostId, b: HostId) -> bool {
        let runs = |id: HostId| self.hosts.get(&id).is_some_and(super::Host::runs);
        let passes = |from: HostId, to: HostId| !self.blocked.contains(&(from, to));
        a == b || runs(a) && runs(b) && passes(a, b) && passes(b, a)
    }

    /// Groups of daemons that hear each other pairwise. Where that leaves a choice, the seed decides.
    fn cliques(&mut self) -> Vec<BTreeSet<HostId>> {
        let mut running: Vec<HostId> =
            self.hosts.iter().filter(|(_, h)| h.runs()).map(|(id, _)| *id).collect();
        for at in (1..running.len()).rev() {
            let other = usize::try_from(self.random.below(at as u64 + 1)).unwrap_or(0);
            running.swap(at, other);
        }
        let mut sets: Vec<BTreeSet<HostId>> = Vec::new();
        for host in running {
            let home = sets.iter().position(|set| set.iter().all(|other| self.hear(host, *other)));
            match home.and_then(|at| sets.get_mut(at)) {
                Some(set) => {
                    set.insert(host);
                }
                None => sets.push(BTreeSet::from([host])),
            }
        }
        sets.sort();
        sets
    }

    /// Forms rings of those who hear each other now.
    pub(super) fn form(&mut self) {
        self.form_at = None;
        for set in self.cliques() {
            let rings: BTreeSet<u64> =
                set.iter().filter_map(|id| self.hosts.get(id)).map(|host| host.ring).collect();
            let same = rings.len() == 1
                && rings.first().and_then(|id| self.rings.get(id)).is_some_and(|ring| ring.members == set);
            if !same {
                self.new_ring(set);
            }
        }
        let used: BTreeSet<u64> = self.hosts.values().map(|host| host.ring).collect();
        self.rings.retain(|id, _| used.contains(id));
        self.review();
    }

    fn new_ring(&mut self, set: BTreeSet<HostId>) {
        let mut parts: BTreeMap<u64, BTreeSet<HostId>> = BTreeMap::new();
        for id in &set {
            if let Some(host) = self.hosts.get(id) {
                parts.entry(host.ring).or_default().insert(*id);
            }
        }
        for (ring, part) in &parts {
            self.deliver_leftovers(*ring, part);
        }
        // What each daemon says about its own processes.
        let local = |state: &Self, class: Class, hosts: &BTreeSet<HostId>| -> Vec<RawId> {
            let of = |id: &HostId| state.hosts.get(id).and_then(|host| host.groups.get(class.index()));
            let own = |id: &HostId| {
                let group = of(id).into_iter().flatten().copied();
                let host = *id;
                group.filter(move |raw| raw.major == host).collect::<Vec<_>>()
            };
            hosts.iter().flat_map(own).collect()
        };
        let mut plans = Vec::new();
        for (ring, part) in &parts {
            let before = self.rings.get(ring).map(|ring| ring.members.clone()).unwrap_or_default();
            let others: BTreeSet<HostId> = set.difference(part).copied().collect();
            for class in Class::ALL {
                let joined = local(self, class, &others);
                for host in part {
                    plans.push((*host, class, before.clone(), part.clone(), joined.clone()));
                }
            }
        }
        for (host, class, before, part, joined) in plans {
            let group = self.hosts.get_mut(&host).and_then(|host| host.groups.get_mut(class.index()));
            let Some(group) = group else { continue };
            // A process on a host that was never on the ring is a ghost: nobody takes it out.
            let left: Vec<(RawId, RawReason)> = group
                .iter()
                .filter(|raw| before.contains(&raw.major) && !part.contains(&raw.major))
                .map(|raw| (*raw, RawReason::NodeDown))
                .collect();
            for (raw, _) in &left {
                group.remove(raw);
            }
            if !left.is_empty() {
                self.tell(host, class, &left, &[]);
            }
            let group = self.hosts.get_mut(&host).and_then(|host| host.groups.get_mut(class.index()));
            let Some(group) = group else { continue };
            group.extend(&joined);
            if !joined.is_empty() {
                self.tell(host, class, &[], &joined);
            }
        }
        let sync = self.timing.sync;
        let orders_from = self.now + self.pick(sync);
        let id = self.next_ring;
        self.next_ring += 1;
        for host in &set {
            if let Some(host) = self.hosts.get_mut(host) {
                host.ring = id;
                host.next = 0;
            }
        }
        let ring = Ring { members: set, whole: true, orders_from, base: 0, log: VecDeque::new() };
        self.rings.insert(id, ring);
    }

    /// The transitional configuration: hosts that leave an old ring together deliver what one of them has received,
    /// up to the first hole, and after it what they sent themselves. More cannot be promised, since a message behind
    /// the hole may depend on the missing one.
    fn deliver_leftovers(&mut self, ring: u64, part: &BTreeSet<HostId>) {
        let now = self.now;
        let Some(old) = self.rings.get(&ring) else { return };
        let mut hole = false;
        let mut leftovers = Vec::new();
        for place in old.base..old.end() {
            let Some(entry) = old.entry(place) else { continue };
            let own = part.contains(&entry.source);
            let received = part.iter().any(|id| entry.arrives.get(id).is_some_and(|at| *at <= now));
            hole |= !own && !received;
            if own || !hole {
                leftovers.push((place, entry.item.clone()));
            }
        }
        for id in part {
            let from = self.hosts.get(id).map_or(0, |host| host.next);
            for (_, item) in leftovers.iter().filter(|(place, _)| *place >= from) {
                self.deliver(*id, item);
            }
        }
    }

    /// Looks at what a change of the network means: which rings turn, and when others are formed.
    pub(super) fn review(&mut self) {
        let mut broken = false;
        let ids: Vec<u64> = self.rings.keys().copied().collect();
        for id in ids {
            let Some(ring) = self.rings.get(&id) else { continue };
            let members: Vec<HostId> = ring.members.iter().copied().collect();
            let on_it = |host: &HostId| self.hosts.get(host).is_some_and(|h| h.runs() && h.ring == id);
            let whole = members.iter().all(on_it)
                && members.iter().all(|a| members.iter().all(|b| self.hear(*a, *b)));
            broken |= !whole && members.iter().any(on_it);
            let again = whole && !ring.whole;
            if again {
                self.send_again(id);
            }
            if let Some(ring) = self.rings.get_mut(&id) {
                ring.whole = whole;
            }
        }
        let delay = if broken {
            let most = self.timing.detection;
            most / 5 * 4 + self.pick(most / 5)
        } else if self.could_merge() {
            let chosen = !self.hears_alike();
            let most = if chosen { self.timing.detection * 4 } else { self.timing.merge };
            self.pick(most) + if chosen { self.timing.detection } else { core::time::Duration::ZERO }
        } else {
            self.form_at = None;
            return;
        };
        let at = self.now + delay;
        self.form_at = Some(self.form_at.map_or(at, |before| before.min(at)));
    }

    /// Whether two daemons on different rings hear each other.
    fn could_merge(&self) -> bool {
        self.hosts.iter().any(|(a, one)| {
            self.hosts
                .range((core::ops::Bound::Excluded(*a), core::ops::Bound::Unbounded))
                .any(|(b, other)| one.ring != other.ring && self.hear(*a, *b))
        })
    }

    /// Whether those who hear each other also hear the same others: then there is only one way to form rings.
    fn hears_alike(&self) -> bool {
        let heard = |a: HostId| -> Vec<HostId> {
            self.hosts.iter().filter(|(b, host)| host.runs() && self.hear(a, **b)).map(|(b, _)| *b).collect()
        };
        let running: Vec<HostId> = self.hosts.iter().filter(|(_, h)| h.runs()).map(|(id, _)| *id).collect();
        running.iter().all(|a| {
            let of_a = heard(*a);
            of_a.iter().all(|b| heard(*b) == of_a)
        })
    }

    /// The ring goes round again before anybody gave it up: what was lost on the way is sent again.
    fn send_again(&mut self, ring: u64) {
        let now = self.now;
        let transit = self.timing.transit;
        let Some(mut old) = self.rings.remove(&ring) else { return };
        for entry in &mut old.log {
            for member in &old.members {
                if !entry.arrives.contains_key(member) {
                    let at = now + self.pick(transit);
                    entry.arrives.insert(*member, at);
                }
            }
        }
        self.rings.insert(ring, old);
    }
}
