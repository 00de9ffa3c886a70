//! What differs between two configurations.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::schema::{Chain, Row, Scope, Service};
use crate::source::Position;
use crate::tree::{Instance, InstanceId};

/// A part of the daemon that reads its options together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Global options that no other area reads.
    Global,
    /// Account, groups, capabilities.
    Security,
    /// Debug levels.
    Debug,
    /// Console roles.
    Authorization,
    /// Thread pools.
    Pools,
    /// Bindings, domains, hosts, and the global options they fall back to.
    Outbound,
    /// The sockets of a service and what holds for their clients, and the global options they fall back to.
    Listener(Service),
    /// The options of the `cluster` stanza itself.
    Cluster,
    /// Replicated objects.
    Replication,
    /// Networks of failover addresses.
    Topology,
    /// `msgc_server` and `msgc_client`.
    MessageBus,
    /// Loggers, and the logs of a manager.
    Logs,
    /// Policy rules and scripts.
    Policy,
    /// Audit series.
    Audit,
    /// Datasources and their caches.
    Datasources,
}

impl Area {
    /// The area that an option set in an instance belongs to; without an option, the instance itself.
    fn of(instance: &Instance, row: Option<&Row>) -> Self {
        if let Some(service) = instance.service {
            return Self::Listener(service);
        }
        match instance.scope {
            Scope::Global => match row.map(|row| row.chain) {
                Some(Chain::D | Chain::B | Chain::DG | Chain::BGD | Chain::H | Chain::CM) => Self::Outbound,
                Some(Chain::L) => Self::Listener(Service::Esmtp),
                Some(Chain::G | Chain::P | Chain::M) | None => Self::Global,
            },
            Scope::Security => Self::Security,
            Scope::DebugFlags => Self::Debug,
            Scope::Authorization | Scope::Role => Self::Authorization,
            Scope::ThreadPool | Scope::EventLoop => Self::Pools,
            Scope::BindingGroup
            | Scope::Binding
            | Scope::Domain
            | Scope::Host
            | Scope::PathwayGroup
            | Scope::Pathway => Self::Outbound,
            Scope::EsmtpListener | Scope::Listen | Scope::Peer => Self::Listener(Service::Esmtp),
            Scope::ControlListener => Self::Listener(Service::Control),
            Scope::EcstreamListener => Self::Listener(Service::Ecstream),
            Scope::EcclusterListener => Self::Listener(Service::Eccluster),
            Scope::MsgcserverListener => Self::Listener(Service::Msgcserver),
            Scope::PolicyListener => Self::Listener(Service::Policy),
            Scope::MilterListener => Self::Listener(Service::Milter),
            Scope::ApiListener => Self::Listener(Service::Api),
            Scope::MetricsListener => Self::Listener(Service::Metrics),
            Scope::Cluster => Self::Cluster,
            Scope::Replicate => Self::Replication,
            Scope::Topology => Self::Topology,
            Scope::MsgcServer | Scope::MsgcClient => Self::MessageBus,
            Scope::Logs
            | Scope::Manager
            | Scope::Node
            | Scope::EcLogger
            | Scope::BounceLogger
            | Scope::CustomLogger
            | Scope::AsLogger => Self::Logs,
            Scope::PolicyRule | Scope::Sieve | Scope::Scriptlet | Scope::Script => Self::Policy,
            Scope::InboundAudit => Self::Audit,
            Scope::Datasource | Scope::DsCore => Self::Datasources,
        }
    }
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The part of the daemon that reads it.
    pub area: Area,
    /// The scope path, empty for the global scope.
    pub path: String,
    /// The option; `None` when the stanza itself came, went, or changed its place among its neighbours.
    pub option: Option<&'static str>,
}

/// An option that is configured otherwise than it works, until the next restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartOnly {
    /// The option, or the stanza that came or went.
    pub name: &'static str,
    /// The scope path, empty for the global scope.
    pub path: String,
    /// Where the new value stands; `None` when the option is no longer set.
    pub position: Option<Position>,
}

impl RestartOnly {
    /// The message of CFG-7001.
    #[must_use]
    pub fn message(&self) -> String {
        format!("'{}' cannot be changed at run time; restart required.", self.name)
    }

