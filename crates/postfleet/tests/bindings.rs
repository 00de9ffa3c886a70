//! Mail leaves through the binding that policy assigned it to: from its address, under its name, within its limits.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/remote.rs"]
mod remote;
mod support;

use remote::{MailServer, name_server};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{Client, SingleNode, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);
const ZONE: &str = "example.net MX 10 mx.example.net\nexample.org MX 10 mx.example.net\n\
    client.example MX 10 mx.example.net\nmx.example.net A 127.0.0.1\n\
    six.example MX 10 mx.six.example\nmx.six.example AAAA ::1\nmx.six.example A 127.0.0.1";

/// The local part of a recipient says where its copy goes: `to-NAME` to a binding, `of-NAME` to a group.
const SCRIPT: &str = "require('msys.core')\nrequire('msys.extended.message')\n\
    local m = {}\nfunction m:validate_set_binding(msg)\n\
      local how, name = msg:rcptto():match('^(%a+)%-([^@.]+)')\n\
      if how == 'to' then msg:binding(name) elseif how == 'of' then msg:binding_group(name) end\n\
      return msys.core.VALIDATE_CONT\nend\nmsys.registerModule('assign', m)\n";

const TWO: &str = "Binding \"b1\" { Bind_Address = \"127.0.0.11\"  EHLO_Hostname = \"one.example\" }\n\
    Binding_Group \"g\" { EHLO_Hostname = \"group.example\"\n\
      Binding \"b2\" { Bind_Address = \"127.0.0.12\" }\n  Binding \"b3\" { Bind_Address = \"127.0.0.13\" } }\n";

/// A node whose script assigns mail to bindings.
struct Relay {
    node: SingleNode,
    files: tempfile::TempDir,
}

fn relay(server: &MailServer, more: &str) -> Relay {
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("assign.lua"), SCRIPT).unwrap();
    std::fs::write(files.path().join("resolv"), format!("nameserver {}\n", name_server(ZONE))).unwrap();
    let node = SingleNode::start(
        &format!(
            "Relay_Hosts = ( 127.0.0.0/8 )\nRemote_SMTP_Port = {}\nResolv_Conf = \"{files}/resolv\"\n\
             scriptlet \"s\" {{ runtime_error = \"fail\" script \"assign\" {{ source = \"{files}/assign\" }} }}\nIdle_Timeout = 1\n{more}",
            server.port,
            files = files.path().display()
        ),
        "",
        "",
    );
    Relay { node, files }
}

impl Relay {
    /// The reply to a message for these.
    fn offer(&self, recipients: &[&str]) -> String {
        Client::connect(&self.node.smtp).unwrap().offer(recipients, "x")
    }

    fn send(&self, recipients: &[&str]) {
        let reply = self.offer(recipients);
        assert!(reply.starts_with("250"), "{reply}");
    }

    fn console(&self, command: &str) -> String {
        self.node.console(command)
    }

    /// Active messages by group and binding.
    fn queued(&self) -> BTreeMap<String, usize> {
        let text = self.console("mailq --limit 1000");
        let mut queued = BTreeMap::new();
        for row in text.lines().skip(2).filter(|row| !row.contains("#mmove")) {
            let words: Vec<&str> = row.split_whitespace().collect();
            let count: usize = words[2].parse::<usize>().unwrap() + words[3].parse::<usize>().unwrap();
            *queued.entry(words[0].to_owned()).or_default() += count;
        }
        queued
    }
}

/// Messages by where they came from and the name that was said.
fn sources(server: &MailServer) -> BTreeMap<(IpAddr, String), usize> {
    let mut sources = BTreeMap::new();
    for received in server.all() {
        *sources.entry((received.peer, received.helo)).or_default() += received.recipients.len();
    }
    sources
}

fn source(address: &str, name: &str) -> (IpAddr, String) {
    (address.parse().unwrap(), name.to_owned())
}

fn delivered(server: &MailServer) -> usize {
    server.all().iter().map(|received| received.recipients.len()).sum()
}

