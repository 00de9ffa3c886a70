//! Group commit: many synced transactions become durable queue entries with one sync a folder.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::disk::{Disk, DiskError, DiskErrorKind};
use crate::draft::{Step, StoreError, Synced};
use crate::id::MessageId;
use crate::layout;
use crate::message::Stored;

/// What became of a group.
#[derive(Debug)]
pub struct CommitReport {
    /// One entry a transaction, in the order in which they were handed in. 250 may be sent for `Ok` only.
    pub outcomes: Vec<(MessageId, Result<Stored, StoreError>)>,
    /// Each folder sync that was made, in order: what it came to. [`crate::SyncHealth::folder_syncs`] takes it.
    pub syncs: Vec<Result<(), DiskErrorKind>>,
}

/// Moves synced transactions into the queue's folders and makes the names durable.
///
/// Each transaction is moved whole or not at all. A transaction whose folder could not be synced is removed again
/// and refused; should the removal fail too, it may reappear at the next start as a message that was offered and
/// not acknowledged, never as half of one.
///
/// Calls may overlap, but gain nothing from it: one thread that commits whatever waits is the fastest.
pub fn commit<D: Disk>(disk: &D, group: Vec<Synced>) -> CommitReport {
    let mut syncs = Vec::new();
    let mut sync = |folder: &str| {
        let outcome = disk.sync_folder(folder);
        syncs.push(outcome.as_ref().map(|&()| ()).map_err(DiskError::kind));
        outcome.map_err(|source| StoreError::disk(Step::SyncFolder, folder, source))
    };

    let mut failures: BTreeMap<usize, StoreError> = BTreeMap::new();
    let mut folders: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
    for (index, synced) in group.iter().enumerate() {
        match publish(disk, synced, &mut sync) {
            Ok(()) => folders.entry(synced.envelope.batch.folder()).or_default().push(index),
            Err(failure) => {
                let _leftover = disk.unlink(&synced.path);
                failures.insert(index, failure);
            }
        }
    }

    // The new names first: a name that is durable in neither folder would be a lost message, one that is durable
    // in both is cleared at the next start.
    let mut moved = Vec::new();
    for (folder, members) in folders {
        match sync(&layout::folder(folder)) {
            Ok(()) => moved.extend(members),
            Err(failure) => {
                let members = members.into_iter();
                failures.extend(members.map(|index| (index, failure.clone())));
            }
        }
    }
    if !moved.is_empty()
        && let Err(failure) = sync(layout::DRAFTS)
    {
        failures.extend(moved.into_iter().map(|index| (index, failure.clone())));
    }

    let mut outcomes = Vec::with_capacity(group.len());
    for (index, synced) in group.into_iter().enumerate() {
        let batch = synced.envelope.batch;
        let outcome = match failures.remove(&index) {
            None => Ok(Stored {
                envelope: synced.envelope,
                content_bytes: synced.content_bytes,
                traits: synced.traits,
            }),
            Some(failure) => {
                if matches!(failure, StoreError::Disk { step: Step::SyncFolder, .. }) {
                    let _reappears = disk.unlink(&layout::message_path(batch));
                }
                Err(failure)
            }
        };
        outcomes.push((batch, outcome));
    }
    CommitReport { outcomes, syncs }
}

/// Moves one file into its folder, which is made when somebody removed it.
fn publish<D: Disk>(
    disk: &D,
    synced: &Synced,
    sync: &mut impl FnMut(&str) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let batch = synced.envelope.batch;
    let target = layout::message_path(batch);
    let mut moved = disk.rename_new(&synced.path, &target);
    if matches!(&moved, Err(failure) if failure.kind() == DiskErrorKind::NotFound) {
        let folder = layout::folder(batch.folder());
        disk.create_folder(&folder).map_err(|source| StoreError::disk(Step::Create, &folder, source))?;
        sync(layout::MESSAGES)?;
        moved = disk.rename_new(&synced.path, &target);
    }
    moved.map_err(|source| StoreError::naming(Step::Rename, &target, source))
}
