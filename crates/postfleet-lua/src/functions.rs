//! Every function that scripts may call beside the language itself: its arguments, its phases, and what it touches.

use postfleet_policy::{Change, Context, Event, Kind, Level, Phase, Phases};

/// How a function touches an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Makes it.
    Creates,
    /// Reads what this node knows alone.
    ReadsOwn,
    /// Reads the sum of all nodes, or this node's share where nothing is replicated.
    ReadsAll,
    /// Writes this node's share.
    WritesOwn,
    /// Writes for all nodes.
    WritesAll,
    /// Reads and writes.
    Both,
}

impl Access {
    /// As the documentation and `policy test` show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creates => "creates",
            Self::ReadsOwn => "reads own",
            Self::ReadsAll => "reads global",
            Self::WritesOwn => "writes own",
            Self::WritesAll => "writes all",
            Self::Both => "reads and writes",
        }
    }
}

/// An object that a function touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The object.
    pub object: &'static str,
    /// How.
    pub access: Access,
}

/// A function or method.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// `msys.audit.connections`, or `vctx:get` for a method.
    pub name: &'static str,
    /// Its arguments as the documentation writes them.
    pub arguments: &'static str,
    /// What it gives.
    pub result: &'static str,
    /// Where it may be called.
    pub phases: Phases,
    /// Whether `init` and `deinit` may call it, too.
    pub at_init: bool,
    /// What it touches.
    pub uses: &'static [Use],
    pub(crate) op: Op,
}

impl Function {
    /// What has to be required; nothing for what is always there.
    #[must_use]
    pub fn package(&self) -> Option<&'static str> {
        match self.name.rsplit_once('.') {
            Some(("msys", _)) => None,
            Some((package, _)) if package.starts_with("msys.") => Some(package),
            _ => match self.op {
                Op::RecipientList | Op::EditRecipients(_) | Op::Tarpit => Some("msys.extended.vctx"),
                Op::Envelope(_) | Op::Peer(_) | Op::Code | Op::Discard | Op::Binding | Op::BindingGroup => {
                    Some("msys.extended.message")
                }
                Op::SessionCountOf => Some("msys.extended.ac"),
                _ => None,
            },
        }
    }

    /// Whether console commands and timers may call it: what is no method of a session.
    #[must_use]
    pub fn needs_no_session(&self) -> bool {
        // A script of another language is one of a phase.
        let of_session = self.name.contains(':') || self.op == Op::Sieve || self.phases.shown().is_empty();
        self.at_init || !of_session
    }

    /// Whether a callout of this phase, or one without a session, may call it.
    #[must_use]
    pub fn is_permitted(&self, phase: Option<Phase>) -> bool {
        phase.map_or(self.at_init, |phase| self.phases.contain(phase))
    }
}

/// Which end of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Listener,
}

/// What a query is to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetch {
    All,
    First,
    Execute,
}

/// When a timer calls its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    After,
    At,
    Every,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyed {
    Get,
    Set,
    Exists,
    ExistsAndGet,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Events(Event),
    SessionCount,
    SessionCountOf,
    SeriesDefine,
    SeriesAdd,
    SeriesCount,
    SeriesRemove,
    GaugeDefine,
    GaugeChange(Change),
    GaugeGet,
    GaugeRemove,
    CacheGet,
    CacheSet,
    CacheDelete,
    ThrottleCreate(Kind),
    ThrottleChange(Kind, Change),
    ThrottleCheck(Kind),
    ThrottleTarpit(Kind),
    SetCode {
        closes: bool,
    },
    Tarpit,
    Vctx(Keyed),
    RecipientList,
    EditRecipients(postfleet_policy::Edit),
    Message(Keyed),
    Envelope(postfleet_policy::Path),
    Peer(End),
    Code,
    Discard,
    Binding,
    BindingGroup,
    ExpandMacro,
    Now,
    Sleep,
    AsyncOk,
    Print,
    Log,
    Query(Fetch),
    Sieve,
    RegisterModule,
    RegisterControl,
    Timer(Begin),
    TimerStart,
    TimerStop,
    /// Answered without the host.
    TimerName,
    Require,
    Time,
    Date,
}

const fn row(
    name: &'static str,
    op: Op,
    arguments: &'static str,
    result: &'static str,
    phases: Phases,
    at_init: bool,
    uses: &'static [Use],
) -> Function {
    Function { name, arguments, result, phases, at_init, uses, op }
}

const fn timer(name: &'static str, begin: Begin, arguments: &'static str) -> Function {
    row(name, Op::Timer(begin), arguments, "timer", Phases::of(&[]), true, &[])
}

const fn used(object: &'static str, access: Access) -> Use {
    Use { object, access }
}

