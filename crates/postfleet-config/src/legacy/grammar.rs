//! Tokens to the constructs that only the 2.x form has.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::diagnostic::Finding;
use crate::legacy::raw::{Attributes, Endpoint, Entry, Raw, RawValue, Rule};
use crate::lexer::Kind;
use crate::parser::{DEPTH_MAX, Failed, Parser};
use crate::source::Span;
use crate::syntax::{Quote, Word};
use crate::value::clip;

const CLASSES: [&str; 5] = ["Logger", "Module", "Validate", "IO_System", "Interpreter"];
const MODIFIERS: [&str; 3] = ["enabled", "disabled", "passive"];

impl Parser<'_> {
    /// Behind a name: whether it begins a module stanza. No stanza of the 4.x form has such a name.
    pub(crate) fn is_module_class(&self, name: &Word) -> bool {
        CLASSES.iter().any(|class| name.text.eq_ignore_ascii_case(class))
            && (self.kind().is_word() || matches!(self.kind(), Kind::OpenBrace | Kind::Less))
    }

    /// Behind the class of a module stanza.
    pub(crate) fn module(&mut self, class: Word, depth: usize) -> Result<Option<Raw>, Failed> {
        let path = self.ahead(0).text.contains('/').then(|| self.take_word()).flatten();
        let Some(path) = path else {
            return Ok(
                self.not_a_module("No module path specified", "DIRECTORY/MODULE, such as cluster/ec_cluster")
            );
        };
        let Some(symbol) = self.take_word() else {
            return Ok(self.not_a_module("No module symbol specified", "the name of the module's symbol"));
        };
        let modifier = self.take_word();
        if let Some(word) = &modifier
            && !MODIFIERS.iter().any(|known| word.text.eq_ignore_ascii_case(known))
        {
            self.findings.push(
                Finding::error(
                    2001,
                    word.span,
                    format!(
                        "Module modifier must be either 'enabled' or 'disabled'; you have '{}'",
                        clip(&word.text)
                    ),
                )
                .expected("enabled, disabled, passive or `{`"),
            );
            self.skip_stanza();
            return Ok(None);
        }
        if self.kind().is_word() {
            return Ok(self.not_a_module("Too many modifiers for module loader", "`<`, `{`"));
        }
        let attributes = self.attributes()?;
        if self.kind() != Kind::OpenBrace {
            self.unexpected("`{`");
            return Err(Failed);
        }
        self.in_module = true;
        let body = self.body((&class.text, class.span), depth);
        self.in_module = false;
        if let Some(closer) = self.closers.remove(&class.span) {
            self.closers.insert(path.span, closer);
        }
        Ok(Some(Raw::Module { class, path, symbol, modifier, attributes, body: body? }))
    }

    fn not_a_module(&mut self, message: &str, expected: &str) -> Option<Raw> {
        let finding = Finding::error(2001, self.span(), message);
        self.findings.push(finding.expected(expected));
        self.skip_stanza();
        None
    }

    /// `<name=value …>`, where it stands.
    pub(crate) fn attributes(&mut self) -> Result<Attributes, Failed> {
        let mut attributes = Attributes::new();
        while self.kind() == Kind::Less {
            let opened = self.span();
            self.advance();
            while self.kind() != Kind::Greater {
                let Some(name) = self.take_word() else {
                    return Err(self.broken("a list of attributes", opened, "attribute name, `>`"));
                };
                if name.quote == Quote::Bare && name.text == "," {
                    continue;
                }
                if self.kind() != Kind::Equals {
                    return Err(self.broken("a list of attributes", opened, "`=`"));
                }
                self.advance();
                let Some(value) = self.take_word() else {
                    return Err(self.broken("a list of attributes", opened, "value"));
                };
                attributes.push((name, value));
            }
            self.advance();
        }
        Ok(attributes)
    }

    /// Something else stands where `expected` should.
    fn broken(&mut self, what: &str, opened: Span, expected: &str) -> Failed {
        if self.kind() == Kind::End {
            self.unclosed(what, opened, expected);
        } else {
            self.unexpected(expected);
        }
        Failed
    }

    /// At `[`: a section of the 2.x form.
    pub(crate) fn section(&mut self, depth: usize) -> Result<RawValue, Failed> {
        let opened = self.span();
        if depth >= DEPTH_MAX {
            let finding = Finding::error(2001, opened, "sections nested too deeply");
            self.findings.push(finding.expected("at most 64 levels"));
            return Err(Failed);
        }
        self.advance();
        let mut entries = Vec::new();
        loop {
            let span = self.span();
            if self.kind() == Kind::CloseBracket {
                self.advance();
                return Ok(RawValue::Section(entries, opened.to(span)));
            }
            let Some(key) = self.take_word() else {
                return Err(self.unsectioned(opened, "`[`", "key, `]`"));
            };
            let equals = self.kind() == Kind::Equals;
            if equals {
                self.advance();
            }
            let kind = self.kind();
            let value = if kind == Kind::OpenBracket {
                self.section(depth + 1)?
            } else if kind == Kind::OpenParen {
                self.list()?
            } else if !equals {
                return Err(self.unsectioned(opened, "`[`", "`=`, `[`, `(`"));
            } else if let Some(word) = self.take_word() {
                RawValue::Atom(word)
            } else {
                return Err(self.unsectioned(opened, "`[`", "value"));
            };
            entries.push(Entry { key, value });
        }
    }

    fn unsectioned(&mut self, opened: Span, opener: &str, expected: &str) -> Failed {
        if matches!(self.kind(), Kind::CloseBrace | Kind::CloseParen | Kind::CloseBracket) {
            let finding =
                Finding::error(2003, self.span(), format!("{opener} is closed by the wrong bracket"));
            self.findings.push(finding.expected(expected).see_also(opened));
            return Failed;
        }
        self.broken("a section", opened, expected)
    }

    /// At `(` behind `X_Listener =`. What follows the list is read also when the list is broken.
    pub(crate) fn listeners(&mut self, name: Word) -> Option<Raw> {
        let opened = self.span();
        let start = self.at;
        self.advance();
        let mut endpoints = Vec::new();
        while self.kind() != Kind::CloseParen {
            match self.endpoint(opened) {
                Ok(Some(endpoint)) => endpoints.push(endpoint),
                Ok(None) => {}
                Err(Failed) => {
                    self.at = start;
                    self.skip_parens();
                    return None;
                }
            }
        }
        let closer = self.span();
        self.closers.insert(name.span, closer);
        self.advance();
        Some(Raw::Listeners { name, endpoints })
    }

    /// At `[`: whether it begins an IPv6 address in brackets rather than an access list.
    fn at_bracketed_host(&self) -> bool {
        let (open, host, close) = (self.ahead(0), self.ahead(1), self.ahead(2));
        open.kind == Kind::OpenBracket
            && host.kind == Kind::Word(Quote::Bare)
            && close.kind == Kind::CloseBracket
            && open.span.end == host.span.start
            && host.span.end == close.span.start
            && host.text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '*'))
    }

    /// The text of host, port and numbers, where its first character stands, and whether that is exact.
    fn endpoint_text(&mut self, opened: Span) -> Result<(String, Span, bool), Failed> {
        if self.at_bracketed_host() {
            let begin = self.span();
            self.advance();
            let host = self.take_word().map(|word| word.text).unwrap_or_default();
            let mut end = self.span();
            self.advance();
            let mut text = format!("[{host}]");
            let token = self.ahead(0);
            if token.kind == Kind::Word(Quote::Bare)
                && token.span.start == end.end
                && token.text.starts_with([':', ','])
            {
                text.push_str(&token.text);
                end = token.span;
                self.advance();
            }
            return Ok((text, begin.to(end), true));
        }
        let Some(word) = self.take_word() else {
            return Err(if self.kind() == Kind::End {
                self.broken("a list of listeners", opened, "address, `)`")
            } else {
                self.unsectioned(opened, "`(`", "address, `)`")
            });
        };
        Ok((word.text, word.span, word.quote == Quote::Bare))
    }

    fn endpoint(&mut self, opened: Span) -> Result<Option<Endpoint>, Failed> {
        let (text, span, exact) = self.endpoint_text(opened)?;
        if exact && text == "," {
            let finding = Finding::warning(2005, span, "comma between the sockets of a list");
            self.findings.push(finding.hint("separate them with blanks"));
            return Ok(None);
        }
        // A part of a bare word is where it is in the word; a part of a string is reported as the string.
        let part = |text: &str, from: usize| {
            let start = span.start.saturating_add(crate::source::narrow(from));
            let end = start.saturating_add(crate::source::narrow(text.len()));
            let span = if exact { Span { source: span.source, start, end } } else { span };
            Word { text: String::from(text), quote: Quote::Bare, span }
        };
        let (host, numbers) = match text.split_once(',') {
            Some((host, numbers)) => (host, Some(part(numbers, host.len() + 1))),
            None => (text.as_str(), None),
        };
        let numbers = self.numbers(numbers, span);
        let (backlog, concurrency) = match numbers {
            Some(word) => match word.text.split_once('~') {
                Some((backlog, concurrency)) => {
                    let at = crate::source::narrow(backlog.len());
                    let cut = word.span.start.saturating_add(at).min(word.span.end);
                    let behind = Span { start: cut.saturating_add(1).min(word.span.end), ..word.span };
                    let before = Word {
                        text: String::from(backlog),
                        quote: Quote::Bare,
                        span: Span { end: cut, ..word.span },
                    };
                    let after = Word { text: String::from(concurrency), quote: Quote::Bare, span: behind };
                    (Some(before), Some(after))
                }
                None => (Some(word), None),
            },
            None => (None, None),
        };
        let mut endpoint = Endpoint {
            address: part(host, 0),
            backlog,
            concurrency,
            attributes: Attributes::new(),
            rules: Vec::new(),
        };
        loop {
            let kind = self.kind();
            if kind == Kind::Less {
                endpoint.attributes.extend(self.attributes()?);
            } else if kind == Kind::OpenBracket && !self.at_bracketed_host() {
                self.access_list(&mut endpoint)?;
            } else {
                return Ok(Some(endpoint));
            }
        }
    }

    /// The numbers behind an address, also where a blank stands around the comma.
    fn numbers(&mut self, given: Option<Word>, address: Span) -> Option<Word> {
        let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '~');
        let next = self.ahead(0);
        let bare = next.kind == Kind::Word(Quote::Bare);
        match given {
            Some(word) if word.text.is_empty() => {
                if bare && is_number(&next.text) {
                    return self.take_word();
                }
                let finding = Finding::warning(2005, address, "comma between the sockets of a list");
                self.findings.push(finding.hint("separate them with blanks"));
                None
            }
            Some(word) => Some(word),
            None if bare && next.text == "," && is_number(&self.ahead(1).text) => {
                self.advance();
                self.take_word()
            }
            None if bare && next.text.strip_prefix(',').is_some_and(is_number) => {
                let mut word = self.take_word()?;
                word.text.remove(0);
                word.span.start = word.span.start.saturating_add(1);
                Some(word)
            }
            None => None,
        }
    }

    /// At `[` behind an address: `[ CIDR = ( … ) … ]`.
    fn access_list(&mut self, endpoint: &mut Endpoint) -> Result<(), Failed> {
        let opened = self.span();
        self.advance();
        loop {
            if self.kind() == Kind::CloseBracket {
                let closer = self.span();
                self.closers.insert(endpoint.address.span, closer);
                self.advance();
                return Ok(());
            }
            let Some(block) = self.take_word() else {
                return Err(self.unsectioned(opened, "`[`", "address or block, `]`"));
            };
            if self.kind() != Kind::Equals {
                return Err(self.unsectioned(opened, "`[`", "`=`"));
            }
            self.advance();
            if self.kind() != Kind::OpenParen {
                return Err(self.unsectioned(opened, "`[`", "`(`"));
            }
            let properties = self.properties(&block)?;
            endpoint.rules.push(Rule { block, properties });
        }
    }

    fn properties(&mut self, block: &Word) -> Result<Vec<Entry>, Failed> {
        let opened = self.span();
        self.advance();
        let mut properties = Vec::new();
        loop {
            if self.kind() == Kind::CloseParen {
                let closer = self.span();
                self.closers.insert(block.span, closer);
                self.advance();
                return Ok(properties);
            }
            let Some(key) = self.take_word() else {
                return Err(self.unsectioned(opened, "`(`", "property, `)`"));
            };
            let kind = self.kind();
            let value = if kind == Kind::OpenBracket {
                self.section(0)?
            } else if kind == Kind::OpenParen {
                self.list()?
            } else {
                RawValue::Nothing
            };
            properties.push(Entry { key, value });
        }
    }
}
