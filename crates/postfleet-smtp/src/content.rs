//! Checking and mending a message while it streams through.
//!
//! The header section is held until it is complete (its limit is in the settings), then it is handed out in one
//! piece with our fields. The body is scanned with `memchr` and handed on at once.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::BytesMut;
use memchr::{memchr, memchr2};

use crate::envelope::MessageFacts;
use crate::settings::{DateRule, FormatRules, LineRule, LoneRule};

/// Why a message is refused for its form. The client is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("Lone CR or LF in headers (see RFC2822 section 2.2)")]
    LoneInHeaders,
    #[error("Lone CR or LF in body (see RFC2822 section 2.3)")]
    LoneInBody,
    #[error("Header line too long (see RFC2822 section 3.5)")]
    HeaderLineTooLong,
    #[error("Body line too long (see RFC2822 section 3.5)")]
    BodyLineTooLong,
    #[error("Required headers not found (see RFC2822 section 3.6)")]
    HeadersMissing,
    #[error("Header not terminated by CR LF (see RFC2822 section 2.2)")]
    HeaderNotTerminated,
    #[error("Invalid header found (see RFC2822 section 3.6)")]
    InvalidHeader,
    #[error("Missing required RFC2822 Date field (see RFC2822 section 3.6)")]
    DateMissing,
    #[error("NUL in body")]
    NulInBody,
    #[error("header section too large")]
    HeaderTooLarge,
    #[error("mail loop detected")]
    Loop,
}

/// The fields to add, ready to be written. Empty text adds nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Additions {
    pub(crate) received: String,
    pub(crate) date: String,
    pub(crate) message_id: String,
}

/// Limits of the header section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeaderLimits {
    pub(crate) octets_max: usize,
    pub(crate) received_fields_max: u32,
}

/// The state of a message in transit.
#[derive(Debug)]
pub(crate) struct Content {
    rules: FormatRules,
    limits: HeaderLimits,
    additions: Additions,
    section: Section,
    /// A CR was the last octet of a piece: what it is depends on the next.
    pending_cr: bool,
    facts: MessageFacts,
}

#[derive(Debug)]
enum Section {
    Header(Header),
    Body(Body),
}

