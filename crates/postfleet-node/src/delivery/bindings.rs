//! The bindings of one generation of the configuration, and who mail is assigned to.

use super::Delivery;
use super::settings::Of;
use crate::clock;
use crate::lock::locked;
use crate::notices::{Severity, notice};
use postfleet_config::schema::Scope;
use postfleet_config::{Config, Facts};
use postfleet_queue::{Assigned, Bindings, Configured};
use postfleet_spool::QueueKey;
use std::net::SocketAddr;
use std::time::Duration;

/// How often it is said that ports have run out.
const PORTS_TOLD: Duration = Duration::from_secs(60);

/// `Default_Binding`: what becomes of mail that nobody has assigned to a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unassigned {
    /// It goes out through `default`.
    Normal,
    /// It is kept on `default`.
    Suspended,
    /// It is not accepted.
    Refused,
}

impl Unassigned {
    pub(super) fn of(config: &Config) -> Self {
        match (Of { config, facts: Facts::default() }).word("Default_Binding") {
            "suspended" => Self::Suspended,
            "none" => Self::Refused,
            _ => Self::Normal,
        }
    }
}

/// All bindings and groups of a configuration.
pub(super) fn read(config: &Config, unassigned: Unassigned) -> Bindings {
    let tree = config.tree();
    let named = |scope: Scope| {
        tree.instances()
            .filter(move |(_, instance)| instance.scope == scope)
            .filter_map(|(_, instance)| instance.name.as_deref())
    };
    let bindings = named(Scope::Binding).map(|name| {
        let group = tree.group_of(name);
        let facts = Facts { binding_group: Some(group), binding: Some(name), ..Facts::default() };
        let suspended = (Of { config, facts }).bool("Suspend_Delivery");
        Configured {
            group: group.into(),
            binding: name.into(),
            suspended: suspended || (name == "default" && unassigned == Unassigned::Suspended),
        }
    });
    Bindings::new(bindings, named(Scope::BindingGroup).map(Into::into))
}

impl Delivery {
    /// The binding of this name.
    pub(crate) fn binding(&self, name: &str) -> Option<Assigned> {
        self.settings().bindings.named(name)
    }

    /// One of the bindings of a group.
    pub(crate) fn binding_of_group(&self, group: &str) -> Option<Assigned> {
        self.settings().bindings.chosen(group, &mut locked(&self.chooser))
    }

    /// All bindings, `default` first.
    pub(crate) fn bindings(&self) -> Vec<Assigned> {
        self.settings().bindings.all().collect()
    }

    /// The bindings of a group; none when there is no such group.
    pub(crate) fn bindings_of(&self, group: &str) -> Option<Vec<Assigned>> {
        let settings = self.settings();
        settings.bindings.has_group(group).then(|| settings.bindings.of_group(group).collect())
    }

    /// Whether mail that is assigned to no binding is refused.
    pub(crate) fn refuses_unassigned(&self) -> bool {
        self.settings().unassigned == Unassigned::Refused
    }

    /// A connection could not be made from the source address of a binding. Said once, until one can.
    pub(super) fn no_source(&self, queue: &QueueKey, bind: &str, error: &std::io::Error) {
        if locked(&self.unplumbed).insert(queue.binding.clone()) {
            notice(
                Severity::Error,
                format_args!(
                    "Unplumbed binding {}: nothing can be sent from Bind_Address {bind}: {error}. Bring the address up, or \
                     correct Bind_Address; its mail waits",
                    queue.binding
                ),
            );
        }
    }

    /// A connection could not be made because no local port was left for it. Said at most once a minute.
    pub(super) fn no_port(&self, queue: &QueueKey, to: SocketAddr, error: &std::io::Error) {
        let now = clock::monotonic();
        let mut told = locked(&self.portless);
        if told.is_some_and(|told| now.since(told) < PORTS_TOLD) {
            return;
        }
        *told = Some(now);
        notice(
            Severity::Warning,
            format_args!(
                "no local port is left for connections of binding {} to {to}: {error}. Widen net.ipv4.ip_local_port_range, or \
                 allow fewer connections; its mail waits",
                queue.binding
            ),
        );
    }

    /// A connection was made from it.
    pub(super) fn has_source(&self, queue: &QueueKey) {
        if locked(&self.unplumbed).remove(&queue.binding) {
            notice(Severity::Notice, format_args!("binding {} sends again", queue.binding));
        }
    }
}
