//! What a node calls itself: its configuration, the environment and `cluster.boot`, on the way of a real start.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{PROGRAM, console, wait_until};

/// A node that is stopped with the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Acceptance cases 5, 7 and 19 of the bus: names, groups by the subcluster, and the address of the first `Listen`.
#[test]
fn bus_cases_05_07_19_and_configuration_a50_names_of_a_node_that_runs() {
    const BOOT: &str = "cluster_name = east\nnode_name=east1\n# note\ncolour=red\nrepo = nowhere:0\n";
    let start = |nodename: &str, environment: &[(&str, &str)]| {
        let dir = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
        let (path, control) = (dir.path().display(), dir.path().join("console"));
        std::fs::write(dir.path().join("cluster.boot"), BOOT).unwrap();
        let text = format!(
            "Spoolbase = \"{path}/spool\"\nPidfile = \"{path}/pid\"\nControl_Listener {{ Listen \"{}\" {{}} }}\n\
             ECCluster_Listener {{ Listen \"127.0.2.9:4802\" {{ Enable = false }} Listen \"127.0.2.9:4902\" {{ Enable = false }} }}\n\
             cluster {{ bus = \"solo\" nodeaddr = \"127.0.2.9\" {nodename} }}\n",
            control.display()
        );
        std::fs::write(dir.path().join("postfleet.conf"), text).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut program = Command::new(PROGRAM);
        // Nothing but the directory says which file is the main one.
        program.arg("node").env("POSTFLEET_ETC", dir.path()).env_remove("EC_CONF_SEARCH_PATH");
        program.env_remove("EC_NODE_NAME").env_remove("EC_SUB_CLUSTER").envs(environment.iter().copied());
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let node = Started(program.spawn().unwrap());
        let member = || String::from_utf8(console(&control, "cluster membership").stdout).unwrap();
        wait_until(Duration::from_secs(20), "the node is a member", || member().contains("Groups: "));
        let membership = member();
        let said = |command: &str| String::from_utf8(console(&control, command).stdout).unwrap();
        assert_eq!(said("cluster nodeaddr"), "127.0.2.9:4802\n");
        let name = said("cluster nodename");
        assert!(membership.contains(&format!("Node Name: {name}")), "{membership}{name}");
        drop(node);
        (membership, std::fs::read_to_string(dir.path().join("log")).unwrap())
    };
    let check = |nodename: &str, environment: &[(&str, &str)], name: &str, subcluster: &str| {
        let (membership, log) = start(nodename, environment);
        assert!(membership.contains(&format!("Node Name: {name}\n")), "{membership}");
        assert!(membership.contains(&format!("Subcluster: {subcluster}\n")), "{membership}");
        let groups = format!("Groups: ec_console, ec_sc_{subcluster}, ec_cluster\n");
        assert!(membership.contains(&groups), "{membership}");
        assert!(membership.contains("Address: 127.0.2.9:4802\n"), "{membership}");
        for warning in ["line 4: unknown key 'colour'", "line 5: repo is 'nowhere:0'; expected "] {
            assert!(log.contains(warning), "{log}");
        }
    };
    check("", &[], "east1", "east");
    check("nodename = \"n9\"", &[], "n9", "east");
    check("", &[("EC_NODE_NAME", "e7"), ("EC_SUB_CLUSTER", "west")], "e7", "west");
    check("nodename = \"n9\"", &[("EC_NODE_NAME", "e7")], "n9", "east");
}

/// One node that shares with nobody is its own leader, and all that fleets share works.
#[test]
fn bus_case_21_a_node_on_the_bus_of_one() {
    let dir = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
    let (path, control) = (dir.path().display(), dir.path().join("console"));
    let text = format!(
        "Spoolbase = \"{path}/spool\"\nPidfile = \"{path}/pid\"\nControl_Listener {{ Listen \"{}\" {{}} }}\n\
         ECCluster_Listener {{ Listen \"127.0.2.8:4802\" {{ Enable = false }} }}\n\
         cluster {{ bus = \"solo\" nodename = \"one\" nodeaddr = \"127.0.2.8\" Replicate \"inbound_cidr\" {{}} \
         Replicate \"shared_named_throttles\" {{}} Replicate \"tokens\" {{ type = \"cache\" }} }}\n",
        control.display()
    );
    let file = dir.path().join("one.conf");
    std::fs::write(&file, text).unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut program = Command::new(PROGRAM);
    program.arg("node").arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let _node = Started(program.spawn().unwrap());
    let said = |command: &str| String::from_utf8(console(&control, command).stdout).unwrap();
    wait_until(Duration::from_secs(20), "the node is a member", || {
        said("cluster membership").contains("Groups: ")
    });
    let membership = said("cluster membership");
    assert_eq!(membership.matches("Private Name: #ec0-").count(), 1, "{membership}");
    assert_eq!(membership.matches("Private Name: ").count(), 1, "{membership}");
    assert!(said("cluster info").contains("Cluster Group: ec_cluster (one is leader)\n"));
    for object in ["inbound_cidr", "shared_named_throttles", "tokens"] {
        assert!(said("cluster shared list").contains(object));
        assert!(console(&control, &format!("cluster shared show {object}")).status.success(), "{object}");
    }
    said("throttle create few 2/60");
    let taken = || said("throttle take few 1").split(" used now").next().map(str::to_owned);
    let of_three = [taken(), taken(), taken()].map(Option::unwrap_or_default);
    assert_eq!(of_three, ["few: 1 of 1", "few: 1 of 1", "few: 0 of 1"]);
    assert!(
        console(&control, "cache set tokens key value").status.success(),
        "{}",
        said("cache set tokens key value")
    );
    assert!(said("cache get tokens key").contains("value"));
}
