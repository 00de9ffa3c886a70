//! Options that need a restart keep their value, whatever the configuration says meanwhile.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::change::RestartOnly;
use crate::config::Config;
use crate::resolve::default_value;
use crate::schema::{InstanceName, Row, Scope, scope_rows};
use crate::source::{SourceId, Sources, Span};
use crate::syntax::{Word, Written};
use crate::tree::{Assigned, Instance, InstanceId, Tree};
use crate::value::Value;

/// Stanzas that a running process cannot gain or lose: a node is in a cluster or it is not.
const FIXED_STANZAS: [Scope; 1] = [Scope::Cluster];

/// The new configuration with the old values of options that need a restart, and which options these are.
pub(super) fn held(new: &Config, old: &Config) -> (Config, Vec<RestartOnly>) {
    let mut holder = Holder {
        old,
        tree: new.tree().clone(),
        sources: new.sources().clone(),
        adopted: BTreeMap::new(),
        found: Vec::new(),
    };
    for scope in FIXED_STANZAS {
        holder.stanza(new, scope);
    }
    holder.options(new);
    holder.gone(new);
    if holder.found.is_empty() {
        return (new.clone(), Vec::new());
    }
    (new.with_tree(holder.tree, Arc::new(holder.sources)), holder.found)
}

struct Holder<'a> {
    old: &'a Config,
    tree: Tree,
    sources: Sources,
    adopted: BTreeMap<SourceId, SourceId>,
    found: Vec<RestartOnly>,
}

impl Holder<'_> {
    fn stanza(&mut self, new: &Config, scope: Scope) {
        let (before, after) = (self.old.tree().anonymous(scope), new.tree().anonymous(scope));
        let opened = after.and_then(|id| new.tree().instance(id)).and_then(|instance| instance.opened);
        match (before, after) {
            (Some(before), None) => self.transplant(before, InstanceId::GLOBAL),
            (None, Some(after)) => self.tree.remove(after),
            (Some(_), Some(_)) | (None, None) => return,
        }
        self.found.push(RestartOnly {
            name: scope.name(),
            path: alloc::string::String::new(),
            position: opened.and_then(|span| new.sources().position(span)),
        });
    }

    /// What is set in the new configuration, or was set in a stanza that is still there.
    fn options(&mut self, new: &Config) {
        for (id, instance) in new.tree().instances() {
            let keys = new.tree().keys(id);
            // A stanza that is not in effect was dealt with above.
            let Some(mine) = self.tree.find(&keys) else { continue };
            let before = self.old.tree().find(&keys).and_then(|id| self.old.tree().instance(id));
            // What a new named stanza describes is new: nothing runs that would have to be restarted.
            if before.is_none() && is_named(instance.scope) {
                continue;
            }
            let mut rows: Vec<&'static Row> = fixed(instance).map(|assigned| assigned.row).collect();
            rows.extend(before.into_iter().flat_map(fixed).map(|assigned| assigned.row));
            rows.sort_by_key(|row| row.name);
            rows.dedup_by_key(|row| row.name);
            for row in rows {
                let was = before.and_then(|before| before.assigned(row.name));
                let is = instance.assigned(row.name);
                if value(was, row, self.old) == value(is, row, self.old) {
                    continue;
                }
                match was.cloned() {
                    Some(was) => {
                        let was = self.adopted(was);
                        self.tree.put(mine, was);
                    }
                    None => {
                        self.tree.unassign(mine, row);
                    }
                }
                self.found.push(RestartOnly {
                    name: row.name,
                    path: new.tree().path(id),
                    position: is.and_then(|is| new.sources().position(is.name)),
                });
            }
        }
    }

    /// What was set in a stanza that is gone.
    fn gone(&mut self, new: &Config) {
        let old = self.old;
        for (id, instance) in old.tree().instances() {
            let keys = old.tree().keys(id);
            if new.tree().find(&keys).is_some() || self.tree.find(&keys).is_some() || is_named(instance.scope)
            {
                continue;
            }
            let changed: Vec<&Assigned> = fixed(instance)
                .filter(|was| value(Some(was), was.row, old) != value(None, was.row, old))
                .collect();
            let Some(parent) = self.tree.find(&old.tree().keys(instance.parent)) else { continue };
            if changed.is_empty() {
                continue;
            }
            let mine = self.open(instance, parent);
            for was in changed {
                let held = self.adopted(was.clone());
                self.tree.put(mine, held);
                self.found.push(RestartOnly {
                    name: was.row.name,
                    path: old.tree().path(id),
                    position: None,
                });
            }
        }
    }

    fn transplant(&mut self, id: InstanceId, parent: InstanceId) {
        let old = self.old;
        let Some(instance) = old.tree().instance(id) else { return };
        let mine = self.open(instance, parent);
        for assigned in instance.options() {
            let assigned = self.adopted(assigned.clone());
            self.tree.put(mine, assigned);
        }
        for child in &instance.children {
            self.transplant(*child, mine);
        }
    }

    fn open(&mut self, instance: &Instance, parent: InstanceId) -> InstanceId {
        let opened = instance.opened.map(|span| self.span(span));
        self.tree.open(
            parent,
            instance.scope,
            &instance.key,
            instance.name.clone(),
            instance.applies.clone(),
            opened,
        )
    }

    /// A place in the old texts as a place in the new ones.
    fn span(&mut self, span: Span) -> Span {
        let source = match self.adopted.get(&span.source) {
            Some(source) => *source,
            None => {
                let Some(text) = self.old.sources().source(span.source) else { return span };
                let source = self.sources.adopt(text);
                self.adopted.insert(span.source, source);
                source
            }
        };
        Span { source, ..span }
    }

    fn word(&mut self, word: Word) -> Word {
        Word { span: self.span(word.span), ..word }
    }

    fn adopted(&mut self, assigned: Assigned) -> Assigned {
        let written = match assigned.written {
            Written::Atom(word) => Written::Atom(self.word(word)),
            Written::List(words, span) => {
                let words = words.into_iter().map(|word| self.word(word)).collect();
                Written::List(words, self.span(span))
            }
            Written::Dict(pairs, span) => {
                let pairs =
                    pairs.into_iter().map(|(key, value)| (self.word(key), self.word(value))).collect();
                Written::Dict(pairs, self.span(span))
            }
        };
        Assigned {
            name: self.span(assigned.name),
            span: self.span(assigned.span),
            written,
            shadowed: assigned.shadowed.into_iter().map(|(value, span)| (value, self.span(span))).collect(),
            ..assigned
        }
    }
}

fn fixed(instance: &Instance) -> impl Iterator<Item = &Assigned> {
    instance.options().filter(|assigned| !assigned.row.dynamic)
}

fn is_named(scope: Scope) -> bool {
    scope_rows().any(|row| row.scope == scope && row.instance != InstanceName::Anonymous)
}

/// What the option amounts to. The defaults are those in effect, which do not change before a restart either.
fn value(assigned: Option<&Assigned>, row: &'static Row, in_effect: &Config) -> Option<Value> {
    match assigned {
        Some(assigned) => Some(assigned.value.clone()),
        None => default_value(row, in_effect.compatible()),
    }
}
