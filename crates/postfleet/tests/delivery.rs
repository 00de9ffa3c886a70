//! Mail leaves: to another server, to the sender as a bounce, once, and not before it may.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/remote.rs"]
mod remote;
mod support;

use remote::{MailServer, name_server};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{Client, SingleNode, wait_until};

const PATIENCE: Duration = Duration::from_secs(15);

const ZONE: &str = "example.net MX 10 mx.example.net\nclient.example MX 10 mx.example.net\n\
    mx.example.net A 127.0.0.1\nnull.example MX 0\nquiet.example MX 10 mx.example.net";

/// A node that takes mail for anybody from this machine, and delivers to the server.
fn relay(server: &MailServer, more: &str) -> SingleNode {
    relay_with(server, more, "")
}

/// The same, with options of the listener.
fn relay_with(server: &MailServer, more: &str, listener: &str) -> SingleNode {
    let node = SingleNode::start(
        &format!(
            "Relay_Hosts = ( 127.0.0.0/8 )\nRemote_SMTP_Port = {}\nResolv_Conf = \"{{dir}}/resolv\"\n{more}",
            server.port
        ),
        listener,
        "",
    );
    std::fs::write(node.dir.path().join("resolv"), format!("nameserver {}\n", name_server(ZONE))).unwrap();
    let reloaded = node.console("config reload");
    assert!(reloaded.ends_with("Reconfigure complete\n"), "{reloaded}");
    node
}

const DELIVERS: &str = "Suspend_Delivery = false\nIdle_Timeout = 1";

fn send(node: &SingleNode, recipients: &[&str], body: &str) {
    let reply = Client::connect(&node.smtp).unwrap().offer(recipients, body);
    assert!(reply.starts_with("250"), "{reply}");
}

/// Message files in the spool.
fn files(node: &SingleNode) -> usize {
    let folders = std::fs::read_dir(node.dir.path().join("spool/msg")).unwrap().flatten();
    folders.map(|folder| std::fs::read_dir(folder.path()).unwrap().count()).sum()
}

fn queued(node: &SingleNode) -> String {
    let text = node.console("mailq");
    let row = text.lines().find(|line| line.starts_with("default/default ")).unwrap_or_default();
    row.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_message_goes_to_the_exchanger_of_its_domain_and_leaves_the_spool() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let node = relay(&server, DELIVERS);
    // A dot at the start of a line is the message's own.
    send(&node, &["somebody@example.net"], "hello\r\n..dots\r\nend");
    wait_until(PATIENCE, "the message arrives", || !server.all().is_empty());
    let received = server.all();
    assert_eq!(
        (received[0].sender.as_str(), &received[0].recipients[..]),
        ("sender@client.example", &["somebody@example.net".to_owned()][..])
    );
    assert!(received[0].text.starts_with("Received: from [127."), "{}", received[0].text);
    assert!(received[0].text.ends_with("\r\n\r\nhello\r\n.dots\r\nend\r\n"), "{:?}", received[0].text);
    wait_until(PATIENCE, "the spool is empty", || files(&node) == 0);
    let summary = node.console("summary");
    assert!(summary.contains("Successfully Delivered Messages:      1\n"), "{summary}");
    assert!(summary.contains("Total Queue Size:      0\n"), "{summary}");
    // The connection ends when nothing more comes.
    wait_until(PATIENCE, "the connection is closed", || server.open.load(Ordering::SeqCst) == 0);
    assert_eq!(node.console("count outbound 0.0.0.0/0"), "0 sessions\n");
}

