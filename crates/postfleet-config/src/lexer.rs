//! Text to tokens.

use alloc::string::String;
use alloc::vec::Vec;

use crate::diagnostic::{Finding, Findings};
use crate::source::{SourceId, Span};
use crate::syntax::Quote;
use crate::work;

/// The longest token, in bytes (1 MiB): no sensible value is near it, and memory stays bounded.
const TOKEN_BYTES_MAX: usize = 1 << 20;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word(Quote),
    Equals,
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    OpenParen,
    CloseParen,
    Less,
    Greater,
    End,
}

impl Kind {
    pub(crate) const fn is_word(self) -> bool {
        matches!(self, Self::Word(_))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// The text of a word, escapes resolved.
    pub(crate) text: String,
    pub(crate) span: Span,
    pub(crate) line: u32,
    /// Where the token ends; differs from `line` for a string over several lines.
    pub(crate) end_line: u32,
    pub(crate) first_on_line: bool,
}

/// A comment, for tools that write a text anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comment {
    pub(crate) span: Span,
    /// Where the token before it ends, when that is on the line the comment begins on.
    pub(crate) after: Option<u32>,
    /// Nothing but comments follows on the line the comment ends on.
    pub(crate) last_on_line: bool,
    pub(crate) line: u32,
    pub(crate) end_line: u32,
    /// The token behind it, by its place in the list.
    next: usize,
}

/// The tokens of a text, `End` last. `cut_short` is set when the rest of the text could not be read, so that
/// complaints about what is missing at the end would be noise.
pub(crate) struct Tokens {
    pub(crate) list: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) cut_short: bool,
}

pub(crate) fn lex(source: SourceId, text: &str, replaced: &[usize], findings: &mut Findings) -> Tokens {
    let mut lexer = Lexer {
        source,
        text,
        at: 0,
        line: 1,
        replaced,
        findings,
        list: Vec::new(),
        comments: Vec::new(),
        cut_short: false,
    };
    lexer.run();
    let Lexer { list, mut comments, cut_short, .. } = lexer;
    for comment in &mut comments {
        let before = comment.next.checked_sub(1).and_then(|at| list.get(at));
        comment.after = before.filter(|token| token.end_line == comment.line).map(|token| token.span.end);
        let next = list.get(comment.next).filter(|token| token.kind != Kind::End);
        comment.last_on_line = next.is_none_or(|token| token.line > comment.end_line);
    }
    Tokens { list, comments, cut_short }
}

struct Lexer<'a> {
    source: SourceId,
    text: &'a str,
    at: usize,
    line: u32,
    /// Where bytes that were not UTF-8 have been replaced, ascending.
    replaced: &'a [usize],
    findings: &'a mut Findings,
    list: Vec<Token>,
    comments: Vec<Comment>,
    cut_short: bool,
}

const fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n' | '\x0c')
}

const fn is_typographic(character: char) -> bool {
    matches!(character, '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}')
}

