//! The sections and acceptance cases of the replication document that speak of counting objects.

#![allow(clippy::unwrap_used, reason = "a test may end here")]

mod fleet;

use fleet::{Connection, Fleet, specs};
use postfleet_replica::{
    KIND_BATCH, KIND_CHUNK, KIND_MARKER, ObjectKind, ObjectSpec, Of, ReadError, ReplicaOptions, Rows,
    Structure,
};
use postfleet_types::Prefix;
use std::net::IpAddr;
use std::time::Duration;

fn inbound(address: &str) -> Connection {
    Connection::Inbound(address.parse().unwrap())
}

fn outbound(binding: &str, group: Option<&str>, domain: &str, address: &str) -> Connection {
    Connection::Outbound {
        binding: binding.into(),
        group: group.map(Into::into),
        domain: domain.into(),
        host: format!("mx.{domain}"),
        address: address.parse().unwrap(),
    }
}

fn at_once(_: &mut ReplicaOptions) {}

fn as_the_reference(options: &mut ReplicaOptions) {
    options.min_delay = None;
}

fn fleet(names: &[&str], specs: &[ObjectSpec], tune: fn(&mut ReplicaOptions)) -> Fleet {
    let mut fleet = Fleet::new(tune);
    for name in names {
        fleet.start(name, specs.to_vec());
    }
    fleet.run(50);
    fleet
}

fn sum(fleet: &Fleet, at: usize, address: &str) -> u64 {
    let prefix: Prefix = address.parse().unwrap();
    fleet.processes[at].replica.object("inbound_cidr").unwrap().sum(Of::Global, prefix).unwrap()
}

fn sent(fleet: &Fleet, kind: u16) -> usize {
    fleet.trace.iter().filter(|(_, _, sent, _)| *sent == kind).count()
}

#[test]
fn replication_a07_list() {
    let mut fleet = Fleet::new(at_once);
    let words = [
        "inbound_cidr",
        "outbound_cidr",
        "outbound_domains",
        "outbound_binding_domains",
        "shared_named_throttles",
    ];
    let mut specs: Vec<ObjectSpec> =
        words.iter().map(|word| ObjectSpec::of(ObjectKind::from_word(word).unwrap())).collect();
    specs.push(ObjectSpec::new("mycache", ObjectKind::Cache));
    let at = fleet.spawn("a", specs);
    let rows: Vec<String> = fleet.processes[at]
        .replica
        .list()
        .into_iter()
        .map(|row| format!("{} {} {}", row.name, row.structure, row.snapped))
        .collect();
    assert_eq!(
        rows,
        [
            "inbound_cidr cidrtree true",
            "outbound_cidr cidrtree true",
            "outbound_domains gauge table true",
            "outbound_binding_domains gauge table true",
            "shared_named_throttles throttle table true",
            "mycache cache false",
        ]
    );
}

#[test]
fn replication_a08_alias_and_header_of_the_domain_table() {
    let mut fleet = fleet(&["relay-0-1", "relay-0-2"], &specs(), at_once);
    fleet.open(0, outbound("x", None, "AOL.com.", "192.0.2.1"));
    fleet.open(0, outbound("y", None, "aol.com", "192.0.2.1"));
    fleet.open(1, outbound("x", None, "aol.com", "192.0.2.2"));
    fleet.open(1, outbound("x", None, "yahoo.com", "192.0.2.3"));
    fleet.run(50);
    let replica = &fleet.processes[0].replica;
    let show = replica.show("outbound_domain", Of::Global).unwrap();
    assert_eq!((show.object.as_str(), show.view.as_str()), ("outbound_domain", "global"));
    assert_eq!((show.structure, show.snapped), (Structure::GaugeTable, true));
    assert_eq!(show.rows, Rows::Names(vec![("aol.com".into(), 3), ("yahoo.com".into(), 1)]));
    let show = replica.show("outbound_domain", Of::Node("relay-0-2")).unwrap();
    assert_eq!(show.view, fleet.processes[1].name.as_str());
    assert_eq!(show.rows, Rows::Names(vec![("aol.com".into(), 1), ("yahoo.com".into(), 1)]));
    let domains = replica.object("outbound_domains").unwrap();
    assert_eq!(domains.count(Of::Global, "aol.com"), Ok(3));
    assert_eq!(replica.object("outbound_domains/x").unwrap().count(Of::Global, "aol.com"), Ok(2));
    let tree = replica.object("outbound_cidr/y").unwrap();
    assert_eq!(tree.total(Of::Global), Ok(1));
    assert_eq!(replica.object("outbound_cidr").unwrap().total(Of::Global), Ok(4));
}

