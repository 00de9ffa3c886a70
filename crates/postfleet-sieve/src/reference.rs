//! The page of functions is the table of functions, printed.

use crate::functions::{FUNCTIONS, Function, Row, TESTS, Takes, ThrottleCall};
use postfleet_policy::{Event, Kind, Phase, Phases};
use std::path::Path;

fn event(event: Event) -> &'static str {
    match event {
        Event::Connection => "connect",
        Event::Reception => "reception",
        Event::Rejection => "rejection",
    }
}

/// The object that a function touches, and how.
fn object(function: Function) -> String {
    match function {
        Function::Events(events) if events.cluster => {
            format!("metrics/{} (reads global)", event(events.event))
        }
        Function::Events(events) => format!("monitors, {} (reads own)", event(events.event)),
        Function::Series => "metrics/audit_series (reads global, or own if local)".into(),
        Function::SeriesAdd => "metrics/audit_series or eccmgr_metrics/audit_series (writes own)".into(),
        Function::Service => "local service tree (reads own), or inbound_cidr (reads global)".into(),
        Function::AllListeners => "local SMTP tree (reads own)".into(),
        Function::ThisListener => "local listener tree (reads own)".into(),
        Function::Throttle(kind, call) => {
            let object = match kind {
                Kind::Local => "local named throttles",
                Kind::Shared => "shared_named_throttles",
            };
            let how = match call {
                ThrottleCall::Create => "creates",
                ThrottleCall::Change(_) => "writes",
                ThrottleCall::Check => "reads",
                ThrottleCall::Tarpit => "reads and writes",
            };
            format!("{object} ({how})")
        }
        Function::GaugeInit => "metrics/gauge_cache (creates)".into(),
        Function::GaugeChange(_) => "metrics/gauge_cache (writes own)".into(),
        Function::Gauge => "metrics/gauge_cache (reads global)".into(),
        Function::CacheRead => "cache (reads)".into(),
        Function::CacheWrite => "cache (writes)".into(),
        Function::End(_) => "metrics/rejection (writes own), for a refusal".into(),
        Function::ContextRead(_) => "contexts (reads)".into(),
        Function::ContextWrite(_) | Function::ContextDelete(_) => "contexts (writes)".into(),
        Function::Query(_) => "Datasource cache, and cache if replicated (reads and writes)".into(),
        Function::SetBinding | Function::SetBindingGroup => "binding of the copy (writes)".into(),
        Function::Tarpit
        | Function::Log
        | Function::LogFile
        | Function::Count
        | Function::Include
        | Function::ErrorMode
        | Function::HashCreate
        | Function::Hash(_)
        | Function::Arithmetic(_)
        | Function::Split
        | Function::Join
        | Function::Envelope => "–".into(),
    }
}

fn arguments<T>(row: &Row<T>) -> String {
    let word = |takes: &Takes| match takes {
        Takes::Text => "string",
        Takes::Number => "number",
        Takes::List => "strings",
        Takes::Hash => "hash",
        Takes::Any => "value",
    };
    let argument = |(at, takes): (usize, &Takes)| {
        if at < row.required { word(takes).to_owned() } else { format!("[{}]", word(takes)) }
    };
    row.takes.iter().enumerate().map(argument).collect::<Vec<_>>().join(" ")
}

fn phases(phases: Phases) -> String {
    if Phase::ALL.into_iter().all(|phase| phases.contain(phase)) { "any".into() } else { phases.shown() }
}

fn gives(row: &Row<Function>) -> &'static str {
    if row.has_result { "a value" } else { "–" }
}

