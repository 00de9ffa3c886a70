//! Start: take the lock, make the folders, clear what was being written, and find what is queued.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use postfleet_types::WallTime;

use crate::disk::{Disk, DiskError, DiskErrorKind};
use crate::done::DoneJournal;
use crate::format::FormatError;
use crate::id::MessageId;
use crate::layout;
use crate::message::{Message, ReadError, Stored};
use crate::places::PlaceJournal;

/// Why the spool could not be opened. The node cannot accept mail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the spool; the set-up is at fault.
    #[error("another process uses this spool; stop it, or give this node a Spoolbase of its own")]
    Locked,
    /// The disk refused a call; the disk or its permissions are at fault.
    #[error("cannot prepare `{path}` in the spool")]
    Disk {
        /// The file or folder.
        path: String,
        /// What the disk said.
        source: DiskError,
    },
}

/// A spool that this process owns.
#[derive(Debug)]
pub struct Opened<L> {
    /// Keep it as long as the spool is used.
    pub lock: L,
    /// The scan that still has to run. Mail may be accepted meanwhile.
    pub recovery: Recovery,
    /// What operators have to be told.
    pub notices: Vec<Notice>,
}

/// Takes the lock, makes missing folders durably and clears `tmp/`.
///
/// To be called before the first [`crate::Draft`]: what lies in `tmp/` afterwards was written by this process.
///
/// # Errors
/// [`OpenError`]. Folders may have been made; no message was touched.
pub fn open<D: Disk>(disk: &D) -> Result<Opened<D::Lock>, OpenError> {
    let wrap = |path: &str| {
        let path = String::from(path);
        move |source| OpenError::Disk { path, source }
    };
    let lock = disk.lock(layout::LOCK).map_err(|source| match source.kind() == DiskErrorKind::Locked {
        true => OpenError::Locked,
        false => OpenError::Disk { path: String::from(layout::LOCK), source },
    })?;
    for folder in [layout::DRAFTS, layout::MESSAGES, layout::CORRUPT] {
        disk.create_folder(folder).map_err(wrap(folder))?;
    }
    disk.sync_folder(layout::BASE).map_err(wrap(layout::BASE))?;
    for number in 0..=u8::MAX {
        let folder = layout::folder(number);
        disk.create_folder(&folder).map_err(wrap(&folder))?;
    }
    disk.sync_folder(layout::MESSAGES).map_err(wrap(layout::MESSAGES))?;

    let mut notices = Vec::new();
    let mut removed = 0;
    for name in disk.list(layout::DRAFTS).map_err(wrap(layout::DRAFTS))? {
        let path = format!("{}/{name}", layout::DRAFTS);
        match disk.unlink(&path) {
            Ok(()) => removed += 1,
            Err(source) => notices.push(Notice::Leftover { path, source }),
        }
    }
    if removed > 0 {
        notices.push(Notice::LeftoversRemoved { count: removed });
    }
    Ok(Opened { lock, recovery: Recovery { folder: Some(0), names: VecDeque::new() }, notices })
}

/// Drops what the journals say of transactions that are gone, and says the first second at or after `now` that is past
/// all ids of this process id in the spool; what [`crate::MessageIds::new`] takes. In a container each start may have
/// the same process id, and the clock may have gone back: an id that comes again would be taken for done.
///
/// To be called before mail is taken. A folder that cannot be listed keeps what the journal says of it.
pub fn take_stock<D: Disk>(
    disk: &D,
    done: &mut DoneJournal<D::File>,
    places: &mut PlaceJournal<D::File>,
    process: u32,
    now: WallTime,
) -> u32 {
    let mut second = u32::try_from(now.unix_seconds()).unwrap_or(u32::MAX);
    let mut pass = |id: MessageId| {
        if id.process() == process {
            second = second.max(id.second().saturating_add(1));
        }
    };
    done.ids().for_each(&mut pass);
    let mut queued = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for number in 0..=u8::MAX {
        let Ok(names) = disk.list(&layout::folder(number)) else {
            unknown.insert(number);
            continue;
        };
        for id in names.iter().filter_map(|name| MessageId::from_file_name(name).ok()) {
            pass(id);
            if done.knows(id) || places.knows(id) {
                queued.insert(id);
            }
        }
    }
    let stays = |batch: MessageId| queued.contains(&batch) || unknown.contains(&batch.folder());
    done.retain(disk, stays);
    places.retain(disk, stays);
    second
}

/// The scan of `msg/`, a few files at a time.
#[derive(Debug)]
pub struct Recovery {
    /// The folder to list next; none when all were listed.
    folder: Option<u8>,
    /// Names not yet read, of the folder before.
    names: VecDeque<(u8, String)>,
}

/// What one step of the scan found.
#[derive(Debug)]
pub struct Found {
    /// Whole transactions. One that was committed since the start may be among them.
    pub stored: Vec<Stored>,
    /// What operators have to be told.
    pub notices: Vec<Notice>,
    /// Whether the scan is complete.
    pub finished: bool,
}

