//! The texts of one load, and places in them.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// One reading of one file. A file that is included twice is two sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub(crate) u32);

/// A range of bytes in a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The text the range lies in.
    pub source: SourceId,
    /// The first byte.
    pub start: u32,
    /// The byte behind the last.
    pub end: u32,
}

impl Span {
    pub(crate) const fn at(source: SourceId, start: usize, end: usize) -> Self {
        Self { source, start: narrow(start), end: narrow(end) }
    }

    pub(crate) const fn to(self, other: Self) -> Self {
        Self { source: self.source, start: self.start, end: other.end }
    }
}

/// Offsets fit: no file larger than 64 MiB is read.
#[expect(clippy::cast_possible_truncation, reason = "files are limited to 64 MiB before they get here")]
pub(crate) const fn narrow(offset: usize) -> u32 {
    if offset > u32::MAX as usize { u32::MAX } else { offset as u32 }
}

/// A place as people name it: file, line and column, both counted from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Absolute path, links resolved; `console` for a command.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in Unicode scalar values, from 1; a tab counts 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One text and how it came into the load.
#[derive(Clone, Debug)]
pub struct Source {
    pub(crate) path: Arc<str>,
    pub(crate) text: Arc<str>,
    lines: Arc<[u32]>,
    pub(crate) included_at: Option<Span>,
    pub(crate) read_only: bool,
    /// Where the text stands in the merged text: the offsets of the includes that lead to it.
    order: Vec<u32>,
}

impl Source {
    /// The path, absolute and with links resolved.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The text, with every byte sequence that is not UTF-8 replaced by U+FFFD.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether changes made at run time may not be written back here.
    #[must_use]
    pub const fn read_only(&self) -> bool {
        self.read_only
    }
}

/// All texts of one load.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    pub(crate) fn add(
        &mut self,
        path: Arc<str>,
        text: Arc<str>,
        included_at: Option<Span>,
        read_only: bool,
        last: bool,
    ) -> SourceId {
        let mut order = Vec::new();
        if let Some(at) = included_at
            && let Some(parent) = self.source(at.source)
        {
            order.clone_from(&parent.order);
            order.push(at.start);
        } else if last {
            order.push(u32::MAX);
        }
        let mut lines: Vec<u32> = Vec::new();
        lines.push(0);
        lines.extend(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| narrow(at + 1)));
        let id = SourceId(narrow(self.0.len()));
        self.0.push(Source { path, text, lines: lines.into(), included_at, read_only, order });
        id
    }

    /// The texts in the order they were read.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    /// The ids in the order the texts were read.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SourceId> + use<> {
        (0..narrow(self.0.len())).map(SourceId)
    }

    /// The text of this id; `None` for an id of another load.
    #[must_use]
    pub fn source(&self, id: SourceId) -> Option<&Source> {
        self.0.get(id.0 as usize)
    }

    pub(crate) fn mark_read_only(&mut self, id: SourceId) {
        if let Some(source) = self.0.get_mut(id.0 as usize) {
            source.read_only = true;
        }
    }

    /// Takes a text of another load over. The includes that led to it there are not known here.
    pub(crate) fn adopt(&mut self, source: &Source) -> SourceId {
        let id = SourceId(narrow(self.0.len()));
        self.0.push(Source { included_at: None, ..source.clone() });
        id
    }

    /// What stands in the range.
    #[must_use]
    pub fn text(&self, span: Span) -> &str {
        self.source(span.source)
            .and_then(|source| source.text.get(span.start as usize..span.end as usize))
            .unwrap_or("")
    }

    /// The place where the range begins.
    #[must_use]
    pub fn position(&self, span: Span) -> Option<Position> {
        let source = self.source(span.source)?;
        let line = source.lines.partition_point(|start| *start <= span.start).max(1);
        let start = source.lines.get(line - 1).copied().unwrap_or(0);
        let before = source.text.get(start as usize..span.start as usize).unwrap_or("");
        Some(Position {
            file: source.path.clone(),
            line: narrow(line),
            column: narrow(before.chars().count()).saturating_add(1),
        })
    }

    /// The include directives that lead to the range, innermost first.
    #[must_use]
    pub fn includes(&self, span: Span) -> Vec<Position> {
        let mut chain = Vec::new();
        let mut at = self.source(span.source).and_then(|source| source.included_at);
        while let Some(include) = at {
            chain.extend(self.position(include));
            at = self.source(include.source).and_then(|source| source.included_at);
        }
        chain
    }

    /// A key that sorts by place in the merged text.
    pub(crate) fn order(&self, span: Span) -> Vec<u32> {
        let mut order = self.source(span.source).map(|source| source.order.clone()).unwrap_or_default();
        order.push(span.start);
        order
    }
}

/// Bytes as text: a leading byte order mark is dropped, what is not UTF-8 becomes U+FFFD. The second part
/// lists where that happened, in bytes of the result.
pub(crate) fn decode(bytes: &[u8]) -> (String, Vec<usize>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut text = String::with_capacity(bytes.len());
    let mut replaced = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            replaced.push(text.len());
            text.push('\u{fffd}');
        }
    }
    (text, replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let mut sources = Sources::default();
        let id = sources.add("/a".into(), "é = 1\n\tx".into(), None, false, false);
        let at = |start| sources.position(Span::at(id, start, start)).map(|p| (p.line, p.column));
        assert_eq!(at(0), Some((1, 1)));
        assert_eq!(at(3), Some((1, 3)));
        assert_eq!(at(8), Some((2, 2)));
    }

    #[test]
    fn texts_that_are_not_utf8_are_marked() {
        assert_eq!(decode(b"\xef\xbb\xbfa\xffb"), (String::from("a\u{fffd}b"), vec![1]));
    }
}
