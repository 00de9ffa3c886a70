//! The `cluster` stanza: who this node is, and what it shares.

use crate::cluster_listener::Dialing;
use crate::fleet::{BusKind, ConfiguredObject, FleetSettings, LimitSettings, Listed};
use crate::names::{self, Names};
use crate::node::Identity;
use crate::system;
use anyhow::Context;
use postfleet_bus::event::MemberInfo;
use postfleet_config::schema::Scope;
use postfleet_config::{Bus, ClusterSettings, ReplicateSettings};
use postfleet_config::{Config, Facts, Instance, InstanceId, Value, identity};
use postfleet_replica::{MetricWord, Monitor, ObjectKind, ObjectSpec, TableOptions};
use postfleet_throttle::{Partition, Rate};
use postfleet_types::{GroupName, NodeName, NodeType, PrivateName};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// The bus protocols this build speaks.
const PROTOCOL: (u16, u16) = (1, 1);

/// The node's name.
pub(super) fn own_name(configured: Option<&str>) -> anyhow::Result<NodeName> {
    Ok(identity::node_name(configured, Names::read().node.as_deref(), Some(&system::host_name()))?)
}

/// Reads the stanza; none when there is none, or when it is switched off.
pub(super) fn read(
    config: &Config,
    known: Option<&Identity>,
) -> anyhow::Result<Option<(FleetSettings, Vec<ConfiguredObject>)>> {
    let Some(cluster) = config.cluster().filter(|cluster| cluster.enabled) else { return Ok(None) };
    let bus = match &cluster.bus {
        Bus::Local { socket } => BusKind::Local { path: socket.into(), bus_name: cluster.bus_name.clone() },
        Bus::Solo => BusKind::Solo,
        Bus::Corosync => BusKind::Corosync {
            bus_name: cluster.bus_name.clone(),
            allow_large_ring: cluster.allow_large_ring,
        },
    };
    let (name, ip) = match known {
        Some(known) => (known.name.clone(), known.address.ip()),
        None => {
            let name = own_name(cluster.nodename.as_deref())?;
            let ip = own_address(&cluster, &name)?;
            (name, ip)
        }
    };
    let port = config.eccluster_listeners().first().and_then(|listen| listen.address.port()).context(
        "ECCluster_Listener: the first Listen has no port; other nodes need one to reach this node",
    )?;
    let subcluster = identity::subcluster(Names::read().subcluster.as_deref())?;
    let process = std::process::id();
    let group = |text: &str| -> anyhow::Result<GroupName> { Ok(text.parse()?) };
    let main_name = PrivateName::main(&name, process);
    let settings = FleetSettings {
        bus,
        daemon: cluster.daemon.clone(),
        shared_name: PrivateName::shared(&name, process),
        control_group: group(&cluster.control_group)?,
        subcluster_group: group(&format!("ec_sc_{subcluster}"))?,
        cluster_group: group(&cluster.cluster_group)?,
        log_group: cluster.log_group.clone(),
        heartbeat_start_delay: cluster.heartbeat_start_delay,
        peers: cluster.peers.iter().filter_map(|(_, address)| peer_address(address)).collect(),
        max_backlog: usize::try_from(cluster.max_backlog).unwrap_or(usize::MAX),
        reconnect_interval: cluster.reconnect_interval,
        min_delay: cluster.min_delay,
        tables: TableOptions {
            partition: partition(cluster.partition),
            slot_handover: cluster.slot_handover,
            named_throttles_max: usize::try_from(config.node_settings().named_throttles_max)
                .unwrap_or(usize::MAX),
            ..TableOptions::default()
        },
        limits: LimitSettings {
            shadowed: shadowed(config),
            rates: rates(config),
            shadow: cluster
                .replicate
                .iter()
                .map(|object| (object.name.clone(), object.shadow.clone()))
                .collect(),
        },
        dialing: Dialing::default(),
        info: MemberInfo {
            private_name: main_name.clone(),
            node_name: name,
            subcluster,
            node_type: NodeType::Node,
            version: system::version(),
            address: SocketAddr::new(ip, port),
            protocol: PROTOCOL,
            options_digest: config.agreement().map_or(0, |agreement| agreement.digest()),
            heartbeats_per_second: u16::try_from(cluster.heartbeats_per_second).unwrap_or(u16::MAX),
            heartbeat_miss_limit: u16::try_from(cluster.heartbeat_miss_limit).unwrap_or(u16::MAX),
            boot_id: system::boot_id(),
        },
        main_name,
    };
    let monitors = super::audit::read(config)?.monitors;
    let mut objects = cluster
        .replicate
        .iter()
        .map(|stanza| object(stanza, &monitors))
        .collect::<anyhow::Result<Vec<_>>>()?;
    // Objects that nobody configures, because limits need them.
    let implicit = [
        (limits_a_host(config), ObjectKind::OutboundHosts),
        (limits_connections(config), ObjectKind::OutboundSlots),
    ];
    for (_, kind) in implicit.into_iter().filter(|(needed, _)| *needed) {
        objects.push(ConfiguredObject { spec: ObjectSpec::of(kind), listed: Listed::default() });
    }
    Ok(Some((settings, objects)))
}

