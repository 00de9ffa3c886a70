//! Every function and test: its name, arguments and the phases in which it may be used. The compiler knows no other.

use alloc::format;
use alloc::string::String;

use crate::number::Operator;
use postfleet_policy::Phases;
use postfleet_policy::{Change, Context, Event, Events, Kind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Events(Events),
    Series,
    SeriesAdd,
    Service,
    AllListeners,
    ThisListener,
    Throttle(Kind, ThrottleCall),
    GaugeInit,
    GaugeChange(Change),
    Gauge,
    CacheRead,
    CacheWrite,
    End(Terminal),
    Tarpit,
    Log,
    LogFile,
    SetBinding,
    SetBindingGroup,
    Count,
    Include,
    ErrorMode,
    HashCreate,
    Hash(HashCall),
    ContextRead(Context),
    ContextWrite(Context),
    ContextDelete(Context),
    Arithmetic(Operator),
    Split,
    Join,
    Envelope,
    Query(Fetch),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThrottleCall {
    Create,
    Change(Change),
    Check,
    Tarpit,
}

/// Ends the script and the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    Action,
    Disconnect,
    Keep,
    Stop,
    Discard,
    Reject,
    Redirect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashCall {
    Set,
    Get,
    Keys,
    Values,
    Dump,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetch {
    First,
    FirstNamed,
    Flat,
    Execute,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Compare,
    /// In the message's context, then the connection's; or in one of them.
    Context(Option<Context>),
    IsSet,
    IsTrue,
    Type,
    Header,
    Address,
    Envelope,
    Exists,
    Size,
    ValidIp,
    Literal,
}

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// A string, or what reads as one.
    Text,
    /// A number, or a string that is one.
    Number,
    /// A string or several.
    List,
    /// A variable that holds a hash.
    Hash,
    Any,
}

/// A row of either table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<T> {
    pub(crate) name: &'static str,
    pub(crate) item: T,
    pub(crate) takes: &'static [Takes],
    /// How many of the arguments must be given.
    pub(crate) required: usize,
    pub(crate) phases: Phases,
    pub(crate) has_result: bool,
}

const T: Takes = Takes::Text;
const N: Takes = Takes::Number;
const L: Takes = Takes::List;
const H: Takes = Takes::Hash;
const A: Takes = Takes::Any;

const fn gives(
    name: &'static str,
    item: Function,
    required: usize,
    takes: &'static [Takes],
    phases: Phases,
) -> Row<Function> {
    Row { name, item, takes, required, phases, has_result: true }
}

const fn acts(
    name: &'static str,
    item: Function,
    required: usize,
    takes: &'static [Takes],
    phases: Phases,
) -> Row<Function> {
    Row { name, item, takes, required, phases, has_result: false }
}

const fn test(name: &'static str, item: Test, takes: &'static [Takes], phases: Phases) -> Row<Test> {
    Row { name, item, takes, required: takes.len(), phases, has_result: true }
}

const fn events(name: &'static str, event: Event, cluster: bool) -> Row<Function> {
    gives(name, Function::Events(Events { event, cluster }), 1, &[A, N], Phases::ANY)
}

const fn arithmetic(name: &'static str, operator: Operator) -> Row<Function> {
    gives(name, Function::Arithmetic(operator), 2, &[T, T], Phases::ANY)
}

