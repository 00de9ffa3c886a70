//! Audit, data sources, scripts and the rules that need none.

use super::{Chain, Check, Default, Kind, Range, Row, Scope, Unit};
use Check::{Action, Any, Monitor, Path};
use Default::{From, Is, List, Unset};
use Kind::{Bool, Cidr, Int, Text, Throttle, Words};

const LEVELS: &[&str] = &["DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"];

/// Every module but `cluster`, whose switch is in force.
const MODULES: &[Scope] = &[
    Scope::MsgcServer,
    Scope::MsgcClient,
    Scope::DsCore,
    Scope::EcLogger,
    Scope::BounceLogger,
    Scope::CustomLogger,
    Scope::AsLogger,
];

const LEVELLED: &[Scope] = &[
    Scope::Cluster,
    Scope::MsgcServer,
    Scope::MsgcClient,
    Scope::InboundAudit,
    Scope::DsCore,
    Scope::EcLogger,
    Scope::BounceLogger,
    Scope::CustomLogger,
    Scope::AsLogger,
    Scope::Sieve,
    Scope::Scriptlet,
    Scope::Script,
];

#[rustfmt::skip]
pub(super) const COMMON: &[Row] = &[
    Row::new("enabled", Bool, Is("true"), "false: loaded, and its hooks do not run").at(Chain::M, &[Scope::Cluster]).fixed(),
    Row::new("enabled", Bool, Is("true"), "false: no series by client are kept").at(Chain::M, &[Scope::InboundAudit]),
    Row::new("enabled", Bool, Is("true"), "false: loaded, and its hooks do not run").at(Chain::M, &[Scope::Sieve, Scope::Scriptlet]),
    Row::new("enabled", Bool, Is("true"), "false: the script is not loaded").at(Chain::M, &[Scope::Script]),
    Row::new("enabled", Bool, Is("true"), "false: loaded, and its hooks do not run").at(Chain::M, MODULES).stored(),
    Row::new("debug_level", Words(LEVELS), Is("ERROR"), "least level of the module's messages that are written").at(Chain::M, LEVELLED).stored(),
];

const fn audit(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::M, &[Scope::InboundAudit])
}

#[rustfmt::skip]
pub(super) const AUDIT: &[Row] = &[
    audit("monitors", Text(Monitor), Unset, "series of connections, receptions and rejections by client address: `\"W,N\"` keeps N windows of W seconds each").list(),
    audit("maintenance_interval", Int, Is("300"), "how often series are cleaned").seconds().min(1),
    audit("log_dir", Text(Path), Is("/var/log/ecelerity/audit_series_logs"), "directory for series that are written to files"),
    audit("serialize_dir", Text(Path), Is("/var/log/ecelerity/audit_series_persist"), "directory that keeps series across a restart"),
];

const fn source(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::M, &[Scope::Datasource])
}

#[rustfmt::skip]
pub(super) const DATASOURCE: &[Row] = &[
    source("uri", Text(Any), Unset, "where the data is: `DRIVER:REST`, the rest for the driver as it stands; several are used in turn, those that fail are passed over; required").list(),
    source("cache_life", Int, Is("3600"), "how long an answer is kept").seconds().min(0),
    source("cache_size", Int, Is("1000"), "answers kept; the oldest go first").unit(Unit::Entries).min(1),
    source("max_rows", Int, Is("100"), "rows read for one query; -1: all").range(Range::WholeOr(-1, 1, i64::MAX)),
    source("no_cache", Bool, Is("false"), "nothing is kept"),
    source("pool", Text(Any), Is("IO"), "thread pool that queries run in; it must exist"),
    source("serialized", Bool, Is("true"), "answers are shared by the cluster when a `Replicate` object has the name of the data source"),
    source("assume_charset", Text(Any), Is("ISO-8859-1"), "character set of answers whose driver does not say"),
];

const fn sieve(name: &'static str) -> Row {
    Row::new(
        name,
        Text(Any),
        Unset,
        "script that runs in this phase; the second runs when the first ended without a verdict. A relative path starts \
         in the directory of the main file",
    )
    .at(Chain::M, &[Scope::Sieve])
}

const FAILURE: &[&str] = &["continue", "fail"];

#[rustfmt::skip]
pub(super) const SCRIPTS: &[Row] = &[
    Row::new("runtime_error", Words(FAILURE), Is("fail"), "a script that fails refuses the command with 451, or goes on").at(Chain::M, &[Scope::Sieve]),
    sieve("accept_phase1"), sieve("accept_phase2"),
    sieve("connect_phase1"), sieve("connect_phase2"),
    sieve("ehlo_phase1"), sieve("ehlo_phase2"),
    sieve("mailfrom_phase1"), sieve("mailfrom_phase2"),
    sieve("rcptto_phase1"), sieve("rcptto_phase2"),
    sieve("data_phase1"), sieve("data_phase2"),
    sieve("spool_phase1"), sieve("spool_phase2"),
    sieve("each_rcpt_phase1"), sieve("each_rcpt_phase2"),
    sieve("set_binding_phase1"), sieve("set_binding_phase2"),
    Row::new("runtime_error", Words(FAILURE), From("`Policy_Failure`"), "a script that fails refuses the command with 451, or goes on").at(Chain::M, &[Scope::Scriptlet]),
    Row::new("script_ttl", Int, Is("300"), "after how long it is looked whether the file of a script, or of a module that it requires, is another one; then all scripts of the stanza are loaded anew. The shortest time of a stanza holds. 0: only at a reload and at `flush cache`").at(Chain::M, &[Scope::Scriptlet, Scope::Script]).seconds().min(0),
    Row::new("source", Text(Any), Unset, "the script, with `.` or `/` between directories and without `.lua`, from the directory of the main file or `lua` below it; or an absolute path").at(Chain::M, &[Scope::Script]),
];

const fn rule(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::M, &[Scope::PolicyRule])
}

#[rustfmt::skip]
pub(super) const RULES: &[Row] = &[
    rule("phase", Words(&["connect", "ehlo", "mailfrom", "rcptto", "final"]), Is("connect"), "when the rule is tried"),
    rule("key", Text(Check::Macros), Unset, "what is counted, with macros such as `%{client_addr}`; required"),
    rule("object", Text(Any), Is("inbound_cidr"), "replicated object or audit series that `limit` is compared with"),
    rule("limit", Int, Unset, "the rule fires above it; either this or `rate`").min(0),
    rule("rate", Throttle, Unset, "the rule fires when no unit is free; either this or `limit`"),
    rule("action", Text(Action), Unset, "`CODE TEXT` with a code 400 to 599, `tarpit SECONDS`, or `discard`; required"),
    rule("exempt", Cidr, List(&[]), "clients that the rule does not see").list(),
    rule("shadow", Bool, Is("false"), "the rule counts, logs and shows, and lets pass"),
    rule("enabled", Bool, Is("true"), "false: the rule is not tried"),
];
