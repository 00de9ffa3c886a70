//! Items to instances: names, places and values are checked here.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::address::ListenAddress;
use crate::diagnostic::{Finding, Findings};
use crate::files::Role;
use crate::loader::Loaded;
use crate::schema::{self, Body, Chain, InstanceName, Kind, Row, Scope, ScopeRow};
use crate::secret::is_secret;
use crate::source::{SourceId, Span};
use crate::syntax::{Item, Quote, Word, Written};
use crate::tree::{Applies, InstanceId, Tree, domain_key, takes_patterns};
use crate::value::{self, Pattern, Problem, Value};

/// The merged tree of everything read.
pub(crate) fn merge(loaded: &Loaded, role: Role, findings: &mut Findings) -> Tree {
    let mut merger = Merger { loaded, role, findings, tree: Tree::new() };
    for root in &loaded.roots {
        merger.source(*root, InstanceId::GLOBAL);
    }
    merger.tree.imply();
    merger.tree
}

/// Merges further items into a tree, as if they stood behind everything that is in it. They include nothing.
pub(crate) fn overlay(tree: Tree, items: &[Item], role: Role, findings: &mut Findings) -> Tree {
    let loaded = Loaded::default();
    let mut merger = Merger { loaded: &loaded, role, findings, tree };
    merger.body(items, InstanceId::GLOBAL);
    merger.tree
}

struct Merger<'a> {
    loaded: &'a Loaded,
    role: Role,
    findings: &'a mut Findings,
    tree: Tree,
}

