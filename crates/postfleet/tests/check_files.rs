//! `postfleet check` and starting with wrong files: every problem with its place, and nothing half-started.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::process::{Command, Output, Stdio};
use support::PROGRAM;

fn run(words: &[&str], text: &str) -> (Output, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("postfleet.conf");
    std::fs::write(&file, text).unwrap();
    let path = file.canonicalize().unwrap().display().to_string();
    let output = Command::new(PROGRAM).args(words).arg(&file).stdin(Stdio::null()).output().unwrap();
    (output, path)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_valid_file_is_called_valid() {
    let (output, _) =
        run(&["check"], "Hostname = \"mx.example.net\"\nESMTP_Listener { Listen \":25\" {} }\n");
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), "Configuration valid\n");
    assert_eq!(output.status.code(), Some(0));
}

/// The verdicts, their exit status, and the names of older tools.
#[test]
fn configuration_a63_the_verdicts_of_a_check() {
    use std::os::unix::process::CommandExt as _;
    let dir = tempfile::tempdir().unwrap();
    let a11 = "Hostname = \"mx1.example.net\"\nDomain \"example.org\" {\n  Max_Outbound_Connection = 10\n}\n";
    let said = |program: &mut Command| {
        let output =
            program.env("POSTFLEET_ETC", dir.path()).env_remove("EC_CONF_SEARCH_PATH").output().unwrap();
        (text(&output.stdout), text(&output.stderr), output.status.code())
    };
    let old = || {
        let mut program = Command::new(PROGRAM);
        program.arg0("/opt/msys/ecelerity/bin/validate_config");
        program
    };
    let nothing = (String::from("No configuration found\n"), String::new(), Some(2));
    assert_eq!(said(Command::new(PROGRAM).arg("check")), nothing);
    assert_eq!(said(&mut old()), nothing);
    // A manager's file is no node's, and the other way round.
    std::fs::write(dir.path().join("eccluster.conf"), "").unwrap();
    assert_eq!(said(Command::new(PROGRAM).arg("check")), nothing);
    let valid = (String::from("Configuration valid\n"), String::new(), Some(0));
    assert_eq!(said(Command::new(PROGRAM).args(["check", "--role", "manager"])), valid);
    let file = dir.path().join("ecelerity.conf");
    std::fs::write(&file, "Hostname = \"mx1.example.net\"\n").unwrap();
    assert_eq!(said(Command::new(PROGRAM).arg("check")), valid);
    assert_eq!(said(old().arg("-c").arg(&file)), valid);
    std::fs::write(&file, a11).unwrap();
    for (output, errors, code) in
        [said(&mut old()), said(Command::new(PROGRAM).args(["check", "-c"]).arg(&file))]
    {
        assert_eq!((output.as_str(), code), ("", Some(1)));
        assert_eq!(
            errors,
            format!(
                "Syntax error in {} at line 3, column 3 near 'Max_Outbound_Connection'\n\
                 CFG-3001 'Max_Outbound_Connection' is not a valid scope name in scope 'Domain'; expected an option or \
                 stanza of scope 'Domain'\n  hint: did you mean 'Max_Outbound_Connections'?\nReconfigure failed.\n",
                file.display()
            )
        );
    }
}

#[test]
fn stanzas_of_the_other_role_are_refused() {
    let (output, _) = run(&["check", "--role", "node"], "Logs { }\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("CFG-3002"), "{}", text(&output.stderr));
    let (output, _) = run(&["check", "--role", "manager"], "Logs { }\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

/// What needs a resolver is only looked at when that is asked for.
#[test]
fn names_are_resolved_only_online() {
    let lost = "cluster {\n  bus = \"solo\"\n  nodename = \"no-such-host-here\"\n}\n";
    let (output, _) = run(&["check"], lost);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let (output, path) = run(&["check", "--online"], lost);
    let errors = text(&output.stderr);
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("", Some(1)));
    assert!(
        errors.starts_with(&format!("Configuration error in {path} at line 3, column 14 near ")),
        "{errors}"
    );
    assert!(errors.contains("CFG-6201 nodename 'no-such-host-here' did not resolve"), "{errors}");
}

/// `cluster.boot` names the node, and so the directory of files for it alone.
#[test]
fn cluster_boot_names_the_node_for_the_search() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("conf/labrat-7")).unwrap();
    std::fs::write(dir.path().join("conf/labrat-7/ecelerity.conf"), "Hostnam = x\n").unwrap();
    std::fs::write(
        dir.path().join("cluster.boot"),
        "cluster_name = default\nnode_name = labrat-7\ncolour = red\n",
    )
    .unwrap();
    let check = |name: &str| {
        let mut program = Command::new(PROGRAM);
        program.arg("check").env("POSTFLEET_ETC", dir.path()).env("EC_NODE_NAME", name);
        program.output().unwrap()
    };
    let output = check("");
    let errors = text(&output.stderr);
    assert!(errors.contains("cluster.boot: line 3: unknown key 'colour'"), "{errors}");
    assert!(errors.contains("conf/labrat-7/ecelerity.conf at line 1"), "{errors}");
    // The environment comes first.
    assert_eq!(check("labrat-8").status.code(), Some(2));
}