#[test]
fn replication_s5_rows_of_outbound_binding_domains() {
    let mut fleet = fleet(&["a", "b"], &specs(), at_once);
    fleet.open(0, outbound("x", Some("cust"), "aol.com", "192.0.2.1"));
    fleet.open(1, outbound("y", None, "aol.com", "192.0.2.1"));
    fleet.run(50);
    let Rows::Names(rows) =
        fleet.processes[1].replica.show("outbound_binding_domains", Of::Global).unwrap().rows
    else {
        panic!("a gauge table");
    };
    let rows: Vec<(&str, u64)> = rows.iter().map(|(key, count)| (key.as_str(), *count)).collect();
    assert_eq!(
        rows,
        [
            ("*::aol.com", 2),
            ("cust/*::aol.com", 1),
            ("x::*", 1),
            ("x::aol.com", 1),
            ("y::*", 1),
            ("y::aol.com", 1)
        ]
    );
    // binding_group: only connections of that group's bindings.
    let customers = fleet.processes[1].replica.object("outbound_cidr_cust").unwrap();
    assert_eq!(customers.total(Of::Global), Ok(1));
}

#[test]
fn replication_a11_short_connections_never_leave_and_idle_nodes_send_at_once() {
    let mut lazy = fleet(&["a", "b"], &specs(), as_the_reference);
    let before = sent(&lazy, KIND_BATCH);
    lazy.open(1, inbound("192.0.2.77"));
    for _ in 0..30 {
        lazy.run(10);
        assert_eq!(sum(&lazy, 0, "192.0.2.77"), 0);
    }
    lazy.close(1, 0);
    lazy.run(3000);
    assert_eq!(sum(&lazy, 0, "192.0.2.77"), 0);
    assert_eq!(sent(&lazy, KIND_BATCH), before, "nothing is sent for changes that add up to zero");

    let mut idle = fleet(&["a", "b"], &specs(), at_once);
    idle.open(1, inbound("192.0.2.77"));
    // One bus round trip: b's message takes its place, a reads it. No time passes.
    assert!(idle.sequence(1));
    assert!(idle.deliver(0));
    assert_eq!(sum(&idle, 0, "192.0.2.77"), 1);
}

#[test]
fn replication_a12_max_pending_and_max_delay() {
    let mut list = specs();
    for spec in &mut list {
        spec.max_pending = 3;
        spec.max_delay = Duration::from_secs(60);
    }
    let mut fleet = fleet(&["a", "b"], &list, as_the_reference);
    fleet.open(1, inbound("192.0.2.1"));
    fleet.run(300);
    fleet.open(1, inbound("192.0.2.1"));
    fleet.run(300);
    assert_eq!(sum(&fleet, 0, "192.0.2.1"), 0);
    fleet.open(1, inbound("192.0.2.2"));
    fleet.run(1);
    assert_eq!(sum(&fleet, 0, "192.0.2.0/24"), 3);
    fleet.open(1, inbound("192.0.2.3"));
    fleet.run_coarsely(59_990);
    assert_eq!(sum(&fleet, 0, "192.0.2.0/24"), 3);
    fleet.run(20);
    assert_eq!(sum(&fleet, 0, "192.0.2.0/24"), 4);
}

#[test]
fn replication_a12_objects_that_are_not_due_stay_behind() {
    let mut list = specs();
    for spec in &mut list {
        spec.max_delay = Duration::from_secs(if spec.kind == ObjectKind::InboundCidr { 1 } else { 30 });
    }
    let mut fleet = fleet(&["a", "b"], &list, as_the_reference);
    fleet.open(1, inbound("192.0.2.1"));
    fleet.open(1, outbound("x", None, "aol.com", "192.0.2.2"));
    fleet.run_coarsely(2000);
    assert_eq!(sum(&fleet, 0, "192.0.2.1"), 1);
    let total = |fleet: &Fleet| fleet.processes[0].replica.object("outbound_cidr").unwrap().total(Of::Global);
    assert_eq!(total(&fleet), Ok(0));
    fleet.run_coarsely(29_000);
    assert_eq!(total(&fleet), Ok(1));
}