#[test]
fn mta_case_24_a_batch_with_three_outcomes_and_what_a_restart_remembers() {
    let server = MailServer::start(|recipient| match recipient.split('@').next().unwrap() {
        "second" => "550 5.1.1 no such user",
        "third" => "451 4.2.0 try later",
        _ => "250 2.1.5 ok",
    });
    let mut node = relay(&server, DELIVERS);
    send(&node, &["first@example.net", "second@example.net", "third@example.net"], "three");
    wait_until(PATIENCE, "message and report arrive", || server.all().len() == 2);
    let received = server.all();
    assert_eq!(received[0].recipients, ["first@example.net"]);
    let report = &received[1];
    assert_eq!(
        (report.sender.as_str(), &report.recipients[..]),
        ("", &["sender@client.example".to_owned()][..])
    );
    let text = &report.text;
    for line in [
        "Subject: Delivery Status Notification (Failure)\r\n",
        "Final-Recipient: rfc822; second@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        "Remote-MTA: dns; mx.example.net\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    assert!(!text.contains("first@") && !text.contains("third@"), "{text}");
    wait_until(PATIENCE, "only the third is left", || {
        queued(&node) == "example.net 0 1" && files(&node) == 1
    });
    // After a crash the first is not sent again, the second not reported again; the third is tried again.
    node.restart();
    wait_until(PATIENCE, "the third was tried", || queued(&node) == "example.net 0 1");
    assert_eq!(server.all().len(), 2);
}

#[test]
fn who_said_what_is_told_apart_when_a_schedule_ends() {
    let server = MailServer::start(|recipient| match recipient {
        "third@example.net" => "451 4.2.0 try later",
        _ => "250 2.1.5 ok",
    });
    let node = relay(&server, &format!("{DELIVERS}\nMax_Retries = 1\nRetry_Interval = 1"));
    send(&node, &["third@example.net"], "x");
    wait_until(PATIENCE, "the report arrives", || !server.all().is_empty());
    let text = &server.all()[0].text;
    let reply = "554 5.4.7 [internal] exceeded max retries without delivery (the last attempt: mx.example.net said: \
                 451 4.2.0 try later)\r\n";
    assert!(text.contains(&format!("\r\n    {reply}")), "{text}");
    assert!(text.contains(&format!("Status: 5.4.7\r\nDiagnostic-Code: smtp; {reply}")), "{text}");
}

#[test]
fn mta_case_21_null_mx() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let node = relay(&server, DELIVERS);
    send(&node, &["somebody@null.example"], "x");
    wait_until(PATIENCE, "the report arrives", || !server.all().is_empty());
    let received = server.all();
    let line = "Status: 5.1.10\r\nDiagnostic-Code: smtp; 556 5.1.10 [internal] NULL MX domain does not accept mail\r\n";
    assert!(received[0].text.contains(line), "{}", received[0].text);
    wait_until(PATIENCE, "the spool is empty", || files(&node) == 0);
    // Only the report needed a connection.
    assert_eq!((received.len(), server.sessions.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn mta_case_11_suspended_killed_resumed_delivered_once() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let mut node = relay(&server, "Suspend_Delivery = true");
    send(&node, &["somebody@example.net"], "once");
    node.restart();
    wait_until(PATIENCE, "it is queued again", || queued(&node) == "example.net 1 0");
    assert_eq!(server.sessions.load(Ordering::SeqCst), 0);
    node.console("config set suspend_delivery false");
    wait_until(PATIENCE, "it arrives", || !server.all().is_empty());
    wait_until(PATIENCE, "the spool is empty", || files(&node) == 0);
    node.restart();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.all().len(), 1);
}

#[test]
fn a_report_is_never_answered() {
    let server = MailServer::start(|_| "550 5.1.1 nobody here");
    let node = relay(&server, DELIVERS);
    send(&node, &["somebody@example.net"], "x");
    // The message fails, then the report fails, and that is the end of it.
    wait_until(PATIENCE, "the spool is empty", || {
        node.console("summary").contains("Failed Messages:      2\n") && files(&node) == 0
    });
    assert!(server.all().is_empty());
}

#[test]
fn of_one_transaction_those_are_reported_whose_domain_wants_reports() {
    let server = MailServer::start(|recipient| match recipient.split('@').next().unwrap() {
        "sender" => "250 2.1.5 ok",
        _ => "550 5.1.1 nobody here",
    });
    let node =
        relay(&server, &format!("{DELIVERS}\nDomain \"quiet.example\" {{ Generate_Bounces = false }}"));
    // In both orders.
    send(&node, &["u@quiet.example", "v@example.net"], "x");
    send(&node, &["v@example.net", "u@quiet.example"], "x");
    wait_until(PATIENCE, "the reports arrive", || server.all().len() == 2 && files(&node) == 0);
    for report in server.all() {
        assert!(report.text.contains("v@example.net"), "{}", report.text);
        assert!(!report.text.contains("u@quiet.example"), "{}", report.text);
    }
}

/// Of a message for several, copies that policy refuses are reported; of a message for those alone the client is told.
#[test]
fn copies_that_policy_refuses_are_reported_when_others_are_accepted() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let script = "local mod = {} function mod:validate_data_spool_each_rcpt(msg, accept, vctx) local to = msg:rcptto() \
         if to:find('^no') then vctx:set_code(550, '5.7.1 not for ' .. to) \
         elseif to:find('^drop') then msg:discard('550 5.7.0 dropped') end return 0 end msys.registerModule('a', mod)";
    let node = relay(&server, DELIVERS);
    std::fs::write(node.dir.path().join("a.lua"), script).unwrap();
    let config = node.dir.path().join("postfleet.conf");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\nscriptlet \"s\" {{ script \"a\" {{ source = \"a\" }} }}\n"))
        .unwrap();
    assert!(node.console("config reload").ends_with("Reconfigure complete\n"));

    let mail =
        ["no1@example.net", "yes@example.net", "no2@example.net", "drop@example.net", "no3@quiet.example"];
    send(&node, &mail, "secret");
    wait_until(PATIENCE, "message and report arrive", || server.all().len() == 2);
    let (reports, messages): (Vec<_>, Vec<_>) =
        server.all().into_iter().partition(|one| one.sender.is_empty());
    assert_eq!((reports.len(), &messages[0].recipients[..]), (1, &["yes@example.net".to_owned()][..]));
    let text = &reports[0].text;
    assert_eq!(reports[0].recipients, ["sender@client.example"]);
    for name in ["no1@example.net", "no2@example.net", "no3@quiet.example"] {
        let part = format!(
            "Final-Recipient: rfc822; {name}\r\nAction: failed\r\nStatus: 5.7.1\r\n\
             Diagnostic-Code: smtp; 550 5.7.1 not for {name}\r\n"
        );
        assert!(text.contains(&part), "{part} in {text}");
    }
    for hidden in ["yes@", "drop@", "secret"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    assert!(text.contains("\r\nContent-Type: text/rfc822-headers\r\n\r\nReceived: from [127."), "{text}");

    // All of them: the client is told. Some that are dropped: the report is all that is made.
    let reply = Client::connect(&node.smtp).unwrap().offer(&["no1@example.net", "no2@example.net"], "x");
    assert_eq!(reply, "550 5.7.1 not for no2@example.net\r\n");
    send(&node, &["no1@example.net", "drop@example.net"], "x");
    wait_until(PATIENCE, "the report arrives", || server.all().len() == 3 && files(&node) == 0);
    assert!(server.all()[2].text.contains("no1@example.net"));

    // What cannot be told is not accepted.
    let (drafts, away) = (node.dir.path().join("spool/tmp"), node.dir.path().join("away"));
    std::fs::rename(&drafts, &away).unwrap();
    let reply = Client::connect(&node.smtp).unwrap().offer(&["no1@example.net", "drop@example.net"], "x");
    assert!(reply.starts_with("451 "), "{reply}");
    std::fs::rename(&away, &drafts).unwrap();

    for option in
        ["Generate_Bounces = false", "Generate_Bounces_For_Multi_Recipient_Policy_Rejections = false"]
    {
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{option}\n{text}")).unwrap();
        assert!(node.console("config reload").ends_with("Reconfigure complete\n"));
        let before = server.all().len();
        send(&node, &["no1@example.net", "yes@example.net"], "x");
        wait_until(PATIENCE, "the message arrives", || server.all().len() > before && files(&node) == 0);
        assert_eq!(server.all().len(), before + 1, "{option}");
        std::fs::write(&config, text).unwrap();
    }
    assert_eq!(files(&node), 0);
}

