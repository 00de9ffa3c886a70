//! What commands answer, as plain data. The executor fills it; [`render`](crate::render()) prints it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;

use postfleet_types::{NodeType, Prefix};

use crate::audit::AuditIp;
use crate::command::{CountKind, MailqFilter};
use crate::config::ConfigAnswer;
use crate::datasource::{CachePair, DatasourceRows, DatasourceStatistics};
use crate::limits::{SharedWhy, SlotReply, ThrottleReply};

/// The answer of a command that succeeded.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Lines without a schema of their own.
    Lines(Vec<String>),
    /// `config …`, `write config`
    Config(ConfigAnswer),
    /// `cluster info`
    ClusterInfo(ClusterInfo),
    /// `cluster membership`
    Membership(MembershipList),
    /// `cluster nodename`
    NodeName(String),
    /// `cluster nodeaddr`
    NodeAddress(SocketAddr),
    /// `cluster shared list`
    SharedList(SharedList),
    /// `cluster shared show`
    SharedShow(SharedShow),
    /// `cluster shared why`
    SharedWhy(SharedWhy),
    /// `throttle …`
    Throttle(ThrottleReply),
    /// `slot …`
    Slot(SlotReply),
    /// `inbound_audit show ip`
    AuditIp(AuditIp),
    /// `count`
    Count(CountReply),
    /// `cache get`, `cache show`
    CachePair(CachePair),
    /// `ds_core query`
    Rows(DatasourceRows),
    /// `ds_core stats`
    DatasourceStatistics(DatasourceStatistics),
    /// `summary`
    Summary(Summary),
    /// `mailq`
    Mailq(Mailq),
    /// `pid`
    Pid(u32),
    /// `version`: the banner, from the profile alone.
    Version,
    /// `sysinfo`
    Sysinfo(Sysinfo),
}

impl Answer {
    /// One line of text.
    #[must_use]
    pub fn line(text: impl core::fmt::Display) -> Self {
        Self::Lines([text.to_string()].into())
    }

    /// Nothing to say: it is done.
    #[must_use]
    pub const fn silent() -> Self {
        Self::Lines(Vec::new())
    }

    /// The answer to `cluster reset`, given before the bus connection is dropped.
    #[must_use]
    pub fn membership_reset() -> Self {
        Self::line("Cluster membership reset.")
    }

    /// The answer to `summary reset`.
    #[must_use]
    pub fn statistics_cleared() -> Self {
        Self::line("statistics cleared.")
    }

    /// The answer to `shutdown`, given before the orderly stop.
    #[must_use]
    pub fn shutting_down() -> Self {
        Self::line("Shutting down.")
    }
}

/// The bus connections and groups of the answering node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    /// The bus endpoint as configured.
    pub daemon: String,
    /// Private name of the main connection while it is up.
    pub membership: Option<String>,
    /// Private name of the shared-data connection while it is up.
    pub replication: Option<String>,
    /// `control_group`
    pub control_group: String,
    /// `cluster_group`
    pub cluster_group: String,
    /// Node name of the leader of the view.
    pub leader: Option<String>,
    /// `log_group`
    pub logger_group: Option<String>,
}

/// The members of the view, in membership order.
#[derive(Clone, Debug, PartialEq)]
pub struct MembershipList {
    /// Members that have joined at least one group; shared-data connections are not listed.
    pub members: Vec<Member>,
    /// The view they form, as text (`ViewId` prints itself).
    pub view: String,
    /// How long a host that dies without a word stays in the view, in milliseconds, when the bus knows.
    pub detection_ms: Option<u64>,
    /// Whether text shows clock offset, heartbeat age, view of admission and detection time; machine forms always do.
    pub verbose: bool,
}

/// One member.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Private name of its main connection.
    pub private_name: String,
    /// What it is. Name, subcluster and address of anything but a node are not shown.
    pub kind: NodeType,
    /// Its node name.
    pub node_name: String,
    /// Its subcluster.
    pub subcluster: String,
    /// Its version, as it announces it.
    pub version: String,
    /// Its cluster service address.
    pub address: Option<SocketAddr>,
    /// Its groups, in joining order.
    pub groups: Vec<String>,
    /// Its wall clock minus the members' median, in milliseconds, when known.
    pub clock_offset_ms: Option<i64>,
    /// Age of the last heartbeat received from it, in milliseconds, when it sends any.
    pub heartbeat_age_ms: Option<u64>,
    /// Counter of the view that admitted it.
    pub admitted: u64,
}

/// The replicated objects, configured ones in configuration order and implicit ones behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedList {
    /// The objects.
    pub objects: Vec<SharedObject>,
}

/// One replicated object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedObject {
    /// Its name.
    pub name: String,
    /// Its structure.
    pub kind: SharedKind,
    /// Whether joiners get a snapshot.
    pub snapshots: bool,
    /// `type` of its stanza.
    pub type_name: Option<String>,
    /// `class` of its stanza.
    pub class: Option<String>,
    /// `parameters` of its stanza.
    pub parameters: Vec<String>,
}

/// The structure of a replicated object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SharedKind {
    /// Counts by address.
    CidrTree,
    /// Counts by key.
    GaugeTable,
    /// Rate limits.
    ThrottleTable,
    /// Concurrency limits.
    SlotTable,
    /// Windowed series.
    Metrics,
    /// A replicated cache.
    Cache,
}

