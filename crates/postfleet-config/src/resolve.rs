//! The fallback: which instance supplies the value of an option, for given facts.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use postfleet_types::{Prefix, normalised};

use crate::config::Config;
use crate::schema::{self, Chain, Combine, Default, Row, Scope, Service};
use crate::source::Position;
use crate::trace::unite;
use crate::tree::{Assigned, InstanceId, POOLS};
use crate::value::{self, Value};

/// What is known about the thing an option is looked up for. Unknown facts skip their steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The group of bindings; without it, the group that `binding` stands in.
    pub binding_group: Option<&'a str>,
    /// The binding.
    pub binding: Option<&'a str>,
    /// The destination domain.
    pub domain: Option<&'a str>,
    /// The exchanger.
    pub host: Option<&'a str>,
    /// The service of a listener.
    pub service: Option<Service>,
    /// The canonical listen address.
    pub listen: Option<&'a str>,
    /// The client, as a block of one address ([`Facts::client`]), or a block: what holds for all of it.
    pub peer: Option<Prefix>,
    /// The instance itself, for options that are looked up nowhere else.
    pub instance: Option<InstanceId>,
}

impl Facts<'_> {
    /// A client as a fact; `None`: a client of a Unix socket, which counts as 127.0.0.1.
    #[must_use]
    pub fn client(address: Option<IpAddr>) -> Option<Prefix> {
        Some(Prefix::host(normalised(address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))))
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is set.
    Set {
        /// The instance that owns it; throttles and session caps count per owner.
        instance: InstanceId,
        /// The scope path of the instance, empty for the global scope.
        path: String,
        /// Where the value stands.
        position: Option<Position>,
    },
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { path, position, .. } => {
                write!(f, "{path}")?;
                if let Some(position) = position {
                    let blank = if path.is_empty() { "" } else { " " };
                    write!(f, "{blank}{position}")?;
                }
                Ok(())
            }
            Self::Default => f.write_str("default"),
        }
    }
}

/// The answer of a look-up.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The option.
    pub row: &'static Row,
    /// The value in force; `None` when it is unset and has no default.
    pub value: Option<Value>,
    /// Where it comes from.
    pub origin: Origin,
}

impl Config {
    /// Looks an option up. `None` when no option of this name fits the facts.
    #[must_use]
    pub fn eval(&self, name: &str, facts: &Facts<'_>) -> Option<Resolved> {
        let row = choose(name, facts, self)?;
        Some(self.resolved(row, facts))
    }

    pub(crate) fn resolved(&self, row: &'static Row, facts: &Facts<'_>) -> Resolved {
        let chain = self.chain(row, facts);
        let mut set = chain.iter().filter_map(|id| Some((*id, self.assigned(*id, row)?)));
        match set.next() {
            Some((id, assigned)) => Resolved {
                row,
                value: Some(match (row.combine, self.united_parameters(id, row)) {
                    (_, Some(words)) => Value::Text(words),
                    (Combine::Unite, None) => unite(
                        core::iter::once(&assigned.value).chain(set.map(|(_, assigned)| &assigned.value)),
                    ),
                    (Combine::First | Combine::Every | Combine::Total | Combine::Exchanger, None) => {
                        assigned.value.clone()
                    }
                }),
                origin: Origin::Set {
                    instance: id,
                    path: self.tree().path(id),
                    position: self.sources().position(assigned.span),
                },
            },
            // A total of the node is not the default of a binding's own.
            None if row.combine == Combine::Total
                && (facts.binding.is_some() || facts.binding_group.is_some()) =>
            {
                Resolved { row, value: None, origin: Origin::Default }
            }
            None => {
                let value = self.pool_default(row, facts).or_else(|| self.default(row));
                Resolved { row, value, origin: Origin::Default }
            }
        }
    }

    /// What a pool that always exists has where nobody configures it.
    fn pool_default(&self, row: &Row, facts: &Facts<'_>) -> Option<Value> {
        let instance =
            self.tree().instance(facts.instance?).filter(|found| found.scope == Scope::ThreadPool)?;
        let (_, threads, waiting) = POOLS.iter().find(|(name, ..)| instance.name.as_deref() == Some(name))?;
        match row.name {
            "Concurrency" => Some(Value::Int(*threads)),
            "Backlog" => Some(Value::Int(*waiting)),
            _ => None,
        }
    }

    pub(crate) fn assigned(&self, id: InstanceId, row: &Row) -> Option<&Assigned> {
        self.tree().instance(id)?.assigned(row.name)
    }

    /// The default of an option, as a value.
    #[must_use]
    pub fn default(&self, row: &'static Row) -> Option<Value> {
        default_value(row, self.compatible())
    }