#[test]
fn a_report_that_cannot_be_stored_is_repeated_and_its_message_is_not() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = MailServer::start(move |recipient| {
        if recipient.starts_with("sender@") {
            return "250 2.1.5 ok";
        }
        counted.fetch_add(1, Ordering::SeqCst);
        "550 5.1.1 nobody here"
    });
    let node = relay(&server, "Suspend_Delivery = true\nIdle_Timeout = 1");
    send(&node, &["somebody@example.net"], "x");
    let (drafts, away) = (node.dir.path().join("spool/tmp"), node.dir.path().join("away"));
    std::fs::rename(&drafts, &away).unwrap();
    node.console("config set suspend_delivery false");
    wait_until(PATIENCE, "the report cannot be stored", || node.log().contains("cannot be stored"));
    // What has failed is not queued again.
    assert_eq!((queued(&node).as_str(), files(&node)), ("", 1));
    std::fs::rename(&away, &drafts).unwrap();
    wait_until(PATIENCE, "the report arrives", || !server.all().is_empty());
    wait_until(PATIENCE, "the spool is empty", || files(&node) == 0);
    assert_eq!((server.all().len(), asked.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn connections_are_counted_and_kept_within_the_limit_of_the_fleet() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    server.held.store(true, Ordering::SeqCst);
    let node = relay(
        &server,
        "Suspend_Delivery = false\nIdle_Timeout = 1\nConnection_Allocation_Aggressiveness = high\n\
         Cluster_Max_Outbound_Connections = 2\ncluster { Replicate \"outbound_domains\" {} Replicate \"outbound_cidr\" {} }",
    );
    for number in 0..20 {
        send(&node, &[&format!("r{number}@example.net")], "x");
    }
    let shown = |object: &str| node.console(&format!("cluster shared show {object}"));
    wait_until(PATIENCE, "both slots are used", || server.open.load(Ordering::SeqCst) == 2);
    wait_until(PATIENCE, "they are counted", || {
        let row = shown("outbound_domains");
        row.lines().any(|line| line.contains("example.net") && line.trim_end().ends_with(" 2"))
    });
    assert!(shown("outbound_slots").contains("2 of 2"), "{}", shown("outbound_slots"));
    assert_eq!(node.console("count outbound 127.0.0.1/32"), "2 sessions\n");
    // Of a count the slots say who waits; of both the configuration says which option it is.
    for (object, key) in [("outbound_domains", "example.net"), ("outbound_slots", "domain:example.net")] {
        let why = node.console(&format!("cluster shared why {object} {key}"));
        let mut lines = why.lines();
        let first =
            format!("{object} '{key}': 2 of 2 (Cluster_Max_Outbound_Connections at the global scope)");
        assert_eq!(lines.next(), Some(first.as_str()), "{why}");
        let solo = lines.next().unwrap();
        assert!(solo.starts_with("  solo: 2 used, 0 held, ") && solo.contains(" wanted since "), "{why}");
        assert!(lines.next().unwrap().starts_with("  granted 1 to solo, "), "{why}");
    }
    server.held.store(false, Ordering::SeqCst);
    wait_until(PATIENCE, "all arrive", || server.all().len() == 20);
    assert_eq!(server.peak.load(Ordering::SeqCst), 2);
    wait_until(PATIENCE, "the slots are given back", || {
        server.open.load(Ordering::SeqCst) == 0 && !shown("outbound_domains").contains(" 2\n")
    });
}

/// Configuration document, 8.4: `Shadow_Limits`.
#[test]
fn limits_that_only_watch_refuse_nothing_and_say_what_they_would() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    server.held.store(true, Ordering::SeqCst);
    let node = relay_with(
        &server,
        "Suspend_Delivery = false\nIdle_Timeout = 1\nConnection_Allocation_Aggressiveness = high\n\
         Max_Outbound_Connections = 1\nCluster_Max_Outbound_Connections = 1\n\
         Cluster_Outbound_Throttle_Messages = 2/60\nShadow_Limits = ( \"*\" )\n\
         cluster { Replicate \"outbound_domains\" {} Replicate \"OBTM\" {} }",
        "Service_Sessions = 1",
    );
    // A second session is one more than the listener's limit.
    let sessions: Vec<Client> = (0..2).map(|_| Client::connect(&node.smtp).unwrap()).collect();
    for number in 0..8 {
        send(&node, &[&format!("r{number}@example.net")], "x");
    }
    wait_until(PATIENCE, "more than one connection is open", || server.open.load(Ordering::SeqCst) > 2);
    let why = node.console("cluster shared why outbound_domains example.net");
    let first = why.lines().next().unwrap();
    assert!(first.ends_with(" of 1 (Cluster_Max_Outbound_Connections at the global scope) shadow"), "{why}");
    server.held.store(false, Ordering::SeqCst);
    wait_until(PATIENCE, "all arrive", || server.all().len() == 8);
    let why = node.console("cluster shared why OBTM global");
    assert!(
        why.lines().next().unwrap().ends_with(" shadow") && why.contains("would have been held back here"),
        "{why}"
    );
    drop(sessions);
    let log = node.log();
    for option in [
        "Max_Outbound_Connections at the global scope",
        "Cluster_Max_Outbound_Connections at the global scope",
        "Service_Sessions at ",
    ] {
        assert!(
            log.lines().any(|line| line.contains(option) && line.contains(" would have held back ")),
            "{option}\n{log}"
        );
    }
}

