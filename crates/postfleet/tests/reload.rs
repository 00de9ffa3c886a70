//! A running node takes another configuration: as a whole or not at all, and what is under way goes on.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Client, Fleet, SingleNode, console, wait_until};

const SHOW: &str = "cluster shared show inbound_cidr";
const EMPTY: &str = "lazy, snapped cidrtree 'inbound_cidr', view 'global'\n";

fn config(node: &SingleNode) -> PathBuf {
    node.dir.path().join("postfleet.conf")
}

/// Replaces a part of the node's file.
fn edit(node: &SingleNode, from: &str, to: &str) {
    let text = std::fs::read_to_string(config(node)).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(config(node), text.replace(from, to)).unwrap();
}

/// Standard output, standard error and success of a command.
fn said(control: &Path, command: &str) -> (String, String, bool) {
    let output = console(control, command);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.success())
}

fn reload(node: &SingleNode) -> String {
    let (out, err, done) = said(&node.control, "config reload");
    assert!(done, "{out}{err}");
    out
}

fn free_port(address: &str) -> u16 {
    TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port()
}

fn messages(spool: &Path) -> usize {
    let walk = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let mut folders = vec![spool.join("msg")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for path in walk(&folder) {
            if path.is_dir() { folders.push(path) } else { count += 1 }
        }
    }
    count
}

#[test]
fn configuration_a58_a_wrong_file_changes_nothing() {
    let node = SingleNode::start("Relay_Domains = ( \"d.example\" )", "", "");
    let mut client = Client::connect(&node.smtp).unwrap();
    client.message("a@d.example", "one").unwrap();
    for generation in 2..=4 {
        assert_eq!(reload(&node), "Reconfigure complete\n");
        assert!(node.log().contains(&format!("generation {generation} is in effect: ")), "{}", node.log());
    }
    let right = std::fs::read_to_string(config(&node)).unwrap();
    let wrong =
        "Hostname = \"mx1.example.net\"\nDomain \"example.org\" {\n  Max_Outbound_Connection = 10\n}\n";
    std::fs::write(config(&node), wrong).unwrap();
    let (_, errors, done) = said(&node.control, "config reload");
    let path = config(&node).canonicalize().unwrap();
    assert!(!done);
    assert_eq!(
        errors,
        format!(
            "Syntax error in {} at line 3, column 3 near 'Max_Outbound_Connection'\n\
             CFG-3001 'Max_Outbound_Connection' is not a valid scope name in scope 'Domain'; expected an option or \
             stanza of scope 'Domain'\n  hint: did you mean 'Max_Outbound_Connections'?\nReconfigure failed.\n",
            path.display()
        )
    );
    assert!(node.log().contains("generation 4 stays in effect"), "{}", node.log());
    // Mail flow and sockets are untouched: the old session goes on, and a new one is greeted by the old name.
    client.message("b@d.example", "two").unwrap();
    let mut new = Client::raw(&node.smtp).unwrap();
    assert!(new.reply().unwrap().starts_with("220 mx.test.example"));
    std::fs::write(config(&node), right).unwrap();
    assert_eq!(reload(&node), "Reconfigure complete\n");
    assert!(node.log().contains("generation 5 is in effect: "), "{}", node.log());
}

#[test]
fn configuration_a59_what_needs_a_restart_is_named_and_stays() {
    let node = SingleNode::start("Relay_Domains = ( \"d.example\" )", "", "");
    let path = config(&node).canonicalize().unwrap().display().to_string();
    edit(&node, "/spool\"", "/elsewhere\"");
    let out = reload(&node);
    assert_eq!(
        out,
        format!(
            "Warning in {path} at line 2, column 1 near 'Spoolbase'\nCFG-7001 'Spoolbase' cannot be changed at run \
             time; restart required.\nReconfigure complete\n"
        )
    );
    let mut client = Client::connect(&node.smtp).unwrap();
    client.message("a@d.example", "one").unwrap();
    assert_eq!(messages(&node.dir.path().join("spool")), 1);
    assert!(!node.dir.path().join("elsewhere").exists());
    assert!(node.log().contains("generation 2 is in effect: "), "{}", node.log());
}

