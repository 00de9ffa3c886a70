//! Series in files: changes that are written at each maintenance, columns that are kept over an orderly restart, and files
//! that the console loads.
//!
//! A file is written beside its place, synced and renamed, so that nobody ever reads half of one.

use super::{Audit, Definition};
use crate::clock;
use crate::notices::{Severity, notice};
use anyhow::Context as _;
use postfleet_replica::{Key, Mode, Monitor, Place, Reading, SeriesId};
use postfleet_series::{Journal, file};
use postfleet_types::{PrivateName, WallTime};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Keys that are read under a lock at a time: about a millisecond.
pub(super) const PIECE_KEYS: usize = 2000;

/// Takes a window and key of a column, and its count.
pub(super) type Visit<'a> = &'a mut dyn FnMut(WallTime, Key<'_>, i64);

/// The longest file that is read. At some twenty bytes a line, fifty million lines.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What became of a file that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Entries that count.
    pub(crate) entries: usize,
    /// Entries older than the oldest window.
    pub(crate) old: usize,
}

pub(super) fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let write = || {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        std::fs::File::open(directory)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn read_whole(path: &Path) -> anyhow::Result<String> {
    let told = || format!("cannot read {}", path.display());
    let length = std::fs::metadata(path).with_context(told)?.len();
    anyhow::ensure!(
        length <= FILE_BYTES_MAX,
        "{} is longer than {FILE_BYTES_MAX} bytes; split it",
        path.display()
    );
    std::fs::read_to_string(path).with_context(told)
}

/// Runs what waits for a disk.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("the task of the file ended")?
}