#[derive(Debug, Default)]
struct Header {
    /// The lines so far, mended, and the unfinished line behind them.
    text: Vec<u8>,
    line_start: usize,
    fields: u32,
    date: bool,
    message_id: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Body {
    /// Octets of the current line so far; only CR LF ends a line here.
    line_octets: usize,
    /// What stands since the last CR, LF or CR LF.
    loose: Loose,
    /// Whether that last one was bare.
    after_bare: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Loose {
    #[default]
    Nothing,
    Dot,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Terminator {
    CrLf,
    BareCr,
    BareLf,
}

impl Content {
    pub(crate) fn new(rules: FormatRules, limits: HeaderLimits, additions: Additions) -> Self {
        Self {
            rules,
            limits,
            additions,
            section: Section::Header(Header::default()),
            pending_cr: false,
            facts: MessageFacts::default(),
        }
    }

    /// Whether the header section is over.
    pub(crate) const fn in_body(&self) -> bool {
        matches!(self.section, Section::Body(_))
    }

    /// Takes the next octets of the message and appends what is ready to `out`. After an error the message is
    /// refused, and nothing more is to be pushed.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        let before = out.len();
        let result = self.push_sections(piece, out);
        self.facts.content_octets += octets(out.len() - before);
        result
    }

    fn push_sections(&mut self, piece: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        let mut rest = piece;
        while let Section::Header(_) = self.section {
            let Some((&first, behind)) = rest.split_first() else { return Ok(()) };
            if self.pending_cr {
                self.pending_cr = false;
                if first == b'\n' {
                    rest = behind;
                    self.header_line(Terminator::CrLf, out)?;
                } else {
                    self.header_line(Terminator::BareCr, out)?;
                }
                continue;
            }
            match memchr2(b'\r', b'\n', rest) {
                None => {
                    self.header_text(rest)?;
                    return Ok(());
                }
                Some(at) => {
                    self.header_text(rest.get(..at).unwrap_or_default())?;
                    let bare_lf = rest.get(at) == Some(&b'\n');
                    rest = rest.get(at + 1..).unwrap_or_default();
                    if bare_lf {
                        self.header_line(Terminator::BareLf, out)?;
                    } else {
                        self.pending_cr = true;
                    }
                }
            }
        }
        self.body(rest, out)
    }

    /// The end of the message: what is left is appended to `out`.
    pub(crate) fn finish(&mut self, out: &mut BytesMut) -> Result<MessageFacts, Fault> {
        let before = out.len();
        self.finish_sections(out)?;
        self.facts.content_octets += octets(out.len() - before);
        Ok(self.facts)
    }

    fn finish_sections(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        if self.pending_cr && matches!(self.section, Section::Header(_)) {
            self.pending_cr = false;
            self.header_line(Terminator::BareCr, out)?;
        }
        if let Section::Header(header) = &self.section {
            if header.text.len() > header.line_start {
                if header.fields > 0 {
                    return Err(Fault::HeaderNotTerminated);
                }
                return self.no_header(false, out);
            }
            return self.end_header(false, out);
        }
        self.body_end(out)
    }

    fn header_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        let Section::Header(header) = &mut self.section else { return Ok(()) };
        if header.text.len() + text.len() > self.limits.octets_max {
            return Err(Fault::HeaderTooLarge);
        }
        header.text.extend_from_slice(text);
        self.facts.eight_bit_header |= !text.is_ascii();
        Ok(())
    }

    /// One line of the header section is complete, except for its end.
    fn header_line(&mut self, terminator: Terminator, out: &mut BytesMut) -> Result<(), Fault> {
        let Section::Header(header) = &mut self.section else { return Ok(()) };
        if terminator != Terminator::CrLf && self.rules.lone_in_headers != LoneRule::Fix {
            return Err(Fault::LoneInHeaders);
        }
        let line = header.text.get(header.line_start..).unwrap_or_default();
        if line.is_empty() {
            return self.end_header(true, out);
        }
        if memchr(0, line).is_some() {
            return Err(Fault::InvalidHeader);
        }
        let continued = matches!(line.first(), Some(b' ' | b'\t'));
        if continued && header.fields == 0 {
            return self.no_header(true, out);
        }
        if !continued {
            match field_name(line) {
                Some(name) => {
                    header.fields = header.fields.saturating_add(1);
                    header.date |= name.eq_ignore_ascii_case(b"Date");
                    header.message_id |= name.eq_ignore_ascii_case(b"Message-ID");
                    self.facts.received_fields += u32::from(name.eq_ignore_ascii_case(b"Received"));
                }
                None if header.fields == 0 => return self.no_header(true, out),
                None => return Err(Fault::InvalidHeader),
            }
        }
        match self.rules.line_length {
            LineRule::Reject(max) if line.len() > max => return Err(Fault::HeaderLineTooLong),
            LineRule::Fix(max) if line.len() > max.max(FOLD_OCTETS_MIN) => {
                let folded = fold(line, max.max(FOLD_OCTETS_MIN));
                header.text.truncate(header.line_start);
                header.text.extend_from_slice(&folded);
            }
            LineRule::Ignore | LineRule::Reject(_) | LineRule::Fix(_) => {}
        }
        header.text.extend_from_slice(b"\r\n");
        header.line_start = header.text.len();
        if header.text.len() > self.limits.octets_max {
            return Err(Fault::HeaderTooLarge);
        }
        Ok(())
    }

    /// The first line is no field: there is no header section, and that line belongs to the body.
    fn no_header(&mut self, terminated: bool, out: &mut BytesMut) -> Result<(), Fault> {
        let line = match &mut self.section {
            Section::Header(header) => core::mem::take(&mut header.text),
            Section::Body(_) => return Ok(()),
        };
        if let Section::Header(header) = &mut self.section {
            header.line_start = 0;
        }
        self.end_header(true, out)?;
        self.body(&line, out)?;
        if terminated { self.body(b"\r\n", out) } else { self.body_end(out) }
    }

    /// The header section is complete; `separated` says whether a body follows.
    fn end_header(&mut self, separated: bool, out: &mut BytesMut) -> Result<(), Fault> {
        let Section::Header(header) = &self.section else { return Ok(()) };
        if header.fields == 0 && !self.rules.allow_missing_headers {
            return Err(Fault::HeadersMissing);
        }
        if self.facts.received_fields > self.limits.received_fields_max {
            return Err(Fault::Loop);
        }
        if !header.date && self.rules.date == DateRule::Pedantic {
            return Err(Fault::DateMissing);
        }
        self.facts.date_missing = !header.date;
        self.facts.message_id_missing = !header.message_id;
        let start = out.len();
        out.extend_from_slice(self.additions.received.as_bytes());
        out.extend_from_slice(&header.text);
        if !header.date && self.rules.date == DateRule::IfNeeded {
            out.extend_from_slice(self.additions.date.as_bytes());
        }
        if !header.message_id && self.rules.add_message_id {
            out.extend_from_slice(self.additions.message_id.as_bytes());
        }
        if separated {
            out.extend_from_slice(b"\r\n");
        }
        self.facts.header_octets = octets(out.len() - start);
        self.section = Section::Body(Body::default());
        Ok(())
    }

    fn body(&mut self, piece: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        // What stands before a NUL is looked at first, so that the fault does not depend on how the input was cut.
        match memchr(0, piece) {
            None => self.body_text(piece, out),
            Some(at) => {
                self.body_text(piece.get(..at).unwrap_or_default(), out)?;
                Err(Fault::NulInBody)
            }
        }
    }

    fn body_text(&mut self, piece: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        let (rules, Section::Body(body)) = (&self.rules, &mut self.section) else { return Ok(()) };
        if !self.facts.eight_bit_body {
            self.facts.eight_bit_body = !piece.is_ascii();
        }
        let mut at = 0;
        // Octets before `copied` are in `out`; the run behind it is copied in one go.
        let mut copied = 0;
        if self.pending_cr && !piece.is_empty() {
            self.pending_cr = false;
            if piece.first() == Some(&b'\n') {
                body.terminator(Terminator::CrLf, rules)?;
                out.extend_from_slice(b"\r\n");
                (at, copied) = (1, 1);
            } else {
                body.terminator(Terminator::BareCr, rules)?;
                out.extend_from_slice(if rules.lone_in_body == LoneRule::Fix { b"\r\n" } else { b"\r" });
            }
        }
        while let Some(behind) = piece.get(at..) {
            let found = memchr2(b'\r', b'\n', behind);
            let text = behind.get(..found.unwrap_or(behind.len())).unwrap_or_default();
            body.text(text);
            if let LineRule::Fix(max) = rules.line_length
                && body.line_octets > max.max(FOLD_OCTETS_MIN)
            {
                out.extend_from_slice(piece.get(copied..at).unwrap_or_default());
                body.line_octets = break_line(text, body.line_octets, max.max(FOLD_OCTETS_MIN), out);
                copied = at + text.len();
            }
            let Some(found) = found else { break };
            let end = at + found;
            let terminator = match (piece.get(end), piece.get(end + 1)) {
                (Some(b'\n'), _) => Terminator::BareLf,
                (_, Some(b'\n')) => Terminator::CrLf,
                (_, Some(_)) => Terminator::BareCr,
                (_, None) => {
                    self.pending_cr = true;
                    out.extend_from_slice(piece.get(copied..end).unwrap_or_default());
                    return body.line_fits(rules);
                }
            };
            body.terminator(terminator, rules)?;
            at = end + if terminator == Terminator::CrLf { 2 } else { 1 };
            if terminator != Terminator::CrLf && rules.lone_in_body == LoneRule::Fix {
                out.extend_from_slice(piece.get(copied..end).unwrap_or_default());
                out.extend_from_slice(b"\r\n");
                copied = at;
            }
        }
        out.extend_from_slice(piece.get(copied..).unwrap_or_default());
        body.line_fits(rules)
    }

    fn body_end(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        let (rules, Section::Body(body)) = (&self.rules, &mut self.section) else { return Ok(()) };
        if self.pending_cr {
            self.pending_cr = false;
            body.terminator(Terminator::BareCr, rules)?;
            out.extend_from_slice(if rules.lone_in_body == LoneRule::Fix { b"\r\n" } else { b"\r" });
        }
        // Whoever sends the message on ends an open last line with CR LF.
        if body.loose == Loose::Dot && body.after_bare && rules.lone_in_body == LoneRule::Ignore {
            return Err(Fault::LoneInBody);
        }
        Ok(())
    }
}

impl Body {
    fn text(&mut self, text: &[u8]) {
        if !text.is_empty() {
            self.line_octets += text.len();
            self.loose = if self.loose == Loose::Nothing && text == b"." { Loose::Dot } else { Loose::Other };
        }
    }

