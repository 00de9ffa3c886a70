//! Changes made at run time, and a configuration with them.

use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::command::Assignment;
use super::place::Place;
use super::refusal::Refusal;
use super::shown;
use crate::check;
use crate::config::Config;
use crate::diagnostic::{self, Diagnostic, Finding, Findings};
use crate::merge;
use crate::schema::{Row, Scope};
use crate::secret::Secret;
use crate::source::{SourceId, Span};
use crate::syntax::{Word, Written};
use crate::tree::{Instance, InstanceId, POOLS, Tree};

/// One change, as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Edit {
    /// An option gets a value.
    Set(Assignment),
    /// An option loses its value.
    Unset(Place, &'static Row, Arc<str>),
    /// An instance is taken out, with everything below it.
    Remove(Place, Arc<str>),
}

impl Edit {
    pub(super) fn line(&self) -> &str {
        match self {
            Self::Set(set) => &set.line,
            Self::Unset(_, _, line) | Self::Remove(_, line) => line,
        }
    }

    /// The command for screens: a secret as `***`.
    pub(super) fn shown(&self) -> String {
        if let Self::Set(set) = self {
            let hidden = Secret::of(set.row.name).written(&set.value);
            if hidden != set.value {
                let before = set.line.get(..set.value.span().start as usize).unwrap_or("");
                return alloc::format!("{before}{}", hidden.one_line());
            }
        }
        self.line().to_string()
    }

    pub(super) const fn place(&self) -> &Place {
        match self {
            Self::Set(set) => &set.place,
            Self::Unset(place, ..) | Self::Remove(place, _) => place,
        }
    }

    /// The option changed; `None` when it is a whole instance.
    pub(super) const fn row(&self) -> Option<&'static Row> {
        match self {
            Self::Set(set) => Some(set.row),
            Self::Unset(_, row, _) => Some(*row),
            Self::Remove(..) => None,
        }
    }

    /// Whether this one leaves nothing of an earlier one.
    fn replaces(&self, earlier: &Self) -> bool {
        match self.row() {
            Some(row) => earlier.row() == Some(row) && self.place().is_same(earlier.place()),
            None => self.place().contains(earlier.place()),
        }
    }
}

/// Adds a change. What it replaces is left out, so that the list grows no longer than what it touches, and so is
/// what only says what the files say.
pub(super) fn add(edits: &mut Vec<Edit>, edit: Edit, files: &Config) {
    edits.retain(|earlier| !edit.replaces(earlier));
    let removed_before =
        edits.iter().any(|earlier| earlier.row().is_none() && earlier.place().contains(edit.place()));
    let in_files = edit.place().find(files.tree());
    let without_effect = match &edit {
        Edit::Set(set) => {
            !removed_before
                && in_files.and_then(|id| files.assigned(id, set.row)).is_some_and(|assigned| {
                    assigned.written.one_line() == set.value.one_line() && assigned.shadowed.is_empty()
                })
        }
        Edit::Unset(_, row, _) => in_files.and_then(|id| files.assigned(id, row)).is_none(),
        Edit::Remove(..) => {
            in_files.and_then(|id| files.tree().instance(id)).is_none_or(Instance::is_implied)
        }
    };
    if !without_effect {
        edits.push(edit);
    }
}

/// A configuration with changes, and what its checks found.
pub(super) struct Changed {
    pub(super) config: Config,
    pub(super) findings: Vec<Diagnostic>,
}

impl Changed {
    pub(super) fn has_errors(&self) -> bool {
        self.findings.iter().any(Diagnostic::is_error)
    }

    /// Everything found, as a load would print it.
    pub(super) fn report(&self) -> Refusal {
        let mut text = diagnostic::report(&self.findings);
        while text.ends_with('\n') {
            text.pop();
        }
        Refusal::Errors(text)
    }

    /// The warnings that the configuration did not give rise to before.
    pub(super) fn new_warnings(&self, before: &Config) -> Vec<Diagnostic> {
        let known = across(before);
        let same = |a: &Diagnostic, b: &Diagnostic| a.code == b.code && a.message == b.message;
        self.findings
            .iter()
            .filter(|found| !found.is_error() && !known.iter().any(|other| same(found, other)))
            .cloned()
            .collect()
    }
}

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Names and values: all that can be said of a transaction that goes on.
    Each,
    /// And how they fit together.
    Together,
}

