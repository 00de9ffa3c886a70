//! Series in files: changes that are written at each maintenance, columns that are kept over an orderly restart, and files
//! that the console loads.
//!
//! A file is written beside its place, synced and renamed, so that nobody ever reads half of one.

use super::{Audit, Cells, Definition, Name};
use crate::clock;
use crate::notices::{Severity, notice};
use anyhow::Context as _;
use postfleet_replica::{Key, Mode, Monitor, SeriesId, SeriesKind};
use postfleet_series::file;
use postfleet_types::{PrivateName, WallTime};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

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

impl Audit {
    /// The own column of a series: what is counted here alone, and what is shared.
    fn own_cells(&self, name: &str, monitor: Monitor) -> Cells {
        let mut cells = Cells::new();
        let mut take = |begin: WallTime, key: Key<'_>, count: i64| {
            *cells.entry((begin.unix_seconds(), key.to_string())).or_insert(0) += count;
        };
        self.locked().local.each_own(name, monitor, &mut take);
        if let Some(fleet) = &self.fleet {
            fleet.replica(|replica| {
                for mode in [Mode::Cluster, Mode::Managers] {
                    if let Some(metrics) = replica.shared_series(mode, name) {
                        metrics.each_own(name, monitor, &mut take);
                    }
                }
            });
        }
        cells.retain(|_, count| *count != 0);
        cells
    }

    fn with(&self, chosen: impl Fn(&Definition) -> bool) -> Vec<(Name, Definition)> {
        let inner = self.locked();
        inner.defined.iter().filter(|(_, of)| chosen(of)).map(|(name, of)| (name.clone(), *of)).collect()
    }

    /// Writes what has changed since the last time, of series that are to be written: `<log_dir>/<series>.<timestamp>`.
    pub(crate) async fn serialize(&self) {
        for ((name, monitor), definition) in self.with(|definition| definition.serialize) {
            let now = self.own_cells(&name, monitor);
            let key = (name.clone(), monitor);
            let before = self.locked().written.get(&key).cloned().unwrap_or_default();
            let text = changes(&name, definition.kind, monitor, &before, &now);
            if let Some(text) = text {
                let path = self.options().log_dir.join(file::name(&name, clock::wall()));
                if let Err(error) = on_disk(move || write_whole(&path, &text)).await {
                    notice(
                        Severity::Error,
                        format_args!("series '{name}': {error:#}; trying again at the next maintenance"),
                    );
                    continue;
                }
            }
            self.locked().written.insert(key, now);
        }
    }

    /// Keeps the series that are to be kept, at an orderly stop: `<serialize_dir>/<series>`.
    pub(crate) async fn save(&self) {
        for ((name, monitor), definition) in self.with(|definition| definition.persist) {
            let mut text = file::head(&name, definition.kind, monitor);
            if let Some(own) = self.published(definition) {
                text.push_str(&file::publication(&own));
            }
            for ((begin, key), count) in self.own_cells(&name, monitor) {
                add_line(&mut text, definition.kind, begin, &key, count);
            }
            let path = self.options().serialize_dir.join(file::stem(&name));
            if let Err(error) = on_disk(move || write_whole(&path, &text)).await {
                notice(Severity::Error, format_args!("series '{name}' is not kept: {error:#}"));
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
        let path = self.options().serialize_dir.join(file::stem(name));
        if !path.exists() {
            return Ok(Loaded::default());
        }
        let text = on_disk(move || read_whole(&path)).await?;
        let (header, _) = file::read(&text)?;
        anyhow::ensure!(
            (header.kind, header.monitor) == (definition.kind, monitor),
            "what was kept of series '{name}' has other windows or another type; it is left alone"
        );
        let before = file::published(&text);
        self.take(SeriesId { name, kind: definition.kind, monitor }, definition.mode, &text, before.as_ref())
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
        let oldest = {
            let current = id.monitor.index(clock::wall().unix_seconds());
            id.monitor.begin(current.saturating_sub(id.monitor.number().into()))
        };
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

fn add_line(text: &mut String, kind: SeriesKind, begin: u64, key: &str, count: i64) {
    let begin = WallTime::from_unix_seconds(begin);
    match kind {
        SeriesKind::Text => file::line(text, begin, Key::Text(key), count),
        SeriesKind::Cidr | SeriesKind::CidrIpv6 | SeriesKind::Clients => {
            if let Ok(address) = key.parse() {
                file::line(text, begin, Key::Address(address), count);
            }
        }
    }
}

/// What has changed between two looks at a column; `None` when nothing has. A window that has left the series is no change.
fn changes(name: &str, kind: SeriesKind, monitor: Monitor, before: &Cells, now: &Cells) -> Option<String> {
    let mut text = file::head(name, kind, monitor);
    let head = text.len();
    let oldest = now.keys().next().map(|(begin, _)| *begin);
    let mut deltas: BTreeMap<&(u64, String), i64> = now.iter().map(|(cell, count)| (cell, *count)).collect();
    for (cell, count) in before {
        if oldest.is_some_and(|oldest| cell.0 >= oldest) {
            *deltas.entry(cell).or_insert(0) -= count;
        }
    }
    for ((begin, key), delta) in deltas.into_iter().filter(|(_, delta)| *delta != 0) {
        add_line(&mut text, kind, *begin, key, delta);
    }
    (text.len() > head).then_some(text)
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

    #[test]
    fn changes_are_what_came_since_the_last_look() {
        let monitor = Monitor::new(60, 2).unwrap();
        let cells = |list: &[(u64, &str, i64)]| -> Cells {
            list.iter().map(|(begin, key, count)| ((*begin, (*key).to_owned()), *count)).collect()
        };
        let before = cells(&[(60, "a", 1), (120, "a", 2), (120, "b", 5)]);
        let now = cells(&[(120, "a", 2), (120, "b", 4), (180, "a", 7)]);
        let text = changes("s", SeriesKind::Text, monitor, &before, &now);
        assert_eq!(text.as_deref(), Some("# series s string 60 2\n120\tb\t-1\n180\ta\t7\n"));
        assert_eq!(changes("s", SeriesKind::Text, monitor, &now, &now), None);
    }
}