impl Merger<'_> {
    fn source(&mut self, source: SourceId, into: InstanceId) {
        let loaded = self.loaded;
        if let Some(items) = loaded.items.get(&source) {
            self.body(items, into);
        }
    }

    fn body(&mut self, items: &[Item], into: InstanceId) {
        let mut seen: BTreeMap<&'static str, Span> = BTreeMap::new();
        let loaded = self.loaded;
        for item in items {
            match item {
                Item::Include { path, .. } => {
                    for source in loaded.included.get(&path.span).map_or(&[][..], Vec::as_slice) {
                        self.source(*source, into);
                    }
                }
                Item::Assignment { name, value } => self.assignment(name, value, into, &mut seen),
                Item::Stanza { scope, name, body } => self.stanza(scope, name.as_ref(), body, into),
            }
        }
    }

    fn place(&self, id: InstanceId) -> (Scope, Option<schema::Service>) {
        self.tree.instance(id).map_or((Scope::Global, None), |instance| (instance.scope, instance.service))
    }

    fn assignment(
        &mut self,
        name: &Word,
        written: &Written,
        into: InstanceId,
        seen: &mut BTreeMap<&'static str, Span>,
    ) {
        let (scope, service) = self.place(into);
        let Some(row) = schema::row(scope, service, &name.text).filter(|row| self.on_chain(row, into)) else {
            self.unknown_option(name, written, into);
            return;
        };
        let Some(checked) = self.checked(row, name, written) else {
            return;
        };
        if let Some(first) = seen.insert(row.name, name.span) {
            self.findings.push(
                Finding::warning(3010, name.span, format!("{} is given twice; the last counts", row.name))
                    .see_also(first),
            );
        }
        self.tree.assign(into, row, checked, name.span, written.clone());
    }

    fn on_chain(&self, row: &Row, id: InstanceId) -> bool {
        let above: Vec<Scope> = self.tree.keys(id).into_iter().map(|(scope, _)| scope).collect();
        passes(row, &above)
    }

    fn unknown_option(&mut self, name: &Word, written: &Written, into: InstanceId) {
        let (scope, service) = self.place(into);
        let text = &name.text;
        let expected = format!("an option or stanza of scope '{}'", scope.name());
        let finding = if let Some(stanza) = schema::child_scope(scope, service, text) {
            Finding::error(3003, name.span, format!("'{}' is a stanza, not an option", stanza.name))
                .expected(form(stanza))
        } else if let Some(accepted) = schema::known_accepted(text) {
            self.tree.accept(accepted, name.span);
            self.keep_option(name, written, into);
            return;
        } else if scope == Scope::Cluster && text.eq_ignore_ascii_case("subcluster") {
            Finding::warning(3009, name.span, "the subcluster is not named here")
                .expected("cluster_name = NAME in cluster.boot, or EC_SUB_CLUSTER in the environment")
        } else if scope == Scope::Binding && text.eq_ignore_ascii_case("Duravip_Follow") {
            let name_of = self.tree.instance(into).and_then(|binding| binding.name.as_deref()).unwrap_or("");
            let message = format!(
                "'{}' marked as duravip_follow, which is currently not supported for bindings",
                value::clip(name_of)
            );
            Finding::error(3002, name.span, message).hint("valid in: Listen")
        } else if let valid = schema::valid_scopes(text)
            && !valid.is_empty()
        {
            Finding::error(3002, name.span, format!("'{text}' is not valid in scope '{}'", scope.name()))
                .expected(expected)
                .hint(self.elsewhere(text, &valid, into))
        } else if schema::known(text) {
            self.keep_option(name, written, into);
            Finding::warning(3008, name.span, format!("'{text}' is known and not read; it has no effect"))
        } else {
            self.unknown_name(name, into)
        };
        self.findings.push(finding);
    }

    fn keep_option(&mut self, name: &Word, written: &Written, into: InstanceId) {
        let item = Item::Assignment { name: name.clone(), value: written.clone() };
        self.tree.keep_unread(into, item);
    }

    /// Items as one text would have them: what is included stands in the place of its directive.
    fn flattened(&self, items: &[Item]) -> Vec<Item> {
        let mut flat = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Include { path, .. } => {
                    let included = self.loaded.included.get(&path.span).map_or(&[][..], Vec::as_slice);
                    for items in included.iter().filter_map(|source| self.loaded.items.get(source)) {
                        flat.extend(self.flattened(items));
                    }
                }
                Item::Assignment { .. } => flat.push(item.clone()),
                Item::Stanza { scope, name, body } => flat.push(Item::Stanza {
                    scope: scope.clone(),
                    name: name.clone(),
                    body: self.flattened(body),
                }),
            }
        }
        flat
    }

    /// Where a name is valid; for the two names that are often confused, the other one.
    fn elsewhere(&self, text: &str, valid: &[&'static str], into: InstanceId) -> String {
        let (scope, service) = self.place(into);
        for (wrong, right) in [("enabled", "Enable"), ("enable", "enabled")] {
            if text.eq_ignore_ascii_case(wrong) && schema::row(scope, service, right).is_some() {
                return format!("did you mean '{right}'?");
            }
        }
        if let Some(row) = schema::row(scope, service, text) {
            let outside = match row.chain {
                Chain::CM => "a Binding_Group",
                Chain::BGD => "a Binding",
                Chain::DG => "a Binding or Binding_Group",
                Chain::D | Chain::B | Chain::H | Chain::G | Chain::L | Chain::P | Chain::M => "this stanza",
            };
            return format!("not inside {outside}: no look-up comes by there");
        }
        format!("valid in: {}", valid.join(", "))
    }

    fn unknown_name(&self, name: &Word, into: InstanceId) -> Finding {
        let (scope, service) = self.place(into);
        let near = schema::nearest(scope, service, self.role, &name.text);
        Finding::error(
            3001,
            name.span,
            format!("'{}' is not a valid scope name in scope '{}'", value::clip(&name.text), scope.name()),
        )
        .expected(format!("an option or stanza of scope '{}'", scope.name()))
        .maybe_hint(near.map(|near| format!("did you mean '{near}'?")))
    }

    /// The value, if it is one.
    fn checked(&mut self, row: &'static Row, name: &Word, written: &Written) -> Option<Value> {
        let secret = is_secret(row.name) || row.scopes == [Scope::Datasource] && row.name == "uri";
        let report = |this: &mut Self, span: Span, problem: Problem| {
            let mut finding = if matches!(problem.code, 3008 | 3009 | 4013) {
                Finding::warning(problem.code, span, problem.message)
            } else {
                Finding::error(problem.code, span, problem.message)
            };
            if let Some(expected) = problem.expected {
                finding = finding.expected(expected);
            }
            this.findings.push(finding.maybe_hint(problem.hint).secret(secret));
        };
        if value::unsets(row, written) {
            let dict = matches!(row.kind, Kind::Dict(_));
            return Some(if dict { Value::Dict(Vec::new()) } else { Value::Text(String::new()) });
        }
        match (written, row.kind) {
            (Written::Dict(pairs, _), Kind::Dict(keys)) => {
                let texts: Vec<(String, String)> =
                    pairs.iter().map(|(key, value)| (key.text.clone(), value.text.clone())).collect();
                if let Err((at, problem)) = value::dict(keys, &texts) {
                    let span = at.and_then(|at| pairs.get(at)).map_or(name.span, |(key, _)| key.span);
                    report(self, span, problem);
                    return None;
                }
                Some(Value::Dict(texts))
            }
            (Written::Dict(..), _) => {
                let expected = if row.array { "a value or a list" } else { "a single value" };
                report(self, written.span(), Problem::new(4009, "a dictionary is given", expected));
                None
            }
            (Written::List(..) | Written::Atom(_), Kind::Dict(_)) => {
                let expected = format!("{} = [ key = value … ]", row.name);
                report(self, written.span(), Problem::new(4009, "a dictionary is missing", expected));
                None
            }
            (Written::List(..), _) if !row.array => {
                report(self, written.span(), Problem::new(4008, "a list is given", "a single value"));
                None
            }
            (Written::List(words, _), _) => {
                let values: Vec<Value> =
                    words.iter().filter_map(|word| self.atom(row, word, &report)).collect();
                (values.len() == words.len()).then_some(Value::List(values))
            }
            (Written::Atom(word), _) => {
                let value = self.atom(row, word, &report)?;
                Some(if row.array { Value::List(alloc::vec![value]) } else { value })
            }
        }
    }

    fn atom(
        &mut self,
        row: &'static Row,
        word: &Word,
        report: &impl Fn(&mut Self, Span, Problem),
    ) -> Option<Value> {
        match value::atom(row, &word.text) {
            Ok((value, remark)) => {
                if let Some(remark) = remark {
                    report(self, word.span, remark);
                }
                Some(value)
            }
            Err(mut problem) => {
                // Other languages end a value, or part the values of a list.
                let parted = word.text.strip_suffix([',', ';']).filter(|_| word.quote == Quote::Bare);
                if parted.is_some_and(|bare| value::atom(row, bare).is_ok()) {
                    problem.hint = Some(
                        "values are separated by blanks, and nothing ends them: delete the last character"
                            .into(),
                    );
                }
                report(self, word.span, problem);
                None
            }
        }
    }

    fn stanza(&mut self, word: &Word, name: Option<&Word>, body: &[Item], into: InstanceId) {
        let (scope, service) = self.place(into);
        let Some(row) = schema::child_scope(scope, service, &word.text) else {
            self.unknown_stanza(word, name, body, into);
            return;
        };
        if let Some(only) = row.role.filter(|only| *only != self.role) {
            let whose = if only == Role::Manager { "manager" } else { "node" };
            let message = format!("'{}' is only valid in the {whose} configuration", row.name);
            self.findings.push(Finding::error(3002, word.span, message));
            return;
        }
        let Some((key, applies, shown)) = self.instance_name(row, word, name) else {
            return;
        };
        if row.scope == Scope::Binding
            && let Some(found) = self.tree.binding(&key)
            && let Some(other) = self.tree.instance(found).filter(|other| other.parent != into)
        {
            let mut finding = Finding::error(
                3006,
                name.map_or(word.span, |name| name.span),
                format!("duplicate binding name {}", value::clip(&key)),
            );
            if let Some(opened) = other.opened {
                finding = finding.see_also(opened);
            }
            self.findings.push(finding);
            return;
        }
        let id = self.tree.open(into, row.scope, &key, shown, applies, Some(word.span));
        match row.body {
            Body::Read => self.body(body, id),
            Body::Accepted => {
                self.tree.accept(row.name, word.span);
                for item in self.flattened(body) {
                    self.tree.keep_unread(id, item);
                }
            }
        }
    }

    fn keep_stanza(&mut self, word: &Word, name: Option<&Word>, body: &[Item], into: InstanceId) {
        let body = self.flattened(body);
        let item = Item::Stanza { scope: word.clone(), name: name.cloned(), body };
        self.tree.keep_unread(into, item);
    }

    fn unknown_stanza(&mut self, word: &Word, name: Option<&Word>, body: &[Item], into: InstanceId) {
        let (scope, service) = self.place(into);
        let text = &word.text;
        let expected = format!("an option or stanza of scope '{}'", scope.name());
        let finding = if let Some(row) = schema::row(scope, service, text) {
            Finding::error(3003, word.span, format!("'{}' is an option, not a stanza", row.name))
                .expected(format!("{} = VALUE", row.name))
        } else if let Some(accepted) = schema::known_accepted(text) {
            self.tree.accept(accepted, word.span);
            self.keep_stanza(word, name, body, into);
            return;
        } else if schema::scopes_named(text).next().is_some() {
            let mut places: Vec<&'static str> = schema::scopes_named(text)
                .flat_map(|row| row.inside.iter().map(|scope| scope.name()))
                .collect();
            places.sort_unstable();
            places.dedup();
            Finding::error(3002, word.span, format!("'{text}' is not valid in scope '{}'", scope.name()))
                .expected(expected)
                .hint(format!("valid in: {}", places.join(", ")))
        } else if schema::known(text) {
            self.keep_stanza(word, name, body, into);
            Finding::warning(
                3008,
                word.span,
                format!("'{text}' is known and not read; the stanza has no effect"),
            )
        } else {
            self.unknown_name(word, into)
        };
        self.findings.push(finding);
    }

    /// The canonical name, what it applies to, and the name as shown.
    fn instance_name(
        &mut self,
        row: &'static ScopeRow,
        word: &Word,
        name: Option<&Word>,
    ) -> Option<(String, Applies, Option<String>)> {
        if row.instance == InstanceName::Anonymous {
            if let Some(name) = name {
                let message = format!("Didn't expect a name for {}", row.name);
                if row.scope == Scope::InboundAudit {
                    self.findings.push(Finding::warning(
                        3005,
                        name.span,
                        format!("{message}; it is ignored"),
                    ));
                } else {
                    self.findings.push(Finding::error(3005, name.span, message));
                    return None;
                }
            }
            return Some((String::new(), Applies::Name, None));
        }
        let Some(name) = name else {
            let finding = Finding::error(3004, word.span, format!("{} needs a name", row.name));
            self.findings.push(finding.expected(form(row)));
            return None;
        };
        match canonical(row, &name.text) {
            Ok((key, applies, remark)) => {
                if let Some(remark) = remark {
                    self.findings.push(Finding::warning(remark.code, name.span, remark.message));
                }
                Some((key, applies, Some(name.text.clone())))
            }
            Err(problem) => {
                let mut finding = Finding::error(problem.code, name.span, problem.message);
                if let Some(expected) = problem.expected {
                    finding = finding.expected(expected);
                }
                self.findings.push(finding.maybe_hint(problem.hint));
                None
            }
        }
    }
}

