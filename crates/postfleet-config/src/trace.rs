//! The whole way of a look-up: what supplies the value, what holds beside it, and what it hides.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::config::Config;
use crate::resolve::{Facts, choose};
use crate::schema::{Combine, Row, Scope};
use crate::secret::Secret;
use crate::settings::{ObjectKind, object_kind, parameter_words};
use crate::source::{Position, Span};
use crate::tree::{Assigned, InstanceId};
use crate::value::Value;

/// What an assignment contributes to the answer of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It is the value, or the narrowest part of it.
    Supplies,
    /// It counts beside the value: a further limit that holds too, or a part of a value that unites.
    Joins,
    /// It does not count.
    Hidden,
}

/// One assignment that a look-up comes by.
#[derive(Clone, Debug)]
pub struct Traced {
    /// The instance it is made in.
    pub instance: InstanceId,
    /// The scope path of the instance, empty for the global scope.
    pub path: String,
    /// Where the value stands; `None` for a value that no text is at hand for.
    pub position: Option<Position>,
    /// The same as a range of the sources.
    pub span: Span,
    /// The value.
    pub value: Value,
    /// The value on one line, for displays: as written where it is the last one of its scope; `***` for a secret.
    pub written: String,
    /// What it contributes.
    pub weight: Weight,
}

/// The answer of a look-up with everything that led to it.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The option.
    pub row: &'static Row,
    /// The value in force; the default when nobody set it, `None` when it has no default either.
    pub value: Option<Value>,
    /// Every assignment on the way, the narrowest scope first and in one scope the last first. The first one, if
    /// there is one, supplies the value.
    pub assignments: Vec<Traced>,
}

impl Trace {
    /// The assignment that supplies the value; `None`: it is the default.
    #[must_use]
    pub fn supplier(&self) -> Option<&Traced> {
        self.assignments.first().filter(|traced| traced.weight == Weight::Supplies)
    }

    /// What counts beside the value.
    pub fn joining(&self) -> impl Iterator<Item = &Traced> {
        self.assignments.iter().filter(|traced| traced.weight == Weight::Joins)
    }

    /// What the value hides, the nearest first.
    pub fn hidden(&self) -> impl Iterator<Item = &Traced> {
        self.assignments.iter().filter(|traced| traced.weight == Weight::Hidden)
    }
}

impl Config {
    /// Looks an option up and tells the whole way. `None` when no option of this name fits the facts.
    #[must_use]
    pub fn trace(&self, name: &str, facts: &Facts<'_>) -> Option<Trace> {
        choose(name, facts, self).map(|row| self.traced(row, facts))
    }

    pub(crate) fn traced(&self, row: &'static Row, facts: &Facts<'_>) -> Trace {
        let mut assignments = Vec::new();
        let mut supplier: Option<Scope> = None;
        let mut domain_limit = false;
        for id in self.chain(row, facts) {
            let Some(assigned) = self.assigned(id, row) else {
                continue;
            };
            let scope = self.tree().instance(id).map_or(Scope::Global, |instance| instance.scope);
            let weight = match (supplier, row.combine) {
                (None, _) => Weight::Supplies,
                (Some(_), Combine::First) => Weight::Hidden,
                (Some(_), Combine::Every | Combine::Unite) => Weight::Joins,
                (Some(_), Combine::Total) if scope == Scope::Global => Weight::Joins,
                (Some(Scope::Host), Combine::Exchanger) if scope != Scope::Host && !domain_limit => {
                    domain_limit = true;
                    Weight::Joins
                }
                (Some(_), Combine::Total | Combine::Exchanger) => Weight::Hidden,
            };
            supplier = supplier.or(Some(scope));
            self.trace_instance(id, assigned, weight, &mut assignments);
        }
        Trace { row, value: self.resolved(row, facts).value, assignments }
    }

    /// The assignments of one instance, the last first.
    fn trace_instance(&self, id: InstanceId, assigned: &Assigned, weight: Weight, into: &mut Vec<Traced>) {
        let traced = |value: &Value, span: Span, written: String, weight| Traced {
            instance: id,
            path: self.tree().path(id),
            position: self.sources().position(span),
            span,
            value: value.clone(),
            written,
            weight,
        };
        let secret = Secret::of(assigned.row.name);
        let written = secret.written(&assigned.written).one_line();
        into.push(traced(&assigned.value, assigned.span, written, weight));
        let unites = self.united_parameters(id, assigned.row).is_some();
        for (value, span) in assigned.shadowed.iter().rev() {
            let weight = if unites { Weight::Joins } else { Weight::Hidden };
            into.push(traced(value, *span, secret.value(value).to_string(), weight));
        }
    }

    /// The words of `parameters` of all stanzas of one object, where those unite.
    pub(crate) fn united_parameters(&self, id: InstanceId, row: &Row) -> Option<String> {
        let stanza = self.tree().instance(id).filter(|stanza| stanza.scope == Scope::Replicate)?;
        let kind = object_kind(stanza).filter(|_| row.name == "parameters")?;
        matches!(kind, ObjectKind::Metrics | ObjectKind::ManagerMetrics).then(|| {
            let words = parameter_words(stanza, kind);
            words.iter().map(|(word, _)| word.as_str()).collect::<Vec<_>>().join(";")
        })
    }
}

/// Dictionaries of several scopes as one, the narrower scope winning; keys of the narrower scope come first.
pub(crate) fn unite<'a>(narrow_first: impl Iterator<Item = &'a Value>) -> Value {
    let mut united: Vec<(String, String)> = Vec::new();
    for (key, value) in narrow_first.filter_map(Value::as_dict).flatten() {
        if !united.iter().any(|(known, _)| known == key) {
            united.push((key.clone(), value.clone()));
        }
    }
    Value::Dict(united)
}
