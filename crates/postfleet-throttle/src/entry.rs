//! One shared throttle on this member: the agreed pool, and the units that this member owns.

use crate::cooling::Cooling;
use crate::deal::{Waiting, deal};
use crate::member::MemberId;
use crate::pool::Pool;
use crate::rate::{Epsilon, Rate};
use crate::wishes::Wishes;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use core::time::Duration;
use postfleet_types::Monotonic;

/// The longest time for which an idle unit is kept that nobody here needs.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Something that is to be said once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Say {
    #[default]
    Nothing,
    Unsent,
    UnderWay,
}

impl Say {
    /// What was under way will not arrive.
    pub(crate) const fn void(&mut self) {
        if matches!(self, Self::UnderWay) {
            *self = Self::Unsent;
        }
    }
}

/// Numbers that only grow, for displays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThrottleCounters {
    /// Units that were used here.
    pub used: u64,
    /// Units that would have been held back here if the throttle were not in shadow mode.
    pub shadowed: u64,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// The agreed state; `None` before the throttle exists and after it was dropped.
    pub(crate) pool: Option<Pool>,
    /// The rate that this node's configuration gives it.
    pub(crate) configured: Option<Rate>,
    /// What `rate` has to say.
    pub(crate) announce: Say,
    /// What a script asked for before the throttle existed.
    pub(crate) created: Option<(Rate, Epsilon)>,
    pub(crate) create: Say,
    pub(crate) shadow: bool,
    /// Uses that went through in shadow mode and for which no unit has come yet.
    pub(crate) shadow_wanted: u64,
    /// What was refused to those who could not wait.
    pub(crate) wishes: Wishes,
    pub(crate) counters: ThrottleCounters,

    // The units of this member.
    pub(crate) idle: u64,
    /// Of the idle ones, those that were granted and have not been used since: they were dealt by need, and to pass
    /// them on before they are used would send them round for ever.
    pub(crate) new: u64,
    /// Since when some are looked at, and how many of them nobody has needed since.
    idle_since: Monotonic,
    unused: u64,
    /// Taken for somebody who still waits for another throttle.
    pub(crate) held: u64,
    pub(crate) cooling: Cooling,
    /// Used although nothing was free. Given when they have cooled.
    pub(crate) forced: Cooling,
    pub(crate) gives_unsent: u64,
    pub(crate) gives_under_way: u64,
    pub(crate) forces_unsent: u64,
    pub(crate) forces_under_way: u64,
    pub(crate) claiming: bool,
    pub(crate) expiring: BTreeMap<MemberId, Say>,
    pub(crate) dropping: Say,

    /// Who waits here.
    pub(crate) lines: BTreeSet<u32>,
    /// Its time in the index of deadlines.
    pub(crate) due: Option<Monotonic>,
    /// Its place in the order of use that all members share.
    pub(crate) stamp: u64,
}

impl Entry {
    pub(crate) const fn new(name: String) -> Self {
        Self {
            name,
            pool: None,
            configured: None,
            announce: Say::Nothing,
            created: None,
            create: Say::Nothing,
            shadow: false,
            shadow_wanted: 0,
            wishes: Wishes::NONE,
            counters: ThrottleCounters { used: 0, shadowed: 0 },
            idle: 0,
            new: 0,
            idle_since: Monotonic::ZERO,
            unused: 0,
            held: 0,
            cooling: Cooling::EMPTY,
            forced: Cooling::EMPTY,
            gives_unsent: 0,
            gives_under_way: 0,
            forces_unsent: 0,
            forces_under_way: 0,
            claiming: false,
            expiring: BTreeMap::new(),
            dropping: Say::Nothing,
            lines: BTreeSet::new(),
            due: None,
            stamp: 0,
        }
    }

    /// The rate in force, or the one that will be when the first message has come back.
    pub(crate) fn rate(&self) -> Option<Rate> {
        let agreed = self.pool.as_ref().map(|pool| pool.rate);
        agreed.or(self.configured).or(self.created.map(|(rate, _)| rate))
    }

    /// Nothing refers to it any more.
    pub(crate) fn is_unused(&self) -> bool {
        self.pool.is_none() && self.configured.is_none() && self.created.is_none() && self.lines.is_empty()
    }

    /// Gives that the others have not seen: p of the rules counts them as done.
    pub(crate) const fn gives(&self) -> u64 {
        self.gives_unsent + self.gives_under_way
    }

    /// Forced units that the others have not seen.
    pub(crate) const fn forces(&self) -> u64 {
        self.forces_unsent + self.forces_under_way
    }

    /// Units in use here: all that are owned and not idle.
    pub(crate) fn busy(&self) -> u64 {
        self.cooling.units() + self.forced.units() + self.held
    }

    /// Uses an idle unit.
    #[inline]
    pub(crate) fn use_idle(&mut self, now: Monotonic, units: u64, tick: Duration) {
        self.lose_idle(units);
        self.new = self.new.saturating_sub(units);
        self.cooling.push(now, units, tick);
        self.counters.used += units;
    }

    /// Keeps idle units for somebody who waits for another throttle as well.
    pub(crate) fn hold(&mut self, units: u64) {
        self.lose_idle(units);
        self.new = self.new.saturating_sub(units);
        self.held += units;
    }

