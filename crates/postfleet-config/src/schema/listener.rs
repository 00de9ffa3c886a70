//! Options of the listeners.

use super::{Chain, Check, Combine, Default, Keys, Kind, Range, Row, Scope, Service, Unit};
use Check::{Any, Banner, DomainPattern, Extension, HostName};
use Default::{From, Is, List, Unset};
use Kind::{Bool, Cidr, Dict, Int, Perms, Size, Text, Words};

const LISTENERS: &[Scope] = &[
    Scope::EsmtpListener,
    Scope::ControlListener,
    Scope::EcstreamListener,
    Scope::EcclusterListener,
    Scope::MsgcserverListener,
    Scope::PolicyListener,
    Scope::MilterListener,
    Scope::ApiListener,
    Scope::MetricsListener,
    Scope::Listen,
];

const NOT_CONTROL: &[Service] = &[
    Service::Esmtp,
    Service::Ecstream,
    Service::Eccluster,
    Service::Msgcserver,
    Service::Policy,
    Service::Milter,
    Service::Api,
    Service::Metrics,
];

const fn l(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::L, LISTENERS)
}

#[rustfmt::skip]
pub(super) const COMMON: &[Row] = &[
    l("Enable", Bool, Is("true"), "false: the socket is closed"),
    l("Listen_Backlog", Int, Is("500"), "connections that may wait to be accepted").min(1),
    l("Accept_Queue_Backlog", Int, Is("0"), "accepted sessions that may wait to be served; 0: no limit").min(0).stored(),
    l("Concurrency", Int, Is("0"), "accepting threads").min(0).accepted(),
    l("Events_Per_Iter", Int, Is("0"), "connections accepted in one turn").min(0).accepted(),
    l("Pool_Name", Text(Any), Unset, "thread pool of the accepting threads").accepted(),
    l("TCP_Recv_Buffer_Size", Size, Is("4096"), "receive buffer, applied only when written; 0: the system's").unit(Unit::Bytes),
    l("TCP_Send_Buffer_Size", Size, Is("4096"), "send buffer, applied only when written; 0: the system's").unit(Unit::Bytes),
    l("Disable_Nagle_Algorithm", Bool, Is("false"), "small segments are sent at once").stored(),
    l("File_Mode", Perms, Is("0660"), "mode of a Unix socket").of(NOT_CONTROL),
    l("File_Mode", Perms, Is("0600"), "mode of a Unix socket").of(&[Service::Control]),
    l("Proxy_Protocol", Bool, Is("false"), "every connection must begin with a PROXY header"),
    l("Proxy_Protocol_Timeout", Int, Is("60"), "how long the header may take").seconds().min(1),
];

const SMTP: &[Scope] = &[Scope::EsmtpListener, Scope::Listen, Scope::Peer];
const SMTP_OR_GLOBAL: &[Scope] = &[Scope::EsmtpListener, Scope::Listen, Scope::Peer, Scope::Global];

const fn s(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::L, SMTP).of(&[Service::Esmtp])
}

/// Also global.
const fn sg(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::L, SMTP_OR_GLOBAL).of(&[Service::Esmtp])
}

