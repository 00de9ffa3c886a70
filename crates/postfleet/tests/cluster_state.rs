//! What a node says of its cluster: who is there and how well, and that the bus is not there.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;
use support::{Fleet, console, start_node, wait_until};

#[test]
fn membership_tells_clock_offset_heartbeat_age_and_detection_time() {
    let fleet = Fleet::start(2);
    let json = |node| -> serde_json::Value {
        serde_json::from_str(&fleet.console(node, "json cluster membership")).unwrap()
    };
    wait_until(Duration::from_secs(20), "both have heard both", || {
        (0..2).all(|node| {
            let members = json(node)["data"]["members"].as_array().unwrap().clone();
            members.len() == 2 && members.iter().all(|member| member["clock_offset_ms"].is_i64())
        })
    });
    let answer = json(0);
    for member in answer["data"]["members"].as_array().unwrap() {
        // Two processes of one machine have one clock.
        assert!(member["clock_offset_ms"].as_i64().unwrap().abs() < 2000, "{member}");
        assert!(member["heartbeat_age"].as_f64().unwrap() < 30.0, "{member}");
    }
    assert_eq!(answer["data"]["view"]["detection_time"].as_f64(), Some(4.0), "{answer}");
    let text = fleet.console(1, "cluster membership -v");
    let blocks: Vec<&str> = text.split("\n\n").collect();
    assert_eq!(blocks.len(), 3, "{text}");
    for block in &blocks[..2] {
        for line in ["\nClock Offset: ", " ms\nHeartbeat Age: ", " s\nView: "] {
            assert!(block.contains(line), "{text}");
        }
    }
    assert_eq!(blocks[2], "Detection Time: 4.0 s\n");
    assert!(!fleet.console(1, "cluster membership").contains("Detection"), "the plain form is what it was");
}

/// Bus document, acceptance case 8: without the bus, a node says so and goes on.
#[test]
fn bus_case_08_a_node_without_its_bus_says_so_and_takes_mail() {
    let dir = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
    let path = dir.path().display();
    let smtp = std::net::TcpListener::bind("127.0.2.9:0").unwrap().local_addr().unwrap().to_string();
    let control = dir.path().join("console");
    // The folder of the bus is not there yet.
    let text = format!(
        "Hostname = \"mx.test.example\"\nSpoolbase = \"{path}/spool\"\nPidfile = \"{path}/pid\"\n\
         Relay_Domains = ( \"a.example\" )\n\
         ESMTP_Listener {{ Listen \"{smtp}\" {{}} }}\nControl_Listener {{ Listen \"{}\" {{}} }}\n\
         ECCluster_Listener {{ Listen \"127.0.2.9:4802\" {{ Enable = false }} }}\n\
         cluster {{ bus = \"local\" mbus_daemon = \"{path}/later/bus\" nodename = \"lone\" nodeaddr = \"127.0.2.9\" \
         Replicate \"inbound_cidr\" {{}} }}\n",
        control.display()
    );
    let config = dir.path().join("postfleet.conf");
    std::fs::write(&config, text).unwrap();
    let mut child = start_node(&config, &dir.path().join("node.log"));
    let said = |command: &str| {
        let output = console(&control, command);
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let down = format!(
        "Daemon: {path}/later/bus [disconnected]\nControl Group: ec_console\n\
         Cluster Group: ec_cluster (no leader)\nLogger Group: none\n"
    );
    wait_until(Duration::from_secs(20), "the node answers", || said("cluster info") == (true, down.clone()));
    let (success, text) = said("cluster membership");
    assert_eq!((success, text.trim_end()), (false, ""), "an error, on standard error");
    let error = String::from_utf8(console(&control, "cluster membership").stderr).unwrap();
    assert!(error.contains("Not connected to the cluster."), "{error}");
    let mut client = support::Client::connect(&smtp).unwrap();
    client.command("EHLO client.example").unwrap();
    client.message("r@a.example", "while the bus is away").unwrap();
    assert_eq!(
        said("cluster shared show inbound_cidr").1.lines().last().map(str::trim_start),
        Some("1                         127.0.0.1/32")
    );
    std::fs::create_dir(dir.path().join("later")).unwrap();
    wait_until(Duration::from_secs(20), "the bus is back", || {
        said("cluster info").1.contains("[m:#ec0-") && said("cluster info").1.contains("(lone is leader)")
    });
    drop(child.kill());
    drop(child.wait());
}
