//! How much of a limit this side of a split fleet may use.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::string::String;

/// What each side of a split fleet gets (option `partition`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partition {
    /// By its part of the members: all sides together keep the limit. A side whose part is below one gets one.
    #[default]
    Share,
    /// Everything for the quorate side, nothing for the others. Quorate is who the bus says is; where it counts no votes,
    /// the side with more than half of the members.
    Quorum,
    /// Everything for each side.
    Full,
}

/// Names of members that are no longer awaited, kept while others are; more than a fleet can lose one by one.
const RELEASED_MAX: usize = 256;

/// The fleet that limits are divided among: the nodes of the last configuration that nobody left unexpectedly.
///
/// Nodes are known by their names, not by their private names: a node that comes back takes its own seat again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Who has a part of the limit, present or not.
    pub(crate) seats: BTreeSet<String>,
    /// Who left in good order, or was forgotten, since somebody is missing: a merge must not bring them back.
    pub(crate) released: BTreeSet<String>,
}

impl Reference {
    /// Whether a node with a seat is not there.
    fn missing(&self, present: &[&str]) -> bool {
        self.seats.iter().any(|seat| !present.contains(&seat.as_str()))
    }

    /// After a change of the configuration: with nobody missing, who is present is the reference.
    pub(crate) fn settle(&mut self, present: &[&str]) {
        if !self.missing(present) {
            self.seats = present.iter().map(|name| (*name).to_owned()).collect();
            self.released.clear();
        }
    }

    /// A node left in good order, or is known to be gone for good. While another is missing its part stays on this
    /// side: the first node without a seat takes it.
    pub(crate) fn release(&mut self, node: &str, present: &[&str]) {
        if !self.seats.remove(node) {
            return;
        }
        if self.released.len() < RELEASED_MAX {
            self.released.insert(node.to_owned());
        }
        if self.missing(present)
            && let Some(heir) = present.iter().find(|name| !self.seats.contains(**name))
        {
            self.seats.insert((*heir).to_owned());
        }
    }

    /// Another side has come. A side of one without a past adds nothing while others are awaited.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.seats.len() <= 1 && other.seats.len() > 1 {
            let released = core::mem::take(&mut self.released);
            *self = other.clone();
            self.released.extend(released);
        } else if other.seats.len() > 1 || self.seats.is_empty() {
            self.seats.extend(other.seats.iter().cloned());
            self.released.extend(other.released.iter().cloned());
        }
        let Self { seats, released } = self;
        seats.retain(|seat| !released.contains(seat));
    }

    /// The part of the fleet that is present: so many of so many.
    pub(crate) fn part(&self, present: &[&str]) -> (u64, u64) {
        let here = self.seats.iter().filter(|seat| present.contains(&seat.as_str())).count();
        (here as u64, self.seats.len() as u64)
    }

    /// What this side may own of `whole`.
    pub(crate) fn limit(&self, policy: Partition, whole: u64, present: &[&str]) -> u64 {
        let (here, all) = self.part(present);
        part_of(policy, whole, here, all)
    }
}

/// What `here` of `all` members may own of `whole`.
pub(crate) fn part_of(policy: Partition, whole: u64, here: u64, all: u64) -> u64 {
    match policy {
        _ if here >= all => whole,
        Partition::Share => {
            let part = u128::from(whole) * u128::from(here) / u128::from(all.max(1));
            u64::try_from(part).unwrap_or(whole).max(1)
        }
        Partition::Quorum if here * 2 > all => whole,
        Partition::Quorum => 0,
        Partition::Full => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(seats: &[&str]) -> Reference {
        let mut reference = Reference::default();
        reference.settle(seats);
        reference
    }

    #[test]
    fn sides_of_a_split_fleet_share() {
        let fleet = reference(&["a", "b", "c", "d"]);
        assert_eq!(fleet.limit(Partition::Share, 8, &["a", "b"]), 4);
        assert_eq!(fleet.limit(Partition::Share, 3, &["a"]), 1);
        assert_eq!(fleet.limit(Partition::Share, 10, &["a", "b", "c"]), 7);
        assert_eq!(fleet.limit(Partition::Quorum, 8, &["a", "b", "c"]), 8);
        assert_eq!(fleet.limit(Partition::Quorum, 8, &["a", "b"]), 0);
        assert_eq!(fleet.limit(Partition::Full, 8, &["a"]), 8);
    }

    #[test]
    fn newcomers_get_no_part_while_somebody_is_missing() {
        let mut fleet = reference(&["a", "b", "c", "d"]);
        // c and d are cut off; e comes.
        fleet.settle(&["a", "b", "e"]);
        assert_eq!(fleet.part(&["a", "b", "e"]), (2, 4));
        // a leaves in good order: e inherits.
        fleet.release("a", &["b", "e"]);
        fleet.settle(&["b", "e"]);
        assert_eq!(fleet.part(&["b", "e"]), (2, 4));
        // c comes back, d is forgotten.
        fleet.release("d", &["b", "c", "e"]);
        fleet.settle(&["b", "c", "e"]);
        assert_eq!(fleet.part(&["b", "c", "e"]), (3, 3));
    }

    #[test]
    fn a_merge_does_not_await_who_left_meanwhile() {
        let mut left = reference(&["a", "b", "c", "d", "x"]);
        let mut right = left.clone();
        left.release("a", &["b"]);
        right.settle(&["c", "d"]);
        right.merge(&left);
        assert_eq!(right.part(&["b", "c", "d"]), (3, 4));
        // A node that was never in a fleet brings no part along.
        right.merge(&reference(&["e"]));
        assert_eq!(right.part(&["b", "c", "d", "e"]), (3, 4));
        let mut fresh = reference(&["e"]);
        fresh.merge(&right);
        assert_eq!(fresh.part(&["b", "c", "d", "e"]), (3, 4));
    }
}