#[test]
fn configuration_a60_sessions_of_an_old_generation_end_at_their_next_mail() {
    let node = SingleNode::start("Relay_Domains = ( \"d.example\" )", "Idle_Time = 300", "");
    let mut waiting = Client::connect(&node.smtp).unwrap();
    waiting.message("a@d.example", "one").unwrap();
    let mut inside = Client::connect(&node.smtp).unwrap();
    assert!(inside.command("MAIL FROM:<a@b.example>").unwrap().starts_with("250"));
    // Files that say the same in other words close nothing.
    edit(&node, "Idle_Time = 300", "idle_time = \"300\" # the same");
    reload(&node);
    waiting.message("b@d.example", "two").unwrap();
    edit(&node, "idle_time = \"300\"", "Idle_Time = 301");
    reload(&node);
    // A message that has begun is finished.
    assert!(inside.command("RCPT TO:<c@d.example>").unwrap().starts_with("250"));
    assert!(inside.command("DATA").unwrap().starts_with("354"));
    let text = "From: a\r\nDate: d\r\nMessage-ID: <x@y>\r\n\r\nhello\r\n.";
    assert!(inside.command(text).unwrap().starts_with("250"));
    for client in [&mut waiting, &mut inside] {
        assert_eq!(client.command("NOOP").unwrap().get(..3), Some("250"));
        let answer = client.command("MAIL FROM:<a@b.example>").unwrap();
        assert_eq!(answer, "421 4.3.2 Reconfiguration in progress\r\n");
        assert_eq!(client.rest(), "");
    }
    let mut new = Client::connect(&node.smtp).unwrap();
    new.message("d@d.example", "three").unwrap();
}

/// Mail transfer document, acceptance case 27.
#[test]
fn mta_case_27_only_what_a_session_sees_ends_it() {
    let node = SingleNode::start("Relay_Domains = ( \"d.example\" )\n# here", "", "");
    let mut client = Client::connect(&node.smtp).unwrap();
    client.message("a@d.example", "one").unwrap();
    edit(&node, "# here", "Domain \"x.example\" { Idle_Timeout = 7 }");
    reload(&node);
    client.message("b@d.example", "two").unwrap();
    edit(
        &node,
        "Listen \"",
        "Banner_Hostname = \"other.example\"\nReconfig_Message = \"4.3.2 Later\"\n  Listen \"",
    );
    // The one listener that changed is the SMTP one; the words are those the session began with.
    let text = std::fs::read_to_string(config(&node)).unwrap();
    let (first, rest) = text.split_once("Control_Listener").unwrap();
    let rest = rest.replace("Banner_Hostname = \"other.example\"\nReconfig_Message = \"4.3.2 Later\"\n", "");
    std::fs::write(config(&node), format!("{first}Control_Listener{rest}")).unwrap();
    reload(&node);
    assert_eq!(client.command("RSET").unwrap(), "421 4.3.2 Reconfiguration in progress\r\n");
    let mut new = Client::raw(&node.smtp).unwrap();
    assert!(new.reply().unwrap().starts_with("220 other.example"));
}

