//! Series as text: what is written to `<series>.<timestamp>` and read back.
//!
//! ```text
//! # series <name> <type> <interval> <number>
//! <window start, seconds since the epoch> TAB <address or key> TAB <count>
//! ```
//!
//! UTF-8, one line a window and key. In names and keys `%`, blanks that would split the line and control characters are
//! written as `%` and two hexadecimal digits.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt::Write;
use core::net::IpAddr;

use postfleet_types::{PrivateName, View, WallTime};

use crate::monitor::{Monitor, MonitorError};
use crate::series::{Key, Series, SeriesKind};

/// The longest line that is read. Keys of policies are far shorter.
const LINE_BYTES_MAX: usize = 65_536;

/// What begins the second line of a file whose column was shared.
const PUBLISHED: &str = "# published ";

/// What begins the second line of a file that was merged from others.
const MERGED: &str = "# merged from ";

/// The first line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Name of the series.
    pub name: String,
    /// What it counts by.
    pub kind: SeriesKind,
    /// Its windows.
    pub monitor: Monitor,
}

/// One line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When the window begins.
    pub begin: WallTime,
    /// What was counted.
    pub key: EntryKey<'a>,
    /// How often; may be negative.
    pub count: i64,
}

/// A key as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKey<'a> {
    /// An address.
    Address(IpAddr),
    /// A text.
    Text(Cow<'a, str>),
}

impl EntryKey<'_> {
    /// The key to book.
    #[must_use]
    pub fn key(&self) -> Key<'_> {
        match self {
            Self::Address(address) => Key::Address(*address),
            Self::Text(text) => Key::Text(text),
        }
    }
}

/// Why a file could not be read on. The file is at fault; lines before hold. `line` counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The first line is not a header.
    #[error("line 1: expected '# series NAME TYPE INTERVAL NUMBER'")]
    Header,
    /// The type is unknown.
    #[error("line 1: the type must be cidr, cidr_ipv6 or string")]
    Kind,
    /// The windows are out of range.
    #[error("line 1: {0}")]
    Monitor(MonitorError),
    /// A line has not three parts.
    #[error("line {line}: expected WINDOW START, KEY and COUNT with a tab between them")]
    Parts {
        /// Where.
        line: usize,
    },
    /// A window does not begin at a multiple of the interval.
    #[error("line {line}: the window must begin at a multiple of the interval, in seconds since the epoch")]
    Begin {
        /// Where.
        line: usize,
    },
    /// A key is not what the series counts by.
    #[error("line {line}: the key is not of the series' type, or has an incomplete %XX")]
    Key {
        /// Where.
        line: usize,
    },
    /// A count is no number.
    #[error("line {line}: the count must be a whole number")]
    Count {
        /// Where.
        line: usize,
    },
    /// A line is too long.
    #[error("line {line}: longer than {LINE_BYTES_MAX} bytes")]
    Long {
        /// Where.
        line: usize,
    },
}

/// The name of a file, `<series>.<timestamp>`, the time in UTC: `spam.20080424T200000`.
#[must_use]
pub fn name(series: &str, at: WallTime) -> String {
    dated(&stem(series), at)
}

/// The name of a file with that stem and time.
#[must_use]
pub fn dated(stem: &str, at: WallTime) -> String {
    alloc::format!("{stem}.{}", stamp(at))
}

/// A time in the basic form of ISO 8601, in UTC: `20080424T200000`.
#[must_use]
pub fn stamp(at: WallTime) -> String {
    let at = at.civil();
    alloc::format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}",
        at.year,
        at.month,
        at.day,
        at.hour,
        at.minute,
        at.second
    )
}

/// The name of a series as part of that of a file: nothing in it leads elsewhere.
#[must_use]
pub fn stem(series: &str) -> String {
    let mut name = String::new();
    for (at, c) in series.chars().enumerate() {
        if c == '/' || c == '%' || c.is_control() || c == '.' && at == 0 {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(name, "%{byte:02X}");
            }
        } else {
            name.push(c);
        }
    }
    name
}

/// As [`stem`], for a series that is kept beside one of the same name with other windows: no name of a series gives this.
#[must_use]
pub fn stem_beside(series: &str, monitor: Monitor) -> String {
    // Behind the `%` of an escape there are two hexadecimal digits.
    alloc::format!("{}%w{monitor}", stem(series))
}

/// The series and the time in the name of a file; `None` for any other file.
#[must_use]
pub fn split_name(file: &str) -> Option<(String, WallTime)> {
    let (stem, stamp) = file.rsplit_once('.')?;
    let at = timestamp(stamp).filter(|_| stamp.len() > 8)?;
    let series = unescaped(stem).filter(|series| !series.is_empty())?;
    Some((series.into_owned(), at))
}

