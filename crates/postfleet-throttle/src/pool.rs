//! The units of one shared throttle, as all members know them at the same point of the order.

use crate::deal::{Waiting, deal};
use crate::member::MemberId;
use crate::rate::{Epsilon, Rate};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::Monotonic;

/// Grants that are remembered for the console.
pub(crate) const GRANTS: usize = 5;

/// Units that count for nobody because their member departed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) units: u64,
    /// Its process is known to be dead; else it may go on for a while without the others.
    pub(crate) certain: bool,
    /// The limit in force before it departed: what was used until then, and what the others use now, stays within it.
    pub(crate) cap: u64,
    /// Which departure it was; those of one configuration change have one number, later ones a higher one.
    pub(crate) turn: u64,
    /// When this member saw it depart, or the tables merged. Own clock; no part of the agreed state.
    pub(crate) since: Monotonic,
}

/// A member that is no longer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Departed {
    pub(crate) member: MemberId,
    /// Its process is known to be dead.
    pub(crate) certain: bool,
    /// Its node has a part of the limit.
    pub(crate) seated: bool,
}

/// A grant, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) member: MemberId,
    pub(crate) units: u64,
    pub(crate) at: Monotonic,
}

/// One member's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) own: u64,
    /// In the queue exactly while this is not 0.
    pub(crate) want: u64,
    pub(crate) place: u64,
    /// Since when it waits without having got anything. Own clock; no part of the agreed state.
    pub(crate) since: Monotonic,
    /// When it began to wait, for display.
    pub(crate) waits: Monotonic,
}

/// The units of one throttle.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) rate: Rate,
    pub(crate) epsilon: Epsilon,
    /// What this side of the fleet may own: C.
    limit: u64,
    shares: BTreeMap<MemberId, Share>,
    gone: BTreeMap<MemberId, Gone>,
    next_place: u64,
    owned: u64,
    gone_units: u64,
    /// What members may own beside units that are gone.
    room: u64,
    turns: u64,
    waiting: usize,
    /// Operations that used or wanted the throttle; what `drop` compares.
    pub(crate) touched: u64,
    /// When it was last used, as far as this member can tell. Own clock.
    pub(crate) used_at: Monotonic,
    pub(crate) grants: VecDeque<Grant>,
}

impl Pool {
    pub(crate) fn new(rate: Rate, epsilon: Epsilon, limit: u64, now: Monotonic) -> Self {
        Self {
            rate,
            epsilon,
            limit,
            shares: BTreeMap::new(),
            gone: BTreeMap::new(),
            next_place: 1,
            owned: 0,
            gone_units: 0,
            room: u64::MAX,
            turns: 0,
            waiting: 0,
            touched: 0,
            used_at: now,
            grants: VecDeque::new(),
        }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.min(self.rate.units())
    }

    /// Units owned by members: Σ own.
    pub(crate) const fn owned(&self) -> u64 {
        self.owned
    }

    /// Units owned or gone: U.
    pub(crate) const fn in_use(&self) -> u64 {
        self.owned.saturating_add(self.gone_units)
    }

    /// What members may own: C, or less while units of departed members cool.
    fn most(&self) -> u64 {
        self.limit().min(self.room)
    }

    /// Free units, F; nothing when more is owned than may be.
    pub(crate) fn free(&self) -> u64 {
        self.most().saturating_sub(self.owned)
    }

    /// Units that are owned above what may be, with so many on their way back.
    pub(crate) fn excess(&self, gives: u64) -> u64 {
        self.owned.saturating_sub(gives).saturating_sub(self.most())
    }

    /// Counts what is gone. A part of a split fleet has a budget of its own, and so has a part of that part: units
    /// gone with a departure, and with those after it, count against the limit that was in force before it.
    fn count_gone(&mut self) {
        let mut gone: Vec<Gone> = self.gone.values().copied().collect();
        gone.sort_unstable_by_key(|gone| core::cmp::Reverse(gone.turn));
        self.gone_units = 0;
        self.room = u64::MAX;
        for turn in gone.chunk_by(|left, right| left.turn == right.turn) {
            self.gone_units += turn.iter().map(|gone| gone.units).sum::<u64>();
            let cap = turn.iter().map(|gone| gone.cap).min().unwrap_or(u64::MAX).min(self.rate.units());
            self.room = self.room.min(cap.saturating_sub(self.gone_units));
        }
    }

