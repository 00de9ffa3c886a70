//! Message numbers: holes in what others send, holes in what comes back of the own, and the watchdog.

use crate::carrier::RawId;
use crate::event::SendId;
use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;
use postfleet_types::{Epoch, Monotonic};

/// An own message that the carrier has accepted and that has not come back.
#[derive(Debug)]
struct InFlight {
    sequence: u64,
    at: Monotonic,
    send: Option<SendId>,
}

#[derive(Debug)]
struct Track {
    epoch: Epoch,
    first: u64,
    next: u64,
    gapped: bool,
}

/// What a number says about the message that carries it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The next one.
    InOrder,
    /// Numbers are missing before it; from here on everything of this epoch is dropped.
    Gap {
        /// The first number that is missing.
        missing: u64,
    },
    /// The sender had a gap before, or the number was there before.
    Dropped,
}

/// What a number says about an own message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OwnArrival {
    /// The next one; how long it took, and what the application calls it.
    InOrder(Duration, Option<SendId>),
    /// One of the own messages has vanished.
    Gap,
}

#[derive(Debug, Default)]
pub(super) struct Numbering {
    tracks: BTreeMap<RawId, Track>,
    in_flight: VecDeque<InFlight>,
    /// Own numbers given out so far.
    sent: u64,
    /// The highest own number that has come back.
    delivered: u64,
}

impl Numbering {
    pub(super) const fn next_own(&self) -> u64 {
        self.sent + 1
    }

    pub(super) const fn own_delivered(&self) -> u64 {
        self.delivered
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn oldest_in_flight(&self) -> Option<Monotonic> {
        self.in_flight.front().map(|message| message.at)
    }

    pub(super) fn sent(&mut self, now: Monotonic, send: Option<SendId>) {
        self.sent += 1;
        self.in_flight.push_back(InFlight { sequence: self.sent, at: now, send });
    }

    pub(super) fn own(&mut self, now: Monotonic, sequence: u64) -> OwnArrival {
        match self.in_flight.front() {
            Some(message) if message.sequence == sequence => {
                let answer = OwnArrival::InOrder(now.since(message.at), message.send);
                self.in_flight.pop_front();
                self.delivered = sequence;
                answer
            }
            Some(_) | None => OwnArrival::Gap,
        }
    }

    /// The process stood still for `late`: that is no time in which anything could have come back.
    pub(super) fn forgive(&mut self, late: Duration) {
        for message in &mut self.in_flight {
            message.at = message.at + late;
        }
    }

    pub(super) fn other(&mut self, from: RawId, epoch: Epoch, sequence: u64) -> Arrival {
        let track = match self.tracks.get_mut(&from) {
            Some(track) if track.epoch == epoch => track,
            Some(_) | None => {
                let next = sequence.saturating_add(1);
                self.tracks.insert(from, Track { epoch, first: sequence, next, gapped: false });
                return Arrival::InOrder;
            }
        };
        if track.gapped || sequence < track.next {
            return Arrival::Dropped;
        }
        let missing = track.next;
        track.next = sequence.saturating_add(1);
        if sequence > missing {
            track.gapped = true;
            return Arrival::Gap { missing };
        }
        Arrival::InOrder
    }

    /// A HELLO says that its sender had `delivered` own messages back. Whoever saw the ROUND must have seen
    /// every later one; `false` when one is missing.
    pub(super) fn complete_since(&mut self, from: RawId, delivered: u64) -> bool {
        match self.tracks.get_mut(&from) {
            Some(track) if track.first > delivered.saturating_add(1) => {
                track.gapped = true;
                false
            }
            Some(track) => !track.gapped,
            None => false,
        }
    }

    pub(super) fn is_gapped(&self, from: RawId) -> bool {
        self.tracks.get(&from).is_some_and(|track| track.gapped)
    }

    /// The attachment left or came anew: its numbers begin wherever its next message says.
    pub(super) fn forget(&mut self, raw: RawId) {
        self.tracks.remove(&raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: RawId = RawId { major: 1, minor: 1 };

    #[test]
    fn a_hole_drops_the_sender_until_a_new_epoch() {
        let mut numbers = Numbering::default();
        let (old, new) = (Epoch(1), Epoch(2));
        assert_eq!(numbers.other(A, old, 7), Arrival::InOrder);
        assert_eq!(numbers.other(A, old, 8), Arrival::InOrder);
        assert_eq!(numbers.other(A, old, 8), Arrival::Dropped);
        assert_eq!(numbers.other(A, old, 10), Arrival::Gap { missing: 9 });
        assert_eq!(numbers.other(A, old, 11), Arrival::Dropped);
        assert_eq!(numbers.other(A, new, 1), Arrival::InOrder);
        assert_eq!(numbers.other(A, old, u64::MAX), Arrival::InOrder);
    }

    #[test]
    fn own_numbers_come_back_in_order_or_not_at_all() {
        let mut numbers = Numbering::default();
        let at = Monotonic::from_millis;
        numbers.sent(at(0), Some(SendId(1)));
        numbers.sent(at(1), None);
        numbers.sent(at(2), None);
        assert_eq!(numbers.own(at(5), 1), OwnArrival::InOrder(Duration::from_millis(5), Some(SendId(1))));
        assert_eq!(numbers.own(at(5), 3), OwnArrival::Gap);
    }

    #[test]
    fn a_joiner_notices_a_hole_before_its_first_message_of_a_sender() {
        let mut numbers = Numbering::default();
        numbers.other(A, Epoch(1), 9);
        assert!(numbers.complete_since(A, 8));
        assert!(!numbers.complete_since(A, 7));
        assert!(numbers.is_gapped(A));
    }
}