/// A time in the basic form of ISO 8601, in UTC: `20080423`, which is its midnight, or `20080605T120000`.
#[must_use]
pub fn timestamp(text: &str) -> Option<WallTime> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time),
        None => (text, "000000"),
    };
    if date.len() != 8 || time.len() != 6 || !(date.bytes().chain(time.bytes())).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = |text: &str, at: core::ops::Range<usize>| text.get(at)?.parse::<u64>().ok();
    WallTime::from_civil(
        (number(date, 0..4)?, number(date, 4..6)?, number(date, 6..8)?),
        (number(time, 0..2)?, number(time, 2..4)?, number(time, 4..6)?),
    )
}

/// The line that says that a file has all that files of its series have whose time is not before `first`, up to its own.
#[must_use]
pub fn merger(first: WallTime) -> String {
    alloc::format!("{MERGED}{}\n", first.unix_seconds())
}

/// From which time on a file has what others of its series have, when it was merged from them.
#[must_use]
pub fn merged(text: &str) -> Option<WallTime> {
    let seconds = text.lines().take(2).find_map(|line| line.strip_prefix(MERGED)?.parse().ok())?;
    Some(WallTime::from_unix_seconds(seconds))
}

/// A view of a series as text.
#[must_use]
pub fn write(name: &str, series: &Series, view: View) -> String {
    let mut text = head(name, series.kind(), series.monitor());
    series.for_each(view, |begin, key, count| line(&mut text, begin, key, count));
    text
}

/// The first line of a file.
#[must_use]
pub fn head(name: &str, kind: SeriesKind, monitor: Monitor) -> String {
    alloc::format!("# series {} {} {} {}\n", escaped(name), kind.word(), monitor.interval(), monitor.number())
}

/// Adds the line of one window and key.
pub fn line(text: &mut String, begin: WallTime, key: Key<'_>, count: i64) {
    let begin = begin.unix_seconds();
    // Writing to a string does not fail.
    let _ = match key {
        Key::Address(address) => writeln!(text, "{begin}\t{address}\t{count}"),
        Key::Text(key) => writeln!(text, "{begin}\t{}\t{count}", escaped(key)),
    };
}

/// The line that says under which private name the column was published, for [`published`].
#[must_use]
pub fn publication(member: &PrivateName) -> String {
    alloc::format!("{PUBLISHED}{member}\n")
}

/// Under which private name the column of a file was published, when it was.
#[must_use]
pub fn published(text: &str) -> Option<PrivateName> {
    text.lines().take(2).find_map(|line| line.strip_prefix(PUBLISHED)?.parse().ok())
}

/// Reads the header and gives the entries that follow, each with its own error.
///
/// # Errors
/// [`FileError::Header`], [`FileError::Kind`] and [`FileError::Monitor`] when the first line is none.
pub fn read(
    text: &str,
) -> Result<(Header, impl Iterator<Item = Result<Entry<'_>, FileError>> + '_), FileError> {
    let mut lines = text.lines().enumerate();
    let header = header(lines.next().map_or("", |(_, line)| line))?;
    let (kind, monitor) = (header.kind, header.monitor);
    let entries = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(move |(at, line)| entry(at + 1, line, kind, monitor));
    Ok((header, entries))
}

fn header(line: &str) -> Result<Header, FileError> {
    let rest = line.strip_prefix("# series ").ok_or(FileError::Header)?;
    let mut words = rest.split(' ');
    let mut word = || words.next().filter(|word| !word.is_empty()).ok_or(FileError::Header);
    let (name, kind, interval, number) = (word()?, word()?, word()?, word()?);
    if words.next().is_some() {
        return Err(FileError::Header);
    }
    Ok(Header {
        name: unescaped(name).ok_or(FileError::Header)?.into_owned(),
        kind: SeriesKind::from_word(kind).ok_or(FileError::Kind)?,
        monitor: alloc::format!("{interval},{number}").parse().map_err(FileError::Monitor)?,
    })
}

fn entry(line: usize, text: &str, kind: SeriesKind, monitor: Monitor) -> Result<Entry<'_>, FileError> {
    if text.len() > LINE_BYTES_MAX {
        return Err(FileError::Long { line });
    }
    let mut parts = text.split('\t');
    let (Some(begin), Some(key), Some(count), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(FileError::Parts { line });
    };
    let begin = begin
        .parse::<u64>()
        .ok()
        .filter(|begin| begin % u64::from(monitor.interval()) == 0)
        .ok_or(FileError::Begin { line })?;
    let key = match kind {
        SeriesKind::Text => unescaped(key).map(EntryKey::Text),
        // A file of a built-in series has both families under the word `cidr`.
        SeriesKind::Cidr | SeriesKind::CidrIpv6 | SeriesKind::Clients => {
            key.parse().ok().map(EntryKey::Address)
        }
    };
    Ok(Entry {
        begin: WallTime::from_unix_seconds(begin),
        key: key.ok_or(FileError::Key { line })?,
        count: count.parse().map_err(|_| FileError::Count { line })?,
    })
}

/// Whether a character would break the line or the escaping.
fn must_be_escaped(character: char) -> bool {
    character == '%' || character == ' ' || character.is_control()
}

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(must_be_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    for character in text.chars() {
        if must_be_escaped(character) {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// The name behind the stem of a file, or behind a name in its first line.
fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = alloc::vec::Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let value = digit()? * 16 + digit()?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}
