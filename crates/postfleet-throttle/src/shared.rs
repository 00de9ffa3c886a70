//! Throttles that the whole fleet shares: the state machine of one object on one member.

use crate::entry::{Entry, Say, ThrottleCounters};
use crate::fleet::{Change, Configuration, Departure, Fleet};
use crate::lines::{Lines, Ticket};
use crate::marks::Marks;
use crate::pool::{Departed, Pool};
use crate::rate::{Epsilon, Rate};
use crate::reference::Partition;
use crate::verdicts::Verdicts;
use crate::wire::NAME_BYTES_MAX;
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::{Monotonic, Notice, PrivateName};

/// Settings of a table.
#[derive(Clone, Copy, Debug)]
pub struct ThrottleOptions {
    /// What a side of a split fleet gets (option `partition`, default `share`).
    pub partition: Partition,
    /// How long a member that is out of reach may go on using what it owns. Default 4 s; take the bus's detection
    /// time when that is longer. Has to be the same on all members.
    pub grace: Duration,
    /// The most throttles that the table holds, the least recently used goes first; `None` for a table whose
    /// throttles the configuration names. Has to be the same on all members.
    pub capacity: Option<usize>,
}

impl Default for ThrottleOptions {
    fn default() -> Self {
        Self { partition: Partition::Share, grace: Duration::from_secs(4), capacity: None }
    }
}

/// A throttle of a table. Valid until the throttle is removed from the configuration or has disappeared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThrottleId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Why an operation was not done. The caller is at fault; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThrottleError {
    /// No throttle of that name.
    #[error("no such throttle '{0}'")]
    Unknown(String),
    /// The id is that of a throttle that has disappeared.
    #[error("the throttle has disappeared; create it again")]
    Stale,
    /// A path without throttles, or with one of them twice.
    #[error("a path names one throttle or several, each once")]
    BadPath,
    /// A name that is too long for a message.
    #[error("the name of a throttle has 1 to {NAME_BYTES_MAX} bytes")]
    BadName,
    /// The node is present.
    #[error("node {0} is present; only a node that is gone can be forgotten")]
    Present(String),
}

/// Units that a ticket has got; they are used from this moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Whose.
    pub ticket: Ticket,
    /// How many; the rest of what it wants may follow.
    pub units: u64,
    /// It wants no more.
    pub last: bool,
}

/// One table of shared throttles: `OBTM`, `OBTC` or `shared_named_throttles` on this member.
///
/// Duties of the driver, in this order for each turn of its loop:
/// 1. hand over what happened: [`SharedThrottles::reconfigure`] or [`SharedThrottles::lost`] for every change of who
///    shares the object, [`SharedThrottles::apply`] for every message of the object in the order of delivery, own
///    ones included, and [`SharedThrottles::heard`] when a heartbeat of its own has come back;
/// 2. call [`SharedThrottles::handle_timeout`] when [`SharedThrottles::poll_deadline`] has passed;
/// 3. wake those whom [`SharedThrottles::poll_granted`] names;
/// 4. when the bus may take a batch and [`SharedThrottles::wants_to_send`], submit what
///    [`SharedThrottles::drain_outbox`] returns, in that order, until it returns `None`.
///
/// The clock must go on while the machine sleeps (`CLOCK_BOOTTIME`): what this member owns is no longer its own when
/// the others have gone on without it.
#[derive(Debug)]
pub struct SharedThrottles {
    pub(crate) options: ThrottleOptions,
    pub(crate) fleet: Fleet,
    pub(crate) entries: Vec<(u32, Option<Entry>)>,
    pub(crate) vacant: Vec<u32>,
    pub(crate) names: BTreeMap<String, u32>,
    pub(crate) lines: Lines,
    pub(crate) granted: VecDeque<Granted>,
    /// Entries whose rules have to be run.
    pub(crate) dirty: Marks,
    /// Entries that may have something to say.
    pub(crate) outgoing: Marks,
    pub(crate) due: BTreeSet<(Monotonic, u32)>,
    /// Existing throttles by their last use in the agreed order.
    pub(crate) order: BTreeMap<u64, u32>,
    pub(crate) stamps: u64,
    pub(crate) verdicts: Verdicts,
    pub(crate) leaving: bool,
    /// Something could not be used because this member had not heard of itself.
    pub(crate) stale: bool,
    pub(crate) notices: VecDeque<Notice>,
    pub(crate) counters: TableCounters,
}

