//! A journal of small records beside the message files.
//!
//! Each file of it begins with everything that still matters, so older ones can go as soon as it is durable; a failed write
//! is followed by a new file, never by a second try.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::disk::{Disk, DiskError, DiskErrorKind};
use crate::layout::{BASE, STATE};

/// Records in a file before a new one is begun, beyond twice those that still matter.
const RECORDS_SPARE: usize = 10_000;

/// What a journal consists of.
pub(crate) trait Record: Sized {
    /// What its files begin with.
    const MAGIC: &'static [u8; 8];
    /// What their names begin with; a number of 8 hexadecimal digits follows.
    const NAME: &'static str;
    /// The record with its checksum.
    fn encode(&self, bytes: &mut Vec<u8>);
    /// The record that stands first, and what stands behind it. None for one that is torn or damaged.
    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])>;
}

/// The files of one journal.
#[derive(Debug)]
pub(crate) struct Journal<F> {
    file: Option<F>,
    /// Records in the file.
    records: usize,
    /// The number of the next file.
    next: u32,
    /// Files that the next one replaces.
    older: Vec<u32>,
    /// Something was added to the file since it was synced.
    unsynced: bool,
}

impl<F> Journal<F> {
    /// Reads what there is, oldest first. A torn end is what a crash left of a record that nobody was told of.
    pub(crate) fn open<D: Disk<File = F>, R: Record>(
        disk: &D,
        mut take: impl FnMut(R),
    ) -> Result<Self, DiskError> {
        disk.create_folder(STATE)?;
        disk.sync_folder(BASE)?;
        let mut journal = Self { file: None, records: 0, next: 0, older: Vec::new(), unsynced: false };
        let mut numbers: Vec<u32> =
            disk.list(STATE)?.iter().filter_map(|name| number_of::<R>(name)).collect();
        numbers.sort_unstable();
        for number in numbers {
            let bytes = read(disk, &path::<R>(number))?;
            journal.next = journal.next.max(number.saturating_add(1));
            journal.older.push(number);
            let mut left = bytes.strip_prefix(R::MAGIC).unwrap_or_default();
            while let Some((record, behind)) = R::decode(left) {
                take(record);
                left = behind;
            }
        }
        Ok(journal)
    }

    /// Adds records, durably. `all` are those that matter, the new ones among them, and `count` how many they are; nobody
    /// counts before a file has become long.
    pub(crate) fn record<D: Disk<File = F>, R: Record>(
        &mut self,
        disk: &D,
        new: &[R],
        count: impl FnOnce() -> usize,
        all: impl Iterator<Item = R>,
    ) -> Result<(), DiskError> {
        self.note(disk, new, count, all)?;
        if core::mem::take(&mut self.unsynced)
            && let Some(mut file) = self.file.take()
        {
            disk.sync_data(&mut file)?;
            self.file = Some(file);
        }
        Ok(())
    }

    /// The same without a sync: a kill of the process takes nothing away, a power cut may.
    pub(crate) fn note<D: Disk<File = F>, R: Record>(
        &mut self,
        disk: &D,
        new: &[R],
        count: impl FnOnce() -> usize,
        all: impl Iterator<Item = R>,
    ) -> Result<(), DiskError> {
        let more = self.records.saturating_sub(RECORDS_SPARE);
        let full = more > 0 && more > count().saturating_mul(2);
        let file = match self.file.take().filter(|_| !full) {
            Some(file) => self.append(disk, file, new)?,
            None => self.start(disk, all)?,
        };
        self.file = Some(file);
        Ok(())
    }

    /// Begins a new file. When that fails, the next record does.
    pub(crate) fn begin<D: Disk<File = F>, R: Record>(&mut self, disk: &D, all: impl Iterator<Item = R>) {
        self.file = self.start(disk, all).ok();
    }

    /// The file that has to be synced for everything to be durable. Whoever asks syncs it: he is not told of it again.
    pub(crate) fn take_unsynced<R: Record>(&mut self) -> Option<String> {
        core::mem::take(&mut self.unsynced).then(|| path::<R>(self.next.saturating_sub(1)))
    }

    /// The next record begins a new file.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }

    fn append<D: Disk<File = F>, R: Record>(
        &mut self,
        disk: &D,
        mut file: F,
        new: &[R],
    ) -> Result<F, DiskError> {
        let mut bytes = Vec::new();
        new.iter().for_each(|record| record.encode(&mut bytes));
        disk.write(&mut file, &bytes)?;
        self.unsynced = true;
        self.records += new.len();
        Ok(file)
    }

    /// A new file with all that matters; then the older ones go.
    fn start<D: Disk<File = F>, R: Record>(
        &mut self,
        disk: &D,
        all: impl Iterator<Item = R>,
    ) -> Result<F, DiskError> {
        let number = self.next;
        self.next = number.saturating_add(1);
        // Also when it fails half-way: whatever it holds is true.
        self.older.push(number);
        let mut bytes = Vec::from(R::MAGIC);
        self.records = 0;
        for record in all {
            record.encode(&mut bytes);
            self.records += 1;
        }
        let mut file = disk.create_new(&path::<R>(number))?;
        disk.write(&mut file, &bytes)?;
        disk.sync_data(&mut file)?;
        disk.sync_folder(STATE)?;
        self.unsynced = false;
        self.older.retain(|older| {
            // What cannot be removed is removed with the next file.
            *older == number
                || !matches!(
                    disk.unlink(&path::<R>(*older)).map_err(|error| error.kind()),
                    Ok(()) | Err(DiskErrorKind::NotFound)
                )
        });
        Ok(file)
    }
}

fn path<R: Record>(number: u32) -> String {
    format!("{STATE}/{}{number:08X}", R::NAME)
}

fn number_of<R: Record>(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(R::NAME).filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok()
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
