//! Connection slots, as all members know them at the same point of the order.

use crate::member::MemberId;
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use postfleet_types::Monotonic;

/// An entry that was passed over so often holds slots back until its turn has come.
const SKIPPED_MAX: u64 = 8;

/// Grants that are remembered for each key.
const GRANTS: usize = 5;

/// More slots than any fleet opens; keeps sums of numbers from peers in range.
const OWN_MAX: u64 = 1 << 32;

/// Slots that one claim may ask for; dealing takes a step for each. More are asked for when these have come.
const CLAIM_MAX: u64 = 65_536;

pub(crate) type KeyId = u32;
pub(crate) type PathId = u32;

/// One thing that a limit counts.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    /// L; 0 is none.
    pub(crate) whole: u64,
    /// C, the limit in force on this side.
    pub(crate) limit: u64,
    /// Slots that members own on it.
    pub(crate) owned: u64,
    /// Who waits on it: by slots owned, then by place.
    waiting: BTreeSet<Rank>,
    paths: BTreeSet<PathId>,
    pub(crate) grants: VecDeque<(MemberId, Monotonic)>,
}

impl Key {
    pub(crate) fn is_full(&self) -> bool {
        self.whole > 0 && self.owned >= self.limit
    }
}

/// The order in which those who wait are looked at.
type Rank = (u64, u64, (MemberId, PathId));

/// The slots of one member on one path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) own: u64,
    pub(crate) want: u64,
    pub(crate) place: u64,
    pub(crate) skipped: u64,
    /// Since when it has got nothing. Own clock; no part of the agreed state.
    pub(crate) since: Monotonic,
    /// Since when it waits, for display.
    pub(crate) waits: Monotonic,
}

#[derive(Debug, Default)]
pub(crate) struct SlotPool {
    keys: BTreeMap<KeyId, Key>,
    key_names: BTreeMap<String, KeyId>,
    paths: BTreeMap<PathId, Vec<KeyId>>,
    /// How many members have an entry on a path.
    users: BTreeMap<PathId, usize>,
    path_keys: BTreeMap<Vec<KeyId>, PathId>,
    entries: BTreeMap<(MemberId, PathId), Entry>,
    /// Keys that may have no path.
    unused: BTreeSet<KeyId>,
    next_key: KeyId,
    next_path: PathId,
    next_place: u64,
}

impl SlotPool {
    pub(crate) fn key(&self, id: KeyId) -> Option<&Key> {
        self.keys.get(&id)
    }

    pub(crate) fn key_of(&self, name: &str) -> Option<KeyId> {
        self.key_names.get(name).copied()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.key_names.values().filter_map(|id| self.keys.get(id))
    }

    /// The path over those keys, when somebody has an entry on it. The names ascend.
    pub(crate) fn path_of(&self, names: &[impl AsRef<str>]) -> Option<PathId> {
        let keys: Option<Vec<KeyId>> = names.iter().map(|name| self.key_of(name.as_ref())).collect();
        self.path_keys.get(&keys?).copied()
    }

    /// Whether somebody has an entry on a path of that number.
    pub(crate) fn has_path(&self, path: PathId) -> bool {
        self.paths.contains_key(&path)
    }

    pub(crate) fn path_names(&self, path: PathId) -> Vec<&str> {
        let keys = self.paths.get(&path).map(Vec::as_slice).unwrap_or_default();
        keys.iter().filter_map(|key| self.keys.get(key)).map(|key| key.name.as_str()).collect()
    }