/// What happened since the start. Numbers only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct TableCounters {
    pub operations_applied: u64,
    pub operations_void: u64,
    pub messages_sent: u64,
    pub merges: u64,
    pub evicted: u64,
}

impl SharedThrottles {
    /// A member that shares with nobody yet: it behaves like a throttle of one node.
    #[must_use]
    pub fn new(own: &PrivateName, options: ThrottleOptions) -> Self {
        Self {
            options,
            fleet: Fleet::new(own, options.partition, options.grace),
            entries: Vec::new(),
            vacant: Vec::new(),
            names: BTreeMap::new(),
            lines: Lines::default(),
            granted: VecDeque::new(),
            dirty: Marks::default(),
            outgoing: Marks::default(),
            due: BTreeSet::new(),
            order: BTreeMap::new(),
            stamps: 0,
            verdicts: Verdicts::default(),
            leaving: false,
            stale: false,
            notices: VecDeque::new(),
            counters: TableCounters::default(),
        }
    }

    // What the configuration and scripts say.

    /// The configuration gives a throttle that rate, at start or at reload. The last one delivered is in force.
    ///
    /// # Errors
    /// [`ThrottleError::BadName`].
    pub fn configure(&mut self, now: Monotonic, name: &str, rate: Rate) -> Result<ThrottleId, ThrottleError> {
        let index = self.entry_of(name)?;
        if let Some(entry) = self.entry_mut(index)
            && entry.configured != Some(rate)
        {
            entry.configured = Some(rate);
            entry.announce = Say::Unsent;
        }
        self.changed(index);
        self.settle(now);
        Ok(self.id(index))
    }

    /// The configuration does not name the throttle any more. Whoever waits for it goes on waiting until cancelled.
    pub fn unconfigure(&mut self, now: Monotonic, name: &str) {
        if let Some(index) = self.names.get(name).copied()
            && let Some(entry) = self.entry_mut(index)
        {
            entry.configured = None;
            entry.announce = Say::Nothing;
            self.changed(index);
            self.settle(now);
        }
    }

    /// Whether a throttle only counts and shows what it would hold back.
    ///
    /// # Errors
    /// [`ThrottleError::Stale`].
    pub fn set_shadow(&mut self, now: Monotonic, id: ThrottleId, shadow: bool) -> Result<(), ThrottleError> {
        let index = self.index(id)?;
        if let Some(entry) = self.entry_mut(index) {
            entry.shadow = shadow;
            if !shadow {
                entry.shadow_wanted = 0;
            }
        }
        self.changed(index);
        self.settle(now);
        Ok(())
    }

    /// Adds a throttle for the whole fleet. One that lives already is left as it is; of several that are created at
    /// once, the first one delivered decides.
    ///
    /// # Errors
    /// [`ThrottleError::BadName`].
    pub fn create(
        &mut self,
        now: Monotonic,
        name: &str,
        rate: Rate,
        epsilon: Epsilon,
    ) -> Result<ThrottleId, ThrottleError> {
        let index = self.entry_of(name)?;
        if let Some(entry) = self.entry_mut(index) {
            // A throttle that has been quiet may be dropped at any moment: say that it is used.
            let quiet = |pool: &Pool| pool.is_empty() && now.since(pool.used_at) * 2 >= pool.rate.period();
            if entry.pool.as_ref().is_none_or(quiet) && entry.create == Say::Nothing {
                entry.created = Some((rate, epsilon));
                entry.create = Say::Unsent;
            }
        }
        self.changed(index);
        self.settle(now);
        Ok(self.id(index))
    }

