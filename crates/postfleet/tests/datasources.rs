//! Datasources and metrics of a real node, as an operator uses them.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;
use support::{PROGRAM, SingleNode, wait_until};

/// Runs one console command whose words may have blanks in them.
fn console(node: &SingleNode, words: &[&str]) -> (bool, String) {
    let output = Command::new(PROGRAM).arg("console").arg(&node.control).args(words).output().unwrap();
    (
        output.status.success(),
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
    )
}

fn database(path: &std::path::Path, limit: u32) {
    let made = rusqlite::Connection::open(path).unwrap();
    made.execute_batch("create table customer (domain text, mails integer)").unwrap();
    made.execute("insert into customer values ('example.net', ?)", [limit]).unwrap();
}

#[test]
fn sqlite_and_csv_are_asked_from_the_console() {
    let outside = tempfile::tempdir().unwrap();
    let (first, second) = (outside.path().join("1.sqlite"), outside.path().join("2.sqlite"));
    database(&first, 1000);
    database(&second, 2000);
    let routes = outside.path().join("routes.csv");
    std::fs::write(&routes, "example.net,mx.example.net\nexample.org,\"a, b\"\n").unwrap();
    let node = SingleNode::start(
        &format!(
            "Datasource \"customers\" {{ uri = \"sqlite:{}\" }}\nDatasource \"routes\" {{ uri = \"csv:\" max_rows = -1 }}",
            first.display()
        ),
        "",
        "",
    );
    const QUERY: &str = "'select domain, mails from customer where domain = ?'";
    let ask = |words: &[&str]| console(&node, words);
    assert_eq!(
        ask(&["ds_core", "query", "customers", QUERY, "example.net"]),
        (true, "domain\tmails\nexample.net\t1000\n(1 row)\n".into())
    );
    assert_eq!(
        ask(&["ds_core", "query", "customers", QUERY, "example.com"]),
        (true, "domain\tmails\n(0 rows)\n".into())
    );
    let named = "'select mails from customer where domain = :d'";
    let (_, json) = ask(&["json", "ds_core", "query", "customers", named, ":d=example.net"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["data"]["columns"], serde_json::json!(["mails"]));
    assert_eq!(json["data"]["rows"], serde_json::json!([{ "values": [1000] }]));
    let path = routes.to_str().unwrap();
    assert_eq!(
        ask(&["ds_core", "query", "routes", path]),
        (true, "example.net\tmx.example.net\nexample.org\ta, b\n(2 rows)\n".into())
    );
    let (ok, said) = ask(&["ds_core", "query", "customers", "'select nosuch from customer'"]);
    assert!(!ok && said.contains("no such column: nosuch"), "{said}");
    let (ok, said) = ask(&["ds_core", "query", "nobody", "x"]);
    assert!(!ok && said.contains("No such datasource 'nobody'."), "{said}");

    let stats = node.console("ds_core stats");
    let expected = "\
cache name                      lookups %                  deletions %
                       elts  hit miss pend  total  inserts man ttl lru  total
---------------------- ----- -------------------- -------- ------------------
customers
                           3   0 100   0        4        3   0   0   0      0
routes
                           1   0 100   0        1        1   0   0   0      0
";
    assert_eq!(stats, expected);
    assert_eq!(node.console("ds_core flush customers"), "flushed 3 entries from cache 'customers'\n");

    // An answer is remembered across a reload that does not change the datasource, and not when its source changes.
    ask(&["ds_core", "query", "customers", QUERY, "example.net"]);
    let config = node.dir.path().join("postfleet.conf");
    let text = std::fs::read_to_string(&config).unwrap();
    let remembered = |text: &str| {
        std::fs::write(&config, text).unwrap();
        assert!(node.console("config reload").ends_with("Reconfigure complete\n"));
        ask(&["ds_core", "query", "customers", QUERY, "example.net"]).1
    };
    std::fs::remove_file(&first).unwrap();
    assert!(remembered(&text).contains("1000"));
    assert!(remembered(&text.replace("1.sqlite", "2.sqlite")).contains("2000"));
}

fn get(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn metrics_are_served_in_the_prometheus_text_format() {
    let port = std::net::TcpListener::bind("127.0.2.1:0").unwrap().local_addr().unwrap();
    let closed = std::net::TcpListener::bind("127.0.2.1:0").unwrap().local_addr().unwrap();
    let node = SingleNode::start(
        &format!(
            "Datasource \"a\\\"b\" {{ uri = \"null:\" }}\n\
             inbound_audit {{ monitors = ( \"300,6\" ) }}\n\
             cluster {{ Replicate \"shared_named_throttles\" {{}} Replicate \"metrics\" {{ parameters = \"connect;delivery\" }} }}\n\
             Metrics_Listener {{ Listen \"{port}\" {{}} Listen \"{closed}\" {{ Peer \"192.0.2.1\" {{}} }} Timeout = 5 }}"
        ),
        "",
        "",
    );
    let address = port.to_string();
    let _session = support::Client::connect(&node.smtp).unwrap();
    node.console("throttle create t 5/60");
    assert!(node.console("json throttle take t 3").contains("\"taken\":3"));
    let ask = |line: &str| get(&address, &format!("{line} HTTP/1.1\nHost: x\nConnection: close\n\n"));
    let page = || {
        let answer = ask("GET /metrics");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        parse(body)
    };
    wait_until(Duration::from_secs(10), "the heartbeat shows", || {
        page().contains_key("postfleet_bus_heartbeat_age_seconds{conn=\"main\",node=\"solo\"}")
    });
    wait_until(Duration::from_secs(10), "units that nobody asked for again are given back", || {
        page().get("postfleet_throttle_units{object=\"shared_named_throttles\"}") == Some(&3.0)
    });
    let samples = page();
    for (sample, value) in [
        ("postfleet_connections{service=\"SMTP\"}", 1.0),
        ("postfleet_object_sum{object=\"inbound_cidr\"}", 1.0),
        ("postfleet_object_count{object=\"inbound_cidr\",node=\"solo\"}", 1.0),
        ("postfleet_metrics_sum{object=\"metrics\",word=\"connect\"}", 1.0),
        ("postfleet_metrics_sum{object=\"metrics\",word=\"delivery\"}", 0.0),
        ("postfleet_messages_delivered_total", 0.0),
        ("postfleet_messages_failed_total", 0.0),
        ("postfleet_bus_connected{conn=\"main\"}", 1.0),
        ("postfleet_bus_view_members{conn=\"shared\"}", 1.0),
        ("postfleet_datasource_lookups_total{datasource=\"a\\\"b\",result=\"miss\"}", 0.0),
    ] {
        assert_eq!(samples.get(sample), Some(&value), "{sample}");
    }
    assert!(samples["postfleet_bus_messages_sent_total{conn=\"main\"}"] > 0.0);
    for (line, status) in [
        ("GET /", "404"),
        ("GET /metrics/", "404"),
        ("POST /metrics", "405"),
        ("DELETE /x", "404"),
        ("HEAD /metrics", "200"),
    ] {
        assert!(ask(line).starts_with(&format!("HTTP/1.1 {status} ")), "{line}");
    }
    // Not a request at all, and a client that no Peer admits.
    assert!(get(&address, "\u{1}\n\n").starts_with("HTTP/1.1 400 "));
    assert_eq!(get(&closed.to_string(), ""), "");
}

/// Reads a page as Prometheus does, and holds it to the format: every sample belongs to a family that was announced just before,
/// no sample comes twice, names and labels are well formed, counters are named so, histograms add up.
fn parse(page: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut families = BTreeSet::new();
    let mut family = (String::new(), String::new());
    let mut helped = String::new();
    let name_ok = |name: &str| {
        name.starts_with("postfleet_")
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "{name} twice");
            assert!(!text.is_empty());
            helped = name.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, helped);
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            family = (name.to_owned(), kind.to_owned());
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
            let part = name.strip_prefix(&family.0).unwrap_or_else(|| panic!("{line} in {}", family.0));
            let parts: &[&str] = if family.1 == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(name_ok(name) && parts.contains(&part), "{line}");
            check_labels(labels.strip_suffix('}').unwrap());
            let value: f64 = value.parse().unwrap();
            assert!(samples.insert(sample.to_owned(), value).is_none(), "{sample} twice");
        }
    }
    for (sample, count) in samples.iter().filter(|(sample, _)| sample.contains("_seconds_count{")) {
        let bucket = sample.replace("_count{", "_bucket{").replace('}', ",le=\"+Inf\"}");
        assert_eq!(samples.get(&bucket), Some(count), "{bucket}");
    }
    samples
}

fn check_labels(mut labels: &str) {
    while !labels.is_empty() {
        let (name, rest) = labels.split_once("=\"").unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_lowercase()), "{name}");
        let mut end = None;
        let mut escaped = false;
        for (at, c) in rest.char_indices() {
            match c {
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                '"' if !escaped => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
            escaped = false;
        }
        let rest = &rest[end.unwrap() + 1..];
        labels = rest.strip_prefix(',').unwrap_or(rest);
        assert!(!rest.starts_with(',') || !labels.is_empty());
    }
}
