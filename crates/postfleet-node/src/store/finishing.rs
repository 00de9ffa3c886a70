//! Messages that are delivered or have failed leave the spool.
//!
//! ```text
//!  finish ──► thread that removes: index, file, journal ──► thread that syncs: journal, folders; then journals forget
//! ```
//!
//! A file that is unlinked stays away when the process dies, and what was written stays written, synced or not; only a power
//! cut can undo it. So nothing that is done waits for a sync, and a kill repeats what was done a moment before it, not all
//! that was done while the disk was busy.

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

/// Why it cannot be recorded which queues messages are on.
type Flushed = Result<(), String>;

/// What the first thread is told.
pub(super) enum Finished {
    /// Copies of one transaction are done.
    Copies(MessageId, Vec<MessageId>),
    /// Copies were put on other queues than their files say.
    Placed(Vec<Placed>),
    /// Answer when everything before is on the disk.
    Flush(oneshot::Sender<Flushed>),
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

/// What has been removed and is to be durable.
#[derive(Default)]
pub(super) struct Removed {
    /// Transactions whose files are gone.
    gone: BTreeSet<MessageId>,
    /// Who waits for it, and what they are told.
    answers: Vec<(oneshot::Sender<Flushed>, Flushed)>,
}

impl Removed {
    /// A file that was removed at the start.
    pub(super) fn gone(batch: MessageId) -> Self {
        Self { gone: BTreeSet::from([batch]), answers: Vec::new() }
    }
}

/// What both threads and the scan of the spool work on.
pub(super) struct Journals {
    pub(super) done: Mutex<DoneJournal<File>>,
    pub(super) places: Mutex<PlaceJournal<File>>,
}

/// Removes what is done, and records what is done of transactions that stay.
pub(super) fn remove(
    disk: &FolderDisk,
    finished: &mpsc::Receiver<Finished>,
    queue: &Mutex<Queue>,
    journals: &Journals,
    removed: &mpsc::Sender<Removed>,
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
                // A file whose last copy is done goes; the others are remembered.
                if locked(queue).remove(copy).is_some_and(|removed| removed.last) && unlink(disk, batch) {
                    gone.insert(batch);
                }
            }
        }
        records.retain(|(batch, _)| !gone.contains(batch));
        placed.retain(|placed| !gone.contains(&placed.batch));
        let count = placed.len();
        if count > 0 || (unplaced.is_some() && !answers.is_empty()) {
            unplaced = locked(&journals.places).record(disk, placed).err().map(|error| chain(&error));
        }
        if let Some(error) = unplaced.as_ref().filter(|_| count > 0) {
            notice(
                Severity::Error,
                format_args!(
                    "the queues of {count} messages could not be recorded; after a restart they are where they were accepted: {error}"
                ),
            );
        }
        if !records.is_empty()
            && let Err(error) = locked(&journals.done).record(disk, &records)
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
        let outcome = unplaced.clone().map_or(Ok(()), Err);
        let answers = answers.into_iter().map(|answer| (answer, outcome.clone())).collect();
        // The other thread ends after this one.
        drop(removed.send(Removed { gone, answers }));
    }
}

/// Makes removals durable. Until they are, the journals remember what is done of these transactions: a file that a power
/// cut brings back must not have its other copies delivered again.
pub(super) fn sync(disk: &FolderDisk, removed: &mpsc::Receiver<Removed>, journals: &Journals) {
    while let Ok(first) = removed.recv() {
        let mut all = Removed::default();
        for mut removed in std::iter::once(first).chain(removed.try_iter()) {
            all.gone.append(&mut removed.gone);
            all.answers.append(&mut removed.answers);
        }
        let folders: BTreeSet<String> = all
            .gone
            .iter()
            .filter_map(|batch| message_path(*batch).rsplit_once('/').map(|(folder, _)| folder.to_owned()))
            .collect();
        sync_journal(disk, &journals.done);
        for folder in folders {
            if let Err(error) = disk.sync_folder(&folder) {
                notice(
                    Severity::Error,
                    format_args!("the spool's folder {folder} was not synced: {}", chain(&error)),
                );
            }
        }
        {
            let mut done = locked(&journals.done);
            all.gone.iter().for_each(|batch| done.forget(*batch));
        }
        {
            let mut places = locked(&journals.places);
            all.gone.iter().for_each(|batch| places.forget(*batch));
        }
        for (answer, outcome) in all.answers {
            let _gone = answer.send(outcome);
        }
    }
}