#[test]
fn replication_s2_2_a_busy_node_has_one_batch_under_way() {
    let mut fleet = fleet(&["a", "b"], &specs(), at_once);
    let before = sent(&fleet, KIND_BATCH);
    fleet.open(1, inbound("192.0.2.1"));
    assert_eq!(sent(&fleet, KIND_BATCH), before + 1);
    // The bus is slow: the batch does not come back. 1000 changes wait, whatever min_delay and max_pending say.
    for host in 0..1000 {
        let client =
            IpAddr::from([10, 0, u8::try_from(host / 250).unwrap(), u8::try_from(host % 250).unwrap()]);
        fleet.open(1, Connection::Inbound(client));
        fleet.advance(Duration::from_micros(500));
    }
    assert_eq!(sent(&fleet, KIND_BATCH), before + 1, "half a second later");
    // max_delay holds in any case.
    fleet.advance(Duration::from_millis(600));
    assert_eq!(sent(&fleet, KIND_BATCH), before + 2);
    fleet.run(20);
    assert_eq!(sum(&fleet, 0, "10.0.0.0/8"), 1000);
    assert_eq!(sent(&fleet, KIND_BATCH), before + 2);
    // Deliveries within min_delay: the next batch waits for it, or for max_pending.
    fleet.open(1, inbound("192.0.2.2"));
    fleet.open(1, inbound("192.0.2.3"));
    fleet.settle();
    assert_eq!(sent(&fleet, KIND_BATCH), before + 3);
    fleet.run(9);
    assert_eq!(sum(&fleet, 0, "192.0.2.3"), 0);
    fleet.run(2);
    assert_eq!(sum(&fleet, 0, "192.0.2.3"), 1);
    for host in 0..100 {
        fleet.open(1, Connection::Inbound(IpAddr::from([10, 1, 0, host])));
    }
    fleet.settle();
    assert_eq!(sum(&fleet, 0, "10.1.0.0/24"), 100, "max_pending shortens min_delay");
}

#[test]
fn replication_s2_2_a_batch_is_split_at_its_limit() {
    let mut fleet = fleet(&["a", "b"], &specs(), |options| options.batch_bytes_max = 4096);
    fleet.open(1, inbound("192.0.2.1"));
    for host in 0..3000u32 {
        fleet.open(1, Connection::Inbound(IpAddr::from((0x0a00_0000 + host * 70_000).to_be_bytes())));
    }
    let before = fleet.trace.len();
    fleet.run(20);
    let batches: Vec<usize> = fleet.trace[before..].iter().map(|(_, _, _, payload)| payload.len()).collect();
    assert!(batches.len() >= 3 && batches.iter().all(|bytes| *bytes <= 4096), "{batches:?}");
    assert_eq!(sum(&fleet, 0, "0.0.0.0/0"), 3001);
}

#[test]
fn replication_a13_a_killed_node_leaves_with_its_counts() {
    let mut fleet = fleet(&["a", "b", "c"], &specs(), at_once);
    for (at, count) in [(0, 4), (1, 5), (2, 6)] {
        for _ in 0..count {
            fleet.open(at, inbound("203.0.113.5"));
        }
    }
    fleet.run(50);
    assert_eq!(sum(&fleet, 0, "203.0.113.5"), 15);
    fleet.kill(2);
    while fleet.deliver(0) {}
    assert_eq!(sum(&fleet, 0, "203.0.113.5"), 9, "as soon as the view without c is delivered");
    let error = fleet.processes[0].replica.show("inbound_cidr", Of::Node("c")).unwrap_err();
    assert_eq!(error.to_string(), "no view of 'inbound_cidr' from node 'c'");
    let again = fleet.start("c", specs());
    fleet.open(again, inbound("203.0.113.5"));
    fleet.run(50);
    assert_eq!(sum(&fleet, 0, "203.0.113.5"), 10);
    let show = fleet.processes[0].replica.show("inbound_cidr", Of::Node("c")).unwrap();
    assert_eq!(show.view, fleet.processes[again].name.as_str());
    assert_ne!(show.view, fleet.processes[2].name.as_str());
    fleet.check_converged();
}

