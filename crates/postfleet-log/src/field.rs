//! Text from outside as part of a line.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// An id that is not known.
pub const UNKNOWN_ID: &str = "00/00-00000-00000000";

/// Escapes a field that others follow: `@`, the backslash, and what would end the line.
pub(crate) fn escaped(text: &str) -> String {
    text_of(escaped_octets(text.as_bytes()))
}

/// The same of octets that need not be UTF-8: those above 127 stay.
pub(crate) fn escaped_octets(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for octet in text {
        match octet {
            b'@' => out.extend(b"\\@"),
            b'\\' => out.extend(b"\\\\"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            octet => push(&mut out, *octet),
        }
    }
    out
}

/// The last field of a record: line ends become one blank, other control characters `\xNN`, all else stays.
#[must_use]
pub fn one_line(text: &str) -> String {
    text_of(one_line_octets(text.as_bytes()))
}

/// The same of octets that need not be UTF-8: those above 127 stay.
pub(crate) fn one_line_octets(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    without_line_ends(text).into_iter().for_each(|octet| push(&mut out, octet));
    out
}

/// CR LF, CR and LF as one blank each.
pub(crate) fn without_line_ends(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter().peekable();
    while let Some(octet) = rest.next() {
        match octet {
            b'\r' => {
                rest.next_if_eq(&&b'\n');
                out.push(b' ');
            }
            b'\n' => out.push(b' '),
            octet => out.push(*octet),
        }
    }
    out
}

fn push(out: &mut Vec<u8>, octet: u8) {
    if octet.is_ascii_control() {
        out.extend(format!("\\x{octet:02x}").into_bytes());
    } else {
        out.push(octet);
    }
}

/// Only ASCII was changed, so it is as much UTF-8 as it was.
fn text_of(octets: Vec<u8>) -> String {
    String::from_utf8(octets).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Splits a line as a reader does, undoing the escapes.
    fn split(line: &str, parts: usize) -> Vec<String> {
        let mut fields = vec![String::new()];
        let mut rest = line.chars();
        while let Some(c) = rest.next() {
            if fields.len() == parts {
                fields.last_mut().unwrap().push(c);
                continue;
            }
            match c {
                '@' => fields.push(String::new()),
                '\\' => {
                    let c = match rest.next().unwrap() {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        'x' => {
                            let digits: String = rest.by_ref().take(2).collect();
                            char::from(u8::from_str_radix(&digits, 16).unwrap())
                        }
                        c => c,
                    };
                    fields.last_mut().unwrap().push(c);
                }
                c => fields.last_mut().unwrap().push(c),
            }
        }
        fields
    }

    proptest! {
        #[test]
        fn fields_come_back(first in any::<String>(), second in any::<String>(), last in "[^\r\n\\x00-\\x1f\\x7f]*") {
            let line = format!("{}@{}@{}", escaped(&first), escaped(&second), one_line(&last));
            prop_assert!(!line.contains(['\n', '\r']));
            prop_assert_eq!(split(&line, 3), [first, second, last]);
        }
    }
}
