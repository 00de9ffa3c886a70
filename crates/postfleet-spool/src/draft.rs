//! One transaction on its way to the disk: draft, sealed, synced.
//!
//! ```text
//! Draft ──push (memory only)──┐
//!   ▲  └──flush (disk, when push says so)
//!   └─────────────────────────┘
//! Draft ──seal (disk)──► Sealed ──sync (disk)──► Synced ──commit (disk, many at once)──► Committed
//! ```
//!
//! The caller's duties, in order: `push` what comes in; `flush` whenever `push` returns true; at the end of the data
//! `seal` and `sync`, on any thread, several transactions at once; hand the result to [`crate::commit()`], on one
//! thread. 250 may be sent for what `commit` returned as committed, for nothing else. A draft that is given up is
//! handed to [`Draft::abandon`]. Whatever fails has taken its file away again as far as the disk allowed it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crc32fast::Hasher;

use crate::disk::{Disk, DiskError, DiskErrorKind};
use crate::envelope::Envelope;
use crate::format::{FormatError, Traits, encode_back, encode_front};
use crate::layout;

/// What was being done when a disk call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Creating the file or folder.
    Create,
    /// Writing the file.
    Write,
    /// Making the file's data durable.
    SyncData,
    /// Making a folder's names durable.
    SyncFolder,
    /// Moving the file from `tmp/` into `msg/`.
    Rename,
}

impl core::fmt::Display for Step {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::SyncData | Self::SyncFolder => "sync",
            Self::Rename => "move into the queue",
        })
    }
}

/// Why a transaction could not be stored. It is not in the spool, and must not be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk refused a call; the disk is at fault.
    #[error("cannot {step} {path}")]
    Disk {
        /// What was being done.
        step: Step,
        /// With which file or folder.
        path: String,
        /// What the disk said.
        source: DiskError,
    },
    /// The envelope is longer than a file can hold; the client is at fault.
    #[error("the envelope cannot be stored")]
    Envelope(#[source] FormatError),
    /// The envelope has no recipient; the caller is at fault.
    #[error("the envelope has no recipient")]
    NoRecipient,
    /// Another transaction has the same id; the clock went back across a restart. A new id helps.
    #[error("the id of {path} is in use")]
    IdInUse {
        /// The file of the other transaction.
        path: String,
    },
}

/// What the client is told when a transaction could not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `452 4.3.1 insufficient system storage`.
    InsufficientStorage,
    /// `451 4.3.0 transaction failed`.
    Failed,
}

impl StoreError {
    /// What the client is told.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Disk { source, .. }
                if matches!(source.kind(), DiskErrorKind::NoSpace | DiskErrorKind::NoResources) =>
            {
                Refusal::InsufficientStorage
            }
            Self::Envelope(_) => Refusal::InsufficientStorage,
            Self::Disk { .. } | Self::NoRecipient | Self::IdInUse { .. } => Refusal::Failed,
        }
    }

    /// For calls that want a free name.
    pub(crate) fn naming(step: Step, path: &str, source: DiskError) -> Self {
        if source.kind() == DiskErrorKind::AlreadyExists {
            Self::IdInUse { path: String::from(path) }
        } else {
            Self::disk(step, path, source)
        }
    }

    pub(crate) fn disk(step: Step, path: &str, source: DiskError) -> Self {
        Self::Disk { step, path: String::from(path), source }
    }
}

/// A transaction whose content is coming in.
///
/// Holds at most the envelope, `threshold_bytes` of content and one more `push` in memory.
#[derive(Debug)]
pub struct Draft<F> {
    envelope: Box<Envelope>,
    path: String,
    file: Option<F>,
    /// What is not written yet. Begins with the front of the file.
    buffer: Vec<u8>,
    threshold_bytes: usize,
    content_bytes: u64,
    checksum: Hasher,
    traits: Traits,
    failed: Option<StoreError>,
}

/// Content beyond which a message goes to the disk while it comes in (`Large_Message_Threshold`).
pub const THRESHOLD_BYTES: usize = 131_072;

