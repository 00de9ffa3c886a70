//! Content on its way out: line ends made CR LF, dots stuffed (RFC 5321, sections 2.3.8 and 4.5.2).

use bytes::BytesMut;
use memchr::memchr2;

/// The state between two pieces of one message. Holds no content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder {
    stuff: bool,
    strip: bool,
    line_start: bool,
    /// The last octet was CR, and nothing was written for it yet.
    carriage: bool,
}

impl Encoder {
    /// `stuff` doubles dots at the start of lines (DATA, not BDAT); `strip` clears eighth bits.
    pub(crate) const fn new(stuff: bool, strip: bool) -> Self {
        Self { stuff, strip, line_start: true, carriage: false }
    }

    /// Writes the next piece. Adds at most two octets for each one taken, and two.
    ///
    /// A bare CR and a bare LF become CR LF each: a reader that takes them for line ends, and one that does not,
    /// would otherwise see different messages.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut BytesMut) {
        if self.strip {
            // First of all: 0x8d, 0x8a and 0xae become CR, LF and the dot.
            for part in piece.chunks(1024) {
                let mut stripped = [0; 1024];
                let stripped = stripped.get_mut(..part.len()).unwrap_or_default();
                stripped.iter_mut().zip(part).for_each(|(to, from)| *to = from & 0x7f);
                self.lines(stripped, out);
            }
        } else {
            self.lines(piece, out);
        }
    }

    /// Writes what is missing: the end of the last line.
    pub(crate) fn finish(&mut self, out: &mut BytesMut) {
        if self.carriage || !self.line_start {
            self.end_line(out);
        }
    }

    fn end_line(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"\r\n");
        self.line_start = true;
        self.carriage = false;
    }

    fn lines(&mut self, mut rest: &[u8], out: &mut BytesMut) {
        while let Some(first) = rest.first() {
            if self.carriage {
                self.end_line(out);
                if *first == b'\n' {
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
            }
            let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            let (text, from_end) = rest.split_at(end);
            if let Some(first) = text.first() {
                if self.line_start && self.stuff && *first == b'.' {
                    out.extend_from_slice(b".");
                }
                out.extend_from_slice(text);
                self.line_start = false;
            }
            rest = match from_end {
                [b'\r', behind @ ..] => {
                    self.carriage = true;
                    behind
                }
                [_, behind @ ..] => {
                    self.end_line(out);
                    behind
                }
                [] => from_end,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(input: &[u8], stuff: bool, strip: bool, piece: usize) -> Vec<u8> {
        let (mut encoder, mut out) = (Encoder::new(stuff, strip), BytesMut::new());
        input.chunks(piece).for_each(|part| encoder.push(part, &mut out));
        encoder.finish(&mut out);
        out.to_vec()
    }

    /// RFC 5321 checklist: only CR LF ends a line that is sent; dots are stuffed.
    #[test]
    fn mta_rfc5321_lines_and_dots() {
        for (input, wanted) in [
            ("", ""),
            ("a", "a\r\n"),
            ("a\r\n", "a\r\n"),
            (".\r\n..\r\n", "..\r\n...\r\n"),
            ("a\n.\nb", "a\r\n..\r\nb\r\n"),
            ("a\r.\rb\r", "a\r\n..\r\nb\r\n"),
            ("a\r\r\n.", "a\r\n\r\n..\r\n"),
            ("\n\r\n\r", "\r\n\r\n\r\n"),
        ] {
            for piece in [1, 2, 100] {
                assert_eq!(encoded(input.as_bytes(), true, false, piece), wanted.as_bytes(), "{input:?}");
            }
        }
        assert_eq!(encoded(b".a\n", false, false, 9), b".a\r\n");
        assert_eq!(encoded(b"\xc3\xa9\x8a\xae\x8d", true, true, 9), b"C)\r\n..\r\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(1000)))]

        /// No octets make an end of data, and what the server's own framing finds is what was meant.
        #[test]
        fn no_content_ends_the_data(
            input in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'x'), Just(0xae)], 0..60),
            piece in 1usize..20,
            strip: bool,
        ) {
            let out = encoded(&input, true, strip, piece);
            let framed = [b"\r\n", out.as_slice()].concat();
            prop_assert!(!framed.windows(5).any(|five| five == b"\r\n.\r\n"));
            prop_assert!(out.len() <= input.len() * 2 + 2);
            prop_assert_eq!(&out, &encoded(&input, true, strip, 1000));
            let plain = encoded(&input, false, strip, piece);
            let text = String::from_utf8_lossy(&framed).replace("\r\n.", "\r\n");
            let plain = [b"\r\n", plain.as_slice()].concat();
            prop_assert_eq!(text, String::from_utf8_lossy(&plain));
        }
    }
}