    /// The throttle of that name.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<ThrottleId> {
        self.names.get(name).map(|index| self.id(*index))
    }

    // What mail and scripts ask.

    /// Uses up to `units` units of every throttle of the path now, the same number of each, and says how many.
    ///
    /// 0 means: not now. A refusal by one consumes nothing of the others, and nobody is overtaken who waits for one of
    /// them already.
    ///
    /// # Errors
    /// [`ThrottleError::Stale`], [`ThrottleError::BadPath`].
    pub fn take(&mut self, now: Monotonic, path: &[ThrottleId], units: u64) -> Result<u64, ThrottleError> {
        if let [id] = path
            && self.has_nothing(now, *id)
        {
            return Ok(0);
        }
        if let [id] = path
            && let Some(taken) = self.take_at_hand(now, *id, units)
        {
            return Ok(taken);
        }
        let enforced = self.enforced(path)?;
        let mut taken = units;
        for index in &enforced {
            self.dirty.insert(*index);
        }
        self.settle(now);
        for index in &enforced {
            taken = taken.min(self.at_hand(now, *index));
        }
        if taken > 0 {
            for index in &enforced {
                self.use_units(now, *index, taken);
            }
            self.shadow(now, path, taken)?;
            self.settle(now);
        }
        Ok(taken)
    }

    /// Uses up to `units` units of one throttle now, for somebody who will not wait, and says how many.
    ///
    /// What is missing is wanted here for a moment, so that units come to where they are asked for; they are for whoever
    /// asks next, in a quarter of a second or a twentieth of the period.
    ///
    /// # Errors
    /// [`ThrottleError::Stale`].
    pub fn take_or_wish(&mut self, now: Monotonic, id: ThrottleId, units: u64) -> Result<u64, ThrottleError> {
        let taken = self.take(now, &[id], units)?;
        let missing = units - taken;
        let index = self.index(id)?;
        let Some(entry) = self.entry_mut(index).filter(|entry| missing > 0 && !entry.shadow) else {
            return Ok(taken);
        };
        if let Some(rate) = entry.rate() {
            entry.wishes.add(now, rate.period(), missing.min(rate.units()));
        }
        self.changed(index);
        self.settle(now);
        // With nobody else there, units have come at once.
        Ok(taken + self.take(now, &[id], missing)?)
    }

    /// Whether the bus may bring a unit to this member at once: what is free has been claimed, or will be.
    ///
    /// # Errors
    /// [`ThrottleError::Stale`].
    pub fn may_come(&self, id: ThrottleId) -> Result<bool, ThrottleError> {
        let entry = self.entry(self.index(id)?).ok_or(ThrottleError::Stale)?;
        let free = entry.pool.as_ref().is_none_or(|pool| pool.free() > 0);
        Ok(self.fleet.is_live() && (free || entry.claiming))
    }

    /// Takes back units that were taken a moment ago and for which no message or connection was started.
    ///
    /// # Errors
    /// [`ThrottleError::Stale`], [`ThrottleError::BadPath`].
    pub fn put_back(&mut self, now: Monotonic, path: &[ThrottleId], units: u64) -> Result<(), ThrottleError> {
        for index in self.enforced(path)? {
            if let Some(entry) = self.entry_mut(index) {
                let back = entry.cooling.take_back(units);
                entry.counters.used = entry.counters.used.saturating_sub(back);
                entry.add_idle(now, back);
            }
            self.changed(index);
        }
        self.settle(now);
        Ok(())
    }

    /// Waits for units of every throttle of the path. [`SharedThrottles::poll_granted`] says when some have come.
    ///
    /// # Errors
    /// [`ThrottleError::Stale`], [`ThrottleError::BadPath`].
    pub fn request(
        &mut self,
        now: Monotonic,
        path: &[ThrottleId],
        units: u64,
    ) -> Result<Ticket, ThrottleError> {
        let mut enforced = self.enforced(path)?;
        self.shadow(now, path, units)?;
        // The slowest first: seconds a unit, then the name. All nodes sort alike.
        enforced.sort_unstable_by(|left, right| {
            let of = |index: u32| {
                let entry = self.entry(index);
                let rate = entry.and_then(Entry::rate);
                let (units, seconds) = rate.map_or((1, 0), |rate| (rate.units(), u64::from(rate.seconds())));
                (units, seconds, entry.map_or("", |entry| entry.name.as_str()))
            };
            let (left, right) = (of(*left), of(*right));
            (right.1 * left.0).cmp(&(left.1 * right.0)).then(left.2.cmp(right.2))
        });
        let (line, ticket) = self.lines.wait(&enforced, units);
        if enforced.is_empty() {
            // Everything on the path is in shadow mode: nothing holds it back.
            self.serve(line, units);
            self.lines.forget_empty(line);
        }
        for index in enforced {
            if let Some(entry) = self.entry_mut(index) {
                entry.lines.insert(line);
            }
            self.changed(index);
        }
        self.settle(now);
        Ok(ticket)
    }

    /// Stops to wait. Returns how many units had not come.
    pub fn cancel(&mut self, now: Monotonic, ticket: Ticket) -> u64 {
        let Some((line, units)) = self.lines.cancel(ticket) else { return 0 };
        self.release_surplus(now, line);
        self.settle(now);
        units
    }

    /// Who has got units.
    pub fn poll_granted(&mut self) -> Option<Granted> {
        self.granted.pop_front()
    }

    /// Records a unit now; never waits.
    ///
    /// # Errors
    /// [`ThrottleError::Stale`].
    pub fn inc(&mut self, now: Monotonic, id: ThrottleId) -> Result<(), ThrottleError> {
        let index = self.index(id)?;
        self.dirty.insert(index);
        self.settle(now);
        let usable = self.at_hand(now, index);
        if let Some(entry) = self.entry_mut(index) {
            let tick = entry.rate().map_or(Duration::ZERO, Rate::tick);
            if usable > 0 {
                entry.use_idle(now, 1, tick);
            } else {
                entry.forced.push(now, 1, tick);
                entry.forces_unsent += 1;
                entry.counters.used += 1;
            }
        }
        self.changed(index);
        self.settle(now);
        Ok(())
    }

    /// Whether the quota is exceeded, by what is known here, or would be if every node used as much as this one has
    /// without having told the others.
    ///
    /// # Errors
    /// [`ThrottleError::Stale`].
    pub fn check(&self, id: ThrottleId) -> Result<bool, ThrottleError> {
        let entry = self.entry(self.index(id)?).ok_or(ThrottleError::Stale)?;
        let Some(rate) = entry.rate() else { return Err(ThrottleError::Stale) };
        let epsilon = entry.pool.as_ref().map(|pool| pool.epsilon);
        let epsilon = epsilon.or(entry.created.map(|(_, epsilon)| epsilon)).unwrap_or_default();
        let used = entry.pool.as_ref().map_or(0, Pool::in_use);
        let unseen = entry.forces();
        let alone = self.fleet.order().len() < 2;
        Ok(used + unseen > rate.units() || !alone && unseen > epsilon.of(rate.units().saturating_sub(used)))
    }

    /// What it counted since the start.
    ///
    /// # Errors
    /// [`ThrottleError::Stale`].
    pub fn counters_of(&self, id: ThrottleId) -> Result<ThrottleCounters, ThrottleError> {
        self.entry(self.index(id)?).map(|entry| entry.counters).ok_or(ThrottleError::Stale)
    }

    // What the bus says.

    /// The process has just started and will join a fleet. Until its first configuration, or for ten seconds, it uses
    /// nothing: the others may have all of it.
    pub fn start(&mut self, now: Monotonic) {
        self.fleet.start(now);
    }

    /// Takes the next configuration of those who share the object.
    pub fn reconfigure(&mut self, now: Monotonic, next: &Configuration<'_>) {
        let change = self.fleet.reconfigure(now, next);
        self.take_change(now, &change);
    }

    /// The object was added while the configuration stood: the others are asked for their tables.
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

    /// This member will leave in good order: what is idle is given. Send what [`SharedThrottles::drain_outbox`]
    /// returns, then leave.
    pub fn leave(&mut self, now: Monotonic) {
        self.leaving = true;
        for index in self.indexes() {
            self.changed(index);
        }
        self.settle(now);
    }

    /// The object is removed from this member's configuration while it stays in the fleet. The returned message has
    /// to be sent after what [`SharedThrottles::drain_outbox`] still returns; then drop the table.
    #[must_use]
    pub fn withdraw(&self, now: Monotonic) -> Vec<u8> {
        self.fleet.write_withdrawal(now)
    }

    /// A heartbeat of this member that was sent at that time has come back.
    pub fn heard(&mut self, now: Monotonic, sent: Monotonic) {
        self.fleet.heard(sent);
        if core::mem::take(&mut self.stale) {
            for index in self.indexes() {
                self.dirty.insert(index);
            }
        }
        self.settle(now);
    }

    /// The bus says whether this side is quorate; `None`: nothing counts votes, or not yet for the members that are there
    /// now. Matters to [`Partition::Quorum`]. Say it again after every configuration.
    pub fn set_quorum(&mut self, now: Monotonic, held: Option<bool>) {
        if self.fleet.set_quorum(held) {
            self.look_at_limits(now);
            self.settle(now);
        }
    }

    /// The process of a departed member is known to be dead: it does not use anything any more. Called on every
    /// member, the first of them says so in the order.
    pub fn confirm_dead(&mut self, now: Monotonic, member: &PrivateName) {
        self.verdicts.dead(member);
        self.settle(now);
    }

    /// The operator says that a node is gone for good and uses nothing any more: its units are free at once, and the
    /// limits of this side rise by its part.
    ///
    /// # Errors
    /// [`ThrottleError::Present`].
    pub fn forget(&mut self, now: Monotonic, node: &str) -> Result<(), ThrottleError> {
        if self.fleet.is_present(node) {
            return Err(ThrottleError::Present(node.to_owned()));
        }
        if node.is_empty() || node.len() > NAME_BYTES_MAX {
            return Err(ThrottleError::BadName);
        }
        self.verdicts.forgotten(node);
        self.settle(now);
        Ok(())
    }

    /// When [`SharedThrottles::handle_timeout`] has something to do. Changed by every other call.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Monotonic> {
        let due = self.due.first().map(|(due, _)| *due);
        [due, self.fleet.deadline()].into_iter().flatten().min()
    }

    /// Does what time has brought. Early and repeated calls do no harm.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        self.fleet.handle_timeout(now);
        if self.fleet.ends_start(now) {
            for index in self.indexes() {
                self.changed(index);
            }
        }
        while let Some((due, index)) = self.due.first().copied()
            && due <= now
        {
            self.due.pop_first();
            if let Some(entry) = self.entry_mut(index) {
                entry.due = None;
            }
            self.dirty.insert(index);
        }
        self.settle(now);
    }

    /// The next line for the log.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// What happened since the start.
    #[must_use]
    pub const fn counters(&self) -> TableCounters {
        self.counters
    }

    /// The settings.
    #[must_use]
    pub const fn options(&self) -> &ThrottleOptions {
        &self.options
    }

    /// Takes other settings at once.
    pub fn set_options(&mut self, now: Monotonic, options: ThrottleOptions) {
        self.options = options;
        self.fleet.partition = options.partition;
        self.fleet.grace = options.grace;
        if !self.fleet.is_merging() {
            self.set_limits(now);
        }
        self.look_at_all();
        self.settle(now);
    }

    /// Members whose table is awaited; nothing changes owner until it has come.
    #[must_use]
    pub fn awaited(&self) -> Vec<&PrivateName> {
        self.fleet.awaited()
    }

    /// Whether tables are being exchanged: then what is owned is used, and nothing changes owner.
    #[must_use]
    pub const fn is_merging(&self) -> bool {
        self.fleet.is_merging()
    }

    // Entries.

    pub(crate) fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(index).ok()?)?.1.as_ref()
    }

    pub(crate) fn entry_mut(&mut self, index: u32) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(index).ok()?)?.1.as_mut()
    }

    pub(crate) fn indexes(&self) -> Vec<u32> {
        self.names.values().copied().collect()
    }

    pub(crate) fn changed(&mut self, index: u32) {
        self.dirty.insert(index);
        self.outgoing.insert(index);
    }

    /// The entry of a name, made when there is none.
    pub(crate) fn entry_of(&mut self, name: &str) -> Result<u32, ThrottleError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(ThrottleError::BadName);
        }
        if let Some(index) = self.names.get(name) {
            return Ok(*index);
        }
        let entry = Entry::new(name.to_owned());
        let index = match self.vacant.pop() {
            Some(index) => index,
            None => {
                self.entries.push((0, None));
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(place) = usize::try_from(index).ok().and_then(|index| self.entries.get_mut(index)) {
            place.0 = place.0.wrapping_add(1);
            place.1 = Some(entry);
        }
        self.names.insert(name.to_owned(), index);
        Ok(index)
    }

    /// Forgets an entry that nothing refers to.
    pub(crate) fn forget_unused(&mut self, index: u32) {
        if !self.entry(index).is_some_and(Entry::is_unused) {
            return;
        }
        let place = usize::try_from(index).ok().and_then(|index| self.entries.get_mut(index));
        if let Some(entry) = place.and_then(|place| place.1.take()) {
            self.names.remove(&entry.name);
            if let Some(due) = entry.due {
                self.due.remove(&(due, index));
            }
            self.order.remove(&entry.stamp);
            self.vacant.push(index);
        }
    }

    fn id(&self, index: u32) -> ThrottleId {
        let place = usize::try_from(index).ok().and_then(|index| self.entries.get(index));
        ThrottleId { index, generation: place.map_or(0, |place| place.0) }
    }

    fn index(&self, id: ThrottleId) -> Result<u32, ThrottleError> {
        let place = usize::try_from(id.index).ok().and_then(|index| self.entries.get(index));
        match place {
            Some((generation, Some(_))) if *generation == id.generation => Ok(id.index),
            Some(_) | None => Err(ThrottleError::Stale),
        }
    }

    /// The throttles of a path that hold back.
    fn enforced(&self, path: &[ThrottleId]) -> Result<Vec<u32>, ThrottleError> {
        let mut all = Vec::new();
        for id in path {
            let index = self.index(*id)?;
            if all.contains(&index) {
                return Err(ThrottleError::BadPath);
            }
            all.push(index);
        }
        if all.is_empty() {
            return Err(ThrottleError::BadPath);
        }
        all.retain(|index| self.entry(*index).is_some_and(|entry| !entry.shadow));
        Ok(all)
    }

    /// Lets units go through the throttles of a path that only watch.
    fn shadow(&mut self, now: Monotonic, path: &[ThrottleId], units: u64) -> Result<(), ThrottleError> {
        for id in path {
            let index = self.index(*id)?;
            if !self.entry(index).is_some_and(|entry| entry.shadow) {
                continue;
            }
            let usable = self.at_hand(now, index).min(units);
            if usable > 0 {
                self.use_units(now, index, usable);
            }
            if let Some(entry) = self.entry_mut(index) {
                let more = units - usable;
                entry.counters.shadowed += more;
                // Two windows' worth is enough to show who would wait.
                let most = entry.rate().map_or(0, |rate| 2 * rate.units());
                entry.shadow_wanted = (entry.shadow_wanted + more).min(most);
            }
            self.changed(index);
        }
        Ok(())
    }

    pub(crate) fn take_change(&mut self, now: Monotonic, change: &Change) {
        let departed: Vec<Departed> = change
            .departed
            .iter()
            .map(|(member, how)| Departed {
                member: *member,
                certain: *how == Departure::Certain,
                seated: self.fleet.has_seat(*member),
            })
            .collect();
        let apart = departed.iter().filter(|departed| departed.seated && !departed.certain).count() as u64;
        let divided = self.options.partition == Partition::Share && departed.iter().any(|one| !one.certain);
        let sides = divided.then(|| self.fleet.part().0 + apart);
        for index in self.indexes() {
            let Some(entry) = self.entry_mut(index) else { continue };
            if change.void {
                entry.void(now);
            }
            if let Some(pool) = &mut entry.pool
                && !change.departed.is_empty()
            {
                pool.depart(now, &departed, sides);
            }
        }
        if change.void {
            self.verdicts.void();
        }
        self.verdicts.withdraw(|node| self.fleet.is_present(node));
        if self.fleet.is_merging() {
            self.restrain();
        } else {
            self.set_limits(now);
        }
        if change.send_table {
            self.send_table(now);
        }
        for index in self.indexes() {
            self.changed(index);
        }
        self.settle(now);
    }

    /// What this side may own has changed while its members stayed.
    pub(crate) fn look_at_limits(&mut self, now: Monotonic) {
        self.set_limits(now);
        self.look_at_all();
    }

    fn look_at_all(&mut self) {
        for index in self.indexes() {
            self.changed(index);
        }
    }

    /// While tables are exchanged this side uses no more than its part: the other side may use its own by now.
    fn restrain(&mut self) {
        for (_, entry) in &mut self.entries {
            if let Some(pool) = entry.as_mut().and_then(|entry| entry.pool.as_mut()) {
                pool.restrain(self.fleet.limit(pool.rate.units()));
            }
        }
    }

    /// Sets what this side may own, after somebody came or went.
    pub(crate) fn set_limits(&mut self, now: Monotonic) {
        for index in self.indexes() {
            let place = usize::try_from(index).ok().and_then(|index| self.entries.get_mut(index));
            if let Some((_, Some(entry))) = place
                && let Some(pool) = &mut entry.pool
            {
                pool.set_limit(now, self.fleet.limit(pool.rate.units()));
                entry.reconcile(now, self.fleet.own);
            }
        }
    }
}
