//! Messages that are delivered or have failed leave the spool.

use super::disk::FolderDisk;
use super::{Store, chain};
use crate::lock::locked;
use crate::notices::{Severity, notice};
use postfleet_spool::{
    Disk as _, DiskErrorKind, DoneJournal, MessageId, PlaceJournal, Placed, Queue, message_path,
};
use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Mutex, mpsc};
use tokio::sync::oneshot;

/// What the thread is told.
pub(super) enum Finished {
    /// Copies of one transaction are done.
    Copies(MessageId, Vec<MessageId>),
    /// Copies were put on other queues than their files say.
    Placed(Vec<Placed>),
    /// Answer when everything before is on the disk.
    Flush(oneshot::Sender<Result<(), String>>),
}

impl Store {
    /// Takes copies of a transaction out of the spool, soon. A crash before that delivers them again.
    pub(crate) fn finish(&self, batch: MessageId, copies: Vec<MessageId>) {
        // The thread ends with the process only.
        drop(self.finisher.send(Finished::Copies(batch, copies)));
    }

    /// Remembers, soon, that copies are on other queues than their files say.
    pub(crate) fn place(&self, placed: Vec<Placed>) {
        // The thread ends with the process only.
        drop(self.finisher.send(Finished::Placed(placed)));
    }

    /// Returns when everything that is done is on the disk.
    ///
    /// # Errors
    /// Why it cannot be recorded which queues messages are on. It has been told.
    pub(crate) async fn flush_finished(&self) -> Result<(), String> {
        let (answer, flushed) = oneshot::channel();
        // The thread ends with the process only.
        drop(self.finisher.send(Finished::Flush(answer)));
        flushed.await.unwrap_or(Ok(()))
    }
}

pub(super) fn run(
    disk: &FolderDisk,
    finished: &mpsc::Receiver<Finished>,
    queue: &Mutex<Queue>,
    done: &Mutex<DoneJournal<File>>,
    places: &Mutex<PlaceJournal<File>>,
) {
    // Why queues of messages are not recorded. The next record repeats them.
    let mut unplaced: Option<String> = None;
    while let Ok(first) = finished.recv() {
        let mut records = Vec::new();
        let mut gone = BTreeSet::new();
        let (mut placed, mut answers) = (Vec::new(), Vec::new());
        for told in std::iter::once(first).chain(finished.try_iter()) {
            let (batch, copies) = match told {
                Finished::Copies(batch, copies) => (batch, copies),
                Finished::Placed(copies) => {
                    placed.extend(copies);
                    continue;
                }
                Finished::Flush(answer) => {
                    answers.push(answer);
                    continue;
                }
            };
            for copy in copies {
                records.push((batch, copy));
                if locked(queue).remove(copy).is_some_and(|removed| removed.last) {
                    gone.insert(batch);
                }
            }
        }
        // A file whose last copy is done goes; the others are remembered.
        let mut folders = BTreeSet::new();
        gone.retain(|batch| {
            let removed = unlink(disk, *batch);
            if removed {
                folders.extend(message_path(*batch).rsplit_once('/').map(|(folder, _)| folder.to_owned()));
            }
            removed
        });
        for folder in folders {
            if let Err(error) = disk.sync_folder(&folder) {
                notice(
                    Severity::Error,
                    format_args!("the spool's folder {folder} was not synced: {}", chain(&error)),
                );
            }
        }
        records.retain(|(batch, _)| !gone.contains(batch));
        placed.retain(|placed| !gone.contains(&placed.batch));
        {
            let mut places = locked(places);
            let count = placed.len();
            if count > 0 || (unplaced.is_some() && !answers.is_empty()) {
                unplaced = places.record(disk, placed).err().map(|error| chain(&error));
            }
            if let Some(error) = unplaced.as_ref().filter(|_| count > 0) {
                notice(
                    Severity::Error,
                    format_args!(
                        "the queues of {count} messages could not be recorded; after a restart they are where they were accepted: {error}"
                    ),
                );
            }
            gone.iter().for_each(|batch| places.forget(*batch));
        }
        let mut done = locked(done);
        if !records.is_empty()
            && let Err(error) = done.record(disk, &records)
        {
            notice(
                Severity::Error,
                format_args!(
                    "{} deliveries could not be recorded and would be repeated after a restart: {}",
                    records.len(),
                    chain(&error)
                ),
            );
        }
        gone.into_iter().for_each(|batch| done.forget(batch));
        for answer in answers {
            let _gone = answer.send(unplaced.clone().map_or(Ok(()), Err));
        }
    }
}

/// Removes the file of a transaction of which every copy is done. Whether it is gone.
pub(super) fn unlink(disk: &FolderDisk, batch: MessageId) -> bool {
    match disk.unlink(&message_path(batch)) {
        Ok(()) => true,
        Err(error) if error.kind() == DiskErrorKind::NotFound => true,
        Err(error) => {
            notice(
                Severity::Error,
                format_args!("message {batch} is done and its file cannot be removed: {}", chain(&error)),
            );
            false
        }
    }
}
