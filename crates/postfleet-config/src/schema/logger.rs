//! Loggers, and the manager's side of logging.

use super::{Chain, Check, Default, Kind, Row, Scope};
use Check::{Any, Destination, LogTemplate, Path};
use Default::{From, Is, List, Unset};
use Kind::{Bool, Int, Perms, Text, Words};

const EC: &[Scope] = &[Scope::EcLogger];
const BOUNCE: &[Scope] = &[Scope::BounceLogger];
const CUSTOM: &[Scope] = &[Scope::CustomLogger];

const fn log(scopes: &'static [Scope], name: &'static str, default: Default, effect: &'static str) -> Row {
    Row::new(name, Text(Destination), default, effect).at(Chain::M, scopes)
}

const fn mode(scopes: &'static [Scope], name: &'static str) -> Row {
    Row::new(name, Perms, Is("0644"), "mode of the file").at(Chain::M, scopes)
}

const fn switch(scopes: &'static [Scope], name: &'static str, default: Default, effect: &'static str) -> Row {
    Row::new(name, Bool, default, effect).at(Chain::M, scopes)
}

const fn format(name: &'static str) -> Row {
    Row::new(name, Text(Any), Unset, "what a line of this stage holds; setting it switches the stage on")
        .at(Chain::M, CUSTOM)
}

#[rustfmt::skip]
pub(super) const LOGGERS: &[Row] = &[
    log(EC, "mainlog", Is("/var/log/ecelerity/mainlog.ec"), "receptions, deliveries, failures, transfers; `\"\"`: none"),
    log(EC, "rejectlog", Is("/var/log/ecelerity/rejectlog.ec"), "rejections; `\"\"`: none"),
    log(EC, "paniclog", Is("/var/log/ecelerity/paniclog.ec"), "events of the system; `\"\"`: none"),
    log(EC, "acctlog", Is("/var/log/ecelerity/acctlog.ec"), "authentication and authorization; `\"\"`: none"),
    log(EC, "importlog", Unset, "imports into the spool").stored(),
    mode(EC, "mainlog_mode"),
    mode(EC, "rejectlog_mode"),
    mode(EC, "paniclog_mode"),
    mode(EC, "acctlog_log_mode"),
    mode(EC, "importlog_mode").stored(),
    Row::new("heartbeat", Int, Is("60"), "pause between heartbeat lines; 0: none").at(Chain::M, &[Scope::EcLogger, Scope::BounceLogger]).seconds().min(0),
    Row::new("record_format", Words(&["ec", "json"]), Is("ec"), "form of the lines: fields between `@`, or one JSON object a line").at(Chain::M, &[Scope::EcLogger, Scope::BounceLogger]),
    switch(EC, "log_receptions", Is("true"), "receptions are logged"),
    switch(EC, "log_deliveries", Is("true"), "deliveries and transfers are logged"),
    switch(EC, "log_transient_failures", Is("true"), "transient failures are logged"),
    switch(EC, "log_permanent_failures", Is("true"), "permanent failures are logged"),
    switch(EC, "log_rejections", Is("true"), "rejections are logged"),
    switch(EC, "log_errors", Is("true"), "events of the system are logged"),
    log(BOUNCE, "bouncelog", Is("/var/log/ecelerity/bouncelog.ec"), "bounces; `\"\"`: none"),
    mode(BOUNCE, "bouncelog_mode"),
    switch(BOUNCE, "log_inband_bounces", Is("on"), "failures during delivery are logged"),
    switch(BOUNCE, "log_outofband_bounces", Is("on"), "bounces that come back later are logged").stored(),
    switch(BOUNCE, "log_transient_failures", Is("on"), "transient failures are logged"),
    log(CUSTOM, "reception_logfile", From("`mainlog`"), "destination of receptions"),
    format("reception_format"),
    mode(CUSTOM, "reception_log_mode"),
    log(CUSTOM, "delivery_logfile", From("`mainlog`"), "destination of deliveries"),
    format("delivery_format"),
    mode(CUSTOM, "delivery_log_mode"),
    log(CUSTOM, "transient_failure_logfile", From("`mainlog`"), "destination of transient failures"),
    format("transient_failure_format"),
    mode(CUSTOM, "transient_failure_log_mode"),
    log(CUSTOM, "permanent_failure_logfile", From("`mainlog`"), "destination of permanent failures"),
    format("permanent_failure_format"),
    mode(CUSTOM, "permanent_failure_log_mode"),
    log(CUSTOM, "rejection_logfile", From("`mainlog`"), "destination of rejections"),
    format("rejection_format"),
    mode(CUSTOM, "rejection_log_mode"),
    log(CUSTOM, "xfer_logfile", From("`mainlog`"), "destination of transfers to other nodes"),
    format("xfer_format"),
    mode(CUSTOM, "xfer_log_mode"),
    switch(CUSTOM, "log_receptions", From("on with a format"), "the stage is logged; what is written here wins over what a format implies"),
    switch(CUSTOM, "log_deliveries", From("on with a format"), "the stage is logged; what is written here wins over what a format implies"),
    switch(CUSTOM, "log_transient_failures", From("on with a format"), "the stage is logged; what is written here wins over what a format implies"),
    switch(CUSTOM, "log_permanent_failures", From("on with a format"), "the stage is logged; what is written here wins over what a format implies"),
    switch(CUSTOM, "log_rejections", From("on with a format"), "the stage is logged; what is written here wins over what a format implies"),
    switch(CUSTOM, "log_errors", Is("off"), "errors are logged to `paniclog`"),
    log(CUSTOM, "mainlog", Unset, "destination of all stages without their own"),
    mode(CUSTOM, "mainlog_mode"),
    log(CUSTOM, "paniclog", Unset, "destination of errors"),
    mode(CUSTOM, "paniclog_mode"),
    Row::new("namespace", Text(Any), Is("custom_logger,sieve"), "namespaces in which macros are looked for, in order, with commas between").at(Chain::M, CUSTOM),
    Row::new("sanitize", Text(Any), Unset, "which bytes of replies and header fields are replaced, and by what").at(Chain::M, CUSTOM),
    Row::new("thread_pool", Text(Any), Unset, "thread pool that writes; unset: one of its own").at(Chain::M, CUSTOM).fixed().stored(),
    Row::new("concurrency", Int, Is("1"), "threads of the logger's own pool").at(Chain::M, CUSTOM).min(1).stored(),
];

