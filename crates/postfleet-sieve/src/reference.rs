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

fn page() -> String {
    let mut page = "# Functions of Sieve\n\nWritten from the table that scripts are checked against; do not edit. \"own\" is what this node counted, \"global\" the sum of\n\
        all nodes. A function in a phase where it is not permitted does not compile.\n\n\
        | Function | Arguments | Gives | Object | Phases |\n|---|---|---|---|---|\n"
        .to_owned();
    for row in FUNCTIONS {
        let gives = if row.has_result { "a value" } else { "–" };
        page.push_str(&format!(
            "| `{}` | {} | {gives} | {} | {} |\n",
            row.name,
            arguments(row),
            object(row.item),
            phases(row.phases)
        ));
    }
    page.push_str("\n## Tests\n\n| Test | Arguments | Phases |\n|---|---|---|\n");
    for row in TESTS {
        page.push_str(&format!("| `{}` | {} | {} |\n", row.name, arguments(row), phases(row.phases)));
    }
    page
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
