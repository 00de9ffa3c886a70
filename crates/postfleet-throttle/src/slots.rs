//! Exact concurrency limits for the whole fleet: the slots of one member.

use crate::fleet::{Configuration, Fleet};
use crate::reference::Partition;
use crate::slot_locals::{Local, LocalId, Locals};
use crate::slot_pool::{Entry, Key, KeyId, PathId, SlotPool};
use crate::slots_moving::Move;
use crate::verdicts::Verdicts;
use crate::wire::{Body, NAME_BYTES_MAX, Op, OpsWriter, PATH_KEYS_MAX, read};
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::{Monotonic, Notice, PrivateName};

/// How long an idle slot is kept that nobody else waits for, or that waits for its connect.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Settings of a slot table. All of them have to be the same on all members.
#[derive(Clone, Copy, Debug)]
pub struct SlotOptions {
    /// What a side of a split fleet gets (option `partition`, default `share`).
    pub partition: Partition,
    /// How long a member that is out of reach may go on opening connections. Default 4 s, as for throttles.
    pub grace: Duration,
    /// How long a slot is owned before it goes to a member that has waited as long and owns one fewer (option
    /// `slot_handover`, default 5 s).
    pub handover: Duration,
}

impl Default for SlotOptions {
    fn default() -> Self {
        Self { partition: Partition::Share, grace: Duration::from_secs(4), handover: Duration::from_secs(5) }
    }
}

/// The limits that govern a connection: what they count, and how many.
///
/// Of two limits on one thing the smaller counts. A limit of 0 is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Ascending.
    names: Vec<String>,
    /// Of each name; none is 0.
    limits: Vec<u64>,
}

/// Why keys make no path. The caller is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Too many limits.
    #[error(
        "a connection is governed by at most {PATH_KEYS_MAX} cluster limits; {0} are configured for this one"
    )]
    TooMany(usize),
    /// A key that is empty or too long.
    #[error("the key '{0}' of a limit has to have 1 to {NAME_BYTES_MAX} bytes")]
    BadKey(String),
}

impl Path {
    /// The path of these keys and limits.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn new<'a>(limits: impl IntoIterator<Item = (&'a str, u64)>) -> Result<Self, PathError> {
        let mut keys: BTreeMap<&str, u64> = BTreeMap::new();
        for (key, limit) in limits.into_iter().filter(|(_, limit)| *limit > 0) {
            if key.is_empty() || key.len() > NAME_BYTES_MAX {
                return Err(PathError::BadKey(key.chars().take(80).collect()));
            }
            let least = keys.entry(key).or_insert(limit);
            *least = limit.min(*least);
        }
        if keys.len() > PATH_KEYS_MAX {
            return Err(PathError::TooMany(keys.len()));
        }
        let (names, limits) = keys.into_iter().map(|(key, limit)| (key.to_owned(), limit)).unzip();
        Ok(Self { names, limits })
    }

    /// No cluster limit governs the connection.
    #[must_use]
    pub const fn is_free(&self) -> bool {
        self.names.is_empty()
    }

    /// Its keys and limits, by key.
    pub fn keys(&self) -> impl Iterator<Item = (&str, u64)> {
        self.names.iter().map(String::as_str).zip(self.limits.iter().copied())
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn limits(&self) -> &[u64] {
        &self.limits
    }
}

/// The slot table of this member, `outbound_slots`.
///
/// The driver's duties are those of [`crate::SharedThrottles`], with these calls for connections:
/// [`Slots::want`] says how many connections a path needs beyond those that are open, [`Slots::poll_ready`] when one may be
/// opened, [`Slots::open`] takes the slot, [`Slots::at_boundary`] asks after each transaction, and once a second for a
/// connection that is kept without one, whether it has to end, and [`Slots::closed`] says that it did.
#[derive(Debug)]
pub struct Slots {
    pub(crate) options: SlotOptions,
    pub(crate) fleet: Fleet,
    pub(crate) pool: SlotPool,
    pub(crate) locals: Locals,
    pub(crate) dirty: BTreeSet<LocalId>,
    /// Paths that have something to say.
    pub(crate) outgoing: BTreeSet<LocalId>,
    pub(crate) due: BTreeSet<(Monotonic, LocalId)>,
    pub(crate) ready: VecDeque<Path>,
    pub(crate) moves: VecDeque<Move>,
    pub(crate) verdicts: Verdicts,
    pub(crate) leaving: bool,
    pub(crate) notices: VecDeque<Notice>,
}

