//! The message that policy looks at.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What is kept of a message for scripts: the whole header section, and this much in all. Its size is known in any case.
const KEPT_BYTES: usize = 1 << 20;

/// A message as it will be spooled: our own fields come first.
#[derive(Clone, Debug, Default)]
pub struct Message {
    kept: Vec<u8>,
    octets: u64,
    header_octets: usize,
}

/// What part of a text is wanted, in a macro: all of it, so many lines, or so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    All,
    Lines(usize),
    Bytes(usize),
}

impl Message {
    /// More of it. The first piece begins with the whole header section.
    pub fn push(&mut self, octets: &[u8]) {
        self.octets = self.octets.saturating_add(u64::try_from(octets.len()).unwrap_or(u64::MAX));
        // The first piece begins with the whole header section.
        let room =
            if self.kept.is_empty() { octets.len() } else { KEPT_BYTES.saturating_sub(self.kept.len()) };
        self.kept.extend_from_slice(octets.get(..room.min(octets.len())).unwrap_or_default());
    }

    /// All of it was there; so many octets of it are the header section.
    pub fn complete(&mut self, header_octets: u64) {
        self.header_octets = usize::try_from(header_octets).unwrap_or(usize::MAX).min(self.kept.len());
    }

    /// Octets of the whole message.
    #[must_use]
    pub const fn octets(&self) -> u64 {
        self.octets
    }

    /// The header section without the blank line behind it.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        let section = self.header_section();
        let blank = if section.ends_with(b"\r\n\r\n") { 2 } else { 0 };
        section.get(..section.len().saturating_sub(blank)).unwrap_or_default()
    }

    fn header_section(&self) -> &[u8] {
        self.kept.get(..self.header_octets).unwrap_or_default()
    }

    fn body(&self) -> &[u8] {
        self.kept.get(self.header_octets..).unwrap_or_default()
    }

    /// The bodies of all fields of a name, unfolded.
    #[must_use]
    pub fn fields(&self, name: &str) -> Vec<String> {
        let section = String::from_utf8_lossy(self.header_section());
        let mut found: Vec<String> = Vec::new();
        let mut wanted = false;
        for line in section.split("\r\n") {
            if line.starts_with([' ', '\t']) {
                if wanted && let Some(last) = found.last_mut() {
                    // Unfolding takes the line end away, and nothing else (RFC 5322, section 2.2.3).
                    last.push_str(line);
                }
                continue;
            }
            wanted = false;
            if let Some((field, value)) = line.split_once(':')
                && field.trim_end().eq_ignore_ascii_case(name)
            {
                wanted = true;
                found.push(value.trim_start().to_owned());
            }
        }
        found.iter().map(|value| value.trim_end().to_owned()).collect()
    }

    /// What `%{rfc2822:…}` stands for; none when the words mean nothing.
    #[must_use]
    pub fn expand(&self, words: &str) -> Option<String> {
        let mut words = words.split(',').map(str::trim);
        let part = words.next()?;
        let octets = match part {
            "message" => &self.kept,
            "headers" => self.header_section(),
            "body" => self.body(),
            "text" => return self.text(extent(words.next())?, words.next()),
            "part" => {
                let number = words.next()?.parse::<usize>().ok()?;
                return cut(self.part(number), extent(words.next())?, words.next());
            }
            _ => return None,
        };
        cut(octets, extent(words.next())?, words.next())
    }

    /// The first part that is text, or the body of a message without parts.
    fn text(&self, extent: Extent, rest: Option<&str>) -> Option<String> {
        let octets = match self.boundary() {
            None => self.body(),
            Some(boundary) => parts(self.body(), &boundary)
                .into_iter()
                .find(|part| {
                    let (head, _) = split_part(part);
                    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
                    !head.contains("content-type:") || head.contains("text/")
                })
                .map_or(&[][..], |part| split_part(part).1),
        };
        cut(octets, extent, rest)
    }

    /// The part of a number, counted from 1, with its header fields; empty where there is none.
    fn part(&self, number: usize) -> &[u8] {
        match (self.boundary(), number.checked_sub(1)) {
            (None, Some(0)) => self.body(),
            (Some(boundary), Some(at)) => {
                parts(self.body(), &boundary).into_iter().nth(at).unwrap_or_default()
            }
            (_, _) => &[],
        }
    }

    fn boundary(&self) -> Option<String> {
        let kind = self.fields("Content-Type").into_iter().next()?;
        let lower = kind.to_ascii_lowercase();
        if !lower.trim_start().starts_with("multipart/") {
            return None;
        }
        let at = lower.find("boundary=")? + "boundary=".len();
        let value = kind.get(at..)?;
        let boundary = match value.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next()?,
            None => value.split([';', ' ', '\t']).next()?,
        };
        Some(boundary.to_owned()).filter(|boundary| !boundary.is_empty())
    }
}

