//! Console commands against real nodes: exact texts, exit codes, machine-readable forms.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use support::{Client, Fleet, console, wait_until};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn answers_of_a_quiet_fleet_are_exact() {
    let fleet = Fleet::start(2);
    let pids: Vec<u32> = fleet.nodes.iter().map(|node| node.pid).collect();
    let bus = fleet.dir.path().canonicalize().unwrap().join("bus/fleet");
    assert_eq!(
        fleet.console(1, "cluster info"),
        format!(
            "Daemon: {} [m:#ec0-{:05}#relay-2,s:#ec1-{:05}#relay-2]\n\
             Control Group: ec_console\n\
             Cluster Group: ec_cluster (relay-1 is leader)\n\
             Logger Group: none\n",
            bus.display(),
            pids[1],
            pids[1]
        )
    );
    assert_eq!(fleet.console(1, "cluster nodename"), "relay-2\n");
    let address = fleet.console(1, "cluster nodeaddr");
    assert!(address.starts_with("127.0.1.2:48"), "{address}");
    assert_eq!(
        fleet.console(0, "cluster shared list"),
        "Currently managed objects:\n                  \
         inbound_cidr [lazy, cidrtree w/ snapshots]\n                 \
         outbound_cidr [lazy, cidrtree w/ snapshots]\n              \
         outbound_domains [lazy, gauge table w/ snapshots]\n      \
         outbound_binding_domains [lazy, gauge table w/ snapshots]\n        \
         shared_named_throttles [lazy, throttle table w/ snapshots]\n"
    );
    // Console document, case 5; replication document, case A5.
    assert_eq!(
        fleet.console(0, "cluster shared show inbound_cidr"),
        "lazy, snapped cidrtree 'inbound_cidr', view 'global'\n"
    );
    assert_eq!(
        fleet.console(0, "cluster shared show outbound_domain"),
        "lazy, snapped gauge table 'outbound_domain', view 'global'\n"
    );
    assert_eq!(
        fleet.console(0, "cluster shared show inbound_cidr from relay-2"),
        format!("lazy, snapped cidrtree 'inbound_cidr', view '#ec1-{:05}#relay-2'\n", pids[1])
    );
    assert_eq!(fleet.console(0, "pid"), format!("{}\n", pids[0]));
    assert_eq!(fleet.console(0, "summary reset"), "statistics cleared.\n");
    let membership = fleet.console(0, "cluster membership");
    let blocks: Vec<&str> = membership.split("\n\n").collect();
    assert_eq!(blocks.len(), 2);
    assert!(blocks[1].contains("\nSubcluster: default\nNode Type: Postfleet\nVersion: "), "{membership}");
    assert!(blocks[1].trim_end().ends_with("Groups: ec_console, ec_sc_default, ec_cluster"), "{membership}");
}

#[test]
fn failures_have_their_text_and_their_exit_code() {
    let fleet = Fleet::start(1);
    let control = &fleet.nodes[0].control;
    let check = |command: &str, code: i32, stderr: &str| {
        let output = console(control, command);
        assert_eq!(
            (output.status.code(), text(&output.stderr)),
            (Some(code), format!("{stderr}\n")),
            "{command}"
        );
        assert_eq!(text(&output.stdout), "", "{command}");
    };
    // Console document, cases 4, 6 and 19; replication document, case A24.
    check("cluster shared show nosuch", 1, "unknown shared object 'nosuch'");
    check(
        "cluster shared show inbound_cidr from relay-9",
        1,
        "no view of 'inbound_cidr' from node 'relay-9'",
    );
    check("nosuch", 2, "Unknown command: nosuch. Try 'help'.");
    check("cluster shared show", 2, "Usage: cluster shared show <object> [from <node>]");
    check(
        "count SMTP x",
        2,
        "Usage: count outbound[/<binding>]|SMTP|ECStream|Control|ECmmove2|ECCluster <cidr>|<mask>|<mask>-<mask>",
    );
    let nobody = fleet.dir.path().join("nobody");
    let output = console(&nobody, "pid");
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("nobody"), "{}", text(&output.stderr));
}

/// Console document, cases 22 and 26.
#[test]
fn counts_are_shown_by_prefix_and_as_json() {
    let fleet = Fleet::start(1);
    let control = &fleet.nodes[0].control;
    let _client = Client::connect(&fleet.nodes[0].smtp).unwrap();
    assert_eq!(
        fleet.console(0, "count SMTP 32"),
        "Displaying 'SMTP' from /32 to /32\n      1                                 127.0.0.1/32\n"
    );
    assert_eq!(fleet.console(0, "count SMTP 127.0.0.0/8"), "1 sessions\n");
    let output = console(control, "json cluster shared show inbound_cidr");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["node"], "relay-1");
    assert_eq!(answer["data"]["rows"][0], serde_json::json!({"cidr": "127.0.0.0/8", "count": 1}));
    let output = console(control, "json cluster shared show nosuch");
    assert_eq!(output.status.code(), Some(1));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["error"]["code"], "no_such_object");
    let summary = fleet.console(0, "summary");
    assert!(summary.contains("\n        Inbound Concurrency:       1\n"), "{summary}");
}

/// Without framing, the way `nc -U` uses it.
#[test]
fn plain_lines_are_answered_bare() {
    let fleet = Fleet::start(1);
    let mut stream = UnixStream::connect(&fleet.nodes[0].control).unwrap();
    stream.write_all(b"pid\ncluster nodename\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (greeting, rest) = answer.split_once('\n').unwrap();
    assert!(greeting.starts_with("POSTFLEET-CONTROL 1 node relay-1 "), "{greeting}");
    assert_eq!(rest, format!("{}\nrelay-1\n", fleet.nodes[0].pid));
}

/// Bus document, case 13: a reset is a leave and a join; the node that did it is the youngest afterwards.
#[test]
fn bus_case_13_reset_leaves_and_rejoins() {
    let fleet = Fleet::start(3);
    let _held = Client::connect_from(&fleet.nodes[1].smtp_proxy, "203.0.113.7".parse().unwrap()).unwrap();
    let order = |node: usize| -> Vec<String> {
        let output = console(&fleet.nodes[node].control, "cluster membership");
        text(&output.stdout)
            .lines()
            .filter_map(|line| line.strip_prefix("Node Name: "))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(order(0), ["relay-1", "relay-2", "relay-3"]);
    assert_eq!(fleet.console(1, "cluster reset"), "Cluster membership reset.\n");
    for node in 0..3 {
        wait_until(Duration::from_secs(10), "the node is back at the end", || {
            order(node) == ["relay-1", "relay-3", "relay-2"]
        });
        // Its connections were open all the time, and are counted again.
        wait_until(Duration::from_secs(10), "its connection is counted once", || {
            fleet
                .console(node, "cluster shared show inbound_cidr")
                .contains("      1                         203.0.113.7/32\n")
        });
    }
}

/// `shutdown` ends the node in an orderly way.
#[test]
fn shutdown_stops_the_node() {
    let fleet = Fleet::start(1);
    assert_eq!(fleet.console(0, "shutdown"), "Shutting down.\n");
    wait_until(Duration::from_secs(10), "the process has ended", || !support::alive(fleet.nodes[0].pid));
}
