//! Real nodes count connections, receptions and rejections, named series and gauge caches.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/remote.rs"]
mod remote;
mod support;

use remote::{MailServer, name_server};
use std::path::Path;
use std::time::Duration;
use support::{Client, Fleet, SingleNode, console, wait_until};

/// One window for the whole test, whenever it runs: a year, and the one before.
const MONITOR: &str = "31536000,1";

const PATIENCE: Duration = Duration::from_secs(10);

/// Adds to the configuration of all nodes and brings it into effect.
fn configure(fleet: &Fleet, parameters: &str) {
    for (at, node) in fleet.nodes.iter().enumerate() {
        let text = std::fs::read_to_string(&node.config).unwrap();
        let dir = fleet.dir.path().join(format!("series-{at}"));
        let text = format!(
            "{text}\ninbound_audit {{ monitors = ( \"{MONITOR}\" ) maintenance_interval = 1\n\
             log_dir = \"{dir}/log\" serialize_dir = \"{dir}/kept\" }}\n\
             cluster {{ Replicate \"metrics\" {{ parameters = \"{parameters}\" }} }}\n",
            dir = dir.display()
        );
        std::fs::write(&node.config, text).unwrap();
        let answer = fleet.console(at, "config reload");
        assert!(answer.ends_with("Reconfigure complete\n"), "{answer}");
    }
}

/// Connections, receptions and rejections over all windows, and the scope.
fn audit(fleet: &Fleet, node: usize, block: &str) -> (u64, u64, u64, String) {
    let text = fleet.console(node, &format!("json inbound_audit show ip {block}"));
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    let monitor = &answer["data"]["monitors"][0];
    let sum =
        |name: &str| monitor[name].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum();
    let scope = answer["data"]["scope"].as_str().unwrap().to_owned();
    (sum("connections"), sum("receptions"), sum("rejections"), scope)
}

fn wait_for(fleet: &Fleet, nodes: &[usize], block: &str, expected: (u64, u64, u64)) {
    let expected = (expected.0, expected.1, expected.2, "cluster".to_owned());
    for node in nodes {
        wait_until(PATIENCE, &format!("{block} on {node} is {expected:?}"), || {
            audit(fleet, *node, block) == expected
        });
    }
}

#[test]
fn what_was_counted_is_the_same_everywhere_and_outlives_its_node() {
    let mut fleet = Fleet::start(3);
    configure(&fleet, "connect;reception;rejection;audit_series;gauge_cache;snapshot");
    assert!(fleet.console(0, "cluster shared list").contains("metrics [lazy, metrics w/ snapshots]\n"));
    for (node, connections) in [(0, 2), (1, 3), (2, 4)] {
        for connection in 0..connections {
            let source = format!("10.1.{node}.{connection}").parse().unwrap();
            let mut client = Client::connect_from(&fleet.nodes[node].smtp_proxy, source).unwrap();
            client.command("EHLO client.example").unwrap();
            client.message("somebody@demo.example", "text").unwrap();
            // A recipient that nobody relays for is refused.
            client.command("MAIL FROM:<sender@client.example>").unwrap();
            let refused = client.command("RCPT TO:<nobody@elsewhere.invalid>").unwrap();
            assert!(refused.starts_with("55"), "{refused}");
        }
    }
    wait_for(&fleet, &[0, 1, 2], "10.0.0.0/8", (9, 9, 9));
    wait_for(&fleet, &[0, 1, 2], "10.1.2.0/24", (4, 4, 4));
    wait_for(&fleet, &[0, 1, 2], "10.1.1.1", (1, 1, 1));
    let first = fleet.console(0, "inbound_audit show ip 10.0.0.0/8");
    for node in 1..3 {
        assert_eq!(fleet.console(node, "inbound_audit:any show ip 10.0.0.0/8"), first);
    }
    assert!(first.starts_with("Connections 31536000/0: "), "{first}");
    assert_eq!(first.lines().count(), 6);
    // The rows of this node alone.
    let own = fleet.console(1, "inbound_audit show all");
    assert_eq!(own.lines().filter(|line| line.contains(",connections,31536000,")).count(), 3, "{own}");
    let shown = fleet.console(2, "cluster shared show metrics from relay-1");
    let row = |word: &str, count: u64| format!("{word:>60}:{count:>13}\n");
    assert!(shown.ends_with(&(row("connect", 2) + &row("reception", 2) + &row("rejection", 2))), "{shown}");

    // relay-1 hosts the bus. It dies; what it counted has happened.
    fleet.kill(0);
    wait_until(PATIENCE, "relay-1 is gone", || {
        !console(&fleet.nodes[1].control, "cluster shared show metrics from relay-1").status.success()
    });
    wait_for(&fleet, &[1, 2], "10.0.0.0/8", (9, 9, 9));
    // It comes back and is told, also of what its earlier life counted.
    fleet.restart(0);
    wait_for(&fleet, &[0, 1, 2], "10.0.0.0/8", (9, 9, 9));
    drop(Client::connect_from(&fleet.nodes[0].smtp_proxy, "10.1.0.0".parse().unwrap()).unwrap());
    wait_for(&fleet, &[0, 1, 2], "10.0.0.0/8", (10, 9, 9));
}

