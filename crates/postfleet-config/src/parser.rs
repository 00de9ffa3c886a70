//! Tokens to items, going on after an error.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::diagnostic::{Finding, Findings};
use crate::legacy::raw::{Attributes, Entry, Parsed, Raw, RawValue};
use crate::lexer::{self, Kind, Token};
use crate::secret::is_secret;
use crate::source::{SourceId, Span};
use crate::syntax::{Quote, Word, print_word};
use crate::{schema, value};

/// How deep stanzas and sections may be nested. Four levels are the most that mean anything.
pub(crate) const DEPTH_MAX: usize = 64;

/// The items of one text, 2.x constructs untranslated. Everything wrong with it goes to `findings`.
///
/// `in_module`: the text stands inside a 2.x module stanza, where keys may repeat and sections may be nested.
pub(crate) fn parse(
    source: SourceId,
    text: &str,
    replaced: &[usize],
    in_module: bool,
    findings: &mut Findings,
) -> Parsed {
    let tokens = lexer::lex(source, text, replaced, findings);
    let end = Span::at(source, text.len(), text.len());
    let mut parser = Parser {
        text,
        end: Token {
            kind: Kind::End,
            text: String::new(),
            span: end,
            line: 0,
            end_line: 0,
            first_on_line: false,
        },
        tokens: tokens.list,
        at: 0,
        findings,
        cut_short: tokens.cut_short,
        in_module,
        closers: BTreeMap::new(),
    };
    let items = parser.items(None, 0);
    Parsed { items, closers: parser.closers }
}

/// What a name was followed by that made it an error. The finding has been made.
pub(crate) struct Failed;

pub(crate) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    pub(crate) at: usize,
    pub(crate) findings: &'a mut Findings,
    cut_short: bool,
    end: Token,
    /// Inside a 2.x module stanza.
    pub(crate) in_module: bool,
    pub(crate) closers: BTreeMap<Span, Span>,
}

