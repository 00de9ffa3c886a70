//! Which queue copies of queued transactions are on, when it is another one than their message file says: an operator had
//! their binding chosen again, or gave them another routing domain.
//!
//! The format is drawn in `docs/formats/spool.md`.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use postfleet_types::{Reader, Writer};

use crate::binding::{BindingGroupName, BindingName};
use crate::disk::{Disk, DiskError};
use crate::id::MessageId;
use crate::journal::{Journal, Record};
use crate::message::Stored;
use crate::queue::QueueKey;

/// Octets of the names of a queue that a record can hold; more than a configuration and an address can have.
const NAME_BYTES_MAX: usize = 60_000;

/// A copy of a transaction, and the queue it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The transaction.
    pub batch: MessageId,
    /// The copy.
    pub copy: MessageId,
    /// The queue.
    pub queue: QueueKey,
}

impl Record for Placed {
    const MAGIC: &'static [u8; 8] = b"PFPLACE\n";
    const NAME: &'static str = "place-";

    fn encode(&self, bytes: &mut Vec<u8>) {
        let mut writer = Writer::new();
        self.batch.write(&mut writer);
        self.copy.write(&mut writer);
        writer
            .text(self.queue.binding_group.as_str())
            .text(self.queue.binding.as_str())
            .text(&self.queue.domain);
        let body = writer.finish();
        // `record` takes no names that are too long.
        bytes.extend(u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
        let checksum = crc32fast::hash(&body);
        bytes.extend(body);
        bytes.extend(checksum.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (length, behind) = bytes.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (body, behind) = behind.split_at_checked(length)?;
        let (checksum, behind) = behind.split_first_chunk::<4>()?;
        if crc32fast::hash(body).to_be_bytes() != *checksum {
            return None;
        }
        let mut reader = Reader::new(body);
        let (batch, copy) = (MessageId::read(&mut reader).ok()?, MessageId::read(&mut reader).ok()?);
        let binding_group = BindingGroupName::from(reader.text().ok()?);
        let binding = BindingName::from(reader.text().ok()?);
        let domain = Box::from(reader.text().ok()?);
        Some((Self { batch, copy, queue: QueueKey { binding_group, binding, domain } }, behind))
    }
}

type Places = BTreeMap<MessageId, BTreeMap<MessageId, QueueKey>>;

/// The places of copies of transactions that are still in the spool.
#[derive(Debug)]
pub struct PlaceJournal<F> {
    journal: Journal<F>,
    places: Places,
}

fn all(places: &Places) -> impl Iterator<Item = Placed> {
    places.iter().flat_map(|(batch, copies)| {
        copies.iter().map(move |(copy, queue)| Placed { batch: *batch, copy: *copy, queue: queue.clone() })
    })
}

impl<F> PlaceJournal<F> {
    /// Reads what there is. Of records about one copy the last one counts.
    ///
    /// # Errors
    /// What the disk says. Without the journal copies would be where they were accepted.
    pub fn open<D: Disk<File = F>>(disk: &D) -> Result<Self, DiskError> {
        let mut places = Places::new();
        let journal = Journal::open(disk, |placed: Placed| {
            places.entry(placed.batch).or_default().insert(placed.copy, placed.queue);
        })?;
        Ok(Self { journal, places })
    }

    /// Puts the copies of a transaction where they are, instead of where its file says.
    pub fn apply(&self, stored: &mut Stored) {
        let Some(places) = self.places.get(&stored.envelope.batch) else { return };
        for copy in &mut stored.envelope.copies {
            if let Some(queue) = places.get(&copy.id) {
                copy.binding_group = queue.binding_group.clone();
                copy.binding = queue.binding.clone();
                copy.domain = queue.domain.to_string();
            }
        }
    }

    /// Records places, durably. Names of more than 60,000 octets in all are not remembered.
    ///
    /// # Errors
    /// What the disk says; the places hold in this process all the same, and the next record repeats them.
    pub fn record<D: Disk<File = F>>(&mut self, disk: &D, mut placed: Vec<Placed>) -> Result<(), DiskError> {
        placed.retain(|Placed { queue: QueueKey { binding_group, binding, domain }, .. }| {
            binding_group.as_str().len() + binding.as_str().len() + domain.len() <= NAME_BYTES_MAX
        });
        for one in &placed {
            self.places.entry(one.batch).or_default().insert(one.copy, one.queue.clone());
        }
        let count = || self.places.values().map(BTreeMap::len).sum();
        self.journal.record(disk, &placed, count, all(&self.places))
    }

    /// Whether copies of a transaction are elsewhere than its file says.
    pub(crate) fn knows(&self, batch: MessageId) -> bool {
        self.places.contains_key(&batch)
    }

    /// The file of a transaction is gone.
    pub fn forget(&mut self, batch: MessageId) {
        self.places.remove(&batch);
    }

    /// Forgets all transactions that are not in the spool, and begins a new file when there were any.
    pub(crate) fn retain<D: Disk<File = F>>(&mut self, disk: &D, queued: impl Fn(MessageId) -> bool) {
        let before = self.places.len();
        self.places.retain(|batch, _| queued(*batch));
        if self.places.len() < before {
            self.journal.begin(disk, all(&self.places));
        }
    }
}