#[test]
fn a_binding_sends_from_its_own_address_under_its_own_name_and_a_group_from_all_of_its() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let relay = relay(&server, &format!("Suspend_Delivery = false\n{TWO}"));
    // Copies of one message may leave through different bindings.
    relay.send(&["to-b1@example.net", "plain@example.net"]);
    relay.send(&["to-b1@example.org"]);
    let group: Vec<String> = (0..32).map(|number| format!("of-g.{number}@example.net")).collect();
    relay.send(&group.iter().map(String::as_str).collect::<Vec<_>>());
    wait_until(PATIENCE, "all arrive", || delivered(&server) == 35);
    let mut sources = sources(&server);
    assert_eq!(sources.remove(&source("127.0.0.11", "one.example")), Some(2));
    assert_eq!(sources.remove(&source("127.0.0.1", "mx.test.example")), Some(1));
    // One address alone would take all of them once in two thousand million times.
    let shares: Vec<usize> = ["127.0.0.12", "127.0.0.13"]
        .map(|address| sources.remove(&source(address, "group.example")).unwrap_or(0))
        .into();
    assert!(shares.iter().all(|share| *share > 0) && shares.iter().sum::<usize>() == 32, "{shares:?}");
    assert!(sources.is_empty(), "{sources:?}");
}

#[test]
fn an_unknown_name_is_logged_and_changes_nothing() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let relay = relay(&server, &format!("Suspend_Delivery = true\n{TWO}"));
    relay.send(&["to-nobody@example.net", "of-nowhere@example.net", "to-B1@example.net"]);
    assert_eq!(relay.queued(), BTreeMap::from([("default/default".to_owned(), 3)]));
    let log = relay.node.log();
    for line in
        ["there is no binding 'nobody'", "there is no binding group 'nowhere'", "there is no binding 'B1'"]
    {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[test]
fn mta_case_23_a_suspended_binding_keeps_its_mail_and_new_mail_of_its_group_goes_elsewhere() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let relay = relay(&server, &format!("Suspend_Delivery = false\n{TWO}"));
    relay.console("config set binding_group g binding b2 suspend_delivery true");
    relay.send(&["to-b2@example.net"]);
    let group: Vec<String> = (0..12).map(|number| format!("of-g.{number}@example.net")).collect();
    relay.send(&group.iter().map(String::as_str).collect::<Vec<_>>());
    wait_until(PATIENCE, "the others arrive", || delivered(&server) == 12);
    assert_eq!(sources(&server), BTreeMap::from([(source("127.0.0.13", "group.example"), 12)]));
    wait_until(PATIENCE, "only the suspended one is left", || {
        relay.queued() == BTreeMap::from([("g/b2".to_owned(), 1)])
    });
    relay.console("config set binding_group g binding b2 suspend_delivery false");
    wait_until(PATIENCE, "it arrives", || delivered(&server) == 13);
    assert_eq!(sources(&server)[&source("127.0.0.12", "group.example")], 1);
}

#[test]
fn a_message_keeps_its_binding_over_a_restart_and_goes_to_default_when_its_binding_is_removed() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let mut relay = relay(&server, &format!("Suspend_Delivery = true\n{TWO}"));
    relay.send(&["to-b1@example.net", "to-b2@example.net", "plain@example.net"]);
    let row = |name: &str, count: usize| (name.to_owned(), count);
    let all = BTreeMap::from([row("default/b1", 1), row("default/default", 1), row("g/b2", 1)]);
    wait_until(PATIENCE, "all are queued", || relay.queued() == all);
    relay.node.restart();
    wait_until(PATIENCE, "all are queued as before", || relay.queued() == all);
    // One binding goes, another one changes its group.
    let config = relay.node.dir.path().join("postfleet.conf");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text
        .replace("Binding \"b1\"", "Binding \"other\"")
        .replace("Binding_Group \"g\"", "Binding_Group \"h\"");
    std::fs::write(&config, text).unwrap();
    let answer = relay.console("config reload");
    assert!(answer.contains("2 queued messages were moved"), "{answer}");
    let moved = BTreeMap::from([row("default/default", 2), row("h/b2", 1)]);
    assert_eq!(relay.queued(), moved);
    relay.node.restart();
    wait_until(PATIENCE, "all are queued there", || relay.queued() == moved);
    relay.console("config set suspend_delivery false");
    wait_until(PATIENCE, "all arrive", || delivered(&server) == 3);
    let found = sources(&server);
    assert_eq!(found[&source("127.0.0.1", "mx.test.example")], 2);
    assert_eq!(found[&source("127.0.0.12", "group.example")], 1);
}

