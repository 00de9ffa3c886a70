//! What a table shows: rows, and why somebody waits.

use crate::entry::Entry;
use crate::member::MemberId;
use crate::pool::Pool;
use crate::rate::{Epsilon, Rate};
use crate::shared::SharedThrottles;
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::{Monotonic, PrivateName};

/// A throttle and its units in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleRow<'a> {
    /// Its name.
    pub name: &'a str,
    /// Units owned or gone: used in the window, or held idle for a moment. Of a node: those it owns.
    pub used: u64,
    /// Its rate.
    pub rate: Rate,
    /// It only watches.
    pub shadow: bool,
}

/// One member's part of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyMember<'a> {
    /// Who.
    pub member: &'a PrivateName,
    /// Units or slots in use; of other members all they own, since only the owner knows which are idle.
    pub used: u64,
    /// Owned and idle; known of this member only.
    pub held: u64,
    /// Wanted beyond what it owns.
    pub wanted: u64,
    /// For how long it has waited.
    pub waiting: Option<Duration>,
}

/// Units that a departed member may still be using.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyGone<'a> {
    /// Whose they were.
    pub member: &'a PrivateName,
    /// How many.
    pub units: u64,
    /// When they are free at the latest.
    pub free_in: Duration,
}

/// A grant that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyGrant<'a> {
    /// To whom.
    pub member: &'a PrivateName,
    /// How many.
    pub units: u64,
    /// How long ago, by this member's clock.
    pub ago: Duration,
}

/// Everything about one throttle: why somebody waits, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why<'a> {
    /// Units owned or gone.
    pub value: u64,
    /// The limit in force on this side of the fleet.
    pub limit: u64,
    /// The rate; its units are the whole limit.
    pub rate: Rate,
    /// How much of what is free one claim takes.
    pub epsilon: Epsilon,
    /// So many of so many nodes are here, and the limit follows from it.
    pub part: (u64, u64),
    /// It only watches; units that it would have held back here so far.
    pub shadow: Option<u64>,
    /// Every member, in the order that all members see.
    pub members: Vec<WhyMember<'a>>,
    /// Units of departed members that have not cooled.
    pub gone: Vec<WhyGone<'a>>,
    /// The last grants, newest first, at most five.
    pub grants: Vec<WhyGrant<'a>>,
    /// Members whose table is awaited; until it has come nothing changes owner.
    pub awaited: Vec<&'a PrivateName>,
    /// This member has not heard of itself for too long and uses nothing.
    pub cut_off: bool,
}

impl SharedThrottles {
    /// Every throttle that is there, by name.
    pub fn rows(&self) -> impl Iterator<Item = ThrottleRow<'_>> {
        self.existing().map(|(entry, pool)| ThrottleRow {
            name: &entry.name,
            used: pool.in_use() + entry.forces(),
            rate: pool.rate,
            shadow: entry.shadow,
        })
    }

    /// The part of one member, by name of the throttle; throttles of which it owns nothing are left out.
    pub fn rows_of(&self, member: &PrivateName) -> impl Iterator<Item = ThrottleRow<'_>> {
        let member = self.fleet.registry.known(member);
        self.existing().filter_map(move |(entry, pool)| {
            let member = member?;
            let forces = if member == self.fleet.own { entry.forces() } else { 0 };
            let used = pool.share(member).own + forces;
            (used > 0).then_some(ThrottleRow {
                name: &entry.name,
                used,
                rate: pool.rate,
                shadow: entry.shadow,
            })
        })
    }

    /// What a throttle is waiting for.
    #[must_use]
    pub fn why(&self, now: Monotonic, name: &str) -> Option<Why<'_>> {
        let entry = self.entry(*self.names.get(name)?)?;
        let pool = entry.pool.as_ref()?;
        let name_of = |member: MemberId| self.fleet.registry.name(member);
        let members = self.fleet.order().iter().filter_map(|member| {
            let share = pool.share(*member);
            let held = if *member == self.fleet.own { entry.idle } else { 0 };
            Some(WhyMember {
                member: name_of(*member)?,
                used: share.own.saturating_sub(held),
                held,
                wanted: share.want,
                waiting: (share.want > 0).then(|| now.since(share.waits)),
            })
        });
        let gone = pool.gone().filter_map(|(member, gone)| {
            let wait = if gone.certain { Duration::ZERO } else { self.fleet.grace };
            let free = gone.since + pool.cooling(true) + wait;
            Some(WhyGone { member: name_of(member)?, units: gone.units, free_in: free.since(now) })
        });
        let grants = pool.grants.iter().rev().filter_map(|grant| {
            Some(WhyGrant { member: name_of(grant.member)?, units: grant.units, ago: now.since(grant.at) })
        });
        Some(Why {
            value: pool.in_use() + entry.forces(),
            limit: pool.limit(),
            rate: pool.rate,
            epsilon: pool.epsilon,
            part: self.fleet.part(),
            shadow: entry.shadow.then_some(entry.counters.shadowed),
            members: members.collect(),
            gone: gone.collect(),
            grants: grants.collect(),
            awaited: self.fleet.awaited(),
            cut_off: !self.fleet.is_fresh(now),
        })
    }

    /// A digest of the state that all members agree on: equal on all of them at the same point of the order.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut digest = Digest::new();
        self.fleet.fingerprint(&mut digest);
        for (entry, pool) in self.existing() {
            digest.text(&entry.name).number(pool.rate.units()).number(u64::from(pool.rate.seconds()));
            digest.number(u64::from(pool.epsilon.millionths())).number(pool.limit()).number(pool.touched);
            let name_of = |member: MemberId| self.fleet.registry.name(member).map_or("", PrivateName::as_str);
            let mut shares: Vec<(&str, u64, u64)> =
                pool.shares().map(|(member, share)| (name_of(member), share.own, share.want)).collect();
            shares.sort_unstable();
            for (name, own, want) in shares {
                digest.text(name).number(own).number(want);
            }
            for one in pool.queue() {
                digest.text(name_of(one.who));
            }
            let mut gone: Vec<(&str, u64, bool, u64, u64)> = pool
                .gone()
                .map(|(member, gone)| (name_of(member), gone.units, gone.certain, gone.cap, gone.turn))
                .collect();
            gone.sort_unstable();
            for (name, units, certain, cap, turn) in gone {
                digest.text(name).number(units).number(u64::from(certain)).number(cap).number(turn);
            }
        }
        digest.value()
    }

    fn existing(&self) -> impl Iterator<Item = (&Entry, &Pool)> {
        let entries = self.names.values().filter_map(|index| self.entry(*index));
        entries.filter_map(|entry| Some((entry, entry.pool.as_ref()?)))
    }
}

/// FNV-1a with 64 bits over texts and numbers.
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: impl Iterator<Item = u8>) -> &mut Self {
        self.0 =
            bytes.fold(self.0, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.bytes().chain([0xff]))
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.bytes(number.to_be_bytes().into_iter())
    }

    pub(crate) const fn value(&self) -> u64 {
        self.0
    }
}
