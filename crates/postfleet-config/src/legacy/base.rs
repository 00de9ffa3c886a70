//! What listeners say outside of access lists, in all files of a load: what a client gets that no rule is about.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::place::Place;
use super::raw::{Entry, Raw, RawValue};
use crate::address::ListenAddress;
use crate::schema::{self, Default, Row, Scope, Service};
use crate::source::{SourceId, Span};
use crate::syntax::{Quote, Word, Written};

/// The parsed files of a load.
pub(crate) struct Files<'a> {
    pub(crate) items: &'a BTreeMap<SourceId, Vec<Raw>>,
    pub(crate) included: &'a BTreeMap<Span, Vec<SourceId>>,
}

/// Options by the scope they are set in: listener options of the global scope, of a listener, of a `Listen`.
#[derive(Debug, Default)]
pub(crate) struct Base(BTreeMap<(Option<Service>, String), BTreeMap<String, RawValue>>);

impl Base {
    pub(crate) fn of(roots: &[SourceId], files: &Files<'_>) -> Self {
        let mut base = Self::default();
        for root in roots {
            base.source(*root, files, &Place::global(), "");
        }
        base
    }

    fn source(&mut self, source: SourceId, files: &Files<'_>, place: &Place, listen: &str) {
        if let Some(items) = files.items.get(&source) {
            self.items(items, files, place, listen);
        }
    }

    fn items(&mut self, items: &[Raw], files: &Files<'_>, place: &Place, listen: &str) {
        for item in items {
            match item {
                Raw::Include { path, .. } => {
                    for source in files.included.get(&path.span).map_or(&[][..], Vec::as_slice) {
                        self.source(*source, files, place, listen);
                    }
                }
                Raw::Assignment(Entry { key, value }) => {
                    let ends_here = |row: &Row| {
                        place.scope != Some(Scope::Global)
                            || schema::rows().any(|other| {
                                other.ends_at_global() && other.name.eq_ignore_ascii_case(row.name)
                            })
                    };
                    if place.row(&key.text).is_some_and(ends_here) {
                        let scope = (place.service, String::from(listen));
                        let options = self.0.entry(scope).or_default();
                        options.insert(key.text.to_ascii_lowercase(), value.clone());
                    }
                }
                Raw::Stanza { scope, name, body, .. } => {
                    let inner = place.inside(&scope.text);
                    let listener = inner.scope.is_some_and(|scope| scope.service().is_some());
                    if listener {
                        self.items(body, files, &inner, "");
                    } else if inner.scope == Some(Scope::Listen) {
                        let text = name.as_ref().map_or("", |name| name.text.as_str());
                        self.items(body, files, &inner, &canonical(text));
                    }
                }
                Raw::Module { .. } | Raw::Listeners { .. } => {}
            }
        }
    }

    fn set(&self, service: Service, listen: &str, row: &Row) -> Option<&RawValue> {
        let name = row.name.to_ascii_lowercase();
        let found = |service, listen: &str| self.0.get(&(service, String::from(listen)))?.get(&name);
        found(Some(service), &canonical(listen))
            .or_else(|| found(Some(service), ""))
            .or_else(|| found(None, "").filter(|_| row.ends_at_global()))
    }

    /// The value that a client of the `Listen` has without any `Peer`, as it may be written at `span`.
    pub(super) fn value(&self, service: Service, listen: &str, row: &'static Row, span: Span) -> Written {
        let moved = |word: &Word| Word { span, ..word.clone() };
        let made = |text: &str| Word { text: String::from(text), quote: quote_for(text), span };
        match self.set(service, listen, row) {
            Some(RawValue::Atom(word)) => return Written::Atom(moved(word)),
            Some(RawValue::List(words, _)) => return Written::List(words.iter().map(moved).collect(), span),
            Some(RawValue::Section(entries, _)) => {
                let pairs = entries.iter().filter_map(|entry| {
                    let RawValue::Atom(value) = &entry.value else {
                        return None;
                    };
                    Some((moved(&entry.key), moved(value)))
                });
                return Written::Dict(pairs.collect(), span);
            }
            Some(RawValue::Nothing) | None => {}
        }
        match row.default {
            Default::Is(text) if row.array => Written::List(alloc::vec![made(text)], span),
            Default::Is(text) | Default::Either(_, text) => Written::Atom(made(text)),
            Default::List(texts) => Written::List(texts.iter().map(|text| made(text)).collect(), span),
            Default::Dict(pairs) => {
                Written::Dict(pairs.iter().map(|(key, text)| (made(key), made(text))).collect(), span)
            }
            Default::Unset | Default::From(_) if row.array => Written::List(Vec::new(), span),
            Default::Unset | Default::From(_) => {
                Written::Atom(Word { text: String::new(), quote: Quote::Double, span })
            }
        }
    }

    /// The context variable that a client of the `Listen` has without any `Peer`.
    pub(super) fn context(&self, service: Service, listen: &str, key: &str) -> Option<&Word> {
        let row = schema::row(Scope::Peer, Some(service), "Context")?;
        let RawValue::Section(entries, _) = self.set(service, listen, row)? else {
            return None;
        };
        entries.iter().rev().find_map(|entry| match &entry.value {
            RawValue::Atom(value) if entry.key.text.eq_ignore_ascii_case(key) => Some(value),
            RawValue::Atom(_) | RawValue::List(..) | RawValue::Section(..) | RawValue::Nothing => None,
        })
    }
}

fn canonical(listen: &str) -> String {
    ListenAddress::parse(listen).map_or_else(|_| String::from(listen), |address| alloc::format!("{address}"))
}

/// Numbers and bool words stand bare, as elsewhere.
fn quote_for(text: &str) -> Quote {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain { Quote::Bare } else { Quote::Double }
}