/// Replication document, 10.3: one for each delivery, transient and permanent failure of any node, by domain.
#[test]
fn what_became_of_messages_is_counted_for_the_fleet() {
    let server = MailServer::start(|recipient| match recipient.split('@').next() {
        Some("later") => "450 4.2.1 later",
        Some("never") => "550 5.1.1 nobody",
        _ => "250 2.1.5 ok",
    });
    let zone = "demo.example MX 10 mx.demo.example\nclient.example MX 10 mx.demo.example\nmx.demo.example A 127.0.0.1";
    let fleet = Fleet::start(2);
    let resolv = fleet.dir.path().join("resolv");
    std::fs::write(&resolv, format!("nameserver {}\n", name_server(zone))).unwrap();
    for node in &fleet.nodes {
        let text = std::fs::read_to_string(&node.config).unwrap();
        let more = format!("Remote_SMTP_Port = {}\nResolv_Conf = \"{}\"\n", server.port, resolv.display());
        std::fs::write(&node.config, text.replace("Suspend_Delivery = true\n", &more)).unwrap();
    }
    configure(&fleet, "delivery;transfail;permfail;snapshot");
    for (node, recipients) in [(0, ["a", "later", "never"]), (1, ["b", "c", "later"])] {
        let mut client = Client::connect(&fleet.nodes[node].smtp).unwrap();
        client.command("EHLO client.example").unwrap();
        for recipient in recipients {
            client.message(&format!("{recipient}@demo.example"), "text").unwrap();
        }
    }
    // The bounce for what failed is a delivery.
    let row = |word: &str, count: u64| format!("{word:>60}:{count:>13}\n");
    let all = row("delivery", 4) + &row("transfail", 2) + &row("permfail", 1);
    for node in 0..2 {
        wait_until(PATIENCE, "all nodes show all", || {
            fleet.console(node, "cluster shared show metrics").ends_with(&all)
        });
    }
    let why = fleet.console(0, "cluster shared why metrics transfail");
    assert!(
        why.starts_with("metrics 'transfail': 2\n  relay-1: 1 used, ? held, ? wanted, seen 0.0 s ago\n"),
        "{why}"
    );
    assert!(why.contains("\n  relay-2: 1 used, ? held, ? wanted, seen "), "{why}");
    let all = server.all();
    let bounces: Vec<_> = all.iter().filter(|message| message.sender.is_empty()).collect();
    assert!(
        all.len() == 4 && bounces.len() == 1 && bounces[0].text.contains("never@demo.example"),
        "{all:?}"
    );
    assert!(bounces[0].recipients[0].ends_with("@client.example"), "{bounces:?}");
    let own = row("delivery", 2) + &row("transfail", 1) + &row("permfail", 1);
    assert!(fleet.console(1, "cluster shared show metrics from relay-1").ends_with(&own));
}