#[test]
fn default_binding_refuses_or_keeps_mail_that_is_assigned_to_none() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let relay = relay(&server, &format!("Suspend_Delivery = false\nDefault_Binding = none\n{TWO}"));
    let refusal = "451 4.3.5 no binding for message";
    assert_eq!(relay.offer(&["plain@example.net"]).trim_end(), refusal);
    assert_eq!(relay.offer(&["to-b1@example.net", "plain@example.net"]).trim_end(), refusal);
    relay.send(&["to-b1@example.net"]);
    // Who assigns mail to the default binding means it.
    relay.send(&["to-default@example.net"]);
    wait_until(PATIENCE, "both arrive", || delivered(&server) == 2);
    relay.console("config set default_binding suspended");
    relay.send(&["plain@example.net", "to-b1@example.net"]);
    wait_until(PATIENCE, "the assigned one arrives", || delivered(&server) == 3);
    wait_until(PATIENCE, "the other one stays", || {
        relay.queued() == BTreeMap::from([("default/default".to_owned(), 1)])
    });
    relay.console("config set default_binding normal");
    wait_until(PATIENCE, "it arrives", || delivered(&server) == 4);
}

#[test]
fn mail_of_a_binding_whose_address_is_not_here_waits_and_counts_no_failure() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let relay = relay(
        &server,
        "Suspend_Delivery = false\nBinding \"b1\" { Bind_Address = \"203.0.113.9\" }\nBinding_Auto_Replumb_Interval = 1",
    );
    relay.send(&["to-b1@example.net", "plain@example.net"]);
    wait_until(PATIENCE, "the other one arrives", || delivered(&server) == 1);
    wait_until(PATIENCE, "it is said", || relay.node.log().contains("Unplumbed binding b1: "));
    let reason = "[Binding: b1] Limited by: the source address of the binding is not on this machine";
    wait_until(PATIENCE, "the console says why", || relay.console("domain example.net").contains(reason));
    let counts = relay.console("domain example.net");
    assert!(!counts.contains("Trans. Failures (4xx):                    1"), "{counts}");
    relay.console("config set binding b1 bind_address 127.0.0.11");
    wait_until(PATIENCE, "it arrives", || delivered(&server) == 2);
}

#[test]
fn a_source_that_is_a_name_of_one_family_reaches_the_exchanger_by_that_family() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    // No address as it is written, so a name, which the system knows.
    let relay = relay(
        &server,
        "Suspend_Delivery = false\nUse_IPv6 = true\nBinding \"b1\" { Bind_Address = \"127.1\" }",
    );
    relay.send(&["to-b1@six.example"]);
    wait_until(PATIENCE, "it arrives", || delivered(&server) == 1);
    assert!(!relay.node.log().contains("Unplumbed"), "{}", relay.node.log());
}