    /// The instances a look-up passes, most specific first.
    #[must_use]
    pub fn chain(&self, row: &Row, facts: &Facts<'_>) -> Vec<InstanceId> {
        let tree = self.tree();
        let mut path: Vec<InstanceId> = Vec::new();
        let binding = facts.binding.and_then(|name| tree.binding(name));
        let group_name = facts.binding_group.or_else(|| facts.binding.map(|name| tree.group_of(name)));
        let group = group_name.and_then(|name| tree.child(InstanceId::GLOBAL, Scope::BindingGroup, name));
        let global = Some(InstanceId::GLOBAL);
        let domain = |parent: Option<InstanceId>| match (parent, facts.domain) {
            (Some(parent), Some(name)) => tree.matching(parent, Scope::Domain, name),
            _ => Vec::new(),
        };
        let host = |parent: Option<InstanceId>| match (parent, facts.host) {
            (Some(parent), Some(name)) => tree.matching(parent, Scope::Host, name),
            _ => Vec::new(),
        };
        match row.chain {
            Chain::D => {
                if row.scopes.contains(&Scope::Host) {
                    path.extend(host(binding).into_iter().chain(host(group)).chain(host(global)));
                }
                path.extend(domain(binding));
                path.extend(domain(group));
                path.extend(binding);
                path.extend(group);
                path.extend(domain(global));
                path.extend(global);
            }
            Chain::B => path.extend(binding.into_iter().chain(group).chain(global)),
            Chain::DG => {
                path.extend(domain(global));
                path.extend(global);
            }
            Chain::BGD => {
                path.extend(domain(group));
                path.extend(group);
                path.extend(domain(global));
                path.extend(global);
            }
            Chain::H => {
                let grouped =
                    binding.filter(|id| tree.instance(*id).is_some_and(|b| Some(b.parent) == group));
                path.extend(host(grouped));
                path.extend(host(group));
                path.extend(host(binding.filter(|_| grouped.is_none())));
                path.extend(host(global));
            }
            Chain::CM => {
                path.extend(host(binding));
                path.extend(host(global));
                path.extend(domain(binding));
                path.extend(binding);
                path.extend(domain(global));
                path.extend(global);
            }
            Chain::G => path.extend(global),
            Chain::L => {
                path.extend(self.listener_chain(facts));
                if row.ends_at_global() {
                    path.extend(global);
                }
            }
            // Pathways are taken and not used.
            Chain::P => {}
            Chain::M => {
                path.extend(facts.instance.or_else(|| row.scopes.first().and_then(|s| tree.anonymous(*s))))
            }
        }
        path
    }

    /// Peers in the listen, peers in the listener, the listen, the listener.
    pub(crate) fn listener_chain(&self, facts: &Facts<'_>) -> Vec<InstanceId> {
        let tree = self.tree();
        let mut path = Vec::new();
        let Some(listener) = facts.service.and_then(|service| tree.anonymous(service.scope())) else {
            return path;
        };
        let listen = facts.listen.and_then(|key| tree.child(listener, Scope::Listen, key));
        if let Some(peer) = facts.peer {
            if let Some(listen) = listen {
                path.extend(tree.containing(listen, Scope::Peer, peer));
            }
            path.extend(tree.containing(listener, Scope::Peer, peer));
        }
        path.extend(listen);
        path.push(listener);
        path
    }
}

/// The option meant: listener facts choose listener options, a host its own, else the first of the name.
pub(crate) fn choose(name: &str, facts: &Facts<'_>, config: &Config) -> Option<&'static Row> {
    if let Some(instance) = facts.instance.and_then(|id| config.tree().instance(id))
        && let Some(row) = schema::row(instance.scope, instance.service, name)
    {
        return Some(row);
    }
    if let Some(service) = facts.service {
        let found = [service.scope(), Scope::Listen, Scope::Peer]
            .into_iter()
            .find_map(|scope| schema::row(scope, Some(service), name));
        if found.is_some() {
            return found;
        }
    }
    if facts.host.is_some()
        && let Some(row) = schema::row(Scope::Host, None, name)
    {
        return Some(row);
    }
    let outer = [Scope::Global, Scope::Domain, Scope::Binding, Scope::BindingGroup];
    outer.into_iter().find_map(|scope| schema::row(scope, None, name)).or_else(|| schema::named(name).next())
}

/// The default as a value; `None` for what is unset or found elsewhere.
pub(crate) fn default_value(row: &'static Row, compatible: bool) -> Option<Value> {
    let named = |text: &str| if compatible { String::from(text) } else { schema::own_names(text) };
    let read = |text: &str| value::atom(row, text).ok().map(|(value, _)| value);
    match row.default {
        Default::Unset | Default::From(_) => None,
        Default::Is(text) if row.array => read(&named(text)).map(|value| Value::List(alloc::vec![value])),
        Default::Is(text) => read(&named(text)),
        Default::Either(own, vendor) => read(if compatible { vendor } else { own }),
        Default::List(texts) => Some(Value::List(texts.iter().filter_map(|text| read(text)).collect())),
        Default::Dict(pairs) => {
            Some(Value::Dict(pairs.iter().map(|(key, text)| (String::from(*key), named(text))).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_option() {
        for row in schema::rows() {
            for compatible in [false, true] {
                let given = match row.default {
                    Default::Unset | Default::From(_) => continue,
                    Default::Is(_) | Default::Either(..) | Default::Dict(_) => 1,
                    Default::List(texts) => texts.len(),
                };
                let value = default_value(row, compatible);
                let count = match &value {
                    Some(Value::List(values)) if !matches!(row.default, Default::Is(_)) => values.len(),
                    Some(_) => 1,
                    None => usize::MAX,
                };
                assert_eq!(count, given, "{}: {value:?}", row.name);
            }
        }
    }
}