    /// The number of the latest departure.
    pub(crate) const fn turns(&self) -> u64 {
        self.turns
    }

    pub(crate) fn share(&self, member: MemberId) -> Share {
        self.shares.get(&member).copied().unwrap_or_default()
    }

    pub(crate) fn shares(&self) -> impl Iterator<Item = (MemberId, &Share)> {
        self.shares.iter().map(|(member, share)| (*member, share))
    }

    pub(crate) fn gone(&self) -> impl Iterator<Item = (MemberId, &Gone)> {
        self.gone.iter().map(|(member, gone)| (*member, gone))
    }

    /// How many members wait.
    pub(crate) const fn queue_len(&self) -> usize {
        self.waiting
    }

    /// Those who wait, in the order of their places.
    pub(crate) fn queue(&self) -> Vec<Waiting<MemberId>> {
        let mut queue: Vec<Waiting<MemberId>> = self
            .shares
            .iter()
            .filter(|(_, share)| share.want > 0)
            .map(|(who, share)| Waiting { who: *who, own: share.own, want: share.want, place: share.place })
            .collect();
        queue.sort_unstable_by_key(|waiting| waiting.place);
        queue
    }

    /// Nothing is owned, gone or wanted.
    pub(crate) fn is_empty(&self) -> bool {
        self.owned == 0 && self.gone.is_empty() && self.waiting == 0
    }

    /// Checks what always holds.
    pub(crate) fn assert_sound(&self) {
        assert_eq!(
            self.owned,
            self.shares.values().map(|share| share.own).sum::<u64>(),
            "sum of what is owned"
        );
        assert_eq!(
            self.gone_units,
            self.gone.values().map(|gone| gone.units).sum::<u64>(),
            "sum of what is gone"
        );
        assert_eq!(self.waiting, self.shares.values().filter(|share| share.want > 0).count(), "who waits");
        assert!(self.waiting == 0 || self.free() == 0 || self.limit() > 0, "nothing to deal without a limit");
    }

    /// Sets the limit in force and deals what that frees.
    pub(crate) fn set_limit(&mut self, now: Monotonic, limit: u64) {
        self.limit = limit;
        self.deal_all(now);
    }

    /// Lowers the limit in force while tables are exchanged: nothing is dealt.
    pub(crate) fn restrain(&mut self, limit: u64) {
        self.limit = self.limit.min(limit);
    }

    /// Takes another rate; units stay where they are and finish the cooling that they began.
    pub(crate) fn set_rate(&mut self, now: Monotonic, rate: Rate, limit: u64) {
        self.rate = rate;
        self.count_gone();
        self.touched += 1;
        self.used_at = now;
        self.set_limit(now, limit);
    }

    pub(crate) const fn touch(&mut self, now: Monotonic) {
        self.touched += 1;
        self.used_at = now;
    }

    /// A member wants units. Where they come at once, and nobody waits for what is left, it gets some `ahead` of its needs.
    pub(crate) fn claim(&mut self, now: Monotonic, member: MemberId, units: u64, ahead: u64) {
        self.touch(now);
        self.want(now, member, units.min(self.rate.units()));
        let free = self.free();
        if free == 0 {
            return;
        }
        let left = self.deal(now, self.epsilon.of(free));
        let ahead = ahead.min(left);
        if ahead > 0 && self.waiting == 0 {
            self.shares.entry(member).or_default().own += ahead;
            self.granted(now, member, ahead);
        }
    }

    pub(crate) fn give(&mut self, now: Monotonic, member: MemberId, units: u64) {
        let Some(share) = self.shares.get_mut(&member) else { return };
        let units = units.min(share.own);
        share.own -= units;
        self.owned -= units;
        if share.want > 0 {
            share.place = self.next_place;
            self.next_place += 1;
        }
        self.tidy(member);
        // Somebody used it, at the latest so long ago.
        self.used_at = self.used_at.max(now - self.cooling(true));
        self.deal_all(now);
    }

    pub(crate) fn force(&mut self, now: Monotonic, member: MemberId, units: u64) {
        self.touch(now);
        let share = self.shares.entry(member).or_default();
        share.own = share.own.saturating_add(units).min(u64::from(u32::MAX) * 16);
        self.owned = self.shares.values().map(|share| share.own).sum();
    }

    pub(crate) fn expire(&mut self, now: Monotonic, member: MemberId) {
        if self.gone.remove(&member).is_some() {
            self.count_gone();
            self.deal_all(now);
        }
    }