impl Slots {
    /// A member that shares with nobody yet.
    #[must_use]
    pub fn new(own: &PrivateName, options: SlotOptions) -> Self {
        Self {
            options,
            fleet: Fleet::new(own, options.partition, options.grace),
            pool: SlotPool::default(),
            locals: Locals::default(),
            dirty: BTreeSet::new(),
            outgoing: BTreeSet::new(),
            due: BTreeSet::new(),
            ready: VecDeque::new(),
            moves: VecDeque::new(),
            verdicts: Verdicts::default(),
            leaving: false,
            notices: VecDeque::new(),
        }
    }

    // Connections.

    /// How many connections of the path are wanted beyond those that are open. Call it whenever the number changes.
    pub fn want(&mut self, now: Monotonic, path: &Path, connections: u64) {
        if path.is_free() {
            return;
        }
        let (id, local) = self.locals.make(path);
        local.wanted = connections;
        local.told = false;
        self.dirty.insert(id);
        self.settle(now);
    }

    /// Takes a slot for a connection whose connect starts now. `false`: not now; say [`Slots::want`] and wait.
    pub fn open(&mut self, now: Monotonic, path: &Path) -> bool {
        if path.is_free() {
            return true;
        }
        if !self.has_idle(now, path) {
            return false;
        }
        let (id, local) = self.locals.make(path);
        local.used += 1;
        local.wanted = local.wanted.saturating_sub(1);
        local.told = false;
        self.dirty.insert(id);
        self.settle(now);
        true
    }

    /// Whether a slot of the path is owned and idle.
    #[must_use]
    pub fn has_idle(&self, now: Monotonic, path: &Path) -> bool {
        let idle = |id| self.idle(id) > 0 && self.excess(id) == 0;
        path.is_free() || self.fleet.is_fresh(now) && self.locals.find(path).is_some_and(idle)
    }

    /// A connection was opened without a slot, while the bus was gone or the fleet in the middle of an upgrade: it
    /// becomes this member's slot, even if there are more then than the limit allows.
    pub fn opened_without(&mut self, now: Monotonic, path: &Path) {
        if path.is_free() {
            return;
        }
        let (id, local) = self.locals.make(path);
        local.used += 1;
        local.adopts_unsent += 1;
        self.dirty.insert(id);
        self.settle(now);
    }

    /// Whether a connection whose transaction has ended has to be ended: its slot is for somebody else, or there are
    /// more than the limit allows. End it with QUIT, then say [`Slots::closed`].
    pub fn at_boundary(&mut self, now: Monotonic, path: &Path) -> bool {
        if path.is_free() || self.fleet.is_merging() {
            return false;
        }
        let Some(id) = self.locals.find(path) else { return false };
        let Some(local) = self.locals.get(id) else { return false };
        if local.closing >= local.used {
            return local.used > 0;
        }
        let ends = self.leaving || self.excess(id) > 0 || self.passes(now, id);
        if ends && let Some(local) = self.locals.get_mut(id) {
            local.closing += 1;
        }
        ends
    }

    /// A connection has ended, or its connect has failed.
    pub fn closed(&mut self, now: Monotonic, path: &Path) {
        if path.is_free() {
            return;
        }
        let Some(id) = self.locals.find(path) else { return };
        let Some(local) = self.locals.get_mut(id).filter(|local| local.used > 0) else { return };
        local.used -= 1;
        local.idle_since = now;
        if local.closing > 0 {
            local.closing -= 1;
            local.gives_unsent += 1;
            local.since.pop_front();
        }
        local.told = false;
        self.dirty.insert(id);
        self.settle(now);
    }