const fn punctuation(character: char) -> Option<Kind> {
    match character {
        '=' => Some(Kind::Equals),
        '{' => Some(Kind::OpenBrace),
        '}' => Some(Kind::CloseBrace),
        '[' => Some(Kind::OpenBracket),
        ']' => Some(Kind::CloseBracket),
        '(' => Some(Kind::OpenParen),
        ')' => Some(Kind::CloseParen),
        '<' => Some(Kind::Less),
        '>' => Some(Kind::Greater),
        _ => None,
    }
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::at(self.source, start, end)
    }

    fn run(&mut self) {
        while let Some(character) = self.rest().chars().next() {
            let start = self.at;
            if is_space(character) {
                if character == '\n' {
                    self.line = self.line.saturating_add(1);
                }
                self.at += 1;
            } else if character == '#' {
                let end = self.rest().find('\n').map_or(self.text.len(), |offset| self.at + offset);
                self.nul_check(start, end);
                self.comment(start, end, self.line);
                self.at = end;
            } else if self.rest().starts_with("/*") {
                if !self.block_comment() {
                    break;
                }
            } else if let Some(kind) = punctuation(character) {
                self.at += 1;
                self.push(kind, String::new(), start, self.line);
            } else if character == '"' || character == '\'' {
                if !self.string(character) {
                    break;
                }
            } else if is_typographic(character) {
                self.typographic(character);
            } else {
                self.word();
            }
        }
        let end = self.text.len();
        self.at = end;
        self.push(Kind::End, String::new(), end, self.line);
    }

    fn push(&mut self, kind: Kind, text: String, start: usize, line: u32) {
        work::step();
        let first_on_line = self.list.last().is_none_or(|last| last.end_line < line);
        let end_line = self.line;
        let span = self.span(start, self.at);
        if self.at - start > TOKEN_BYTES_MAX {
            let finding = Finding::error(2001, span, "a single word or string is too long");
            self.findings.push(finding.expected("at most 1 MiB"));
        }
        self.list.push(Token { kind, text, span, line, end_line, first_on_line });
    }

    fn comment(&mut self, start: usize, end: usize, line: u32) {
        let span = self.span(start, end);
        let (next, end_line) = (self.list.len(), self.line);
        self.comments.push(Comment { span, after: None, last_on_line: false, line, end_line, next });
    }

    fn nul_check(&mut self, start: usize, end: usize) {
        if let Some(offset) = self.text.get(start..end).and_then(|text| text.find('\0')) {
            let span = self.span(start + offset, start + offset + 1);
            self.findings.push(Finding::error(1004, span, "the file contains a NUL byte"));
        }
    }

    /// Complains about NUL, and about bytes that were not UTF-8, outside comments.
    fn byte_check(&mut self, start: usize, end: usize) {
        self.nul_check(start, end);
        let first = self.replaced.partition_point(|at| *at < start);
        if let Some(at) = self.replaced.get(first).copied().filter(|at| *at < end) {
            let finding = Finding::error(1004, self.span(at, at + '\u{fffd}'.len_utf8()), "not UTF-8");
            self.findings.push(finding.expected("text in UTF-8; other bytes may stand in comments only"));
        }
    }

    fn count_lines(&mut self, start: usize, end: usize) {
        let count = self.text.get(start..end).unwrap_or("").bytes().filter(|b| *b == b'\n').count();
        self.line = self.line.saturating_add(crate::source::narrow(count));
    }

    fn block_comment(&mut self) -> bool {
        let start = self.at;
        let body = self.text.get(start + 2..).unwrap_or("");
        if let Some(offset) = body.find("*/") {
            self.at = start + 2 + offset + 2;
            self.nul_check(start, self.at);
            let line = self.line;
            self.count_lines(start, self.at);
            self.comment(start, self.at, line);
            return true;
        }
        self.findings.push(
            Finding::error(
                1002,
                self.span(start, start + 2),
                "comment not closed before the end of the file",
            )
            .expected("`*/`"),
        );
        self.cut_short = true;
        false
    }

    fn string(&mut self, quote: char) -> bool {
        let start = self.at;
        let line = self.line;
        let mut value = String::new();
        let body = self.text.get(start + 1..).unwrap_or("");
        let mut characters = body.char_indices();
        let mut end = None;
        while let Some((offset, character)) = characters.next() {
            if character == quote {
                end = Some(start + 1 + offset + 1);
                break;
            }
            if character == '\\' && quote == '"' {
                match characters.next() {
                    Some((_, '"')) => value.push('"'),
                    Some((_, '\\')) => value.push('\\'),
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 'r')) => value.push('\r'),
                    Some((_, 't')) => value.push('\t'),
                    // Kept together, so that regular expressions need no doubling.
                    Some((_, other)) => {
                        value.push('\\');
                        value.push(other);
                    }
                    None => break,
                }
            } else {
                value.push(character);
            }
        }
        let Some(end) = end else {
            let finding = Finding::error(
                1001,
                self.span(start, start + 1),
                "string not closed before the end of the file",
            );
            self.findings.push(finding.expected(if quote == '"' {
                "a closing `\"`"
            } else {
                "a closing `'`"
            }));
            self.cut_short = true;
            return false;
        };
        self.byte_check(start, end);
        self.at = end;
        self.count_lines(start, end);
        let kind = Kind::Word(if quote == '"' { Quote::Double } else { Quote::Single });
        self.push(kind, value, start, line);
        true
    }

    /// The word goes on as a string would, so that the rest of the line still makes sense.
    fn typographic(&mut self, opener: char) {
        let start = self.at;
        let line_end = self.rest().find('\n').map_or(self.text.len(), |offset| start + offset);
        let inner = start + opener.len_utf8();
        let body = self.text.get(inner..line_end).unwrap_or("");
        let closing = body.char_indices().find(|(_, character)| is_typographic(*character));
        let (end, value) = match closing {
            Some((offset, character)) => (inner + offset + character.len_utf8(), body.get(..offset)),
            None => {
                let offset = body.find(is_space).unwrap_or(body.len());
                (inner + offset, body.get(..offset))
            }
        };
        let finding = Finding::error(
            1005,
            self.span(start, end),
            alloc::format!("typographic quote {opener} (U+{:04X})", u32::from(opener)),
        );
        self.findings.push(finding.expected("a plain quote").hint("write \" instead"));
        self.at = end;
        self.push(Kind::Word(Quote::Double), String::from(value.unwrap_or("")), start, self.line);
    }

    fn word(&mut self) {
        let start = self.at;
        let rest = self.rest();
        let mut length = rest
            .find(|c: char| is_space(c) || matches!(c, '#' | '"' | '\'') || punctuation(c).is_some())
            .unwrap_or(rest.len());
        let comment = rest.get(..length).and_then(|word| word.find("/*"));
        if let Some(offset) = comment {
            length = offset;
        }
        let word = String::from(rest.get(..length).unwrap_or(""));
        self.byte_check(start, start + length);
        self.at = start + length;
        let closes_nothing = word.starts_with("*/") || (word.ends_with("*/") && !word.starts_with('/'));
        if closes_nothing {
            let offset = word.find("*/").unwrap_or(0);
            let span = self.span(start + offset, start + offset + 2);
            self.findings.push(Finding::error(
                1006,
                span,
                "`*/` closes no comment; block comments do not nest",
            ));
            // What stands before it is dropped as part of the comment that was meant.
            self.at = start + offset + 2;
            return;
        }
        self.push(Kind::Word(Quote::Bare), word, start, self.line);
        if comment.is_some() {
            let span = self.span(self.at, self.at + 2);
            self.findings.push(
                Finding::error(1003, span, "`/*` inside a word")
                    .hint("quote the value, or put a space before the comment"),
            );
            if self.block_comment_end().is_none() {
                self.at = self.text.len();
                self.cut_short = true;
            }
        }
    }

    fn block_comment_end(&mut self) -> Option<()> {
        let start = self.at;
        let offset = self.text.get(start + 2..)?.find("*/")?;
        self.at = start + 2 + offset + 2;
        self.count_lines(start, self.at);
        Some(())
    }
}
