//! `cluster`, `Replicate`, `Topology` and the stanzas of the old bus.

use super::{Chain, Check, Default, Keys, Kind, Range, Row, Scope, Unit};
use Check::{Any, BusAddress, GroupName, NodeName, SocketAddress};
use Default::{From, Is, List, Unset};
use Kind::{Address, Bool, Dict, Float, Int, Size, Text, Words};

/// The kinds of replicated objects, in their documented spelling.
pub(crate) const TYPES: &[&str] = &[
    "inbound_cidr",
    "outbound_cidr",
    "outbound_domains",
    "outbound_binding_domains",
    "OBTM",
    "OBTC",
    "shared_named_throttles",
    "metrics",
    "eccmgr_metrics",
    "cache",
];

const PARTITION: &[&str] = &["share", "quorum", "full"];
const LOGS: &[(&str, &str)] = &[
    ("rejectlog", "/var/log/ecelerity/rejectlog.cluster"),
    ("paniclog", "/var/log/ecelerity/paniclog.cluster"),
    ("mainlog", "/var/log/ecelerity/mainlog.cluster"),
    ("acctlog", "/var/log/ecelerity/acctlog.cluster"),
    ("bouncelog", "/var/log/ecelerity/bouncelog.cluster"),
];

const fn c(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::M, &[Scope::Cluster])
}

#[rustfmt::skip]
pub(super) const CLUSTER: &[Row] = &[
    c("cluster_group", Text(GroupName), Is("ec_cluster"), "group in which the ownership of addresses is agreed").fixed(),
    c("control_group", Text(GroupName), Is("ec_console"), "group of commands to the whole cluster"),
    c("nodename", Text(NodeName), From("`EC_NODE_NAME`, else the host name up to its first dot"), "name of the node").fixed(),
    c("nodeaddr", Address, From("what the node name resolves to"), "address at which other nodes reach this one; not 127.0.0.1 or ::1").fixed(),
    c("logs", Dict(Keys::Logs), Default::Dict(LOGS), "logs served to subscribers: name and directory").stored(),
    c("arp_all_hosts", Bool, Is("true"), "a moved address is announced to the whole segment").stored(),
    c("duravip_balance_set_size", Int, Is("1"), "addresses moved in one round of balancing; equal on all nodes").min(1).stored(),
    c("heartbeat_start_delay", Int, Is("15"), "time after start before heartbeats are sent").seconds().min(0),
    c("heartbeats_per_sec", Int, Is("1"), "heartbeats a second").min(1),
    c("heartbeat_miss_limit", Int, Is("10"), "heartbeats in a row that may be missing before a node is put out").min(3),
    c("if_check_interval", Int, Is("30"), "how often interfaces are compared with the agreed view").seconds().min(1).stored(),
    c("if_down_limit", Int, Is("4"), "how long an address must be missing before it is brought up").seconds().min(0).stored(),
    c("view_mature_time", Int, Is("5"), "how long a view of the ownership must be unchanged to count").seconds().min(0).stored(),
    c("view_balance_interval", Int, Is("10"), "how often ownership is balanced").seconds().min(1).stored(),
    c("view_broadcast_interval", Int, Is("0"), "how often the view is announced unasked; 0: never").seconds().min(0).stored(),
    c("unconditional_rebind", Bool, Is("true"), "messages that move to another node get their binding anew").stored(),
    c("log_active_interval", Int, Is("1"), "pause between log segments while sending").seconds().min(0).stored(),
    c("log_idle_interval", Int, Is("10"), "pause when no segment is pending").seconds().min(1).stored(),
    c("log_group", Text(GroupName), Unset, "panic log lines also go to this group; unset: to none").stored(),
    c("tcp_buffer_size", Size, Is("32768"), "socket buffer of connections between nodes").unit(Unit::Bytes).stored(),
    c("bus", Words(&["corosync", "local", "solo"]), Is("corosync"), "what carries the messages; `local`: one machine, `solo`: nothing is shared").also(&[("cpg", "corosync"), ("mesh", "local")]).fixed(),
    c("bus_name", Text(GroupName), Is("default"), "keeps clusters on one bus apart").fixed(),
    c("mbus_daemon", Text(BusAddress), From("the value of `bus`"), "what `cluster info` prints as daemon; with `bus = \"local\"` the bus's socket").fixed(),
    c("allow_large_ring", Bool, Is("false"), "more than 32 hosts are allowed, up to 100").fixed(),
    c("min_delay", Float, Is("0.01"), "least time between two batches of this node; -1: only `max_delay` and `max_pending` decide").seconds().range(Range::RealOr(-1.0, 0.0, 1.0)),
    c("partition", Words(PARTITION), Is("share"), "what a side of a split cluster may use: its part, all or nothing by quorum, or all; equal on all nodes"),
    c("slot_handover", Float, Is("5"), "how long a connection slot is owned before it may be passed on").seconds().range(Range::Real(0.1, 1e9)),
    c("duravip_lease", Int, Is("8"), "lifetime the kernel gets with each address; 0: none").seconds().range(Range::WholeOr(0, 4, i64::MAX)).stored(),
    c("duravip_drain_time", Int, Is("5"), "grace for sessions when an address is given up on purpose").seconds().min(0).stored(),
    c("duravip_quorum", Words(&["none", "majority"]), Is("none"), "`majority`: own addresses only while quorate").stored(),
    c("arp_refresh_interval", Int, Is("300"), "how often owned addresses are announced again; 0: never").seconds().range(Range::WholeOr(0, 10, i64::MAX)).stored(),
    c("arp_notify", Address, List(&[]), "further hosts told about a moved address").list().stored(),
];