    /// The next path on which a slot is idle and a connection wanted: open it within a second, or it is given.
    pub fn poll_ready(&mut self) -> Option<Path> {
        self.ready.pop_front()
    }

    // The bus.

    /// The process has just started and will join a fleet. Until its first configuration, or for ten seconds, it opens
    /// nothing: the others may have all of it.
    pub fn start(&mut self, now: Monotonic) {
        self.fleet.start(now);
    }

    /// Takes the next configuration of those who share the object.
    pub fn reconfigure(&mut self, now: Monotonic, next: &Configuration<'_>) {
        let change = self.fleet.reconfigure(now, next);
        self.take_change(now, &change);
    }

    /// The table was made while the configuration stood: the others are asked for theirs.
    pub fn enter(&mut self, now: Monotonic, configuration: &Configuration<'_>) {
        self.reconfigure(now, configuration);
        if self.fleet.is_merging() {
            self.fleet.ask_restart(now);
        }
    }

    /// The connection to the bus is gone.
    pub fn lost(&mut self, now: Monotonic) {
        let change = self.fleet.lost();
        self.take_change(now, &change);
    }

    /// This member will leave in good order: connections end at their next message boundary.
    pub fn leave(&mut self, now: Monotonic) {
        self.leaving = true;
        self.dirty.extend(self.locals.ids());
        self.settle(now);
    }

    /// The table is dropped while this member stays in the fleet. The returned message has to be sent.
    #[must_use]
    pub fn withdraw(&self, now: Monotonic) -> Vec<u8> {
        self.fleet.write_withdrawal(now)
    }

    /// A heartbeat of this member that was sent at that time has come back.
    pub fn heard(&mut self, now: Monotonic, sent: Monotonic) {
        let stale = !self.fleet.is_fresh(now);
        self.fleet.heard(sent);
        if stale {
            self.dirty.extend(self.locals.ids());
        }
        self.settle(now);
    }

    /// The bus says whether this side is quorate; `None`: nothing counts votes, or not yet for the members that are there
    /// now. Matters to [`crate::Partition::Quorum`]. Say it again after every configuration.
    pub fn set_quorum(&mut self, now: Monotonic, held: Option<bool>) {
        if self.fleet.set_quorum(held) {
            self.set_limits(now);
            self.look_at_all();
            self.settle(now);
        }
    }

    /// The process of a departed member is known to be dead.
    pub fn confirm_dead(&mut self, now: Monotonic, member: &PrivateName) {
        self.verdicts.dead(member);
        self.settle(now);
    }

    /// The operator says that a node is gone for good: the limits of this side rise by its part. `false` when it is
    /// present.
    pub fn forget(&mut self, now: Monotonic, node: &str) -> bool {
        if self.fleet.is_present(node) || node.is_empty() || node.len() > NAME_BYTES_MAX {
            return false;
        }
        self.verdicts.forgotten(node);
        self.settle(now);
        true
    }

