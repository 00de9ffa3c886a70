//! The rings that the process group service does not tell of.
//!
//! When daemons form a new ring they first bring their services in step, and only when that is done the process
//! group service tells of the ring. When the ring breaks before that, and another is formed, the service compares
//! the ring it told of last with those who came over from the *latest* ring only. A host that went another way in
//! between, and so has not delivered the same messages, is then told to have stayed: libcpg hides exactly what
//! virtual synchrony rests on.
//!
//! Two things of the daemon tell more. A ring's number is by four higher than the highest that any of its hosts has
//! been on; so when it is by four higher than the one told of last, there was no ring in between. And the daemon's map
//! counts, ring by ring, how often each host has come over from another ring (`runtime.members.N.join_count`).

use crate::stream::RingId;
use std::collections::{BTreeMap, BTreeSet};

/// From a ring's number to the next one's.
const STEP: u64 = 4;

/// What the daemon's map said, and on which ring the daemon was just before and just after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Before the counts were read.
    pub before: RingId,
    /// How often each host of the ring has come to the own one's ring.
    pub joins: BTreeMap<u32, u32>,
    /// After the counts were read.
    pub after: RingId,
}

/// What happened between the ring that was told of before and the one that is told of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Between {
    /// Nothing that was not told.
    Nothing,
    /// These hosts went another way at least once, whether that was told or not.
    Parted(BTreeSet<u32>),
    /// There were rings in between, and nobody can say any more who was on them.
    Unknown,
}

/// The ring told of last, and the counts that were right on it.
#[derive(Debug, Default)]
pub struct History {
    ring: Option<RingId>,
    joins: Option<BTreeMap<u32, u32>>,
}

impl History {
    /// Takes the next ring that is told of, and what was read when it was.
    pub fn advance(&mut self, ring: RingId, reading: Option<Reading>) -> Between {
        // Counts of a daemon that has moved on already may be those of a later ring.
        let joins = reading.filter(|read| read.before == ring && read.after == ring).map(|read| read.joins);
        let between = match self.ring {
            None => Between::Nothing,
            Some(last) if last == ring || last.sequence + STEP == ring.sequence => Between::Nothing,
            Some(_) => match (&self.joins, &joins) {
                (Some(before), Some(now)) => {
                    // Who was on one of the two rings only is told to have come or gone.
                    let other = |(host, count): &(&u32, &u32)| before.get(*host).is_some_and(|c| c != *count);
                    let parted: BTreeSet<u32> = now.iter().filter(other).map(|(host, _)| *host).collect();
                    if parted.is_empty() { Between::Nothing } else { Between::Parted(parted) }
                }
                _ => Between::Unknown,
            },
        };
        self.ring = Some(ring);
        self.joins = joins;
        between
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ring(sequence: u64) -> RingId {
        RingId { node: 1, sequence }
    }

    fn joins(counts: &[(u32, u32)]) -> BTreeMap<u32, u32> {
        counts.iter().copied().collect()
    }

    fn read(sequence: u64, counts: &[(u32, u32)]) -> Option<Reading> {
        Some(Reading { before: ring(sequence), joins: joins(counts), after: ring(sequence) })
    }

    fn parted(hosts: &[u32]) -> Between {
        Between::Parted(hosts.iter().copied().collect())
    }

    fn from_the_first() -> History {
        let mut history = History::default();
        assert_eq!(history.advance(ring(8), read(8, &[(1, 1), (2, 1), (3, 1)])), Between::Nothing);
        history
    }

    #[test]
    fn the_next_number_leaves_no_room_for_a_hidden_ring() {
        // Whatever the map says: it may be that of a later ring.
        assert_eq!(from_the_first().advance(ring(12), None), Between::Nothing);
        assert_eq!(from_the_first().advance(ring(12), read(12, &[(1, 1), (2, 9)])), Between::Nothing);
        assert_eq!(from_the_first().advance(ring(8), None), Between::Nothing, "told again");
    }

    #[test]
    fn who_came_over_from_another_ring_has_parted() {
        let counts = [(1, 1), (2, 2), (3, 1)];
        assert_eq!(from_the_first().advance(ring(20), read(20, &counts)), parted(&[2]));
        let three_gone_four_new = [(1, 1), (2, 3), (4, 1)];
        assert_eq!(from_the_first().advance(ring(20), read(20, &three_gone_four_new)), parted(&[2]));
    }

    #[test]
    fn who_was_together_all_the_way_has_not() {
        let counts = [(1, 1), (2, 1), (3, 1)];
        assert_eq!(from_the_first().advance(ring(20), read(20, &counts)), Between::Nothing);
    }

    #[test]
    fn without_counts_of_both_rings_nobody_knows() {
        assert_eq!(from_the_first().advance(ring(20), None), Between::Unknown);
        // The daemon was on the next ring already when the counts were read, or came to it meanwhile.
        assert_eq!(from_the_first().advance(ring(20), read(24, &[(1, 1)])), Between::Unknown);
        let torn = Reading { before: ring(20), joins: joins(&[(1, 1)]), after: ring(24) };
        assert_eq!(from_the_first().advance(ring(20), Some(torn)), Between::Unknown);
        // And then the next step is unknown too, unless it is a single one.
        let mut history = from_the_first();
        history.advance(ring(12), None);
        assert_eq!(history.advance(ring(20), read(20, &[(1, 1), (2, 1), (3, 1)])), Between::Unknown);
        assert_eq!(history.advance(ring(28), read(28, &[(1, 1), (2, 1), (3, 1)])), Between::Nothing);
    }
}
