//! The 2.x form: its grammar, and its translation to the items of the 4.x form before anything else sees it.
//!
//! Every translated word keeps the place of the 2.x text it stands for, so that findings point there.

mod acl;
mod base;
mod bindings;
mod cluster;
mod grammar;
mod listeners;
mod modules;
mod options;
mod place;
pub(crate) mod raw;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::diagnostic::{Finding, Findings, Severity};
use crate::parser;
use crate::schema::{self, Row, Scope};
use crate::source::{SourceId, Span};
use crate::syntax::{Item, Quote, Word, Written};
use crate::value::clip;

pub(crate) use base::{Base, Files};
pub(crate) use place::Place;
use raw::{Entry, Raw, RawValue};

/// What happens to constructs of the 2.x form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Legacy {
    /// They are translated, with a warning each.
    #[default]
    Accept,
    /// They are errors.
    Reject,
}

/// What is known over all files of a load.
#[derive(Debug, Default)]
pub(crate) struct Fleetwide {
    /// Names of module instances in use, by module.
    names: BTreeSet<(String, String)>,
    /// The way out has been told.
    hinted: bool,
}

/// How a file is translated.
#[derive(Clone, Copy)]
pub(crate) struct Mode<'a> {
    pub(crate) legacy: Legacy,
    /// For a new file rather than for a load: what only the old daemon needed is left out.
    pub(crate) migrating: bool,
    pub(crate) base: &'a Base,
}

/// A translated file.
#[derive(Debug, Default)]
pub(crate) struct Translated {
    pub(crate) items: Vec<Item>,
    /// What means something else than before or is gone, for the migrated text.
    pub(crate) notes: Vec<(Span, String)>,
    /// How many 2.x constructs there were.
    pub(crate) constructs: usize,
}

/// Turns the items of one file into those of the 4.x form.
pub(crate) fn translate(
    items: Vec<Raw>,
    place: &Place,
    mode: Mode<'_>,
    all: &mut Fleetwide,
    findings: &mut Findings,
) -> Translated {
    let mut translator = Translator {
        mode,
        all,
        findings,
        notes: Vec::new(),
        constructs: 0,
        cluster: None,
        emitted: 0,
        too_many: false,
    };
    let mut out = Vec::new();
    let before = translator.body(items, place, &mut out);
    if place.is_global() {
        out.splice(0..0, before);
    } else {
        for item in before {
            let Item::Stanza { scope, .. } = item else {
                continue;
            };
            let finding = Finding::error(
                3009,
                scope.span,
                format!(
                    "what this stands for belongs to the top level, and the file is included in '{}'",
                    place.name()
                ),
            );
            translator.findings.push(finding.expected(format!("{} {{ … }} outside of it", scope.text)));
        }
    }
    Translated { items: out, notes: translator.notes, constructs: translator.constructs }
}

/// Parses and translates one text by itself.
pub(crate) fn read(
    source: SourceId,
    text: &str,
    replaced: &[usize],
    place: &Place,
    all: &mut Fleetwide,
    findings: &mut Findings,
) -> Vec<Item> {
    let parsed = parser::parse(source, text, replaced, place.old, findings);
    let mode = Mode { legacy: Legacy::Accept, migrating: false, base: &Base::default() };
    translate(parsed.items, place, mode, all, findings).items
}

struct Translator<'a, 'b> {
    mode: Mode<'b>,
    all: &'a mut Fleetwide,
    findings: &'a mut Findings,
    notes: Vec<(Span, String)>,
    constructs: usize,
    /// Where the cluster module was loaded in this file.
    cluster: Option<Span>,
    /// Options written for access lists so far.
    emitted: usize,
    too_many: bool,
}

/// A word that stands for the text at `span`.
fn word(text: impl Into<String>, quote: Quote, span: Span) -> Word {
    Word { text: text.into(), quote, span }
}

fn bare(text: impl Into<String>, span: Span) -> Word {
    word(text, Quote::Bare, span)
}

fn quoted(text: impl Into<String>, span: Span) -> Word {
    word(text, Quote::Double, span)
}

fn assignment(name: Word, value: Word) -> Item {
    Item::Assignment { name, value: Written::Atom(value) }
}