/// Tells a journal every key of a column, a piece at a time: whoever holds a lock for a piece holds it for about a
/// millisecond.
pub(super) async fn look(journal: &mut Journal, mut piece: impl FnMut(&Place, Visit<'_>) -> Option<Place>) {
    let mut place = Some(Place::default());
    while let Some(from) = place {
        place = piece(&from, &mut |begin, key, count| journal.see(begin, key, count));
        tokio::task::yield_now().await;
    }
}

/// A named series that is kept in files.
struct Kept {
    name: String,
    monitor: Monitor,
    definition: Definition,
    /// The name of its file, as far as it says nothing of a time.
    stem: String,
    /// Whether it has the plain name: of the series of one name, that with the shortest windows.
    plain: bool,
}

impl Audit {
    /// Tells a journal the own column of a series: what is counted here alone, and what is shared.
    async fn look_at_own(&self, name: &str, monitor: Monitor, journal: &mut Journal) {
        look(journal, |from, visit| {
            self.locked().local.piece(Reading::Own, name, monitor, from, PIECE_KEYS, visit)
        })
        .await;
        let Some(fleet) = &self.fleet else { return };
        for mode in [Mode::Cluster, Mode::Managers] {
            look(journal, |from, visit| {
                fleet.replica(|replica| {
                    let metrics = replica.shared_series(mode, name)?;
                    metrics.piece(Reading::Own, name, monitor, from, PIECE_KEYS, visit)
                })
            })
            .await;
        }
    }

    fn kept(&self, chosen: impl Fn(&Definition) -> bool) -> Vec<Kept> {
        let inner = self.locked();
        let mut kept: Vec<Kept> = Vec::new();
        for ((name, monitor), definition) in inner.defined.iter().filter(|(_, of)| chosen(of)) {
            // Ascending by windows.
            let plain = kept.last().is_none_or(|last| last.name != *name);
            let stem = if plain { file::stem(name) } else { file::stem_beside(name, *monitor) };
            kept.push(Kept { name: name.clone(), monitor: *monitor, definition: *definition, stem, plain });
        }
        kept
    }

    /// Writes what has changed since the last time, of series that are to be written: `<log_dir>/<series>.<timestamp>`.
    pub(crate) async fn serialize(&self) {
        let mut written = self.written.lock().await;
        // Also of one that is not to be written for a while: what was written of it must not be written again.
        written.retain(|_, journal| !journal.age(clock::wall()));
        for Kept { name, monitor, definition, stem, .. } in self.kept(|definition| definition.serialize) {
            let key = (name, monitor);
            let mut journal =
                written.remove(&key).unwrap_or_else(|| Journal::new(&key.0, definition.kind, monitor));
            self.look_at_own(&key.0, monitor, &mut journal).await;
            let path = self.options().log_dir.join(file::dated(&stem, clock::wall()));
            let (journal, outcome) = write_changes(journal, path).await;
            if let Err(error) = outcome {
                notice(
                    Severity::Error,
                    format_args!("series '{}': {error:#}; trying again at the next maintenance", key.0),
                );
            }
            if let Some(journal) = journal {
                written.insert(key, journal);
            }
        }
    }

    /// Keeps the series that are to be kept, at an orderly stop: `<serialize_dir>/<series>`.
    pub(crate) async fn save(&self) {
        let directory = self.options().serialize_dir;
        // The shortest of a name last: its file may be the only copy that there is of another.
        let kept = self.kept(|definition| definition.persist);
        for Kept { name, monitor, definition, stem, plain } in kept.into_iter().rev() {
            let mut journal = Journal::new(&name, definition.kind, monitor);
            self.look_at_own(&name, monitor, &mut journal).await;
            let publication = self.published(definition).map(|own| file::publication(&own));
            let path = directory.join(stem);
            // What was kept while another series of the name had shorter windows is older.
            let older = plain.then(|| directory.join(file::stem_beside(&name, monitor)));
            let head = file::head(&name, definition.kind, monitor);
            let outcome = on_disk(move || {
                let mut text = journal.text(clock::wall()).unwrap_or_else(|| head.clone());
                text.insert_str(head.len(), publication.as_deref().unwrap_or_default());
                write_whole(&path, &text)?;
                match older.map(std::fs::remove_file) {
                    Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                        Err(anyhow::Error::from(error).context("an older copy cannot be removed"))
                    }
                    Some(_) | None => Ok(()),
                }
            });
            if let Err(error) = outcome.await {
                notice(
                    Severity::Error,
                    format_args!("series '{name}' is not kept as it should be: {error:#}"),
                );
            }
        }
    }

    /// Under which name the column of such a series is shared.
    fn published(&self, definition: Definition) -> Option<PrivateName> {
        let fleet = self.fleet.as_ref()?;
        definition.mode.filter(|mode| self.shares_named(*mode)).map(|_| fleet.settings().shared_name.clone())
    }

    /// Takes back what was kept of a series that has just been defined. Nothing was kept: nothing happens.
    pub(crate) async fn restore(
        &self,
        name: &str,
        monitor: Monitor,
        definition: Definition,
    ) -> anyhow::Result<Loaded> {
        let directory = self.options().serialize_dir;
        let (plain, beside) =
            (directory.join(file::stem(name)), directory.join(file::stem_beside(name, monitor)));
        let text = on_disk(move || {
            let read = |path: &Path| -> anyhow::Result<Option<String>> {
                if !path.exists() {
                    return Ok(None);
                }
                let text = read_whole(path)?;
                let (header, _) = file::read(&text).with_context(|| path.display().to_string())?;
                // What was kept of another series of that name.
                if header.monitor != monitor {
                    return Ok(None);
                }
                anyhow::ensure!(
                    header.kind == definition.kind,
                    "{} counts by {}, the series by {}",
                    path.display(),
                    header.kind.word(),
                    definition.kind.word()
                );
                Ok(Some(text))
            };
            match read(&plain) {
                Ok(Some(text)) => Ok(Some(text)),
                Ok(None) => read(&beside),
                Err(error) => read(&beside).ok().flatten().map(Some).ok_or(error),
            }
        })
        .await?;
        let Some(text) = text else { return Ok(Loaded::default()) };
        let before = file::published(&text);
        let id = SeriesId { name, kind: definition.kind, monitor };
        // Held from here on, so that nothing of it is written in between.
        let mut written = self.written.lock().await;
        let loaded = self.take(id, definition.mode, &text, before.as_ref())?;
        if definition.serialize {
            // It was written before it was kept.
            let journal = written
                .entry((name.to_owned(), monitor))
                .or_insert_with(|| Journal::new(name, definition.kind, monitor));
            for entry in file::read(&text)?.1.flatten() {
                journal.seed(entry.begin, entry.key.key(), entry.count);
            }
        }
        Ok(loaded)
    }

    /// Loads a file into the own column of a series, adding to its windows.
    pub(crate) async fn load(&self, name: &str, file: Option<&str>) -> anyhow::Result<Loaded> {
        let options = self.options();
        let path: PathBuf = match file {
            None => options.serialize_dir.join(file::stem(name)),
            // An absolute path replaces the directory.
            Some(file) => options.log_dir.join(file),
        };
        let text = on_disk(move || read_whole(&path)).await?;
        let (header, _) = file::read(&text)?;
        let definition = self.definition(name, header.monitor).unwrap_or(Definition::plain(header.kind));
        anyhow::ensure!(
            definition.kind.word() == header.kind.word(),
            "the series counts by {}, the file by {}",
            definition.kind.word(),
            header.kind.word()
        );
        let id = SeriesId { name, kind: definition.kind, monitor: header.monitor };
        self.take(id, definition.mode, &text, None)
    }

    /// Counts the entries of a file, all or none of them.
    fn take(
        &self,
        id: SeriesId<'_>,
        mode: Option<Mode>,
        text: &str,
        replaces: Option<&PrivateName>,
    ) -> anyhow::Result<Loaded> {
        super::reserved(id.name)?;
        let (_, entries) = file::read(text)?;
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let now = clock::monotonic();
        let oldest = id.monitor.oldest(clock::wall());
        let mut loaded = Loaded::default();
        let mut fresh = Vec::new();
        for entry in &entries {
            if entry.begin < oldest {
                loaded.old += 1;
            } else {
                loaded.entries += 1;
                fresh.push(entry);
            }
        }
        if let (Some(mode), Some(fleet)) = (mode, &self.fleet)
            && self.shares_named(mode)
        {
            // In one go: what replaces a column leaves in the message that says so.
            fleet.counting(|replica| {
                for entry in fresh {
                    replica.count_named(now, mode, id, entry.key.key(), entry.count, entry.begin)?;
                }
                if let Some(before) = replaces {
                    replica.replace_named(now, id, before);
                }
                Ok::<(), postfleet_replica::CountError>(())
            })?;
            return Ok(loaded);
        }
        let mut inner = self.locked();
        for entry in fresh {
            inner.local.add(id, entry.key.key(), entry.count, entry.begin)?;
        }
        Ok(loaded)
    }
}

/// Writes what a look has found to be otherwise; without a change there is no file. The journal is gone when the task that
/// held it is.
pub(super) async fn write_changes(
    mut journal: Journal,
    path: PathBuf,
) -> (Option<Journal>, anyhow::Result<()>) {
    // Making the text of a million keys takes its time, as a disk does.
    let task = tokio::task::spawn_blocking(move || {
        let outcome = journal.text(clock::wall()).map_or(Ok(()), |text| write_whole(&path, &text));
        if outcome.is_ok() {
            journal.written();
        }
        (Some(journal), outcome)
    });
    task.await.unwrap_or_else(|error| (None, Err(error.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_series_lead_nowhere_else() {
        let check = |series: &str, file: &str| assert_eq!(file::stem(series), file);
        check("spam", "spam");
        check("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd");
        check(".", "%2E");
        check("a.b c", "a.b c");
        check("a%2F\n", "a%252F%0A");
    }
}