/// The configuration of the files with these changes.
pub(super) fn apply(files: &Config, edits: &[Edit], depth: Depth) -> Changed {
    let mut findings = Findings::default();
    let mut tree = files.tree().clone();
    let mut sources = files.sources().clone();
    for edit in edits {
        match edit {
            Edit::Set(set) => {
                let source = sources.add("console".into(), set.line.clone(), None, false, true);
                if set.row.name == "parameters" {
                    // In files the words of several stanzas add up; a command says what there shall be.
                    take(&mut tree, &set.place, set.row);
                }
                let value = moved(set.value.clone(), source);
                let item = set.place.around(moved_word(set.name.clone(), source), value);
                tree = merge::overlay(tree, &[moved_stanzas(item, source)], files.role(), &mut findings);
            }
            Edit::Unset(place, row, _) => take(&mut tree, place, row),
            Edit::Remove(place, _) => {
                if let Some(id) = place.find(&tree) {
                    tree.remove(id);
                    tree.imply();
                }
            }
        }
    }
    let config = files.with_tree(tree, Arc::new(sources));
    if depth == Depth::Together && !findings.has_errors() {
        check::check(&config, &mut |finding: Finding| findings.push(finding));
    }
    let findings = findings.finish(config.sources());
    Changed { config, findings }
}

fn take(tree: &mut Tree, place: &Place, row: &Row) {
    if let Some(id) = place.find(tree) {
        tree.unassign(id, row);
    }
}

/// What the checks across stanzas find.
fn across(config: &Config) -> Vec<Diagnostic> {
    let mut findings = Findings::default();
    check::check(config, &mut |finding: Finding| findings.push(finding));
    findings.finish(config.sources())
}

fn moved_word(word: Word, source: SourceId) -> Word {
    Word { span: Span { source, ..word.span }, ..word }
}

fn moved(value: Written, source: SourceId) -> Written {
    let at = |span: Span| Span { source, ..span };
    match value {
        Written::Atom(word) => Written::Atom(moved_word(word, source)),
        Written::List(words, span) => {
            Written::List(words.into_iter().map(|word| moved_word(word, source)).collect(), at(span))
        }
        Written::Dict(pairs, span) => {
            let pair = |(key, value)| (moved_word(key, source), moved_word(value, source));
            Written::Dict(pairs.into_iter().map(pair).collect(), at(span))
        }
    }
}

fn moved_stanzas(item: crate::syntax::Item, source: SourceId) -> crate::syntax::Item {
    use crate::syntax::Item;
    match item {
        Item::Stanza { scope, name, body } => Item::Stanza {
            scope: moved_word(scope, source),
            name: name.map(|name| moved_word(name, source)),
            body: body.into_iter().map(|inner| moved_stanzas(inner, source)).collect(),
        },
        Item::Assignment { .. } | Item::Include { .. } => item,
    }
}

/// What a transaction from scratch begins with: everything unset but what is always there.
pub(super) fn scratch(config: &Config, files: &Config) -> Vec<Edit> {
    let mut edits = Vec::new();
    let tree = config.tree();
    let Some(global) = tree.instance(InstanceId::GLOBAL) else { return edits };
    for assigned in global.options().filter(|assigned| assigned.row.name != "TimestampFormat") {
        let line = alloc::format!("config unset {}", assigned.row.name);
        add(&mut edits, Edit::Unset(Place::default(), assigned.row, line.into()), files);
    }
    for id in &global.children {
        let built_in =
            |child: &Instance| is_built_in(child.scope, child.name.as_deref()) || child.is_untouched();
        if tree.instance(*id).is_some_and(built_in) {
            continue;
        }
        let place = Place::of(tree, *id);
        let mut line = String::from("config unset");
        for word in place.names() {
            line.push(' ');
            line.push_str(&shown::argument(&word));
        }
        add(&mut edits, Edit::Remove(place, line.into()), files);
    }
    edits
}

/// What a transaction from scratch keeps.
pub(super) fn is_built_in(scope: Scope, name: Option<&str>) -> bool {
    scope == Scope::DebugFlags
        || (scope == Scope::ThreadPool
            && name.is_some_and(|name| POOLS.iter().any(|(pool, ..)| *pool == name)))
}