    /// The warning as reports print it.
    #[must_use]
    pub fn warning(&self) -> Diagnostic {
        Diagnostic::bare_warning(7001, self.position.clone(), self.name, self.message())
    }
}

/// What differs between the configuration in effect and the one that is to follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Options that are configured otherwise and keep the value they had. Not among the differences.
    pub restart_only: Vec<RestartOnly>,
    /// Everything else that differs, in the order of the new configuration, what is gone last.
    pub differences: Vec<Difference>,
    touched: BTreeSet<Area>,
    esmtp: bool,
}

impl Change {
    /// The areas with a difference.
    #[must_use]
    pub const fn touched(&self) -> &BTreeSet<Area> {
        &self.touched
    }

    /// Whether an area has a difference.
    #[must_use]
    pub fn touches(&self, area: Area) -> bool {
        self.touched.contains(&area)
    }

    /// Whether something differs that ESMTP sessions use: their listeners, or rules for addresses and messages.
    #[must_use]
    pub const fn touches_esmtp(&self) -> bool {
        self.esmtp
    }

    /// Whether nothing differs in effect.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.differences.is_empty()
    }

    /// Compares what is in effect with what is to follow it.
    #[must_use]
    pub fn between(old: &Config, new: &Config, restart_only: Vec<RestartOnly>) -> Self {
        let mut change = Self { restart_only, ..Self::default() };
        for (id, instance) in new.tree().instances() {
            let before = old.tree().find(&new.tree().keys(id));
            let path = new.tree().path(id);
            match before.and_then(|id| old.tree().instance(id)) {
                None => change.add(instance, None, &path),
                Some(before) => {
                    for assigned in instance.options() {
                        let same = before.assigned(assigned.row.name).is_some_and(|old| {
                            old.value == assigned.value
                                && (!accumulates(assigned.row) || shadowed(old) == shadowed(assigned))
                        });
                        if !same {
                            change.add(instance, Some(assigned.row), &path);
                        }
                    }
                    for gone in before.options().filter(|old| instance.assigned(old.row.name).is_none()) {
                        change.add(instance, Some(gone.row), &path);
                    }
                    if patterns(old, before) != patterns(new, instance) {
                        change.add_area(Area::Outbound, None, &path);
                    }
                }
            }
        }
        for (id, instance) in old.tree().instances() {
            if new.tree().find(&old.tree().keys(id)).is_none() {
                change.add(instance, None, &old.tree().path(id));
            }
        }
        change.esmtp = change.touches(Area::Listener(Service::Esmtp))
            || change.touches(Area::Policy)
            || mail_differs(old, new);
        change
    }

    fn add(&mut self, instance: &Instance, row: Option<&'static Row>, path: &str) {
        self.add_area(Area::of(instance, row), row.map(|row| row.name), path);
    }

    fn add_area(&mut self, area: Area, option: Option<&'static str>, path: &str) {
        self.touched.insert(area);
        self.differences.push(Difference { area, path: path.into(), option });
    }
}

/// `parameters` of one object in several stanzas add up, so the earlier values count too.
fn accumulates(row: &Row) -> bool {
    row.name == "parameters"
}

fn shadowed(assigned: &crate::tree::Assigned) -> Vec<&crate::value::Value> {
    assigned.shadowed.iter().map(|(value, _)| value).collect()
}

/// The regular expressions among the children, in the order they are tried.
fn patterns<'a>(config: &'a Config, instance: &'a Instance) -> Vec<&'a str> {
    let pattern = |id: &InstanceId| {
        let child = config.tree().instance(*id)?;
        child.key.starts_with('/').then_some(child.key.as_str())
    };
    instance.children.iter().filter_map(pattern).collect()
}

fn mail_differs(old: &Config, new: &Config) -> bool {
    let (old, new) = (old.node_settings(), new.node_settings());
    old.rules != new.rules
        || old.relay_hosts != new.relay_hosts
        || old.hostname != new.hostname
        || old.policy_failure_is_tempfail != new.policy_failure_is_tempfail
}
