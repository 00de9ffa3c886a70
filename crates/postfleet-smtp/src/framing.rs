//! Finding the end of the data, and removing the dots that were stuffed in (RFC 5321, section 4.5.2).
//!
//! The end is CR LF `.` CR LF and nothing else. Every reader that also takes LF `.` LF, or CR `.` CR, or a mixture,
//! can be made to see a second message where this one sees one; so those are content here, and the checks of
//! the content decide whether they may stay.

use memchr::memmem;

/// What to do with the first octets of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// So many octets are content.
    Content(usize),
    /// One octet is a stuffed dot: drop it.
    Stuffing,
    /// So many octets are the end of the data.
    End(usize),
    /// What is there can only be understood with what follows.
    NeedMore,
}

/// The state between two calls.
#[derive(Clone, Debug)]
pub(crate) struct Framer {
    /// Prepared once: text of short dotted lines asks it for every line.
    dotted_line: memmem::Finder<'static>,
    /// The last octets taken were CR LF (the CR LF of the DATA line counts).
    line_start: bool,
    /// A line that was only a dot ended with a bare CR or LF.
    lone_dot: bool,
}

impl Framer {
    pub(crate) fn new() -> Self {
        Self { dotted_line: memmem::Finder::new(b"\r\n."), line_start: true, lone_dot: false }
    }

    /// Whether CR LF `.` was followed by a bare CR or LF anywhere so far.
    pub(crate) const fn lone_dot(&self) -> bool {
        self.lone_dot
    }

    /// Looks at the octets that were not taken yet. The caller takes what the answer says before the next call.
    ///
    /// Content never ends between CR and LF.
    pub(crate) fn next(&mut self, buffer: &[u8]) -> Frame {
        if self.line_start {
            match buffer {
                [] | [b'.'] | [b'.', b'\r'] => return Frame::NeedMore,
                [b'.', b'\r', b'\n', ..] => return Frame::End(3),
                [b'.', following, ..] => {
                    self.lone_dot |= matches!(following, b'\r' | b'\n');
                    self.line_start = false;
                    return Frame::Stuffing;
                }
                _ => self.line_start = false,
            }
        }
        if let Some(at) = self.dotted_line.find(buffer) {
            self.line_start = true;
            return Frame::Content(at + 2);
        }
        match buffer {
            [] | [b'\r'] => Frame::NeedMore,
            [head @ .., b'\r'] => Frame::Content(head.len()),
            [.., b'\r', b'\n'] => {
                self.line_start = true;
                Frame::Content(buffer.len())
            }
            _ => Frame::Content(buffer.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Content, whether the end was found, and what follows it.
    fn framed(input: &[u8], cuts: &[usize]) -> (Vec<u8>, bool, Vec<u8>, bool) {
        let mut framer = Framer::new();
        let (mut content, mut buffer, mut fed) = (Vec::new(), Vec::new(), 0);
        for cut in cuts.iter().copied().chain([input.len()]) {
            buffer.extend_from_slice(&input[fed..cut.max(fed)]);
            fed = cut.max(fed);
            loop {
                match framer.next(&buffer) {
                    Frame::Content(n) => content.extend(buffer.drain(..n)),
                    Frame::Stuffing => drop(buffer.drain(..1)),
                    Frame::End(n) => {
                        buffer.drain(..n);
                        buffer.extend_from_slice(&input[fed..]);
                        return (content, true, buffer, framer.lone_dot());
                    }
                    Frame::NeedMore => break,
                }
            }
        }
        (content, false, buffer, framer.lone_dot())
    }

    /// The same, octet by octet, from the words of the RFC.
    fn model(input: &[u8]) -> (Vec<u8>, bool, Vec<u8>) {
        let mut seen = b"\r\n".to_vec();
        seen.extend_from_slice(input);
        let mut content = Vec::new();
        let mut at = 2;
        while at < seen.len() {
            let after_crlf = seen[..at].ends_with(b"\r\n");
            if after_crlf && seen[at..].starts_with(b".\r\n") {
                return (content, true, seen[at + 3..].to_vec());
            }
            if !(after_crlf && seen[at] == b'.') {
                content.push(seen[at]);
            }
            at += 1;
        }
        (content, false, Vec::new())
    }

    /// RFC 5321 checklist, lines 1 and 9.
    #[test]
    fn mta_rfc5321_09_end_of_data() {
        let check = |input: &[u8], content: &[u8], end: bool| {
            let (got, ended, _, _) = framed(input, &[]);
            assert_eq!((got.as_slice(), ended), (content, end), "{:?}", String::from_utf8_lossy(input));
        };
        check(b".\r\n", b"", true);
        check(b"a\r\n.\r\n", b"a\r\n", true);
        check(b"a\r\n..\r\n.\r\n", b"a\r\n.\r\n", true);
        check(b"a\n.\r\n.\r\n", b"a\n.\r\n", true);
        check(b"a\r\n.\nb\r\n.\r\n", b"a\r\n\nb\r\n", true);
        for open in
            ["a\n.\n", "a\r.\r", "a\n.\r\n", "a\r\n.\n", "a\r\n.\r", "a\r.\r\n", "a\r\r\n.\r", "\n.\r\n"]
        {
            assert!(!framed(open.as_bytes(), &[]).1, "{open:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(2000)))]

        #[test]
        fn agrees_with_the_rfc_however_it_is_split(
            input in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'x')], 0..40),
            mut cuts in proptest::collection::vec(0usize..40, 0..6),
        ) {
            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(input.len()));
            cuts.sort_unstable();
            let (content, ended, rest, _) = framed(&input, &cuts);
            let (wanted, wanted_end, wanted_rest) = model(&input);
            prop_assert_eq!(ended, wanted_end);
            if ended {
                prop_assert_eq!(content, wanted);
                prop_assert_eq!(rest, wanted_rest);
            } else {
                // What is held back is at most an unfinished end.
                prop_assert!(rest.len() <= 2);
                prop_assert!(wanted.starts_with(&content));
            }
        }
    }
}
