use super::*;

fn host(name: &str, addresses: &[&str]) -> Host {
    Host {
        id: None,
        name: name.to_owned(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        votes: true,
    }
}

fn relays(count: u8) -> Vec<Host> {
    (1..=count).map(|n| host(&format!("relay-{n}"), &[&format!("10.1.0.{}", 10 + n)])).collect()
}

#[test]
fn three_relays_with_two_links() {
    let hosts = vec![
        host("relay-1", &["10.1.0.11", "192.0.2.11"]),
        host("relay-2", &["10.1.0.12", "192.0.2.12"]),
        host("relay-3", &["10.1.0.13", "192.0.2.13"]),
    ];
    insta::assert_snapshot!(RingPlan::new("mail1", hosts).render().unwrap());
}

#[test]
fn two_relays() {
    insta::assert_snapshot!(RingPlan::new("mail1", relays(2)).render().unwrap());
}

#[test]
fn udpu_with_a_manager_and_a_log_file() {
    let mut hosts = relays(2);
    hosts.push(Host { votes: false, ..host("manager", &["10.1.0.5"]) });
    let plan = RingPlan {
        transport: Transport::Udpu,
        log_file: Some("/var/log/corosync/corosync.log".into()),
        config_version: 7,
        token_ms: 1500,
        ..RingPlan::new("mail_2", hosts)
    };
    insta::assert_snapshot!(plan.render().unwrap());
}

/// A host without a vote takes nothing from the two that have one.
#[test]
fn two_voting_hosts_are_a_two_node_ring_beside_a_manager_too() {
    let two_node = |hosts: Vec<Host>, two_node| {
        let text = RingPlan { two_node, ..RingPlan::new("m", hosts) }.render().unwrap();
        let says = |line: &str| text.lines().any(|other| other.trim() == line);
        assert_eq!(says("two_node: 1"), says("wait_for_all: 0"));
        says("two_node: 1")
    };
    let mut hosts = relays(2);
    hosts.push(Host { votes: false, ..host("manager", &["10.1.0.5"]) });
    assert!(two_node(hosts.clone(), TwoNode::Auto) && two_node(hosts.clone(), TwoNode::Yes));
    assert!(!two_node(hosts.clone(), TwoNode::No));
    hosts[2].votes = true;
    assert!(!two_node(hosts, TwoNode::Auto));
    assert!(!two_node(relays(3), TwoNode::Auto));
}

/// The daemon's parser wants every setting and every brace on a line of its own.
#[test]
fn every_setting_and_every_brace_has_a_line() {
    for plan in [
        RingPlan::new("m", relays(1)),
        RingPlan::new("m", vec![host("a", &["2001:db8::1"]), host("b", &["2001:db8::2"])]),
        RingPlan { key: Key::None, ..RingPlan::new("m", relays(9)) },
        RingPlan { transport: Transport::Udpu, ..RingPlan::new("m", relays(2)) },
    ] {
        let text = plan.render().unwrap();
        let mut depth = 0_i32;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            assert!(line == "}" || line.ends_with(" {") || line.split(": ").count() == 2, "{line}");
            depth += i32::from(line.ends_with('{')) - i32::from(line == "}");
        }
        assert_eq!(depth, 0);
    }
}

/// A host that goes leaves a gap; the others keep their numbers, and a new one fills what is free.
#[test]
fn numbers_stay() {
    let mut hosts = relays(3);
    hosts[0].id = Some(2);
    hosts[1].id = Some(4);
    let ids = |hosts: &[Host]| {
        let text = RingPlan::new("m", hosts.to_vec()).render().unwrap();
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nodeid: ")).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    assert_eq!(ids(&hosts), ["2", "4", "1"]);
    hosts[2].id = Some(4);
    let error = RingPlan::new("m", hosts).render().unwrap_err().to_string();
    assert_eq!(error, "host relay-3: number 4 is taken, or is not from 1 to 65535");
}

#[test]
fn plans_that_make_no_ring() {
    let check = |plan: RingPlan, wanted: &str| {
        assert_eq!(plan.render().unwrap_err().to_string(), wanted);
    };
    let with = |hosts| RingPlan::new("m", hosts);
    check(with(vec![]), "no hosts; name them with --node NAME=ADDRESS, or a file that lists peers");
    check(
        with(vec![host("Relay", &["10.0.0.1"])]),
        "host name \"Relay\": use 1 to 63 of a-z, 0-9 and `-`, as the node's name",
    );
    check(with(vec![host("a", &["10.0.0.1"]), host("a", &["10.0.0.2"])]), "two hosts are called a");
    check(with(vec![host("a", &["10.0.0.1"]), host("b", &["10.0.0.1"])]), "10.0.0.1 belongs to two hosts");
    check(
        with(vec![host("a", &["127.0.0.1"])]),
        "host a: 127.0.0.1 is no address that other hosts can reach",
    );
    check(
        with(vec![host("a", &["10.0.0.1", "10.1.0.1"]), host("b", &["10.0.0.2"])]),
        "host b has 1 addresses and a has 2; each link needs one address on every host",
    );
    check(
        with(vec![host("a", &["10.0.0.1"]), host("b", &["2001:db8::2"])]),
        "host b: 2001:db8::2 and the first host's address on link 0 are of different IP versions",
    );
    check(
        RingPlan { transport: Transport::Udpu, ..with(vec![host("a", &["10.0.0.1", "10.1.0.1"])]) },
        "2 addresses for each host; udpu has at most 1 links",
    );
    check(
        RingPlan { two_node: TwoNode::Yes, ..with(relays(3)) },
        "two-node mode needs exactly two hosts that vote, and there are 3; leave it out",
    );
    check(RingPlan { token_ms: 20, ..with(relays(2)) }, "token = 20 ms; use 300 to 60000");
    check(with(relays(101)), "101 hosts; a ring has at most 100");
    check(
        RingPlan { cluster_name: "a b".into(), ..with(relays(1)) },
        "cluster name \"a b\": use 1 to 31 of A-Z, a-z, 0-9, `_` and `-`",
    );
    check(
        RingPlan { key: Key::File("key\nx: y".into()), ..with(relays(1)) },
        "key\nx: y: use an absolute path without spaces",
    );
    let manager = Host { votes: false, ..host("a", &["10.0.0.1"]) };
    check(with(vec![manager]), "no host has a vote; managers do not vote unless --voting-managers is given");
}