/// Makes durable what the journal says. Nobody who records has to wait for it: the lock is not held meanwhile.
fn sync_journal(disk: &FolderDisk, done: &Mutex<DoneJournal<File>>) {
    let Some(path) = locked(done).take_unsynced() else { return };
    let synced = disk.open(&path).and_then(|mut file| disk.sync_data(&mut file));
    match synced {
        Ok(()) => {}
        // Another file, which was durable before this one went, has all of it.
        Err(error) if error.kind() == DiskErrorKind::NotFound => {}
        Err(error) => {
            locked(done).not_synced();
            notice(
                Severity::Error,
                format_args!(
                    "deliveries that {path} in the spool records would be repeated after a power cut: {}",
                    chain(&error)
                ),
            );
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

#[cfg(test)]
mod tests {
    use super::*;
    use postfleet_spool::{Body, Draft, Envelope, MessageIds, RecipientCopy, commit, open};
    use postfleet_types::WallTime;
    use std::time::{Duration, Instant};

    struct Spool {
        _folder: tempfile::TempDir,
        disk: FolderDisk,
        journals: Journals,
        queue: Mutex<Queue>,
        /// Transactions of two copies each, the first id is the transaction's.
        batches: Vec<[MessageId; 2]>,
    }

    fn spool(transactions: usize) -> Spool {
        let folder = tempfile::tempdir().unwrap();
        let disk = FolderDisk::new(folder.path(), 0o600, false);
        open(&disk).unwrap();
        let (done, places) = (DoneJournal::open(&disk).unwrap(), PlaceJournal::open(&disk).unwrap());
        let journals = Journals { done: Mutex::new(done), places: Mutex::new(places) };
        let now = WallTime::from_unix_millis(1_800_000_000_000);
        let mut ids = MessageIds::new(7, 1_800_000_000);
        let mut queue = Queue::new();
        let mut batches = Vec::new();
        for _ in 0..transactions {
            let copies = [ids.draw(now), ids.draw(now)];
            let copy = |id: MessageId| RecipientCopy {
                id,
                recipient: format!("{id}@example.net"),
                domain: String::from("example.net"),
                orcpt: None,
                notify: None,
                binding: Default::default(),
                binding_group: Default::default(),
            };
            let envelope = Envelope {
                batch: copies[0],
                created: now,
                sender: String::new(),
                copies: copies.map(copy).to_vec(),
                body: Body::SevenBit,
                smtputf8: false,
                ret: None,
                envid: None,
                client: None,
                helo: String::new(),
                protocol: String::from("internal"),
                connection: None,
                context: Vec::new(),
            };
            let draft = Draft::new(envelope, 1000).unwrap();
            let synced = draft.seal(&disk).unwrap().sync(&disk).unwrap();
            let stored = commit(&disk, vec![synced]).outcomes.remove(0).1.unwrap();
            queue.insert(&stored);
            batches.push(copies);
        }
        Spool { _folder: folder, disk, journals, queue: Mutex::new(queue), batches }
    }

    fn is_there(spool: &Spool, batch: MessageId) -> bool {
        spool.disk.open(&message_path(batch)).is_ok()
    }

    fn is_known(spool: &Spool, batch: MessageId, copy: MessageId) -> bool {
        locked(&spool.journals.done).contains(batch, copy)
    }

    #[test]
    fn what_is_done_is_unlinked_while_folders_are_still_to_be_synced() {
        let spool = spool(2);
        let [[first, second], [other, _]] = [spool.batches[0], spool.batches[1]];
        let (finisher, finished) = mpsc::channel();
        let (remover, removed) = mpsc::channel();
        std::thread::scope(|scope| {
            let here = &spool;
            scope.spawn(move || remove(&here.disk, &finished, &here.queue, &here.journals, &remover));
            // Nobody syncs: the receiver of what is removed is not read.
            finisher.send(Finished::Copies(first, vec![first, second])).unwrap();
            finisher.send(Finished::Copies(other, vec![other])).unwrap();
            let deadline = Instant::now() + Duration::from_secs(30);
            while is_there(&spool, first) || !is_known(&spool, other, other) {
                assert!(Instant::now() < deadline, "it waits for a sync");
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(is_there(&spool, other), "a copy of it is left");
            drop(finisher);
        });
        drop(removed);
    }

    #[test]
    fn journals_forget_a_transaction_only_after_its_folder_was_synced() {
        let spool = spool(1);
        let [first, second] = spool.batches[0];
        let (finisher, finished) = mpsc::channel();
        let (remover, removed) = mpsc::channel();
        finisher.send(Finished::Copies(first, vec![first])).unwrap();
        drop(finisher);
        remove(&spool.disk, &finished, &spool.queue, &spool.journals, &remover);
        let (finisher, finished) = mpsc::channel();
        finisher.send(Finished::Copies(first, vec![second])).unwrap();
        let (answer, mut flushed) = oneshot::channel();
        finisher.send(Finished::Flush(answer)).unwrap();
        drop(finisher);
        remove(&spool.disk, &finished, &spool.queue, &spool.journals, &remover);
        assert!(!is_there(&spool, first) && is_known(&spool, first, first));
        assert!(flushed.try_recv().is_err(), "a removal that is not synced is not told as durable");

        drop(remover);
        sync(&spool.disk, &removed, &spool.journals);

        assert!(!is_known(&spool, first, first));
        assert_eq!(flushed.try_recv(), Ok(Ok(())));
    }
}
