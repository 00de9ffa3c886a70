//! The spool in use: sessions hand in drafts, threads make them durable, and the queue index knows the result.
//!
//! ```text
//! session task ── draft ──► blocking thread: seal, sync ──► commit thread ──► session task: 250
//!                           (many at once)                  (one sync a folder for all that wait)
//! ```

mod disk;
mod finishing;
mod reading;

pub(crate) use reading::Reading;

use crate::clock;
use crate::lock::locked;
use crate::logs::Queued;
use crate::notices::{Severity, notice};
use crate::progress::Progress;
use anyhow::Context;
use disk::FolderDisk;
use postfleet_spool::{
    DoneJournal, Draft, Envelope, MessageId, MessageIds, OpenError, Opened, PlaceJournal, Queue, Room,
    RoomLimits, Sealed, StoreError, Stored, SyncHealth, Synced, commit, open, take_stock,
};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often the free space is looked at.
const ROOM_INTERVAL: Duration = Duration::from_secs(1);
/// Files read between two looks at the lock, so that a large spool does not hold up the acceptance of mail.
const SCAN_PAUSE: Duration = Duration::from_millis(1);
/// How long a starting node waits for the process that has its spool, and how often it looks again.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_STEP: Duration = Duration::from_millis(10);

/// What the spool needs to know from the configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoreOptions {
    pub(crate) file_mode: u32,
    pub(crate) force_fsync: bool,
    pub(crate) limits: RoomLimits,
    pub(crate) threshold_bytes: usize,
    pub(crate) drain_rate: usize,
}

type Waiting = (Synced, oneshot::Sender<Result<(), StoreError>>);

/// A spool that this process owns.
pub(crate) struct Store {
    disk: FolderDisk,
    options: Mutex<StoreOptions>,
    ids: Mutex<MessageIds>,
    queue: Arc<Mutex<Queue>>,
    health: Arc<Mutex<SyncHealth>>,
    committer: mpsc::Sender<Waiting>,
    finisher: mpsc::Sender<finishing::Finished>,
    room: AtomicU8,
    /// What waits for the disk.
    progress: Progress,
    _lock: File,
}

/// A transaction on its way in.
pub(crate) type Incoming = Draft<File>;

/// Who is told of transactions that are durable; `true` for those that were there when the node started.
pub(crate) type OnStored = Arc<dyn Fn(&Stored, bool) + Send + Sync>;

