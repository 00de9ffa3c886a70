//! The `cluster` stanza.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::Lookup;
use crate::address;
use crate::config::Config;
use crate::resolve::Facts;
use crate::schema::{self, Scope};
use crate::tree::{Assigned, Instance, InstanceId};
use crate::value::{Pattern, Value};

/// What carries the messages between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// Corosync.
    Corosync,
    /// The embedded bus for the nodes of one machine.
    Local {
        /// The path that the sockets, locks and logs of both classes are named after.
        socket: String,
    },
    /// Nothing: the node is alone.
    Solo,
}

impl Bus {
    /// The word of the option `bus`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Corosync => "corosync",
            Self::Local { .. } => "local",
            Self::Solo => "solo",
        }
    }
}

/// What a side of a split cluster may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// Its part of the members.
    Share,
    /// All with quorum, nothing without.
    Quorum,
    /// All.
    Full,
}

impl Partition {
    fn from_word(word: &str) -> Self {
        match word {
            "quorum" => Self::Quorum,
            "full" => Self::Full,
            _ => Self::Share,
        }
    }
}

/// The kinds of replicated objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// `inbound_cidr`.
    InboundCidr,
    /// `outbound_cidr`.
    OutboundCidr,
    /// `outbound_domains`.
    OutboundDomains,
    /// `outbound_binding_domains`.
    OutboundBindingDomains,
    /// `OBTM`.
    OutboundThrottleMessages,
    /// `OBTC`.
    OutboundThrottleConnections,
    /// `shared_named_throttles`.
    SharedNamedThrottles,
    /// `metrics`.
    Metrics,
    /// `eccmgr_metrics`.
    ManagerMetrics,
    /// `cache`.
    Cache,
}

impl ObjectKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::InboundCidr,
        Self::OutboundCidr,
        Self::OutboundDomains,
        Self::OutboundBindingDomains,
        Self::OutboundThrottleMessages,
        Self::OutboundThrottleConnections,
        Self::SharedNamedThrottles,
        Self::Metrics,
        Self::ManagerMetrics,
        Self::Cache,
    ];

    /// The type word in its documented spelling.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::InboundCidr => "inbound_cidr",
            Self::OutboundCidr => "outbound_cidr",
            Self::OutboundDomains => "outbound_domains",
            Self::OutboundBindingDomains => "outbound_binding_domains",
            Self::OutboundThrottleMessages => "OBTM",
            Self::OutboundThrottleConnections => "OBTC",
            Self::SharedNamedThrottles => "shared_named_throttles",
            Self::Metrics => "metrics",
            Self::ManagerMetrics => "eccmgr_metrics",
            Self::Cache => "cache",
        }
    }

    /// The kind of this type word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(word))
    }
}

/// One replicated object.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicateSettings {
    /// Its name: that of a type word in its documented spelling.
    pub name: String,
    /// The name as written, for `config` displays.
    pub written: String,
    /// What it is.
    pub kind: ObjectKind,
    /// `type`, when it is written, in the documented spelling.
    pub type_word: Option<&'static str>,
    /// `class`, when it is written, in the documented spelling.
    pub class: Option<&'static str>,
    /// The words of `parameters`, repeated stanzas of metrics united.
    pub parameters: Vec<String>,
    /// Whether joining members get what exists already.
    pub snapshot: bool,
    /// Longest time changes are held back.
    pub max_delay: Duration,
    /// Changes held back before they are sent sooner.
    pub max_pending: u32,
    /// Entries of a cache; `None`: no limit.
    pub max_size: Option<u64>,
    /// Count only this group's bindings.
    pub binding_group: Option<String>,
    /// What a side of a split cluster may use.
    pub partition: Partition,
    /// Throttles that only observe.
    pub shadow: Vec<Pattern>,
}

