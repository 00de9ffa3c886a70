//! Which copies of queued transactions are done: a journal beside the message files.
//!
//! A transaction's file goes when its last copy is done. Until then the journal says which of its copies are, so that a
//! restart does not deliver them twice. Each file of the journal begins with everything that still matters, so older
//! ones can go as soon as it is durable; a failed write is followed by a new file, never by a second try.
//!
//! The format is drawn in `docs/formats/spool.md`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use postfleet_types::{Reader, Writer};

use crate::disk::{Disk, DiskError, DiskErrorKind};
use crate::id::{ID_BYTES, MessageId};
use crate::layout::{BASE, STATE};

const MAGIC: &[u8; 8] = b"PFDONE1\n";
const RECORD_BYTES: usize = 2 * ID_BYTES + 4;
/// Records in a file before a new one is begun, beyond twice those that still matter.
const RECORDS_SPARE: usize = 10_000;

/// The copies that are done of transactions that are still in the spool.
#[derive(Debug)]
pub struct DoneJournal<F> {
    file: Option<F>,
    /// Records in the file.
    records: usize,
    /// The number of the next file.
    next: u32,
    /// Files that the next one replaces.
    older: Vec<u32>,
    done: BTreeMap<MessageId, BTreeSet<MessageId>>,
}

impl<F> DoneJournal<F> {
    /// Reads what there is. A torn end is what a crash left of a record that nobody was told of.
    ///
    /// # Errors
    /// What the disk says. Without the journal copies would be delivered twice.
    pub fn open<D: Disk<File = F>>(disk: &D) -> Result<Self, DiskError> {
        disk.create_folder(STATE)?;
        disk.sync_folder(BASE)?;
        let mut journal = Self { file: None, records: 0, next: 0, older: Vec::new(), done: BTreeMap::new() };
        for name in disk.list(STATE)? {
            let Some(number) = number_of(&name) else { continue };
            let bytes = read(disk, &path(number))?;
            journal.next = journal.next.max(number.saturating_add(1));
            journal.older.push(number);
            for record in bytes.strip_prefix(MAGIC).unwrap_or_default().chunks_exact(RECORD_BYTES) {
                let Some((batch, copy)) = decode(record) else { break };
                journal.done.entry(batch).or_default().insert(copy);
            }
        }
        Ok(journal)
    }

    /// Whether a copy is done.
    #[must_use]
    pub fn contains(&self, batch: MessageId, copy: MessageId) -> bool {
        self.done.get(&batch).is_some_and(|copies| copies.contains(&copy))
    }

    /// Records copies as done, durably.
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
        let alive: usize = self.done.values().map(BTreeSet::len).sum();
        let full = self.records > alive.saturating_mul(2).saturating_add(RECORDS_SPARE);
        let outcome = match self.file.take().filter(|_| !full) {
            Some(file) => self.append(disk, file, copies),
            None => self.begin(disk),
        };
        let file = outcome?;
        self.file = Some(file);
        Ok(())
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
            // When it fails, the first record begins one.
            self.file = self.begin(disk).ok();
        }
    }

    fn append<D: Disk<File = F>>(
        &mut self,
        disk: &D,
        mut file: F,
        copies: &[(MessageId, MessageId)],
    ) -> Result<F, DiskError> {
        let bytes: Vec<u8> = copies.iter().flat_map(|(batch, copy)| encode(*batch, *copy)).collect();
        disk.write(&mut file, &bytes)?;
        disk.sync_data(&mut file)?;
        self.records += copies.len();
        Ok(file)
    }

    /// A new file with all that matters; then the older ones go.
    fn begin<D: Disk<File = F>>(&mut self, disk: &D) -> Result<F, DiskError> {
        let number = self.next;
        self.next = number.saturating_add(1);
        // Also when it fails half-way: whatever it holds is true.
        self.older.push(number);
        let mut bytes = Vec::from(MAGIC);
        self.records = 0;
        for (batch, copies) in &self.done {
            for copy in copies {
                bytes.extend(encode(*batch, *copy));
                self.records += 1;
            }
        }
        let mut file = disk.create_new(&path(number))?;
        disk.write(&mut file, &bytes)?;
        disk.sync_data(&mut file)?;
        disk.sync_folder(STATE)?;
        self.older.retain(|older| {
            // What cannot be removed is removed with the next file.
            *older == number
                || !matches!(
                    disk.unlink(&path(*older)).map_err(|error| error.kind()),
                    Ok(()) | Err(DiskErrorKind::NotFound)
                )
        });
        Ok(file)
    }
}

fn path(number: u32) -> String {
    format!("{STATE}/done-{number:08X}")
}

fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("done-").filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok()
}

fn encode(batch: MessageId, copy: MessageId) -> Vec<u8> {
    let mut writer = Writer::new();
    batch.write(&mut writer);
    copy.write(&mut writer);
    let mut bytes = writer.finish();
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_be_bytes());
    bytes
}

fn decode(record: &[u8]) -> Option<(MessageId, MessageId)> {
    let (ids, checksum) = record.split_at_checked(2 * ID_BYTES)?;
    if crc32fast::hash(ids).to_be_bytes() != checksum {
        return None;
    }
    let mut reader = Reader::new(ids);
    Some((MessageId::read(&mut reader).ok()?, MessageId::read(&mut reader).ok()?))
}

fn read<D: Disk>(disk: &D, path: &str) -> Result<Vec<u8>, DiskError> {
    let file = disk.open(path)?;
    let length = usize::try_from(disk.length(&file)?).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    while bytes.len() < length {
        let filled = disk.read_at(&file, bytes.len() as u64, &mut chunk)?;
        if filled == 0 {
            break;
        }
        bytes.extend_from_slice(chunk.get(..filled).unwrap_or_default());
    }
    Ok(bytes)
}
