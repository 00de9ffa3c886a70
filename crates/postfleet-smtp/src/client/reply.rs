//! Replies of a server: lines in, whole replies out (RFC 5321, section 4.2; codes of RFC 2034 and 3463).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Buf, BytesMut};
use memchr::memchr;

/// Longest line of a reply, its end included. RFC 5321 allows 512; a longer one than this ends the connection.
pub const PEER_LINE_OCTETS_MAX: usize = 4096;
/// Longest reply of several lines, in octets. The EHLO reply is the longest that makes sense.
pub const PEER_REPLY_OCTETS_MAX: usize = 64 * 1024;

/// A whole reply of a server, or one that the client made up because there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReply {
    code: u16,
    lines: Vec<String>,
    octets: Vec<u8>,
    internal: bool,
}

/// An enhanced status code: class, subject, detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnhancedStatus {
    /// 2, 4 or 5: the same as the first digit of the reply code.
    pub class: u8,
    /// What it is about (1 address, 2 mailbox, 3 system, 4 network, 5 protocol, 6 content, 7 policy).
    pub subject: u16,
    /// What exactly.
    pub detail: u16,
}

impl PeerReply {
    /// A reply of ours: what would have been said. The text starts with the enhanced status code.
    pub(crate) fn internal(code: u16, text: String) -> Self {
        Self { code, octets: format!("{code} {text}").into_bytes(), lines: Vec::from([text]), internal: true }
    }

    /// Whether the client made it up. The text does not tell: a server may write `[internal]` too.
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        self.internal
    }

    /// The reply code, 200 to 599.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The reply as it was sent, without the end of its last line.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The texts of the lines, without codes. Octets that are no UTF-8 are replaced, control characters too.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The enhanced status code of the first line, when there is one that agrees with the reply code.
    #[must_use]
    pub fn status(&self) -> Option<EnhancedStatus> {
        let word = self.lines.first()?.split(' ').next()?;
        let mut parts = word.split('.');
        let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
        let number = |text: &str| {
            let digits = (1..=3).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
            digits.then(|| text.parse::<u16>().ok()).flatten()
        };
        let class = number(class).filter(|class| *class == self.code / 100)?;
        if parts.next().is_some() {
            return None;
        }
        let class = u8::try_from(class).ok()?;
        Some(EnhancedStatus { class, subject: number(subject)?, detail: number(detail)? })
    }

    /// What the first digit of the code says; the text is never looked at (RFC 5321, section 4.2.1).
    pub(crate) const fn verdict(&self) -> Verdict {
        match self.code / 100 {
            2 => Verdict::Done,
            3 => Verdict::GoOn,
            4 => Verdict::Temporary,
            _ => Verdict::Permanent,
        }
    }
}

impl fmt::Display for PeerReply {
    /// On one line and clean, for consoles and reports.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        self.lines.iter().filter(|line| !line.is_empty()).try_for_each(|line| write!(f, " {line}"))
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// The first digit of a reply code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    GoOn,
    Temporary,
    Permanent,
}

/// What arrived is no SMTP reply. The server is at fault; the reader is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line is too long.
    #[error("a reply line is longer than {PEER_LINE_OCTETS_MAX} octets")]
    LineTooLong,
    /// A reply has too many lines.
    #[error("a reply is longer than {PEER_REPLY_OCTETS_MAX} octets")]
    ReplyTooLong,
    /// A line does not begin with a code from 200 to 599 and a blank, a hyphen or its end.
    #[error("a line does not begin with a reply code")]
    NoCode,
    /// The lines of one reply say different things.
    #[error("the lines of a reply begin with codes of different kinds")]
    MixedCodes,
}

/// Collects octets until a reply is complete. Holds at most one line and one reply.
#[derive(Debug, Default)]
pub(crate) struct ReplyReader {
    line: BytesMut,
    lines: Vec<String>,
    octets: Vec<u8>,
    code: Option<u16>,
}