/// The `cluster` stanza.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterSettings {
    /// `enabled`.
    pub enabled: bool,
    /// `nodename`, when it is written; see [`crate::identity::node_name`].
    pub nodename: Option<String>,
    /// `nodeaddr`, when it is written; see [`crate::identity::node_address`].
    pub nodeaddr: Option<IpAddr>,
    /// `cluster_group`.
    pub cluster_group: String,
    /// `control_group`.
    pub control_group: String,
    /// `log_group`.
    pub log_group: Option<String>,
    /// `bus` with what it needs.
    pub bus: Bus,
    /// `bus_name`.
    pub bus_name: String,
    /// What `cluster info` prints as daemon.
    pub daemon: String,
    /// `allow_large_ring`.
    pub allow_large_ring: bool,
    /// `min_delay`; `None`: a change is never sent at once.
    pub min_delay: Option<Duration>,
    /// `partition`.
    pub partition: Partition,
    /// `slot_handover`.
    pub slot_handover: Duration,
    /// `heartbeat_start_delay`.
    pub heartbeat_start_delay: Duration,
    /// `heartbeats_per_sec`.
    pub heartbeats_per_second: u32,
    /// `heartbeat_miss_limit`.
    pub heartbeat_miss_limit: u32,
    /// `tcp_buffer_size`.
    pub tcp_buffer_size: u64,
    /// `duravip_balance_set_size`.
    pub duravip_balance_set_size: u32,
    /// `logs`: name and directory.
    pub logs: Vec<(String, String)>,
    /// The replicated objects, in text order.
    pub replicate: Vec<ReplicateSettings>,
    /// The nodes that `msgc_server { peers }` names.
    pub peers: Vec<(String, String)>,
    /// `msgc_client { max_backlog }`: messages that may wait for the bus.
    pub max_backlog: u32,
    /// `msgc_client { reconnect_interval }`: the pause before a lost bus is tried again.
    pub reconnect_interval: Duration,
}

/// Why `mbus_daemon` names no socket of this machine.
pub(crate) struct BusSocketError {
    /// The address as written.
    pub(crate) host: String,
}

impl Config {
    /// The `cluster` stanza; `None` when there is none.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterSettings> {
        let instance = self.tree().anonymous(Scope::Cluster)?;
        let cluster = Lookup::new(self, Facts { instance: Some(instance), ..Facts::default() });
        let text = |name: &str| cluster.text(name).unwrap_or_default();
        let bus_name = text("bus_name");
        let word = cluster.word("bus");
        let bus = match word {
            "solo" => Bus::Solo,
            "local" => Bus::Local { socket: self.bus_socket().unwrap_or_default() },
            _ => Bus::Corosync,
        };
        let partition = Partition::from_word(cluster.word("partition"));
        let client = self.tree().anonymous(Scope::MsgcClient);
        // Both stanzas of the old bus have these options, so they are looked up by scope, not by name alone.
        let old_bus = |name: &str| {
            let row = schema::row(Scope::MsgcClient, None, name)?;
            let set = client.and_then(|id| self.assigned(id, row)).map(|assigned| assigned.value.clone());
            u32::try_from(set.or_else(|| self.default(row))?.as_int()?).ok()
        };
        Some(ClusterSettings {
            enabled: cluster.bool("enabled"),
            nodename: cluster.text("nodename"),
            nodeaddr: match cluster.value("nodeaddr") {
                Some(Value::Address(address)) => Some(address),
                Some(_) | None => None,
            },
            cluster_group: text("cluster_group"),
            control_group: text("control_group"),
            log_group: cluster.filled("log_group"),
            daemon: cluster.text("mbus_daemon").unwrap_or_else(|| bus.word().to_string()),
            bus,
            bus_name,
            allow_large_ring: cluster.bool("allow_large_ring"),
            min_delay: match cluster.value("min_delay") {
                Some(Value::Float(seconds)) => Duration::try_from_secs_f64(seconds).ok(),
                Some(_) | None => None,
            },
            partition,
            slot_handover: cluster.seconds("slot_handover"),
            heartbeat_start_delay: cluster.seconds("heartbeat_start_delay"),
            heartbeats_per_second: cluster.u32("heartbeats_per_sec"),
            heartbeat_miss_limit: cluster.u32("heartbeat_miss_limit"),
            tcp_buffer_size: cluster.u64("tcp_buffer_size"),
            duravip_balance_set_size: cluster.u32("duravip_balance_set_size"),
            logs: cluster.dict("logs").unwrap_or_default(),
            replicate: replicate_stanzas(self)
                .filter_map(|(id, stanza)| self.replicate(id, stanza, partition))
                .collect(),
            peers: self.bus_peers(),
            max_backlog: old_bus("max_backlog").unwrap_or(u32::MAX),
            reconnect_interval: Duration::from_secs(old_bus("reconnect_interval").unwrap_or(0).into()),
        })
    }

    /// The nodes that `msgc_server { peers }` names, also without a `cluster` stanza.
    #[must_use]
    pub fn bus_peers(&self) -> Vec<(String, String)> {
        let servers = self.tree().anonymous(Scope::MsgcServer);
        servers
            .and_then(|id| Lookup::new(self, Facts { instance: Some(id), ..Facts::default() }).dict("peers"))
            .unwrap_or_default()
    }

    /// The path of the embedded bus.
    pub(crate) fn bus_socket(&self) -> Result<String, BusSocketError> {
        let instance = self.tree().anonymous(Scope::Cluster);
        let cluster = Lookup::new(self, Facts { instance, ..Facts::default() });
        let run_dir = Lookup::new(self, Facts::default()).text("Run_Dir").unwrap_or_default();
        let run_dir = run_dir.trim_end_matches('/');
        let Some(daemon) = cluster.text("mbus_daemon") else {
            return Ok(format!("{run_dir}/bus-{}", cluster.text("bus_name").unwrap_or_default()));
        };
        if daemon.starts_with('/') {
            return Ok(daemon);
        }
        let (host, digits) = match daemon.rsplit_once(':') {
            Some((host, digits)) => (Some(host), digits),
            None => (None, daemon.as_str()),
        };
        let local = host.is_none_or(|host| {
            host.eq_ignore_ascii_case("localhost") || address::ip(host).is_some_and(|ip| ip.is_loopback())
        });
        let number: u16 = digits.parse().unwrap_or(0);
        if local { Ok(format!("{run_dir}/bus-{number}")) } else { Err(BusSocketError { host: daemon }) }
    }

    fn replicate(
        &self,
        id: InstanceId,
        stanza: &Instance,
        partition: Partition,
    ) -> Option<ReplicateSettings> {
        let kind = object_kind(stanza)?;
        let options = Lookup::new(self, Facts { instance: Some(id), ..Facts::default() });
        let parameters: Vec<String> =
            parameter_words(stanza, kind).into_iter().map(|(word, _)| word).collect();
        let snapshot = match kind {
            ObjectKind::Cache | ObjectKind::Metrics | ObjectKind::ManagerMetrics => {
                parameters.iter().any(|word| word == "snapshot")
            }
            ObjectKind::InboundCidr
            | ObjectKind::OutboundCidr
            | ObjectKind::OutboundDomains
            | ObjectKind::OutboundBindingDomains
            | ObjectKind::OutboundThrottleMessages
            | ObjectKind::OutboundThrottleConnections
            | ObjectKind::SharedNamedThrottles => true,
        };
        Some(ReplicateSettings {
            name: object_name(stanza),
            written: stanza.name.clone().unwrap_or_default(),
            kind,
            type_word: Some(options.word("type")).filter(|word| !word.is_empty()),
            class: Some(options.word("class")).filter(|word| !word.is_empty()),
            parameters,
            snapshot,
            max_delay: options.seconds("max_delay"),
            max_pending: options.u32("max_pending"),
            max_size: options
                .value("max_size")
                .as_ref()
                .and_then(Value::as_int)
                .and_then(|size| u64::try_from(size).ok()),
            binding_group: options.filled("binding_group"),
            partition: match options.word("partition") {
                "" => partition,
                word => Partition::from_word(word),
            },
            shadow: options.patterns("shadow"),
        })
    }
}