/// What a function or test does, its units and defaults. In the order of the tables.
const ABOUT: &[(&str, &str)] = &[
    (
        "ec_ip_connections",
        "Connections that were made from the client's block. `index`: the position of a monitor in `inbound_audit { monitors }`, from 0; `mask`: leading bits, by default the whole address. The number is the weighted average of the running window and the one before. With a hash instead: the exact sum of windows, keys `monitor` (default: the first), `period_start` (0, the running one), `period_end` (as `period_start`; not before it), `mask`.",
    ),
    (
        "ec_ip_receptions",
        "Messages that were received, a count for each copy; otherwise as `ec_ip_connections`.",
    ),
    (
        "ec_ip_rejections",
        "What was refused; otherwise as `ec_ip_connections`. A script does not see its own refusal.",
    ),
    (
        "ec_ip_connections_cluster",
        "As `ec_ip_connections`, of all nodes. Where `metrics` does not replicate `connect` it is this node's number, with a warning.",
    ),
    ("ec_ip_receptions_cluster", "As `ec_ip_receptions`, of all nodes; `metrics` with `reception`."),
    ("ec_ip_rejections_cluster", "As `ec_ip_rejections`, of all nodes; `metrics` with `rejection`."),
    (
        "audit_series",
        "What was counted for the client's block in a named series: `name`, `\"interval,number\"` (seconds, windows), `mask`, the first window (0, the running one) and the last (as the first). With a hash: keys `series`, `monitor`, `period_start`, `period_end`, `mask`, `ip` (default: the client). A series that nobody added to is 0.",
    ),
    (
        "audit_series_add",
        "Adds to the running window: `name`, `\"interval,number\"`, `amount` (a whole number, also negative, default 1). With a hash: keys `series`, `monitor`, `count` (1), `ip` (the client), `replicate` (0: this node alone, the default; 1: all nodes; -1: managers), `serialize` (0; 1: written to files, too). IPv6 addresses are counted in the series `name:ipv6`.",
    ),
    (
        "audit_service",
        "Connections that are open now from a block to a service: `SMTP`, `ECStream`, `Control`, `ECmmove2`, `ECCluster` of this node, `inbound_cidr` for the fleet. The block: `\"192.0.2.0/24\"`, `\"192.0.2.7\"`, or `\"/24\"` of the client. This connection is among them. A list of one element.",
    ),
    ("audit_connections_on_service", "As `audit_service \"SMTP\"`: all listeners of this node."),
    ("audit_connections_on_listener", "As `audit_service`, of the listener that accepted this session."),
    (
        "ec_throttle_create",
        "Makes a throttle of this node; nothing happens if it lives. The rate: `\"30/60\"`, 30 each 60 seconds; `\"30\"`: each second. It lives for a period after its last use; the other functions on a name that does not live are a runtime error.",
    ),
    ("ec_throttle_inc", "Counts one."),
    ("ec_throttle_dec", "Takes one back."),
    (
        "ec_throttle_check",
        "`\"true\"` if more was counted than the rate allows, else `\"false\"`. Assign it, then test the variable.",
    ),
    (
        "ec_throttle_tarpit",
        "Counts one, and holds the session until the rate allows it. In `spool` and later it counts and does not hold.",
    ),
    (
        "ec_shared_throttle_create",
        "As `ec_throttle_create`, for the fleet. The third argument, epsilon, between 0 and 1 (0.95), is taken for compatibility.",
    ),
    ("ec_shared_throttle_inc", "Counts one for the fleet."),
    (
        "ec_shared_throttle_check",
        "Whether the fleet has counted more than the rate allows, as `ec_throttle_check`.",
    ),
    (
        "ec_shared_throttle_tarpit",
        "Counts one, and holds the session until the fleet has a unit for it. In `spool` and later it counts and does not hold.",
    ),
    (
        "ec_gauge_cache_init",
        "Makes a cache of counters, or changes its bounds: `name`, keys at most (the oldest go), seconds after its last change until a key is forgotten (0: never), and whether all nodes share it (0, the default; anything else: yes).",
    ),
    ("ec_gauge_cache_inc", "One more for a key: cache, key."),
    ("ec_gauge_cache_dec", "One less; the number may become negative."),
    ("ec_gauge_cache_get", "The number of a key, 0 for one that is not there."),
    (
        "ec_cluster_cache_get",
        "The value of a key of a replicated cache, empty when there is none or its time is over: cache, key.",
    ),
    (
        "ec_cluster_cache_set",
        "Sets a key: cache, key, value, and for how long: seconds, `\"15M\"`, `\"2H\"`; `\"0\"`: for ever. This node reads it at once, the others when it is delivered.",
    ),
    (
        "ec_action",
        "Answers with a code (three digits, the first 2, 4 or 5) and a text, each line of which gets the code. A code from 400 refuses what the phase is about. The last argument names a counter (default: file and line). Ends the script and the phase.",
    ),
    ("ec_disconnect", "The same, and the connection is closed; 421 is the proper code."),
    (
        "ec_tarpit",
        "Holds the reply for so many seconds. Holds of a phase add up, 300 seconds at most. In `spool` and later it is ignored, with a line in the log.",
    ),
    (
        "keep",
        "Accepts. Ends the script and the other scripts of the stanza in this phase; other modules are asked.",
    ),
    ("ec_keep", "As `keep`, with a name to count by."),
    ("stop", "As `keep`, and nothing is counted."),
    ("discard", "The client is told that it was accepted, and nobody gets it; counted as a rejection."),
    ("ec_discard", "As `discard`, with a reason for the log."),
    ("reject", "Refuses with 550 and the text."),
    ("ec_reject", "As `reject`, with a counter."),
    ("redirect", "The copy, or the message, goes to this address instead."),
    (
        "ec_log",
        "A line in the log at the level critical, with file and line in front, of 1972 characters at most.",
    ),
    (
        "ec_log_file",
        "Appends the text and the end of a line to a file: its absolute path, with or without `file://`, then the text.",
    ),
    (
        "ec_set_binding",
        "The copy leaves through this binding from now on; a line in the log and no change when there is none of this name.",
    ),
    (
        "ec_set_binding_group",
        "The copy leaves through one of the bindings of this group, by chance among those whose delivery is not suspended; a line in the log and no change when there is none.",
    ),
    ("ec_inc_counter", "One more for a counter of `sieve:NAME stats`. Scripts cannot read it."),
    (
        "ec_include",
        "Runs another script, which sees the same variables; strings that follow are in `$args`. Its verdict ends the phase. A file that is missing is a runtime error. A relative name starts in the directory of the main file.",
    ),
    (
        "ec_error_mode",
        "`\"fail\"` or `\"continue\"` for the rest of the run, instead of what `runtime_error` says.",
    ),
    ("hash_create", "A new hash."),
    ("hash_set", "Sets an element: hash, key, value (a string, a number, strings, a hash)."),
    ("hash_get", "An element, as `$h[\"key\"]`; empty when it is not there."),
    ("hash_keys", "All keys, as strings."),
    ("hash_values", "The values that are strings."),
    ("hash_dump", "Writes what is in a hash to the log, 1000 lines at most. For whoever looks for a fault."),
    ("vctx_conn_get", "A value of the connection's context, empty when it is not there."),
    ("vctx_mess_get", "A value of the message's context."),
    ("vctx_conn_set", "Sets a key of the connection's context."),
    ("vctx_mess_set", "Sets a key of the message's context."),
    ("vctx_conn_delete", "Removes a key of the connection's context, if it is there."),
    ("vctx_mess_delete", "Removes a key of the message's context, if it is there."),
    ("ec_add", "The sum. With six decimals if a number has a fraction, else whole."),
    ("ec_sub", "The difference, written as by `ec_add`."),
    ("ec_mul", "The product, written as by `ec_add`."),
    ("ec_div", "The quotient, written as by `ec_add`. By zero: a runtime error."),
    ("ec_mod", "The remainder, written as by `ec_add`. By zero: a runtime error."),
    ("split", "The parts of a string: delimiter, string."),
    ("ec_explode", "As `split`."),
    ("join", "Strings in one: delimiter, strings."),
    (
        "envelope",
        "The address `\"from\"` or `\"to\"`; with `:localpart`, `:domain`, `:user`, `:detail` that part of it.",
    ),
    (
        "ds_fetch",
        "The first row as strings: datasource, query, values for `?` (strings) or for names (a hash). When it fails the key `datasource_error` of the connection's context has the reason; success removes it.",
    ),
    ("ds_fetch_hash", "The first row as a hash by column; otherwise as `ds_fetch`."),
    ("ds_fetch_flat", "All rows, one value after the other; otherwise as `ds_fetch`."),
    ("ds_execute", "Runs a statement for its effect; otherwise as `ds_fetch`."),
];