impl ReplyReader {
    /// Takes octets from the front of `input` until a reply is complete; none when everything was taken first.
    ///
    /// A bare LF ends a line too: nothing is decided by it that the server could not say outright. Codes that differ
    /// within their first digit are taken from the last line, as the field does.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<PeerReply>, ReplyError> {
        while !input.is_empty() {
            let end = memchr(b'\n', input).map(|at| at + 1);
            let count = end.unwrap_or(input.len());
            if self.line.len() + count > PEER_LINE_OCTETS_MAX {
                return Err(ReplyError::LineTooLong);
            }
            self.line.extend_from_slice(input.get(..count).unwrap_or_default());
            input.advance(count);
            if end.is_some()
                && let Some(reply) = self.line_complete()?
            {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    fn line_complete(&mut self) -> Result<Option<PeerReply>, ReplyError> {
        let whole = core::mem::take(&mut self.line);
        let line = whole.strip_suffix(b"\n").unwrap_or(&whole);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.octets.len() + whole.len() > PEER_REPLY_OCTETS_MAX {
            return Err(ReplyError::ReplyTooLong);
        }
        self.octets.extend_from_slice(&whole);
        let Some((&[a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'], rest)) =
            line.split_first_chunk::<3>()
        else {
            return Err(ReplyError::NoCode);
        };
        let code = [a, b, c].iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        if self.code.is_some_and(|before| before / 100 != code / 100) {
            return Err(ReplyError::MixedCodes);
        }
        let (more, text) = match rest {
            [] => (false, rest),
            [b' ', text @ ..] => (false, text),
            [b'-', text @ ..] => (true, text),
            _ => return Err(ReplyError::NoCode),
        };
        let text =
            String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        self.lines.push(text);
        self.code = Some(code);
        if more {
            return Ok(None);
        }
        let Self { lines, mut octets, .. } = core::mem::take(self);
        octets.truncate(octets.len() - (whole.len() - line.len()));
        Ok(Some(PeerReply { code, lines, octets, internal: false }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(input: &[u8], piece: usize) -> (Vec<PeerReply>, Option<ReplyError>) {
        let (mut reader, mut replies) = (ReplyReader::default(), Vec::new());
        for mut part in input.chunks(piece) {
            loop {
                match reader.next(&mut part) {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(error) => return (replies, Some(error)),
                }
            }
        }
        (replies, None)
    }

    fn check(input: &str, wanted: &[&str], error: Option<ReplyError>) {
        for piece in [1, 3, 10_000] {
            let (replies, found) = read(input.as_bytes(), piece);
            let replies: Vec<String> = replies.iter().map(PeerReply::to_string).collect();
            assert_eq!(
                (replies, found),
                (wanted.iter().map(ToString::to_string).collect(), error),
                "{input:?}"
            );
        }
    }

    /// RFC 5321 checklist, line 21: multi-line replies are read, the text is ignored.
    #[test]
    fn mta_rfc5321_21_replies_of_several_lines() {
        check("250 ok\r\n", &["250 ok"], None);
        check("250\r\n251\n", &["250", "251"], None);
        check("250-a\r\n250-\r\n250 b\r\n354 go\r\n", &["250 a b", "354 go"], None);
        check("550-a\n554 b\n", &["554 a b"], None);
        check("250-a\r\n25", &[], None);
        check("250 a\0\u{7f}b\r\n", &["250 a??b"], None);
    }

    #[test]
    fn octets_are_those_of_the_server() {
        for (input, octets) in [
            (&b"550-5.1.1 \xfc\t\r\n550 5.1.1 b\r\n"[..], &b"550-5.1.1 \xfc\t\r\n550 5.1.1 b"[..]),
            (b"550-a\n550\n", b"550-a\n550"),
        ] {
            for piece in [1, 100] {
                assert_eq!(read(input, piece).0.remove(0).octets(), octets);
            }
        }
        let two = read(b"250 a\r\n250 b\r\n", 100).0;
        assert_eq!([two[0].octets(), two[1].octets()], [b"250 a", b"250 b"]);
        assert_eq!(PeerReply::internal(451, String::from("4.4.2 x")).octets(), b"451 4.4.2 x");
    }

    #[test]
    fn a_server_that_says_internal_is_no_reply_of_ours() {
        assert!(!read(b"550 5.1.1 [internal] no\r\n", 100).0.remove(0).is_internal());
        assert!(PeerReply::internal(451, String::from("4.4.2 [internal] no banner")).is_internal());
    }

    #[test]
    fn what_is_no_reply_is_named() {
        check("250 a\r\n\r\n", &["250 a"], Some(ReplyError::NoCode));
        for garbage in ["HTTP/1.1 400\r\n", "25\r\n", "199 a\r\n", "600 a\r\n", "250_a\r\n", "2\u{e9}0 a\r\n"]
        {
            check(garbage, &[], Some(ReplyError::NoCode));
        }
        check("250-a\r\n550 b\r\n", &[], Some(ReplyError::MixedCodes));
        let line = |octets: usize| format!("250 {}\r\n", "x".repeat(octets - 6));
        check(&line(4096), &[line(4096).trim_end()], None);
        check(&line(4097), &[], Some(ReplyError::LineTooLong));
        check(&"x".repeat(5000), &[], Some(ReplyError::LineTooLong));
        check(&"250-x\r\n".repeat(10_000), &[], Some(ReplyError::ReplyTooLong));
    }

    /// RFC 3463: class, subject, detail; the class must be the reply's.
    #[test]
    fn mta_ext_3463_status_is_read() {
        let status = |text: &str| read(text.as_bytes(), 100).0.remove(0).status().map(|s| s.to_string());
        assert_eq!(status("550 5.1.1 no\r\n").as_deref(), Some("5.1.1"));
        assert_eq!(status("450-4.7.999 a\r\n450 4.7.999 b\r\n").as_deref(), Some("4.7.999"));
        assert_eq!(status("250 2.0.0\r\n").as_deref(), Some("2.0.0"));
        for none in
            ["550 4.1.1 no", "550 5.1 no", "550 5.1.1.1 no", "550 5.1.1000 no", "550 5..1 no", "550", "250 x"]
        {
            assert_eq!(status(&format!("{none}\r\n")), None, "{none}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(500)))]

        #[test]
        fn pieces_do_not_matter(
            words in proptest::collection::vec(
                proptest::sample::select(vec!["250", "550", "-", " ", "\r\n", "\n", "x", "5.1.1", "\r", "250 ok\r\n", "250-a\r\n"]),
                0..30,
            ),
            piece in 1usize..9,
        ) {
            let input = words.concat();
            prop_assert_eq!(read(input.as_bytes(), piece), read(input.as_bytes(), 10_000));
        }
    }
}