impl Translator<'_, '_> {
    /// Remarks on a construct of the 2.x form.
    fn old(&mut self, span: Span, what: &str, now: impl Into<String>) {
        self.constructs += 1;
        let finding = Finding::warning(3009, span, format!("{what} is the 2.x form")).expected(now);
        let hint = (!self.all.hinted).then(|| "`postfleet check --migrate FILE` writes the 4.x form".into());
        self.all.hinted = true;
        self.push(finding.maybe_hint(hint));
    }

    /// Remarks on a construct of the 2.x form that means something else now, or nothing.
    fn gone(&mut self, span: Span, message: impl Into<String>) {
        let message = message.into();
        self.constructs += 1;
        self.note(span, message.clone());
        self.push(Finding::warning(3009, span, message));
    }

    fn push(&mut self, mut finding: Finding) {
        if self.mode.legacy == Legacy::Reject {
            finding = finding.severity(Severity::Error);
        }
        self.findings.push(finding);
    }

    fn note(&mut self, span: Span, message: impl Into<String>) {
        self.notes.push((span, message.into()));
    }

    fn unknown(&mut self, word: &Word, what: &str, expected: &str) {
        let finding = Finding::error(3001, word.span, format!("'{}' is not {what}", clip(&word.text)));
        self.findings.push(finding.expected(expected));
    }

    /// The items of a body. What it yields for the level around it is returned.
    fn body(&mut self, items: Vec<Raw>, place: &Place, out: &mut Vec<Item>) -> Vec<Item> {
        let mut before = Vec::new();
        let mut groups = BTreeMap::new();
        for item in items {
            match item {
                Raw::Include { read_only, path } => out.push(Item::Include { read_only, path }),
                Raw::Assignment(entry) => self.assignment(entry, place, out, &mut before),
                Raw::Stanza { scope, name, attributes, body } => {
                    self.stanza(bindings::Opened { scope, name, attributes, body }, place, out, &mut groups);
                }
                Raw::Module { class, path, symbol, modifier, attributes, body } => {
                    let module = modules::Module { class, path, symbol, modifier, attributes, body };
                    self.module(module, out);
                }
                Raw::Listeners { name, endpoints } => {
                    if place.scope == Some(Scope::Cluster)
                        && name.text.eq_ignore_ascii_case("cluster_listener")
                    {
                        before.extend(self.cluster_listener(&name, endpoints, place));
                    } else {
                        let listener = self.listener_list(name, endpoints);
                        out.push(listener);
                    }
                }
            }
        }
        if place.collects {
            collect_repeated(out, place);
        }
        before
    }

    fn assignment(&mut self, entry: Entry, place: &Place, out: &mut Vec<Item>, before: &mut Vec<Item>) {
        match place.scope {
            _ if place.caches => self.cache(entry, out),
            Some(Scope::Cluster) => self.cluster_line(entry, place, out, before),
            Some(Scope::Binding) if entry.key.text.eq_ignore_ascii_case("Match_Domain") => {
                self.gone(
                    entry.key.span,
                    "Match_Domain is gone: assign bindings by policy script; the option has no effect",
                );
            }
            Some(Scope::Binding) if entry.key.text.eq_ignore_ascii_case("Binding_Group") => {
                // Inside a stanza of this file it has been taken out before.
                let finding = Finding::error(
                    3009,
                    entry.key.span,
                    "a binding's group is given in a file that the binding includes",
                );
                self.findings.push(finding.expected("Binding_Group \"NAME\" { Binding \"…\" { … } }"));
            }
            Some(Scope::Global) => self.global_option(entry, place, out),
            Some(Scope::DebugFlags) => self.debug_level(entry, out),
            Some(Scope::InboundAudit) if place.old && entry.key.text.eq_ignore_ascii_case("monitor") => {
                let key = bare("monitors", entry.key.span);
                self.plain(Entry { key, value: listed(entry.value) }, place, out);
            }
            _ => self.plain(entry, place, out),
        }
    }

    /// An option that is spelled as before.
    fn plain(&mut self, entry: Entry, place: &Place, out: &mut Vec<Item>) {
        let Entry { key, value } = entry;
        let Some(name) = self.option_name(key) else {
            return;
        };
        if let Some(value) = self.written(&name, value, place) {
            out.push(Item::Assignment { name, value });
        }
    }

