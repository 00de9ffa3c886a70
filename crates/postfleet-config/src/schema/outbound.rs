//! Outbound limits, routing, retries and session options.

use super::{Chain, Check, Combine, Default, Kind, Range, Row, Scope};
use Check::{Any, NodeName};
use Default::{Is, Unset};
use Kind::{Bool, Int, Text, Throttle, Words, WordsOrBool, WordsOrInt};

const B: &[Scope] = &[Scope::Binding, Scope::BindingGroup, Scope::Global];
const D: &[Scope] = &[Scope::Binding, Scope::BindingGroup, Scope::Domain, Scope::Global];
const DG: &[Scope] = &[Scope::Domain, Scope::Global];
const BGD: &[Scope] = &[Scope::BindingGroup, Scope::Domain, Scope::Global];
const CM: &[Scope] = &[Scope::Host, Scope::Binding, Scope::Domain, Scope::Global];
const H: &[Scope] = &[Scope::Host];
const SCOPED: &[Scope] = &[Scope::Global, Scope::Domain, Scope::Host, Scope::Binding, Scope::BindingGroup];

/// An option that delivery obeys.
const fn e(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::D, D)
}

const fn d(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    e(name, kind, default, effect).stored()
}

#[rustfmt::skip]
pub(super) const LIMITS: &[Row] = &[
    e("Max_Outbound_Connections", Int, Is("32"), "connections of this node to one domain through one binding; -1: no limit, 0: no new ones").min(-1),
    e("Max_Outbound_Connections", Int, Is("-1"), "connections of this node to each address of this exchanger; -1: no limit").at(Chain::H, H).min(-1),
    e("Server_Max_Outbound_Connections", Int, Is("75000"), "all connections of this node; in a binding: all through it").at(Chain::B, B).min(1).combine(Combine::Total),
    e("Server_Reserve_Outbound_Connections", Int, Is("200"), "added to the previous one for domains that have no connection yet").at(Chain::G, &[Scope::Global]).min(0),
    e("Scope_Max_Outbound_Connections", Int, Unset, "all connections in the scope where it stands; unset, -1 or 0: no limit").at(Chain::D, SCOPED).min(-1).combine(Combine::Every),
    e("Cluster_Max_Outbound_Connections", Int, Is("-1"), "connections of all nodes to a domain, or to a domain through a binding, or to an exchanger: the level decides; -1 or 0: no limit").at(Chain::CM, CM).min(-1).combine(Combine::Exchanger),
    e("Cluster_Server_Max_Outbound_Connections", Int, Unset, "all connections of the cluster; in a binding: all through it").at(Chain::B, B).min(-1).combine(Combine::Total),
    e("Cluster_Scope_Max_Outbound_Connections", Int, Unset, "all connections of the cluster in the scope where it stands").at(Chain::D, SCOPED).min(-1).combine(Combine::Every),
    e("Shadow_Limits", Text(Check::LimitName), Default::List(&[]), "limits that are counted and shown here and refuse nothing; `*`: all").at(Chain::D, SHADOW).list(),
    e("Outbound_Throttle_Messages", Throttle, Unset, "delivery attempts of this node per period"),
    e("Outbound_Throttle_Connections", Throttle, Unset, "connections opened by this node per period"),
    d("Outbound_Throttle_Messages", Throttle, Unset, "delivery attempts of this node to this exchanger per period").at(Chain::H, H),
    d("Outbound_Throttle_Connections", Throttle, Unset, "connections opened by this node to this exchanger per period").at(Chain::H, H),
    e("Cluster_Outbound_Throttle_Messages", Throttle, Unset, "delivery attempts of the cluster per period; needs `Replicate \"OBTM\"`").at(Chain::BGD, BGD),
    e("Cluster_Outbound_Throttle_Connections", Throttle, Unset, "connections opened by the cluster per period; needs `Replicate \"OBTC\"`").at(Chain::BGD, BGD),
];

const SHADOW: &[Scope] = &[
    Scope::Global,
    Scope::Domain,
    Scope::Host,
    Scope::Binding,
    Scope::BindingGroup,
    Scope::EsmtpListener,
    Scope::Listen,
    Scope::Peer,
];

