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

#[test]
fn configuration_a50_names_of_a_node_that_runs() {
    const BOOT: &str = "cluster_name = east\nnode_name=east1\n# note\ncolour=red\nrepo = nowhere:0\n";
    let start = |nodename: &str, environment: &[(&str, &str)]| {
        let dir = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
        let (path, control) = (dir.path().display(), dir.path().join("console"));
        std::fs::write(dir.path().join("cluster.boot"), BOOT).unwrap();
        let text = format!(
            "Spoolbase = \"{path}/spool\"\nPidfile = \"{path}/pid\"\nControl_Listener {{ Listen \"{}\" {{}} }}\n\
             ECCluster_Listener {{ Listen \"127.0.2.9:4802\" {{ Enable = false }} }}\n\
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
        drop(node);
        (membership, std::fs::read_to_string(dir.path().join("log")).unwrap())
    };
    let check = |nodename: &str, environment: &[(&str, &str)], name: &str, subcluster: &str| {
        let (membership, log) = start(nodename, environment);
        assert!(membership.contains(&format!("Node Name: {name}\n")), "{membership}");
        assert!(membership.contains(&format!("Subcluster: {subcluster}\n")), "{membership}");
        assert!(membership.contains(&format!("ec_sc_{subcluster}")), "{membership}");
        for warning in ["line 4: unknown key 'colour'", "line 5: repo is 'nowhere:0'; expected "] {
            assert!(log.contains(warning), "{log}");
        }
    };
    check("", &[], "east1", "east");
    check("nodename = \"n9\"", &[], "n9", "east");
    check("", &[("EC_NODE_NAME", "e7"), ("EC_SUB_CLUSTER", "west")], "e7", "west");
    check("nodename = \"n9\"", &[("EC_NODE_NAME", "e7")], "n9", "east");
}