#[test]
fn named_series_and_gauge_caches_from_the_console() {
    let mut fleet = Fleet::start(3);
    configure(&fleet, "audit_series;gauge_cache;snapshot");
    let define = format!("inbound_audit define abuse cidr {MONITOR} cluster persist serialize");
    for node in 0..3 {
        assert_eq!(fleet.console(node, &define), "");
        let by = 10 + node;
        assert_eq!(
            fleet.console(node, &format!("inbound_audit add abuse {MONITOR} 192.0.2.{node} {by}")),
            ""
        );
    }
    let count = |fleet: &Fleet, node: usize, block: &str| {
        fleet.console(node, &format!("inbound_audit count_cidr {block} abuse {MONITOR} 0 1"))
    };
    let settled = |fleet: &Fleet, block: &str, expected: &str| {
        for node in 0..3 {
            wait_until(PATIENCE, &format!("{block} is {expected} on {node}"), || {
                count(fleet, node, block) == format!("{expected}\n")
            });
        }
    };
    settled(&fleet, "192.0.2.0/24", "33");
    fleet.console(1, &format!("inbound_audit subtract abuse {MONITOR} 192.0.2.0 4"));
    settled(&fleet, "192.0.2.0/24", "29");
    fleet.console(2, &format!("inbound_audit delete_ip 192.0.2.1 abuse {MONITOR}"));
    settled(&fleet, "192.0.2.0/24", "18");

    // Its changes are written.
    let log = fleet.dir.path().join("series-2/log");
    wait_until(PATIENCE, "the changes are in a file", || {
        files(&log).iter().any(|text| text.contains("\t192.0.2.2\t12\n"))
    });
    // An orderly stop keeps the column, and the node goes on with it: nothing is counted twice.
    stop(&mut fleet, 1);
    settled_on(&fleet, &[0, 2], &count, "192.0.2.0/24", "18");
    let kept = std::fs::read_to_string(fleet.dir.path().join("series-1/kept/abuse")).unwrap();
    assert!(kept.starts_with("# series abuse cidr 31536000 1\n# published #ec1-"), "{kept}");
    assert!(kept.ends_with("\t192.0.2.0\t-4\n"), "{kept}");
    fleet.restart(1);
    let loaded = fleet.console(1, &define);
    assert_eq!(loaded, "loaded 1 entries into 'abuse'\n");
    settled(&fleet, "192.0.2.0/24", "18");
    fleet.console(1, &format!("inbound_audit add abuse {MONITOR} 192.0.2.77 1"));
    settled(&fleet, "192.0.2.0/24", "19");

    // A file of somebody's, from anywhere.
    let file = fleet.dir.path().join("more");
    let window = kept.lines().nth(2).unwrap().split('\t').next().unwrap().to_owned();
    std::fs::write(&file, format!("# series abuse cidr 31536000 1\n{window}\t198.51.100.1\t5\n")).unwrap();
    let load = fleet.console(0, &format!("inbound_audit load abuse {}", file.display()));
    assert_eq!(load, "loaded 1 entries into 'abuse'\n");
    settled(&fleet, "198.51.100.0/24", "5");

    let define = "sievelib gauge_cache define users 100 300 replicate";
    for node in 0..3 {
        assert_eq!(fleet.console(node, define), "");
    }
    fleet.console(0, "sievelib gauge_cache add users joe 5");
    fleet.console(1, "sievelib gauge_cache sub users joe 7");
    let show = |fleet: &Fleet, node: usize| {
        console(&fleet.nodes[node].control, "sievelib gauge_cache show users joe")
    };
    for node in 0..3 {
        wait_until(PATIENCE, "the counters are summed", || show(&fleet, node).stdout == b"-2\n");
    }
    fleet.console(2, "sievelib gauge_cache delete users joe");
    for node in 0..3 {
        wait_until(PATIENCE, "the counter is gone", || show(&fleet, node).stderr == b"no such key 'joe'\n");
    }
}

#[test]
fn two_series_of_one_name_have_files_of_their_own() {
    let mut fleet = Fleet::start(2);
    configure(&fleet, "audit_series;snapshot");
    // Years as before, and days.
    let monitors = [MONITOR, "86400,3"];
    let define = |fleet: &Fleet| {
        monitors.map(|monitor| {
            fleet.console(1, &format!("inbound_audit define both cidr {monitor} persist serialize"))
        })
    };
    define(&fleet);
    for (monitor, count) in monitors.iter().zip([5, 7]) {
        fleet.console(1, &format!("inbound_audit add both {monitor} 192.0.2.1 {count}"));
    }
    let directory = fleet.dir.path().join("series-1");
    wait_until(PATIENCE, "the changes of both are in files", || {
        let texts = files(&directory.join("log"));
        let has = |head: &str, count: &str| {
            texts
                .iter()
                .any(|text| text.starts_with(head) && text.ends_with(&format!("\t192.0.2.1\t{count}\n")))
        };
        has("# series both cidr 31536000 1\n", "5") && has("# series both cidr 86400 3\n", "7")
    });
    stop(&mut fleet, 1);
    assert!(directory.join("kept/both").exists() && directory.join("kept/both%w31536000,1").exists());
    fleet.restart(1);
    let loaded = "loaded 1 entries into 'both'\n".to_owned();
    assert_eq!(define(&fleet), [loaded.clone(), loaded]);
    // What was written before the stop is not written again.
    std::thread::sleep(Duration::from_millis(2500));
    let texts = files(&directory.join("log"));
    assert_eq!(texts.iter().filter(|text| text.contains("\t192.0.2.1\t")).count(), 2, "{texts:?}");
    for (monitor, count) in monitors.iter().zip([5, 7]) {
        let asked = format!("inbound_audit count_cidr 192.0.2.1 both {monitor} 0 1");
        assert_eq!(fleet.console(1, &asked), format!("{count}\n"));
    }
}

fn settled_on(
    fleet: &Fleet,
    nodes: &[usize],
    count: &impl Fn(&Fleet, usize, &str) -> String,
    block: &str,
    expected: &str,
) {
    for node in nodes {
        wait_until(PATIENCE, &format!("{block} is {expected} on {node}"), || {
            count(fleet, *node, block) == format!("{expected}\n")
        });
    }
}