const ABOUT_TESTS: &[(&str, &str)] = &[
    ("ec_test", "True if one of the first strings matches one of the second."),
    ("vctx", "True if a key, in the message's context, then the connection's, has one of the values."),
    ("vctx_conn", "The same in the connection's context."),
    ("vctx_mess", "The same in the message's context."),
    ("isset", "True if a hash has the key, or a list the position (from 0)."),
    ("is_true", "True for `true`, `yes`, `on`, and numbers other than zero."),
    ("type", "True if the value is a `\"string\"`, `\"number\"`, `\"stringlist\"`, `\"hash\"` or `\"tag\"`."),
    ("header", "True if a field of the message with one of the names matches one of the strings."),
    (
        "address",
        "True if an address in a field with one of the names matches; `:localpart`, `:domain`, `:user`, `:detail`: that part of it.",
    ),
    ("envelope", "True if the sender (`\"from\"`) or a recipient (`\"to\"`) matches; parts as in `address`."),
    ("exists", "True if the message has all of the fields."),
    (
        "size",
        "True if the message is `:over` or `:under` so many octets; `10K`, `1M`, `1G` are powers of 1024.",
    ),
    ("is_valid_ip", "True for an IPv4 or IPv6 address."),
    ("is_rfc821_ip", "True for an address as mail writes it: `[192.0.2.1]`, `[IPv6:2001:db8::1]`."),
];

