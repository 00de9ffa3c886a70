//! Which copies of queued transactions are done: a journal beside the message files.
//!
//! A transaction's file goes when its last copy is done. Until then the journal says which of its copies are, so that a
//! restart does not deliver them twice.
//!
//! The format is drawn in `docs/formats/spool.md`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use postfleet_types::{Reader, Writer};

use crate::disk::{Disk, DiskError};
use crate::id::{ID_BYTES, MessageId};
use crate::journal::{Journal, Record};

const RECORD_BYTES: usize = 2 * ID_BYTES + 4;

/// A copy that is done, with its transaction.
struct Done(MessageId, MessageId);

impl Record for Done {
    const MAGIC: &'static [u8; 8] = b"PFDONE1\n";
    const NAME: &'static str = "done-";

    fn encode(&self, bytes: &mut Vec<u8>) {
        let mut writer = Writer::new();
        self.0.write(&mut writer);
        self.1.write(&mut writer);
        let ids = writer.finish();
        let checksum = crc32fast::hash(&ids);
        bytes.extend(ids);
        bytes.extend(checksum.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (record, behind) = bytes.split_at_checked(RECORD_BYTES)?;
        let (ids, checksum) = record.split_at_checked(2 * ID_BYTES)?;
        if crc32fast::hash(ids).to_be_bytes() != checksum {
            return None;
        }
        let mut reader = Reader::new(ids);
        let (batch, copy) = (MessageId::read(&mut reader).ok()?, MessageId::read(&mut reader).ok()?);
        Some((Self(batch, copy), behind))
    }
}

/// The copies that are done of transactions that are still in the spool.
#[derive(Debug)]
pub struct DoneJournal<F> {
    journal: Journal<F>,
    done: BTreeMap<MessageId, BTreeSet<MessageId>>,
}

fn all(done: &BTreeMap<MessageId, BTreeSet<MessageId>>) -> impl Iterator<Item = Done> {
    done.iter().flat_map(|(batch, copies)| copies.iter().map(move |copy| Done(*batch, *copy)))
}

impl<F> DoneJournal<F> {
    /// Reads what there is. A torn end is what a crash left of a record that nobody was told of.
    ///
    /// # Errors
    /// What the disk says. Without the journal copies would be delivered twice.
    pub fn open<D: Disk<File = F>>(disk: &D) -> Result<Self, DiskError> {
        let mut done: BTreeMap<MessageId, BTreeSet<MessageId>> = BTreeMap::new();
        let journal = Journal::open(disk, |Done(batch, copy)| {
            done.entry(batch).or_default().insert(copy);
        })?;
        Ok(Self { journal, done })
    }

    /// Whether a copy is done.
    #[must_use]
    pub fn contains(&self, batch: MessageId, copy: MessageId) -> bool {
        self.done.get(&batch).is_some_and(|copies| copies.contains(&copy))
    }

    /// Records copies as done. A kill of the process does not take that away; for a power cut [`Self::take_unsynced`] names
    /// the file to sync, so that nobody has to wait for the disk here.
    ///
    /// # Errors
    /// What the disk says; the copies are taken for done in this process all the same, and the next record repeats them.
    pub fn record<D: Disk<File = F>>(
        &mut self,
        disk: &D,
        copies: &[(MessageId, MessageId)],
    ) -> Result<(), DiskError> {
        for (batch, copy) in copies {
            self.done.entry(*batch).or_default().insert(*copy);
        }
        let new: Vec<Done> = copies.iter().map(|(batch, copy)| Done(*batch, *copy)).collect();
        let count = || self.done.values().map(BTreeSet::len).sum();
        self.journal.note(disk, &new, count, all(&self.done))
    }

    /// The file to open and sync for everything recorded to be durable; none when it is, or when it was named before.
    pub fn take_unsynced(&mut self) -> Option<String> {
        self.journal.take_unsynced::<Done>()
    }

    /// That file could not be synced. The next record begins another one, with all that matters.
    pub fn not_synced(&mut self) {
        self.journal.close();
    }

    /// The file of a transaction is gone, so its copies need not be remembered.
    pub fn forget(&mut self, batch: MessageId) {
        self.done.remove(&batch);
    }

    /// Whether copies of a transaction are done.
    pub(crate) fn knows(&self, batch: MessageId) -> bool {
        self.done.contains_key(&batch)
    }

    /// All ids that are mentioned.
    pub(crate) fn ids(&self) -> impl Iterator<Item = MessageId> {
        self.done.iter().flat_map(|(batch, copies)| core::iter::once(batch).chain(copies).copied())
    }

    /// Forgets all transactions that are not in the spool, and begins a new file when there were any.
    pub(crate) fn retain<D: Disk<File = F>>(&mut self, disk: &D, queued: impl Fn(MessageId) -> bool) {
        let before = self.done.len();
        self.done.retain(|batch, _| queued(*batch));
        if self.done.len() < before {
            self.journal.begin(disk, all(&self.done));
        }
    }
}