/// Whether a look-up can come by an instance inside these scopes: some chains pass a scope only outside, or only
/// inside, another.
pub(crate) fn passes(row: &Row, above: &[Scope]) -> bool {
    match row.chain {
        Chain::CM => !above.contains(&Scope::BindingGroup),
        Chain::BGD => !above.contains(&Scope::Binding),
        Chain::DG => !above.contains(&Scope::Binding) && !above.contains(&Scope::BindingGroup),
        Chain::D | Chain::B | Chain::H | Chain::G | Chain::L | Chain::P | Chain::M => true,
    }
}

fn form(row: &ScopeRow) -> String {
    if row.instance == InstanceName::Anonymous {
        format!("{} {{ … }}", row.name)
    } else {
        format!("{} \"NAME\" {{ … }}", row.name)
    }
}

/// The canonical form of an instance's name.
pub(crate) fn canonical(row: &ScopeRow, text: &str) -> Result<(String, Applies, Option<Problem>), Problem> {
    let bad = |message: String| Err(Problem { code: 3007, message, expected: None, hint: None });
    if text.is_empty() {
        return bad(format!("the name of {} is empty", row.name));
    }
    match row.instance {
        InstanceName::Anonymous | InstanceName::Exact => Ok((text.to_string(), Applies::Name, None)),
        InstanceName::Binding => {
            let binding = row.scope == Scope::Binding;
            if text.chars().any(char::is_whitespace) {
                bad(format!("the name of {} contains a blank", row.name))
            } else if text.starts_with('/') {
                bad("regex bindings are not supported".to_string())
            } else if binding && text.contains(':') {
                bad("the name of a binding contains ':'".to_string())
            } else if binding && text.starts_with('#') {
                bad("names of bindings that begin with '#' are reserved".to_string())
            } else {
                Ok((text.to_string(), Applies::Name, None))
            }
        }
        InstanceName::Domain => {
            debug_assert!(takes_patterns(row.instance));
            if let Some(rest) = text.strip_prefix('/') {
                let Some(pattern) = rest.strip_suffix('/') else {
                    return bad("unterminated regex".to_string());
                };
                return match Pattern::compile(pattern, true) {
                    Ok(compiled) => Ok((text.to_string(), Applies::Pattern(compiled), None)),
                    Err(error) => Err(Problem {
                        code: 4011,
                        message: format!(
                            "error compiling regex for {} {}: {} (offset {})",
                            row.name,
                            value::clip(text),
                            error.text,
                            error.offset
                        ),
                        expected: None,
                        hint: None,
                    }),
                };
            }
            if text.chars().any(char::is_whitespace) {
                return bad(format!("the name of {} contains a blank", row.name));
            }
            Ok((domain_key(text), Applies::Name, None))
        }
        InstanceName::Listen => match ListenAddress::parse(text) {
            Ok(address) => Ok((address.to_string(), Applies::Listen(address), None)),
            Err(error) => Err(Problem {
                code: 4005,
                message: error.problem,
                expected: Some(error.expected.to_string()),
                hint: error.meant.map(|meant| format!("\"{meant}\"")),
            }),
        },
        InstanceName::Cidr => {
            value::cidr(text).map(|(prefix, remark)| (prefix.to_string(), Applies::Cidr(prefix), remark))
        }
        InstanceName::Object => {
            let key = schema::object_type(text).unwrap_or(text);
            Ok((key.to_string(), Applies::Name, None))
        }
    }
}
