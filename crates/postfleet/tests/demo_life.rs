//! The demo starts, stops, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Fleet, PROGRAM, alive, kill_9, read_fleet, wait_until};

#[test]
fn stop_ends_every_node_and_says_so() {
    let fleet = Fleet::start(2);
    let pids: Vec<u32> = fleet.nodes.iter().map(|node| node.pid).collect();
    assert!(pids.iter().all(|pid| alive(*pid)));
    let output =
        Command::new(PROGRAM).args(["demo", "--stop", "--dir"]).arg(fleet.dir.path()).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "Stopped 2 nodes.\n");
    assert!(!pids.iter().any(|pid| alive(*pid)));
    // Once more is no error.
    let output =
        Command::new(PROGRAM).args(["demo", "--stop", "--dir"]).arg(fleet.dir.path()).output().unwrap();
    assert!(output.status.success());
}

#[test]
fn a_second_fleet_in_the_same_folder_is_refused() {
    let fleet = Fleet::start(1);
    let output =
        Command::new(PROGRAM).args(["demo", "--detach", "--dir"]).arg(fleet.dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("is running; stop it with: postfleet demo --stop --dir "), "{text}");
}

/// Without a terminal the demo stays in the foreground; an interrupt ends it and its nodes, and so does kill -9.
#[test]
fn nothing_outlives_a_demo_in_the_foreground() {
    for how in ["-INT", "-KILL"] {
        let dir = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
        let mut demo = Command::new(PROGRAM)
            .args(["demo", "--nodes", "2", "--dir"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until(Duration::from_secs(60), "the fleet is up", || dir.path().join("fleet.json").exists());
        let pids: Vec<u32> = read_fleet(dir.path()).iter().map(|node| node.pid).collect();
        assert!(pids.iter().all(|pid| alive(*pid)));
        assert!(Command::new("kill").args([how, &demo.id().to_string()]).status().unwrap().success());
        demo.wait().unwrap();
        wait_until(Duration::from_secs(15), "all nodes have ended", || !pids.iter().any(|pid| alive(*pid)));
    }
}

/// A node that is stopped in an orderly way leaves: others see it go at once, and its socket is gone.
#[test]
fn an_orderly_stop_is_a_leave() {
    let fleet = Fleet::start(3);
    assert!(
        Command::new("kill").args(["-TERM", &fleet.nodes[2].pid.to_string()]).status().unwrap().success()
    );
    wait_until(Duration::from_secs(10), "two members are left", || {
        fleet.console(0, "cluster membership").matches("Private Name: ").count() == 2
    });
    wait_until(Duration::from_secs(10), "the process has ended", || !alive(fleet.nodes[2].pid));
    assert!(!fleet.nodes[2].control.exists());
}

/// The hosts of the bus are killed one after the other; the last node still answers.
#[test]
fn a_fleet_outlives_the_hosts_of_its_bus() {
    let fleet = Fleet::start(3);
    for victim in 0..2 {
        kill_9(fleet.nodes[victim].pid);
        wait_until(Duration::from_secs(5), "the dead node is out of the view", || {
            fleet.console(2, "cluster membership").matches("Private Name: ").count() == 2 - victim
        });
    }
    assert!(fleet.console(2, "cluster info").contains("(relay-3 is leader)"));
}