#[test]
fn every_problem_is_reported_with_its_place_and_remedy() {
    let (output, path) = run(&["check"], "Hostnam = \"mx\"\nESMTP_Listener {\n  Idle_Time = 5m\n}\n");
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    assert!(
        errors.contains(&format!("Syntax error in {path} at line 1, column 1 near 'Hostnam'\nCFG-3001 ")),
        "{errors}"
    );
    assert!(errors.contains("did you mean 'Hostname'?"), "{errors}");
    assert!(
        errors.contains(&format!("Configuration error in {path} at line 3, column 15 near '5m'\nCFG-4012 ")),
        "{errors}"
    );
    assert!(errors.contains("300"), "{errors}");
    assert!(errors.ends_with("Reconfigure failed.\n"), "{errors}");
}

#[test]
fn findings_as_json_are_one_object_a_line() {
    let (output, _) = run(&["check", "--json"], "Hostnam = x\n");
    let line = text(&output.stderr);
    let finding: serde_json::Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(finding["code"], "CFG-3001");
    assert_eq!(finding["line"], 1);
    assert_eq!(finding["severity"], "error");
}

#[test]
fn a_node_does_not_start_with_a_wrong_file() {
    let (output, _) = run(&["node", "-c"], "Hostname = \"a\"\n}\n");
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78));
    assert!(errors.contains("CFG-2003") && errors.ends_with("Global configuration error.\n"), "{errors}");
}

#[test]
fn other_machines_are_refused_with_a_pointer_to_corosync() {
    let (output, _) = run(
        &["check"],
        "cluster {\n  bus = \"local\"\n  mbus_daemon = \"192.0.2.1:4803\"\n  nodeaddr = \"192.0.2.2\"\n}\n",
    );
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors.contains("CFG-6224 bus \"local\" serves one machine; use bus = \"corosync\" for 192.0.2.1"),
        "{errors}"
    );
}

/// Bus document, case 6.
#[test]
fn bus_case_06_a_loopback_node_address_is_refused() {
    let (output, _) = run(
        &["node", "-c"],
        "cluster { bus = \"local\" mbus_daemon = \"/tmp/pf-none\" nodename = \"mx1\" nodeaddr = \"127.0.0.1\" }\n",
    );
    assert_ne!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("CFG-6201"), "{}", text(&output.stderr));
}

/// A process that was told to give rights up, and does not, says so.
#[test]
fn security_without_effect_is_said_at_the_start() {
    let (output, _) = run(
        &["node", "-c"],
        "Security { user = \"mail\" Capabilities = \"cap_net_bind_service+ep\" }\n\
         ESMTP_Listener { Listen \"127.0.2.1:4199\" { TLS_Verify_Mode = require } }\n",
    );
    let errors = text(&output.stderr);
    assert!(errors.contains("[warning] Security has no effect in this version"), "{errors}");
    assert!(errors.contains("Start it as mail"), "{errors}");
}

/// A relay that was told to demand certificates must not run as if it did.
#[test]
fn a_demand_that_cannot_be_kept_stops_the_start() {
    let (output, _) =
        run(&["node", "-c"], "ESMTP_Listener { Listen \"127.0.2.1:4199\" { TLS_Verify_Mode = require } }\n");
    assert_eq!(output.status.code(), Some(78));
    assert!(
        text(&output.stderr).contains("TLS_Verify_Mode = require is not available"),
        "{}",
        text(&output.stderr)
    );
}