const fn r(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::M, &[Scope::Replicate])
}

#[rustfmt::skip]
pub(super) const REPLICATE: &[Row] = &[
    r("type", Words(TYPES), Unset, "kind of the object; unset: `class`, else the name"),
    r("class", Words(TYPES), Unset, "the same, for several objects of one kind"),
    r("parameters", Text(Any), Unset, "what is shared, words separated by `;`; those of repeated `metrics` stanzas are united"),
    r("max_delay", Float, Is("1.0"), "longest time changes are held back").seconds().range(Range::Real(0.0, 60.0)),
    r("max_pending", Int, Is("100"), "changes held back before they are sent sooner").min(1),
    r("max_size", Int, Is("-1"), "entries of a cache; -1: no limit").unit(Unit::Entries).range(Range::WholeOr(-1, 1, i64::MAX)),
    r("binding_group", Text(Any), Unset, "`outbound_cidr`, `outbound_domains`: count only this group's bindings"),
    r("replication_name", Text(Any), Unset, "name of a cache object; unset: that of the stanza"),
    r("partition", Words(PARTITION), From("that of `cluster`"), "what a side of a split cluster may use of this object"),
    r("shadow", Kind::Regex, List(&[]), "throttles with a matching name count and hold nothing back").list(),
];

#[rustfmt::skip]
pub(super) const TOPOLOGY: &[Row] = &[
    Row::new("interface", Text(Any), Unset, "interface on which addresses of the block are brought up; required").at(Chain::M, &[Scope::Topology]).stored(),
    Row::new("cidrmask", Int, From("all bits of the address"), "mask of an address brought up").at(Chain::M, &[Scope::Topology]).unit(Unit::Bits).range(Range::Whole(0, 128)).stored(),
];

const BOTH: &[Scope] = &[Scope::MsgcServer, Scope::MsgcClient];

const fn b(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::M, BOTH).stored()
}

#[rustfmt::skip]
pub(super) const BUS: &[Row] = &[
    Row::new("peers", Dict(Keys::Peers), Unset, "members by name and address; names in lower case. Their addresses are let in at the cluster listener, and `postfleet corosync-conf` reads them").at(Chain::M, &[Scope::MsgcServer]).fixed(),
    b("port", Int, Is("4809"), "port of every member's bus listener").at(Chain::M, &[Scope::MsgcServer]).range(Range::Whole(1, 65535)).fixed(),
    b("server", Text(SocketAddress), List(&["127.0.0.1:4809"]), "bus servers, in order").at(Chain::M, &[Scope::MsgcClient]).list(),
    b("bind_address", Address, Unset, "source address").at(Chain::M, &[Scope::MsgcClient]),
    b("connect_timeout", Int, Is("60"), "network timeout of the connection attempt").seconds().min(1),
    b("idle_timeout", Int, Is("30"), "silence after which a connection is dead").seconds().min(1),
    b("keepalive_interval", Int, Is("5"), "how often an empty packet is sent").seconds().min(1),
    Row::new("reconnect_interval", Int, Is("5"), "pause before a new connection").at(Chain::M, BOTH).seconds().min(1),
    Row::new("max_backlog", Int, Is("5000"), "messages that may wait").at(Chain::M, BOTH).min(1),
    b("messages_per_iter", Int, Is("20"), "messages handled in one turn").min(1),
    b("tcpbuf_size", Size, Is("131072"), "socket buffer").unit(Unit::Bytes),
];