/// From one address to all of them in one reload; no client is refused meanwhile, and connections between nodes stay.
#[test]
fn configuration_a61_listeners_change_by_difference() {
    let node = SingleNode::start("Relay_Domains = ( \"d.example\" )", "", "");
    let port = node.smtp.rsplit(':').next().unwrap().to_owned();
    let cluster = format!("127.0.2.1:{}", free_port("127.0.2.1"));
    edit(&node, "Listen \"127.0.2.1:4802\" { Enable = false }", &format!("Listen \"{cluster}\" {{}}"));
    reload(&node);
    let mut peer = BufReader::new(TcpStream::connect(&cluster).unwrap());
    let mut greeting = String::new();
    peer.read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("POSTFLEET-CLUSTER"), "{greeting}");

    let one = format!("Listen \"{}\"", node.smtp);
    let all = format!("Listen \"*:{port}\"");
    let done = Arc::new(AtomicBool::new(false));
    let knocking = {
        let (smtp, done) = (node.smtp.clone(), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut knocks = 0;
            while !done.load(Ordering::Relaxed) {
                Client::connect(&smtp).unwrap_or_else(|error| panic!("connection {knocks}: {error}"));
                knocks += 1;
            }
            knocks
        })
    };
    for _ in 0..3 {
        edit(&node, &one, &all);
        assert_eq!(reload(&node), "Reconfigure complete\n");
        Client::connect(&format!("127.0.3.3:{port}")).unwrap();
        edit(&node, &all, &one);
        assert_eq!(reload(&node), "Reconfigure complete\n");
        assert!(TcpStream::connect(format!("127.0.3.3:{port}")).is_err());
        Client::connect(&node.smtp).unwrap();
    }
    done.store(true, Ordering::Relaxed);
    assert!(knocking.join().unwrap() > 0);

    peer.get_mut().write_all(b"nonsense\n").unwrap();
    let mut answer = String::new();
    peer.read_line(&mut answer).unwrap();
    assert!(answer.starts_with("NO "), "{answer}");
}

