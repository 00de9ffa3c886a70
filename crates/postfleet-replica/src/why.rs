//! Why somebody waits: everything that is known here about one key of an object.

use crate::object::{MetricWord, Structure};
use crate::ordered::Table;
use crate::reads::{ColumnPhase, ColumnStatus, ReadError};
use crate::replica::Replica;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_throttle::{Epsilon, Rate, WhyGrant};
use postfleet_types::{Monotonic, Prefix, PrivateName};

/// One key: its value, its limit, and who has which part of it. What a kind does not have is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Why {
    /// The count; of throttles and slots the units owned or gone.
    pub value: u64,
    /// The limit in force on this side of the fleet.
    pub in_force: Option<u64>,
    /// The limit of the whole fleet.
    pub limit: Option<u64>,
    /// Of a throttle; its units are the whole limit.
    pub rate: Option<Rate>,
    /// How much of what is free one claim takes.
    pub epsilon: Option<Epsilon>,
    /// So many of so many nodes are here, and the limit follows from it.
    pub part: Option<(u64, u64)>,
    /// It only watches; units that it would have held back here so far.
    pub shadow: Option<u64>,
    /// Every member, in the order that all members see.
    pub members: Vec<WhyPart>,
    /// Units of departed members that may still be in use.
    pub gone: Vec<WhyDeparted>,
    /// The last grants, newest first, at most five.
    pub grants: Vec<WhyGranted>,
    /// Members whose data is awaited: nothing changes owner until it has come, or their counts are missing here.
    pub awaited: Vec<PrivateName>,
    /// This member has not heard of itself for too long and uses nothing.
    pub cut_off: bool,
}

/// One member's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyPart {
    /// Who.
    pub member: PrivateName,
    /// In use; of other members' units all they own, since only the owner knows which are idle.
    pub used: u64,
    /// Owned and idle; known of this member only.
    pub held: Option<u64>,
    /// Wanted beyond what it owns.
    pub wanted: Option<u64>,
    /// For how long it has waited.
    pub waiting: Option<Duration>,
    /// Since something of it was last delivered; `None` when nothing has been.
    pub seen: Option<Duration>,
}

/// Units that went with a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyDeparted {
    /// Whose they were.
    pub member: PrivateName,
    /// How many.
    pub units: u64,
    /// When they are free at the latest.
    pub free_in: Duration,
}

/// A grant that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyGranted {
    /// To whom.
    pub member: PrivateName,
    /// How many.
    pub units: u64,
    /// How long ago, by this member's clock.
    pub ago: Duration,
}

impl From<WhyGrant<'_>> for WhyGranted {
    fn from(grant: WhyGrant<'_>) -> Self {
        Self { member: grant.member.clone(), units: grant.units, ago: grant.ago }
    }
}

impl Replica {
    /// What is known about a key: of an object that counts by address a block, of a throttle table a throttle's
    /// name, of a slot table a limit's key, of series a word, else a name. A cache has no parts.
    ///
    /// # Errors
    /// [`ReadError::UnknownObject`], [`ReadError::NoKey`]: nothing is counted or limited under that key.
    pub fn why(&self, now: Monotonic, object: &str, key: &str) -> Result<Why, ReadError> {
        let found = self.object(object)?;
        let why = match found.structure() {
            Structure::CidrTree => {
                let prefix: Option<Prefix> = key.parse().ok();
                prefix.map(|prefix| self.why_counts(now, found.columns_of_prefix(prefix)))
            }
            Structure::GaugeTable => Some(self.why_counts(now, found.columns_of_name(key))),
            Structure::ThrottleTable | Structure::SlotTable => self.why_table(now, found.name(), key),
            Structure::Metrics => {
                let word = MetricWord::from_word(key);
                word.map(|word| self.why_counts(now, found.columns_of_word(word)))
            }
            Structure::Cache => None,
        };
        why.ok_or_else(|| ReadError::NoKey { object: String::from(object), key: String::from(key) })
    }

    fn seen(&self, now: Monotonic, member: &PrivateName) -> Option<Duration> {
        if *member == self.options.own {
            return Some(Duration::ZERO);
        }
        self.peers.get(member).and_then(|peer| peer.heard).map(|heard| now.since(heard))
    }

    fn why_counts(&self, now: Monotonic, columns: Vec<ColumnStatus>) -> Why {
        let awaited = columns.iter().filter(|column| column.phase == ColumnPhase::Missing);
        let awaited = awaited.map(|column| column.member.clone()).collect();
        let members = columns.into_iter().filter(|column| column.phase != ColumnPhase::Absent);
        let members: Vec<WhyPart> = members
            .map(|column| WhyPart {
                used: column.count,
                held: None,
                wanted: None,
                waiting: None,
                seen: self.seen(now, &column.member),
                member: column.member,
            })
            .collect();
        let value = members.iter().fold(0u64, |sum, part| sum.saturating_add(part.used));
        Why { value, members, awaited, ..Why::default() }
    }

    fn why_table(&self, now: Monotonic, object: &str, key: &str) -> Option<Why> {
        let part = |member: &PrivateName, used, held, wanted, waiting| WhyPart {
            member: member.clone(),
            used,
            // Of others nobody here knows which of their units are idle.
            held: (*member == self.options.own).then_some(held),
            wanted: Some(wanted),
            waiting,
            seen: self.seen(now, member),
        };
        match self.table(object)? {
            Table::Throttles(table) => {
                let why = table.why(now, key)?;
                let members = why.members.iter();
                let gone = why.gone.iter().map(|gone| WhyDeparted {
                    member: gone.member.clone(),
                    units: gone.units,
                    free_in: gone.free_in,
                });
                Some(Why {
                    value: why.value,
                    in_force: Some(why.limit),
                    limit: Some(why.rate.units()),
                    rate: Some(why.rate),
                    epsilon: Some(why.epsilon),
                    part: Some(why.part),
                    shadow: why.shadow,
                    members: members
                        .map(|one| part(one.member, one.used, one.held, one.wanted, one.waiting))
                        .collect(),
                    gone: gone.collect(),
                    grants: why.grants.into_iter().map(WhyGranted::from).collect(),
                    awaited: why.awaited.into_iter().cloned().collect(),
                    cut_off: why.cut_off,
                })
            }
            Table::Slots(table) => {
                let why = table.why(now, key)?;
                let members = why.members.iter();
                Some(Why {
                    value: why.value,
                    in_force: Some(why.limit),
                    limit: Some(why.whole),
                    part: Some(why.part),
                    members: members
                        .map(|one| part(one.member, one.used, one.held, one.wanted, one.waiting))
                        .collect(),
                    grants: why.grants.into_iter().map(WhyGranted::from).collect(),
                    awaited: why.awaited.into_iter().cloned().collect(),
                    ..Why::default()
                })
            }
            Table::Cache(_) => None,
        }
    }
}