#[rustfmt::skip]
pub(super) const ESMTP: &[Row] = &[
    s("Idle_Time", Int, Is("300"), "silence after which the client is dropped; 0: never").seconds().min(0),
    s("Listener_Sessions", Int, Is("0"), "sessions at a time on one `Listen`; 0: no limit. Every one that is set holds").min(0).combine(Combine::Every),
    s("Service_Sessions", Int, Is("0"), "sessions at a time on all `Listen`s together; 0: no limit. Every one that is set holds").min(0).combine(Combine::Every),
    sg("Max_Receptions_Per_Connection", Int, Is("0"), "messages for each session; 0: no limit").min(0),
    s("Max_Recipients_Per_Connection", Int, Is("0"), "recipients for each session; 0: no limit. Falls back to the global value").min(0),
    s("Max_Recipients_Per_Message", Int, Is("0"), "recipients for each message; 0: no limit, 1 to 99 count as 100").min(0),
    s("Max_Message_Size", Size, Is("0"), "largest message; 0: no limit").unit(Unit::Bytes),
    s("Banner_Hostname", Text(HostName), From("`Hostname`"), "name in the greeting"),
    s("Received_Hostname", Text(HostName), From("`Hostname`"), "name in Received fields"),
    s("Static_Banner", Text(Banner), Unset, "the whole greeting; begins with `220`"),
    s("Context", Dict(Keys::Any), Unset, "variables of the connection; those of all matching scopes are united, the narrower scope winning").combine(Combine::Unite),
    s("Open_Relay", Bool, Is("false"), "every client may relay"),
    s("Relay_For_Sending_Domains", Text(DomainPattern), Unset, "senders of these domains may relay").list(),
    s("Relay_Hosts", Cidr, Unset, "clients that may relay; replaces a wider list. Falls back to the global one").list(),
    s("SMTP_Extensions", Text(Extension), List(&["ENHANCEDSTATUSCODES", "DSN"]), "extensions offered besides PIPELINING, 8BITMIME and SIZE; unset with a certificate: STARTTLS too").list(),
    s("Enable_Authentication", Bool, Is("false"), "AUTH is required before mail").stored(),
    s("AuthDigestMD5Parameters", Dict(Keys::Authentication), Unset, "where DIGEST-MD5 finds its users").stored(),
    s("AuthCramMD5Parameters", Dict(Keys::Authentication), Unset, "where CRAM-MD5 finds its users").stored(),
    s("AuthLoginParameters", Dict(Keys::Authentication), Unset, "where LOGIN finds its users").stored(),
    s("AuthPlainParameters", Dict(Keys::Authentication), Unset, "where PLAIN finds its users").stored(),
    s("Always_Allow", Bool, Is("false"), "authentication always succeeds"),
    s("Always_Deny", Bool, Is("false"), "authentication always fails; wins over `Always_Allow`"),
    s("Use_SSL", Bool, Is("false"), "TLS from the first byte"),
    s("TLS_Certificate", Text(Any), Unset, "certificate file. Falls back to the global value"),
    s("TLS_Key", Text(Any), Unset, "key file of the certificate. Falls back to the global value"),
    sg("TLS_Client_CA", Text(Any), Unset, "file of the authorities that client certificates are checked with").stored(),
    s("TLS_Ciphers", Text(Any), Unset, "ciphers offered. Falls back to the global value").stored(),
    s("TLS_Protocols", Text(Any), Unset, "protocol versions offered. Falls back to the global value").stored(),
    s("TLS_Verify_Mode", Words(&["require", "none"]), Unset, "client certificates: required, or ignored; unset: checked when shown"),
    s("TLS_Verified_Peer_Can_Relay", Bool, Is("false"), "a client with a checked certificate may relay").stored(),
    s("Starttls_Injection_Policy", Words(&["reject", "ignore", "allow"]), Is("reject"), "commands sent in clear behind STARTTLS"),
    sg("Allow_NULL_Envelope_Sender", Bool, Is("true"), "`MAIL FROM:<>` is allowed"),
    sg("Allow_IP_Literal", Bool, Is("true"), "`user@[192.0.2.1]` is allowed"),
    sg("Allow_Trailing_Whitespace_In_Commands", Bool, Is("false"), "blanks behind a command are ignored"),
    sg("Require_EHLO", Bool, Is("false"), "mail only after EHLO or HELO"),
    sg("Domain_For_Unqualified_Recipient_Addresses", Text(HostName), Unset, "appended to recipients without a domain"),
    sg("Domain_For_Unqualified_Sender_Address", Text(HostName), Unset, "appended to senders without a domain"),
    s("Pathway", Text(Any), Unset, "name of a set of listener options").accepted(),
    s("Reconfig_Message", Text(Any), Is("4.3.2 Reconfiguration in progress"), "text behind 421 when the configuration has changed under a session").at(Chain::L, &[Scope::EsmtpListener]),
];

const ALL_LEVELS: &[Scope] = &[Scope::ControlListener, Scope::Listen, Scope::Peer];

const fn c(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::L, ALL_LEVELS).of(&[Service::Control])
}