impl Parser<'_> {
    pub(crate) fn ahead(&self, count: usize) -> &Token {
        self.tokens.get(self.at.saturating_add(count)).unwrap_or(&self.end)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.ahead(0).kind
    }

    pub(crate) fn span(&self) -> Span {
        self.ahead(0).span
    }

    pub(crate) fn advance(&mut self) {
        if self.at < self.tokens.len() {
            self.at += 1;
        }
    }

    /// The word at hand, taken.
    pub(crate) fn take_word(&mut self) -> Option<Word> {
        let Kind::Word(quote) = self.kind() else {
            return None;
        };
        let token = self.tokens.get_mut(self.at)?;
        let word = Word { text: core::mem::take(&mut token.text), quote, span: token.span };
        self.at += 1;
        Some(word)
    }

    fn items(&mut self, opener: Option<(&str, Span)>, depth: usize) -> Vec<Raw> {
        let mut items = Vec::new();
        loop {
            let kind = self.kind();
            if kind == Kind::End {
                if let Some((name, opened)) = opener {
                    self.unclosed(&format!("stanza `{name}`"), opened, "`}`");
                }
                break;
            }
            if kind == Kind::CloseBrace {
                if let Some((_, opened)) = opener {
                    let closer = self.span();
                    self.closers.insert(opened, closer);
                    self.advance();
                    break;
                }
                let finding = Finding::error(2003, self.span(), "`}` closes nothing");
                self.findings.push(finding.expected("an option, a stanza or the end of the file"));
                self.advance();
                continue;
            }
            if matches!(kind, Kind::CloseBracket | Kind::CloseParen) {
                let what = if kind == Kind::CloseParen { "`)` closes nothing" } else { "`]` closes nothing" };
                self.findings.push(Finding::error(2003, self.span(), what));
                self.advance();
                continue;
            }
            if !kind.is_word() {
                self.unexpected("option name, stanza name, `}`");
                self.advance();
                self.recover();
                continue;
            }
            match self.item(depth) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => {}
                Err(Failed) => self.recover(),
            }
        }
        items
    }

    pub(crate) fn unexpected(&mut self, expected: &str) {
        self.unexpected_hinting(expected, None);
    }

    fn unexpected_hinting(&mut self, expected: &str, hint: Option<String>) {
        let token = self.ahead(0);
        let message = if token.kind == Kind::End { "unexpected end of file" } else { "unexpected token" };
        if token.kind == Kind::End && self.cut_short {
            return;
        }
        let finding = Finding::error(2001, token.span, message).expected(expected);
        self.findings.push(finding.maybe_hint(hint));
    }

    /// The end of the file inside something. Said once: the outer openers are unclosed for the same reason.
    pub(crate) fn unclosed(&mut self, what: &str, opened: Span, closer: &str) {
        if self.cut_short {
            return;
        }
        self.cut_short = true;
        let span = self.span();
        self.findings.push(
            Finding::error(2002, span, format!("end of file inside {what}"))
                .expected(closer)
                .see_also(opened)
                .maybe_hint(self.early_closer()),
        );
    }

    /// The outermost stanza is unclosed wherever a brace is missing. Where the text is indented, the first brace that stands
    /// further left than the stanza it closes tells more.
    fn early_closer(&self) -> Option<String> {
        let column = |token: &Token| {
            let before = self.text.get(..token.span.start as usize).unwrap_or("");
            before.rsplit('\n').next().map_or(0, str::len)
        };
        let mut line: Option<&Token> = None;
        let mut open: Vec<&Token> = Vec::new();
        for token in &self.tokens {
            if token.first_on_line {
                line = Some(token);
            }
            if token.kind == Kind::OpenBrace {
                open.push(line.unwrap_or(token));
            } else if token.kind == Kind::CloseBrace {
                let opener = open.pop()?;
                if token.first_on_line && column(token) < column(opener) {
                    return Some(format!(
                        "the `}}` of line {} closes what line {} opens, and stands further left; is one missing before it?",
                        token.line, opener.line
                    ));
                }
            }
        }
        None
    }

    /// To the next line, at the depth of the enclosing body, that begins like an item.
    fn recover(&mut self) {
        let mut depth = 0_usize;
        loop {
            let kind = self.kind();
            if kind == Kind::End || (kind == Kind::CloseBrace && depth == 0) {
                return;
            }
            if depth == 0 && kind == Kind::Word(Quote::Bare) && self.ahead(0).first_on_line {
                let next = self.ahead(1).kind;
                if next.is_word() || matches!(next, Kind::Equals | Kind::OpenBrace | Kind::OpenBracket) {
                    return;
                }
            }
            if kind == Kind::OpenBrace {
                depth += 1;
            } else if kind == Kind::CloseBrace {
                depth -= 1;
            }
            self.advance();
        }
    }

    fn item(&mut self, depth: usize) -> Result<Option<Raw>, Failed> {
        let Some(name) = self.take_word() else {
            return Err(Failed);
        };
        if name.quote != Quote::Bare && !self.in_module {
            let finding = Finding::error(2001, name.span, "a quoted string stands where an item begins");
            self.findings.push(finding.expected("option name, stanza name, `}`"));
            return Err(Failed);
        }
        let kind = self.kind();
        if name.quote == Quote::Bare && is_include(&name) && kind.is_word() {
            let read_only = name.text.eq_ignore_ascii_case("readonly_include");
            return Ok(self.take_word().map(|path| Raw::Include { read_only, path }));
        }
        if kind == Kind::Equals {
            return self.assigned(name, depth);
        }
        if kind == Kind::OpenBracket {
            let value = self.value(&name)?;
            return Ok(Some(Raw::Assignment(Entry { key: name, value })));
        }
        if !self.in_module && self.is_module_class(&name) {
            return self.module(name, depth);
        }
        if kind == Kind::OpenBrace {
            return self.stanza(name, None, Vec::new(), depth).map(Some);
        }
        if !kind.is_word() {
            self.unexpected("`=`, `{`, `[`, value");
            return Err(Failed);
        }
        let follows = self.ahead(1).kind;
        if follows == Kind::Less {
            let instance = self.take_word();
            let attributes = self.attributes()?;
            if self.kind() != Kind::OpenBrace {
                self.unexpected("`{`");
                return Err(Failed);
            }
            return self.stanza(name, instance, attributes, depth).map(Some);
        }
        if follows != Kind::OpenBrace {
            if self.ahead(0).first_on_line {
                self.unexpected("`=`, `{`, `[`, value");
            } else {
                let value = self.take_word();
                self.unexpected_hinting("`{`", value.and_then(|value| as_option(&name, &value)));
            }
            return Err(Failed);
        }
        let instance = self.take_word();
        self.stanza(name, instance, Vec::new(), depth).map(Some)
    }

    /// Behind `name`, at `=`.
    fn assigned(&mut self, name: Word, depth: usize) -> Result<Option<Raw>, Failed> {
        let equals = self.span();
        self.advance();
        let stanza = self.kind() == Kind::OpenBrace
            || (self.kind().is_word() && self.ahead(1).kind == Kind::OpenBrace);
        if stanza {
            let finding = Finding::warning(2005, equals, "`=` before the body of a stanza");
            self.findings.push(finding.hint("leave out `=`"));
            let instance = self.take_word();
            return self.stanza(name, instance, Vec::new(), depth).map(Some);
        }
        let legacy_list = self.kind() == Kind::OpenParen
            && name.text.len() > "_listener".len()
            && name.text.to_ascii_lowercase().ends_with("_listener");
        if legacy_list {
            return Ok(self.listeners(name));
        }
        let value = self.value(&name)?;
        Ok(Some(Raw::Assignment(Entry { key: name, value })))
    }

    fn stanza(
        &mut self,
        scope: Word,
        name: Option<Word>,
        attributes: Attributes,
        depth: usize,
    ) -> Result<Raw, Failed> {
        let body = self.body((&scope.text, scope.span), depth)?;
        Ok(Raw::Stanza { scope, name, attributes, body })
    }

    /// The items between braces. `opener` is what a missing brace is blamed on.
    pub(crate) fn body(&mut self, opener: (&str, Span), depth: usize) -> Result<Vec<Raw>, Failed> {
        if depth >= DEPTH_MAX {
            let span = self.span();
            self.findings
                .push(Finding::error(2001, span, "stanzas nested too deeply").expected("at most 64 levels"));
            self.skip_stanza();
            return Err(Failed);
        }
        self.advance();
        Ok(self.items(Some(opener), depth + 1))
    }

    fn value(&mut self, name: &Word) -> Result<RawValue, Failed> {
        let kind = self.kind();
        if kind == Kind::OpenParen {
            return self.list();
        }
        if kind == Kind::OpenBracket {
            return if self.in_module { self.section(0) } else { self.dict() };
        }
        let line = self.ahead(0).end_line;
        let Some(word) = self.take_word() else {
            self.unexpected("`[`, `(`, value");
            return Err(Failed);
        };
        self.second_atom(name, line);
        Ok(RawValue::Atom(word))
    }

    /// Complains about words on the line of a value that can begin no item, and passes over them.
    fn second_atom(&mut self, name: &Word, line: u32) {
        let mut first = None;
        while self.ahead(0).line == line && self.kind().is_word() {
            let token = self.ahead(0);
            let next = self.ahead(1);
            let keyword = token.text.eq_ignore_ascii_case("include")
                || token.text.eq_ignore_ascii_case("readonly_include");
            let begins = keyword
                || matches!(next.kind, Kind::Equals | Kind::OpenBrace | Kind::OpenBracket)
                || (next.kind.is_word() && next.line == line && first.is_none());
            if begins {
                break;
            }
            first = first.or(Some(token.span));
            self.advance();
        }
        if let Some(first) = first {
            let secret = is_secret(&name.text);
            self.findings.push(
                Finding::error(2004, first, format!("two words after `{} =`", name.text))
                    .expected("one value")
                    .hint("put a value that contains blanks into double quotes")
                    .secret(secret),
            );
        }
    }

    pub(crate) fn list(&mut self) -> Result<RawValue, Failed> {
        let opened = self.span();
        self.advance();
        let mut words: Vec<Word> = Vec::new();
        loop {
            let span = self.span();
            let kind = self.kind();
            if kind == Kind::CloseParen {
                self.advance();
                return Ok(RawValue::List(words, opened.to(span)));
            }
            if let Some(word) = self.take_word() {
                if word.quote == Quote::Bare && word.text == "," {
                    let finding = Finding::warning(2005, span, "comma between the values of a list");
                    self.findings.push(finding.hint("separate them with blanks"));
                } else {
                    words.push(word);
                }
                continue;
            }
            if kind == Kind::End {
                self.unclosed("a list", opened, "value, `)`");
            } else if matches!(kind, Kind::CloseBrace | Kind::CloseBracket) {
                let finding = Finding::error(2003, span, "`(` is closed by the wrong bracket");
                self.findings.push(finding.expected("value, `)`").see_also(opened));
                if kind == Kind::CloseBracket {
                    self.advance();
                }
            } else {
                self.unexpected("value, `)`");
            }
            return Err(Failed);
        }
    }

    fn dict(&mut self) -> Result<RawValue, Failed> {
        let opened = self.span();
        self.advance();
        let mut pairs: Vec<Entry> = Vec::new();
        loop {
            let span = self.span();
            let kind = self.kind();
            if kind == Kind::CloseBracket {
                self.advance();
                return Ok(RawValue::Section(pairs, opened.to(span)));
            }
            let Some(key) = self.take_word() else {
                if kind == Kind::End {
                    self.unclosed("a dictionary", opened, "key, `]`");
                } else if matches!(kind, Kind::CloseBrace | Kind::CloseParen) {
                    let finding = Finding::error(2003, span, "`[` is closed by the wrong bracket");
                    self.findings.push(finding.expected("key, `]`").see_also(opened));
                    if kind == Kind::CloseParen {
                        self.advance();
                    }
                } else {
                    self.unexpected("key, `]`");
                }
                return Err(Failed);
            };
            if matches!(self.kind(), Kind::OpenBracket | Kind::OpenParen) {
                return self.nested(opened);
            }
            if self.kind() != Kind::Equals {
                if self.kind() == Kind::End {
                    self.unclosed("a dictionary", opened, "`=`");
                } else {
                    self.unexpected("`=`");
                }
                return Err(Failed);
            }
            self.advance();
            if matches!(self.kind(), Kind::OpenBracket | Kind::OpenParen) {
                return self.nested(opened);
            }
            let Some(value) = self.take_word() else {
                if self.kind() == Kind::End {
                    self.unclosed("a dictionary", opened, "value");
                } else {
                    self.unexpected("value");
                }
                return Err(Failed);
            };
            if let Some(first) = pairs.iter().find(|other| other.key.text.eq_ignore_ascii_case(&key.text)) {
                self.findings.push(
                    Finding::warning(
                        3010,
                        key.span,
                        format!("key '{}' given twice; the last counts", key.text),
                    )
                    .see_also(first.key.span),
                );
            }
            pairs.retain(|other| !other.key.text.eq_ignore_ascii_case(&key.text));
            pairs.push(Entry { key, value: RawValue::Atom(value) });
        }
    }

    /// A list or dictionary inside a dictionary: passed over to the end of the outer one.
    fn nested(&mut self, opened: Span) -> Result<RawValue, Failed> {
        let finding = Finding::error(2006, self.span(), "a list or dictionary inside a dictionary");
        self.findings.push(finding.expected("one word or string for each key"));
        let mut depth = 1_usize;
        loop {
            let kind = self.kind();
            let span = self.span();
            if matches!(kind, Kind::End | Kind::OpenBrace | Kind::CloseBrace) {
                return Err(Failed);
            }
            self.advance();
            if kind == Kind::OpenBracket {
                depth += 1;
            } else if kind == Kind::CloseBracket {
                depth -= 1;
                if depth == 0 {
                    return Ok(RawValue::Section(Vec::new(), opened.to(span)));
                }
            }
        }
    }

    /// Past the next balanced `{ … }`.
    pub(crate) fn skip_stanza(&mut self) {
        let mut depth = 0_usize;
        loop {
            let kind = self.kind();
            if kind == Kind::End || (kind == Kind::CloseBrace && depth == 0) {
                return;
            }
            self.advance();
            if kind == Kind::OpenBrace {
                depth += 1;
            } else if kind == Kind::CloseBrace {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            }
        }
    }

    /// Past the balanced `( … )` at hand.
    pub(crate) fn skip_parens(&mut self) {
        let mut depth = 0_usize;
        loop {
            let kind = self.kind();
            if kind == Kind::End {
                return;
            }
            self.advance();
            if kind == Kind::OpenParen {
                depth += 1;
            } else if kind == Kind::CloseParen {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return;
                }
            }
        }
    }
}

/// What two words may have been meant as, if not as the beginning of a stanza: `Retry_Interval 900`, `Hostname: mx`.
fn as_option(name: &Word, value: &Word) -> Option<String> {
    let option = name.text.trim_end_matches(':');
    let plain = !option.is_empty() && option.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !plain || schema::scopes_named(option).next().is_some() {
        return None;
    }
    let mut text = String::new();
    if is_secret(option) {
        text.push_str("VALUE");
    } else {
        print_word(&mut text, value);
    }
    Some(format!("for an option, write: {} = {}", value::clip(option), value::clip(&text)))
}

fn is_include(name: &Word) -> bool {
    name.text.eq_ignore_ascii_case("include") || name.text.eq_ignore_ascii_case("readonly_include")
}