const fn logs(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::M, &[Scope::Logs]).stored()
}

const SUBSCRIBERS: &[Scope] = &[Scope::Logs, Scope::Manager, Scope::Node];

const fn aggregate(name: &'static str, kind: Kind, default: Default, effect: &'static str) -> Row {
    Row::new(name, kind, default, effect).at(Chain::M, &[Scope::AsLogger])
}

#[rustfmt::skip]
pub(super) const MANAGER: &[Row] = &[
    logs("logfile", Text(LogTemplate), Unset, "where lines of the nodes are written: conversions of strftime, `%{l}` log, `%{n}` node, `%{s}` subcluster; unset: logs are not gathered"),
    logs("file_mode", Perms, Is("0640"), "mode of new files"),
    logs("dir_mode", Perms, Is("0755"), "mode of new directories"),
    logs("max_open", Int, Is("256"), "files open at a time; the one written to longest ago is closed first").min(1),
    logs("max_idle", Int, Is("60"), "silence after which a file is closed").seconds().min(1),
    logs("control_cache", Text(Path), Unset, "file that keeps answers to commands given to the whole cluster; unset: they are kept in memory"),
    Row::new("Subscriber", Text(Check::Label), From("`( \"NAME OF THE MANAGER\" \"master\" )`"), "names under which logs are pulled, tried in order; `()`: none are; the narrowest stanza counts").at(Chain::M, SUBSCRIBERS).list().stored(),
    aggregate("base_dir", Text(Path), Is("/var/log/eccluster/aslogger"), "directory of the files"),
    aggregate("log_interval", Int, Is("60"), "how often series are written").seconds().min(1),
    aggregate("series_include_default", Words(&["all", "none"]), Is("none"), "whether series that no list names are written"),
    aggregate("series_include", Kind::Regex, List(&[]), "series written although the default is `none`").list(),
    aggregate("series_exclude", Kind::Regex, List(&[]), "series left out although the default is `all`").list(),
];
