//! The `cluster` stanza: who this node is, and what it shares.

use crate::cluster_listener::Dialing;
use crate::fleet::{BusKind, ConfiguredObject, FleetSettings, Listed};
use crate::names::{self, Names};
use crate::node::Identity;
use crate::system;
use anyhow::Context;
use postfleet_bus::event::MemberInfo;
use postfleet_config::schema::Scope;
use postfleet_config::{Bus, ClusterSettings, ReplicateSettings};
use postfleet_config::{Config, Value, identity};
use postfleet_replica::{ObjectKind, ObjectSpec};
use postfleet_types::{GroupName, NodeName, NodeType, PrivateName};
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
        max_backlog: usize::try_from(cluster.max_backlog).unwrap_or(usize::MAX),
        reconnect_interval: cluster.reconnect_interval,
        min_delay: cluster.min_delay,
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
    let mut objects = cluster.replicate.iter().map(object).collect::<anyhow::Result<Vec<_>>>()?;
    if limits_a_host(config) {
        objects.push(ConfiguredObject {
            spec: ObjectSpec::of(ObjectKind::OutboundHosts),
            listed: Listed::default(),
        });
    }
    Ok(Some((settings, objects)))
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

fn object(stanza: &ReplicateSettings) -> anyhow::Result<ConfiguredObject> {
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
            ..ObjectSpec::new(&stanza.name, kind)
        },
        listed: Listed {
            type_name: stanza.type_word.map(str::to_owned),
            class: stanza.class.map(str::to_owned),
            parameters: stanza.parameters.clone(),
        },
    })
}