const ANY: Phases = Phases::ANY;
const REPLY: Phases = Phases::of(&[Phase::Data, Phase::Spool, Phase::EachRcpt]);
const LIST: Phases = Phases::MESSAGE;
const RECIPIENTS: Phases = Phases::RECIPIENT_TO_COPY;
const REMOVABLE: Phases =
    Phases::of(&[Phase::Mailfrom, Phase::Rcptto, Phase::Data, Phase::Spool, Phase::EachRcpt]);
const ENVELOPE: Phases =
    Phases::of(&[Phase::Rcptto, Phase::Data, Phase::Spool, Phase::EachRcpt, Phase::SetBinding]);

const fn events(name: &'static str, event: Event, uses: &'static [Use]) -> Function {
    row(name, Op::Events(event), "monitor [, options]", "number", ANY, false, uses)
}

const REJECTION: &[Use] = &[used("metrics/rejection", Access::WritesOwn)];
const SERIES: &str = "metrics/audit_series or eccmgr_metrics/audit_series";
const GAUGE: &str = "metrics/gauge_cache";
const CACHE: &str = "cache";
const LOCAL: &str = "local named throttles";
const SHARED: &str = "shared_named_throttles";
const SOURCE: &[Use] = &[used("Datasource cache, and cache if replicated", Access::Both)];
const CONTEXTS: &[Use] = &[used("contexts", Access::Both)];
const BINDINGS: &[Use] = &[used("binding of the copy", Access::Both)];
const OPEN: &[Use] = &[used("local service tree", Access::ReadsOwn), used("inbound_cidr", Access::ReadsAll)];