#[rustfmt::skip]
pub(super) const CONTROL: &[Row] = &[
    c("Timeout", Int, Is("60"), "idle consoles are closed").at(Chain::L, &[Scope::ControlListener]).seconds().min(1),
    c("Enable_Authentication", Bool, Is("false"), "consoles must log in; on TCP also when parameters are given and this is not written"),
    c("Enable_Authorization", Bool, Is("false"), "commands need a role that allows them").stored(),
    c("AuthDigestMD5Parameters", Dict(Keys::Authentication), Unset, "where DIGEST-MD5 finds its users"),
    c("AuthCramMD5Parameters", Dict(Keys::Authentication), Unset, "where CRAM-MD5 finds its users").stored(),
    c("AuthLoginParameters", Dict(Keys::Authentication), Unset, "where LOGIN finds its users; passwords cross the network in clear").stored(),
    c("AuthorizationParameters", Dict(Keys::Authorization), Unset, "where the groups of users are found").stored(),
    c("Always_Allow", Bool, Is("false"), "authentication always succeeds"),
    c("Always_Deny", Bool, Is("false"), "authentication always fails; wins over `Always_Allow`"),
];

const fn other(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::L, LISTENERS)
}

#[rustfmt::skip]
pub(super) const ECCLUSTER: &[Row] = &[
    other("TLS", Words(&["no", "required"]), Is("no"), "connections between nodes use TLS; needs `Cluster_Key`").at(Chain::L, &[Scope::EcclusterListener, Scope::Listen]).of(&[Service::Eccluster]),
    other("ECStream_Idle_Time", Int, Is("300"), "silence after which the client is dropped").seconds().of(&[Service::Ecstream]).stored(),
    other("ECStream_Max_Batch_Size", Int, Is("10000"), "messages in a batch").of(&[Service::Ecstream]).stored(),
    other("ECStream_Timeout", Int, Unset, "network timeout").seconds().of(&[Service::Ecstream]).stored(),
    other("ECStream_Port", Int, Is("1825"), "port of the service").range(Range::Whole(1, 65535)).of(&[Service::Ecstream]).stored(),
];

const ADAPTER: &[Service] = &[Service::Policy, Service::Milter, Service::Api];
const IN_ADAPTER: &[Scope] = &[
    Scope::PolicyListener,
    Scope::MilterListener,
    Scope::ApiListener,
    Scope::MetricsListener,
    Scope::Listen,
    Scope::Peer,
];

const fn a(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::L, IN_ADAPTER).of(ADAPTER).stored()
}

/// In force: only `Metrics_Listener` has them so far.
const fn m(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::L, IN_ADAPTER).of(&[Service::Metrics])
}

#[rustfmt::skip]
pub(super) const ADAPTERS: &[Row] = &[
    a("Timeout", Int, Is("300"), "idle connections are closed").seconds().min(1),
    m("Timeout", Int, Is("300"), "idle connections are closed").seconds().min(1),
    a("Max_Connections", Int, Is("1000"), "further connections are closed at once").min(1),
    m("Max_Connections", Int, Is("1000"), "further connections are closed at once").min(1),
    a("On_Error", Words(&["dunno", "defer", "close"]), Is("dunno"), "answer when the policy itself fails").of(&[Service::Policy]),
    a("On_Error", Words(&["accept", "tempfail"]), Is("accept"), "answer when the policy itself fails").of(&[Service::Milter]),
    a("Policy_Count_Connects", Bool, From("the global value"), "requests that begin at RCPT count one connection for each message").of(&[Service::Policy]),
    a("Allow_Users", Text(Any), From("`root` and the `Security` user"), "who may use a Unix socket").list().of(&[Service::Api]),
    a("Token_File", Text(Check::Path), Unset, "bearer tokens, a line `name:sha256hex:scopes` each; readable by its owner only").of(&[Service::Api]),
    a("TLS_Certificate", Text(Any), Unset, "certificate file").of(&[Service::Api]),
    a("TLS_Key", Text(Any), Unset, "key file of the certificate").of(&[Service::Api]),
    a("TLS_Client_CA", Text(Any), Unset, "file of the authorities that client certificates are checked with").of(&[Service::Api]),
    m("TLS_Certificate", Text(Any), Unset, "certificate file; the figures are then served over TLS only. Of the `Listen`, not of its `Peer`s"),
    m("TLS_Key", Text(Any), Unset, "key file of the certificate"),
    m("TLS_Client_CA", Text(Any), Unset, "file of the authorities, one of which must have signed the certificate of each client"),
];
