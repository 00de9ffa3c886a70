//! A node that stands still is put out, and comes back; one that stands still for a moment is not.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};
use support::{Fleet, PROGRAM, console, start_node, wait_until};

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

fn order(fleet: &Fleet, node: usize) -> Vec<String> {
    let output = console(&fleet.nodes[node].control, "cluster membership");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| line.strip_prefix("Node Name: ")).map(str::to_owned).collect()
}

/// Bus document, acceptance cases 10 and 11, with a limit of three heartbeats instead of ten.
#[test]
fn bus_cases_10_and_11_a_stopped_node_is_put_out_and_comes_back() {
    let mut fleet = Fleet::start(3);
    // The same fleet once more, with heartbeats expected from the start and three of them allowed to be missing.
    assert!(
        Command::new(PROGRAM)
            .args(["demo", "--stop", "--dir"])
            .arg(fleet.dir.path())
            .status()
            .unwrap()
            .success()
    );
    for index in 0..3 {
        let node = fleet.nodes[index].clone();
        let text = std::fs::read_to_string(&node.config).unwrap();
        let eager = "bus = \"local\"\n  heartbeat_start_delay = 0\n  heartbeat_miss_limit = 3";
        std::fs::write(&node.config, text.replace("bus = \"local\"", eager)).unwrap();
        let child = start_node(&node.config, &node.log);
        fleet.nodes[index].pid = child.id();
        fleet.adopt(child);
        wait_until(Duration::from_secs(20), "the node is a member", || {
            console(&node.control, "cluster membership").status.success()
        });
    }
    wait_until(Duration::from_secs(10), "all are there", || order(&fleet, 0).len() == 3);
    // A heartbeat of everybody is on record: silence counts from it.
    std::thread::sleep(Duration::from_millis(1500));

    // Two seconds are not enough. relay-3 does not host the bus.
    signal(fleet.nodes[2].pid, "-STOP");
    std::thread::sleep(Duration::from_secs(1));
    signal(fleet.nodes[2].pid, "-CONT");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(order(&fleet, 0), ["relay-1", "relay-2", "relay-3"]);

    signal(fleet.nodes[2].pid, "-STOP");
    let stopped = Instant::now();
    for node in 0..2 {
        wait_until(Duration::from_secs(15), "the stopped node is put out", || {
            order(&fleet, node) == ["relay-1", "relay-2"]
        });
    }
    assert!(stopped.elapsed() >= Duration::from_millis(1900), "too early: {:?}", stopped.elapsed());
    let log = std::fs::read_to_string(&fleet.nodes[0].log).unwrap();
    assert!(
        log.contains("[error] Node relay-3 does not answer heartbeats; removed from the cluster view"),
        "{log}"
    );
    signal(fleet.nodes[2].pid, "-CONT");
    for node in 0..3 {
        wait_until(Duration::from_secs(20), "it is back, at the end of the order", || {
            order(&fleet, node) == ["relay-1", "relay-2", "relay-3"]
        });
    }
    // Old heartbeats, read late, are no wrong clocks.
    for node in &fleet.nodes {
        let log = std::fs::read_to_string(&node.log).unwrap();
        assert!(!log.contains("The clock of node"), "{log}");
    }
}