impl Recovery {
    /// Reads up to `files_max` files (`Disk_Queue_Drain_Rate`). Contents are not read; their checksums are compared
    /// when a message is delivered ([`Message::verify`]).
    ///
    /// A file that cannot be read is moved to `corrupt/`, unless the failure may pass or the file is of a newer
    /// version: then it stays for the next start. Nothing is ever deleted.
    pub fn step<D: Disk>(&mut self, disk: &D, files_max: usize) -> Found {
        let mut found = Found { stored: Vec::new(), notices: Vec::new(), finished: false };
        let mut files = 0;
        while files < files_max {
            let Some((folder, name)) = self.names.pop_front() else {
                match self.folder {
                    Some(number) => self.list(disk, number, &mut found.notices),
                    None => break,
                }
                continue;
            };
            files += 1;
            let path = format!("{}/{name}", layout::folder(folder));
            match Message::open_path(disk, &path, &name) {
                Ok(message) => found.stored.push(message.into_stored()),
                Err(cause) => found.notices.extend(unreadable(disk, &path, &name, cause)),
            }
        }
        found.finished = self.folder.is_none() && self.names.is_empty();
        found
    }

    fn list<D: Disk>(&mut self, disk: &D, number: u8, notices: &mut Vec<Notice>) {
        self.folder = number.checked_add(1);
        let path = layout::folder(number);
        match disk.list(&path) {
            Ok(names) => self.names.extend(names.into_iter().map(|name| (number, name))),
            Err(source) => notices.push(Notice::NotListed { path, source }),
        }
    }
}

/// Decides what becomes of a file that could not be read.
fn unreadable<D: Disk>(disk: &D, path: &str, name: &str, cause: ReadError) -> Option<Notice> {
    match &cause {
        ReadError::Disk { source, .. } if source.kind() == DiskErrorKind::NotFound => None,
        ReadError::Disk { source, .. } if source.kind() != DiskErrorKind::Io => Some(Notice::Kept { cause }),
        ReadError::Format { source: FormatError::Newer { .. }, .. } => Some(Notice::Kept { cause }),
        ReadError::Disk { .. } | ReadError::Format { .. } => Some(move_aside(disk, path, name, cause)),
    }
}

/// Moves a transaction whose content turned out damaged to `corrupt/`. The caller drops its copies from the queue.
pub fn set_aside<D: Disk>(disk: &D, batch: MessageId, cause: ReadError) -> Notice {
    move_aside(disk, &layout::message_path(batch), &batch.file_name(), cause)
}

/// How many files of one name `corrupt/` takes.
const SAME_NAME_MAX: u32 = 1000;

fn move_aside<D: Disk>(disk: &D, path: &str, name: &str, cause: ReadError) -> Notice {
    let mut to = format!("{}/{name}", layout::CORRUPT);
    for attempt in 1..=SAME_NAME_MAX {
        match disk.rename_new(path, &to) {
            Ok(()) => {
                // Best effort: a file that is back in msg/ after a power cut is moved again.
                let _again = disk.sync_folder(layout::CORRUPT);
                return Notice::SetAside { to, cause };
            }
            Err(source) if source.kind() == DiskErrorKind::AlreadyExists => {
                to = format!("{}/{name}.{attempt}", layout::CORRUPT);
            }
            Err(source) => return Notice::Stuck { cause, source },
        }
    }
    Notice::Kept { cause }
}

/// Something operators have to be told. [`fmt::Display`] gives the text for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Files of transactions that were never acknowledged were removed from `tmp/`.
    LeftoversRemoved {
        /// How many.
        count: usize,
    },
    /// Such a file could not be removed.
    Leftover {
        /// The file.
        path: String,
        /// What the disk said.
        source: DiskError,
    },
    /// A folder could not be listed; its messages are not in the queue until the next start.
    NotListed {
        /// The folder.
        path: String,
        /// What the disk said.
        source: DiskError,
    },
    /// A file could not be read and was moved to `corrupt/`.
    SetAside {
        /// Where it lies now.
        to: String,
        /// What was wrong.
        cause: ReadError,
    },
    /// A file could not be read, nor moved.
    Stuck {
        /// What was wrong.
        cause: ReadError,
        /// Why it could not be moved.
        source: DiskError,
    },
    /// A file could not be read now and was left for the next start.
    Kept {
        /// What was wrong.
        cause: ReadError,
    },
}

impl Notice {
    /// Whether it is logged as CRITICAL: mail that was acknowledged may be waiting for an operator.
    #[must_use]
    pub const fn critical(&self) -> bool {
        match self {
            Self::LeftoversRemoved { .. } | Self::Leftover { .. } => false,
            Self::NotListed { .. } | Self::SetAside { .. } | Self::Stuck { .. } | Self::Kept { .. } => true,
        }
    }
}

/// An error with its causes, in one line.
struct Chain<'a>(&'a dyn core::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftoversRemoved { count } => {
                write!(f, "spool: removed {count} unfinished receptions; none of them had been acknowledged")
            }
            Self::Leftover { path, source } => {
                write!(f, "spool: cannot remove the unfinished reception {path}: {source}; remove it by hand")
            }
            Self::NotListed { path, source } => write!(
                f,
                "spool: cannot list {path}: {source}; its messages stay on disk and are queued at the next start"
            ),
            Self::SetAside { to, cause } => {
                write!(f, "spool: {}; moved to {to}, nothing was deleted", Chain(cause))
            }
            Self::Stuck { cause, source } => {
                write!(f, "spool: {}; it could not be moved to corrupt/ either: {source}", Chain(cause))
            }
            Self::Kept { cause } => {
                write!(f, "spool: {}; left where it is, tried again at the next start", Chain(cause))
            }
        }
    }
}