/// All of them, in the order of the documentation.
pub const FUNCTIONS: &[Function] = &[
    events(
        "msys.audit.connections",
        Event::Connection,
        &[used("monitors, connect", Access::ReadsOwn), used("metrics/connect", Access::ReadsAll)],
    ),
    events(
        "msys.audit.receptions",
        Event::Reception,
        &[used("monitors, reception", Access::ReadsOwn), used("metrics/reception", Access::ReadsAll)],
    ),
    events(
        "msys.audit.rejections",
        Event::Rejection,
        &[used("monitors, rejection", Access::ReadsOwn), used("metrics/rejection", Access::ReadsAll)],
    ),
    row("msys.audit.inbound_session_count", Op::SessionCount, "cidr, service", "number", ANY, true, OPEN),
    row("ac:inbound_session_count", Op::SessionCountOf, "[cidr [, service]]", "number", ANY, false, OPEN),
    row(
        "msys.audit_series.define",
        Op::SeriesDefine,
        "name, type, interval, windows [, options]",
        "nothing",
        ANY,
        true,
        &[used("named series", Access::Creates)],
    ),
    row(
        "msys.audit_series.add",
        Op::SeriesAdd,
        "name [, options]",
        "nothing",
        ANY,
        true,
        &[used(SERIES, Access::WritesOwn)],
    ),
    row(
        "msys.audit_series.count",
        Op::SeriesCount,
        "name [, options]",
        "number",
        ANY,
        true,
        &[used(SERIES, Access::ReadsAll)],
    ),
    row(
        "msys.audit_series.remove_item",
        Op::SeriesRemove,
        "name [, key]",
        "nothing",
        ANY,
        true,
        &[used(SERIES, Access::WritesAll)],
    ),
    row(
        "msys.gauge_cache.define",
        Op::GaugeDefine,
        "name, elements, ttl [, replicated]",
        "nothing",
        ANY,
        true,
        &[used(GAUGE, Access::Creates)],
    ),
    row(
        "msys.gauge_cache.inc",
        Op::GaugeChange(Change::Increment),
        "name, key",
        "number",
        ANY,
        true,
        &[used(GAUGE, Access::WritesOwn)],
    ),
    row(
        "msys.gauge_cache.dec",
        Op::GaugeChange(Change::Decrement),
        "name, key",
        "number",
        ANY,
        true,
        &[used(GAUGE, Access::WritesOwn)],
    ),
    row(
        "msys.gauge_cache.get",
        Op::GaugeGet,
        "name, key",
        "number",
        ANY,
        true,
        &[used(GAUGE, Access::ReadsAll)],
    ),
    row(
        "msys.gauge_cache.remove_item",
        Op::GaugeRemove,
        "name, key",
        "nothing",
        ANY,
        true,
        &[used(GAUGE, Access::WritesAll)],
    ),
    row(
        "msys.cluster_cache.get",
        Op::CacheGet,
        "name, key",
        "string or nil",
        Phases::INBOUND,
        false,
        &[used(CACHE, Access::ReadsAll)],
    ),
    row(
        "msys.cluster_cache.set",
        Op::CacheSet,
        "name, key, value [, ttl]",
        "nothing",
        Phases::INBOUND,
        false,
        &[used(CACHE, Access::WritesAll)],
    ),
    row(
        "msys.cluster_cache.delete",
        Op::CacheDelete,
        "name, key",
        "nothing",
        Phases::INBOUND,
        false,
        &[used(CACHE, Access::WritesAll)],
    ),
    row(
        "msys.throttle.create",
        Op::ThrottleCreate(Kind::Local),
        "name, rate",
        "nothing",
        ANY,
        true,
        &[used(LOCAL, Access::Creates)],
    ),
    row(
        "msys.throttle.inc",
        Op::ThrottleChange(Kind::Local, Change::Increment),
        "name",
        "nothing",
        ANY,
        true,
        &[used(LOCAL, Access::WritesOwn)],
    ),
    row(
        "msys.throttle.dec",
        Op::ThrottleChange(Kind::Local, Change::Decrement),
        "name",
        "nothing",
        ANY,
        true,
        &[used(LOCAL, Access::WritesOwn)],
    ),
    row(
        "msys.throttle.check",
        Op::ThrottleCheck(Kind::Local),
        "name",
        "boolean",
        ANY,
        true,
        &[used(LOCAL, Access::ReadsOwn)],
    ),
    row(
        "msys.throttle.tarpit",
        Op::ThrottleTarpit(Kind::Local),
        "name",
        "seconds",
        ANY,
        false,
        &[used(LOCAL, Access::Both)],
    ),
    row(
        "msys.shared_throttle.create",
        Op::ThrottleCreate(Kind::Shared),
        "name, rate [, epsilon]",
        "nothing",
        ANY,
        true,
        &[used(SHARED, Access::Creates)],
    ),
    row(
        "msys.shared_throttle.inc",
        Op::ThrottleChange(Kind::Shared, Change::Increment),
        "name",
        "nothing",
        ANY,
        true,
        &[used(SHARED, Access::WritesAll)],
    ),
    row(
        "msys.shared_throttle.check",
        Op::ThrottleCheck(Kind::Shared),
        "name",
        "boolean",
        ANY,
        true,
        &[used(SHARED, Access::ReadsAll)],
    ),
    row(
        "msys.shared_throttle.tarpit",
        Op::ThrottleTarpit(Kind::Shared),
        "name",
        "seconds",
        ANY,
        false,
        &[used(SHARED, Access::Both)],
    ),
    row(
        "msys.db.query",
        Op::Query(Fetch::All),
        "cache, query [, params [, options]]",
        "iterator",
        ANY,
        true,
        SOURCE,
    ),
    row(
        "msys.db.fetch_row",
        Op::Query(Fetch::First),
        "cache, query [, params [, options]]",
        "row or nil",
        ANY,
        true,
        SOURCE,
    ),
    row(
        "msys.db.execute",
        Op::Query(Fetch::Execute),
        "cache, query [, params [, options]]",
        "true",
        ANY,
        true,
        SOURCE,
    ),
    row(
        "vctx:set_code",
        Op::SetCode { closes: false },
        "code, text",
        "nothing",
        Phases::INBOUND,
        false,
        REJECTION,
    ),
    row(
        "vctx:disconnect",
        Op::SetCode { closes: true },
        "code, text",
        "nothing",
        Phases::INBOUND,
        false,
        REJECTION,
    ),
    row("vctx:tarpit", Op::Tarpit, "seconds", "nothing", Phases::INBOUND, false, &[]),
    row("vctx:get", Op::Vctx(Keyed::Get), "type, key", "string or nil", ANY, false, CONTEXTS),
    row("vctx:set", Op::Vctx(Keyed::Set), "type, key, value", "nothing", ANY, false, CONTEXTS),
    row("vctx:recipient_list", Op::RecipientList, "[addresses]", "table", LIST, false, &[]),
    row(
        "vctx:add_recipient",
        Op::EditRecipients(postfleet_policy::Edit::Add),
        "addresses",
        "nothing",
        RECIPIENTS,
        false,
        &[],
    ),
    row(
        "vctx:remove_recipient",
        Op::EditRecipients(postfleet_policy::Edit::Remove),
        "addresses",
        "nothing",
        REMOVABLE,
        false,
        &[],
    ),
    row("msg:context_get", Op::Message(Keyed::Get), "type, key", "string", LIST, false, CONTEXTS),
    row("msg:context_set", Op::Message(Keyed::Set), "type, key, value", "nothing", LIST, false, CONTEXTS),
    row("msg:context_exists", Op::Message(Keyed::Exists), "type, key", "1 or 0", LIST, false, CONTEXTS),
    row(
        "msg:context_exists_and_get",
        Op::Message(Keyed::ExistsAndGet),
        "type, key",
        "1 and string, or 0 and nil",
        LIST,
        false,
        CONTEXTS,
    ),
    row("msg:context_delete", Op::Message(Keyed::Delete), "type, key", "1 or 0", LIST, false, CONTEXTS),
    row(
        "msg:mailfrom",
        Op::Envelope(postfleet_policy::Path::From),
        "[address]",
        "string",
        ENVELOPE,
        false,
        &[],
    ),
    row("msg:rcptto", Op::Envelope(postfleet_policy::Path::To), "[address]", "string", ENVELOPE, false, &[]),
    row(
        "msg:reception_peer",
        Op::Peer(End::Client),
        "[\"ip\", \"port\" or \"all\"]",
        "string",
        LIST,
        false,
        &[],
    ),
    row(
        "msg:listener_addr",
        Op::Peer(End::Listener),
        "[\"ip\", \"port\" or \"all\"]",
        "string",
        LIST,
        false,
        &[],
    ),
    row("msg:code", Op::Code, "[number, text]", "number and string", REPLY, false, REJECTION),
    row("msg:discard", Op::Discard, "[reason]", "nothing", REPLY, false, REJECTION),
    row("msg:binding", Op::Binding, "[name]", "string or nil", Phases::BINDING, false, BINDINGS),
    row("msg:binding_group", Op::BindingGroup, "[name]", "string or nil", Phases::BINDING, false, BINDINGS),
    row("msys.expandMacro", Op::ExpandMacro, "text", "string", ANY, false, CONTEXTS),
    row("msys.core.get_now_ts", Op::Now, "", "number", ANY, true, &[]),
    row("msys.sleep", Op::Sleep, "seconds", "nothing", ANY, false, &[]),
    row("msys.asyncOk", Op::AsyncOk, "", "boolean", ANY, true, &[]),
    row("msys.log", Op::Log, "level, text", "nothing", ANY, true, &[]),
    row("print", Op::Print, "…", "nothing", ANY, true, &[]),
    row("os.time", Op::Time, "[table]", "number", ANY, true, &[]),
    row("os.date", Op::Date, "[format [, time]]", "string or table", ANY, true, &[]),
    row("msys.registerModule", Op::RegisterModule, "name, table", "nothing", Phases::of(&[]), false, &[]),
    row("require", Op::Require, "module", "the module", Phases::of(&[]), false, &[]),
    row(
        "msys.registerControl",
        Op::RegisterControl,
        "word, function",
        "nothing",
        Phases::of(&[]),
        false,
        &[],
    ),
    timer("msys.timer.after", Begin::After, "seconds, function [, name]"),
    timer("msys.timer.at", Begin::At, "time, function [, name]"),
    timer("msys.timer.every", Begin::Every, "seconds, function [, name]"),
    row("timer:start", Op::TimerStart, "", "nothing", ANY, true, &[]),
    row("timer:stop", Op::TimerStop, "", "nothing", ANY, true, &[]),
    row("timer:name", Op::TimerName, "", "string or nil", ANY, true, &[]),
    row(
        "msys.runSieveScript",
        Op::Sieve,
        "file [, phase [, caps]]",
        "true, or false and what is wrong",
        ANY,
        false,
        &[],
    ),
];

