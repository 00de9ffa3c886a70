//! The merged configuration: instances of scopes and what is set in them.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use postfleet_types::Prefix;

use crate::address::ListenAddress;
use crate::schema::{InstanceName, Row, Scope, Service};
use crate::source::Span;
use crate::syntax::{Item, Written};
use crate::value::{Pattern, Value};
use crate::work;

/// One instance of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub(crate) u32);

impl InstanceId {
    /// The outermost scope.
    pub const GLOBAL: Self = Self(0);
}

/// What an instance applies to.
#[derive(Clone, Debug, PartialEq)]
pub enum Applies {
    /// To what bears its name.
    Name,
    /// To every name that matches.
    Pattern(Pattern),
    /// To the socket.
    Listen(ListenAddress),
    /// To every address in the block.
    Cidr(Prefix),
}

/// An option as set in one instance.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// The option.
    pub row: &'static Row,
    /// The value that counts.
    pub value: Value,
    /// Where its name stands.
    pub name: Span,
    /// Where its value stands.
    pub span: Span,
    /// The value as written, for displays.
    pub written: Written,
    /// Values given before, which no longer count, oldest first.
    pub shadowed: Vec<(Value, Span)>,
}

/// All stanzas of one scope, parent and name, as one.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The scope.
    pub scope: Scope,
    /// The listener's service, in a listener and below.
    pub service: Option<Service>,
    /// The name as first written; `None` for an anonymous scope.
    pub name: Option<String>,
    /// The canonical name, which tells the instances of a scope apart; empty for an anonymous scope.
    pub(crate) key: String,
    /// What it applies to.
    pub applies: Applies,
    /// The stanza around it; its own id for the global scope.
    pub parent: InstanceId,
    /// Where the first stanza begins; `None` for the global scope.
    pub opened: Option<Span>,
    /// The instances inside, in order of first appearance.
    pub children: Vec<InstanceId>,
    options: BTreeMap<&'static str, Assigned>,
    order: Vec<&'static str>,
    index: BTreeMap<(Scope, String), InstanceId>,
    blocks: BTreeMap<(Scope, Prefix), InstanceId>,
    /// The children named by a regular expression, in order of first appearance.
    patterns: Vec<(Scope, InstanceId)>,
    /// What is written here and not read, includes put in their places.
    unread: Vec<Item>,
}

impl Instance {
    fn new(scope: Scope, parent: InstanceId) -> Self {
        Self {
            scope,
            service: None,
            name: None,
            key: String::new(),
            applies: Applies::Name,
            parent,
            opened: None,
            children: Vec::new(),
            options: BTreeMap::new(),
            order: Vec::new(),
            index: BTreeMap::new(),
            blocks: BTreeMap::new(),
            patterns: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// Whether it is there without being written: the binding and the group `default`, and the pools that always exist.
    #[must_use]
    pub const fn is_implied(&self) -> bool {
        self.opened.is_none() && !matches!(self.scope, Scope::Global)
    }

    /// Whether it is implied, and nobody has said anything about it.
    pub(crate) fn is_untouched(&self) -> bool {
        self.is_implied() && self.options.is_empty() && self.children.is_empty()
    }

    /// What is written here and not read: names that are known and not implemented, or taken without effect.
    pub(crate) fn unread(&self) -> &[Item] {
        &self.unread
    }

    /// The option as set here.
    #[must_use]
    pub fn assigned(&self, name: &str) -> Option<&Assigned> {
        match self.options.get(name) {
            Some(found) => Some(found),
            None => self.options.values().find(|assigned| assigned.row.name.eq_ignore_ascii_case(name)),
        }
    }

    /// What is set here, in order of first appearance.
    pub fn options(&self) -> impl Iterator<Item = &Assigned> {
        self.order.iter().filter_map(|name| {
            work::step();
            self.options.get(name)
        })
    }
}

/// All instances.
#[derive(Clone, Debug)]
pub struct Tree {
    instances: Vec<Instance>,
    /// The bindings by name, in a group or not.
    bindings: BTreeMap<String, InstanceId>,
    /// Names that are taken without being kept, where each is first written, and how often.
    accepted: BTreeMap<&'static str, (Span, usize)>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self {
            instances: alloc::vec![Instance::new(Scope::Global, InstanceId::GLOBAL)],
            bindings: BTreeMap::new(),
            accepted: BTreeMap::new(),
        }
    }

