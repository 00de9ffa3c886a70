//! `postfleet cidr-maintain`: the daily job that deletes old files and merges those of one day.

use super::archive::{PeriodFile, files};
use anyhow::Context as _;
use postfleet_series::file;
use postfleet_types::WallTime;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

const DAY: u64 = 86_400;

/// What the job is told.
pub(super) struct Job {
    pub(super) directory: PathBuf,
    /// Only these; none: all that are found.
    pub(super) series: Option<Vec<String>>,
    /// Older files are deleted, in days.
    pub(super) retention: u64,
    /// Files that are at least so many days old are merged; none: they stay as they are.
    pub(super) condense: Option<u64>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) deleted: usize,
    pub(super) merged: usize,
    pub(super) into: usize,
}

/// The day in which a period ended: one that ended at midnight is of the day before.
fn day(end: WallTime) -> u64 {
    end.unix_seconds().saturating_sub(1) / DAY
}

pub(super) fn run(job: &Job, now: WallTime) -> anyhow::Result<Done> {
    let mut done = Done::default();
    let found = files(&job.directory)?;
    if let Some(name) = job.series.iter().flatten().find(|name| !found.contains_key(*name)) {
        anyhow::bail!("no such series '{name}' in {}", job.directory.display());
    }
    let today = now.unix_seconds() / DAY;
    for (series, list) in found {
        if job.series.as_ref().is_some_and(|only| !only.contains(&series)) {
            continue;
        }
        let mut days: BTreeMap<u64, Vec<PeriodFile>> = BTreeMap::new();
        for period in list {
            if now.unix_seconds().saturating_sub(period.end.unix_seconds()) > job.retention * DAY {
                delete(&period.path)?;
                done.deleted += 1;
            } else {
                days.entry(day(period.end)).or_default().push(period);
            }
        }
        for (of, list) in days {
            // A day that still goes on is left alone.
            let old = job.condense.is_some_and(|days| today >= of + days.max(1));
            if old && list.len() > 1 {
                merge(&series, &list).with_context(|| format!("series '{series}'"))?;
                done.merged += list.len();
                done.into += 1;
            }
        }
    }
    Ok(done)
}

fn delete(path: &Path) -> anyhow::Result<()> {
    std::fs::remove_file(path).with_context(|| format!("cannot delete {}", path.display()))
}

/// Puts files of one day, oldest first, into one that takes the place of the last.
///
/// It says from which time on it has what others have. Stopped between its renaming and the end of their deletion, nothing is
/// counted twice, and the next run deletes the rest.
fn merge(series: &str, list: &[PeriodFile]) -> anyhow::Result<()> {
    let (Some(first), Some(last)) = (list.first(), list.last()) else { return Ok(()) };
    let mut head = None;
    let mut cells: BTreeMap<(WallTime, String), i64> = BTreeMap::new();
    let mut from = first.end;
    let mut covered = None;
    for period in list.iter().rev() {
        if covered.is_some_and(|covered| period.end >= covered) {
            continue;
        }
        let text = std::fs::read_to_string(&period.path)
            .with_context(|| format!("cannot read {}", period.path.display()))?;
        if let Some(begin) = file::merged(&text) {
            covered = Some(begin);
            from = from.min(begin);
        }
        let (header, entries) = file::read(&text).with_context(|| period.path.display().to_string())?;
        let known = head.get_or_insert((header.kind, header.monitor));
        if *known != (header.kind, header.monitor) {
            // Other windows, or another type: the series was defined anew. Both stay as they are.
            return Ok(());
        }
        for entry in entries {
            let entry = entry.with_context(|| period.path.display().to_string())?;
            let mut line = String::new();
            file::line(&mut line, entry.begin, entry.key.key(), 0);
            *cells.entry((entry.begin, line)).or_insert(0) += entry.count;
        }
    }
    let Some((kind, monitor)) = head else { return Ok(()) };
    let mut text = file::head(series, kind, monitor);
    text.push_str(&file::merger(from));
    for ((_, line), count) in cells.iter().filter(|(_, count)| **count != 0) {
        // The line ends in the count, which was 0.
        text.push_str(line.strip_suffix("0\n").unwrap_or(line));
        text.push_str(&format!("{count}\n"));
    }
    let mut beside = last.path.as_os_str().to_owned();
    beside.push(".new");
    let write = || {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &last.path)?;
        last.path.parent().map_or(Ok(()), |directory| std::fs::File::open(directory)?.sync_all())
    };
    write().with_context(|| format!("cannot write {}", last.path.display()))?;
    list.iter().filter(|period| period.path != last.path).try_for_each(|period| delete(&period.path))
}
