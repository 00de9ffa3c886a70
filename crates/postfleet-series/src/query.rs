//! Questions about series in files, as operators type them, and how they are answered.
//!
//! ```text
//! show available
//! show count for CIDR in SERIES[, SERIES …] [clauses]
//! show count for CIDR in union(SERIES[, SERIES …]) [clauses]
//! cache details
//!
//! from DATE to DATE | on DATE | since DATE      cidrsize N | cidrsize N to M
//! order by cidr | order by count                aggregate | aggregate daily
//! limit N                                       threshold N
//! ```

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::IpAddr;

use postfleet_types::{Prefix, WallTime};

use crate::file;

/// The seconds of a day.
const DAY: u64 = 86_400;

/// The most series that one question names.
const SERIES_MAX: usize = 64;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which series there are, and since when.
    Available,
    /// Counts.
    Count(Count),
    /// Which files are kept in memory.
    Cache,
}

/// A question for counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The addresses.
    pub prefix: Prefix,
    /// The series, in the order of the answer.
    pub series: Vec<String>,
    /// Whether they are added up.
    pub union: bool,
    /// The periods.
    pub span: Span,
    sizes: Option<(u8, u8)>,
    by_count: bool,
    sum: Option<Sum>,
    limit: Option<usize>,
    threshold: Option<u64>,
}

/// Which periods are asked for, by when they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    after: Option<WallTime>,
    until: Option<WallTime>,
}

impl Span {
    /// Whether a period that ended then is asked for.
    #[must_use]
    pub fn contains(self, end: WallTime) -> bool {
        self.after.is_none_or(|after| end > after) && self.until.is_none_or(|until| end <= until)
    }
}

/// What `aggregate` adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sum {
    Everything,
    Days,
}

/// What could not be understood. The question is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// A word that does not belong where it is.
    #[error("syntax error at '{0}'")]
    At(String),
    /// The line ends too soon.
    #[error("syntax error at the end of the line: {0} is missing")]
    End(&'static str),
}

impl core::str::FromStr for Question {
    type Err = SyntaxError;

    fn from_str(line: &str) -> Result<Self, SyntaxError> {
        let mut words = Words { rest: line };
        let question = if words.take("cache") {
            words.expect("details")?;
            Self::Cache
        } else {
            words.expect("show")?;
            if words.take("available") {
                Self::Available
            } else {
                words.expect("count")?;
                Self::Count(count(&mut words)?)
            }
        };
        match words.next() {
            None => Ok(question),
            Some(word) => Err(word.error()),
        }
    }
}

/// One word of a line. Words that were quoted are names, whatever they say.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    quoted: bool,
}

impl Word<'_> {
    fn is(self, word: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(word)
    }

    fn error(self) -> SyntaxError {
        SyntaxError::At(self.text.into())
    }
}

#[derive(Clone, Copy)]
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<Word<'a>> {
        let rest = self.rest.trim_start();
        let first = rest.chars().next()?;
        if first == '"'
            && let Some((text, behind)) = rest.get(1..).and_then(|rest| rest.split_once('"'))
        {
            self.rest = behind;
            return Some(Word { text, quoted: true });
        }
        let end = match first {
            ',' | '(' | ')' | '"' => 1,
            _ => rest
                .find(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | '"'))
                .unwrap_or(rest.len()),
        };
        let (text, behind) = rest.split_at_checked(end)?;
        self.rest = behind;
        Some(Word { text, quoted: false })
    }

    /// Takes the next word when it is this one.
    fn take(&mut self, word: &str) -> bool {
        let mut ahead = *self;
        let found = ahead.next().is_some_and(|next| next.is(word));
        if found {
            *self = ahead;
        }
        found
    }

    fn expect(&mut self, word: &'static str) -> Result<(), SyntaxError> {
        match self.next() {
            Some(next) if next.is(word) => Ok(()),
            Some(next) => Err(next.error()),
            None => Err(SyntaxError::End(word)),
        }
    }

    fn any(&mut self, what: &'static str) -> Result<Word<'a>, SyntaxError> {
        self.next().ok_or(SyntaxError::End(what))
    }

    fn number<T: core::str::FromStr>(&mut self) -> Result<T, SyntaxError> {
        let word = self.any("a number")?;
        word.text.parse().map_err(|_| word.error())
    }

    /// A time, and whether only its day was given.
    fn date(&mut self) -> Result<(WallTime, bool), SyntaxError> {
        let word = self.any("a date")?;
        file::timestamp(word.text).map(|at| (at, !word.text.contains('T'))).ok_or_else(|| word.error())
    }
}