    pub(crate) fn path_keys(&self, path: PathId) -> &[KeyId] {
        self.paths.get(&path).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn entry(&self, member: MemberId, path: PathId) -> Entry {
        self.entries.get(&(member, path)).copied().unwrap_or_default()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (MemberId, PathId, &Entry)> {
        self.entries.iter().map(|((member, path), entry)| (*member, *path, entry))
    }

    /// Entries in the order of their places; those that do not wait first.
    pub(crate) fn in_order(&self) -> Vec<(MemberId, PathId, Entry)> {
        let mut all: Vec<(MemberId, PathId, Entry)> =
            self.entries.iter().map(|((member, path), entry)| (*member, *path, *entry)).collect();
        all.sort_by_key(|(_, _, entry)| if entry.want > 0 { entry.place } else { 0 });
        all
    }

    /// Who waits on a key, in the order in which they are looked at.
    pub(crate) fn waiting(&self, key: KeyId) -> impl Iterator<Item = (MemberId, PathId, Entry)> {
        let waiting = self.keys.get(&key).map(|key| key.waiting.iter());
        waiting
            .into_iter()
            .flatten()
            .map(|(_, _, (member, path))| (*member, *path, self.entry(*member, *path)))
    }

    /// Slots that one member owns on a key.
    pub(crate) fn owned_by(&self, member: MemberId, key: KeyId) -> u64 {
        let paths = self.keys.get(&key).map(|key| key.paths.iter()).into_iter().flatten();
        paths.map(|path| self.entry(member, *path).own).sum()
    }

    /// What one member waits for on a key, and since when.
    pub(crate) fn wanted_by(&self, member: MemberId, key: KeyId) -> (u64, Option<Monotonic>) {
        let paths = self.keys.get(&key).map(|key| key.paths.iter()).into_iter().flatten();
        let entries = paths.map(|path| self.entry(member, *path)).filter(|entry| entry.want > 0);
        entries.fold((0, None), |(wanted, since), entry| {
            let first = since.map_or(entry.waits, |since: Monotonic| since.min(entry.waits));
            (wanted + entry.want, Some(first))
        })
    }

    /// The limit of a key; of one that is not there yet too. `in_force` is what this side may have of it.
    pub(crate) fn set_limit(&mut self, now: Monotonic, name: &str, whole: u64, in_force: u64) {
        let id = self.make_key(name);
        if let Some(key) = self.keys.get_mut(&id) {
            key.whole = whole;
            key.limit = in_force;
        }
        self.deal(now, BTreeSet::from([id]));
    }

    /// Sets what this side may have of every key.
    pub(crate) fn set_limits(&mut self, now: Monotonic, in_force: impl Fn(u64) -> u64) {
        for key in self.keys.values_mut() {
            key.limit = in_force(key.whole);
        }
        self.deal(now, self.keys.keys().copied().collect());
    }

    /// Lowers what this side may have while tables are exchanged: nothing is dealt.
    pub(crate) fn restrain(&mut self, in_force: impl Fn(u64) -> u64) {
        for key in self.keys.values_mut() {
            key.limit = key.limit.min(in_force(key.whole));
        }
    }

    /// A member wants so many slots of a path beyond those it owns.
    pub(crate) fn claim(&mut self, now: Monotonic, member: MemberId, names: &[&str], units: u64) {
        let path = self.make_path(names);
        let units = units.min(self.want_max(path));
        self.update(member, path, |entry, end| {
            if entry.want == 0 && units > 0 {
                entry.place = end;
                entry.since = now;
                entry.waits = now;
            }
            if units == 0 {
                entry.skipped = 0;
            }
            entry.want = units;
        });
        self.deal(now, self.path_keys(path).iter().copied().collect());
        self.tidy(path);
    }

    pub(crate) fn give(&mut self, now: Monotonic, member: MemberId, names: &[&str], units: u64) {
        let Some(path) = self.path_of(names) else { return };
        self.update(member, path, |entry, end| {
            entry.own -= units.min(entry.own);
            if entry.want > 0 {
                entry.place = end;
            }
        });
        self.deal(now, self.path_keys(path).iter().copied().collect());
        self.tidy(path);
    }

    /// Connections that are open without a slot become slots of their member.
    pub(crate) fn adopt(&mut self, member: MemberId, names: &[&str], units: u64) {
        let path = self.make_path(names);
        self.update(member, path, |entry, _| entry.own = entry.own.saturating_add(units).min(OWN_MAX));
        self.tidy(path);
    }

    /// Puts an entry in, as a table of its side has it.
    pub(crate) fn insert(&mut self, now: Monotonic, member: MemberId, names: &[&str], entry: Entry) {
        let path = self.make_path(names);
        let want = entry.want.min(self.want_max(path));
        self.update(member, path, |into, end| {
            *into = Entry {
                own: entry.own.min(OWN_MAX),
                want,
                place: end,
                skipped: entry.skipped.min(SKIPPED_MAX),
                since: now,
                waits: now,
            };
        });
        self.tidy(path);
    }

    /// A member is no longer there: its slots are free.
    pub(crate) fn depart(&mut self, now: Monotonic, member: MemberId) {
        let paths: Vec<PathId> =
            self.entries.keys().filter(|(of, _)| *of == member).map(|(_, path)| *path).collect();
        let mut freed = BTreeSet::new();
        for path in &paths {
            freed.extend(self.path_keys(*path).iter().copied());
            self.update(member, *path, |entry, _| *entry = Entry::default());
        }
        self.deal(now, freed);
        paths.into_iter().for_each(|path| self.tidy(path));
    }

    /// Forgets keys without entries.
    pub(crate) fn forget_unused_keys(&mut self) {
        for id in core::mem::take(&mut self.unused) {
            if self.keys.get(&id).is_some_and(|key| key.paths.is_empty())
                && let Some(key) = self.keys.remove(&id)
            {
                self.key_names.remove(&key.name);
            }
        }
    }

    /// Checks what always holds.
    pub(crate) fn assert_sound(&self) {
        for (id, key) in &self.keys {
            let on = |path: &PathId| self.path_keys(*path).contains(id);
            let entries = || self.entries.iter().filter(|((_, path), _)| on(path)).map(|(_, entry)| entry);
            assert_eq!(key.owned, entries().map(|entry| entry.own).sum::<u64>(), "slots on {}", key.name);
            assert_eq!(
                key.waiting.len(),
                entries().filter(|entry| entry.want > 0).count(),
                "who waits on {}",
                key.name
            );
        }
        for (path, users) in &self.users {
            assert_eq!(self.entries.keys().filter(|(_, of)| of == path).count(), *users, "entries of a path");
        }
    }

    /// The most that anybody can use of a path; nothing where no key has a limit.
    fn want_max(&self, path: PathId) -> u64 {
        let keys = self.path_keys(path).iter().filter_map(|key| self.keys.get(key));
        keys.map(|key| key.whole).filter(|whole| *whole > 0).min().unwrap_or(0).min(CLAIM_MAX)
    }

    fn make_key(&mut self, name: &str) -> KeyId {
        if let Some(id) = self.key_names.get(name) {
            return *id;
        }
        let id = self.next_key;
        self.next_key = self.next_key.wrapping_add(1);
        self.key_names.insert(name.to_owned(), id);
        let key = Key {
            name: name.to_owned(),
            whole: 0,
            limit: 0,
            owned: 0,
            waiting: BTreeSet::new(),
            paths: BTreeSet::new(),
            grants: VecDeque::new(),
        };
        self.keys.insert(id, key);
        self.unused.insert(id);
        id
    }

    fn make_path(&mut self, names: &[&str]) -> PathId {
        let keys: Vec<KeyId> = names.iter().map(|name| self.make_key(name)).collect();
        if let Some(path) = self.path_keys.get(&keys) {
            return *path;
        }
        let path = self.next_path;
        self.next_path = self.next_path.wrapping_add(1);
        for key in &keys {
            if let Some(key) = self.keys.get_mut(key) {
                key.paths.insert(path);
            }
        }
        self.path_keys.insert(keys.clone(), path);
        self.paths.insert(path, keys);
        path
    }

    /// Changes an entry, and everything that is counted and sorted by it.
    fn update(&mut self, member: MemberId, path: PathId, change: impl FnOnce(&mut Entry, u64)) {
        let id = (member, path);
        let before = self.entries.get(&id).copied().unwrap_or_default();
        let mut after = before;
        self.next_place += 1;
        change(&mut after, self.next_place);
        for key in self.paths.get(&path).into_iter().flatten() {
            let Some(key) = self.keys.get_mut(key) else { continue };
            key.owned = (key.owned + after.own).saturating_sub(before.own);
            if before.want > 0 {
                key.waiting.remove(&(before.own, before.place, id));
            }
            if after.want > 0 {
                key.waiting.insert((after.own, after.place, id));
            }
        }
        let users = self.users.entry(path).or_default();
        if after.own == 0 && after.want == 0 {
            *users -= usize::from(self.entries.remove(&id).is_some());
        } else {
            *users += usize::from(self.entries.insert(id, after).is_none());
        }
    }

    /// Forgets a path on which nobody has an entry.
    fn tidy(&mut self, path: PathId) {
        if self.users.get(&path).is_some_and(|users| *users > 0) {
            return;
        }
        self.users.remove(&path);
        if let Some(keys) = self.paths.remove(&path) {
            for key in &keys {
                if let Some(of) = self.keys.get_mut(key) {
                    of.paths.remove(&path);
                    self.unused.insert(*key);
                }
            }
            self.path_keys.remove(&keys);
        }
    }

    /// Serves those who wait on these keys, one slot at a time: who owns fewest first, then who stands nearest the
    /// front, and of those the first of whose keys none is full.
    fn deal(&mut self, now: Monotonic, mut keys: BTreeSet<KeyId>) {
        // Whoever was held back by an entry on these keys may be served now.
        let starved: Vec<PathId> = keys
            .iter()
            .filter_map(|key| self.keys.get(key))
            .flat_map(|key| key.waiting.iter())
            .filter(|(_, _, id)| self.entries.get(id).is_some_and(|entry| entry.skipped >= SKIPPED_MAX))
            .map(|(_, _, (_, path))| *path)
            .collect();
        for path in starved {
            keys.extend(self.path_keys(path).iter().copied());
        }
        while let Some(rank) = self.next_served(&keys) {
            keys.extend(self.serve(now, rank));
        }
    }

    fn next_served(&self, keys: &BTreeSet<KeyId>) -> Option<Rank> {
        let open = keys.iter().filter_map(|key| self.keys.get(key)).filter(|key| !key.is_full());
        let first = open.filter_map(|key| key.waiting.iter().find(|rank| self.can_be_served(rank)));
        first.min().copied()
    }

    fn can_be_served(&self, rank: &Rank) -> bool {
        let keys = self.path_keys(rank.2.1).iter();
        let mut keys = keys.filter_map(|id| Some((*id, self.keys.get(id)?)));
        keys.all(|(id, key)| {
            if key.whole == 0 {
                return true;
            }
            let left = key.limit.saturating_sub(key.owned);
            left > 1 || left == 1 && !self.is_held_back(id, rank)
        })
    }

    /// Whether the last free slot of a key is kept for somebody in front who has been passed over too often, and who
    /// is the next on another key that is full. One slot of a key is kept, for however many: each brings one along
    /// when its other key becomes free.
    fn is_held_back(&self, id: KeyId, rank: &Rank) -> bool {
        let Some(key) = self.keys.get(&id) else { return false };
        key.waiting.range(..*rank).any(|ahead| {
            let starved = self.entries.get(&ahead.2).is_some_and(|entry| entry.skipped >= SKIPPED_MAX);
            let next_on_full = |other: &KeyId| {
                let other = self.keys.get(other).filter(|other| other.is_full());
                other.is_some_and(|other| other.waiting.first() == Some(ahead))
            };
            starved && self.path_keys(ahead.2.1).iter().any(next_on_full)
        })
    }

    /// Gives one slot. Returns the keys on which something has changed.
    fn serve(&mut self, now: Monotonic, rank: Rank) -> Vec<KeyId> {
        let (member, path) = rank.2;
        let keys = self.path_keys(path).to_vec();
        let ahead: BTreeSet<(MemberId, PathId)> = keys
            .iter()
            .filter_map(|key| self.keys.get(key))
            .flat_map(|key| key.waiting.range(..rank).map(|(_, _, id)| *id))
            .collect();
        for id in ahead {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.skipped = (entry.skipped + 1).min(SKIPPED_MAX);
            }
        }
        self.update(member, path, |entry, end| {
            entry.own += 1;
            entry.want -= 1;
            entry.skipped = 0;
            entry.place = end;
            entry.since = now;
        });
        for key in &keys {
            if let Some(key) = self.keys.get_mut(key) {
                if key.grants.len() == GRANTS {
                    key.grants.pop_front();
                }
                key.grants.push_back((member, now));
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Registry;
    use postfleet_types::PrivateName;
    use proptest::prelude::*;

    type PlainEntry = (usize, Vec<&'static str>, u64, u64, u64, u64);

    /// The rules as they are worded: one list, walked from the front, nothing indexed.
    #[derive(Default)]
    struct Plain {
        limits: BTreeMap<&'static str, u64>,
        /// Member, path, own, want, skipped, place.
        entries: Vec<PlainEntry>,
        next: u64,
    }

    impl Plain {
        fn owned(&self, key: &str) -> u64 {
            self.entries.iter().filter(|entry| entry.1.contains(&key)).map(|entry| entry.2).sum()
        }

        fn full(&self, key: &str) -> bool {
            self.owned(key) >= self.limits[key]
        }

        fn at(&mut self, member: usize, path: &[&'static str]) -> &mut PlainEntry {
            let found = self.entries.iter().position(|entry| entry.0 == member && entry.1 == path);
            let at = found.unwrap_or_else(|| {
                self.entries.push((member, path.to_vec(), 0, 0, 0, 0));
                self.entries.len() - 1
            });
            &mut self.entries[at]
        }

        fn claim(&mut self, member: usize, path: &[&'static str], want: u64) {
            self.next += 1;
            let next = self.next;
            // Nobody can use more than the smallest limit.
            let want = path.iter().map(|key| self.limits[key]).min().map_or(0, |least| least.min(want));
            let entry = self.at(member, path);
            if entry.3 == 0 && want > 0 {
                entry.5 = next;
            }
            if want == 0 {
                entry.4 = 0;
            }
            entry.3 = want;
            self.deal();
        }

        fn give(&mut self, member: usize, path: &[&'static str], units: u64) {
            self.next += 1;
            let next = self.next;
            let entry = self.at(member, path);
            entry.2 -= units.min(entry.2);
            if entry.3 > 0 {
                entry.5 = next;
            }
            self.deal();
        }

        fn depart(&mut self, member: usize) {
            self.entries.retain(|entry| entry.0 != member);
            self.deal();
        }

        fn deal(&mut self) {
            loop {
                let mut order: Vec<usize> =
                    (0..self.entries.len()).filter(|at| self.entries[*at].3 > 0).collect();
                order.sort_by_key(|at| (self.entries[*at].2, self.entries[*at].5));
                let mut held: BTreeSet<&str> = BTreeSet::new();
                let mut passed: Vec<usize> = Vec::new();
                let mut first_on: BTreeSet<&str> = BTreeSet::new();
                let mut served = None;
                for at in order {
                    let path = self.entries[at].1.clone();
                    let room = |key: &&'static str| {
                        self.limits[key].saturating_sub(self.owned(key)) > u64::from(held.contains(key))
                    };
                    if path.iter().all(room) {
                        served = Some(at);
                        break;
                    }
                    let is_next = path.iter().any(|key| self.full(key) && !first_on.contains(key));
                    if self.entries[at].4 >= SKIPPED_MAX && is_next {
                        held.extend(path.iter().filter(|key| !self.full(key)));
                    }
                    first_on.extend(path.iter());
                    passed.push(at);
                }
                let Some(at) = served else { return };
                let path = self.entries[at].1.clone();
                for before in passed {
                    if self.entries[before].1.iter().any(|key| path.contains(key)) {
                        self.entries[before].4 = (self.entries[before].4 + 1).min(SKIPPED_MAX);
                    }
                }
                self.next += 1;
                let entry = &mut self.entries[at];
                (entry.2, entry.3, entry.4, entry.5) = (entry.2 + 1, entry.3 - 1, 0, self.next);
            }
        }
    }

    const PATHS: [&[&str]; 6] = [&["a"], &["a", "b"], &["b"], &["b", "c"], &["a", "b", "c"], &["c"]];

    #[derive(Clone, Debug)]
    enum Step {
        Claim(usize, usize, u64),
        Give(usize, usize, u64),
        Depart(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            5 => (0usize..4, 0usize..6, 0u64..5).prop_map(|(of, path, units)| Step::Claim(of, path, units)),
            8 => (0usize..4, 0usize..6, 1u64..3).prop_map(|(of, path, units)| Step::Give(of, path, units)),
            1 => (0usize..4).prop_map(Step::Depart),
        ];
        proptest::collection::vec(step, 0..150)
    }

    proptest! {
        #[test]
        fn the_plain_rules_say_the_same(limits in proptest::array::uniform3(1u64..5), steps in steps()) {
            let mut registry = Registry::default();
            let members: Vec<MemberId> = (0..4)
                .map(|of| registry.id(&PrivateName::shared(&format!("m{of}").parse().unwrap(), 1)))
                .collect();
            let mut pool = SlotPool::default();
            let mut plain = Plain::default();
            for (key, limit) in ["a", "b", "c"].into_iter().zip(limits) {
                pool.set_limit(Monotonic::ZERO, key, limit, limit);
                plain.limits.insert(key, limit);
            }
            for step in steps {
                match step {
                    Step::Claim(of, path, units) => {
                        pool.claim(Monotonic::ZERO, members[of], PATHS[path], units);
                        plain.claim(of, PATHS[path], units);
                    }
                    Step::Give(of, path, units) => {
                        pool.give(Monotonic::ZERO, members[of], PATHS[path], units);
                        plain.give(of, PATHS[path], units);
                    }
                    Step::Depart(of) => {
                        pool.depart(Monotonic::ZERO, members[of]);
                        plain.depart(of);
                    }
                }
                for (of, member) in members.iter().enumerate() {
                    for path in PATHS {
                        let entry = pool.path_of(path).map(|id| pool.entry(*member, id)).unwrap_or_default();
                        let found = plain.entries.iter().find(|entry| entry.0 == of && entry.1 == path);
                        let expected = found.map_or((0, 0, 0), |entry| (entry.2, entry.3, entry.4));
                        prop_assert_eq!((entry.own, entry.want, entry.skipped), expected, "{} {:?}", of, path);
                    }
                }
                for (key, limit) in ["a", "b", "c"].into_iter().zip(limits) {
                    let owned = pool.key_of(key).and_then(|id| pool.key(id)).map_or(0, |key| key.owned);
                    prop_assert!(owned <= limit, "{} on {}", owned, key);
                    prop_assert_eq!(owned, plain.owned(key));
                }
            }
        }
    }
}