/// Whether any stanza limits the connections of the whole fleet.
fn limits_connections(config: &Config) -> bool {
    const LIMITS: [&str; 3] = [
        "Cluster_Max_Outbound_Connections",
        "Cluster_Server_Max_Outbound_Connections",
        "Cluster_Scope_Max_Outbound_Connections",
    ];
    config.tree().instances().any(|(_, instance)| {
        LIMITS
            .into_iter()
            .filter_map(|limit| instance.assigned(limit))
            .any(|assigned| matches!(assigned.value, Value::Int(limit) if limit > 0))
    })
}

/// Those of them that `Shadow_Limits` names.
fn shadowed(config: &Config) -> BTreeSet<(&'static str, String)> {
    let mut shadowed = BTreeSet::new();
    for (id, instance) in config.tree().instances() {
        for (option, object) in CLUSTER_THROTTLES {
            if instance.assigned(option).is_some()
                && is_shadow(config, &facts_of(config, id), option)
                && let Some(name) = throttle_name(config, id)
            {
                shadowed.insert((object, name));
            }
        }
    }
    shadowed
}

/// What a stanza is about.
fn facts_of(config: &Config, id: InstanceId) -> Facts<'_> {
    let mut facts = Facts::default();
    let mut at = config.tree().instance(id);
    while let Some(instance) = at {
        let name = instance.name.as_deref();
        if instance.scope == Scope::Domain {
            facts.domain = name;
        } else if instance.scope == Scope::Binding {
            facts.binding = name;
        } else if instance.scope == Scope::BindingGroup {
            facts.binding_group = name;
        }
        at = (instance.scope != Scope::Global).then(|| config.tree().instance(instance.parent)).flatten();
    }
    facts
}

/// Whether a limit only watches, as far as `Shadow_Limits` says so.
pub(crate) fn is_shadow(config: &Config, facts: &Facts<'_>, limit: &str) -> bool {
    let names = config.eval("Shadow_Limits", facts).and_then(|found| found.value);
    names.is_some_and(|names| names.names_option(limit))
}

/// Throttles of the whole fleet: the option and the object.
const CLUSTER_THROTTLES: [(&str, &str); 2] =
    [("Cluster_Outbound_Throttle_Messages", "OBTM"), ("Cluster_Outbound_Throttle_Connections", "OBTC")];

/// The throttles of the whole fleet, one for each place where an option is written.
fn rates(config: &Config) -> Vec<(&'static str, String, Rate)> {
    let mut rates = Vec::new();
    for (id, instance) in config.tree().instances() {
        for (option, object) in CLUSTER_THROTTLES {
            let Some(Value::Throttle(throttle)) =
                instance.assigned(option).map(|assigned| assigned.value.clone())
            else {
                continue;
            };
            let Some(rate) = super::rate(throttle) else { continue };
            if let Some(name) = throttle_name(config, id) {
                rates.push((object, name, rate));
            }
        }
    }
    rates
}