fn page() -> String {
    let mut page = "# Functions of Sieve\n\nWritten from the table that scripts are checked against; do not edit. \"own\" is what this node counted, \"global\" the sum of\n\
        all nodes. A function in a phase where it is not permitted does not compile; wrong arguments are a runtime error. Numbers may be\n\
        written as numbers or as strings.\n\n\
        ## At a glance\n\n| Function | Arguments | Gives | Object | Phases |\n|---|---|---|---|---|\n"
        .to_owned();
    for row in FUNCTIONS {
        page.push_str(&format!(
            "| [`{}`](#{}) | {} | {} | {} | {} |\n",
            row.name,
            row.name,
            arguments(row),
            gives(row),
            object(row.item),
            phases(row.phases)
        ));
    }
    for (row, (_, about)) in FUNCTIONS.iter().zip(ABOUT) {
        let space = if row.takes.is_empty() { "" } else { " " };
        page.push_str(&format!(
            "\n## {}\n\n`{}{space}{}` → {}\n\n{about}\n\n- Phases: {}\n- Object: {}\n",
            row.name,
            row.name,
            arguments(row),
            gives(row),
            phases(row.phases),
            object(row.item)
        ));
    }
    page.push_str(
        "\n## Tests\n\nStrings match by `:is` (the default), `:contains`, `:matches` (`*`, `?`), `:regex`, `:value` or `:count` with `\"gt\"`, `\"ge\"`, `\"lt\"`,\n\
        `\"le\"`, `\"eq\"`, `\"ne\"`, `\"bitwise-and\"`; `:comparator` is `\"i;octet\"` (the default), `\"i;ascii-casemap\"` or `\"i;ascii-numeric\"`, which takes the\n\
        first number of a string, and 0 where there is none.\n\n\
        | Test | Arguments | True if | Phases |\n|---|---|---|---|\n",
    );
    for (row, (_, about)) in TESTS.iter().zip(ABOUT_TESTS) {
        page.push_str(&format!(
            "| `{}` | {} | {about} | {} |\n",
            row.name,
            arguments(row),
            phases(row.phases)
        ));
    }
    page
}

