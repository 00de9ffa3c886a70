//! How rings come to be: who is with whom, what is still delivered of the old ring, and what the processes learn.

use super::host::Ring;
use super::{Class, HostId, State};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use postfleet_bus::{RawId, RawReason};

/// What processes learn of a new ring.
struct Told {
    /// Who has left, and in the same change come back: it came from the latest ring, but not all the way.
    left: Vec<(RawId, RawReason)>,
    back: Vec<RawId>,
    /// Who has come.
    joined: Vec<RawId>,
}

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
        let detours = core::mem::take(&mut self.detours);
        for set in self.cliques() {
            let rings: BTreeSet<u64> =
                set.iter().filter_map(|id| self.hosts.get(id)).map(|host| host.ring).collect();
            let same = rings.len() == 1
                && rings.first().and_then(|id| self.rings.get(id)).is_some_and(|ring| ring.members == set);
            if detours {
                self.detour_of(&set);
            }
            if detours || !same {
                self.new_ring(set);
            }
        }
        let used: BTreeSet<u64> = self.hosts.values().map(|host| host.ring).collect();
        self.rings.retain(|id, _| used.contains(id));
        self.review();
    }

    /// Rings of these daemons that break before anybody is told of them.
    fn detour_of(&mut self, set: &BTreeSet<HostId>) {
        let (some, others): (BTreeSet<HostId>, BTreeSet<HostId>) =
            set.iter().copied().partition(|_| self.random.below(2) == 0);
        for side in [some, others] {
            if !side.is_empty() {
                self.new_ring(side);
            }
        }
        // After one ring of all of them, all have come from the latest ring.
        if self.random.below(4) > 0 {
            self.new_ring(set.clone());
        }
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
        let sync = self.timing.sync;
        let orders_from = self.now + self.pick(sync);
        let id = self.next_ring;
        self.next_ring += 1;
        for host in &set {
            if let Some(host) = self.hosts.get_mut(host) {
                host.ring = id;
                host.chain.push(id);
                host.next = 0;
            }
        }
        let ring =
            Ring { members: set, whole: true, orders_from, untold: true, base: 0, log: VecDeque::new() };
        self.rings.insert(id, ring);
    }

    /// Tells the processes of the rings whose daemons are in step by now.
    pub(super) fn tell_rings(&mut self) -> bool {
        let now = self.now;
        let in_step = |ring: &Ring| ring.untold && ring.whole && ring.orders_from <= now;
        let due: Vec<u64> = self.rings.iter().filter(|(_, ring)| in_step(ring)).map(|(id, _)| *id).collect();
        for id in &due {
            self.tell_ring(*id);
        }
        !due.is_empty()
    }

    fn tell_ring(&mut self, id: u64) {
        let Some(ring) = self.rings.get_mut(&id) else { return };
        ring.untold = false;
        let set = ring.members.clone();
        let plans: Vec<(HostId, Class, Told)> = set
            .iter()
            .flat_map(|host| Class::ALL.map(|class| (*host, class)))
            .filter_map(|(host, class)| Some((host, class, self.plan_telling(&set, host, class)?)))
            .collect();
        for (host, class, Told { left, back, joined }) in plans {
            let Some(group) = self.group_mut(host, class) else { continue };
            group.retain(|raw| left.iter().all(|(gone, _)| gone != raw));
            group.extend(&back);
            if !left.is_empty() {
                self.tell(host, class, &left, &back);
            }
            let Some(group) = self.group_mut(host, class) else { continue };
            group.extend(&joined);
            if !joined.is_empty() {
                self.tell(host, class, &[], &joined);
            }
        }
        for host in &set {
            if let Some(host) = self.hosts.get_mut(host) {
                host.chain = vec![id];
                host.told.clone_from(&set);
            }
        }
    }

    fn group_mut(&mut self, host: HostId, class: Class) -> Option<&mut BTreeSet<RawId>> {
        self.hosts.get_mut(&host)?.groups.get_mut(class.index())
    }

    /// What the processes of a host learn of a ring.
    fn plan_telling(&self, set: &BTreeSet<HostId>, host: HostId, class: Class) -> Option<Told> {
        let me = self.hosts.get(&host)?;
        let group = me.groups.get(class.index())?;
        let latest = |chain: &[u64]| chain.iter().rev().nth(1).copied();
        // Who came from the latest ring that I was on, and who went with me all the way.
        let seems_with = |other: &HostId| {
            self.hosts.get(other).is_some_and(|other| latest(&other.chain) == latest(&me.chain))
        };
        let was_with = |other: &HostId| self.hosts.get(other).is_some_and(|other| other.chain == me.chain);
        let stays = |other: &HostId| {
            set.contains(other) && if self.forgetful { seems_with(other) } else { was_with(other) }
        };
        // A process on a host that was never on the ring is a ghost: nobody takes it out.
        let left: Vec<(RawId, RawReason)> = group
            .iter()
            .filter(|raw| me.told.contains(&raw.major) && !stays(&raw.major))
            .map(|raw| (*raw, RawReason::NodeDown))
            .collect();
        let has_left = |raw: &RawId| left.iter().any(|(gone, _)| gone == raw);
        // What each daemon says about its own processes.
        let local = |id: &HostId| {
            let of = self.hosts.get(id).and_then(|host| host.groups.get(class.index()));
            let host = *id;
            of.into_iter().flatten().copied().filter(move |raw| raw.major == host)
        };
        let here = set.iter().flat_map(local).filter(|raw| !group.contains(raw) || has_left(raw));
        let (back, joined) = here.partition(|raw| has_left(raw) && seems_with(&raw.major));
        Some(Told { left, back, joined })
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