    /// A departed member's process is known to be dead.
    pub(crate) fn certain(&mut self, member: MemberId) {
        if let Some(gone) = self.gone.get_mut(&member) {
            gone.certain = true;
        }
    }

    /// Members are no longer there, all in one change; what they owned counts until it has cooled.
    ///
    /// With `sides` they may live on, and every side may rise to its part of the limit: what is free is divided among
    /// so many nodes, those out of reach take their part along, and nothing else is dealt until they cannot have used
    /// any of it.
    pub(crate) fn depart(&mut self, now: Monotonic, departed: &[Departed], sides: Option<u64>) {
        let (cap, part) = match sides {
            Some(nodes) => (self.most(), self.free().div_ceil(nodes.max(1))),
            None => (self.limit(), 0),
        };
        self.turns = self.turns.saturating_add(1);
        for Departed { member, certain, seated } in departed {
            let share = self.shares.remove(member).unwrap_or_default();
            self.owned -= share.own;
            self.waiting -= usize::from(share.want > 0);
            let units = share.own + if *seated && !*certain { part } else { 0 };
            if units > 0 {
                let turn = self.turns;
                self.gone.insert(*member, Gone { units, certain: *certain, cap, turn, since: now });
            }
        }
        self.count_gone();
    }

    /// Puts a member's part in, as a table of its side has it. Only for a pool that has none of it yet.
    pub(crate) fn adopt_share(&mut self, now: Monotonic, member: MemberId, own: u64, want: u64) {
        self.want(now, member, want.min(self.rate.units()));
        let share = self.shares.entry(member).or_default();
        share.own = own.min(u64::from(u32::MAX) * 16);
        self.owned = self.shares.values().map(|share| share.own).sum();
        self.tidy(member);
    }

    /// Puts units of a departed member in; the larger number counts.
    pub(crate) fn adopt_gone(&mut self, member: MemberId, more: Gone) {
        let gone = self.gone.entry(member).or_insert(more);
        gone.units = gone.units.max(more.units).min(u64::from(u32::MAX) * 16);
        gone.certain &= more.certain;
        gone.cap = gone.cap.min(more.cap);
        gone.turn = gone.turn.min(more.turn);
        self.turns = self.turns.max(more.turn);
        self.count_gone();
    }

    /// How long a unit cools: a thousandth more than the period where it may be used next by another clock.
    pub(crate) fn cooling(&self, shared: bool) -> Duration {
        cooling(self.rate, shared)
    }

    pub(crate) fn deal_all(&mut self, now: Monotonic) {
        self.deal(now, self.free());
    }

    fn want(&mut self, now: Monotonic, member: MemberId, units: u64) {
        let share = self.shares.entry(member).or_default();
        match (share.want, units) {
            (0, 0) => {}
            (0, _) => {
                share.place = self.next_place;
                self.next_place += 1;
                share.since = now;
                share.waits = now;
                self.waiting += 1;
            }
            (_, 0) => self.waiting -= 1,
            (_, _) => {}
        }
        share.want = units;
        self.tidy(member);
    }

    /// Forgets a part that is nothing.
    fn tidy(&mut self, member: MemberId) {
        if self.shares.get(&member).is_some_and(|share| share.own == 0 && share.want == 0) {
            self.shares.remove(&member);
        }
    }

    /// Deals units to those who wait; what is left.
    fn deal(&mut self, now: Monotonic, units: u64) -> u64 {
        if units == 0 || self.waiting == 0 {
            return units;
        }
        let mut queue = self.queue();
        let left = deal(&mut queue, &mut self.next_place, units);
        for one in queue {
            let Some(share) = self.shares.get_mut(&one.who) else { continue };
            let got = one.own - share.own;
            if got == 0 {
                continue;
            }
            share.own = one.own;
            share.want = one.want;
            share.place = one.place;
            share.since = now;
            self.waiting -= usize::from(one.want == 0);
            self.granted(now, one.who, got);
        }
        left
    }

    fn granted(&mut self, now: Monotonic, member: MemberId, units: u64) {
        self.owned += units;
        if self.grants.len() == GRANTS {
            self.grants.pop_front();
        }
        self.grants.push_back(Grant { member, units, at: now });
    }
}

/// How long a unit of that rate cools.
pub(crate) fn cooling(rate: Rate, shared: bool) -> Duration {
    if shared { rate.period() + rate.tick() } else { rate.period() }
}
