//! Three real nodes share their connection counts.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use support::{Client, Fleet, wait_until};

const SHOW: &str = "cluster shared show inbound_cidr";

/// The rows of a display by prefix.
fn rows(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .skip(1)
        .map(|line| {
            let (count, prefix) = line.trim_start().split_once(char::is_whitespace).unwrap();
            (prefix.trim().to_owned(), count.parse().unwrap())
        })
        .collect()
}

fn leaves(text: &str) -> BTreeMap<String, u64> {
    rows(text).into_iter().filter(|(prefix, _)| prefix.ends_with("/32")).collect()
}

fn address(index: u32) -> IpAddr {
    // 200 addresses in several /8, /16 and /24.
    let index = index % 200;
    let third = u8::try_from(index % 7).unwrap();
    let fourth = u8::try_from(index % 251).unwrap();
    IpAddr::V4(Ipv4Addr::new([10, 172, 198][(index % 3) as usize], 16, third, fourth))
}

/// 300 connections from 200 addresses over three nodes: equal rows everywhere, node views that add up, nothing
/// left after closing.
#[test]
fn three_hundred_connections_are_counted_once_everywhere() {
    let fleet = Fleet::start(3);
    let mut clients = Vec::new();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for index in 0..300 {
        let source = address(index);
        let node = &fleet.nodes[(index % 3) as usize];
        clients.push(Client::connect_from(&node.smtp_proxy, source).unwrap());
        *expected.entry(format!("{source}/32")).or_default() += 1;
    }
    assert_eq!(expected.len(), 200);
    for node in 0..3 {
        wait_until(Duration::from_secs(5), "all connections are visible", || {
            leaves(&fleet.console(node, SHOW)) == expected
        });
    }
    // Nothing has closed yet: branch rows agree too.
    let first = rows(&fleet.console(0, SHOW));
    assert!(first.len() > 200);
    for node in 1..3 {
        assert_eq!(rows(&fleet.console(node, SHOW)), first);
    }
    // The node views add up, and every node knows the same ones.
    for observer in 0..3 {
        let mut sum: BTreeMap<String, u64> = BTreeMap::new();
        for node in &fleet.nodes {
            for (prefix, count) in leaves(&fleet.console(observer, &format!("{SHOW} from {}", node.name))) {
                *sum.entry(prefix).or_default() += count;
            }
        }
        assert_eq!(sum, expected);
    }
    drop(clients);
    for node in 0..3 {
        wait_until(Duration::from_secs(5), "all connections are gone", || {
            fleet.console(node, SHOW) == "lazy, snapped cidrtree 'inbound_cidr', view 'global'\n"
        });
    }
}

/// kill -9 takes exactly the dead node's share away, within two seconds; the node comes back under a new name.
#[test]
fn a_killed_node_takes_its_share_along() {
    let mut fleet = Fleet::start(3);
    let source: IpAddr = "203.0.113.5".parse().unwrap();
    let mut clients = Vec::new();
    for (node, count) in [(0, 4), (1, 5), (2, 6)] {
        for _ in 0..count {
            clients.push(Client::connect_from(&fleet.nodes[node].smtp_proxy, source).unwrap());
        }
    }
    let seen =
        |fleet: &Fleet, node| leaves(&fleet.console(node, SHOW)).get("203.0.113.5/32").copied().unwrap_or(0);
    for node in 0..3 {
        wait_until(Duration::from_secs(5), "15 connections", || seen(&fleet, node) == 15);
    }
    let before = fleet.console(0, "cluster membership");
    assert_eq!(before.matches("Private Name: ").count(), 3);

    // relay-1 hosts the bus; its death is the hard case.
    fleet.kill(0);
    for node in 1..3 {
        let took = wait_until(Duration::from_secs(2), "the share of the dead node is gone", || {
            seen(&fleet, node) == 11
        });
        eprintln!("the share of the killed node was gone on node {node} after {took:?}");
        let output = support::console(&fleet.nodes[node].control, &format!("{SHOW} from relay-1"));
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "no view of 'inbound_cidr' from node 'relay-1'\n"
        );
    }

    fleet.restart(0);
    let pid = fleet.nodes[0].pid;
    let name = format!("#ec1-{pid:05}#relay-1");
    for node in 0..3 {
        wait_until(Duration::from_secs(10), "the node is a member again", || {
            fleet.console(node, "cluster membership").matches("Private Name: ").count() == 3
        });
        wait_until(Duration::from_secs(10), "the survivors' counts are there", || seen(&fleet, node) == 11);
    }
    clients.push(Client::connect_from(&fleet.nodes[0].smtp_proxy, source).unwrap());
    for node in 0..3 {
        wait_until(Duration::from_secs(5), "the new connection is seen", || seen(&fleet, node) == 12);
        let view = fleet.console(node, &format!("{SHOW} from relay-1"));
        assert!(
            view.starts_with(&format!("lazy, snapped cidrtree 'inbound_cidr', view '{name}'\n")),
            "{view}"
        );
    }
    // Age decides the order: the node that came back is the youngest, and not the leader.
    let after = fleet.console(1, "cluster membership");
    let order: Vec<&str> = after.lines().filter_map(|line| line.strip_prefix("Node Name: ")).collect();
    assert_eq!(order, ["relay-2", "relay-3", "relay-1"]);
    assert!(fleet.console(0, "cluster info").contains("ec_cluster (relay-2 is leader)"));
}

/// IPv6 clients are counted beside IPv4 ones, IPv4 first.
#[test]
fn both_families_are_shown() {
    let fleet = Fleet::start(2);
    let _four = Client::connect_from(&fleet.nodes[0].smtp_proxy, "192.0.2.9".parse().unwrap()).unwrap();
    let _six = Client::connect_from(&fleet.nodes[1].smtp_proxy, "2001:db8::9".parse().unwrap()).unwrap();
    for node in 0..2 {
        wait_until(Duration::from_secs(5), "both are visible", || {
            fleet.console(node, SHOW)
                == "lazy, snapped cidrtree 'inbound_cidr', view 'global'\n      \
                    1                         192.0.0.0/8\n      \
                    1                         192.0.2.9/32\n      \
                    1                         2001:db8::/32\n      \
                    1                         2001:db8::9/128\n"
        });
    }
}
