//! Edits of one text that leave every other byte alone.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::layout::{Body, Braces};

/// An item to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NewItem {
    /// `NAME = VALUE`
    Option(String),
    /// `SCOPE "NAME"` with items.
    Stanza(String, Vec<NewItem>),
}

impl NewItem {
    /// Adds an option inside the stanzas of these headings, where they are already there into the same ones.
    pub(super) fn add(items: &mut Vec<Self>, headings: &[String], option: &str) {
        let Some((heading, deeper)) = headings.split_first() else {
            items.push(Self::Option(option.to_string()));
            return;
        };
        for item in items.iter_mut() {
            if let Self::Stanza(other, inner) = item
                && other == heading
            {
                return Self::add(inner, deeper, option);
            }
        }
        let mut inner = Vec::new();
        Self::add(&mut inner, deeper, option);
        items.push(Self::Stanza(heading.clone(), inner));
    }

    /// On one line.
    fn line(&self) -> String {
        match self {
            Self::Option(text) => text.clone(),
            Self::Stanza(heading, inner) => {
                let inner: Vec<String> = inner.iter().map(Self::line).collect();
                format!("{heading} {{ {} }}", inner.join(" "))
            }
        }
    }

    /// On lines of their own; a stanza with a single option is one line.
    pub(super) fn lines(items: &[Self], indent: &str, end: &str) -> String {
        let mut text = String::new();
        for item in items {
            match item {
                Self::Stanza(heading, inner) if !matches!(inner.as_slice(), [Self::Option(_)]) => {
                    text.push_str(&format!("{indent}{heading} {{{end}"));
                    text.push_str(&Self::lines(inner, &format!("{indent}  "), end));
                    text.push_str(&format!("{indent}}}{end}"));
                }
                Self::Stanza(..) | Self::Option(_) => {
                    text.push_str(indent);
                    text.push_str(&item.line());
                    text.push_str(end);
                }
            }
        }
        text
    }
}

/// Replaces a range of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Splice {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) text: String,
}

/// The text with all splices, which do not overlap.
pub(super) fn spliced(text: &[u8], mut splices: Vec<Splice>) -> Vec<u8> {
    splices.sort_by_key(|splice| (splice.start, splice.end));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for splice in splices {
        out.extend_from_slice(text.get(at..splice.start).unwrap_or_default());
        out.extend_from_slice(splice.text.as_bytes());
        at = splice.end.max(at);
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    out
}

/// How the lines of a text end: as the first one does.
pub(super) fn line_end(text: &str) -> &'static str {
    match text.find('\n').and_then(|at| text.get(..at)) {
        Some(line) if line.ends_with('\r') => "\r\n",
        Some(_) | None => "\n",
    }
}

/// The items added behind everything in a body.
pub(super) fn append(text: &str, body: &Body, items: &[NewItem]) -> Splice {
    let end_of_line = line_end(text);
    let end = body.end as usize;
    let Some(braces) = body.stanza else {
        let mut added = String::new();
        if !text.is_empty() && !text.ends_with('\n') {
            added.push_str(end_of_line);
        }
        added.push_str(&NewItem::lines(items, "", end_of_line));
        return Splice { start: end, end, text: added };
    };
    let before = text.get(..end).unwrap_or("");
    let line = before.rfind('\n').map_or(0, |at| at + 1);
    let closer_indent = before.get(line..).unwrap_or("");
    if line > braces.inside as usize && closer_indent.chars().all(char::is_whitespace) {
        let indent = inner_indent(text, braces).unwrap_or_else(|| format!("{closer_indent}  "));
        return Splice { start: line, end: line, text: NewItem::lines(items, &indent, end_of_line) };
    }
    // The closing brace stands behind something on its line: the items join it there.
    let behind = before.trim_end_matches([' ', '\t']).len();
    let words: Vec<String> = items.iter().map(NewItem::line).collect();
    let blank = if behind == end { " " } else { "" };
    Splice { start: behind, end: behind, text: format!(" {}{blank}", words.join(" ")) }
}