/// Bytes copied at once when a message gets another envelope.
const COPY_BYTES: usize = 64 * 1024;

impl<F> Draft<F> {
    /// Begins a transaction, in memory only.
    ///
    /// `threshold_bytes` is `Large_Message_Threshold`, default [`THRESHOLD_BYTES`].
    ///
    /// # Errors
    /// [`StoreError::NoRecipient`] and [`StoreError::Envelope`].
    pub fn new(envelope: Envelope, threshold_bytes: usize) -> Result<Self, StoreError> {
        if envelope.copies.is_empty() {
            return Err(StoreError::NoRecipient);
        }
        let buffer = encode_front(&envelope).map_err(StoreError::Envelope)?;
        Ok(Self {
            path: layout::draft(envelope.batch),
            envelope: Box::new(envelope),
            file: None,
            buffer,
            threshold_bytes,
            content_bytes: 0,
            checksum: Hasher::new(),
            traits: Traits::default(),
            failed: None,
        })
    }

    /// The envelope.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Content bytes so far.
    #[must_use]
    pub const fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Takes content: CRLF line ends, dots unstuffed. Touches no disk.
    ///
    /// Returns true when [`Draft::flush`] is due. After a failure the content is dropped; [`Draft::seal`] tells it.
    pub fn push(&mut self, content: &[u8]) -> bool {
        self.content_bytes += content.len() as u64;
        if self.failed.is_some() {
            return false;
        }
        self.checksum.update(content);
        self.traits.eight_bit |= !content.is_ascii();
        self.buffer.extend_from_slice(content);
        self.buffer.len() >= self.threshold_bytes
    }

    /// Writes to the disk what was pushed since the last call, and empties the memory.
    ///
    /// # Errors
    /// [`StoreError`]; the file is gone, and [`Draft::seal`] will return the same error.
    pub fn flush<D: Disk<File = F>>(&mut self, disk: &D) -> Result<(), StoreError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let outcome = self.write_out(disk);
        self.buffer.clear();
        if let Err(failed) = &outcome {
            self.buffer = Vec::new();
            self.failed = Some(failed.clone());
            self.remove(disk);
        }
        outcome
    }

    /// The same content for another envelope: policy took recipients away or put others in their place. What lies on the
    /// disk already is copied, for the envelope stands in front of it.
    ///
    /// # Errors
    /// [`StoreError`]; both files are gone.
    pub fn readdress<D: Disk<File = F>>(mut self, disk: &D, envelope: Envelope) -> Result<Self, StoreError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let fronts = encode_front(&self.envelope).and_then(|old| Ok((old.len(), encode_front(&envelope)?)));
        let fronts = if envelope.copies.is_empty() {
            Err(StoreError::NoRecipient)
        } else {
            fronts.map_err(StoreError::Envelope)
        };
        let (old, front) = match fronts {
            Ok(fronts) => fronts,
            Err(error) => {
                self.remove(disk);
                return Err(error);
            }
        };
        if self.file.is_none() {
            let content = self.buffer.split_off(old.min(self.buffer.len()));
            self.buffer = front;
            self.buffer.extend_from_slice(&content);
            self.path = layout::draft(envelope.batch);
            self.envelope = Box::new(envelope);
            return Ok(self);
        }
        let path = layout::readdressed(envelope.batch);
        let copied = copy(disk, &self.path, old, &path, &front);
        self.remove(disk);
        Ok(Self { file: Some(copied?), path, envelope: Box::new(envelope), ..self })
    }

    fn write_out<D: Disk<File = F>>(&mut self, disk: &D) -> Result<(), StoreError> {
        let file = match &mut self.file {
            Some(file) => file,
            empty @ None => {
                let created = disk.create_new(&self.path);
                let created =
                    created.map_err(|source| StoreError::naming(Step::Create, &self.path, source))?;
                empty.insert(created)
            }
        };
        disk.write(file, &self.buffer).map_err(|source| StoreError::disk(Step::Write, &self.path, source))
    }

    /// Takes the file away. A file that stays is removed at the next start.
    fn remove<D: Disk<File = F>>(&mut self, disk: &D) {
        if self.file.take().is_some() {
            let _leftover = disk.unlink(&self.path);
        }
    }

    /// The content is complete: writes the rest and the end of the file.
    ///
    /// # Errors
    /// [`StoreError`], also one that an earlier [`Draft::flush`] had; the file is gone.
    pub fn seal<D: Disk<File = F>>(mut self, disk: &D) -> Result<Sealed<F>, StoreError> {
        let back = encode_back(self.content_bytes, self.checksum.clone().finalize(), self.traits);
        self.buffer.extend_from_slice(&back);
        self.flush(disk)?;
        match self.file {
            Some(file) => Ok(Sealed {
                envelope: self.envelope,
                path: self.path,
                content_bytes: self.content_bytes,
                traits: self.traits,
                file,
            }),
            // `flush` returned Ok, so there is a file; the type cannot say it.
            None => Err(StoreError::NoRecipient),
        }
    }

    /// The transaction was given up (RSET, disconnect, refused by policy): takes the file away, if there is one.
    pub fn abandon<D: Disk<File = F>>(mut self, disk: &D) {
        self.remove(disk);
    }
}