impl Store {
    /// Takes the spool over, and starts reading what it holds in the background.
    pub(crate) fn open(base: &Path, options: StoreOptions, on_stored: OnStored) -> anyhow::Result<Arc<Self>> {
        std::fs::create_dir_all(base)
            .with_context(|| format!("Spoolbase: cannot create {}", base.display()))?;
        if !options.force_fsync {
            notice(
                Severity::Warning,
                "Force_Fsync is off: messages are acknowledged before they are durable, and a power cut loses them",
            );
        }
        let disk = FolderDisk::new(base, options.file_mode, options.force_fsync);
        let opened = take_over(&disk, base, LOCK_PATIENCE)
            .with_context(|| format!("cannot use the spool {}", base.display()))?;
        let process = std::process::id();
        opened.notices.iter().for_each(tell);
        let queue = Arc::new(Mutex::new(Queue::new()));
        let health = Arc::new(Mutex::new(SyncHealth::new()));
        let (committer, waiting) = mpsc::channel();
        let (finisher, finished) = mpsc::channel();
        let mut done = DoneJournal::open(&disk)
            .with_context(|| format!("cannot read the journal of the spool {}", base.display()))?;
        let mut places = PlaceJournal::open(&disk)
            .with_context(|| format!("cannot read the places of messages in the spool {}", base.display()))?;
        let second = take_stock(&disk, &mut done, &mut places, process, clock::wall());
        let journals = Arc::new(finishing::Journals { done: Mutex::new(done), places: Mutex::new(places) });
        let store = Arc::new(Self {
            disk: disk.clone(),
            ids: Mutex::new(MessageIds::new(process, second)),
            queue: Arc::clone(&queue),
            health: Arc::clone(&health),
            committer,
            finisher,
            room: AtomicU8::new(0),
            progress: Progress::default(),
            _lock: opened.lock,
            options: Mutex::new(options),
        });
        store.look_at_space();
        {
            let (disk, queue, on_stored) = (disk.clone(), Arc::clone(&queue), Arc::clone(&on_stored));
            std::thread::Builder::new()
                .name("spool-commit".into())
                .spawn(move || commit_loop(&disk, &waiting, &queue, &health, &on_stored))
                .context("cannot start the commit thread")?;
        }
        let (remover, removed) = mpsc::channel();
        {
            let (disk, queue, journals) = (disk.clone(), Arc::clone(&queue), Arc::clone(&journals));
            let remover = remover.clone();
            std::thread::Builder::new()
                .name("spool-finish".into())
                .spawn(move || finishing::remove(&disk, &finished, &queue, &journals, &remover))
                .context("cannot start the thread that takes messages out of the spool")?;
        }
        {
            let (disk, journals) = (disk.clone(), Arc::clone(&journals));
            std::thread::Builder::new()
                .name("spool-removed".into())
                .spawn(move || finishing::sync(&disk, &removed, &journals))
                .context("cannot start the thread that syncs what has left the spool")?;
        }
        // What this process stores itself is told when it is stored, and may be gone when the scan comes by.
        let own = move |batch: MessageId| batch.process() == process && batch.second() >= second;
        let rate = locked(&store.options).drain_rate;
        std::thread::Builder::new()
            .name("spool-scan".into())
            .spawn(move || scan(opened.recovery, &disk, rate, &queue, (&journals, &remover), own, &on_stored))
            .context("cannot start the scan of the spool")?;
        Ok(store)
    }

    /// Takes new limits. Whether the spool syncs and what modes its files have is decided at the start.
    pub(crate) fn adopt(self: &Arc<Self>, options: &StoreOptions) {
        {
            let mut current = locked(&self.options);
            if *current == *options {
                return;
            }
            current.clone_from(options);
        }
        let store = Arc::clone(self);
        drop(tokio::task::spawn_blocking(move || store.look_at_space()));
    }

    /// Ids for a transaction's copies; the first is the batch's too.
    pub(crate) fn draw_ids(&self, count: usize) -> Vec<MessageId> {
        let now = clock::wall();
        let mut ids = locked(&self.ids);
        (0..count).map(|_| ids.draw(now)).collect()
    }

    /// One more id, for something that is no message.
    pub(crate) fn draw_id(&self) -> MessageId {
        locked(&self.ids).draw(clock::wall())
    }

    pub(crate) fn draft(&self, envelope: Envelope) -> Result<Incoming, StoreError> {
        Draft::new(envelope, locked(&self.options).threshold_bytes)
    }

    /// Writes out what a draft holds in memory, on a thread where blocking is allowed.
    pub(crate) async fn flush(self: &Arc<Self>, mut draft: Incoming) -> Option<Incoming> {
        let store = Arc::clone(self);
        let _piece = self.progress.begin();
        tokio::task::spawn_blocking(move || {
            // The error comes back from `seal`; until then the draft swallows content.
            drop(draft.flush(&store.disk));
            draft
        })
        .await
        .ok()
    }

    /// Gives a draft another envelope.
    pub(crate) async fn readdress(
        self: &Arc<Self>,
        draft: Incoming,
        envelope: Envelope,
    ) -> Result<Incoming, StoreError> {
        let store = Arc::clone(self);
        let _piece = self.progress.begin();
        tokio::task::spawn_blocking(move || draft.readdress(&store.disk, envelope))
            .await
            .unwrap_or_else(|_| Err(interrupted()))
    }