pub(crate) const FUNCTIONS: &[Row<Function>] = &[
    events("ec_ip_connections", Event::Connection, false),
    events("ec_ip_receptions", Event::Reception, false),
    events("ec_ip_rejections", Event::Rejection, false),
    events("ec_ip_connections_cluster", Event::Connection, true),
    events("ec_ip_receptions_cluster", Event::Reception, true),
    events("ec_ip_rejections_cluster", Event::Rejection, true),
    gives("audit_series", Function::Series, 1, &[A, T, N, N, N], Phases::ANY),
    acts("audit_series_add", Function::SeriesAdd, 1, &[A, T, T], Phases::ANY),
    gives("audit_service", Function::Service, 2, &[T, T], Phases::ANY),
    gives("audit_connections_on_service", Function::AllListeners, 1, &[T], Phases::ANY),
    gives("audit_connections_on_listener", Function::ThisListener, 1, &[T], Phases::ANY),
    acts(
        "ec_throttle_create",
        Function::Throttle(Kind::Local, ThrottleCall::Create),
        2,
        &[T, T],
        Phases::ANY,
    ),
    acts(
        "ec_throttle_inc",
        Function::Throttle(Kind::Local, ThrottleCall::Change(Change::Increment)),
        1,
        &[T],
        Phases::ANY,
    ),
    acts(
        "ec_throttle_dec",
        Function::Throttle(Kind::Local, ThrottleCall::Change(Change::Decrement)),
        1,
        &[T],
        Phases::ANY,
    ),
    gives("ec_throttle_check", Function::Throttle(Kind::Local, ThrottleCall::Check), 1, &[T], Phases::ANY),
    acts("ec_throttle_tarpit", Function::Throttle(Kind::Local, ThrottleCall::Tarpit), 1, &[T], Phases::ANY),
    acts(
        "ec_shared_throttle_create",
        Function::Throttle(Kind::Shared, ThrottleCall::Create),
        2,
        &[T, T, T],
        Phases::ANY,
    ),
    acts(
        "ec_shared_throttle_inc",
        Function::Throttle(Kind::Shared, ThrottleCall::Change(Change::Increment)),
        1,
        &[T],
        Phases::ANY,
    ),
    gives(
        "ec_shared_throttle_check",
        Function::Throttle(Kind::Shared, ThrottleCall::Check),
        1,
        &[T],
        Phases::ANY,
    ),
    acts(
        "ec_shared_throttle_tarpit",
        Function::Throttle(Kind::Shared, ThrottleCall::Tarpit),
        1,
        &[T],
        Phases::ANY,
    ),
    acts("ec_gauge_cache_init", Function::GaugeInit, 3, &[T, N, N, N], Phases::ANY),
    acts("ec_gauge_cache_inc", Function::GaugeChange(Change::Increment), 2, &[T, T], Phases::ANY),
    acts("ec_gauge_cache_dec", Function::GaugeChange(Change::Decrement), 2, &[T, T], Phases::ANY),
    gives("ec_gauge_cache_get", Function::Gauge, 2, &[T, T], Phases::ANY),
    gives("ec_cluster_cache_get", Function::CacheRead, 2, &[T, T], Phases::INBOUND),
    acts("ec_cluster_cache_set", Function::CacheWrite, 4, &[T, T, T, T], Phases::INBOUND),
    acts("ec_action", Function::End(Terminal::Action), 2, &[N, T, T], Phases::ANY),
    acts("ec_disconnect", Function::End(Terminal::Disconnect), 2, &[N, T, T], Phases::ANY),
    acts("ec_tarpit", Function::Tarpit, 1, &[N, T], Phases::ANY),
    acts("keep", Function::End(Terminal::Keep), 0, &[], Phases::ANY),
    acts("ec_keep", Function::End(Terminal::Keep), 0, &[T], Phases::ANY),
    acts("stop", Function::End(Terminal::Stop), 0, &[], Phases::ANY),
    acts("discard", Function::End(Terminal::Discard), 0, &[], Phases::RECIPIENT_TO_COPY),
    acts("ec_discard", Function::End(Terminal::Discard), 0, &[T], Phases::RECIPIENT_TO_COPY),
    acts("reject", Function::End(Terminal::Reject), 1, &[T], Phases::ANY),
    acts("ec_reject", Function::End(Terminal::Reject), 1, &[T, T], Phases::ANY),
    acts("redirect", Function::End(Terminal::Redirect), 1, &[T], Phases::RECIPIENT_TO_COPY),
    acts("ec_log", Function::Log, 1, &[T], Phases::ANY),
    acts("ec_log_file", Function::LogFile, 2, &[T, T], Phases::AFTER_REPLY),
    acts("ec_set_binding", Function::SetBinding, 1, &[T], Phases::BINDING),
    acts("ec_set_binding_group", Function::SetBindingGroup, 1, &[T], Phases::BINDING),
    acts("ec_inc_counter", Function::Count, 1, &[T], Phases::ANY),
    acts("ec_include", Function::Include, 1, &[T, L], Phases::ANY),
    acts("ec_error_mode", Function::ErrorMode, 1, &[T], Phases::ANY),
    gives("hash_create", Function::HashCreate, 0, &[], Phases::ANY),
    acts("hash_set", Function::Hash(HashCall::Set), 3, &[H, T, A], Phases::ANY),
    gives("hash_get", Function::Hash(HashCall::Get), 2, &[H, T], Phases::ANY),
    gives("hash_keys", Function::Hash(HashCall::Keys), 1, &[H], Phases::ANY),
    gives("hash_values", Function::Hash(HashCall::Values), 1, &[H], Phases::ANY),
    acts("hash_dump", Function::Hash(HashCall::Dump), 1, &[H], Phases::ANY),
    gives("vctx_conn_get", Function::ContextRead(Context::Connection), 1, &[T], Phases::ANY),
    gives("vctx_mess_get", Function::ContextRead(Context::Message), 1, &[T], Phases::ANY),
    acts("vctx_conn_set", Function::ContextWrite(Context::Connection), 2, &[T, T], Phases::ANY),
    acts("vctx_mess_set", Function::ContextWrite(Context::Message), 2, &[T, T], Phases::ANY),
    acts("vctx_conn_delete", Function::ContextDelete(Context::Connection), 1, &[T], Phases::ANY),
    acts("vctx_mess_delete", Function::ContextDelete(Context::Message), 1, &[T], Phases::ANY),
    arithmetic("ec_add", Operator::Add),
    arithmetic("ec_sub", Operator::Subtract),
    arithmetic("ec_mul", Operator::Multiply),
    arithmetic("ec_div", Operator::Divide),
    arithmetic("ec_mod", Operator::Remainder),
    gives("split", Function::Split, 2, &[T, T], Phases::ANY),
    gives("ec_explode", Function::Split, 2, &[T, T], Phases::ANY),
    gives("join", Function::Join, 2, &[T, L], Phases::ANY),
    gives("envelope", Function::Envelope, 1, &[T], Phases::ANY),
    gives("ds_fetch", Function::Query(Fetch::First), 2, &[T, T, A], Phases::ANY),
    gives("ds_fetch_hash", Function::Query(Fetch::FirstNamed), 2, &[T, T, A], Phases::ANY),
    gives("ds_fetch_flat", Function::Query(Fetch::Flat), 2, &[T, T, A], Phases::ANY),
    acts("ds_execute", Function::Query(Fetch::Execute), 2, &[T, T, A], Phases::ANY),
];