#[test]
fn replication_a14_partition_and_merge() {
    let mut fleet = fleet(&["a", "b", "c"], &specs(), at_once);
    for (at, count) in [(0, 4), (1, 5), (2, 6)] {
        for _ in 0..count {
            fleet.open(at, inbound("203.0.113.5"));
        }
    }
    fleet.run(50);
    fleet.split(0, &[2], 1);
    fleet.run(50);
    assert_eq!((sum(&fleet, 0, "203.0.113.5"), sum(&fleet, 2, "203.0.113.5")), (9, 6));
    fleet.open(2, inbound("203.0.113.5"));
    fleet.open(2, inbound("203.0.113.5"));
    fleet.run(50);
    fleet.merge(0, 1);
    fleet.run(50);
    for at in 0..3 {
        assert_eq!(sum(&fleet, at, "203.0.113.5"), 17);
    }
    fleet.check_converged();
}

#[test]
fn replication_a15_a_joiner_gets_what_is_open() {
    let mut fleet = fleet(&["a", "b", "c"], &specs(), at_once);
    for at in 0..3 {
        for _ in 0..3 {
            fleet.open(at, inbound("203.0.113.5"));
        }
    }
    fleet.run(50);
    let joiner = fleet.start("d", specs());
    while fleet.deliver(joiner) {}
    assert!(fleet.processes[joiner].replica.waiting(), "the columns of the others are missing");
    fleet.run(50);
    assert_eq!(sum(&fleet, joiner, "203.0.113.5"), 9);
    assert!(!fleet.processes[joiner].replica.waiting());
    assert!(fleet.processes[joiner].replica.complete());
}

#[test]
fn replication_s2_5_a_large_column_travels_in_chunks_and_only_to_who_needs_it() {
    let mut fleet = fleet(&["a", "b"], &specs(), at_once);
    // Nobody can be reached point to point: all goes on the bus.
    fleet.processes[1].listening = false;
    let count = 60_000u32;
    for host in 0..count {
        fleet.open(1, Connection::Inbound(IpAddr::from((0x0a00_0000 + host * 3001).to_be_bytes())));
    }
    fleet.run(50);
    assert_eq!(sum(&fleet, 0, "0.0.0.0/0"), u64::from(count));
    let before = fleet.trace.len();
    let joiner = fleet.start("c", specs());
    // Changes go on while the chunks travel.
    for host in 0..200u32 {
        for _ in 0..2 {
            fleet.sequence(1);
        }
        fleet.deliver(0);
        fleet.deliver(1);
        fleet.deliver(joiner);
        fleet.carry(joiner, 0);
        fleet.sequence(joiner);
        fleet.open(1, Connection::Inbound(IpAddr::from((0xc000_0200 + host % 256).to_be_bytes())));
        fleet.close(1, usize::try_from(host).unwrap() * 31);
        fleet.advance(Duration::from_millis(1));
    }
    fleet.run(50);
    let trace = &fleet.trace[before..];
    let chunks: Vec<&(u64, String, u16, bytes::Bytes)> =
        trace.iter().filter(|(_, _, kind, _)| *kind == KIND_CHUNK).collect();
    assert!(chunks.len() >= 3, "{} chunks", chunks.len());
    assert!(chunks.iter().all(|(_, from, _, payload)| payload.len() <= 64 * 1024 && from.ends_with("#b")));
    assert!(
        trace.iter().filter(|(_, _, kind, _)| *kind == KIND_MARKER).all(|(_, _, _, p)| p.len() <= 34_000)
    );
    assert_eq!(fleet.processes[0].replica.counters().chunks_received, 0, "a has the column already");
    assert_eq!(fleet.processes[joiner].replica.counters().gaps, 0);
    assert_eq!(
        fleet.shown(joiner, "inbound_cidr", Of::Global),
        Ok(fleet.truth(1, "inbound_cidr", ObjectKind::InboundCidr).unwrap())
    );
}