    /// When [`Slots::handle_timeout`] has something to do. Changed by every other call.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Monotonic> {
        let due = self.due.first().map(|(due, _)| *due);
        [due, self.fleet.deadline()].into_iter().flatten().min()
    }

    /// Does what time has brought. Early and repeated calls do no harm.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        self.fleet.handle_timeout(now);
        if self.fleet.ends_start(now) {
            self.look_at_all();
        }
        while let Some((due, _)) = self.due.first()
            && *due <= now
            && let Some((_, id)) = self.due.pop_first()
        {
            if let Some(local) = self.locals.get_mut(id) {
                local.due = None;
            }
            self.dirty.insert(id);
        }
        self.settle(now);
    }

    /// Whether [`Slots::drain_outbox`] has a message.
    #[must_use]
    pub fn wants_to_send(&self) -> bool {
        self.fleet.has_outgoing()
            || self.fleet.is_live()
                && (!self.outgoing.is_empty()
                    || !self.moves.is_empty()
                    || self.verdicts.is_unsent()
                    || self.fleet.has_quorum_to_say())
    }

    /// The next message for the bus, of at most about `bytes_max` bytes.
    pub fn drain_outbox(&mut self, now: Monotonic, bytes_max: usize) -> Option<Vec<u8>> {
        self.settle(now);
        match self.fleet.poll() {
            Some(message) => Some(message),
            None if self.fleet.is_live() => self.write_ops(now, bytes_max),
            None => None,
        }
    }

    /// The next line for the log.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// The settings.
    #[must_use]
    pub const fn options(&self) -> &SlotOptions {
        &self.options
    }

    /// Takes other settings at once.
    pub fn set_options(&mut self, now: Monotonic, options: SlotOptions) {
        self.options = options;
        self.fleet.partition = options.partition;
        self.fleet.grace = options.grace;
        if !self.fleet.is_merging() {
            self.set_limits(now);
        }
        self.look_at_all();
        self.settle(now);
    }

    /// Members whose table is awaited; no slot changes owner until it has come.
    #[must_use]
    pub fn awaited(&self) -> Vec<&PrivateName> {
        self.fleet.awaited()
    }

    /// Whether tables are being exchanged: then slots are used by whom they belong to, and none changes owner.
    #[must_use]
    pub const fn is_merging(&self) -> bool {
        self.fleet.is_merging()
    }

    pub(crate) const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    pub(crate) const fn pool(&self) -> &SlotPool {
        &self.pool
    }

    /// Own slots on a key that no connection uses.
    pub(crate) fn held_on(&self, name: &str) -> u64 {
        self.locals_on(name).map(|(id, local)| local.idle(self.own(id).own)).sum()
    }

    // The owner's rules.

    /// The path in the pool; `None` while nobody has an entry on it.
    pub(crate) fn path(&self, id: LocalId) -> Option<PathId> {
        let local = self.locals.get(id)?;
        let known = local.path.filter(|path| self.pool.has_path(*path));
        known.or_else(|| self.pool.path_of(&local.names))
    }

    /// The keys of a path that the pool knows.
    fn keys(&self, id: LocalId) -> impl Iterator<Item = (KeyId, &Key)> {
        let path = self.path(id);
        let known = path.map(|path| self.pool.path_keys(path)).unwrap_or_default();
        let names = self.locals.get(id).filter(|_| path.is_none());
        let named =
            names.into_iter().flat_map(|local| &local.names).filter_map(|name| self.pool.key_of(name));
        known.iter().copied().chain(named).filter_map(|key| Some((key, self.pool.key(key)?)))
    }

    fn own(&self, id: LocalId) -> Entry {
        self.path(id).map(|path| self.pool.entry(self.fleet.own, path)).unwrap_or_default()
    }

    fn idle(&self, id: LocalId) -> u64 {
        self.locals.get(id).map_or(0, |local| local.idle(self.own(id).own))
    }

    /// Slots on a key that are about to be given by this member.
    fn leaving_on(&self, name: &str) -> u64 {
        self.locals_on(name).map(|(_, local)| local.gives() + local.closing).sum()
    }

    fn locals_on(&self, name: &str) -> impl Iterator<Item = (LocalId, &Local)> {
        self.locals.on(name).filter_map(|id| Some((id, self.locals.get(id)?)))
    }

    /// Forgets a path on which this member has nothing.
    pub(crate) fn forget_if_unused(&mut self, id: LocalId) -> bool {
        let own = self.own(id);
        if !self.locals.get(id).is_some_and(|local| local.is_unused(own)) {
            return false;
        }
        if let Some(due) = self.locals.remove(id).and_then(|local| local.due) {
            self.due.remove(&(due, id));
        }
        self.outgoing.remove(&id);
        self.dirty.remove(&id);
        true
    }

    /// Slots above the limit of some key of the path.
    fn excess(&self, id: LocalId) -> u64 {
        let over = self.keys(id).filter(|(_, key)| key.whole > 0).map(|(_, key)| {
            let over = key.owned.saturating_sub(key.limit);
            if over == 0 { 0 } else { over.saturating_sub(self.leaving_on(&key.name)) }
        });
        over.max().unwrap_or(0)
    }

    /// Whether a slot of the path is for somebody else who waits on a full key of it.
    fn passes(&self, now: Monotonic, id: LocalId) -> bool {
        let Some(path) = self.path(id) else { return false };
        let own = self.fleet.own;
        let Some(local) = self.locals.get(id) else { return false };
        let away = local.gives() + local.closing;
        let mine = self.pool.entry(own, path).own.saturating_sub(away);
        let handover = self.options.handover;
        let ripe = local.since.front().is_some_and(|since| now.since(*since) >= handover);
        let keys = self.pool.path_keys(path);
        let full = |key: &KeyId| self.pool.key(*key).is_some_and(Key::is_full);
        let mut waiting: Vec<(u64, usize, Entry, bool)> = Vec::new();
        let mut seen = BTreeSet::new();
        for key in keys.iter().filter(|key| full(key)) {
            for (member, other, entry) in self.pool.waiting(*key) {
                if (member, other) == (own, path) || !seen.insert((member, other)) {
                    continue;
                }
                // What is full elsewhere as well would not be served by this slot alone.
                let blocked = self.pool.path_keys(other).iter().any(|key| full(key) && !keys.contains(key));
                waiting.push((entry.own, waiting.len(), entry, blocked));
                // Those that own fewest come first; the rest owns as much as this member and is not entitled.
                if entry.own > mine {
                    break;
                }
            }
        }
        // What is on its way counts as dealt to those that own fewest.
        for _ in 0..away {
            let neediest = waiting.iter_mut().filter(|(_, _, entry, blocked)| entry.want > 0 && !blocked);
            if let Some(neediest) = neediest.min_by_key(|(own, place, ..)| (*own, *place)) {
                neediest.0 += 1;
                neediest.2.want -= 1;
            }
        }
        waiting.iter().filter(|(_, _, entry, _)| entry.want > 0).any(|(owns, _, entry, blocked)| {
            let waited = ripe && now.since(entry.since) >= handover;
            *owns + 2 <= mine && (!blocked || waited) || *owns < mine && waited
        })
    }

    pub(crate) fn settle(&mut self, now: Monotonic) {
        loop {
            while let Some(id) = self.dirty.pop_first() {
                self.run(now, id);
            }
            if !self.fleet.is_alone() {
                return;
            }
            let Some(bytes) = self.write_ops(now, usize::MAX) else { return };
            if let Ok(message) = read(&bytes)
                && let Body::Ops(ops) = &message.body
            {
                self.apply_ops(now, self.fleet.own, ops);
            }
        }
    }

    fn run(&mut self, now: Monotonic, id: LocalId) {
        let path = self.path(id);
        let own = path.map_or(0, |path| self.pool.entry(self.fleet.own, path).own);
        let excess = self.excess(id);
        let others = self.others_wait(id);
        let merging = self.fleet.is_merging();
        let fresh = self.fleet.is_fresh(now);
        let leaving = self.leaving;
        let Some(local) = self.locals.get_mut(id) else { return };
        local.path = path;
        let idle = local.idle(own);
        // Slots that came are as old as their grant.
        let held = usize::try_from(own.saturating_sub(local.gives())).unwrap_or(usize::MAX);
        while local.since.len() < held.min(1 << 20) {
            if local.since.len() as u64 >= local.used {
                local.idle_since = now;
            }
            local.since.push_back(now);
        }
        local.since.truncate(held.max(usize::try_from(local.used).unwrap_or(usize::MAX)));
        let mut due = None;
        if idle > 0 && !merging {
            let until = local.idle_since + IDLE_MAX;
            let given = if leaving || until <= now || local.wanted == 0 && others {
                idle
            } else {
                due = Some(until);
                idle.min(excess)
            };
            if given > 0 {
                local.gives_unsent += given;
                for _ in 0..given {
                    local.since.pop_back();
                }
            }
        }
        let idle = local.idle(own);
        if idle > 0 && local.wanted > 0 && fresh && excess == 0 && !local.told {
            local.told = true;
            self.ready.push_back(Path { names: local.names.clone(), limits: local.limits.clone() });
        }
        let before = core::mem::replace(&mut local.due, due);
        if before != due {
            if let Some(before) = before {
                self.due.remove(&(before, id));
            }
            if let Some(due) = due {
                self.due.insert((due, id));
            }
        }
        if self.has_ops(id) {
            self.outgoing.insert(id);
        } else {
            self.outgoing.remove(&id);
        }
    }

    fn has_ops(&self, id: LocalId) -> bool {
        self.locals.get(id).is_some_and(|local| {
            local.gives_unsent > 0
                || local.adopts_unsent > 0
                || local.limits_unsaid && local.used > 0
                || self.claim(id, local).is_some()
        })
    }

    /// Whether another entry waits on a full key of the path.
    fn others_wait(&self, id: LocalId) -> bool {
        let own = (self.fleet.own, self.path(id));
        self.keys(id)
            .filter(|(_, key)| key.is_full())
            .any(|(key, _)| self.pool.waiting(key).any(|(member, path, _)| (member, Some(path)) != own))
    }

    fn claim(&self, id: LocalId, local: &Local) -> Option<u64> {
        if local.claiming {
            return None;
        }
        let entry = self.own(id);
        let wanted = if self.leaving || self.fleet.is_starting() {
            0
        } else {
            local.wanted.saturating_sub(local.idle(entry.own))
        };
        // More than the smallest limit is never of use.
        let wanted = wanted.min(local.limits.iter().copied().min().unwrap_or(0));
        let due = if wanted > 0 { entry.want == 0 || wanted > entry.want * 2 } else { entry.want > 0 };
        due.then_some(wanted)
    }

    fn write_ops(&mut self, now: Monotonic, bytes_max: usize) -> Option<Vec<u8>> {
        let mut writer = OpsWriter::new(self.fleet.epoch(), now);
        self.verdicts.write(self.fleet.is_first(), &mut writer);
        self.fleet.write_quorum(&mut writer);
        self.write_moves(&mut writer, bytes_max);
        while writer.len() < bytes_max
            && let Some(id) = self.outgoing.pop_first()
        {
            let Some(local) = self.locals.get(id) else { continue };
            let claim = self.claim(id, local);
            let known = self.path(id).is_some();
            let Some(local) = self.locals.get_mut(id) else { continue };
            let changed = core::mem::take(&mut local.limits_unsaid) && local.used > 0;
            if changed || claim.is_some_and(|units| units > 0) || local.adopts_unsent > 0 {
                local.write_limits(&self.pool, known, &mut writer);
            }
            if local.adopts_unsent > 0 {
                writer.push(&Op::SlotAdopt { path: local.keys(), units: local.adopts_unsent });
                local.adopts_under_way += core::mem::take(&mut local.adopts_unsent);
            }
            if local.gives_unsent > 0 {
                writer.push(&Op::SlotGive { path: local.keys(), units: local.gives_unsent });
                local.gives_under_way += core::mem::take(&mut local.gives_unsent);
            }
            if let Some(units) = claim {
                writer.push(&Op::SlotClaim { path: local.keys(), units });
                local.claiming = true;
            }
        }
        writer.finish()
    }
}