#[test]
fn an_address_that_is_taken_is_reported_and_the_rest_comes_into_effect() {
    let node = SingleNode::start("Relay_Domains = ( \"d.example\" )", "# here", "");
    let taken = TcpListener::bind("127.0.2.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    edit(&node, "# here", &format!("Banner_Hostname = \"new.example\"\n  Listen \"{address}\" {{}}"));
    let out = reload(&node);
    let complaint = format!("ESMTP_Listener {address}: cannot listen there: ");
    assert!(out.starts_with(&complaint) && out.ends_with("\nReconfigure complete\n"), "{out}");
    assert!(node.log().contains("[critical]") && node.log().contains(&complaint), "{}", node.log());
    let mut client = Client::raw(&node.smtp).unwrap();
    assert!(client.reply().unwrap().starts_with("220 new.example"));
    // Both listeners are switched off; sessions go on.
    edit(&node, "Banner_Hostname = \"new.example\"", "Enable = false");
    reload(&node);
    assert!(TcpStream::connect(&node.smtp).is_err());
    assert!(client.command("NOOP").unwrap().starts_with("250"));
}

/// Limits are counted anew for the sessions that are open, and never twice.
#[test]
fn session_limits_move_over() {
    let node = SingleNode::start("Relay_Domains = ( \"d.example\" )", "# limit", "");
    let connect = || {
        let mut client = Client::raw(&node.smtp).unwrap();
        (client.reply().unwrap().starts_with("220"), client)
    };
    let held: Vec<_> = (0..3).map(|_| connect()).collect();
    assert!(held.iter().all(|(greeted, _)| *greeted));
    edit(&node, "# limit", "Service_Sessions = 4");
    reload(&node);
    let (fourth, _fourth) = connect();
    assert!(fourth && !connect().0);
    edit(&node, "Service_Sessions = 4", "Service_Sessions = 3");
    reload(&node);
    assert!(!connect().0);
    drop(held);
    wait_until(Duration::from_secs(5), "their places are free", || {
        node.console("summary")
            .lines()
            .any(|line| line.split_whitespace().eq(["Inbound", "Concurrency:", "1"]))
    });
    let (second, _second) = connect();
    let (third, _third) = connect();
    assert!(second && third && !connect().0);
}

#[test]
fn replicated_objects_come_and_go() {
    let node = SingleNode::start("Relay_Domains = ( \"d.example\" )", "", "");
    let held = Client::connect(&node.smtp).unwrap();
    let object = "Replicate \"inbound_cidr\" {}";
    edit(&node, object, &format!("{object} Replicate \"outbound_domains\" {{}}"));
    reload(&node);
    assert!(node.console("cluster shared list").contains("outbound_domains"));
    assert!(node.console(SHOW).contains("/32"), "{}", node.console(SHOW));
    edit(&node, object, "");
    reload(&node);
    assert!(!node.console("cluster shared list").contains("inbound_cidr"));
    assert!(node.console("cluster shared list").contains("outbound_domains"));
    // New again, it starts empty; what was open before is counted in it neither now nor when it ends.
    edit(&node, "Replicate \"outbound_domains\"", &format!("{object} Replicate \"outbound_domains\""));
    reload(&node);
    let view = |node: &SingleNode| node.console(SHOW).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert!(view(&node).is_empty(), "{:?}", view(&node));
    let second = Client::connect(&node.smtp).unwrap();
    wait_until(Duration::from_secs(5), "the new session is counted", || view(&node).len() > 1);
    drop(held);
    wait_until(Duration::from_secs(5), "the old session has ended", || {
        node.console("count SMTP 0.0.0.0/0").contains('1')
    });
    assert!(view(&node).iter().all(|row| row.trim_start().starts_with('1')), "{:?}", view(&node));
    drop(second);
}

/// SIGHUP does the same; the report of a failure is in the log.
#[test]
fn sighup_reloads() {
    let node = SingleNode::start("", "", "");
    let pid = node.console("pid").trim().to_owned();
    let hangup =
        || assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    edit(&node, "mx.test.example", "mx2.test.example");
    hangup();
    wait_until(Duration::from_secs(5), "the new generation", || {
        node.log().contains("generation 2 is in effect")
    });
    let mut client = Client::raw(&node.smtp).unwrap();
    assert!(client.reply().unwrap().starts_with("220 mx2.test.example"));
    edit(&node, "Hostname = ", "Hostnam = ");
    hangup();
    wait_until(Duration::from_secs(5), "the report", || node.log().contains("Reconfigure failed."));
    assert!(node.log().contains("CFG-3001 'Hostnam'"), "{}", node.log());
}

/// A file named in the command holds for this reload only.
#[test]
fn a_named_file_is_read_once() {
    let node = SingleNode::start("", "", "");
    let other = node.dir.path().join("other.conf");
    let text = std::fs::read_to_string(config(&node)).unwrap();
    std::fs::write(&other, text.replace("mx.test.example", "other.test.example")).unwrap();
    let greeting = || Client::raw(&node.smtp).unwrap().reply().unwrap();
    let (out, _, _) = said(&node.control, &format!("config reload {}", other.display()));
    assert_eq!(out, "Reconfigure complete\n");
    assert!(greeting().starts_with("220 other.test.example"));
    reload(&node);
    assert!(greeting().starts_with("220 mx.test.example"));
    let (_, errors, done) = said(&node.control, "config reload /nonexistent/x.conf");
    assert!(!done && errors.contains("CFG-5001") && errors.ends_with("Reconfigure failed.\n"), "{errors}");
}

/// Acceptance case 22 of the bus: a member whose options differ is named, with the option, on all members, some seconds
/// after the reload that made them differ. It stays a member.
#[test]
fn bus_case_22_members_that_differ_are_named_with_the_option() {
    let fleet = Fleet::start(2);
    let text = std::fs::read_to_string(&fleet.nodes[0].config).unwrap();
    std::fs::write(
        &fleet.nodes[0].config,
        text.replace("bus = \"local\"", "bus = \"local\"\n  partition = full"),
    )
    .unwrap();
    fleet.console(0, "config reload");
    for (node, other) in [(0, "relay-2"), (1, "relay-1")] {
        let line = format!(
            "CFG-7021 node {other} has other values of options that must be equal on all members: partition; make \
             them equal. It stays a member"
        );
        wait_until(Duration::from_secs(10), "the difference is in the log", || {
            std::fs::read_to_string(&fleet.nodes[node].log).unwrap().contains(&line)
        });
    }
}

/// Fifty reloads of each of three nodes, with two files in turn that differ in what sessions see, in sockets, limits and
/// replicated objects, while clients send all the time. A client is never cut off but by a 421 at MAIL; what was
/// acknowledged is in the spools; connections that stayed open are counted once, and nothing is left when they close.
#[test]
fn fifty_reloads_under_traffic_lose_and_double_nothing() {
    const RELOADS: usize = 50;
    let fleet = Fleet::start(3);
    let source: IpAddr = "203.0.113.77".parse().unwrap();
    let held: Vec<Client> =
        fleet.nodes.iter().map(|node| Client::connect_from(&node.smtp_proxy, source).unwrap()).collect();
    let files: Vec<[PathBuf; 2]> = fleet
        .nodes
        .iter()
        .map(|node| {
            let text = std::fs::read_to_string(&node.config).unwrap();
            let host = node.smtp.rsplit_once(':').unwrap().0;
            let more = format!(
                "ESMTP_Listener {{\n  Idle_Time = 200\n  Service_Sessions = 1000\n  Listen \"{host}:{}\" {{}}\n",
                free_port(host)
            );
            let other = text
                .replacen("ESMTP_Listener {\n", &more, 1)
                .replace("Replicate \"outbound_cidr\"", "Replicate \"OBTM\" {} Replicate \"inbound_cidr\" { max_delay = 0.5 } #")
                .replace("Replicate \"inbound_cidr\" {} ", "#");
            let path = node.config.with_file_name("other.conf");
            std::fs::write(&path, other).unwrap();
            [node.config.clone(), path]
        })
        .collect();
    let done = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = fleet
        .nodes
        .iter()
        .flat_map(|node| [node.clone(), node.clone()])
        .map(|node| {
            let done = Arc::clone(&done);
            std::thread::spawn(move || {
                let (mut acknowledged, mut told) = (0_usize, 0_usize);
                'connections: while !done.load(Ordering::Relaxed) {
                    let mut client = Client::connect(&node.smtp).unwrap();
                    for _ in 0..20 {
                        match client.message("a@demo.example", "hello") {
                            Ok(_) => acknowledged += 1,
                            Err(error) if error.to_string().starts_with("421 4.3.2 Reconf") => {
                                told += 1;
                                continue 'connections;
                            }
                            Err(error) => panic!("{}: {error}", node.name),
                        }
                    }
                    assert!(client.command("QUIT").unwrap().starts_with("221"));
                }
                (node.name, acknowledged, told)
            })
        })
        .collect();
    for round in 0..RELOADS {
        for (node, files) in fleet.nodes.iter().zip(&files) {
            let file = &files[(round + 1) % 2];
            let (out, errors, _) = said(&node.control, &format!("config reload {}", file.display()));
            assert_eq!((out.as_str(), errors.as_str()), ("Reconfigure complete\n", ""), "{}", node.name);
        }
    }
    done.store(true, Ordering::Relaxed);
    let sent: Vec<_> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    for node in &fleet.nodes {
        let own = || sent.iter().filter(|(name, ..)| *name == node.name);
        let acknowledged: usize = own().map(|(_, acknowledged, _)| acknowledged).sum();
        let told: usize = own().map(|(.., told)| told).sum();
        assert!(acknowledged > 0 && told > 0, "{sent:?}");
        assert_eq!(messages(&node.spool), acknowledged, "{}", node.name);
    }
    for node in 0..3 {
        wait_until(Duration::from_secs(10), "only the held connections are counted", || {
            let show = fleet.console(node, SHOW);
            let leaves: Vec<&str> =
                show.lines().filter(|line| line.ends_with("/32")).map(str::trim_start).collect();
            leaves.len() == 1 && leaves[0].starts_with("3 ") && leaves[0].ends_with("203.0.113.77/32")
        });
    }
    drop(held);
    for node in 0..3 {
        wait_until(Duration::from_secs(10), "nothing is counted any more", || {
            fleet.console(node, SHOW) == EMPTY
        });
    }
}