#[test]
fn limits_of_a_binding_and_of_a_group_hold_and_are_counted() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    server.held.store(true, Ordering::SeqCst);
    let relay = relay(
        &server,
        "Suspend_Delivery = false\nConnection_Allocation_Aggressiveness = high\nMax_Recipients_Per_Batch = 1\n\
         cluster { Replicate \"outbound_domains\" {} Replicate \"outbound_cidr\" {} Replicate \"outbound_binding_domains\" {} }\n\
         Binding \"b1\" { Bind_Address = \"127.0.0.11\" Cluster_Max_Outbound_Connections = 2 }\n\
         Binding_Group \"g\" { Cluster_Scope_Max_Outbound_Connections = 3\n\
           Binding \"b2\" { Bind_Address = \"127.0.0.12\" } Binding \"b3\" { Bind_Address = \"127.0.0.13\" } }\n\
         Binding \"b4\" { Server_Max_Outbound_Connections = 1 }",
    );
    for number in 0..12 {
        relay.send(&[
            &format!("to-b1.{number}@example.net"),
            &format!("to-b2.{number}@example.net"),
            &format!("to-b3.{number}@example.org"),
            &format!("to-b4.{number}@example.net"),
        ]);
    }
    let rows = || relay.console("cluster shared show outbound_binding_domains");
    let count = |text: &str, key: &str| {
        let row = text.lines().find(|row| row.trim_start().starts_with(&format!("{key}:  ")));
        row.map_or(0, |row| row.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
    };
    wait_until(PATIENCE, "all slots are used", || {
        let text = rows();
        count(&text, "b1::*") == 2
            && count(&text, "b2::*") + count(&text, "b3::*") == 3
            && count(&text, "b4::*") == 1
    });
    // More would have been opened by now.
    let text = rows();
    assert_eq!(count(&text, "b1::example.net"), 2, "{text}");
    assert_eq!(count(&text, "g/*::example.net") + count(&text, "g/*::example.org"), 3, "{text}");
    let slots = relay.console("cluster shared show outbound_slots");
    assert!(slots.contains("binding:b1::domain:example.net:            2 of 2\n"), "{slots}");
    assert!(slots.contains("group:g:            3 of 3\n"), "{slots}");
    let through = relay.console("cluster shared show outbound_cidr/b1");
    assert!(through.contains("127.0.0.1/32"), "{through}");
    assert_eq!(relay.console("count outbound/b1 0.0.0.0/0"), "2 sessions\n");
    assert_eq!(relay.console("count outbound/b4 127.0.0.1"), "1 sessions\n");
    assert_eq!(relay.console("count outbound 0.0.0.0/0"), "6 sessions\n");
    let why = relay.console("domain example.net");
    assert!(
        why.contains("[Binding: b4] Limited by: Server_Max_Outbound_Connections at Binding:b4: 1 of 1"),
        "{why}"
    );
    wait_until(PATIENCE, "the server has them all", || server.open.load(Ordering::SeqCst) == 6);
    server.held.store(false, Ordering::SeqCst);
    wait_until(PATIENCE, "all arrive", || delivered(&server) == 48);
    wait_until(PATIENCE, "everything is given back", || !rows().contains("::"));
}

#[test]
fn a_message_that_policy_puts_off_keeps_its_binding() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let relay = relay(&server, &format!("Suspend_Delivery = true\n{TWO}"));
    relay.send(&["to-b1@example.net", "to-b2@example.net"]);
    let assign = relay.files.path().join("assign.lua");
    // Failing is putting off: 451 4.3.0.
    std::fs::write(assign, SCRIPT.replace("if how", "if name == 'b1' then error('not now') end if how"))
        .unwrap();
    assert!(relay.console("config reload").ends_with("Reconfigure complete\n"));
    let before = relay.queued();
    assert_eq!(relay.console("rebind all"), "Rebound 1 messages.\n");
    assert_eq!(relay.queued(), before);
}

#[test]
fn a_reroute_holds_for_messages_that_a_rebind_comes_to_later() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let relay = relay(&server, &format!("Suspend_Delivery = true\n{TWO}"));
    let many: Vec<String> = (0..90).map(|number| format!("of-g.{number}@example.net")).collect();
    for _ in 0..6 {
        relay.send(&many.iter().map(String::as_str).collect::<Vec<_>>());
    }
    std::thread::scope(|scope| {
        // 540 messages, 2000 a second at most.
        let rebound = scope.spawn(|| relay.console("rebind all"));
        std::thread::sleep(Duration::from_millis(60));
        let moved = relay.console("reroute queue example.net example.org");
        assert_eq!(moved, "Moved 540 messages from 'example.net' to 'example.org'\n");
        assert_eq!(rebound.join().unwrap(), "Rebound 540 messages.\n");
    });
    assert!(!relay.console("mailq").contains("example.net"), "{}", relay.console("mailq"));
}

