//! `as_logger`: what the fleet counted in its series, in files of one period each.
//!
//! Copies of columns stay as they are: a file has what has changed since the one before it, so that whatever else reads a
//! series is not disturbed. Series are read in pieces, each under the replica's lock for a moment.

use super::Audit;
use super::files::{PIECE_KEYS, look, on_disk, read_whole, write_changes};
use crate::clock;
use crate::node::Node;
use crate::notices::{Severity, notice};
use postfleet_config::AsLoggerSettings;
use postfleet_replica::{Mode, Monitor, Reading};
use postfleet_series::{Journal, file};
use postfleet_types::WallTime;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a period that has ended waits for counts of other nodes that are on their way.
const COMPLETE_WITHIN: Duration = Duration::from_secs(10);

/// What was written, by series.
#[derive(Debug, Default)]
pub(super) struct Journals {
    by_name: BTreeMap<String, (Monitor, Journal)>,
    /// The latest period that was written.
    last: Option<WallTime>,
}

/// Writes a file for each period that ends, for as long as the node lives.
pub(crate) async fn keep(node: Arc<Node>) {
    let mut next = None;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let Some(options) = node.audit.options().journal else {
            *node.audit.journals.lock().await = Journals::default();
            next = None;
            continue;
        };
        // Periods end at multiples of the interval, on all nodes.
        let interval = options.log_interval.as_secs().max(1);
        let following =
            |now: WallTime| WallTime::from_unix_seconds((now.unix_seconds() / interval + 1) * interval);
        let now = clock::wall();
        match next {
            Some(end) if now < end && end <= following(now) => {}
            Some(end) if now >= end => {
                let patience = clock::monotonic() + COMPLETE_WITHIN;
                while !node.audit.complete() && clock::monotonic() < patience {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                node.audit.end_period(end).await;
                next = Some(following(clock::wall()));
            }
            // The first, or another interval.
            Some(_) | None => next = Some(following(now)),
        }
    }
}

impl Audit {
    /// Whether all nodes' counts are here.
    fn complete(&self) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| {
            fleet.shared().connected && fleet.replica(postfleet_replica::Replica::cluster_series_complete)
        })
    }

    /// Writes what was counted in the period that ends then. While others' counts are on their way nothing is written: it is
    /// in the next file.
    pub(crate) async fn end_period(&self, end: WallTime) {
        let Some(options) = self.options().journal else { return };
        let mut journals = self.journals.lock().await;
        if !self.complete() || journals.last.is_some_and(|last| last >= end) {
            return;
        }
        journals.last = Some(end);
        for (name, chosen) in self.chosen(&options) {
            let directory = Path::new(&options.base_dir);
            let journal = match journals.by_name.remove(&name) {
                Some((monitor, journal)) if monitor == chosen.monitor => journal,
                Some(_) | None => self.begin(directory, &name, &chosen).await,
            };
            let journal = self.write(directory, &name, &chosen, journal, end).await;
            journals.by_name.insert(name, (chosen.monitor, journal));
        }
    }

    /// The series to write, each with one of its windows: the shortest, which tell most.
    fn chosen(&self, options: &AsLoggerSettings) -> BTreeMap<String, Chosen> {
        let mut chosen: BTreeMap<String, Chosen> = BTreeMap::new();
        let list = self.fleet.as_ref().map(|fleet| fleet.replica(postfleet_replica::Replica::cluster_series));
        for (row, snapped) in list.unwrap_or_default() {
            if !options.includes(&row.name) {
                continue;
            }
            // Ascending by windows, so the first has the shortest.
            let of = Chosen { monitor: row.monitor, kind: row.kind, snapped };
            chosen.entry(row.name).or_insert(of);
        }
        chosen
    }

    /// What the files have already of windows that are still counted in, where the copy outlived the process: nodes that come
    /// are told.
    async fn begin(&self, directory: &Path, name: &str, chosen: &Chosen) -> Journal {
        let mut journal = Journal::new(name, chosen.kind, chosen.monitor);
        if !chosen.snapped {
            return journal;
        }
        let monitor = chosen.monitor;
        let oldest = monitor.oldest(clock::wall());
        let (directory, name) = (directory.to_owned(), name.to_owned());
        let asked = name.clone();
        let texts = on_disk(move || texts_since(&directory, &asked, oldest)).await;
        match texts {
            Ok(texts) => {
                for text in &texts {
                    let Ok((header, entries)) = file::read(text) else { continue };
                    if header.monitor != monitor {
                        continue;
                    }
                    for entry in entries.flatten().filter(|entry| entry.begin >= oldest) {
                        journal.seed(entry.begin, entry.key.key(), entry.count);
                    }
                }
            }
            Err(error) => notice(
                Severity::Warning,
                format_args!(
                    "as_logger: series '{name}': {error:#}; what earlier files have of the windows now counted in will be \
                     written again"
                ),
            ),
        }
        journal
    }

    async fn write(
        &self,
        directory: &Path,
        name: &str,
        chosen: &Chosen,
        mut journal: Journal,
        end: WallTime,
    ) -> Journal {
        let monitor = chosen.monitor;
        let Some(fleet) = &self.fleet else { return journal };
        look(&mut journal, |from, visit| {
            fleet.replica(|replica| {
                let metrics = replica.shared_series(Mode::Cluster, name)?;
                metrics.piece(Reading::Global, name, monitor, from, PIECE_KEYS, visit)
            })
        })
        .await;
        let path = directory.join(file::name(name, end));
        let (journal, outcome) = write_changes(journal, path).await;
        if let Err(error) = outcome {
            notice(
                Severity::Error,
                format_args!(
                    "as_logger: series '{name}': {error:#}; trying again at the end of the next period"
                ),
            );
        }
        journal.unwrap_or_else(|| Journal::new(name, chosen.kind, monitor))
    }
}

/// One of the series of a name.
struct Chosen {
    monitor: Monitor,
    kind: postfleet_replica::SeriesKind,
    snapped: bool,
}

/// The files of a series whose period ended after that, without those that a merged file replaces.
fn texts_since(directory: &Path, series: &str, since: WallTime) -> anyhow::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(anyhow::anyhow!("cannot read {}: {error}", directory.display())),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if let Some((name, end)) = name.to_str().and_then(file::split_name)
            && name == series
            && end > since
        {
            files.insert(end, entry.path());
        }
    }
    let mut texts = Vec::new();
    let mut covered = None;
    // From the newest on: a merged file has what those before it had.
    for (end, path) in files.into_iter().rev() {
        if covered.is_some_and(|covered| end >= covered) {
            continue;
        }
        let text = read_whole(&path)?;
        covered = file::merged(&text).or(covered);
        texts.push(text);
    }
    Ok(texts)
}