    fn line_fits(&self, rules: &FormatRules) -> Result<(), Fault> {
        match rules.line_length {
            LineRule::Reject(max) if self.line_octets > max => Err(Fault::BodyLineTooLong),
            LineRule::Ignore | LineRule::Reject(_) | LineRule::Fix(_) => Ok(()),
        }
    }

    fn terminator(&mut self, terminator: Terminator, rules: &FormatRules) -> Result<(), Fault> {
        self.line_fits(rules)?;
        let bare = terminator != Terminator::CrLf;
        match rules.lone_in_body {
            LoneRule::Pedantic if bare => return Err(Fault::LoneInBody),
            LoneRule::Ignore if self.loose == Loose::Dot && (bare || self.after_bare) => {
                return Err(Fault::LoneInBody);
            }
            LoneRule::Fix | LoneRule::Pedantic | LoneRule::Ignore => {}
        }
        self.loose = Loose::Nothing;
        self.after_bare = bare;
        let ends = !bare || rules.lone_in_body == LoneRule::Fix;
        self.line_octets = if ends { 0 } else { self.line_octets + 1 };
        Ok(())
    }
}

/// Shorter lines are never broken, whatever the configuration says: fields could not be folded any more.
const FOLD_OCTETS_MIN: usize = 78;

/// The name in front of the colon, if `line` begins like a field. Blanks before the colon are an obsolete form.
fn field_name(line: &[u8]) -> Option<&[u8]> {
    let name = line.get(..memchr(b':', line)?)?.trim_ascii_end();
    (!name.is_empty() && name.iter().all(|b| (33..127).contains(b))).then_some(name)
}

/// Folds a header line: at the last blank that fits, or, with a blank added, where it must when there is none.
fn fold(line: &[u8], max: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len() + line.len() / max * 3 + 3);
    let mut rest = line;
    // Octets at the start that must stay together: a fold right behind the name would leave a line without text.
    let mut kept = memchr(b':', line).map_or(0, |colon| colon + 1);
    let mut added = 0;
    while added + rest.len() > max {
        let room = max - added;
        let text_before = |at: usize| rest.get(kept..at).is_some_and(|text| !text.trim_ascii().is_empty());
        let blank = rest
            .get(..=room)
            .and_then(|head| head.iter().rposition(|b| matches!(b, b' ' | b'\t')))
            .filter(|at| *at > kept && text_before(*at));
        let (head, tail) = rest.split_at(blank.unwrap_or_else(|| character_start(rest, room)));
        out.extend_from_slice(head);
        out.extend_from_slice(b"\r\n");
        rest = tail;
        (kept, added) = if blank.is_some() { (1, 0) } else { (0, 1) };
        out.extend_from_slice(if blank.is_some() { b"" } else { b" " });
    }
    out.extend_from_slice(rest);
    out
}

