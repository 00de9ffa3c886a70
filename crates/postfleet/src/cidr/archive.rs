//! Files of series in one directory: which there are, what they have, and what of it is kept in memory.

use anyhow::Context as _;
use postfleet_series::file::{self, EntryKey};
use postfleet_series::query::{Answer, Count, Row};
use postfleet_types::WallTime;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Cells of files that are kept in memory, at 32 bytes each: 64 MiB.
const CELLS_KEPT: usize = 2 << 20;

/// A file of one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeriodFile {
    pub(crate) end: WallTime,
    pub(crate) path: PathBuf,
}

/// What a file counts by address, over its windows.
type Cells = Rc<Vec<(IpAddr, i64)>>;

/// A file that was read.
#[derive(Clone, Debug)]
struct Read {
    /// Those before it, from this time on, are in it.
    covers: Option<WallTime>,
    /// None: it counts by text.
    cells: Option<Cells>,
}

struct Kept {
    /// A file that has changed is read again.
    changed: (u64, Option<SystemTime>),
    read: Read,
    used: u64,
}

/// The files of a directory.
pub(crate) struct Archive {
    directory: PathBuf,
    kept: BTreeMap<PathBuf, Kept>,
    uses: u64,
}

impl Archive {
    pub(crate) const fn new(directory: PathBuf) -> Self {
        Self { directory, kept: BTreeMap::new(), uses: 0 }
    }

    /// All files, by series, oldest first.
    pub(crate) fn files(&self) -> anyhow::Result<BTreeMap<String, Vec<PeriodFile>>> {
        files(&self.directory)
    }

    /// The names of the files that are kept in memory.
    pub(crate) fn cached(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        self.kept.keys().filter_map(name).collect()
    }

    /// Answers a question for counts.
    pub(crate) fn count(&mut self, question: &Count) -> anyhow::Result<Vec<Row>> {
        let files = self.files()?;
        let mut answer = Answer::new(question);
        for (at, series) in question.series.iter().enumerate() {
            let list = files.get(series).with_context(|| format!("no such series '{series}'"))?;
            let mut covered = None;
            // From the newest on: a merged file has what those before it had.
            for file in list.iter().rev() {
                if covered.is_some_and(|covered| file.end >= covered) {
                    continue;
                }
                let read = self.read(&file.path)?;
                covered = read.covers.or(covered);
                if !question.span.contains(file.end) {
                    continue;
                }
                let Some(cells) = read.cells else {
                    anyhow::bail!("series '{series}' counts by text, not by address");
                };
                for (address, count) in cells.iter() {
                    answer.add(at, file.end, *address, *count);
                }
            }
        }
        Ok(answer.rows())
    }

    fn read(&mut self, path: &Path) -> anyhow::Result<Read> {
        let told = || format!("cannot read {}", path.display());
        let metadata = std::fs::metadata(path).with_context(told)?;
        anyhow::ensure!(
            metadata.len() <= FILE_BYTES_MAX,
            "{} is longer than {FILE_BYTES_MAX} bytes",
            path.display()
        );
        let changed = (metadata.len(), metadata.modified().ok());
        self.uses += 1;
        if let Some(kept) = self.kept.get_mut(path).filter(|kept| kept.changed == changed) {
            kept.used = self.uses;
            return Ok(kept.read.clone());
        }
        let text = std::fs::read_to_string(path).with_context(told)?;
        let read = parse(&text).with_context(|| path.display().to_string())?;
        self.kept.insert(path.to_owned(), Kept { changed, read: read.clone(), used: self.uses });
        self.forget();
        Ok(read)
    }

    /// Forgets files that were used longest ago while there is too much.
    fn forget(&mut self) {
        let cells = |kept: &Kept| kept.read.cells.as_ref().map_or(1, |cells| cells.len() + 1);
        let mut held: usize = self.kept.values().map(cells).sum();
        while held > CELLS_KEPT {
            let Some(oldest) =
                self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(path, _)| path.clone())
            else {
                return;
            };
            held -= self.kept.remove(&oldest).as_ref().map_or(0, cells);
        }
    }
}

fn parse(text: &str) -> anyhow::Result<Read> {
    let (_, entries) = file::read(text)?;
    let mut sums: BTreeMap<IpAddr, i64> = BTreeMap::new();
    let mut texts = false;
    for entry in entries {
        let entry = entry?;
        match entry.key {
            EntryKey::Address(address) => *sums.entry(address).or_insert(0) += entry.count,
            EntryKey::Text(_) => texts = true,
        }
    }
    let cells = (!texts).then(|| Rc::new(sums.into_iter().collect()));
    Ok(Read { covers: file::merged(text), cells })
}

/// All files of a directory that have names of series files, by series, oldest first.
pub(crate) fn files(directory: &Path) -> anyhow::Result<BTreeMap<String, Vec<PeriodFile>>> {
    let told = || {
        format!(
            "cannot read {}; --base-dir names the directory that as_logger writes to",
            directory.display()
        )
    };
    let mut files: BTreeMap<String, Vec<PeriodFile>> = BTreeMap::new();
    for entry in std::fs::read_dir(directory).with_context(told)? {
        let entry = entry.with_context(told)?;
        if let Some((series, end)) = entry.file_name().to_str().and_then(file::split_name) {
            files.entry(series).or_default().push(PeriodFile { end, path: entry.path() });
        }
    }
    for list in files.values_mut() {
        list.sort_by_key(|file| file.end);
    }
    Ok(files)
}
