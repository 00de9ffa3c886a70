//! One host: a node without its engine, with it, and with a ring that is too large.

use crate::fleet::Fleet;
use crate::support::Client;
use postfleet_bus_corosync::conf::Host;
use postfleet_testbed::ring::{HostId, mail_address};

/// Bus document, acceptance case 8: the node relays before Corosync runs, joins when it does, says once that it is
/// gone, and comes back under the same names.
pub fn engine_comes_and_goes(prefix: &str) {
    let mut fleet = Fleet::without_daemons(&format!("{prefix}-s"), 1, |_| ());
    let host = HostId(0);
    fleet.start_node(host);
    let info = |fleet: &Fleet| fleet.console(host, "cluster info").unwrap_or_default();
    fleet.wait("the node answers without its engine", || {
        info(&fleet).starts_with("Daemon: 4803 [disconnected]\n")
    });
    fleet.wait("it says why", || fleet.log(host).contains("Corosync does not run on this host"));
    let mail = |fleet: &Fleet| {
        let mut client = Client::connect(&format!("{}:2525", mail_address(host))).unwrap();
        client.command("EHLO client.example").unwrap();
        assert!(client.message("someone@test.example", "hello").is_ok(), "{}", fleet.report());
    };
    mail(&fleet);
    // Several attempts later it is still said once for each connection.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(
        fleet.log(host).matches("Failed connection to messaging bus").count(),
        2,
        "{}",
        fleet.log(host)
    );

    fleet.ring.form();
    let pid = fleet.pid(host);
    let connected = format!(
        "Daemon: 4803 [m:#ec0-{pid:05}#relay-1,s:#ec1-{pid:05}#relay-1]\nControl Group: ec_console\n\
         Cluster Group: ec_cluster (relay-1 is leader)\nLogger Group: none\n"
    );
    fleet.wait("it has joined", || info(&fleet) == connected);
    assert!(fleet.log(host).contains("messaging bus is back"));

    fleet.ring.kill_daemon(host);
    let took = fleet.wait("it says that its engine is gone", || {
        info(&fleet)
            == "Daemon: 4803 [disconnected]\nControl Group: ec_console\nCluster Group: ec_cluster (no leader)\n\
                Logger Group: none\n"
    });
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
    mail(&fleet);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let lines = fleet.log(host);
    assert_eq!(lines.matches("Error on messaging bus: the engine went away").count(), 2, "{lines}");
    assert_eq!(lines.matches("Failed connection to messaging bus").count(), 2, "{lines}");
    fleet.ring.form();
    let took = fleet.wait("it is back under the same names", || info(&fleet) == connected);
    assert!(took < std::time::Duration::from_secs(10), "{took:?}");
}

/// Bus document, acceptance case 20: a ring of 33 hosts is refused, with the way to override it; of 17, warned of.
pub fn large_rings(prefix: &str) {
    let host = HostId(0);
    let with = |hosts: u8| {
        Fleet::without_daemons(&format!("{prefix}-l{hosts}"), 1, |plan| {
            // The node list counts; nobody but the first host runs.
            plan.hosts.extend((2..=hosts).map(|number| Host {
                id: None,
                name: format!("relay-{number}"),
                addresses: vec![std::net::IpAddr::from([10, 77, 1, number])],
                votes: true,
            }));
        })
    };
    let mut fleet = with(33);
    fleet.ring.form();
    fleet.start_node(host);
    let refused = "CFG-6226 the Corosync ring has 33 hosts; more than 32 are not supported";
    fleet.wait("the ring is refused", || fleet.log(host).contains(refused));
    assert!(fleet.log(host).contains("allow_large_ring = true"), "{}", fleet.log(host));
    fleet.wait("the node goes on", || {
        fleet.console(host, "cluster info").is_some_and(|text| text.contains("[disconnected]"))
    });
    fleet.kill_node(host);
    fleet.configure(host, "allow_large_ring = true");
    fleet.start_node(host);
    fleet.wait_together();
    drop(fleet);

    let mut fleet = with(17);
    fleet.ring.form();
    fleet.start_node(host);
    fleet.wait_together();
    let warned = "[warning] CFG-6225 The Corosync ring has 17 hosts; up to 16 are supported.";
    fleet.wait("it is warned of", || fleet.log(host).contains(warned));
}