pub(crate) const TESTS: &[Row<Test>] = &[
    test("ec_test", Test::Compare, &[L, L], Phases::ANY),
    test("vctx", Test::Context(None), &[L, L], Phases::ANY),
    test("vctx_conn", Test::Context(Some(Context::Connection)), &[L, L], Phases::ANY),
    test("vctx_mess", Test::Context(Some(Context::Message)), &[L, L], Phases::ANY),
    test("isset", Test::IsSet, &[A, T], Phases::ANY),
    test("is_true", Test::IsTrue, &[T], Phases::ANY),
    test("type", Test::Type, &[A, T], Phases::ANY),
    test("header", Test::Header, &[L, L], Phases::MESSAGE),
    test("address", Test::Address, &[L, L], Phases::MESSAGE),
    test("envelope", Test::Envelope, &[L, L], Phases::ANY),
    test("exists", Test::Exists, &[L], Phases::MESSAGE),
    test("size", Test::Size, &[N], Phases::MESSAGE),
    test("is_valid_ip", Test::ValidIp, &[T], Phases::ANY),
    test("is_rfc821_ip", Test::Literal, &[T], Phases::ANY),
];

/// The row of a name; otherwise what to say, with the nearest name that is known.
pub(crate) fn find<T: Copy>(
    rows: &'static [Row<T>],
    name: &str,
    what: &str,
    line: u32,
) -> Result<&'static Row<T>, crate::error::Problem> {
    rows.iter().find(|row| row.name == name).ok_or_else(|| {
        let near = rows.iter().map(|row| (distance(name, row.name), row.name)).min();
        let near = match near {
            Some((distance, near)) if distance <= name.len() / 3 + 1 => format!("; did you mean '{near}'?"),
            _ => String::new(),
        };
        crate::error::Problem::new(line, format!("expected a {what}; '{name}' is not supported{near}"))
    })
}

/// Characters to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    // Names that are longer than any of ours are not worth the square of their length.
    let a = a.as_bytes().get(..a.len().min(40)).unwrap_or_default();
    let mut row: alloc::vec::Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        for (to, cell) in b.as_bytes().iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal.saturating_add(usize::from(from != to));
            diagonal = *cell;
            left = replaced.min(left.saturating_add(1)).min(cell.saturating_add(1));
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or(0)
}