impl SharedKind {
    /// The words of the displays.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::CidrTree => "cidrtree",
            Self::GaugeTable => "gauge table",
            Self::ThrottleTable => "throttle table",
            Self::SlotTable => "slot table",
            Self::Metrics => "metrics",
            Self::Cache => "cache",
        }
    }
}

/// The rows of one view of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedShow {
    /// The object's name as typed; the header echoes it.
    pub typed: String,
    /// The object's own name; machine forms carry it.
    pub object: String,
    /// Its structure.
    pub kind: SharedKind,
    /// Whether joiners get a snapshot.
    pub snapped: bool,
    /// Which view.
    pub view: SharedView,
    /// Private names of members whose counts have not all arrived here yet, so that the rows lack something.
    pub missing: Vec<String>,
    /// The rows, in the order of the object. Rows of count zero are not shown.
    pub rows: SharedRows,
}

/// Which view of an object is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedView {
    /// The sum over all members.
    Global,
    /// One member's column.
    Node {
        /// Private name of its shared-data connection.
        private_name: String,
        /// Its node name.
        node: String,
    },
}

/// The rows of a shared object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedRows {
    /// Of a CIDR tree: ordered by family, address, shorter prefix first.
    Cidr(Vec<(Prefix, u64)>),
    /// Of a gauge table: ordered by key, bytewise.
    Gauge(Vec<(String, u64)>),
    /// Of a cache: key, and what is left of its time to live in seconds; `None` for ever.
    Cache(Vec<(String, Option<u64>)>),
    /// Of a throttle table: name, units owned or gone, rate. Ordered by name.
    Throttles(Vec<(String, u64, String)>),
    /// Of a slot table: key, slots owned, limit. Ordered by key.
    Slots(Vec<(String, u64, u64)>),
}

/// The answer to `count`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountReply {
    /// Which connections, as asked.
    pub kind: CountKind,
    /// How many.
    pub result: CountResult,
}

/// How many connections are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountResult {
    /// In one block.
    Sessions(u64),
    /// By prefix, ordered as [`SharedRows::Cidr`]; rows of count zero are not shown.
    Rows {
        /// Shortest prefix asked for.
        low: u8,
        /// Longest prefix asked for.
        high: u8,
        /// Prefix and count.
        rows: Vec<(Prefix, u64)>,
    },
}

/// Node totals. Counts and rates are since the start or the last `summary reset`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Outbound sessions open now.
    pub outbound_concurrency: u64,
    /// Inbound sessions open now.
    pub inbound_concurrency: u64,
    /// Domains in the route cache.
    pub active_domains: u64,
    /// Messages due.
    pub active_queue_size: u64,
    /// Messages waiting for a later attempt.
    pub delayed_queue_size: u64,
    /// Address queries.
    pub dns_a_queries: u64,
    /// MX queries.
    pub dns_mx_queries: u64,
    /// Queries without an answer yet.
    pub pending_dns_queries: u64,
    /// DNS queries a second.
    pub query_rate: f64,
    /// Messages delivered.
    pub successfully_delivered_messages: u64,
    /// Messages that failed for good.
    pub failed_messages: u64,
    /// Messages refused.
    pub rejected_messages: u64,
    /// Messages accepted.
    pub received_messages: u64,
    /// Deliveries and permanent failures a second.
    pub delivery_rate: f64,
    /// Receptions a second.
    pub reception_rate: f64,
    /// Seconds since the last reset, or since the start.
    pub since_reset: u64,
    /// Seconds since the start.
    pub uptime: u64,
}

/// Queue sizes by group, binding and domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailq {
    /// The rows shown.
    pub queues: Vec<MailqQueue>,
    /// Whether the limit left some out.
    pub truncated: bool,
}

/// The sizes of the queues of one binding and domain. Ordered by group, binding, domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MailqQueue {
    /// Binding group.
    pub group: String,
    /// Binding.
    pub binding: String,
    /// Domain, lower case.
    pub domain: String,
    /// Messages due.
    pub active: u64,
    /// Messages waiting for a later attempt.
    pub delayed: u64,
}

impl Mailq {
    /// Name of the pseudo-binding, in group `default`, of mail that moves to another node.
    pub const MAIL_MOVE: &'static str = "#mmove";

    /// What `filter` shows of all queues, sorted. In a cluster the pseudo-binding of mail moving to another node
    /// has a row even when nothing moves.
    #[must_use]
    pub fn select(
        queues: impl IntoIterator<Item = MailqQueue>,
        filter: &MailqFilter,
        clustering: bool,
    ) -> Self {
        let wanted = |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| n == name);
        let mut queues: Vec<_> = queues.into_iter().collect();
        if clustering && queues.iter().all(|queue| queue.binding != Self::MAIL_MOVE) {
            queues.push(MailqQueue {
                group: "default".into(),
                binding: Self::MAIL_MOVE.into(),
                domain: String::new(),
                active: 0,
                delayed: 0,
            });
        }
        queues.retain(|q| wanted(&filter.domains, &q.domain) && wanted(&filter.bindings, &q.binding));
        queues.sort();
        let truncated = queues.len() > filter.limit;
        queues.truncate(filter.limit);
        Self { queues, truncated }
    }
}

/// What product on what system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysinfo {
    /// Bits of a pointer.
    pub bits: u32,
    /// When it was built, such as `Mar 23 2030`.
    pub build_date: String,
    /// Kind of build, such as `RELEASE`.
    pub build: String,
    /// The operating system's own line about its release.
    pub release: String,
    /// The line of `uname -a`.
    pub uname: String,
}