#[test]
fn a_limit_that_a_reload_brings_counts_what_is_open_and_ends_what_is_too_much() {
    // Other limits than before, on other things; or the first limit of the fleet.
    for before in ["Cluster_Max_Outbound_Connections = 50", "# no limit"] {
        limit_by_reload(before);
    }
}

fn limit_by_reload(before: &str) {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    server.held.store(true, Ordering::SeqCst);
    let limit = |line: &str| {
        format!(
            "Suspend_Delivery = false\nIdle_Timeout = 60\nConnection_Allocation_Aggressiveness = high\n{line}\n\
             cluster {{ Replicate \"outbound_domains\" {{}} }}"
        )
    };
    let node = relay(&server, &limit(before));
    let shown = || node.console("cluster shared show outbound_slots");
    for number in 0..20 {
        send(&node, &[&format!("r{number}@example.net")], "x");
    }
    wait_until(PATIENCE, "many are open", || server.open.load(Ordering::SeqCst) >= 5);
    let config = node.dir.path().join("postfleet.conf");
    let reload = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&config).unwrap();
        assert!(text.contains(from));
        std::fs::write(&config, text.replace(from, to)).unwrap();
        let reloaded = node.console("config reload");
        assert!(reloaded.ends_with("Reconfigure complete\n"), "{reloaded}");
    };
    let of_domain = "Domain \"example.net\" { Cluster_Scope_Max_Outbound_Connections = 2 }";
    reload(before, of_domain);
    let open = server.open.load(Ordering::SeqCst);
    wait_until(PATIENCE, "all that are open count", || shown().contains(&format!("{open} of 2")));
    server.held.store(false, Ordering::SeqCst);
    wait_until(PATIENCE, "all arrive", || server.all().len() == 20);
    wait_until(PATIENCE, "two stay open", || {
        server.open.load(Ordering::SeqCst) == 2 && shown().contains("2 of 2")
    });
    // And none is a limit again.
    reload(of_domain, "");
    wait_until(PATIENCE, "nothing is held", || !shown().contains("of 2"));
}