#[test]
fn what_cannot_be_recorded_is_said() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let mut relay = relay(&server, &format!("Suspend_Delivery = true\n{TWO}"));
    relay.send(&["to-b1@example.net"]);
    let state = relay.node.dir.path().join("spool/state");
    let aside = relay.node.dir.path().join("spool/aside");
    std::fs::rename(&state, &aside).unwrap();
    let failed = support::console(&relay.node.control, "reroute queue example.net example.org");
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(
        said.contains("Moved 1 messages from 'example.net' to 'example.org'. This cannot be recorded: "),
        "{said}"
    );
    // With the next command it is.
    std::fs::rename(&aside, &state).unwrap();
    assert_eq!(relay.console("rebind b2"), "Rebound 0 messages.\n");
    relay.node.restart();
    wait_until(PATIENCE, "it is queued there", || relay.console("mailq").contains("example.org"));
}

#[test]
fn operators_have_bindings_chosen_again_and_give_mail_another_domain() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let mut relay = relay(&server, &format!("Suspend_Delivery = true\n{TWO}"));
    // There is no such binding yet.
    relay.send(&["to-late@example.net", "to-b1@example.net"]);
    let config = relay.node.dir.path().join("postfleet.conf");
    let text = std::fs::read_to_string(&config).unwrap();
    let late = "Binding \"late\" { Bind_Address = \"127.0.0.14\" }";
    std::fs::write(&config, format!("{text}\n{late}\n")).unwrap();
    assert!(relay.console("config reload").ends_with("Reconfigure complete\n"));
    let row = |name: &str, count: usize| (name.to_owned(), count);
    assert_eq!(relay.queued(), BTreeMap::from([row("default/b1", 1), row("default/default", 1)]));
    assert_eq!(relay.console("rebind all example.net"), "Rebound 2 messages.\n");
    let rebound = BTreeMap::from([row("default/b1", 1), row("default/late", 1)]);
    assert_eq!(relay.queued(), rebound);
    assert_eq!(relay.console("rebind b2"), "Rebound 0 messages.\n");
    relay.node.restart();
    wait_until(PATIENCE, "all are queued as before", || relay.queued() == rebound);
    let moved = "Moved 2 messages from 'example.net' to 'example.org'\n";
    assert_eq!(relay.console("reroute queue example.net EXAMPLE.org"), moved);
    relay.node.restart();
    wait_until(PATIENCE, "all are queued there", || {
        relay.queued() == rebound && !relay.console("mailq").contains("example.net")
    });
    relay.console("config set suspend_delivery false");
    wait_until(PATIENCE, "both arrive", || delivered(&server) == 2);
    let recipients: Vec<String> = server.all().into_iter().flat_map(|received| received.recipients).collect();
    assert!(recipients.iter().all(|recipient| recipient.ends_with("@example.net")), "{recipients:?}");
    assert_eq!(sources(&server)[&source("127.0.0.14", "mx.test.example")], 1);
    // Nothing is remembered of mail that is gone.
    wait_until(PATIENCE, "nothing is queued", || relay.queued().is_empty());
    for (command, error) in [
        ("rebind nobody", "No such binding 'nobody'."),
        ("rebind all nowhere.example", "No such domain 'nowhere.example' in the route cache."),
        ("reroute queue nowhere.example example.org", "No such domain 'nowhere.example' in the route cache."),
        ("reroute queue example.org a..b", "'a..b' is not a domain."),
    ] {
        let failed = support::console(&relay.node.control, command);
        assert_eq!(String::from_utf8_lossy(&failed.stderr).trim_end(), error, "{command}");
    }
}