/// What the first item on a line of its own is indented by.
fn inner_indent(text: &str, braces: Braces) -> Option<String> {
    let inside = text.get(braces.inside as usize..braces.close as usize)?;
    inside.split('\n').skip(1).find_map(|line| {
        let item = line.trim_start_matches([' ', '\t']);
        let begins = item.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        (begins && !line.trim().is_empty()).then(|| line.get(..line.len() - item.len()).map(String::from))?
    })
}

/// Takes a range out: with its line when nothing else is on it.
pub(super) fn remove(text: &str, start: usize, end: usize) -> Splice {
    let (before, behind) = (text.get(..start).unwrap_or(""), text.get(end..).unwrap_or(""));
    let line = before.rfind('\n').map_or(0, |at| at + 1);
    let rest = behind.find('\n').map_or(behind.len(), |at| at + 1);
    let blank = |text: Option<&str>| text.unwrap_or("").chars().all(char::is_whitespace);
    let alone_before = blank(before.get(line..));
    if alone_before && blank(behind.get(..rest)) {
        return Splice { start: line, end: end + rest, text: String::new() };
    }
    let blanks = [' ', '\t'];
    if alone_before {
        let skipped = behind.len() - behind.trim_start_matches(blanks).len();
        return Splice { start, end: end + skipped, text: String::new() };
    }
    let kept = before.trim_end_matches(blanks).len();
    // What stood around the item must not become one word.
    let glue = if behind.starts_with(|c: char| c.is_whitespace() || c == '}') { "" } else { " " };
    Splice { start: kept, end, text: glue.into() }
}

/// Offsets in the text as it was read, as offsets in the bytes of the file: a byte order mark is not part of the text,
/// and what is not UTF-8 is three bytes long in it.
pub(super) struct Offsets(Vec<(usize, usize)>);

impl Offsets {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let (mut raw, mut text) = (bytes.len() - rest.len(), 0);
        let mut steps = alloc::vec![(text, raw)];
        for chunk in rest.utf8_chunks() {
            raw += chunk.valid().len();
            text += chunk.valid().len();
            if !chunk.invalid().is_empty() {
                raw += chunk.invalid().len();
                text += '\u{fffd}'.len_utf8();
                steps.push((text, raw));
            }
        }
        Self(steps)
    }

    pub(super) fn raw(&self, offset: usize) -> usize {
        let at = self.0.partition_point(|(text, _)| *text <= offset);
        let (text, raw) = at.checked_sub(1).and_then(|at| self.0.get(at)).copied().unwrap_or((0, 0));
        raw + (offset - text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_takes_the_line_when_nothing_else_is_on_it() {
        let check = |text: &str, item: &str, left: &str| {
            let start = text.find(item).unwrap();
            let splice = remove(text, start, start + item.len());
            assert_eq!(String::from_utf8(spliced(text.as_bytes(), vec![splice])).unwrap(), left, "{text:?}");
        };
        check("a = 1\n  b = 2  \nc = 3", "b = 2", "a = 1\nc = 3");
        check("a = 1\r\nb = 2\r\nc = 3", "b = 2", "a = 1\r\nc = 3");
        check("a = 1 b = 2 c = 3", "b = 2", "a = 1 c = 3");
        check("b = 2 # why\n", "b = 2", "# why\n");
        check("X { b = 2 }", "b = 2", "X { }");
        check("X {b=\"2\"}", "b=\"2\"", "X {}");
        check("b = 2", "b = 2", "");
        check("a = \"1\"b = 2#x", "b = 2", "a = \"1\" #x");
    }

    #[test]
    fn offsets_skip_what_is_not_text() {
        let offsets = Offsets::of(b"\xef\xbb\xbf# \xff\nab");
        assert_eq!(["# \u{fffd}\nab".find('a'), Some(0)].map(|at| offsets.raw(at.unwrap())), [7, 3]);
    }
}
