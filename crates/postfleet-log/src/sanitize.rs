//! What is done to replies and header fields before they stand in a line.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::field::without_line_ends;

/// The steps of `sanitize`, applied from left to right. Without any, line ends become blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sanitize(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    SpecialCharacters,
    NonPrintable,
    Map(Vec<(char, char)>),
}

/// Why a text is no `sanitize`; the sentence says what is wrong. Who wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SanitizeError(pub String);

/// Characters that one mapping may name.
const MAPPED_MAX: usize = 4096;

impl Sanitize {
    /// Reads the list: `special_characters`, `non_printable` and `tr/FROM/TO/`, with commas between.
    ///
    /// # Errors
    /// [`SanitizeError`].
    pub fn parse(text: &str) -> Result<Self, SanitizeError> {
        let mut steps = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let after = if let Some(map) = rest.strip_prefix("tr/") {
                let wrong = || SanitizeError(format!("'{rest}' is not tr/FROM/TO/"));
                let (from, behind) = map.split_once('/').ok_or_else(wrong)?;
                let (to, after) = behind.split_once('/').ok_or_else(wrong)?;
                steps.push(Step::Map(mapping(from, to)?));
                after
            } else {
                let (word, _) = rest.split_once(',').unwrap_or((rest, ""));
                steps.push(match word.trim_end() {
                    "special_characters" => Step::SpecialCharacters,
                    "non_printable" => Step::NonPrintable,
                    other => {
                        let known = "special_characters, non_printable or tr/FROM/TO/";
                        return Err(SanitizeError(format!("'{other}' is not one of {known}")));
                    }
                });
                rest.get(word.len()..).unwrap_or_default()
            };
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if after.is_empty() => after,
                None => return Err(SanitizeError(format!("a comma is missing before '{after}'"))),
            };
        }
        Ok(Self(steps))
    }

    /// Applies the steps.
    #[must_use]
    pub fn apply(&self, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        for step in &self.0 {
            text = step.apply(&text);
        }
        without_line_ends(&text)
    }
}

impl Step {
    fn apply(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        for chunk in text.utf8_chunks() {
            let mut valid = String::with_capacity(chunk.valid().len());
            self.apply_to(chunk.valid(), &mut valid);
            out.extend(valid.into_bytes());
            match self {
                Self::NonPrintable => {
                    chunk.invalid().iter().for_each(|octet| out.extend(format!("\\{octet:03}").into_bytes()));
                }
                Self::SpecialCharacters | Self::Map(_) => out.extend(chunk.invalid()),
            }
        }
        out
    }

    fn apply_to(&self, text: &str, out: &mut String) {
        for c in text.chars() {
            match self {
                Self::SpecialCharacters => match c {
                    '\u{7}' => out.push_str("\\a"),
                    '\u{8}' => out.push_str("\\b"),
                    '\t' => out.push_str("\\t"),
                    '\n' => out.push_str("\\n"),
                    '\u{b}' => out.push_str("\\v"),
                    '\u{c}' => out.push_str("\\f"),
                    '\r' => out.push_str("\\r"),
                    '\\' => out.push_str("\\\\"),
                    c => out.push(c),
                },
                Self::NonPrintable if matches!(c, ' '..='~') => out.push(c),
                Self::NonPrintable => {
                    let mut octets = [0; 4];
                    for octet in c.encode_utf8(&mut octets).bytes() {
                        _ = write!(out, "\\{octet:03}");
                    }
                }
                Self::Map(map) => {
                    out.push(map.iter().find(|(from, _)| *from == c).map_or(c, |(_, to)| *to));
                }
            }
        }
    }
}

/// As tr(1): ranges, and a second list that is shorter goes on with its last character.
fn mapping(from: &str, to: &str) -> Result<Vec<(char, char)>, SanitizeError> {
    let (from, to) = (characters(from)?, characters(to)?);
    let Some(last) = to.last() else {
        return Err(SanitizeError(String::from("tr needs characters to map to")));
    };
    Ok(from.iter().enumerate().map(|(at, c)| (*c, *to.get(at).unwrap_or(last))).collect())
}

fn characters(text: &str) -> Result<Vec<char>, SanitizeError> {
    let given: Vec<char> = text.chars().collect();
    let mut list = Vec::new();
    let mut rest = given.as_slice();
    loop {
        match rest {
            [first, '-', last, after @ ..] => {
                if first > last {
                    return Err(SanitizeError(format!("the range '{first}-{last}' is the wrong way round")));
                }
                list.extend((*first..=*last).take(MAPPED_MAX + 1));
                rest = after;
            }
            [c, after @ ..] => {
                list.push(*c);
                rest = after;
            }
            [] => break,
        }
        if list.len() > MAPPED_MAX {
            return Err(SanitizeError(format!("tr maps more than {MAPPED_MAX} characters")));
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(steps: &str, text: &str, expected: &str) {
        let applied = Sanitize::parse(steps).unwrap().apply(text.as_bytes());
        assert_eq!(String::from_utf8(applied).unwrap(), expected, "{steps}");
    }

    #[test]
    fn logging_15_3_escapes_then_semicolons() {
        check("special_characters,tr/;/_/", "a;b\tc\\\r\n", "a_b\\tc\\\\\\r\\n");
        check("non_printable", "\u{1b}x\u{fc}", "\\027x\\195\\188");
        check("", "a\r\nb\nc\u{1}", "a b c\u{1}");
        check("tr/a-c-/A-C_/", "abcd-e", "ABCd_e");
        check("tr/abc/x/, special_characters", "aabbcc\t", "xxxxxx\\t");
        check("tr/,/;/", "a,b", "a;b");
    }

    #[test]
    fn octets_that_are_no_text_stay_or_become_numbers() {
        let apply = |steps: &str| Sanitize::parse(steps).unwrap().apply(b"a\xfc\tb\r\nc");
        assert_eq!(apply(""), b"a\xfc\tb c");
        assert_eq!(apply("special_characters,tr/a/x/"), b"x\xfc\\tb\\r\\nc");
        assert_eq!(apply("non_printable"), b"a\\252\\009b\\013\\010c");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            "special",
            "tr/a",
            "tr/a/b",
            "tr/a//",
            "tr/c-a/x/",
            "tr/a/b/c",
            "special_characters non_printable",
        ] {
            assert!(Sanitize::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_list_is_read_or_refused(steps in any::<String>(), text in any::<String>()) {
            if let Ok(sanitize) = Sanitize::parse(&steps) {
                let applied = sanitize.apply(text.as_bytes());
                prop_assert!(!applied.contains(&b'\r') && !applied.contains(&b'\n'));
            }
        }
    }
}
