//! The tree of one file, as written, and its canonical print.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::source::Span;

/// How a word was delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    /// Not at all.
    Bare,
    /// `"…"`, with escapes.
    Double,
    /// `'…'`, without escapes.
    Single,
}

/// A word or a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What it says, escapes resolved.
    pub text: String,
    /// How it was delimited.
    pub quote: Quote,
    /// Where, with its quotes.
    pub span: Span,
}

/// A value as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// One word.
    Atom(Word),
    /// `( … )`.
    List(Vec<Word>, Span),
    /// `[ k = v … ]`.
    Dict(Vec<(Word, Word)>, Span),
}

impl Written {
    /// Where the value stands, its brackets included.
    #[must_use]
    pub const fn span(&self) -> Span {
        match self {
            Self::Atom(word) => word.span,
            Self::List(_, span) | Self::Dict(_, span) => *span,
        }
    }

    /// The value on one line, for messages and commands.
    pub(crate) fn one_line(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Atom(word) => print_word(&mut text, word),
            Self::List(words, _) => {
                text.push('(');
                for word in words {
                    text.push(' ');
                    print_word(&mut text, word);
                }
                text.push_str(if words.is_empty() { ")" } else { " )" });
            }
            Self::Dict(pairs, _) => {
                text.push('[');
                for (key, value) in pairs {
                    text.push(' ');
                    print_word(&mut text, key);
                    text.push_str(" = ");
                    print_word(&mut text, value);
                }
                text.push_str(if pairs.is_empty() { "]" } else { " ]" });
            }
        }
        text
    }
}

/// One item of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// `include PATH`.
    Include {
        /// `readonly_include` was written.
        read_only: bool,
        /// What to read.
        path: Word,
    },
    /// `name = value`.
    Assignment {
        /// The option.
        name: Word,
        /// Its value.
        value: Written,
    },
    /// `scope name { … }`.
    Stanza {
        /// The scope.
        scope: Word,
        /// The instance, where one is named.
        name: Option<Word>,
        /// What stands between the braces.
        body: Vec<Item>,
    },
}

/// The items as text: two blanks a level, one item a line. Parsing it gives the same items again.
#[must_use]
pub fn print(items: &[Item]) -> String {
    let mut text = String::new();
    print_items(&mut text, items, 0);
    text
}

fn print_items(text: &mut String, items: &[Item], depth: usize) {
    for item in items {
        indent(text, depth);
        match item {
            Item::Include { read_only, path } => {
                text.push_str(if *read_only { "readonly_include " } else { "include " });
                print_word(text, path);
            }
            Item::Assignment { name, value } => {
                text.push_str(&name.text);
                text.push_str(" = ");
                print_value(text, value, depth);
            }
            Item::Stanza { scope, name, body } => {
                text.push_str(&scope.text);
                if let Some(name) = name {
                    text.push(' ');
                    print_word(text, name);
                }
                if body.is_empty() {
                    text.push_str(" {}");
                } else {
                    text.push_str(" {\n");
                    print_items(text, body, depth + 1);
                    indent(text, depth);
                    text.push('}');
                }
            }
        }
        text.push('\n');
    }
}

fn print_value(text: &mut String, value: &Written, depth: usize) {
    match value {
        Written::Atom(word) => print_word(text, word),
        Written::List(words, _) if words.is_empty() => text.push_str("()"),
        Written::List(words, _) => {
            text.push_str("(\n");
            for word in words {
                indent(text, depth + 1);
                print_word(text, word);
                text.push('\n');
            }
            indent(text, depth);
            text.push(')');
        }
        Written::Dict(pairs, _) if pairs.is_empty() => text.push_str("[]"),
        Written::Dict(pairs, _) => {
            text.push_str("[\n");
            for (key, value) in pairs {
                indent(text, depth + 1);
                print_word(text, key);
                text.push_str(" = ");
                print_word(text, value);
                text.push('\n');
            }
            indent(text, depth);
            text.push(']');
        }
    }
}

fn indent(text: &mut String, depth: usize) {
    for _ in 0..depth {
        text.push_str("  ");
    }
}

/// A word as it may stand in a file.
pub(crate) fn print_word(text: &mut String, word: &Word) {
    match word.quote {
        Quote::Bare => text.push_str(&word.text),
        Quote::Single => {
            let _ = write!(text, "'{}'", word.text);
        }
        Quote::Double => print_quoted(text, &word.text),
    }
}

/// A text in double quotes. A backslash is doubled only where it would begin an escape, so that regular expressions
/// look as they were written.
pub(crate) fn print_quoted(text: &mut String, content: &str) {
    text.push('"');
    let mut rest = content.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => {
                let escapes =
                    matches!(rest.peek(), None | Some('"' | '\\' | 'n' | 'r' | 't' | '\n' | '\r' | '\t'));
                text.push_str(if escapes { "\\\\" } else { "\\" });
            }
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            other => text.push(other),
        }
    }
    text.push('"');
}
