//! Words of a command line.

use alloc::string::String;
use alloc::vec::Vec;

/// One word of a line, with quotes and escapes resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word as meant.
    pub text: String,
    /// The word as typed, quotes included.
    pub raw: String,
    /// Whether any part of it was quoted.
    pub quoted: bool,
}

/// Why a line has no words. The line is at fault; nothing has been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LexError {
    /// A quote has no partner.
    #[error("Unterminated {0} in the command line; close it or quote it.")]
    Unterminated(char),
    /// A control character other than TAB.
    #[error("Control character in the command line; only TAB is allowed.")]
    Control,
}

/// Splits a line at blanks and TABs. `"…"` and `'…'` quote; inside double quotes `\"` and `\\` stand for the
/// second character and every other backslash for itself. All other characters are ordinary.
///
/// # Errors
/// As [`LexError`].
pub fn words(line: &str) -> Result<Vec<Word>, LexError> {
    let mut found = Vec::new();
    let mut rest = line.char_indices().peekable();
    loop {
        while rest.next_if(|(_, c)| is_blank(*c)).is_some() {}
        let Some(&(start, _)) = rest.peek() else { return Ok(found) };
        let mut text = String::new();
        let mut quoted = false;
        while let Some((_, c)) = rest.next_if(|(_, c)| !is_blank(*c)) {
            match c {
                '"' | '\'' => {
                    quoted = true;
                    quotation(c, &mut rest, &mut text)?;
                }
                c if c.is_control() => return Err(LexError::Control),
                c => text.push(c),
            }
        }
        let end = rest.peek().map_or(line.len(), |(at, _)| *at);
        let raw = line.get(start..end).unwrap_or_default().into();
        found.push(Word { text, raw, quoted });
    }
}

fn quotation(
    quote: char,
    rest: &mut core::iter::Peekable<core::str::CharIndices<'_>>,
    text: &mut String,
) -> Result<(), LexError> {
    while let Some((_, c)) = rest.next() {
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match rest.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => text.push(escaped),
                None => text.push('\\'),
            },
            c if c.is_control() && c != '\t' => return Err(LexError::Control),
            c => text.push(c),
        }
    }
    Err(LexError::Unterminated(quote))
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(line: &str, expected: &[&str]) {
        let texts: Vec<String> = words(line).unwrap().into_iter().map(|w| w.text).collect();
        assert_eq!(texts, expected, "{line}");
    }

    #[test]
    fn console_s4_1_lexing() {
        check("", &[]);
        check(" \t ", &[]);
        check("  cluster \t info ", &["cluster", "info"]);
        check(
            "count SMTP 10.0.0.0/8 #mmove a=b [x] *",
            &["count", "SMTP", "10.0.0.0/8", "#mmove", "a=b", "[x]", "*"],
        );
        check(r#"a "b c" 'd e' """#, &["a", "b c", "d e", ""]);
        check(r#""q\"b\\c\n" 'a\b"'"#, &[r#"q"b\c\n"#, r#"a\b""#]);
        check(r#"pre"mid dle"post"#, &["premid dlepost"]);
        assert_eq!(words("a 'b"), Err(LexError::Unterminated('\'')));
        assert_eq!(words("a \"b\\\""), Err(LexError::Unterminated('"')));
        assert_eq!(words("a\u{7}"), Err(LexError::Control));
    }

    proptest! {
        /// Quoting any printable text gives it back as one word, wherever it stands.
        #[test]
        fn quoting_is_undone(texts in prop::collection::vec("[ -~äß\t]{0,20}", 0..6)) {
            let line = texts.iter().map(|t| alloc::format!("\"{}\"", t.replace('\\', "\\\\").replace('"', "\\\"")))
                .collect::<Vec<_>>().join(" \t");
            let found: Vec<String> = words(&line).unwrap().into_iter().map(|w| w.text).collect();
            prop_assert_eq!(found, texts);
        }

        /// The words as typed, joined by single blanks, have the same words again.
        #[test]
        fn raw_words_are_stable(line in "[ -~\t]{0,60}") {
            if let Ok(first) = words(&line) {
                let joined = first.iter().map(|w| w.raw.clone()).collect::<Vec<_>>().join(" ");
                prop_assert_eq!(words(&joined).unwrap(), first);
            }
        }
    }
}