fn count(words: &mut Words<'_>) -> Result<Count, SyntaxError> {
    words.expect("for")?;
    let word = words.any("a CIDR")?;
    let prefix: Prefix = word.text.parse().map_err(|_| word.error())?;
    words.expect("in")?;
    let union = {
        let mut ahead = *words;
        let union = ahead.take("union") && ahead.take("(");
        if union {
            *words = ahead;
        }
        union
    };
    let mut series = Vec::new();
    loop {
        let word = words.any("a series")?;
        if !word.quoted && matches!(word.text, "," | "(" | ")") || series.len() == SERIES_MAX {
            return Err(word.error());
        }
        series.push(word.text.to_string());
        if !words.take(",") {
            break;
        }
    }
    if union {
        words.expect(")")?;
    }
    let mut count = Count {
        prefix,
        series,
        union,
        span: Span::default(),
        sizes: None,
        by_count: false,
        sum: None,
        limit: None,
        threshold: None,
    };
    let mut given: Vec<&str> = Vec::new();
    let mut ahead = *words;
    while let Some(word) = ahead.next() {
        let clause = clause(word, &mut ahead, &mut count)?;
        // Each clause once.
        if given.contains(&clause) {
            return Err(word.error());
        }
        given.push(clause);
        *words = ahead;
    }
    Ok(count)
}

/// Reads one clause; returns which it is.
fn clause(word: Word<'_>, words: &mut Words<'_>, count: &mut Count) -> Result<&'static str, SyntaxError> {
    let after = |seconds: u64, at: WallTime| WallTime::from_unix_seconds(at.unix_seconds() + seconds);
    if word.is("from") {
        let (from, _) = words.date()?;
        words.expect("to")?;
        let (to, whole) = words.date()?;
        count.span = Span { after: Some(from), until: Some(if whole { after(DAY, to) } else { to }) };
        Ok("span")
    } else if word.is("on") {
        let day = words.any("a date")?;
        let from =
            file::timestamp(day.text).filter(|_| !day.text.contains('T')).ok_or_else(|| day.error())?;
        count.span = Span { after: Some(from), until: Some(after(DAY, from)) };
        Ok("span")
    } else if word.is("since") {
        count.span = Span { after: Some(words.date()?.0), until: None };
        Ok("span")
    } else if word.is("cidrsize") {
        let first = size(words, count.prefix)?;
        let second = if words.take("to") { size(words, count.prefix)? } else { first };
        count.sizes = Some((first.min(second), first.max(second)));
        Ok("cidrsize")
    } else if word.is("order") {
        words.expect("by")?;
        let by = words.any("cidr or count")?;
        count.by_count = by.is("count");
        if !count.by_count && !by.is("cidr") {
            return Err(by.error());
        }
        Ok("order")
    } else if word.is("aggregate") {
        count.sum = Some(if words.take("daily") { Sum::Days } else { Sum::Everything });
        Ok("aggregate")
    } else if word.is("limit") {
        count.limit = Some(words.number()?);
        Ok("limit")
    } else if word.is("threshold") {
        count.threshold = Some(words.number()?);
        Ok("threshold")
    } else {
        Err(word.error())
    }
}

/// The length of a block of the family that is asked for.
fn size(words: &mut Words<'_>, of: Prefix) -> Result<u8, SyntaxError> {
    let word = words.any("a number")?;
    let size = word.text.parse::<u8>().ok().filter(|size| *size <= Prefix::bits(of.address()));
    size.ok_or_else(|| word.error())
}

/// One row of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is about.
    pub of: Of,
    /// A count for each series of the question, one for a union.
    pub counts: Vec<u64>,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Addresses.
    Block(Prefix),
    /// A day, by its beginning.
    Day(WallTime),
}

impl Row {
    /// As it is printed.
    #[must_use]
    pub fn line(&self) -> String {
        let joined = || self.counts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match (self.of, self.counts.as_slice()) {
            (Of::Block(block), [count]) => alloc::format!("{:<19}:{count:>10}", block.to_string()),
            (Of::Block(block), _) => alloc::format!("{:<19}: {}", block.to_string(), joined()),
            (Of::Day(day), _) => alloc::format!("{} : {}", day_text(day), joined()),
        }
    }
}

/// A day: `20080423`.
#[must_use]
pub fn day_text(day: WallTime) -> String {
    file::stamp(day).split('T').next().unwrap_or_default().into()
}

/// An answer that is being put together.
#[derive(Debug)]
pub struct Answer<'a> {
    question: &'a Count,
    blocks: BTreeMap<(u8, IpAddr), Vec<i64>>,
    days: BTreeMap<u64, Vec<i64>>,
}