    /// A key of the 2.x form as the name of an option.
    fn option_name(&mut self, key: Word) -> Option<Word> {
        let fits = !key.text.is_empty()
            && key
                .text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.' | '/'))
            && !key.text.contains("/*")
            && !key.text.contains("*/");
        if key.quote == Quote::Bare || fits {
            return Some(Word { quote: Quote::Bare, ..key });
        }
        let finding = Finding::error(2001, key.span, "a quoted string stands where an option begins");
        self.findings.push(finding.expected("option name"));
        None
    }

    fn written(&mut self, name: &Word, value: RawValue, place: &Place) -> Option<Written> {
        match value {
            RawValue::Atom(word) => Some(Written::Atom(word)),
            RawValue::List(words, span) => Some(Written::List(words, span)),
            RawValue::Section(entries, span) => Some(Written::Dict(self.pairs(entries, place)?, span)),
            RawValue::Nothing => {
                let finding = Finding::error(2001, name.span, format!("'{}' has no value", clip(&name.text)));
                self.findings.push(finding.expected("`=` and a value"));
                None
            }
        }
    }

    /// The entries of a section as those of a dictionary.
    fn pairs(&mut self, entries: Vec<Entry>, place: &Place) -> Option<Vec<(Word, Word)>> {
        let mut pairs: Vec<(Word, Word)> = Vec::with_capacity(entries.len());
        let mut at: BTreeMap<String, usize> = BTreeMap::new();
        for Entry { key, value } in entries {
            let RawValue::Atom(value) = value else {
                if place.is_read() {
                    let finding =
                        Finding::error(2006, key.span, "a list or section inside a section of the 2.x form");
                    self.findings.push(finding.expected("one word or string for each key"));
                    return None;
                }
                self.gone(
                    key.span,
                    format!(
                        "'{}' holds a list or section, which has no 4.x form; it is left out",
                        clip(&key.text)
                    ),
                );
                continue;
            };
            let lower = key.text.to_ascii_lowercase();
            if let Some(slot) = at.get(&lower).and_then(|index| pairs.get_mut(*index)) {
                let message = format!("key '{}' given twice; the last counts", clip(&key.text));
                self.note(key.span, message.clone());
                self.findings.push(Finding::warning(3010, key.span, message).see_also(slot.0.span));
                *slot = (key, value);
                continue;
            }
            at.insert(lower, pairs.len());
            pairs.push((key, value));
        }
        Some(pairs)
    }
}

/// One word as a list of one.
fn listed(value: RawValue) -> RawValue {
    match value {
        RawValue::Atom(word) => {
            let span = word.span;
            RawValue::List(alloc::vec![word], span)
        }
        other @ (RawValue::List(..) | RawValue::Section(..) | RawValue::Nothing) => other,
    }
}

/// Inside a module, a key that is given again adds to its values, where it can take several.
fn collect_repeated(out: &mut Vec<Item>, place: &Place) {
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept: Vec<Item> = Vec::with_capacity(out.len());
    for item in out.drain(..) {
        let Item::Assignment { name, value } = item else {
            kept.push(item);
            continue;
        };
        let key = name.text.to_ascii_lowercase();
        let row = place.row(&name.text);
        let takes_several = row.is_none_or(|row: &Row| row.array);
        let earlier = first.get(&key).copied().filter(|_| takes_several);
        if let Some(Item::Assignment { value: earlier, .. }) = earlier.and_then(|at| kept.get_mut(at))
            && !matches!((&*earlier, &value), (Written::Dict(..), _) | (_, Written::Dict(..)))
        {
            let (mut words, span) =
                into_words(core::mem::replace(earlier, Written::List(Vec::new(), name.span)));
            let (more, end) = into_words(value);
            words.extend(more);
            *earlier = Written::List(words, span.to(end));
            continue;
        }
        first.entry(key).or_insert(kept.len());
        kept.push(Item::Assignment { name, value });
    }
    *out = kept;
}

fn into_words(value: Written) -> (Vec<Word>, Span) {
    let span = value.span();
    match value {
        Written::Atom(word) => (alloc::vec![word], span),
        Written::List(words, _) => (words, span),
        Written::Dict(..) => (Vec::new(), span),
    }
}

/// Whether the global scope has an anonymous stanza of this name.
fn is_singleton(name: &str) -> bool {
    schema::child_scope(Scope::Global, None, name)
        .is_some_and(|row| row.instance == schema::InstanceName::Anonymous)
}
