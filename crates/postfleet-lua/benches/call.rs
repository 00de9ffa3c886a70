//! What a policy call costs that reads three objects: open connections of the fleet, events of the fleet, a replicated cache. In
//! each phase, in Lua and in Sieve, on the host in memory. The aim is less than 20 µs.

use divan::Bencher;
use postfleet_lua::{Callout, Execution, Limits, NoLibrary, OnError, Program, Source, Step};
use postfleet_policy::model::Model;
use postfleet_policy::{Event, Phase};
use postfleet_sieve::{ErrorMode, Script};
use std::net::IpAddr;
use std::sync::Arc;

fn main() {
    divan::main();
}

/// Those in which all three may be read.
const PHASES: [&str; 7] = ["connect", "ehlo", "mailfrom", "rcptto", "data", "spool", "each_rcpt"];

fn phase(name: &str) -> Phase {
    Phase::from_name(name).expect("a phase")
}

fn fleet() -> Model {
    let mut model = Model::default();
    let client = IpAddr::from([192, 0, 2, 10]);
    model.open = (0..3).map(|node| (node, client)).collect();
    model.happened(Event::Connection, client, 7);
    model.from = vec!["a@c.example".into()];
    model.to = vec!["b@demo.example".into()];
    model.headers = Some(Vec::new());
    model
}

const LUA: &str = include_str!("policy.lua");

const SIEVE: &str = r#"
($open) = audit_service "inbound_cidr" "/24";
$recent = ec_ip_connections_cluster "0" "24";
$known = ec_cluster_cache_get "known" "192.0.2.10";
if anyof (ec_test :value "gt" :comparator "i;ascii-numeric" "${open}" "100",
          ec_test :value "gt" :comparator "i;ascii-numeric" "${recent}" "1000",
          ec_test :is "${known}" "bad") {
  ec_action 421 "4.7.0 too many connections";
}
"#;

#[divan::bench(args = PHASES)]
fn lua(bencher: Bencher<'_, '_>, name: &str) {
    let source = Source { name: "bench".into(), file: "bench.lua".into(), text: LUA.into() };
    let program = Program::load(&[source], &NoLibrary, Limits::default(), OnError::Continue, 1, 0);
    let program = Arc::new(program.unwrap_or_else(|error| panic!("{error}")));
    let (phase, mut model) = (phase(name), fleet());
    model.phase = Some(phase);
    bencher.bench_local(|| {
        let mut execution = Execution::new(&program, Callout::of(phase), "a@c.example");
        match execution.step(&mut model) {
            Step::Done(ending) => assert_eq!(ending.errors, Vec::<String>::new()),
            Step::Wait(request) => panic!("nothing is to be waited for: {request:?}"),
        }
    });
}

#[divan::bench(args = PHASES)]
fn sieve(bencher: Bencher<'_, '_>, name: &str) {
    let phase = phase(name);
    let script = Script::compile("bench.sieve", phase, SIEVE).unwrap_or_else(|error| panic!("{error}"));
    let (script, mut model) = (Arc::new(script), fleet());
    bencher.bench_local(|| {
        let limits = postfleet_sieve::Limits::default();
        let mut execution = postfleet_sieve::Execution::new(&script, ErrorMode::Fail, limits);
        match execution.step(&mut model) {
            postfleet_sieve::Step::Done(outcome) => assert_eq!(outcome.hold_ms, 0),
            postfleet_sieve::Step::Wait(request) => panic!("nothing is to be waited for: {request:?}"),
        }
    });
}
