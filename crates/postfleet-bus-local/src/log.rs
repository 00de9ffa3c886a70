//! The entries of the log and the tail that everybody keeps of it.

use crate::member::{Mark, MemberId};
use bytes::Bytes;
use postfleet_bus::carrier::{RawId, RawReason};
use std::collections::VecDeque;

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Somebody's submission.
    Message {
        /// Who submitted it.
        from: RawId,
        /// The number of the submission; counts from 1 for each attachment.
        no: u64,
        /// What was submitted.
        bytes: Bytes,
    },
    /// The set of attachments from here on.
    Change(Change),
}

/// A new set of attachments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// All of them, ascending.
    pub members: Vec<MemberId>,
    /// Who is no longer attached, and why.
    pub left: Vec<(MemberId, RawReason)>,
    /// Who was not attached before.
    pub joined: Vec<MemberId>,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub mark: Mark,
    /// What it says.
    pub body: Body,
}

impl Entry {
    /// The memory it is counted with.
    #[must_use]
    pub fn cost(&self) -> usize {
        const OVERHEAD: usize = 96;
        OVERHEAD
            + match &self.body {
                Body::Message { bytes, .. } => bytes.len(),
                Body::Change(change) => (change.members.len() + change.left.len() + change.joined.len()) * 24,
            }
    }
}

/// The tail of the log: the entries that not every member is known to have, without holes.
#[derive(Clone, Debug, Default)]
pub struct Log {
    base: Mark,
    entries: VecDeque<Entry>,
    cost: usize,
}

impl Log {
    /// An empty tail behind `base`.
    #[must_use]
    pub const fn after(base: Mark) -> Self {
        Self { base, entries: VecDeque::new(), cost: 0 }
    }

    /// The place of the last entry, kept or forgotten.
    #[must_use]
    pub fn last(&self) -> Mark {
        self.entries.back().map_or(self.base, |entry| entry.mark)
    }

    /// The number of the oldest entry that is kept (of the next one when none is).
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.base.seq.saturating_add(1)
    }

    /// The memory the kept entries are counted with.
    #[must_use]
    pub const fn cost(&self) -> usize {
        self.cost
    }

    /// Appends the entry, which must be the next one.
    ///
    /// Returns false, and changes nothing, when it is not.
    pub fn push(&mut self, entry: Entry) -> bool {
        if entry.mark.seq != self.last().seq.saturating_add(1) {
            return false;
        }
        self.cost += entry.cost();
        self.entries.push_back(entry);
        true
    }

    /// Drops the entries up to `stable`, which everybody has.
    pub fn forget(&mut self, stable: u64) {
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.mark.seq <= stable) {
            self.base = entry.mark;
            self.cost = self.cost.saturating_sub(entry.cost());
        }
    }

    /// The entry with this number, if it is kept.
    #[must_use]
    pub fn entry(&self, seq: u64) -> Option<&Entry> {
        let index = usize::try_from(seq.checked_sub(self.first_seq())?).ok()?;
        self.entries.get(index)
    }

    /// The kept entries from `from` to `to`, both included.
    pub fn range(&self, from: u64, to: u64) -> impl Iterator<Item = &Entry> {
        (from.max(self.first_seq())..=to).map_while(|seq| self.entry(seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(generation: u64, seq: u64) -> Entry {
        let body =
            Body::Message { from: RawId { major: 1, minor: 1 }, no: seq, bytes: Bytes::from_static(b"x") };
        Entry { mark: Mark { generation, seq }, body }
    }

    #[test]
    fn a_tail_has_no_holes() {
        let mut log = Log::after(Mark { generation: 1, seq: 4 });
        assert!(!log.push(message(1, 6)));
        for seq in 5..10 {
            assert!(log.push(message(1, seq)));
        }
        assert_eq!(log.range(0, 99).map(|entry| entry.mark.seq).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
        log.forget(7);
        assert_eq!((log.first_seq(), log.last().seq), (8, 9));
        assert_eq!(log.range(7, 8).map(|entry| entry.mark.seq).collect::<Vec<_>>(), [8]);
        assert_eq!(log.entry(7), None);
        log.forget(99);
        assert_eq!((log.last(), log.cost()), (Mark { generation: 1, seq: 9 }, 0));
    }
}
