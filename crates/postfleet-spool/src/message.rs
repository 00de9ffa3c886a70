//! Reading a message from the spool.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crc32fast::Hasher;

use crate::disk::{Disk, DiskError};
use crate::envelope::Envelope;
use crate::format::{
    FOOTER_BYTES, Footer, FormatError, PREAMBLE_BYTES, Traits, check_name, decode_front, front_bytes,
    id_of_name,
};
use crate::id::MessageId;
use crate::layout;

/// A transaction that is durable in the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The envelope.
    pub envelope: Box<Envelope>,
    /// The length of the content.
    pub content_bytes: u64,
    /// What is known about the content.
    pub traits: Traits,
}

/// Why a message could not be read. The disk is at fault; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The disk refused a call.
    #[error("cannot read {path}")]
    Disk {
        /// The file.
        path: String,
        /// What the disk said.
        source: DiskError,
    },
    /// The file is damaged, or none of ours.
    #[error("cannot use {path}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: FormatError,
    },
}

/// An open message file whose envelope, lengths and trailer have been checked.
#[derive(Debug)]
pub struct Message<F> {
    stored: Stored,
    path: String,
    file: F,
    content_at: u64,
    content_checksum: u32,
}

/// Bytes read at once while a checksum is taken.
const CHUNK_BYTES: usize = 64 << 10;

impl<F> Message<F> {
    /// Opens the file of a transaction.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open<D: Disk<File = F>>(disk: &D, batch: MessageId) -> Result<Self, ReadError> {
        let path = layout::message_path(batch);
        Self::open_path(disk, &path, &batch.file_name())
    }

    /// Opens a file that was found under `name`.
    pub(crate) fn open_path<D: Disk<File = F>>(disk: &D, path: &str, name: &str) -> Result<Self, ReadError> {
        let format = |source| ReadError::Format { path: String::from(path), source };
        let batch = id_of_name(name).map_err(format)?;
        let wrap = |source| ReadError::Disk { path: String::from(path), source };
        let file = disk.open(path).map_err(wrap)?;
        let found = disk.length(&file).map_err(wrap)?;
        let read = |at: u64, length: usize| {
            let mut buffer = vec![0; length];
            let filled = disk.read_at(&file, at, &mut buffer).map_err(wrap)?;
            if filled < length {
                let expected = at.saturating_add(length as u64);
                return Err(format(FormatError::Length { found, expected }));
            }
            Ok::<Vec<u8>, ReadError>(buffer)
        };

        let preamble = read(0, PREAMBLE_BYTES)?;
        let front = front_bytes(&preamble).map_err(format)?;
        let expected = (front + FOOTER_BYTES) as u64;
        // Before memory is reserved for what the file claims to hold.
        let footer_at = found.checked_sub(FOOTER_BYTES as u64).filter(|_| expected <= found);
        let footer_at = footer_at.ok_or(format(FormatError::Length { found, expected }))?;
        let envelope = decode_front(&read(0, front)?).map_err(format)?;
        check_name(&envelope, batch).map_err(format)?;

        let footer_bytes = read(footer_at, FOOTER_BYTES)?;
        let footer: &[u8; FOOTER_BYTES] =
            footer_bytes.first_chunk().ok_or(format(FormatError::Length { found, expected }))?;
        let footer = Footer::decode(footer).map_err(format)?;
        footer.check_length(found, front).map_err(format)?;
        let back_at = footer_at.saturating_sub(footer.trailer_bytes as u64);
        let back = read(back_at, footer.trailer_bytes + FOOTER_BYTES)?;
        let traits = footer.decode_trailer(&back).map_err(format)?;
        Ok(Self {
            stored: Stored { envelope: Box::new(envelope), content_bytes: footer.content_bytes, traits },
            path: String::from(path),
            file,
            content_at: front as u64,
            content_checksum: footer.content_checksum,
        })
    }

    /// Envelope and length.
    #[must_use]
    pub const fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Closes the file.
    #[must_use]
    pub fn into_stored(self) -> Stored {
        self.stored
    }

    /// Fills the buffer with content from position `at` on, and says how many bytes there were.
    ///
    /// # Errors
    /// [`ReadError::Disk`].
    pub fn read_content<D: Disk<File = F>>(
        &self,
        disk: &D,
        at: u64,
        buffer: &mut [u8],
    ) -> Result<usize, ReadError> {
        let left = self.stored.content_bytes.saturating_sub(at);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        disk.read_at(&self.file, self.content_at.saturating_add(at), buffer)
            .map_err(|source| ReadError::Disk { path: self.path.clone(), source })
    }

    /// Reads the whole content and compares its checksum.
    ///
    /// # Errors
    /// [`ReadError`]; the caller then hands the transaction to [`crate::set_aside`].
    pub fn verify<D: Disk<File = F>>(&self, disk: &D) -> Result<(), ReadError> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut checksum = Hasher::new();
        let mut at = 0;
        loop {
            let filled = self.read_content(disk, at, &mut buffer)?;
            if filled == 0 {
                break;
            }
            checksum.update(buffer.get(..filled).unwrap_or_default());
            at = at.saturating_add(filled as u64);
        }
        let source = if at != self.stored.content_bytes {
            FormatError::Length { found: at, expected: self.stored.content_bytes }
        } else if checksum.finalize() != self.content_checksum {
            FormatError::Checksum { part: "content" }
        } else {
            return Ok(());
        };
        Err(ReadError::Format { path: self.path.clone(), source })
    }
}
