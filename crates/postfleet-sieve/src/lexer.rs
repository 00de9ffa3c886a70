//! Text to tokens.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::error::Problem;

/// The longest script that is read. Real ones have some kilobytes; a longer one is a mistaken file.
pub const SCRIPT_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Name(String),
    Tag(String),
    Number(u64),
    Text(String),
    Variable(String),
    Mark(char),
    End,
}

impl Kind {
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Name(name) => format!("'{name}'"),
            Self::Tag(name) => format!("':{name}'"),
            Self::Number(number) => format!("number {number}"),
            Self::Text(_) => "a string".into(),
            Self::Variable(name) => format!("'${name}'"),
            Self::Mark(mark) => format!("'{mark}'"),
            Self::End => "the end of the script".into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: u32,
    /// Nothing stands between this token and the one before it: `$h["k"]` is an index, `$h ["k"]` two arguments.
    pub(crate) glued: bool,
}

struct Lexer<'a> {
    rest: &'a str,
    line: u32,
}

pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    if text.len() > SCRIPT_BYTES_MAX {
        let text = format!("the script has {} bytes; at most {SCRIPT_BYTES_MAX} are read", text.len());
        return Err(Problem::new(1, text));
    }
    let mut lexer = Lexer { rest: text, line: 1 };
    let mut tokens = Vec::new();
    loop {
        let before = lexer.rest.len();
        lexer.skip_blank()?;
        let glued = before == lexer.rest.len();
        let line = lexer.line;
        let kind = lexer.token()?;
        let end = kind == Kind::End;
        tokens.push(Token { kind, line, glued });
        if end {
            return Ok(tokens);
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or("");
        if c == '\n' {
            self.line = self.line.saturating_add(1);
        }
        Some(c)
    }

    fn take(&mut self, wanted: fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn skip_blank(&mut self) -> Result<(), Problem> {
        loop {
            if self.rest.starts_with(char::is_whitespace) {
                self.next();
            } else if self.rest.starts_with('#') {
                self.take(|c| c != '\n');
            } else if self.rest.starts_with("/*") {
                let line = self.line;
                let Some(end) = self.rest.find("*/") else {
                    return Err(Problem::new(line, "this comment does not end; expected '*/'"));
                };
                let (comment, rest) = self.rest.split_at(end.saturating_add(2));
                self.rest = rest;
                self.count_lines(comment);
            } else {
                return Ok(());
            }
        }
    }

    fn count_lines(&mut self, text: &str) {
        let lines = u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX);
        self.line = self.line.saturating_add(lines);
    }

    fn token(&mut self) -> Result<Kind, Problem> {
        let Some(c) = self.rest.chars().next() else { return Ok(Kind::End) };
        match c {
            ';' | ',' | '(' | ')' | '{' | '}' | '[' | ']' | '=' => {
                self.next();
                Ok(Kind::Mark(c))
            }
            '"' => self.quoted(),
            ':' => {
                self.next();
                Ok(Kind::Tag(self.named("a tag", ':')?))
            }
            '$' => {
                self.next();
                Ok(Kind::Variable(self.named("a variable", '$')?))
            }
            _ if c.is_ascii_digit() => self.number(),
            _ if c.is_ascii_alphabetic() || c == '_' => {
                let name = self.take(is_name);
                if name == "text" && self.rest.starts_with(':') {
                    return self.lines();
                }
                Ok(Kind::Name(name.into()))
            }
            _ => Err(Problem::new(self.line, format!("'{c}' is not part of the language here"))),
        }
    }

    fn named(&mut self, what: &str, mark: char) -> Result<String, Problem> {
        let name = self.take(is_name);
        if name.is_empty() {
            return Err(Problem::new(self.line, format!("expected the name of {what} after '{mark}'")));
        }
        Ok(name.into())
    }

    fn number(&mut self) -> Result<Kind, Problem> {
        let digits = self.take(|c| c.is_ascii_digit());
        let suffix = self.take(is_name);
        let unit: u64 = match suffix {
            "" => 1,
            "K" | "k" => 1 << 10,
            "M" | "m" => 1 << 20,
            "G" | "g" => 1 << 30,
            _ => {
                let text =
                    format!("'{digits}{suffix}' is not a number; expected digits and K, M, G or nothing");
                return Err(Problem::new(self.line, text));
            }
        };
        let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        number.map(Kind::Number).ok_or_else(|| Problem::new(self.line, "this number is too large"))
    }

    fn quoted(&mut self) -> Result<Kind, Problem> {
        let line = self.line;
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(Kind::Text(text)),
                Some('\\') => text.extend(self.next()),
                Some(c) => text.push(c),
                None => return Err(Problem::new(line, "this string does not end; expected '\"'")),
            }
        }
    }

    /// `text:` and lines up to one with a lone dot.
    fn lines(&mut self) -> Result<Kind, Problem> {
        let line = self.line;
        self.next();
        self.take(|c| c == ' ' || c == '\t');
        if self.rest.starts_with('#') {
            self.take(|c| c != '\n');
        }
        self.take(|c| c == '\r');
        if self.next() != Some('\n') {
            return Err(Problem::new(line, "expected the end of the line after 'text:'"));
        }
        let mut text = String::new();
        while !self.rest.is_empty() {
            let end = self.rest.find('\n').map_or(self.rest.len(), |end| end.saturating_add(1));
            let (content, rest) = self.rest.split_at(end);
            self.rest = rest;
            self.count_lines(content);
            let content = content.trim_end_matches('\n').trim_end_matches('\r');
            if content == "." {
                return Ok(Kind::Text(text));
            }
            let content = if content.starts_with("..") { content.get(1..).unwrap_or("") } else { content };
            text.push_str(content);
            text.push('\n');
        }
        Err(Problem::new(line, "this text does not end; expected a line with a lone '.'"))
    }
}