    /// Remembers a name that is taken and has no effect.
    pub(crate) fn accept(&mut self, name: &'static str, span: Span) {
        self.accepted.entry(name).or_insert((span, 0)).1 += 1;
    }

    /// The names that are taken and have no effect: where each is first written, and how often.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = (&'static str, Span, usize)> {
        self.accepted.iter().map(|(name, (span, places))| (*name, *span, *places))
    }

    /// The instance of this id; `None` for an id of another configuration.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.instances.get(id.0 as usize)
    }

    fn instance_mut(&mut self, id: InstanceId) -> Option<&mut Instance> {
        self.instances.get_mut(id.0 as usize)
    }

    /// Every instance with its id, in order of first appearance.
    pub fn instances(&self) -> impl Iterator<Item = (InstanceId, &Instance)> {
        self.instances
            .iter()
            .enumerate()
            .inspect(|_| work::step())
            .map(|(at, instance)| (InstanceId(crate::source::narrow(at)), instance))
    }

    /// The instances of a scope inside another, in order of first appearance.
    pub fn children(
        &self,
        parent: InstanceId,
        scope: Scope,
    ) -> impl Iterator<Item = (InstanceId, &Instance)> {
        self.instance(parent)
            .map_or(&[][..], |instance| instance.children.as_slice())
            .iter()
            .inspect(|_| work::step())
            .filter_map(move |id| self.instance(*id).map(|instance| (*id, instance)))
            .filter(move |(_, instance)| instance.scope == scope)
    }

    /// The instance of this scope and canonical name.
    #[must_use]
    pub fn child(&self, parent: InstanceId, scope: Scope, key: &str) -> Option<InstanceId> {
        self.instance(parent)?.index.get(&(scope, key.to_string())).copied()
    }

    /// The one instance of an anonymous scope of the global level.
    #[must_use]
    pub fn anonymous(&self, scope: Scope) -> Option<InstanceId> {
        self.child(InstanceId::GLOBAL, scope, "")
    }

    /// The binding of this name, in a group or not.
    #[must_use]
    pub fn binding(&self, name: &str) -> Option<InstanceId> {
        self.bindings.get(name).copied()
    }

    /// The group that a binding of this name belongs to: `default` unless it stands in another one.
    #[must_use]
    pub fn group_of(&self, binding: &str) -> &str {
        self.binding(binding)
            .and_then(|id| self.instance(id))
            .and_then(|instance| self.instance(instance.parent))
            .and_then(|parent| parent.name.as_deref())
            .unwrap_or("default")
    }

    /// The instances of a matching scope that apply to a name: the exact one, then patterns in order.
    #[must_use]
    pub fn matching(&self, parent: InstanceId, scope: Scope, name: &str) -> Vec<InstanceId> {
        let name = domain_key(name);
        let mut found: Vec<InstanceId> = self.child(parent, scope, &name).into_iter().collect();
        let patterns = self.instance(parent).map_or(&[][..], |parent| parent.patterns.as_slice());
        found.extend(patterns.iter().filter(|(kind, _)| *kind == scope).filter_map(|(_, id)| {
            work::step();
            let Applies::Pattern(pattern) = &self.instance(*id)?.applies else { return None };
            pattern.is_match(&name).then_some(*id)
        }));
        found
    }

    /// The blocks of a block scope inside an instance.
    pub(crate) fn blocks(&self, parent: InstanceId, scope: Scope) -> impl Iterator<Item = Prefix> {
        let blocks = self.instance(parent).into_iter().flat_map(|parent| parent.blocks.keys());
        blocks.inspect(|_| work::step()).filter(move |(kind, _)| *kind == scope).map(|(_, block)| *block)
    }

    /// The instances of a block scope that contain a block, longest prefix first.
    #[must_use]
    pub fn containing(&self, parent: InstanceId, scope: Scope, block: Prefix) -> Vec<InstanceId> {
        let Some(parent) = self.instance(parent).filter(|parent| !parent.blocks.is_empty()) else {
            return Vec::new();
        };
        (0..=block.length())
            .rev()
            .filter_map(|length| Prefix::containing(block.address(), length).ok())
            .filter_map(|prefix| parent.blocks.get(&(scope, prefix)).copied())
            .collect()
    }

    /// The path as the console writes it: `SCOPE:INSTANCE:` for each level, empty for the global scope.
    #[must_use]
    pub fn path(&self, id: InstanceId) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut at = id;
        while at != InstanceId::GLOBAL
            && let Some(instance) = self.instance(at)
        {
            let name = instance.name.as_deref().unwrap_or("").replace('\\', "\\\\").replace(':', "\\:");
            parts.push(format!("{}:{name}:", display_name(instance.scope)));
            at = instance.parent;
        }
        parts.reverse();
        parts.concat()
    }

    /// Adds or finds an instance.
    pub(crate) fn open(
        &mut self,
        parent: InstanceId,
        scope: Scope,
        key: &str,
        name: Option<String>,
        applies: Applies,
        opened: Option<Span>,
    ) -> InstanceId {
        if let Some(found) = self.child(parent, scope, key) {
            return found;
        }
        let id = InstanceId(crate::source::narrow(self.instances.len()));
        let block = if let Applies::Cidr(prefix) = applies { Some(prefix) } else { None };
        let pattern = matches!(applies, Applies::Pattern(_));
        let service = scope.service().or_else(|| self.instance(parent).and_then(|parent| parent.service));
        self.instances.push(Instance {
            service,
            name,
            key: key.to_string(),
            applies,
            opened,
            ..Instance::new(scope, parent)
        });
        if scope == Scope::Binding {
            self.bindings.entry(key.to_string()).or_insert(id);
        }
        if let Some(parent) = self.instance_mut(parent) {
            parent.children.push(id);
            parent.index.insert((scope, key.to_string()), id);
            parent.blocks.extend(block.map(|block| ((scope, block), id)));
            parent.patterns.extend(pattern.then_some((scope, id)));
        }
        id
    }

    /// Adds what exists without being written, where nobody wrote it.
    pub(crate) fn imply(&mut self) {
        let bound = self.binding(DEFAULT).is_some();
        let mut open = |scope, name: &str| {
            self.open(InstanceId::GLOBAL, scope, name, Some(name.to_string()), Applies::Name, None)
        };
        open(Scope::BindingGroup, DEFAULT);
        if !bound {
            open(Scope::Binding, DEFAULT);
        }
        for (pool, ..) in POOLS {
            open(Scope::ThreadPool, pool);
        }
    }

    /// Keeps an item that is not read. An option given again takes the place of the earlier one.
    pub(crate) fn keep_unread(&mut self, id: InstanceId, item: Item) {
        let Some(instance) = self.instance_mut(id) else { return };
        if let Item::Assignment { name, .. } = &item {
            let same = |other: &Item| matches!(other, Item::Assignment { name: other, .. } if other.text.eq_ignore_ascii_case(&name.text));
            if let Some(earlier) = instance.unread.iter_mut().find(|other| same(other)) {
                *earlier = item;
                return;
            }
        }
        instance.unread.push(item);
    }

    pub(crate) fn assign(
        &mut self,
        id: InstanceId,
        row: &'static Row,
        value: Value,
        name: Span,
        written: Written,
    ) {
        let Some(instance) = self.instance_mut(id) else {
            return;
        };
        let shadowed = match instance.options.remove(row.name) {
            Some(mut before) => {
                before.shadowed.push((before.value, before.span));
                before.shadowed
            }
            None => {
                instance.order.push(row.name);
                Vec::new()
            }
        };
        let span = written.span();
        instance.options.insert(row.name, Assigned { row, value, name, span, written, shadowed });
    }

    /// Sets an option with everything known about it, in place of what was set before.
    pub(crate) fn put(&mut self, id: InstanceId, assigned: Assigned) {
        if let Some(instance) = self.instance_mut(id) {
            let name = assigned.row.name;
            if instance.options.insert(name, assigned).is_none() {
                instance.order.push(name);
            }
        }
    }

    /// Takes an option out of an instance; says whether it was set.
    pub(crate) fn unassign(&mut self, id: InstanceId, row: &Row) -> bool {
        self.instance_mut(id).is_some_and(|instance| {
            instance.order.retain(|name| *name != row.name);
            instance.options.remove(row.name).is_some()
        })
    }

    /// Takes an instance out with everything below it. The ids of later instances change.
    pub(crate) fn remove(&mut self, id: InstanceId) {
        if id == InstanceId::GLOBAL {
            return;
        }
        // An instance always comes behind the one around it, so one pass finds everything below.
        let mut renamed: Vec<Option<InstanceId>> = Vec::with_capacity(self.instances.len());
        let mut kept = 0_usize;
        for (at, instance) in self.instances.iter().enumerate() {
            let stays = at == 0
                || (at != id.0 as usize
                    && renamed.get(instance.parent.0 as usize).is_some_and(Option::is_some));
            renamed.push(stays.then(|| InstanceId(crate::source::narrow(kept))));
            kept += usize::from(stays);
        }
        let new = |id: InstanceId| renamed.get(id.0 as usize).copied().flatten();
        let mut at = 0;
        self.instances.retain(|_| {
            at += 1;
            renamed.get(at - 1).is_some_and(Option::is_some)
        });
        for instance in &mut self.instances {
            instance.parent = new(instance.parent).unwrap_or(InstanceId::GLOBAL);
            instance.children = instance.children.iter().filter_map(|id| new(*id)).collect();
            instance.index.retain(|_, id| match new(*id) {
                Some(renamed) => {
                    *id = renamed;
                    true
                }
                None => false,
            });
            instance.blocks.retain(|_, id| match new(*id) {
                Some(renamed) => {
                    *id = renamed;
                    true
                }
                None => false,
            });
            instance.patterns =
                instance.patterns.iter().filter_map(|(scope, id)| Some((*scope, new(*id)?))).collect();
        }
        self.bindings.retain(|_, id| match new(*id) {
            Some(renamed) => {
                *id = renamed;
                true
            }
            None => false,
        });
    }

    /// Whether an instance is another one, or lies below it.
    pub(crate) fn is_inside(&self, id: InstanceId, outer: InstanceId) -> bool {
        let mut at = id;
        while at != outer {
            match self.instance(at) {
                Some(instance) if at != InstanceId::GLOBAL => at = instance.parent,
                Some(_) | None => return false,
            }
        }
        true
    }

    /// The scopes and canonical names that lead to an instance, outermost first.
    pub(crate) fn keys(&self, id: InstanceId) -> Vec<(Scope, String)> {
        let mut keys = Vec::new();
        let mut at = id;
        while at != InstanceId::GLOBAL
            && let Some(instance) = self.instance(at)
        {
            keys.push((instance.scope, instance.key.clone()));
            at = instance.parent;
        }
        keys.reverse();
        keys
    }

    /// The instance that these scopes and canonical names lead to.
    pub(crate) fn find(&self, keys: &[(Scope, String)]) -> Option<InstanceId> {
        keys.iter().try_fold(InstanceId::GLOBAL, |at, (scope, key)| self.child(at, *scope, key))
    }
}

/// The binding, and the group of bindings, that always exist.
const DEFAULT: &str = "default";

/// The pools that exist whether or not somebody configures them: threads, and jobs that may wait (0: any number).
pub(crate) const POOLS: [(&str, i128, i128); 8] = [
    ("SwapOut", 5, 0),
    ("SwapIn", 5, 0),
    ("Unlink", 6, 100),
    ("Batch_Unlink", 4, 0),
    ("Close", 0, 0),
    ("CPU", 4, 0),
    ("IO", 50, 0),
    ("SpoolIn", 1, 0),
];

/// A scope's name as displays write it.
pub(crate) fn display_name(scope: Scope) -> &'static str {
    if scope == Scope::EsmtpListener { "Esmtp_Listener" } else { scope.name() }
}

/// Domain and host names: lower case, without a final dot.
pub(crate) fn domain_key(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.strip_suffix('.') {
        Some(rest) if !rest.is_empty() => rest.to_string(),
        _ => name,
    }
}

/// Whether names of the kind can be regular expressions.
pub(crate) const fn takes_patterns(kind: InstanceName) -> bool {
    matches!(kind, InstanceName::Domain)
}