#[rustfmt::skip]
pub(super) const ROUTING: &[Row] = &[
    e("Gateway", Text(Check::Gateway), Unset, "host to send to instead of the domain's exchangers; IPv6 in brackets"),
    e("Routes", Text(Check::Route), Unset, "hosts to send to, in order or by preference").at(Chain::DG, DG).list(),
    e("Remote_SMTP_Port", Int, Is("25"), "port of SMTP servers").range(Range::Whole(1, 65535)),
    d("LMTP_Port", Int, Is("2003"), "port of LMTP servers").range(Range::Whole(1, 65535)),
    d("Delivery_Method", Words(&["ESMTP", "SMTP", "LMTP", "ECSTREAM"]), Is("ESMTP"), "protocol spoken").known(&["DISC", "HTTP", "MM7", "PIPE", "PIPE_TRANSPORT", "SMPP"]),
    e("EHLO_Hostname", Text(Any), Is("__hostname__"), "argument of EHLO; `__hostname__`: the own name, `__message__`: the domain of the sender"),
    e("Connection_Allocation_Aggressiveness", Words(&["normal", "high"]), Is("normal"), "connections are opened one by one, or as many as allowed at once"),
    d("Blackhole", WordsOrBool(&["inline", "internal"]), Is("false"), "`inline` or true: refused for good at RCPT; `internal`: accepted and dropped"),
    e("Generate_Bounces", Bool, Is("true"), "failures are reported to the sender"),
    d("Generate_Delay_DSN", Bool, Is("false"), "delays are reported to the sender"),
    e("Mailerdaemon", Text(Any), Default::From("`MAILER-DAEMON@` and `Hostname`"), "sender shown in bounces"),
    e("Bounces_Inline_Original", Words(&["none", "headers", "all"]), Is("headers"), "what a bounce returns of the message"),
    d("Delay_DSN_Retry_Interval", Int, Is("3600"), "time between reports of a delay").seconds().min(0),
    d("Delay_DSN_Max_Retry_Interval", Int, Is("0"), "longest time between them; 0: no cap").seconds().min(0),
    e("Transform_8BitMIME_Content", Words(&["no", "ifneeded", "strict", "strip"]), Is("ifneeded"), "8-bit content for a server without 8BITMIME"),
    d("Migrate_Connections_Between_Sibling_Domains", Bool, Is("true"), "an open connection serves other domains of the same exchangers").at(Chain::B, B),
    d("Fully_Resolve_Before_SMTP", Bool, Is("true"), "all exchangers are resolved before the first attempt"),
    d("XCLIENT", Words(&["no", "ifavailable", "required"]), Is("no"), "the client's identity is passed on"),
    e("Send_8BitMIME", Words(&["no", "ifavailable"]), Is("no"), "`BODY=8BITMIME` is said where offered").also(&[("yes", "ifavailable")]),
    e("Max_Deliveries_Per_Connection", Int, Is("0"), "messages for each connection; 0: no limit").min(0),
    e("Max_Recipients_Per_Batch", Int, Is("100"), "recipients for each transaction").min(1),
    e("Max_Recipients_Per_Connection", Int, Is("0"), "recipients for each outbound connection; 0: no limit. The global value is also that of listeners").min(0),
    d("Drop_Body_After_Trans_Fail", Int, Is("3"), "attempts after which the body leaves memory").min(0),
    e("Delayed_Binding_Domain_Fuzz", Int, Is("0"), "spread of bulk re-queues").at(Chain::B, B).seconds().min(0),
];

#[rustfmt::skip]
pub(super) const RETRY: &[Row] = &[
    e("Message_Expiration", Int, Is("86400"), "age at which an undelivered message fails").seconds().min(1),
    e("Retry_Interval", Int, Is("1200"), "delay before the first retry; doubled for each further one").seconds().min(1),
    e("Max_Retry_Interval", Int, Is("43200"), "longest delay between retries").seconds().min(1),
    e("Max_Retries", WordsOrInt(&["auto", "none"]), Is("auto"), "retries before the message fails; `none`: only its age counts, `auto`: derived from the age").min(0),
    e("Never_Retry", Bool, Is("false"), "the first transient failure is final"),
    e("Never_Attempt_Expired_Messages", Bool, Is("false"), "expired messages fail without a last attempt"),
    e("Host_Failure_Retry", Int, Is("120"), "pause for an address after a failure").at(Chain::DG, DG).seconds().min(0),
    e("MX_Failures_To_Delay", Int, Is("50"), "failures in a row, on every exchanger, that delay the domain; 0: never").at(Chain::DG, DG).min(0),
    e("MX_Failures_Fallback_To_A", Int, Is("3"), "failed look-ups of exchangers before the domain's own address is tried").at(Chain::DG, DG).min(0),
    e("Connect_Timeout_To_Delay", Int, Is("900"), "time without any contact that delays the domain").seconds().min(0),
];

const FAILOVER: &[Scope] = &[Scope::Binding, Scope::Listen];

#[rustfmt::skip]
pub(super) const SESSION: &[Row] = &[
    e("Connect_Timeout", Int, Is("300"), "network timeout of the connection attempt").seconds().min(1),
    e("EHLO_Timeout", Int, Is("300"), "network timeout of EHLO").seconds().min(1),
    e("Mailfrom_Timeout", Int, Is("300"), "network timeout of MAIL").seconds().min(1),
    e("Rcptto_Timeout", Int, Is("300"), "network timeout of RCPT").seconds().min(1),
    e("Body_Timeout", Int, Is("600"), "network timeout after the end of the data").seconds().min(1),
    e("RSET_Timeout", Int, Is("30"), "network timeout of RSET").seconds().min(1),
    e("Idle_Timeout", Int, Is("5"), "how long an unused connection is kept").seconds().min(0),
    e("TLS", Words(&["no", "ifavailable", "required"]), Is("no"), "STARTTLS on outbound connections"),
    e("TLS_Ifavailable_Fallback", Bool, Is("true"), "try again in clear when the handshake fails under `ifavailable`"),
    e("TLS_Verify", Words(&["no", "ca", "host", "optional"]), Is("no"), "what must hold of the server's certificate"),
    d("TLS_Certificate", Text(Any), Unset, "certificate file; `none`: explicitly none. The global value is also that of listeners"),
    d("TLS_Key", Text(Any), Unset, "key file of the certificate; as `TLS_Certificate`"),
    e("TLS_CA", Text(Any), Unset, "file of the authorities that servers are checked with"),
    d("TLS_Ciphers", Text(Any), Unset, "ciphers offered; as `TLS_Certificate`"),
    d("TLS_Protocols", Text(Any), Is("+ALL"), "protocol versions offered; as `TLS_Certificate`"),
    d("Enable_Duravip", Bool, Is("false"), "the address is owned by one node at a time and moves when that node fails").at(Chain::M, FAILOVER),
    d("Duravip_Preference", Text(NodeName), Unset, "the node that has the address while it is a member").at(Chain::M, FAILOVER),
    d("Duravip_Follow", Text(Any), Unset, "the address lives where this binding's address is owned").at(Chain::M, &[Scope::Listen]),
];