#[test]
fn every_function_is_described_and_nothing_else() {
    let names =
        |described: &[(&'static str, &str)]| described.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!(names(ABOUT), FUNCTIONS.iter().map(|row| row.name).collect::<Vec<_>>());
    assert_eq!(names(ABOUT_TESTS), TESTS.iter().map(|row| row.name).collect::<Vec<_>>());
}

#[test]
fn the_page_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy/sieve.md");
    if std::env::var_os("POSTFLEET_WRITE_PAGES").is_some() {
        std::fs::write(&path, page()).expect("a page that can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let hint = "POSTFLEET_WRITE_PAGES=1 cargo test -p postfleet-lua -p postfleet-sieve page writes it anew";
    assert!(found == page(), "docs/policy/sieve.md is not what the table says; {hint}");
}

/// The table at the end of the policy document: functions, object with access, phases.
const DOCUMENT: &[(&[&str], &str, &str)] = &[
    (&["ec_ip_connections"], "monitors, connect (reads own)", "any"),
    (&["ec_ip_connections_cluster"], "metrics/connect (reads global)", "any"),
    (&["ec_ip_receptions"], "monitors, reception (reads own)", "any"),
    (&["ec_ip_receptions_cluster"], "metrics/reception (reads global)", "any"),
    (&["ec_ip_rejections"], "monitors, rejection (reads own)", "any"),
    (&["ec_ip_rejections_cluster"], "metrics/rejection (reads global)", "any"),
    (&["audit_service"], "local service tree (reads own), or inbound_cidr (reads global)", "any"),
    (&["audit_connections_on_service"], "local SMTP tree (reads own)", "any"),
    (&["audit_connections_on_listener"], "local listener tree (reads own)", "any"),
    (&["audit_series_add"], "metrics/audit_series or eccmgr_metrics/audit_series (writes own)", "any"),
    (&["audit_series"], "metrics/audit_series (reads global, or own if local)", "any"),
    (&["ec_gauge_cache_init"], "metrics/gauge_cache (creates)", "any"),
    (&["ec_gauge_cache_inc", "ec_gauge_cache_dec"], "metrics/gauge_cache (writes own)", "any"),
    (&["ec_gauge_cache_get"], "metrics/gauge_cache (reads global)", "any"),
    (&["ec_throttle_create"], "local named throttles (creates)", "any"),
    (&["ec_throttle_inc", "ec_throttle_dec"], "local named throttles (writes)", "any"),
    (&["ec_throttle_check"], "local named throttles (reads)", "any"),
    (&["ec_throttle_tarpit"], "local named throttles (reads and writes)", "any"),
    (&["ec_shared_throttle_create"], "shared_named_throttles (creates)", "any"),
    (&["ec_shared_throttle_inc"], "shared_named_throttles (writes)", "any"),
    (&["ec_shared_throttle_check"], "shared_named_throttles (reads)", "any"),
    (&["ec_shared_throttle_tarpit"], "shared_named_throttles (reads and writes)", "any"),
    (&["ec_cluster_cache_get"], "cache (reads)", INBOUND),
    (&["ec_cluster_cache_set"], "cache (writes)", INBOUND),
    (
        &["ds_fetch", "ds_fetch_hash", "ds_fetch_flat", "ds_execute"],
        "Datasource cache, and cache if replicated (reads and writes)",
        "any",
    ),
    // After `data` it does nothing, and says so.
    (&["ec_tarpit"], "–", "any"),
    (&["ec_action", "ec_disconnect"], "metrics/rejection (writes own), for a refusal", "any"),
    (&["ec_log"], "–", "any"),
    (&["ec_log_file"], "–", "spool, each_rcpt, set_binding"),
    (&["vctx_conn_get", "vctx_mess_get"], "contexts (reads)", "any"),
    (&["vctx_conn_set", "vctx_mess_set", "vctx_conn_delete", "vctx_mess_delete"], "contexts (writes)", "any"),
];

const INBOUND: &str = "accept, connect, ehlo, mailfrom, rcptto, data, spool, each_rcpt";

#[test]
fn policy_section_5_functions_objects_and_phases_are_those_of_the_document() {
    for (names, expected, phase) in DOCUMENT {
        for name in *names {
            let row = FUNCTIONS.iter().find(|row| row.name == *name).expect(name);
            assert_eq!(
                (object(row.item).as_str(), phases(row.phases).as_str()),
                (*expected, *phase),
                "{name}"
            );
        }
    }
}