impl<'a> Answer<'a> {
    /// With nothing counted yet.
    #[must_use]
    pub const fn new(question: &'a Count) -> Self {
        Self { question, blocks: BTreeMap::new(), days: BTreeMap::new() }
    }

    /// Adds what the series at that place of the question counted in a period that ended then. What is not asked for
    /// is left out.
    pub fn add(&mut self, series: usize, end: WallTime, address: IpAddr, count: i64) {
        let question = self.question;
        if !question.prefix.contains(address) || !question.span.contains(end) {
            return;
        }
        let width = if question.union { 1 } else { question.series.len() };
        let column = if question.union { 0 } else { series };
        let add = |cells: &mut Vec<i64>| {
            cells.resize(width, 0);
            if let Some(cell) = cells.get_mut(column) {
                *cell = cell.saturating_add(count);
            }
        };
        match question.sum {
            // The period that ends at midnight belongs to the day before.
            Some(Sum::Days) => {
                let day = end.unix_seconds().saturating_sub(1) / DAY * DAY;
                add(self.days.entry(day).or_default());
            }
            Some(Sum::Everything) => {
                add(self.blocks.entry((question.prefix.length(), question.prefix.address())).or_default());
            }
            None => {
                let all = Prefix::bits(address);
                let (low, high) = question.sizes.unwrap_or((all, all));
                for size in low..=high {
                    if let Ok(block) = Prefix::containing(address, size) {
                        add(self.blocks.entry((size, block.address())).or_default());
                    }
                }
            }
        }
    }

    /// The rows. A sum below 0 is 0; blocks in which everything is 0 are left out.
    #[must_use]
    pub fn rows(self) -> Vec<Row> {
        let question = self.question;
        let clamp = |cells: &[i64]| -> Vec<u64> {
            cells.iter().map(|count| u64::try_from(*count).unwrap_or(0)).collect()
        };
        let mut rows: Vec<Row> = match question.sum {
            Some(Sum::Days) => {
                let day = |seconds: &u64| Of::Day(WallTime::from_unix_seconds(*seconds));
                self.days.iter().map(|(of, cells)| Row { of: day(of), counts: clamp(cells) }).collect()
            }
            Some(Sum::Everything) => {
                let width = if question.union { 1 } else { question.series.len() };
                let counts =
                    self.blocks.values().next().map_or_else(|| alloc::vec![0; width], |cells| clamp(cells));
                Vec::from([Row { of: Of::Block(question.prefix), counts }])
            }
            None => {
                let row = |((size, address), cells): (&(u8, IpAddr), &Vec<i64>)| {
                    let block = Prefix::containing(*address, *size).ok()?;
                    let counts = clamp(cells);
                    counts.iter().any(|count| *count > 0).then_some(Row { of: Of::Block(block), counts })
                };
                self.blocks.iter().filter_map(row).collect()
            }
        };
        if let Some(threshold) = question.threshold {
            rows.retain(|row| row.counts.iter().any(|count| *count >= threshold));
        }
        if question.by_count {
            // Blocks of one size stay together; of equal counts the lower address is first.
            rows.sort_by_key(|row| {
                let size = match row.of {
                    Of::Block(block) => block.length(),
                    Of::Day(_) => 0,
                };
                (size, Reverse(row.counts.first().copied()))
            });
        }
        rows.truncate(question.limit.unwrap_or(usize::MAX));
        rows
    }
}

/// Entry point of the fuzz target: a question, then the text of a file that is asked.
pub fn fuzz(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (_, _) = (file::published(rest), file::merged(rest));
    if let Some((series, at)) = file::split_name(line) {
        assert_eq!(file::split_name(&file::name(&series, at)), Some((series, at)));
    }
    let question = line.parse::<Question>();
    let Ok((header, entries)) = file::read(rest) else { return };
    let entries: Vec<_> = entries.flatten().collect();
    // What was read is written and read again.
    let mut again = file::head(&header.name, header.kind, header.monitor);
    entries.iter().for_each(|entry| file::line(&mut again, entry.begin, entry.key.key(), entry.count));
    let read = file::read(&again).map(|(header, entries)| (header, entries.flatten().count()));
    assert_eq!(read, Ok((header, entries.len())));
    let Ok(Question::Count(count)) = question else { return };
    let mut answer = Answer::new(&count);
    for entry in &entries {
        if let file::EntryKey::Address(address) = entry.key {
            answer.add(0, entry.begin, address, entry.count);
        }
    }
    let rows = answer.rows();
    assert!(count.limit.is_none_or(|limit| rows.len() <= limit));
    assert!(rows.iter().all(|row| !row.line().is_empty()));
}

#[cfg(test)]
mod tests;