/// The `Replicate` stanzas in text order.
pub(crate) fn replicate_stanzas(config: &Config) -> impl Iterator<Item = (InstanceId, &Instance)> {
    let cluster = config.tree().anonymous(Scope::Cluster);
    cluster.into_iter().flat_map(|cluster| config.tree().children(cluster, Scope::Replicate))
}

/// `type`, else `class`, else the name of the stanza.
pub(crate) fn object_kind(stanza: &Instance) -> Option<ObjectKind> {
    let word = |name: &str| stanza.assigned(name).and_then(|assigned| assigned.value.as_text());
    let word = word("type").or_else(|| word("class")).or(stanza.name.as_deref())?;
    ObjectKind::from_word(word)
}

/// `replication_name`, else the type word that the stanza is named after, else its name.
pub(crate) fn object_name(stanza: &Instance) -> String {
    if let Some(name) = stanza.assigned("replication_name").and_then(|assigned| assigned.value.as_text())
        && !name.is_empty()
    {
        return name.to_string();
    }
    let written = stanza.name.as_deref().unwrap_or("");
    schema::object_type(written).unwrap_or(written).to_string()
}

/// The words of `parameters` with the assignment each is from. Those of metrics unite over all stanzas, in
/// order of first appearance.
pub(crate) fn parameter_words(stanza: &Instance, kind: ObjectKind) -> Vec<(String, crate::source::Span)> {
    let Some(Assigned { value, span, shadowed, .. }) = stanza.assigned("parameters") else {
        return Vec::new();
    };
    let united = matches!(kind, ObjectKind::Metrics | ObjectKind::ManagerMetrics);
    let earlier = shadowed.iter().filter(|_| united).map(|(value, span)| (value, *span));
    let mut words: Vec<(String, crate::source::Span)> = Vec::new();
    for (value, span) in earlier.chain([(value, *span)]) {
        for word in value.as_text().unwrap_or("").split(';').map(str::trim).filter(|word| !word.is_empty()) {
            if !words.iter().any(|(known, _)| known == word) {
                words.push((word.to_string(), span));
            }
        }
    }
    words
}
