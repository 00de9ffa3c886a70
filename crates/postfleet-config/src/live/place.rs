//! Places in the tree as an operator names them: scope, instance, scope, instance.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::refusal::Refusal;
use crate::files::Role;
use crate::merge;
use crate::resolve::Facts;
use crate::schema::{self, InstanceName, Row, Scope, ScopeRow, Service};
use crate::syntax::{Item, Quote, Word, Written};
use crate::tree::{Applies, InstanceId, Tree, display_name};

/// One level of a place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) row: &'static ScopeRow,
    /// The word that named the scope.
    pub(super) word: Word,
    /// The instance as typed; `None` for an anonymous scope.
    pub(super) name: Option<Word>,
    pub(super) key: String,
    pub(super) applies: Applies,
}

/// A way from the global scope inwards. The instances on it may or may not exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Place(Vec<Step>);

/// What the words of a path lead to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) place: Place,
    /// The word behind the path, which names no scope.
    pub(super) rest: Option<Word>,
}

impl Place {
    /// Follows words inwards as long as they name scopes. The words used are taken from the iterator, and so is the
    /// first that names none.
    pub(super) fn read(words: &mut impl Iterator<Item = Word>, role: Role) -> Result<Target, Refusal> {
        let mut place = Self::default();
        while let Some(word) = words.next() {
            let scope = (word.quote == Quote::Bare)
                .then(|| schema::child_scope(place.scope(), place.service(), &word.text))
                .flatten()
                .filter(|row| row.role.is_none_or(|only| only == role));
            let Some(row) = scope else {
                return Ok(Target { place, rest: Some(word) });
            };
            let step = place.step(row, word, words)?;
            place.0.push(step);
        }
        Ok(Target { place, rest: None })
    }

    fn step(
        &self,
        row: &'static ScopeRow,
        word: Word,
        words: &mut impl Iterator<Item = Word>,
    ) -> Result<Step, Refusal> {
        if row.instance == InstanceName::Anonymous {
            return Ok(Step { row, word, name: None, key: String::new(), applies: Applies::Name });
        }
        let Some(name) = words.next() else {
            return Err(Refusal::NameMissing(row.name));
        };
        match merge::canonical(row, &name.text) {
            Ok((key, applies, _)) => Ok(Step { row, word, name: Some(name), key, applies }),
            Err(problem) => Err(Refusal::InvalidName {
                name: name.text,
                scope: row.name,
                reason: problem.expected.map_or(problem.message, |expected| format!("expected {expected}")),
            }),
        }
    }

    /// The place of an instance of a tree.
    pub(super) fn of(tree: &Tree, id: InstanceId) -> Self {
        let mut steps = Vec::new();
        let mut at = id;
        while at != InstanceId::GLOBAL
            && let Some(instance) = tree.instance(at)
        {
            let Some(row) = schema::scope_rows().find(|row| row.scope == instance.scope) else { break };
            let span = crate::source::Span::at(crate::source::SourceId(0), 0, 0);
            let name =
                instance.name.as_ref().map(|name| Word { text: name.clone(), quote: Quote::Double, span });
            steps.push(Step {
                row,
                word: Word { text: row.name.into(), quote: Quote::Bare, span },
                name,
                key: instance.key.clone(),
                applies: instance.applies.clone(),
            });
            at = instance.parent;
        }
        steps.reverse();
        Self(steps)
    }

    pub(super) fn from_steps(steps: &[Step]) -> Self {
        Self(steps.to_vec())
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    pub(super) fn is_global(&self) -> bool {
        self.0.is_empty()
    }

    /// The innermost scope.
    pub(super) fn scope(&self) -> Scope {
        self.0.last().map_or(Scope::Global, |step| step.row.scope)
    }

    pub(super) fn service(&self) -> Option<Service> {
        self.0.iter().rev().find_map(|step| step.row.scope.service())
    }

    /// The option of this name in the innermost scope.
    pub(super) fn option(&self, name: &str) -> Option<&'static Row> {
        let above: Vec<Scope> = self.0.iter().map(|step| step.row.scope).collect();
        schema::row(self.scope(), self.service(), name).filter(|row| merge::passes(row, &above))
    }

    /// The option of this name in the innermost scope, or in the nearest one around it that has it.
    pub(super) fn option_around(&self, name: &str) -> Option<&'static Row> {
        let outwards = (0..=self.0.len()).rev().filter_map(|length| self.0.get(..length));
        outwards.into_iter().find_map(|steps| Self(steps.to_vec()).option(name))
    }

    pub(super) fn find(&self, tree: &Tree) -> Option<InstanceId> {
        self.0.iter().try_fold(InstanceId::GLOBAL, |at, step| tree.child(at, step.row.scope, &step.key))
    }

    /// Whether the other place is this one or lies below it.
    pub(super) fn contains(&self, other: &Self) -> bool {
        other.0.len() >= self.0.len()
            && self.0.iter().zip(&other.0).all(|(a, b)| a.row.scope == b.row.scope && a.key == b.key)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.contains(other)
    }

    /// `SCOPE:INSTANCE:` for each level. Instances that exist are named as first written.
    pub(super) fn path(&self, tree: &Tree) -> String {
        if let Some(id) = self.find(tree) {
            return tree.path(id);
        }
        let level = |step: &Step| {
            let name = step.name.as_ref().map_or("", |name| name.text.as_str());
            let name = name.replace('\\', "\\\\").replace(':', "\\:");
            format!("{}:{name}:", display_name(step.row.scope))
        };
        self.0.iter().map(level).collect()
    }

    /// Scopes and instances in turn, for machines.
    pub(super) fn names(&self) -> Vec<String> {
        self.0
            .iter()
            .flat_map(|step| {
                let scope = display_name(step.row.scope).to_string();
                core::iter::once(scope).chain(step.name.as_ref().map(|name| name.text.clone()))
            })
            .collect()
    }

    /// What is known of something that would pass all these instances.
    pub(super) fn facts<'a>(&'a self, tree: &Tree) -> Facts<'a> {
        let mut facts = Facts { service: self.service(), instance: self.find(tree), ..Facts::default() };
        for step in &self.0 {
            let name = step.name.as_ref().map(|name| name.text.as_str());
            let scope = step.row.scope;
            if scope == Scope::BindingGroup {
                facts.binding_group = name;
            } else if scope == Scope::Binding {
                facts.binding = name;
            } else if scope == Scope::Domain {
                facts.domain = name;
            } else if scope == Scope::Host {
                facts.host = name;
            } else if scope == Scope::Listen {
                facts.listen = Some(step.key.as_str());
            } else if let Applies::Cidr(prefix) = step.applies
                && scope == Scope::Peer
            {
                facts.peer = Some(prefix);
            }
        }
        facts
    }

    /// The stanzas of this place around an assignment.
    pub(super) fn around(&self, name: Word, value: Written) -> Item {
        self.0.iter().rev().fold(Item::Assignment { name, value }, |inner, step| Item::Stanza {
            scope: step.word.clone(),
            name: step.name.clone(),
            body: alloc::vec![inner],
        })
    }
}
