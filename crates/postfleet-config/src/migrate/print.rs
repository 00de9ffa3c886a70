//! Items as lines: two blanks a level, one item a line, registered spelling, texts in double quotes.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::lines::Line;
use crate::legacy::Place;
use crate::schema::{self, Kind, Row};
use crate::source::Span;
use crate::syntax::{Item, Quote, Word, Written, print_quoted};
use crate::value::boolean;

/// The lines of a file. `remarks` are the places of comments, in order: a body that is empty but for comments is
/// opened for them.
pub(super) fn lines(
    items: &[Item],
    place: &Place,
    closers: &BTreeMap<Span, Span>,
    remarks: &[u32],
) -> Vec<Line> {
    let mut printer = Printer { closers, remarks, lines: Vec::new() };
    printer.items(items, place, 0);
    printer.lines
}

struct Printer<'a> {
    closers: &'a BTreeMap<Span, Span>,
    remarks: &'a [u32],
    lines: Vec<Line>,
}

impl Printer<'_> {
    fn items(&mut self, items: &[Item], place: &Place, depth: usize) {
        for item in items {
            match item {
                Item::Include { read_only, path } => {
                    let keyword = if *read_only { "readonly_include" } else { "include" };
                    let text = format!("{keyword} {}", double(&path.text));
                    self.line(depth, text, path.span.start, path.span.end);
                }
                Item::Assignment { name, value } => self.assignment(name, value, place, depth),
                Item::Stanza { scope, name, body } => self.stanza(scope, name.as_ref(), body, place, depth),
            }
        }
    }

    fn line(&mut self, depth: usize, text: String, anchor: u32, end: u32) {
        self.lines.push(Line { depth, text, anchor: Some(anchor), end: Some(end), closes: false });
    }

    fn open(&mut self, depth: usize, text: String, anchor: u32) {
        self.lines.push(Line { depth, text, anchor: Some(anchor), end: None, closes: false });
    }

    fn close(&mut self, depth: usize, text: &str, closer: Option<Span>) {
        self.lines.push(Line {
            depth,
            text: String::from(text),
            anchor: closer.map(|span| span.start),
            end: closer.map(|span| span.end),
            closes: true,
        });
    }

    fn stanza(&mut self, scope: &Word, name: Option<&Word>, body: &[Item], place: &Place, depth: usize) {
        let inner = place.inside(&scope.text);
        let mut text = match place.scope.and_then(|at| schema::child_scope(at, place.service, &scope.text)) {
            Some(row) => String::from(row.name),
            None => scope.text.clone(),
        };
        if let Some(name) = name {
            text.push(' ');
            text.push_str(&double(&name.text));
        }
        let closer = self.closers.get(&scope.span).copied();
        let start = scope.span.start;
        if body.is_empty() && !closer.is_some_and(|closer| self.remark_between(start, closer.start)) {
            text.push_str(" {}");
            let end = closer.map(|span| span.end);
            self.lines.push(Line { depth, text, anchor: Some(start), end, closes: false });
            return;
        }
        text.push_str(" {");
        self.open(depth, text, start);
        self.items(body, &inner, depth + 1);
        self.close(depth, "}", closer);
    }

    fn remark_between(&self, start: u32, end: u32) -> bool {
        let first = self.remarks.partition_point(|at| *at <= start);
        self.remarks.get(first).is_some_and(|at| *at < end)
    }

    fn assignment(&mut self, name: &Word, value: &Written, place: &Place, depth: usize) {
        let row = place.row(&name.text);
        let spelled = row.map_or(name.text.as_str(), |row| row.name);
        let start = name.span.start;
        match value {
            Written::Atom(word) => {
                let text = format!("{spelled} = {}", shown(word, row));
                self.line(depth, text, start, word.span.end);
            }
            Written::List(words, span) => {
                let short = self.short_list(spelled, words, row, *span);
                match short {
                    Some(text) => self.line(depth, text, start, span.end),
                    None => {
                        self.open(depth, format!("{spelled} = ("), start);
                        for word in words {
                            self.line(depth + 1, shown(word, row), word.span.start, word.span.end);
                        }
                        self.close_value(depth, ")", *span);
                    }
                }
            }
            Written::Dict(pairs, span) if pairs.is_empty() && !self.remark_between(span.start, span.end) => {
                self.line(depth, format!("{spelled} = []"), start, span.end);
            }
            Written::Dict(pairs, span) => {
                self.open(depth, format!("{spelled} = ["), start);
                for (key, value) in pairs {
                    let text = format!("{} = {}", key_text(key), shown(value, row));
                    self.line(depth + 1, text, key.span.start, value.span.end);
                }
                self.close_value(depth, "]", *span);
            }
        }
    }

    /// A list on one line, where it fits and no comment stands in it.
    fn short_list(&self, name: &str, words: &[Word], row: Option<&Row>, span: Span) -> Option<String> {
        if words.is_empty() {
            return (!self.remark_between(span.start, span.end)).then(|| format!("{name} = ()"));
        }
        if self.remark_between(span.start, span.end) {
            return None;
        }
        let mut text = format!("{name} = (");
        for word in words {
            text.push(' ');
            text.push_str(&shown(word, row));
        }
        text.push_str(" )");
        (text.chars().count() <= 80).then_some(text)
    }

    /// The line of the bracket that closes a value; a span without brackets around it has no place for one.
    fn close_value(&mut self, depth: usize, bracket: &str, span: Span) {
        let closer = Span { start: span.end.saturating_sub(1), ..span };
        self.close(depth, bracket, Some(closer));
    }
}

/// A key as it may stand in a dictionary.
fn key_text(key: &Word) -> String {
    if key.quote == Quote::Bare { key.text.clone() } else { double(&key.text) }
}

/// A value: numbers, bools, permissions and words of an option as written, everything else in double quotes.
fn shown(word: &Word, row: Option<&Row>) -> String {
    // A number that is missing behind its sign is an empty word.
    if word.quote != Quote::Bare || word.text.is_empty() {
        return double(&word.text);
    }
    let text = word.text.as_str();
    let is_text = row.is_none_or(|row| match row.kind {
        Kind::Text(_) | Kind::Address | Kind::AddressOrHost | Kind::Cidr | Kind::Regex | Kind::Dict(_) => {
            true
        }
        Kind::Bool
        | Kind::Int
        | Kind::Uint64
        | Kind::Size
        | Kind::Float
        | Kind::Perms
        | Kind::Words(_)
        | Kind::WordsOrBool(_)
        | Kind::WordsOrInt(_)
        | Kind::Throttle => false,
    });
    if !is_text || boolean(text).is_some() || is_number(text) { String::from(text) } else { double(text) }
}

/// A number, or two with a stroke between them as throttles have.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = digits.split(['.', '/']);
    digits.len() < 24
        && parts.clone().count() <= 2
        && parts.all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn double(content: &str) -> String {
    let mut text = String::with_capacity(content.len() + 2);
    print_quoted(&mut text, content);
    text
}