    /// Makes a transaction durable. Only after `Ok` may it be acknowledged.
    pub(crate) async fn store(self: &Arc<Self>, draft: Incoming) -> Result<(), StoreError> {
        let store = Arc::clone(self);
        let _piece = self.progress.begin();
        let synced = tokio::task::spawn_blocking(move || {
            let sealed: Sealed<File> = draft.seal(&store.disk)?;
            let outcome = sealed.sync(&store.disk);
            store.record(|health| health.data_sync(&outcome));
            outcome
        })
        .await
        .unwrap_or_else(|_| Err(interrupted()))?;
        let (answer, outcome) = oneshot::channel();
        self.committer.send((synced, answer)).map_err(|_| interrupted())?;
        outcome.await.unwrap_or_else(|_| Err(interrupted()))
    }

    /// Takes the file of a draft away that was given up.
    pub(crate) fn abandon(self: &Arc<Self>, draft: Incoming) {
        let store = Arc::clone(self);
        drop(tokio::task::spawn_blocking(move || draft.abandon(&store.disk)));
    }

    /// When a queued message was accepted, from whom and for whom.
    pub(crate) fn addresses(&self, id: MessageId) -> Option<(postfleet_types::WallTime, String, String)> {
        let queue = locked(&self.queue);
        let message = queue.message(id)?;
        Some((message.created, message.sender.to_owned(), message.recipient.to_owned()))
    }

    /// What the index has of a queued message.
    pub(crate) fn queued(&self, id: MessageId) -> Option<Queued> {
        let queue = locked(&self.queue);
        let message = queue.message(id)?;
        Some(Queued {
            sender: message.sender.to_owned(),
            recipient: message.recipient.to_owned(),
            created: message.created,
            octets: message.content_bytes,
            connection: message.connection,
        })
    }

    fn record(&self, change: impl FnOnce(&mut SyncHealth)) {
        record(&self.health, change);
    }

    /// How much room there is, as of the last look.
    pub(crate) fn room(&self) -> Room {
        if !locked(&self.health).accepting() {
            return Room::Critical;
        }
        match self.room.load(Ordering::Relaxed) {
            0 => Room::Enough,
            1 => Room::Low,
            _ => Room::Critical,
        }
    }

    fn look_at_space(&self) {
        use postfleet_spool::Disk as _;
        let room = match self.disk.space() {
            Ok(space) => locked(&self.options).limits.judge(space),
            Err(error) => {
                notice(Severity::Error, format_args!("cannot tell the free space of the spool: {error}"));
                return;
            }
        };
        let number = match room {
            Room::Enough => 0,
            Room::Low => 1,
            Room::Critical => 2,
        };
        if self.room.swap(number, Ordering::Relaxed) != number {
            match room {
                Room::Enough => notice(Severity::Notice, "the spool has room again; mail is accepted"),
                Room::Low => notice(
                    Severity::Critical,
                    "the spool's file system is short of space: MAIL is answered with 452 until space is freed",
                ),
                Room::Critical => notice(
                    Severity::Critical,
                    "the spool's file system is almost full: new sessions are answered with 421 until space is freed",
                ),
            }
        }
    }

    /// Looks at the free space for ever.
    pub(crate) async fn watch_space(self: Arc<Self>) {
        loop {
            tokio::time::sleep(ROOM_INTERVAL).await;
            let store = Arc::clone(&self);
            let _piece = self.progress.begin();
            drop(tokio::task::spawn_blocking(move || store.look_at_space()).await);
        }
    }

    /// How long work has been waiting for the disk without any of it ending.
    pub(crate) fn stuck_for(&self) -> Duration {
        self.progress.stuck_for(clock::monotonic())
    }
}

/// Opens the spool. The process that had it may be on its way out: a killed one holds its lock until the kernel has
/// taken it down, and whoever starts the next one at once must not find the node refusing to.
fn take_over(disk: &FolderDisk, base: &Path, patience: Duration) -> Result<Opened<File>, OpenError> {
    let started = Instant::now();
    let mut told = false;
    loop {
        match open(disk) {
            Err(OpenError::Locked) if started.elapsed() < patience => {
                if !told {
                    notice(
                        Severity::Notice,
                        format_args!(
                            "another process uses the spool {}; waiting for it to end, {} s at most",
                            base.display(),
                            patience.as_secs()
                        ),
                    );
                    told = true;
                }
                std::thread::sleep(LOCK_STEP);
            }
            outcome => return outcome,
        }
    }
}

