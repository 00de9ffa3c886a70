//! A node that comes back gets long columns of counts over the cluster listener, under TLS with the fleet's key.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;
use support::{Client, Fleet, PROGRAM, console, start_node, wait_until};

const SHOW: &str = "cluster shared show inbound_cidr";

/// More than a marker carries itself (32 KiB), at some 17 bytes for an address.
const SESSIONS: u16 = 2200;

fn log(fleet: &Fleet, node: usize) -> String {
    std::fs::read_to_string(&fleet.nodes[node].log).unwrap()
}

/// Starts the nodes of a demo anew, with a key and TLS between them.
fn restart_with_key(fleet: &mut Fleet) {
    let stopped =
        Command::new(PROGRAM).args(["demo", "--stop", "--dir"]).arg(fleet.dir.path()).status().unwrap();
    assert!(stopped.success());
    for index in 0..fleet.nodes.len() {
        let node = fleet.nodes[index].clone();
        let key = node.config.with_extension("key");
        std::fs::write(&key, "the fleet's key ".repeat(4)).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = std::fs::read_to_string(&node.config)
            .unwrap()
            .replace("ECCluster_Listener {", "ECCluster_Listener {\n  TLS = required");
        std::fs::write(&node.config, format!("Cluster_Key = \"{}\"\n{config}", key.display())).unwrap();
        let child = start_node(&node.config, &node.log);
        fleet.nodes[index].pid = child.id();
        fleet.adopt(child);
        wait_until(Duration::from_secs(20), "the node is a member", || {
            console(&node.control, "cluster membership").status.success()
        });
    }
}

fn sessions(fleet: &Fleet) -> Vec<Client> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    (0..SESSIONS)
        .map(|number| {
            // Scattered, so that neighbours have little in common.
            let high = number.wrapping_mul(40_503);
            let source = Ipv6Addr::new(high | 1, number, high, number, high, number, high, number);
            Client::connect_from(&fleet.nodes[0].smtp_proxy, IpAddr::V6(source)).unwrap()
        })
        .collect()
}

#[test]
fn replication_s2_5_a_node_that_comes_back_fetches_what_is_open() {
    let mut fleet = Fleet::start(2);
    restart_with_key(&mut fleet);
    let open = sessions(&fleet);
    let rows = fleet.console(0, SHOW);
    wait_until(Duration::from_secs(20), "both show the same", || fleet.console(1, SHOW) == rows);
    fleet.kill(1);
    fleet.restart(1);
    let again =
        wait_until(Duration::from_secs(20), "it has everything again", || fleet.console(1, SHOW) == rows);
    assert!(again < Duration::from_secs(5), "{again:?}");
    let log = log(&fleet, 1);
    assert!(log.contains("were fetched from it"), "{log}");
    assert!(!log.contains("cannot be fetched"), "{log}");
    drop(open);
    wait_until(Duration::from_secs(20), "nothing is left", || {
        fleet.console(1, SHOW) == "lazy, snapped cidrtree 'inbound_cidr', view 'global'\n"
    });
}
