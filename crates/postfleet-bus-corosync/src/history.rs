//! The rings that the process group service does not tell of.
//!
//! When daemons form a new ring they first exchange what each has of the old one, then bring their services in step, and
//! only then the process group service tells of the ring. When the ring breaks before that, two things go wrong that
//! libcpg hides, and on which virtual synchrony rests:
//!
//! - The service compares the ring it told of last with those who came over from the *latest* ring only. A host that went
//!   over another ring in between, and so has not delivered the same messages, is told to have stayed.
//! - A daemon that had received what it lacked of the old ring, and whose new ring then broke, forgets those messages but not
//!   that it had received them. In the next attempt nobody sends them again, and hosts that went together all the way
//!   deliver different messages. Seen on Corosync 3.1.7.
//!
//! Both leave a trace that all hosts see alike: every attempt takes a number for its ring that is by four higher than the
//! highest that any of its hosts has had. So when a ring's number is by four higher than that of the ring told of before,
//! there was one attempt, and what libcpg tells is right. Otherwise nobody can be taken to have delivered the same.

use crate::stream::RingId;
use std::collections::BTreeSet;

/// From a ring's number to that of the next attempt.
const STEP: u64 = 4;

/// The ring told of last.
#[derive(Debug, Default)]
pub struct History {
    ring: Option<RingId>,
}

impl History {
    /// Takes the next ring that is told of. Whoever is on one of the hosts in the answer may have delivered something
    /// else, even if it is told to have stayed.
    pub fn advance(&mut self, ring: RingId, hosts: &BTreeSet<u32>) -> BTreeSet<u32> {
        let direct = match self.ring {
            None => true,
            Some(last) => last == ring || last.sequence.checked_add(STEP) == Some(ring.sequence),
        };
        self.ring = Some(ring);
        if direct { BTreeSet::new() } else { hosts.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advance(history: &mut History, sequence: u64) -> usize {
        history.advance(RingId { node: 1, sequence }, &BTreeSet::from([1, 2, 3])).len()
    }

    #[test]
    fn the_next_number_leaves_no_room_for_another_attempt() {
        let mut history = History::default();
        let parted = [9, 13, 13, 17].map(|sequence| advance(&mut history, sequence));
        assert_eq!(parted, [0; 4], "the first, two steps, and one that is told again");
    }

    #[test]
    fn any_other_number_parts_everybody() {
        let mut history = History::default();
        // Two attempts; the next step is direct again; a number that is lower or between comes from a ring unknown here.
        let parted = [8, 16, 20, 12, 14, u64::MAX, 3].map(|sequence| advance(&mut history, sequence));
        assert_eq!(parted, [0, 3, 0, 3, 3, 3, 3]);
    }
}
