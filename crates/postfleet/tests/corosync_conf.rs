//! `postfleet corosync-conf` as an operator runs it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postfleet")).arg("corosync-conf").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn nodes_by_name() {
    let output = run(&[
        "--cluster-name",
        "mail1",
        "--node",
        "relay-1=10.1.0.11,192.0.2.11",
        "--node",
        "4:relay-2=10.1.0.12,192.0.2.12",
        "--manager",
        "manager=10.1.0.5,192.0.2.5",
        "--voting-managers",
        "--config-version",
        "3",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    insta::assert_snapshot!(text(&output.stdout));
}

#[test]
fn hosts_of_an_mbus_conf_and_of_msgc_peers_are_the_same_ring() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mbus =
        write("mbus.conf", "Spread_Segment 10.1.0.255:4803 {\n  Relay-1 10.1.0.11\n  relay-2 10.1.0.12\n}\n");
    let msgc = write(
        "msgc_server.conf",
        "msgc_server {\n  peers = [ relay-1 = \"10.1.0.11\" relay-2 = \"10.1.0.12\" ]\n}\n",
    );
    let by_name = run(&["--node", "relay-1=10.1.0.11", "--node", "relay-2=10.1.0.12"]);
    assert!(by_name.status.success());
    for file in [&mbus, &msgc] {
        let output = run(&[file]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), text(&by_name.stdout));
    }
    let empty = write("empty.conf", "Hostname = \"mx.example\"\n");
    let output = run(&[&empty]);
    assert!(!output.status.success());
    let errors = text(&output.stderr);
    assert!(
        errors.contains(&format!("{empty}: it has neither a Spread_Segment nor msgc_server")),
        "{errors}"
    );
}

#[test]
fn what_is_dangerous_is_said_and_what_is_wrong_prints_no_file() {
    let check = |arguments: &[&str], works: bool, wanted: &str| {
        let output = run(arguments);
        assert_eq!(output.status.success(), works, "{arguments:?}");
        assert_eq!(output.stdout.is_empty(), !works);
        let errors = text(&output.stderr);
        assert!(errors.contains(wanted), "{errors}");
    };
    let unprotected = "warning: this ring is neither encrypted nor authenticated";
    check(&["--no-key", "--node", "a=10.0.0.1"], true, unprotected);
    check(&["--transport", "udpu", "--node", "a=10.0.0.1"], true, unprotected);
    check(&["--token", "1000", "--node", "a=10.0.0.1"], true, "warning: token = 1000 ms");
    check(&[], false, "postfleet: no hosts; name them with --node NAME=ADDRESS");
    check(&["--node", "a=relay.example"], false, "\"relay.example\" is no IP address");
    check(&["--node", "a"], false, "use NAME=ADDRESS, for example relay-1=10.1.0.11");
    check(&["--node", "x:a=10.0.0.1"], false, "\"x\" is no number of a host");
    check(&["--two-node", "yes", "--node", "a=10.0.0.1"], false, "two-node mode needs exactly two hosts");
    let many: Vec<String> = (1..=33).map(|n| format!("--node=relay-{n}=10.0.0.{n}")).collect();
    let arguments: Vec<&str> = many.iter().map(String::as_str).collect();
    check(&arguments, true, "nodes refuse rings of more than 32 unless allow_large_ring = true");
    check(&arguments[..17], true, "17 hosts; up to 16 are supported. A silent host is noticed after 9.3 s");
}
