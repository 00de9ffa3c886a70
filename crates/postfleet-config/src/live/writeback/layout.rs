//! Where instances and assignments stand in the texts of a load.

use alloc::vec::Vec;

use crate::config::Config;
use crate::diagnostic::Findings;
use crate::lexer::{self, Kind, Token};
use crate::merge;
use crate::schema::{self, Row};
use crate::source::{SourceId, Span};
use crate::syntax::{Item, Word};
use crate::tree::{InstanceId, Tree};

/// Text in which items of an instance stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    pub(super) instance: InstanceId,
    pub(super) source: SourceId,
    /// Where the stanza begins; `None`: the body is the whole file.
    pub(super) stanza: Option<Braces>,
    /// Where an item may be added: the closing brace, or the end of the file.
    pub(super) end: u32,
}

/// A stanza in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Braces {
    /// The first byte of its scope's name.
    pub(super) start: u32,
    /// The byte behind the opening brace.
    pub(super) inside: u32,
    /// The closing brace.
    pub(super) close: u32,
}

/// An option given a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    pub(super) instance: InstanceId,
    pub(super) row: &'static Row,
    pub(super) name: Span,
    pub(super) value: Span,
    /// It stands in the form of version 2, where it cannot be edited in place.
    pub(super) legacy: bool,
}

/// Everything in the order of the merged text.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) bodies: Vec<Body>,
    pub(super) given: Vec<Given>,
    /// Stanzas in the form of version 2.
    pub(super) legacy: Vec<(InstanceId, Span)>,
}

impl Layout {
    pub(super) fn of(config: &Config) -> Self {
        let mut reader = Reader { config, layout: Self::default() };
        for root in &config.loaded().roots {
            reader.source(*root, InstanceId::GLOBAL, false);
        }
        reader.layout
    }
}

struct Reader<'a> {
    config: &'a Config,
    layout: Layout,
}

/// One text while it is read.
struct Text {
    id: SourceId,
    tokens: Vec<Token>,
}

impl Text {
    /// The position of the token that begins there.
    fn at(&self, span: Span) -> Option<usize> {
        self.tokens.binary_search_by_key(&span.start, |token| token.span.start).ok()
    }

    fn kind(&self, at: usize) -> Kind {
        self.tokens.get(at).map_or(Kind::End, |token| token.kind)
    }

    /// The braces of a stanza as version 4 writes it: `scope [=] [name] {`.
    fn braces(&self, scope: &Word, name: Option<&Word>) -> Option<Braces> {
        let first = self.at(scope.span)?;
        // Items of version 2 are translated when they are read: the text says something else there.
        self.tokens.get(first).filter(|token| token.text == scope.text)?;
        let mut at = first + 1;
        if self.kind(at) == Kind::Equals {
            at += 1;
        }
        if let Some(name) = name {
            let same = self.tokens.get(at).is_some_and(|token| token.text == name.text);
            (same && self.at(name.span) == Some(at)).then_some(())?;
            at += 1;
        }
        (self.kind(at) == Kind::OpenBrace).then_some(())?;
        let inside = self.tokens.get(at)?.span.end;
        let mut depth = 0_usize;
        loop {
            match self.kind(at) {
                Kind::OpenBrace => depth += 1,
                Kind::CloseBrace => depth = depth.checked_sub(1)?,
                Kind::End => return None,
                Kind::Word(_)
                | Kind::Equals
                | Kind::OpenBracket
                | Kind::CloseBracket
                | Kind::OpenParen
                | Kind::CloseParen
                | Kind::Less
                | Kind::Greater => {}
            }
            if depth == 0 {
                return Some(Braces {
                    start: scope.span.start,
                    inside,
                    close: self.tokens.get(at)?.span.start,
                });
            }
            at += 1;
        }
    }

    /// Whether this is `name = value`, or `name [ … ]`.
    fn assigns(&self, name: &Word, value: Span) -> bool {
        let Some(at) = self.at(name.span) else { return false };
        if self.tokens.get(at).is_none_or(|token| token.text != name.text) {
            return false;
        }
        let value_at = if self.kind(at + 1) == Kind::Equals { at + 2 } else { at + 1 };
        self.tokens.get(value_at).is_some_and(|token| token.span.start == value.start)
    }
}

impl Reader<'_> {
    fn tree(&self) -> &Tree {
        self.config.tree()
    }

    /// `legacy`: the file is included inside a stanza in the form of version 2.
    fn source(&mut self, id: SourceId, instance: InstanceId, legacy: bool) {
        let Some(source) = self.config.sources().source(id) else { return };
        let text = source.text.clone();
        // Everything was checked when the file was loaded.
        let tokens = lexer::lex(id, &text, &[], &mut Findings::default()).list;
        // A file inside a stanza of version 2 is in that form too.
        if !legacy {
            self.layout.bodies.push(Body {
                instance,
                source: id,
                stanza: None,
                end: crate::source::narrow(text.len()),
            });
        }
        if let Some(items) = self.config.loaded().items.get(&id) {
            self.items(items, instance, &Text { id, tokens }, legacy);
        }
    }

    fn items(&mut self, items: &[Item], into: InstanceId, text: &Text, legacy: bool) {
        for item in items {
            match item {
                Item::Include { path, .. } => {
                    let included = self.config.loaded().included.get(&path.span);
                    for source in included.into_iter().flatten() {
                        self.source(*source, into, legacy);
                    }
                }
                Item::Assignment { name, value } => {
                    let Some(instance) = self.tree().instance(into) else { continue };
                    if let Some(row) = schema::row(instance.scope, instance.service, &name.text) {
                        let legacy = legacy || !text.assigns(name, value.span());
                        self.layout.given.push(Given {
                            instance: into,
                            row,
                            name: name.span,
                            value: value.span(),
                            legacy,
                        });
                    }
                }
                Item::Stanza { scope, name, body } => {
                    let Some(id) = self.instance(scope, name.as_ref(), into) else { continue };
                    let braces = if legacy { None } else { text.braces(scope, name.as_ref()) };
                    match braces {
                        Some(braces) => self.layout.bodies.push(Body {
                            instance: id,
                            source: text.id,
                            stanza: Some(braces),
                            end: braces.close,
                        }),
                        None => self.layout.legacy.push((id, scope.span)),
                    }
                    self.items(body, id, text, braces.is_none());
                }
            }
        }
    }

    fn instance(&self, scope: &Word, name: Option<&Word>, into: InstanceId) -> Option<InstanceId> {
        let parent = self.tree().instance(into)?;
        let row = schema::child_scope(parent.scope, parent.service, &scope.text)?;
        let key = match name {
            Some(name) if row.instance != schema::InstanceName::Anonymous => {
                merge::canonical(row, &name.text).ok()?.0
            }
            Some(_) | None => alloc::string::String::new(),
        };
        self.tree().child(into, row.scope, &key)
    }
}
