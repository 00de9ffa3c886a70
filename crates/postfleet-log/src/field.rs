//! Text from outside as part of a line.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

/// An id that is not known.
pub const UNKNOWN_ID: &str = "00/00-00000-00000000";

/// Escapes a field that others follow: `@`, the backslash, and what would end the line.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '@' => out.push_str("\\@"),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_control(c) => _ = write!(out, "\\x{:02x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}

/// The last field of a record: line ends become one blank, other control characters `\xNN`, all else stays.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' => {
                rest.next_if_eq(&'\n');
                out.push(' ');
            }
            '\n' => out.push(' '),
            c if is_control(c) => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn is_control(c: char) -> bool {
    u32::from(c) < 0x20 || u32::from(c) == 0x7F
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