/// A member that reads its messages only every two seconds answers every marker late. It must get the columns all
/// the same: an answer that came to nothing would be followed by the next late one, for ever.
#[test]
fn replication_s2_5_a_joiner_that_answers_late_gets_the_chunks() {
    let mut fleet = fleet(&["a", "b"], &specs(), at_once);
    for process in &mut fleet.processes {
        process.listening = false;
    }
    let count = 20_000u32;
    for host in 0..count {
        fleet.open(1, Connection::Inbound(IpAddr::from((0x0a00_0000 + host * 3001).to_be_bytes())));
    }
    fleet.run(50);
    let joiner = fleet.start("c", specs());
    for _ in 0..6 {
        for host in 0..200u32 {
            for at in 0..2 {
                while fleet.sequence(at) {}
                while fleet.deliver(at) {}
            }
            fleet.open(1, Connection::Inbound(IpAddr::from((0xc000_0200 + host % 256).to_be_bytes())));
            fleet.advance(Duration::from_millis(10));
        }
        while fleet.deliver(joiner) {}
        while fleet.carry(joiner, 0) {}
        while fleet.sequence(joiner) {}
    }
    assert!(fleet.processes[joiner].replica.complete(), "after twelve seconds and six looks at its messages");
    fleet.run(50);
    assert_eq!(
        fleet.shown(joiner, "inbound_cidr", Of::Global),
        Ok(fleet.truth(1, "inbound_cidr", ObjectKind::InboundCidr).unwrap())
    );
}

#[test]
fn replication_s2_5_a_joiner_waits_five_seconds_and_warns() {
    let mut fleet = fleet(&["a"], &specs(), at_once);
    let joiner = fleet.start("b", specs());
    while fleet.deliver(joiner) {}
    // a hangs: it reads nothing and sends nothing.
    fleet.advance(Duration::from_millis(4999));
    assert!(fleet.processes[joiner].replica.waiting());
    fleet.advance(Duration::from_millis(1));
    assert!(!fleet.processes[joiner].replica.waiting());
    let notices = fleet.processes[joiner].notices.join("\n");
    assert!(notices.contains("Warning: the counts of #ec1-00101#a have not arrived within 5 s"), "{notices}");
    fleet.run(2000);
    assert!(fleet.processes[joiner].replica.complete(), "a woke up");
}

#[test]
fn replication_s2_5_old_members_do_not_wait_for_a_joiner() {
    let mut fleet = fleet(&["a", "b"], &specs(), at_once);
    fleet.start("c", specs());
    while fleet.deliver(0) {}
    assert!(!fleet.processes[0].replica.waiting());
}

#[test]
fn replication_s1_3_reload_adds_and_removes_objects() {
    let mut fleet = fleet(&["a", "b"], &specs(), at_once);
    fleet.open(0, inbound("192.0.2.1"));
    fleet.open(1, inbound("192.0.2.1"));
    fleet.run(50);
    let without: Vec<ObjectSpec> =
        specs().into_iter().filter(|spec| spec.kind != ObjectKind::InboundCidr).collect();
    fleet.reconfigure(1, without);
    fleet.run(50);
    assert_eq!(sum(&fleet, 0, "192.0.2.1"), 1, "b no longer counts");
    assert_eq!(
        fleet.processes[1].replica.object("inbound_cidr").err(),
        Some(ReadError::UnknownObject("inbound_cidr".into()))
    );
    fleet.reconfigure(1, specs());
    fleet.run(50);
    assert_eq!((sum(&fleet, 0, "192.0.2.1"), sum(&fleet, 1, "192.0.2.1")), (1, 1), "b starts empty");
    fleet.open(1, inbound("192.0.2.1"));
    fleet.close(1, 0);
    fleet.run(50);
    assert_eq!(sum(&fleet, 0, "192.0.2.1"), 2, "the end of what was not counted is not counted");
    assert_eq!(fleet.processes[1].replica.counters().own_changes_clamped, 0);
    fleet.check_converged();
}