/// Writes a new file: another front, and behind it what stands behind the front of the old one.
fn copy<F, D: Disk<File = F>>(
    disk: &D,
    from: &str,
    skip: usize,
    to: &str,
    front: &[u8],
) -> Result<F, StoreError> {
    let reading = |source| StoreError::disk(Step::Write, from, source);
    let source = disk.open(from).map_err(reading)?;
    let mut target = disk.create_new(to).map_err(|source| StoreError::naming(Step::Create, to, source))?;
    let mut copying = || {
        let writing = |source| StoreError::disk(Step::Write, to, source);
        disk.write(&mut target, front).map_err(writing)?;
        let (mut at, mut piece) = (u64::try_from(skip).unwrap_or(u64::MAX), alloc::vec![0; COPY_BYTES]);
        loop {
            let count = disk.read_at(&source, at, &mut piece).map_err(reading)?;
            if count == 0 {
                return Ok(());
            }
            disk.write(&mut target, piece.get(..count).unwrap_or_default()).map_err(writing)?;
            at = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
    };
    let copied: Result<(), StoreError> = copying();
    if copied.is_err() {
        let _leftover = disk.unlink(to);
    }
    copied.map(|()| target)
}

/// A transaction whose file is complete but would not survive a power cut.
#[derive(Debug)]
pub struct Sealed<F> {
    envelope: Box<Envelope>,
    path: String,
    content_bytes: u64,
    traits: Traits,
    file: F,
}

impl<F> Sealed<F> {
    /// Makes the content durable and closes the file.
    ///
    /// # Errors
    /// [`StoreError`]; the file is gone. The caller reports a failed sync to [`crate::SyncHealth`].
    pub fn sync<D: Disk<File = F>>(mut self, disk: &D) -> Result<Synced, StoreError> {
        match disk.sync_data(&mut self.file) {
            Ok(()) => Ok(Synced {
                envelope: self.envelope,
                path: self.path,
                content_bytes: self.content_bytes,
                traits: self.traits,
            }),
            Err(source) => {
                let _leftover = disk.unlink(&self.path);
                Err(StoreError::disk(Step::SyncData, &self.path, source))
            }
        }
    }

    /// The transaction was given up: takes the file away.
    pub fn abandon<D: Disk<File = F>>(self, disk: &D) {
        let _leftover = disk.unlink(&self.path);
    }
}

/// A transaction whose content is durable but which is not in the queue.
#[derive(Debug)]
pub struct Synced {
    pub(crate) envelope: Box<Envelope>,
    pub(crate) path: String,
    pub(crate) content_bytes: u64,
    pub(crate) traits: Traits,
}

impl Synced {
    /// The envelope.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The transaction was given up: takes the file away.
    pub fn abandon<D: Disk>(self, disk: &D) {
        let _leftover = disk.unlink(&self.path);
    }
}