/// The parts between boundaries (RFC 2046, section 5.1.1), those of parts not looked into.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let mark = format!("--{boundary}");
    let mut found = Vec::new();
    let mut from: Option<usize> = None;
    let mut at = 0;
    while at < body.len() {
        let rest = body.get(at..).unwrap_or_default();
        let end = rest.windows(2).position(|two| two == b"\r\n").map_or(body.len(), |found| at + found + 2);
        let line = body.get(at..end).unwrap_or_default();
        if line.starts_with(mark.as_bytes()) {
            if let Some(from) = from {
                let to = at.saturating_sub(2).max(from);
                found.push(body.get(from..to).unwrap_or_default());
            }
            let closing = line.get(mark.len()..).is_some_and(|tail| tail.starts_with(b"--"));
            from = (!closing).then_some(end);
            if closing {
                return found;
            }
        }
        at = end;
    }
    if let Some(from) = from {
        found.push(body.get(from..).unwrap_or_default());
    }
    found
}

/// A part's header fields and what follows them.
fn split_part(part: &[u8]) -> (&[u8], &[u8]) {
    if let Some(rest) = part.strip_prefix(b"\r\n") {
        return (&[], rest);
    }
    match part.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(at) => (part.get(..at).unwrap_or_default(), part.get(at + 4..).unwrap_or_default()),
        None => (part, &[]),
    }
}

/// `n` lines, `nb` bytes, nothing: all.
fn extent(word: Option<&str>) -> Option<Extent> {
    let Some(word) = word else { return Some(Extent::All) };
    match word.strip_suffix(['b', 'B']) {
        Some(bytes) => bytes.parse().ok().map(Extent::Bytes),
        None => word.parse().ok().map(Extent::Lines),
    }
}

fn cut(octets: &[u8], extent: Extent, rest: Option<&str>) -> Option<String> {
    if rest.is_some() {
        return None;
    }
    let octets = match extent {
        Extent::All => octets,
        Extent::Bytes(count) => octets.get(..count).unwrap_or(octets),
        Extent::Lines(count) => {
            let ends = octets.iter().enumerate().filter(|(_, octet)| **octet == b'\n');
            let end = match count.checked_sub(1) {
                None => 0,
                Some(last) => ends.map(|(at, _)| at + 1).nth(last).unwrap_or(octets.len()),
            };
            octets.get(..end).unwrap_or(octets)
        }
    };
    Some(String::from_utf8_lossy(octets).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        let mut message = Message::default();
        message.push(text.as_bytes());
        let header = text.find("\r\n\r\n").map_or(text.len(), |at| at + 4);
        message.complete(u64::try_from(header).unwrap());
        message
    }

    #[test]
    fn fields_are_found_whatever_their_case_and_unfolded() {
        let message = message("Subject: a\r\n\tb\r\nX: 1\r\nsubject:c \r\n\r\nSubject: no\r\n");
        assert_eq!(message.fields("SUBJECT"), ["a\tb", "c"]);
        assert_eq!(message.fields("y"), Vec::<String>::new());
    }

    #[test]
    fn macros_of_the_message() {
        let plain = message("A: 1\r\nB: 2\r\n\r\none\r\ntwo\r\n");
        let check = |words: &str, expected: Option<&str>| {
            assert_eq!(plain.expand(words).as_deref(), expected, "{words}");
        };
        check("headers", Some("A: 1\r\nB: 2\r\n\r\n"));
        check("headers,1", Some("A: 1\r\n"));
        check("body", Some("one\r\ntwo\r\n"));
        check("body,1", Some("one\r\n"));
        check("body,2b", Some("on"));
        check("body,99b", Some("one\r\ntwo\r\n"));
        check("text", Some("one\r\ntwo\r\n"));
        check("part,1,3b", Some("one"));
        check("part,2", Some(""));
        check("message,4b", Some("A: 1"));
        for wrong in ["", "foot", "body,x", "body,1,2", "part", "part,x"] {
            check(wrong, None);
        }
        let parts = message(
            "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\npre\r\n--b\r\nContent-Type: image/png\r\n\r\nPNG\r\n\
             --b\r\n\r\nhello\r\n--b--\r\nafter\r\n",
        );
        assert_eq!(parts.expand("text").as_deref(), Some("hello"));
        assert_eq!(parts.expand("part,1").as_deref(), Some("Content-Type: image/png\r\n\r\nPNG"));
        assert_eq!(parts.expand("part,3").as_deref(), Some(""));
    }

    #[test]
    fn what_is_kept_has_a_bound_and_the_size_is_true() {
        let mut message = message(&format!("A: {}\r\n\r\n", "x".repeat(200_000)));
        for _ in 0..40 {
            message.push(&[b'y'; 65_536]);
        }
        assert_eq!(message.octets(), 200_007 + 40 * 65_536);
        assert_eq!(message.kept.len(), KEPT_BYTES);
        assert_eq!(message.fields("a")[0].len(), 200_000);
    }
}
