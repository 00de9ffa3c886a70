//! Limits of a fleet of real processes: a shared throttle and connection slots, driven from all nodes, through the
//! death of one. Replication document, sections 8 and 9.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::{Duration, Instant};
use support::{Fleet, console, wait_until};

const SLOTS: &str = "outbound_slots";
const KEY: &str = "domain:example.com";

fn json(fleet: &Fleet, node: usize, command: &str) -> serde_json::Value {
    serde_json::from_str(&fleet.console(node, &format!("json {command}"))).unwrap()
}

/// The table of all nodes, as each of them shows it.
fn rows(fleet: &Fleet, nodes: &[usize], object: &str) -> Vec<serde_json::Value> {
    nodes
        .iter()
        .map(|node| json(fleet, *node, &format!("cluster shared show {object}"))["data"]["rows"].clone())
        .collect()
}

fn open(fleet: &Fleet, node: usize) -> u64 {
    // Wanting no more changes nothing and tells how many there are.
    let why = json(fleet, node, &format!("cluster shared why {SLOTS} {KEY}"));
    let name = &fleet.nodes[node].name;
    let members = why["data"]["nodes"].as_array().unwrap().clone();
    members.iter().find(|member| member["node"] == name.as_str()).unwrap()["used"].as_u64().unwrap()
}

#[test]
fn a_throttle_driven_from_all_nodes_admits_what_one_node_would() {
    let fleet = Fleet::start(3);
    for node in 0..3 {
        wait_until(Duration::from_secs(20), "all are members", || {
            json(&fleet, node, "cluster membership")["data"]["view"]["size"] == 3
        });
    }
    fleet.console(0, "throttle create bulk 20/60");
    for node in 1..3 {
        wait_until(Duration::from_secs(10), "the throttle is known", || {
            fleet.console(node, "cluster shared show shared_named_throttles").contains("bulk")
        });
    }
    // Units move to whoever asks; what one node has is not there for another.
    let mut taken = [0; 3];
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        for (node, taken) in taken.iter_mut().enumerate() {
            *taken += json(&fleet, node, "throttle take bulk 1")["data"]["taken"].as_u64().unwrap();
        }
    }
    let all: u64 = taken.iter().sum();
    assert_eq!(all, 20, "{taken:?}");
    let shown = rows(&fleet, &[0, 1, 2], "shared_named_throttles");
    assert!(shown.iter().all(|rows| *rows == shown[0]), "{shown:?}");
    assert_eq!((&shown[0][0]["limit"], &shown[0][0]["window"]), (&20.into(), &60.into()));
    let text = fleet.console(1, "cluster shared show shared_named_throttles");
    let header = "lazy, snapped throttle table 'shared_named_throttles', view 'global'\n";
    let used = shown[0][0]["used"].as_u64().unwrap();
    assert_eq!(text, format!("{header}{:>60}:{used:>13} of 20/60\n", "bulk"));
    let why = fleet.console(2, "cluster shared why shared_named_throttles bulk");
    assert!(why.starts_with(&format!("shared_named_throttles 'bulk': {used} of 20/60\n")), "{why}");
    for node in &fleet.nodes {
        assert!(why.contains(&format!("  {}: ", node.name)), "{why}");
    }
    // Recorded in any case: then it is exceeded everywhere.
    fleet.console(0, "throttle inc bulk 21");
    for node in 0..3 {
        wait_until(Duration::from_secs(10), "the throttle is exceeded", || {
            json(&fleet, node, "throttle check bulk")["data"]["exceeded"] == true
        });
    }
    let control = &fleet.nodes[0].control;
    let refused = |command: &str| {
        let output = console(control, command);
        assert!(!output.status.success(), "{command}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused("throttle take nothing").contains("no such throttle 'nothing'"));
    assert!(refused("throttle create x 0/5").contains("a rate of 0 admits nothing"));
    assert!(refused("cluster shared why shared_named_throttles nothing").contains("no such key 'nothing'"));
}

#[test]
fn slots_of_a_killed_node_are_used_by_the_others() {
    let fleet = Fleet::start(3);
    for node in 0..3 {
        // The object comes with the first limit, in the running configuration.
        fleet.console(node, "config set cluster_max_outbound_connections 30");
        assert!(
            fleet
                .console(node, "cluster shared list")
                .contains("outbound_slots [lazy, slot table w/ snapshots]")
        );
    }
    wait_until(Duration::from_secs(20), "all have the table of all", || {
        (0..3).all(|node| {
            json(&fleet, node, &format!("cluster shared show {SLOTS}"))["data"]["complete"] == true
                && json(&fleet, node, "cluster membership")["data"]["view"]["size"] == 3
        })
    });
    for node in 0..3 {
        fleet.console(node, &format!("slot open {KEY} 30 30"));
    }
    let total = |fleet: &Fleet, nodes: &[usize]| nodes.iter().map(|node| open(fleet, *node)).sum::<u64>();
    wait_until(Duration::from_secs(30), "30 are open", || {
        let shown = rows(&fleet, &[0, 1, 2], SLOTS);
        // Whoever was first hands over at message boundaries.
        shown.iter().all(|rows| rows[0]["used"] == 30)
            && total(&fleet, &[0, 1, 2]) == 30
            && (0..3).all(|node| open(&fleet, node) > 0)
    });
    let text = fleet.console(0, &format!("cluster shared show {SLOTS}"));
    let header = "lazy, snapped slot table 'outbound_slots', view 'global'\n";
    assert_eq!(text, format!("{header}{KEY:>60}:{:>13} of 30\n", 30));
    let before = open(&fleet, 1);
    assert!(before > 0, "{text}");
    fleet.kill(1);
    let took = wait_until(Duration::from_secs(10), "the others use its slots", || {
        let shown = rows(&fleet, &[0, 2], SLOTS);
        shown.iter().all(|rows| rows[0]["used"] == 30) && total(&fleet, &[0, 2]) == 30
    });
    assert!(took < Duration::from_secs(4), "{took:?} for {before} slots");
    let control = &fleet.nodes[0].control;
    let gone = &fleet.nodes[1].name;
    let output = console(control, &format!("cluster shared show {SLOTS} from {gone}"));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains(&format!("no view of '{SLOTS}' from node '{gone}'"))
    );
    // Who is there cannot be forgotten, who is gone can.
    let here = &fleet.nodes[2].name;
    let output = console(control, &format!("cluster forget {here}"));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&format!("node {here} is present")));
    assert!(fleet.console(0, &format!("cluster forget {gone}")).contains("is forgotten"));
    assert_eq!(fleet.console(0, &format!("slot close {KEY}")), format!("{KEY}: 0 open, 0 wanted\n"));
}
