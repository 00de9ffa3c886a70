//! Configuration commands against a running node: shown, changed, put into force, saved.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use support::{PROGRAM, SingleNode, console};

fn config(node: &SingleNode) -> PathBuf {
    node.dir.path().canonicalize().unwrap().join("postfleet.conf")
}

/// What a command prints, and how it ends.
fn check(node: &SingleNode, command: &str, expected: &str) {
    let output = console(&node.control, command);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        (format!("{expected}\n"), String::new()),
        "{command}"
    );
    assert_eq!(output.status.code(), Some(0), "{command}");
}

fn refused(node: &SingleNode, command: &str, code: i32, expected: &str) {
    let output = console(&node.control, command);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("{expected}\n"), "{command}");
    assert_eq!((output.status.code(), output.stdout), (Some(code), Vec::new()), "{command}");
}

/// Several lines over one connection.
fn batch(node: &SingleNode, lines: &str) -> (String, String) {
    let mut child = Command::new(PROGRAM)
        .arg("console")
        .arg(&node.control)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn console_case_13_14_values_are_shown_set_and_unset() {
    let node = SingleNode::start(
        "Message_Expiration = 86400\nDomain earthlink.net { Message_Expiration = 900 }",
        "",
        "",
    );
    refused(&node, "config get blackhole", 1, "Option 'Blackhole' is not set in scope ''.");
    check(&node, "config eval blackhole", "Blackhole = 0");
    check(&node, "config get domain earthlink.net message_expiration", "        Message_Expiration = 900");
    check(
        &node,
        "config unset domain earthlink.net message_expiration",
        "\"Message_Expiration\" has been unset. Effective value is now:\n        Message_Expiration = 86400",
    );
    check(&node, "config eval domain earthlink.net message_expiration", "Message_Expiration = 86400");
    check(&node, "config set suspend_delivery on", "Suspend_Delivery = on");
    refused(
        &node,
        "config set idle_timeout 5m",
        1,
        "Invalid value '5m' for 'Idle_Timeout': expected a plain number of seconds, e.g. 300.",
    );
    refused(
        &node,
        "config set idle_timeout",
        2,
        "Usage: config set [<scope> [<instance>]]... <option> [=] <value>",
    );
    let json: serde_json::Value =
        serde_json::from_str(&node.console("json config eval domain earthlink.net message_expiration"))
            .unwrap();
    assert_eq!(json["data"]["value"], 86400);
    assert_eq!(json["data"]["file"], config(&node).display().to_string());
    assert_eq!(json["data"]["line"], 4);
    // Every command is in the log with its user.
    let log = node.log();
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let line = format!("[info] {}: config set suspend_delivery on\n", user.trim());
    assert!(log.contains(&line), "{log}");
    assert!(log.contains("generation 3 is in effect, changed from a console\n"), "{log}");
}

#[test]
fn a_change_takes_effect_at_once() {
    let node = SingleNode::start("", "", "");
    assert!(TcpStream::connect(&node.smtp).is_ok());
    let set = format!("config set esmtp_listener listen {}", node.smtp);
    check(&node, &format!("{set} enable false"), "        Enable = false");
    assert!(TcpStream::connect(&node.smtp).is_err());
    check(&node, &format!("{set} enable true"), "        Enable = true");
    assert!(TcpStream::connect(&node.smtp).is_ok());
    // What cannot be used is refused, and everything stays.
    refused(
        &node,
        "config set esmtp_listener tls_certificate /nonexistent.pem",
        1,
        &format!(
            "ESMTP_Listener {}: TLS_Certificate /nonexistent.pem needs a TLS_Key\nReconfigure failed.",
            node.smtp
        ),
    );
    refused(
        &node,
        "config get esmtp_listener tls_certificate",
        1,
        "Option 'TLS_Certificate' is not set in scope 'Esmtp_Listener::'.",
    );
    refused(
        &node,
        "config set spoolbase /elsewhere",
        1,
        "'Spoolbase' cannot be changed at run time; restart required.",
    );
}

#[test]
fn console_case_15_transactions_of_two_sessions() {
    let node = SingleNode::start("", "", "");
    let (out, err) = batch(
        &node,
        "config begin\nconfig set idle_timeout 8\nconfig set retry_interval 50\nconfig replay\nconfig commit\nconfig eval idle_timeout\n",
    );
    assert_eq!(
        (out.as_str(), err.as_str()),
        (
            "Idle_Timeout = 8\nRetry_Interval = 50\nconfig set idle_timeout 8\nconfig set retry_interval 50\nIdle_Timeout = 8\n",
            ""
        )
    );
    // Plain mode keeps one connection, and with it a transaction, open beside others.
    let mut first = UnixStream::connect(&node.control).unwrap();
    let mut answers = BufReader::new(first.try_clone().unwrap()).lines();
    assert!(answers.next().unwrap().unwrap().starts_with("POSTFLEET-CONTROL 1 "));
    let mut ask = |line: &str| {
        first.write_all(format!("{line}\n").as_bytes()).unwrap();
        answers.next().unwrap().unwrap()
    };
    // A command that prints nothing goes ahead of one that does.
    assert_eq!(ask("config begin\nconfig set idle_timeout 9"), "Idle_Timeout = 9");
    assert_eq!(ask("config eval idle_timeout"), "Idle_Timeout = 9");
    assert_eq!(ask("config reload"), "A transaction is in progress; commit or roll back first.");
    check(&node, "config eval idle_timeout", "Idle_Timeout = 8");
    check(&node, "config set retry_interval 60", "Retry_Interval = 60");
    assert_eq!(ask("config commit"), "Commit failed: the running configuration has changed.");
    assert_eq!(ask("config replay"), "config set idle_timeout 9");
    assert_eq!(ask("config rollback\nconfig commit"), "No transaction in progress.");
    check(&node, "config eval idle_timeout", "Idle_Timeout = 8");
}

#[test]
fn configuration_a62_a65_changes_are_saved_or_lost_by_a_reload() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tuning.conf"), "Domain \"a.example\" {\n  Idle_Timeout = 3\n}\n")
        .unwrap();
    let include =
        format!("# kept\nRetry_Interval = 600 # why\ninclude \"{}/tuning.conf\"", dir.path().display());
    let node = SingleNode::start(&include, "", "");
    let before = std::fs::read_to_string(config(&node)).unwrap();
    node.console("config set retry_interval 700");
    node.console("config set domain a.example retry_interval 5");
    check(
        &node,
        "config diff",
        "config set retry_interval 700\nconfig set domain a.example retry_interval 5",
    );
    check(&node, "config reload", "Discarding 2 unsaved change(s).\nReconfigure complete");
    check(&node, "config eval retry_interval", "Retry_Interval = 600");
    check(&node, "config reload", "Reconfigure complete");
    node.console("config set retry_interval 700");
    node.console("config set domain a.example retry_interval 5");
    let tuning = dir.path().canonicalize().unwrap().join("tuning.conf");
    check(
        &node,
        "config writeback",
        &format!("Configuration written to {}, {}.", tuning.display(), config(&node).display()),
    );
    assert_eq!(std::fs::read_to_string(config(&node)).unwrap(), before.replace("= 600 #", "= 700 #"));
    assert_eq!(
        std::fs::read_to_string(&tuning).unwrap(),
        "Domain \"a.example\" {\n  Idle_Timeout = 3\n  Retry_Interval = 5\n}\n"
    );
    check(&node, "config writeback", "No unsaved changes.");
    check(&node, "config reload", "Reconfigure complete");
    check(&node, "config eval domain a.example retry_interval", "Retry_Interval = 5");
    // A file that somebody edits meanwhile is not overwritten.
    node.console("config set retry_interval 800");
    std::fs::write(config(&node), before.replace("# kept", "# edited")).unwrap();
    refused(
        &node,
        "config writeback",
        1,
        &format!("{} has changed on disk since it was loaded; reload first", config(&node).display()),
    );
    assert!(std::fs::read_to_string(config(&node)).unwrap().contains("# edited\nRetry_Interval = 600 # why"));
}

#[test]
fn the_running_configuration_is_written_as_one_file() {
    let node = SingleNode::start("", "", "");
    node.console("config set domain a.example retry_interval 5");
    let path = node.dir.path().join("all.conf");
    check(&node, &format!("write config {}", path.display()), &format!("Wrote {}.", path.display()));
    let checked = Command::new(PROGRAM).arg("check").arg(&path).output().unwrap();
    assert_eq!(String::from_utf8(checked.stdout).unwrap(), "Configuration valid\n");
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(node.console("write config"), text);
    assert!(text.contains("Domain \"a.example\" {\n  Retry_Interval = 5\n}\n"), "{text}");
    refused(&node, "write config /dev/null", 1, "/dev/null is not a plain file");
    let changes = node.dir.path().join("changes.conf");
    check(
        &node,
        &format!("config writeback {}", changes.display()),
        &format!("Configuration written to {}.", changes.display()),
    );
    assert_eq!(std::fs::read_to_string(&changes).unwrap(), "Domain \"a.example\" { Retry_Interval = 5 }\n");
}
