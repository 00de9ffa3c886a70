//! The durable spool: message ids, message files, group commit, recovery, and the index of what is queued.
//!
//! Promises to whoever accepts mail: a transaction that [`commit()`] returned as stored survives kill and power cut
//! whole, with all its copies; one that it did not return is never half there; nothing unreadable is deleted.
//!
//! Pure: no file, clock, task or randomness. Everything it wants from a file system goes through [`Disk`], which
//! `postfleet-node` implements with real files, on threads where blocking is allowed. The same crate owns the
//! clock and the pace.
//!
//! The file format is drawn in `docs/formats/spool.md`.
//!
//! ```text
//! open ─► Recovery::step … ─► Queue::insert                     at start
//! MessageIds::draw ─► Draft ─► Sealed ─► Synced ─► commit ─► Queue::insert ─► 250
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod binding;
pub mod commit;
pub mod disk;
pub mod done;
pub mod draft;
pub mod envelope;
pub mod format;
pub mod id;
mod journal;
pub mod layout;
pub mod message;
pub mod places;
pub mod queue;
pub mod recovery;
pub mod room;
#[cfg(test)]
mod tests;

pub use binding::{BindingGroupName, BindingName, DEFAULT_BINDING};
pub use commit::{CommitReport, commit};
pub use disk::{Disk, DiskError, DiskErrorKind, Space};
pub use done::DoneJournal;
pub use draft::{Draft, Refusal, Sealed, Step, StoreError, Synced, THRESHOLD_BYTES};
pub use envelope::{Body, Envelope, Notify, RecipientCopy, Ret};
pub use format::{FormatError, MessageFile, Traits, fuzz_spool_file};
pub use id::{MessageId, MessageIdError, MessageIds};
pub use layout::message_path;
pub use message::{Message, ReadError, Stored};
pub use places::{PlaceJournal, Placed};
pub use queue::{Counts, List, Queue, QueueKey, QueuedMessage, Removed};
pub use recovery::{Found, Notice, OpenError, Opened, Recovery, open, set_aside, take_stock};
pub use room::{Room, RoomLimits, SYNC_FAILURES_MAX, SyncHealth};