fn record(health: &Mutex<SyncHealth>, change: impl FnOnce(&mut SyncHealth)) {
    let stopped = {
        let mut health = locked(health);
        let before = health.accepting();
        change(&mut health);
        before && !health.accepting()
    };
    if stopped {
        notice(
            Severity::Critical,
            "the spool's device failed several syncs in a row: no mail is accepted until the node is started again",
        );
    }
}

fn interrupted() -> StoreError {
    StoreError::Disk {
        step: postfleet_spool::Step::Write,
        path: String::from("the spool"),
        source: postfleet_spool::DiskError::new(
            postfleet_spool::DiskErrorKind::Other,
            "the node is shutting down",
        ),
    }
}

fn commit_loop(
    disk: &FolderDisk,
    waiting: &mpsc::Receiver<Waiting>,
    queue: &Mutex<Queue>,
    health: &Mutex<SyncHealth>,
    on_stored: &OnStored,
) {
    while let Ok(first) = waiting.recv() {
        let (group, answers): (Vec<_>, Vec<_>) = std::iter::once(first).chain(waiting.try_iter()).unzip();
        let report = commit(disk, group);
        record(health, |health| health.folder_syncs(&report.syncs));
        for ((batch, outcome), answer) in report.outcomes.into_iter().zip(answers) {
            let outcome = match outcome {
                Ok(stored) => {
                    locked(queue).insert(&stored);
                    on_stored(&stored, false);
                    Ok(())
                }
                Err(error) => {
                    notice(
                        Severity::Error,
                        format_args!("message {batch} was not stored: {}", chain(&error)),
                    );
                    Err(error)
                }
            };
            // The session may have ended; the message is in the queue all the same.
            drop(answer.send(outcome));
        }
    }
}

fn scan(
    mut recovery: postfleet_spool::Recovery,
    disk: &FolderDisk,
    rate: usize,
    queue: &Mutex<Queue>,
    (journals, remover): (&finishing::Journals, &mpsc::Sender<finishing::Removed>),
    own: impl Fn(MessageId) -> bool,
    on_stored: &OnStored,
) {
    let mut messages = 0;
    loop {
        let found = recovery.step(disk, rate.max(1));
        found.notices.iter().for_each(tell);
        for mut stored in found.stored {
            let batch = stored.envelope.batch;
            if own(batch) {
                continue;
            }
            stored.envelope.copies.retain(|copy| !locked(&journals.done).contains(batch, copy.id));
            if stored.envelope.copies.is_empty() {
                if finishing::unlink(disk, batch) {
                    // The thread ends with the process only.
                    drop(remover.send(finishing::Removed::gone(batch)));
                }
                continue;
            }
            locked(&journals.places).apply(&mut stored);
            messages += locked(queue).insert(&stored);
            on_stored(&stored, true);
        }
        if found.finished {
            break;
        }
        std::thread::sleep(SCAN_PAUSE);
    }
    if messages > 0 {
        notice(
            Severity::Info,
            format_args!("the spool held {messages} messages from before; they are queued"),
        );
    }
}

fn tell(told: &postfleet_spool::recovery::Notice) {
    notice(if told.critical() { Severity::Critical } else { Severity::Notice }, told);
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, FolderDisk) {
        let folder = tempfile::tempdir().unwrap();
        let disk = FolderDisk::new(folder.path(), 0o600, false);
        (folder, disk)
    }

    #[test]
    fn a_start_waits_for_the_process_that_is_on_its_way_out() {
        let (folder, disk) = folder();
        let held = open(&disk).unwrap().lock;
        let leaving = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(held);
        });

        let taken = take_over(&disk, folder.path(), Duration::from_secs(60));
        leaving.join().unwrap();

        assert!(taken.is_ok());
    }

    #[test]
    fn a_process_that_stays_keeps_its_spool() {
        let (folder, disk) = folder();
        let _held = open(&disk).unwrap().lock;

        let refused = take_over(&disk, folder.path(), Duration::from_millis(50));

        assert_eq!(refused.err(), Some(OpenError::Locked));
    }
}