/// A relay that offers STARTTLS, and keeps what it takes.
fn secure_relay() -> SingleNode {
    let made = rcgen::generate_simple_self_signed(vec!["mx.test.example".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("cert"), files.path().join("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = format!("TLS_Certificate = \"{}\"\nTLS_Key = \"{}\"", certificate.display(), key.display());
    SingleNode::start(ACCEPTS, &tls, "")
}

const ACCEPTS: &str = "Relay_Hosts = ( 127.0.0.0/8 )";

#[test]
fn what_is_to_be_encrypted_does_not_go_over_a_connection_from_before() {
    let secure = secure_relay();
    let gateway = format!(
        "{ACCEPTS}\nSuspend_Delivery = false\nIdle_Timeout = 60\nGateway = \"{}\"\nTLS = no",
        secure.smtp
    );
    let from = SingleNode::start(&gateway, "", "");
    send(&from, &["first@example.net"], "x");
    wait_until(PATIENCE, "the first arrives", || files_of(&secure).len() == 1);
    wait_until(PATIENCE, "its connection stays", || {
        from.console("count outbound 0.0.0.0/0") == "1 sessions\n"
    });
    from.console("config set tls required");
    send(&from, &["second@example.net"], "x");
    wait_until(PATIENCE, "the second arrives", || files_of(&secure).len() == 2);
    let texts = files_of(&secure);
    let of = |recipient: &str| texts.iter().find(|text| text.contains(recipient)).unwrap();
    assert!(of("first@").contains("with ESMTP\r\n"), "{}", of("first@"));
    assert!(of("second@").contains("with ESMTPS"), "{}", of("second@"));
}

#[test]
fn tls_is_spoken_where_it_is_required() {
    // A relay of our own is the other side; one of them has no certificate.
    let (secure, plain) = (secure_relay(), SingleNode::start(ACCEPTS, "", ""));
    let from = SingleNode::start(
        &format!(
            "{ACCEPTS}\nSuspend_Delivery = false\nTLS = required\nGateway = \"{}\"\n\
             Domain \"plain.example\" {{ Gateway = \"{}\" }}",
            secure.smtp, plain.smtp
        ),
        "",
        "",
    );
    send(&from, &["somebody@example.net"], "x");
    send(&from, &["somebody@plain.example"], "x");
    wait_until(PATIENCE, "it arrives under TLS", || {
        files_of(&secure).iter().any(|text| text.contains("with ESMTPS"))
    });
    wait_until(PATIENCE, "it is not sent in the clear", || {
        from.console("mailq").lines().any(|line| line.contains("plain.example"))
    });
    assert!(files_of(&plain).is_empty());
}

/// The texts of the message files in the spool.
fn files_of(node: &SingleNode) -> Vec<String> {
    let folders = std::fs::read_dir(node.dir.path().join("spool/msg")).unwrap().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten());
    files.map(|file| String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned()).collect()
}

#[test]
fn the_console_shows_queues_and_moves_messages() {
    let server = MailServer::start(|recipient| {
        if recipient.starts_with("later") { "451 4.2.0 try later" } else { "250 2.1.5 ok" }
    });
    let node = relay(&server, DELIVERS);
    send(&node, &["later1@example.net"], "x");
    send(&node, &["later2@example.net"], "x");
    let zeros = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    wait_until(PATIENCE, "both are delayed", || queued(&node) == "example.net 0 2");
    assert_eq!(zeros(node.console("active 0")), zeros(node.console("active 5")), "no domain is above");
    assert!(
        zeros(node.console("delayed 1")).starts_with("Domain: example.net C: "),
        "{}",
        node.console("delayed 1")
    );
    let rows = node.console("showqueue example.net");
    let id = rows.lines().next().unwrap().split(' ').nth(1).unwrap().to_owned();
    assert!(rows.starts_with("[delayed/default] "), "{rows}");
    assert!(rows.contains("  From: <sender@client.example> To: <later1@example.net>\n"), "{rows}");
    let details = node.console(&format!("message details {id}"));
    assert!(details.contains("                  Code: 451 4.2.0 try later\n"), "{details}");
    assert!(details.contains("               Retries: 1\n"), "{details}");
    assert_eq!(node.console(&format!("message retry {id}")), "Message requeued for delivery\n");
    wait_until(PATIENCE, "it was tried again", || {
        node.console(&format!("message details {id}")).contains("               Retries: 2\n")
    });
    assert_eq!(node.console("flush domain example.net"), "example.net flushed.  2 messages requeued.\n");
    wait_until(PATIENCE, "both are delayed again", || {
        queued(&node) == "example.net 0 2"
            && node.console("domain example.net").contains("Trans. Failures (4xx):                    5\n")
    });
    assert_eq!(node.console(&format!("message fail quiet {id}")), "Message failed\n");
    assert_eq!(node.console("fail domain example.net"), "example.net purged, 1 messages failed.\n");
    wait_until(PATIENCE, "the spool is empty", || files(&node) == 0);
    // One of them was quiet.
    let reports: Vec<_> = server.all().into_iter().filter(|received| received.sender.is_empty()).collect();
    assert_eq!(reports.len(), 1);
    assert!(
        reports[0].text.contains("Diagnostic-Code: smtp; 554 Message manually purged.\r\n"),
        "{}",
        reports[0].text
    );
    assert_eq!(node.console("flush domain all"), "All domains flushed.  0 messages requeued.\n");
    let unknown = support::console(&node.control, "domain nowhere.example");
    assert!(!unknown.status.success());
}