/// Writes the last part of a body line, broken so that no line is longer than `max`; `octets` counts the line
/// with it. Returns the length of the last line.
fn break_line(text: &[u8], octets: usize, max: usize, out: &mut BytesMut) -> usize {
    let mut used = octets.saturating_sub(text.len());
    let mut rest = text;
    while used + rest.len() > max {
        let (head, tail) = rest.split_at(max.saturating_sub(used).min(rest.len()));
        out.extend_from_slice(head);
        out.extend_from_slice(b"\r\n");
        used = 0;
        rest = tail;
    }
    out.extend_from_slice(rest);
    used + rest.len()
}

/// The last position up to `at` that is not inside a UTF-8 sequence; `at` itself when the text is no UTF-8.
fn character_start(text: &[u8], at: usize) -> usize {
    let at = at.min(text.len());
    (at.saturating_sub(3)..=at)
        .rev()
        .find(|start| *start > 0 && text.get(*start).is_none_or(|b| b & 0xc0 != 0x80))
        .unwrap_or(at)
}

fn octets(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: HeaderLimits = HeaderLimits { octets_max: 200, received_fields_max: 2 };

    fn additions() -> Additions {
        Additions { received: "R: 1\r\n".into(), date: "D: 2\r\n".into(), message_id: "M: 3\r\n".into() }
    }

    fn run(rules: FormatRules, pieces: &[&[u8]]) -> Result<(Vec<u8>, MessageFacts), Fault> {
        let mut content = Content::new(rules, LIMITS, additions());
        let mut out = BytesMut::new();
        for piece in pieces {
            content.push(piece, &mut out)?;
        }
        let facts = content.finish(&mut out)?;
        assert_eq!(facts.content_octets, octets(out.len()));
        Ok((out.to_vec(), facts))
    }

    fn check(rules: FormatRules, message: &str, wanted: Result<&str, Fault>) {
        let whole = run(rules, &[message.as_bytes()]).map(|(text, _)| String::from_utf8(text).unwrap());
        assert_eq!(whole.as_deref(), wanted.as_ref().copied(), "{message:?}");
        let each: Vec<&[u8]> = message.as_bytes().chunks(1).collect();
        assert_eq!(run(rules, &each).map(|(text, _)| String::from_utf8(text).unwrap()), whole, "{message:?}");
    }

    /// Message format: the header section.
    #[test]
    fn mta_rfc5321_11_fields_are_added_around_the_header_section() {
        let rules = FormatRules::default();
        check(rules, "A: b\r\n\r\nx\r\n", Ok("R: 1\r\nA: b\r\nD: 2\r\nM: 3\r\n\r\nx\r\n"));
        check(rules, "date: b\r\nMESSAGE-id : c\r\n\r\n", Ok("R: 1\r\ndate: b\r\nMESSAGE-id : c\r\n\r\n"));
        check(rules, "A: b\r\n\tc\r\n", Ok("R: 1\r\nA: b\r\n\tc\r\nD: 2\r\nM: 3\r\n"));
        let none = FormatRules { trace: false, date: DateRule::Ignore, add_message_id: false, ..rules };
        // Whether the Received field is made at all is decided by whoever fills in the additions.
        check(none, "A: b\r\n\r\n", Ok("R: 1\r\nA: b\r\n\r\n"));
        check(FormatRules { date: DateRule::Pedantic, ..rules }, "A: b\r\n\r\n", Err(Fault::DateMissing));
    }

    #[test]
    fn malformed_header_sections() {
        let rules = FormatRules::default();
        for text in ["", "\r\n", "\r\nA: b\r\n", "no field\r\n", " x: y\r\n", "no field", "A b: c\r\n"] {
            check(rules, text, Err(Fault::HeadersMissing));
        }
        check(rules, "A: b\r\nno field\r\n", Err(Fault::InvalidHeader));
        check(rules, "A: b\r\n: c\r\n", Err(Fault::InvalidHeader));
        check(rules, "A: \0\r\n", Err(Fault::InvalidHeader));
        check(rules, "A: b\r\nB: c", Err(Fault::HeaderNotTerminated));
        check(rules, "A: b\nB: c\r\n\r\n", Err(Fault::LoneInHeaders));
        check(rules, "A: b\r\r\n\r\n", Err(Fault::LoneInHeaders));
        check(rules, "A: b\r\n\r", Err(Fault::LoneInHeaders));
        check(rules, &format!("A: {}\r\n", "x".repeat(200)), Err(Fault::HeaderTooLarge));
        let allowed = FormatRules { allow_missing_headers: true, ..rules };
        check(allowed, "", Ok("R: 1\r\nD: 2\r\nM: 3\r\n"));
        check(allowed, "no field\r\nA: b\r\n", Ok("R: 1\r\nD: 2\r\nM: 3\r\n\r\nno field\r\nA: b\r\n"));
        check(allowed, "no field", Ok("R: 1\r\nD: 2\r\nM: 3\r\n\r\nno field"));
        let fix = FormatRules { lone_in_headers: LoneRule::Fix, ..rules };
        check(
            fix,
            "A: b\nDate: c\rMessage-ID: d\n\nx",
            Ok("R: 1\r\nA: b\r\nDate: c\r\nMessage-ID: d\r\n\r\nx"),
        );
    }

    /// RFC 5321 checklist, line 16.
    #[test]
    fn mta_rfc5321_16_loops() {
        let rules = FormatRules::default();
        assert_eq!(run(rules, &[b"Received: a\r\nreceived: b\r\n\r\n"]).unwrap().1.received_fields, 2);
        check(rules, "Received: a\r\nreceived: b\r\nReceived: c\r\n\r\n", Err(Fault::Loop));
    }

    #[test]
    fn long_lines() {
        let reject = FormatRules { line_length: LineRule::Reject(10), ..FormatRules::default() };
        check(reject, "A: 3456789\r\nDate: x\r\nMessage-ID: x\r\n", Err(Fault::HeaderLineTooLong));
        let none = FormatRules { date: DateRule::Ignore, add_message_id: false, ..reject };
        check(none, "A: 4567890\r\n\r\n1234567890\r\n", Ok("R: 1\r\nA: 4567890\r\n\r\n1234567890\r\n"));
        check(none, "A: 45678901\r\n\r\n", Err(Fault::HeaderLineTooLong));
        check(none, "A: b\r\n\r\n12345678901\r\n", Err(Fault::BodyLineTooLong));
        let fix = FormatRules { line_length: LineRule::Fix(5), ..none };
        let (first, second) = ("x".repeat(40), "y".repeat(50));
        let body = format!("A: b\r\n\r\n{}\r\nz\r\n", "w".repeat(200));
        let broken =
            format!("R: 1\r\nA: b\r\n\r\n{0}\r\n{0}\r\n{1}\r\nz\r\n", "w".repeat(78), "w".repeat(44));
        check(fix, &body, Ok(&broken));
        let folded = format!("R: 1\r\nA: {first}\r\n {second}\r\n\r\n");
        check(fix, &format!("A: {first} {second}\r\n\r\n"), Ok(&folded));
        let solid = format!("A: {}", "x".repeat(180));
        let lines = String::from_utf8(fold(solid.as_bytes(), 78)).unwrap();
        assert!(
            lines.split("\r\n").all(|line| line.len() <= 78) && lines.split("\r\n ").count() == 3,
            "{lines}"
        );
        assert_eq!(lines.replace("\r\n ", ""), solid);
    }

    /// What the rules say about a body, written down naively.
    fn model(body: &[u8], rule: LoneRule) -> Result<Vec<u8>, Fault> {
        let mut lines: Vec<(Vec<u8>, &[u8])> = Vec::new();
        let mut line = Vec::new();
        let mut at = 0;
        while at < body.len() {
            let end: &[u8] = if body[at..].starts_with(b"\r\n") {
                b"\r\n"
            } else if body[at] == b'\r' || body[at] == b'\n' {
                &body[at..=at]
            } else {
                line.push(body[at]);
                at += 1;
                continue;
            };
            lines.push((core::mem::take(&mut line), end));
            at += end.len();
        }
        lines.push((line, b""));
        let bare = |end: &[u8]| end.len() == 1;
        let mut out = Vec::new();
        let mut before: &[u8] = b"\r\n";
        for (line, end) in &lines {
            let touches = bare(before) || bare(end);
            if (rule == LoneRule::Pedantic && bare(end))
                || (rule == LoneRule::Ignore && line == b"." && touches)
            {
                return Err(Fault::LoneInBody);
            }
            out.extend_from_slice(line);
            out.extend_from_slice(if rule == LoneRule::Fix && bare(end) { b"\r\n" } else { end });
            before = end;
        }
        Ok(out)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(2000)))]

        /// The smuggling matrix: every mixture of CR, LF and dot, cut anywhere.
        #[test]
        fn mta_rfc5321_01_bodies_agree_with_the_rules(
            body in proptest::collection::vec(proptest::sample::select(&b"\r\n.x\r\n"[..]), 0..24),
            cuts in proptest::collection::vec(0usize..24, 0..5),
            rule in proptest::sample::select(&[LoneRule::Ignore, LoneRule::Pedantic, LoneRule::Fix][..]),
        ) {
            let rules = FormatRules { lone_in_body: rule, ..FormatRules::default() };
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.sort_unstable();
            let mut pieces: Vec<&[u8]> = vec![b"Date: a\r\nMessage-ID: b\r\n\r\n"];
            let mut from = 0;
            for to in cuts.into_iter().chain([body.len()]) {
                pieces.push(&body[from..to]);
                from = to;
            }
            let got = run(rules, &pieces).map(|(text, facts)| text[usize::try_from(facts.header_octets).unwrap()..].to_vec());
            prop_assert_eq!(got, model(&body, rule));
        }
    }
}