/// What a throttle is called in the table, by the place of its option; none where the option limits nothing.
pub(crate) fn throttle_name(config: &Config, id: InstanceId) -> Option<String> {
    let tree = config.tree();
    let instance = tree.instance(id)?;
    let named = |instance: &Instance| instance.name.clone().unwrap_or_default();
    let group = |instance: &Instance| format!("binding_group:{}", named(instance));
    if instance.scope == Scope::Global {
        return Some(String::from("global"));
    }
    if instance.scope == Scope::BindingGroup {
        return Some(group(instance));
    }
    if instance.scope != Scope::Domain {
        return None;
    }
    let name = named(instance);
    // Domains are told apart without regard to case, regular expressions are kept as they are written.
    let name = if name.starts_with('/') { name } else { name.to_ascii_lowercase() };
    let parent = tree.instance(instance.parent).filter(|parent| parent.scope == Scope::BindingGroup);
    let within = parent.map(|parent| format!("{}::", group(parent))).unwrap_or_default();
    Some(format!("{within}domain:{name}"))
}

const fn partition(partition: postfleet_config::Partition) -> Partition {
    match partition {
        postfleet_config::Partition::Share => Partition::Share,
        postfleet_config::Partition::Quorum => Partition::Quorum,
        postfleet_config::Partition::Full => Partition::Full,
    }
}

/// Whether a `Host` stanza sets a limit for the whole fleet. Its counts need an object that nobody configures.
fn limits_a_host(config: &Config) -> bool {
    const LIMITS: [&str; 2] = ["Cluster_Max_Outbound_Connections", "Cluster_Scope_Max_Outbound_Connections"];
    config.tree().instances().filter(|(_, instance)| instance.scope == Scope::Host).any(|(_, host)| {
        LIMITS
            .into_iter()
            .filter_map(|limit| host.assigned(limit))
            .any(|assigned| matches!(assigned.value, Value::Int(limit) if limit > 0))
    })
}

/// The address other members reach this node at. A lone node is reached by nobody, so its name may lead anywhere.
fn own_address(cluster: &ClusterSettings, name: &NodeName) -> anyhow::Result<IpAddr> {
    let resolved = if cluster.nodeaddr.is_some() { Vec::new() } else { names::resolve(name.as_str()) };
    Ok(identity::node_address(cluster.nodeaddr, name, &resolved)?)
}

fn object(stanza: &ReplicateSettings, monitors: &[Monitor]) -> anyhow::Result<ConfiguredObject> {
    let kind = ObjectKind::from_word(stanza.kind.word()).with_context(|| {
        format!("Replicate \"{}\": kind {} is not known", stanza.name, stanza.kind.word())
    })?;
    Ok(ConfiguredObject {
        spec: ObjectSpec {
            max_delay: stanza.max_delay,
            max_pending: stanza.max_pending,
            binding_group: stanza.binding_group.clone(),
            snapshot: stanza.snapshot,
            max_size: stanza.max_size,
            partition: Some(partition(stanza.partition)),
            words: stanza.parameters.iter().filter_map(|word| MetricWord::from_word(word)).collect(),
            client_monitors: monitors.to_vec(),
            domain_monitors: Monitor::new(300, 6).into_iter().collect(),
            ..ObjectSpec::new(&stanza.name, kind)
        },
        listed: Listed {
            type_name: stanza.type_word.map(str::to_owned),
            class: stanza.class.map(str::to_owned),
            parameters: stanza.parameters.clone(),
        },
    })
}

/// The address of an entry of `peers`: with or without a port. A name is looked up by nobody: it admits nobody.
fn peer_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod peer_tests {
    use super::*;

    #[test]
    fn peers_are_addresses_with_or_without_a_port() {
        let of = |text| peer_address(text).map(|address| address.to_string());
        let ip = |text: &str| Some(text.to_owned());
        assert_eq!(of("192.0.2.1"), ip("192.0.2.1"));
        assert_eq!(of("192.0.2.1:4809"), ip("192.0.2.1"));
        assert_eq!(
            [of("2001:db8::1"), of("[2001:db8::1]"), of("[2001:db8::1]:4809")],
            [(); 3].map(|()| ip("2001:db8::1"))
        );
        assert_eq!([of("relay-1"), of("")], [None, None]);
    }
}