#[test]
fn the_console_shows_and_moves_mail_by_binding() {
    let server = MailServer::start(|recipient| {
        if recipient.starts_with("to-b1") { "451 4.2.0 try later" } else { "250 2.1.5 ok" }
    });
    let relay = relay(&server, &format!("Suspend_Delivery = false\n{TWO}"));
    relay.send(&["to-b1@example.net"]);
    relay.send(&["to-b1@example.org", "to-b2@example.net"]);
    let spaced = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    wait_until(PATIENCE, "one arrives, two are delayed", || {
        delivered(&server) == 1 && relay.queued() == BTreeMap::from([("default/b1".to_owned(), 2)])
    });
    let delayed = spaced(relay.console("binding delayed b1 0"));
    let expected = "Domain: example.net C: 0 A: 0 D: 1 S: 0 Domain: example.org C: 0 A: 0 D: 1 S: 0 Total: C: 0 A: 0 D: 2 S: 0";
    wait_until(PATIENCE, "connections end", || spaced(relay.console("binding delayed b1 0")) == expected);
    assert!(delayed.starts_with("Domain: example.net"), "{delayed}");
    assert!(spaced(relay.console("binding active b1 0")).starts_with("Total: "));
    let summary = relay.console("binding summary group:g");
    assert!(summary.starts_with("Summary Statistics For Binding b2 in Binding Group g\n"), "{summary}");
    let stars = "*".repeat(44);
    assert!(summary.contains(&format!("\n{stars}\nSummary Statistics For Binding Group g\n")), "{summary}");
    assert_eq!(summary.matches("        Successfully Delivered Messages:      1\n").count(), 2, "{summary}");
    // The place in the configuration: after default, as written.
    let by_place = relay.console("binding summary 1");
    assert!(by_place.starts_with("Summary Statistics For Binding b1\n"), "{by_place}");
    assert!(by_place.contains("        Total Queue Size:      2\n"), "{by_place}");
    let all = relay.console("binding summary");
    assert_eq!(all.matches("Summary Statistics For Binding").count(), 4, "{all}");
    let flushed = relay.console("binding flush domain b1 example.net");
    assert_eq!(flushed, "example.net flushed.  1 messages requeued.\n");
    wait_until(PATIENCE, "it was tried again", || {
        relay.console("domain example.net").contains("   Trans. Failures (4xx):                    2\n")
    });
    assert_eq!(relay.console("binding flush domain b2 all"), "All domains flushed.  0 messages requeued.\n");
    wait_until(PATIENCE, "it is delayed again", || {
        relay.queued() == BTreeMap::from([("default/b1".to_owned(), 2)])
    });
    // One with a reply of the operator, which the sender reads; one of which nobody is told.
    let purged = relay.console("binding fail domain b1 example.net 550 5.7.1 no more of this");
    assert_eq!(purged, "example.net purged, 1 messages failed.\n");
    assert_eq!(
        relay.console("binding fail domain quiet b1 all"),
        "All domains purged.  1 messages failed.\n"
    );
    let report = || server.all().into_iter().find(|received| received.sender.is_empty());
    wait_until(PATIENCE, "the report arrives", || report().is_some());
    let text = report().unwrap().text;
    assert!(text.contains("Diagnostic-Code: smtp; 550 5.7.1 no more of this\r\n"), "{text}");
    for (command, error) in [
        ("binding summary nobody", "No such binding 'nobody'."),
        ("binding summary group:nobody", "No such binding group 'nobody'."),
        ("binding active B1 0", "No such binding 'B1'."),
        ("binding flush domain b1 nowhere.example", "No such domain 'nowhere.example' in the route cache."),
        ("count outbound/nobody 0.0.0.0/0", "No such binding 'nobody'."),
    ] {
        let failed = support::console(&relay.node.control, command);
        assert_eq!(String::from_utf8_lossy(&failed.stderr).trim_end(), error, "{command}");
    }
    // A domain that nobody has mail for is looked up all the same, and is known from then on.
    assert_eq!(relay.console("dig dig.example"), "submitted\n");
    assert!(relay.console("domain dig.example").starts_with("Statistics:\n"));
}

#[test]
fn a_message_is_shown_with_its_content() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let relay = relay(&server, "Suspend_Delivery = true");
    relay.send(&["plain@example.net"]);
    let rows = relay.console("showqueue example.net");
    let id = rows.lines().next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let body = relay.console(&format!("message details body {id}"));
    assert!(body.starts_with("Received: from ") && body.contains("\nSubject: t\n"), "{body}");
    assert!(body.ends_with("\n\nx\n"), "{body}");
    // An active message is tried "now".
    let timeless = |text: String| {
        text.lines().filter(|line| !line.contains("Next Attempt: ")).collect::<Vec<_>>().join("\n")
    };
    let details = timeless(relay.console(&format!("message details {id}")));
    let full = timeless(relay.console(&format!("message details full {id}")));
    assert_eq!(full, format!("{details}\n\n{}", body.trim_end()));
}