fn files(dir: &Path) -> Vec<String> {
    let Ok(list) = std::fs::read_dir(dir) else { return Vec::new() };
    list.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok()).collect()
}

/// Stops a node in an orderly way.
fn stop(fleet: &mut Fleet, node: usize) {
    let pid = fleet.nodes[node].pid;
    fleet.console(node, "shutdown");
    let control = fleet.nodes[node].control.clone();
    wait_until(Duration::from_secs(40), "the node has stopped", || {
        !support::alive(pid) || console(&control, "pid").status.code() == Some(3)
    });
    wait_until(Duration::from_secs(40), "the process has ended", || {
        let ended = !support::alive(pid);
        // One that this test started is a child until somebody has waited for it.
        ended || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    });
}

/// Console document, case 17, and replication document, section 13.1, on a node that shares nothing of it.
#[test]
fn console_17_show_ip_on_a_lone_node() {
    let node = SingleNode::start("inbound_audit { monitors = ( \"300,6\" ) }", "", "");
    let one = node.console("inbound_audit:inbound_audit1 show ip 127.0.0.0/8");
    assert_eq!(one, node.console("inbound_audit show ip 127.0.0.0/8"));
    assert_eq!(one.lines().count(), 21);
    assert!(one.lines().all(|line| line.ends_with(": 0")), "{one}");
    drop(Client::connect(&node.smtp).unwrap());
    let connections = || {
        let text = node.console("inbound_audit show ip 127.0.0.0/8");
        text.lines().filter_map(|line| line.split_once(": ")?.1.parse::<u64>().ok()).sum::<u64>()
    };
    wait_until(PATIENCE, "the connection is counted", || connections() == 1);
    assert!(node.console("json inbound_audit show ip 127.0.0.1").contains("\"scope\":\"node\""));
    let all = node.console("inbound_audit show all");
    assert!(all.starts_with("127.0.0.1,connections,300,") && all.lines().count() == 1, "{all}");
    // A series that nobody knows is made here; what is not known is told.
    assert_eq!(node.console("inbound_audit add spam 300,6 192.0.2.1 3"), "");
    assert_eq!(node.console("inbound_audit count_cidr 192.0.2.0/24 spam 300,6 0 6"), "3\n");
    let error = |command: &str| String::from_utf8(console(&node.control, command).stderr).unwrap();
    assert_eq!(error("inbound_audit delete_ip 192.0.2.1 ham 300,6"), "no such series 'ham'\n");
    assert_eq!(error("inbound_audit add spam 300,6"), "usage: add <series> <parameters> <ip> <increment>\n");
    assert_eq!(error("sievelib gauge_cache show none x"), "no such gauge cache 'none'\n");
    assert!(error("inbound_audit add connect 300,6 192.0.2.1 1").contains("built-in series"));
}

/// What all files of a series have for an address.
fn journalled(directory: &Path, address: &str) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_postfleet"))
        .args(["cidr", "--base-dir"])
        .arg(directory)
        .arg(format!("show count for {address} in abuse"))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn as_logger_writes_what_the_fleet_counted_once() {
    let mut fleet = Fleet::start(2);
    configure(&fleet, "audit_series;snapshot");
    let directory = fleet.dir.path().join("periods");
    let text = std::fs::read_to_string(&fleet.nodes[1].config).unwrap();
    let logger = format!(
        "as_logger {{ base_dir = \"{}\" log_interval = 1 series_include = ( ^abuse$ ) }}\n",
        directory.display()
    );
    std::fs::write(&fleet.nodes[1].config, format!("{text}{logger}")).unwrap();
    assert!(fleet.console(1, "config reload").ends_with("Reconfigure complete\n"));
    for node in 0..2 {
        for series in ["abuse", "other"] {
            assert_eq!(
                fleet.console(node, &format!("inbound_audit define {series} cidr {MONITOR} cluster")),
                ""
            );
            fleet.console(node, &format!("inbound_audit add {series} {MONITOR} 192.0.2.1 {}", 10 + node));
        }
    }
    let holds = |expected: &str| {
        wait_until(PATIENCE, expected, || journalled(&directory, "192.0.2.1") == expected);
    };
    holds("192.0.2.1/32       :        21\n");
    // Another start goes on where the files end.
    fleet.kill(1);
    fleet.restart(1);
    fleet.console(0, &format!("inbound_audit add abuse {MONITOR} 192.0.2.1 4"));
    holds("192.0.2.1/32       :        25\n");
    let names: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| name.starts_with("abuse.")), "{names:?}");
}