#[test]
fn replication_s1_3_another_kind_under_the_name_is_logged_once() {
    let mut fleet = Fleet::new(at_once);
    fleet.start("a", vec![ObjectSpec::new("x", ObjectKind::InboundCidr)]);
    fleet.start("b", vec![ObjectSpec::new("x", ObjectKind::OutboundDomains)]);
    fleet.run(50);
    for _ in 0..5 {
        fleet.open(0, inbound("192.0.2.1"));
        fleet.run(20);
    }
    fleet.check_converged();
    let about: Vec<&String> =
        fleet.processes[1].notices.iter().filter(|text| text.contains("of kind")).collect();
    assert_eq!(about.len(), 1, "{about:?}");
}

#[test]
fn replication_s4_1_a_count_below_zero_is_clamped_and_logged_once_a_minute() {
    let mut fleet = fleet(&["a", "b"], &specs(), at_once);
    let now = fleet.now;
    let client: IpAddr = "192.0.2.1".parse().unwrap();
    let replica = &mut fleet.processes[0].replica;
    let counted = replica.inbound_opened(now, client);
    for _ in 0..3 {
        replica.inbound_closed(now, client, counted);
    }
    assert_eq!(replica.counters().own_changes_clamped, 2);
    fleet.turn_ends(0);
    assert_eq!(fleet.processes[0].notices.len(), 1, "{:?}", fleet.processes[0].notices);
    fleet.run_coarsely(60_000);
    let now = fleet.now;
    fleet.processes[0].replica.inbound_closed(now, client, counted);
    fleet.turn_ends(0);
    assert_eq!(fleet.processes[0].notices.len(), 2);
    fleet.check_converged();
}

#[test]
fn replication_s4_1_a_mapped_address_is_the_ipv4_address() {
    let mut fleet = fleet(&["a", "b"], &specs(), at_once);
    fleet.open(1, inbound("::ffff:192.0.2.1"));
    fleet.open(1, inbound("2001:db8::1"));
    fleet.run(50);
    assert_eq!((sum(&fleet, 0, "192.0.2.1"), sum(&fleet, 0, "2001:db8::/32")), (1, 1));
}

#[test]
fn replication_s8_4_hosts_are_counted_over_bindings() {
    let mut fleet = fleet(&["a", "b"], &specs(), at_once);
    fleet.open(0, outbound("x", None, "aol.com", "192.0.2.1"));
    fleet.open(1, outbound("y", None, "aol.com", "192.0.2.1"));
    fleet.run(50);
    let hosts = fleet.processes[0].replica.object("outbound_hosts").unwrap();
    assert_eq!(hosts.count(Of::Global, "mx.aol.com"), Ok(2));
    let members: Vec<u64> = hosts.columns_of_name("mx.aol.com").iter().map(|column| column.count).collect();
    assert_eq!(members, [1, 1]);
}

#[test]
fn replication_a24_unknown_names() {
    let fleet = fleet(&["a", "b"], &specs(), at_once);
    let replica = &fleet.processes[0].replica;
    let text = |name, of| replica.show(name, of).unwrap_err().to_string();
    assert_eq!(text("nosuch", Of::Global), "unknown shared object 'nosuch'");
    assert_eq!(text("inbound_cidr/x", Of::Global), "unknown shared object 'inbound_cidr/x'");
    assert_eq!(text("inbound_cidr", Of::Node("z")), "no view of 'inbound_cidr' from node 'z'");
    assert!(replica.show("inbound_cidr", Of::Node("a")).is_ok(), "the local node's own name");
    assert_eq!(replica.show("shared_named_throttles", Of::Global).unwrap().rows, Rows::Throttles(Vec::new()));
}

#[test]
fn a_node_that_is_alone_sends_nothing() {
    let mut fleet = fleet(&["a"], &specs(), at_once);
    for _ in 0..10 {
        fleet.open(0, inbound("192.0.2.1"));
        fleet.run(20);
    }
    assert!(fleet.trace.is_empty());
    assert_eq!(sum(&fleet, 0, "192.0.2.1"), 10);
}

#[test]
fn an_orderly_leave_sends_what_waits() {
    let mut fleet = fleet(&["a", "b"], &specs(), as_the_reference);
    fleet.open(1, inbound("192.0.2.1"));
    let now = fleet.now;
    fleet.processes[1].replica.flush(now);
    fleet.turn_ends(1);
    fleet.settle();
    assert_eq!(sum(&fleet, 0, "192.0.2.1"), 1);
}