/// Modules that `require` knows beside the packages of the functions.
pub(crate) const PACKAGES: &[&str] = &[
    "msys",
    "msys.core",
    "msys.datasource",
    "msys.extended",
    "msys.validate",
    "string",
    "table",
    "math",
    "os",
    "coroutine",
    "bit",
];

/// Of the levels of `msys.log`.
pub(crate) fn level(name: &str) -> Option<Level> {
    Level::ALL.into_iter().find(|level| level.name() == name)
}

/// Names of the constants for both contexts.
pub(crate) const CONSTANTS: &[(&str, i64)] = &[
    ("VALIDATE_CONT", CONT),
    ("VALIDATE_DONE", DONE),
    ("VALIDATE_AGAIN", AGAIN),
    ("VCTX_CONN", CONNECTION),
    ("VCTX_MESS", MESSAGE),
    ("ECMESS_CTX_CONN", CONNECTION),
    ("ECMESS_CTX_MESS", MESSAGE),
];

pub(crate) const CONT: i64 = 0;
pub(crate) const DONE: i64 = 1;
pub(crate) const AGAIN: i64 = 2;
const CONNECTION: i64 = 1;
const MESSAGE: i64 = 2;

/// The context of a constant.
pub(crate) fn context(constant: i64) -> Option<Context> {
    match constant {
        CONNECTION => Some(Context::Connection),
        MESSAGE => Some(Context::Message),
        _ => None,
    }
}
