//! What the spool asks of a file system, as a trait.
//!
//! `postfleet-node` implements it with real files below `Spoolbase`; the tests implement it with a disk that
//! forgets what a power cut may forget.

use alloc::string::String;
use alloc::vec::Vec;

/// A folder tree on a file system.
///
/// Paths are relative to the spool's base folder, `/` between parts, made by this crate from letters, digits,
/// `-` and `.` only; the empty path is the base folder itself. All calls block; an asynchronous driver makes
/// them on threads of its own. Calls come from several threads at once, but never two for one open file.
pub trait Disk {
    /// An open file. Dropping it closes it.
    type File;
    /// A held lock. Dropping it releases it; so does the death of the process.
    type Lock;

    /// Creates a file that does not exist yet and opens it for writing at its end.
    ///
    /// # Errors
    /// [`DiskErrorKind::AlreadyExists`], or what the file system says.
    fn create_new(&self, path: &str) -> Result<Self::File, DiskError>;

    /// Appends all bytes.
    ///
    /// # Errors
    /// What the file system says; an unknown part of the bytes may have been written.
    fn write(&self, file: &mut Self::File, bytes: &[u8]) -> Result<(), DiskError>;

    /// Returns when the content and the length of the file would survive a power cut (`fdatasync`).
    ///
    /// # Errors
    /// What the file system says. The spool never repeats a sync that failed: the second call may succeed though
    /// the data is gone.
    fn sync_data(&self, file: &mut Self::File) -> Result<(), DiskError>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`DiskErrorKind::NotFound`], or what the file system says.
    fn open(&self, path: &str) -> Result<Self::File, DiskError>;

    /// The length of an open file in bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn length(&self, file: &Self::File) -> Result<u64, DiskError>;

    /// Fills the buffer from position `at` on, and says how many bytes there were; less than the buffer holds only
    /// at the end of the file.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, file: &Self::File, at: u64, buffer: &mut [u8]) -> Result<usize, DiskError>;

    /// Renames a file, and refuses when the new name is taken (`renameat2` with `RENAME_NOREPLACE`, or `link` and
    /// `unlink`).
    ///
    /// # Errors
    /// [`DiskErrorKind::AlreadyExists`], [`DiskErrorKind::NotFound`], or what the file system says.
    fn rename_new(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`DiskErrorKind::NotFound`], or what the file system says.
    fn unlink(&self, path: &str) -> Result<(), DiskError>;

    /// Creates a folder; succeeds when it exists.
    ///
    /// # Errors
    /// What the file system says.
    fn create_folder(&self, path: &str) -> Result<(), DiskError>;

    /// Returns when the names in a folder would survive a power cut (`fsync` of the folder).
    ///
    /// # Errors
    /// What the file system says; never repeated, like [`Disk::sync_data`].
    fn sync_folder(&self, path: &str) -> Result<(), DiskError>;

    /// The names in a folder, in any order, without `.` and `..` and without names that are not UTF-8.
    ///
    /// # Errors
    /// [`DiskErrorKind::NotFound`], or what the file system says.
    fn list(&self, path: &str) -> Result<Vec<String>, DiskError>;

    /// Takes an exclusive lock on a file, which is created when missing, without waiting (`flock`).
    ///
    /// # Errors
    /// [`DiskErrorKind::Locked`] when another process holds it, or what the file system says.
    fn lock(&self, path: &str) -> Result<Self::Lock, DiskError>;

    /// Free and total space of the file system.
    ///
    /// # Errors
    /// What the file system says.
    fn space(&self) -> Result<Space, DiskError>;
}

/// What kind of failure a file system reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DiskErrorKind {
    /// No such file or folder (`ENOENT`).
    NotFound,
    /// The name is taken (`EEXIST`).
    AlreadyExists,
    /// No space, no inode or no quota left (`ENOSPC`, `EDQUOT`).
    NoSpace,
    /// No descriptor or no memory left (`EMFILE`, `ENFILE`, `ENOMEM`).
    NoResources,
    /// The file system is mounted read-only (`EROFS`).
    ReadOnly,
    /// The device failed (`EIO`).
    Io,
    /// Another process holds the lock (`EWOULDBLOCK`).
    Locked,
    /// Anything else.
    Other,
}

/// A failure that the file system reported. The disk or the machine's set-up is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct DiskError {
    kind: DiskErrorKind,
    text: String,
}

impl DiskError {
    /// An error with the operating system's own words.
    #[must_use]
    pub fn new(kind: DiskErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> DiskErrorKind {
        self.kind
    }
}

/// What a file system has, and has left for us (not for the superuser).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub bytes_total: u64,
    /// Bytes that may still be written.
    pub bytes_free: u64,
    /// Inodes in all; zero on file systems that do not count them.
    pub inodes_total: u64,
    /// Inodes that may still be used.
    pub inodes_free: u64,
}