    pub(crate) fn add_idle(&mut self, now: Monotonic, units: u64) {
        if units > 0 {
            if self.idle == 0 {
                self.idle_since = now;
                self.unused = units;
            }
            self.idle += units;
        }
    }

    #[inline]
    fn lose_idle(&mut self, units: u64) {
        self.idle -= units;
        self.unused = self.unused.min(self.idle);
    }

    /// Moves units that have cooled: own ones are idle, forced ones are given.
    pub(crate) fn harvest(&mut self, now: Monotonic, shared: bool) {
        let Some(rate) = self.rate() else { return };
        let cooling = crate::pool::cooling(rate, shared);
        let cooled = self.cooling.harvest(now, cooling);
        self.add_idle(now, cooled);
        self.gives_unsent += self.forced.harvest(now, cooling);
    }

    /// Units above what this side may own.
    pub(crate) fn excess(&self) -> u64 {
        self.pool.as_ref().map_or(0, |pool| pool.excess(self.gives()))
    }

    /// How long an idle unit is kept that nobody needs.
    fn idle_max(&self) -> Duration {
        self.rate().map_or(IDLE_MAX, |rate| IDLE_MAX.min(rate.period() / 10))
    }

    pub(crate) fn idle_until(&self) -> Monotonic {
        self.idle_since + self.idle_max()
    }

    /// Gives what was idle for all of the time that just ended, at most so many units. Demand is never even: as many as
    /// an eighth of those in use are kept, so that they are not claimed again a moment later.
    pub(crate) fn give_unused(&mut self, now: Monotonic, units: u64) {
        self.give(self.unused.saturating_sub(self.busy() / 8).min(units));
        self.idle_since = now;
        self.unused = self.idle;
    }

    pub(crate) fn give(&mut self, units: u64) {
        self.lose_idle(units);
        self.new = self.new.min(self.idle);
        self.gives_unsent += units;
    }

    /// Whether another member waits.
    #[inline]
    pub(crate) fn others_wait(&self, own: MemberId) -> bool {
        self.pool
            .as_ref()
            .is_some_and(|pool| pool.queue_len() > 1 || pool.queue_len() == 1 && pool.share(own).want == 0)
    }

    /// Whether a unit that has cooled is for somebody else: for who owns at least two fewer, or owns nothing while
    /// this member owns something, or owns fewer and has, like this member, got nothing for a period.
    pub(crate) fn passes(&self, now: Monotonic, own: MemberId) -> bool {
        if self.new > 0 || !self.others_wait(own) {
            return false;
        }
        let Some(pool) = &self.pool else { return false };
        let mine = pool.share(own).own.saturating_sub(self.gives());
        let mut queue = pool.queue();
        if let Some(me) = queue.iter_mut().find(|one| one.who == own) {
            me.own = mine;
        }
        // What is on its way counts as dealt.
        let mut next = u64::MAX / 2;
        deal(&mut queue, &mut next, self.gives());
        let period = pool.rate.period();
        // Without this the slow clocks give within a cycle what the fast ones gave them, and always have one fewer.
        let ripe = now.since(pool.share(own).since) >= period;
        let entitled = |one: &Waiting<MemberId>| {
            one.own + 2 <= mine
                || one.own == 0 && mine > 0
                || ripe && one.own < mine && now.since(pool.share(one.who).since) >= period
        };
        queue.iter().any(|one| one.who != own && one.want > 0 && entitled(one))
    }

    /// Operations that are under way will not arrive.
    pub(crate) fn void(&mut self, now: Monotonic) {
        let gives = core::mem::take(&mut self.gives_unsent) + core::mem::take(&mut self.gives_under_way);
        self.add_idle(now, gives);
        self.forces_unsent += core::mem::take(&mut self.forces_under_way);
        self.claiming = false;
        self.announce.void();
        self.create.void();
        self.expiring.clear();
        self.dropping = Say::Nothing;
    }

    /// Brings the own units in line with the agreed state: what was granted is idle.
    pub(crate) fn reconcile(&mut self, now: Monotonic, own: MemberId) {
        let agreed = self.pool.as_ref().map_or(0, |pool| pool.share(own).own);
        let all = self.idle + self.busy() + self.gives();
        let here = all.saturating_sub(self.forces());
        let granted = agreed.saturating_sub(here);
        self.add_idle(now, granted);
        self.new += granted;
        // Less than is here only after a table was lost or is too small: what it forgot is forgotten here too.
        let mut less = here.saturating_sub(agreed);
        let idle = less.min(self.idle);
        self.lose_idle(idle);
        self.new = self.new.min(self.idle);
        less -= idle;
        less -= self.cooling.forget(less);
        less -= self.forced.forget(less);
        let gives = less.min(self.gives_unsent);
        self.gives_unsent -= gives;
        self.gives_under_way = self.gives_under_way.saturating_sub(less - gives);
    }

    /// The throttle is no more.
    pub(crate) fn forget_units(&mut self) {
        self.idle = 0;
        self.unused = 0;
        self.new = 0;
        self.held = 0;
        self.cooling.clear();
        self.forced.clear();
        self.gives_unsent = 0;
        self.gives_under_way = 0;
        self.forces_unsent = 0;
        self.forces_under_way = 0;
        self.claiming = false;
        self.expiring.clear();
        self.dropping = Say::Nothing;
        self.shadow_wanted = 0;
        self.wishes = Wishes::NONE;
    }
}
