//! Replicated caches of three real nodes.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::process::Command;
use std::time::Duration;
use support::{Fleet, PROGRAM, console, wait_until};

/// Runs one console command whose words may have blanks in them.
fn ask(fleet: &Fleet, node: usize, words: &[&str]) -> String {
    let output =
        Command::new(PROGRAM).arg("console").arg(&fleet.nodes[node].control).args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

/// Three nodes with a cache without snapshot, one with, and a datasource with its cache.
fn fleet() -> (Fleet, tempfile::TempDir) {
    let outside = tempfile::tempdir().unwrap();
    let database = outside.path().join("d.sqlite");
    let made = rusqlite::Connection::open(&database).unwrap();
    made.execute_batch("create table t (v text); insert into t values ('one')").unwrap();
    let fleet = Fleet::start(3);
    for node in 0..3 {
        let config = &fleet.nodes[node].config;
        let text = std::fs::read_to_string(config).unwrap();
        let with = text.replacen(
            "cluster {",
            "cluster {\n  Replicate \"plain\" { type = \"cache\" }\n  Replicate \"snap\" { type = \"cache\" parameters = \
             \"snapshot\" }\n  Replicate \"customers\" { type = \"cache\" }",
            1,
        );
        assert_ne!(with, text);
        let source = format!("\nDatasource \"customers\" {{ uri = \"sqlite:{}\" }}\n", database.display());
        std::fs::write(config, with + &source).unwrap();
        let reloaded = fleet.console(node, "config reload");
        assert!(reloaded.ends_with("Reconfigure complete\n"), "{reloaded}");
    }
    (fleet, outside)
}

/// Waits until a key has a value on every node.
fn agreed(fleet: &Fleet, cache: &str, key: &str, expected: &[&str]) -> String {
    let mut value = String::new();
    wait_until(Duration::from_secs(10), "all nodes agree", || {
        let values: Vec<String> =
            (0..3).map(|node| ask(fleet, node, &["cache", "get", cache, key])).collect();
        value.clone_from(&values[0]);
        values.iter().all(|other| *other == value) && expected.contains(&value.trim_end())
    });
    value.trim_end().to_owned()
}

#[test]
fn members_agree_and_joiners_get_what_a_snapshot_gives_them() {
    let (mut fleet, _database) = fleet();
    assert_eq!(ask(&fleet, 0, &["cache", "set", "plain", "k", "'a value'"]), "");
    agreed(&fleet, "plain", "k", &["a value"]);

    // Two nodes write one key in the same moment, again and again.
    for round in 0..5 {
        let key = format!("race-{round}");
        std::thread::scope(|scope| {
            for node in 0..2 {
                let (fleet, key) = (&fleet, &key);
                scope.spawn(move || {
                    let value = format!("of-{node}");
                    assert_eq!(ask(fleet, node, &["cache", "set", "snap", key, &value, "1H"]), "");
                });
            }
        });
        agreed(&fleet, "snap", &key, &["of-0", "of-1"]);
    }
    let shown = ask(&fleet, 2, &["cluster", "shared", "show", "snap"]);
    assert!(shown.starts_with("lazy, snapped cache 'snap', view 'global'\n"), "{shown}");
    assert_eq!(shown.lines().count(), 6, "{shown}");
    let row = shown.lines().find(|line| line.contains("race-0:")).unwrap();
    assert_eq!(row.len(), 74, "{row}");
    let left: u64 = row[61..].trim().parse().unwrap();
    assert!((3590..=3600).contains(&left), "{row}");
    let writers: usize = (0..3)
        .map(|node| {
            let from =
                ask(&fleet, 2, &["cluster", "shared", "show", "snap", "from", &fleet.nodes[node].name]);
            from.lines().count() - 1
        })
        .sum();
    assert_eq!(writers, 5);
    let list = fleet.console(0, "cluster shared list");
    assert!(list.contains("                         plain [lazy, cache]\n"), "{list}");
    assert!(list.contains("                          snap [lazy, cache w/ snapshots]\n"), "{list}");

    fleet.kill(2);
    fleet.restart(2);
    wait_until(Duration::from_secs(10), "the joiner has the snapshot", || {
        ask(&fleet, 2, &["cluster", "shared", "show", "snap"]).lines().count() == 6
    });
    assert_eq!(ask(&fleet, 2, &["cache", "get", "plain", "k"]), "No such key 'k'.\n");
    assert_eq!(ask(&fleet, 1, &["cache", "set", "plain", "k", "again"]), "");
    agreed(&fleet, "plain", "k", &["again"]);
    let pair: serde_json::Value =
        serde_json::from_str(&ask(&fleet, 2, &["json", "cache", "show", "plain", "k"])).unwrap();
    assert_eq!(pair["data"]["value"], "again");
    assert_eq!(pair["data"]["left"], serde_json::Value::Null);
    assert!(pair["data"]["writer"].as_str().unwrap().ends_with(&format!("#{}", fleet.nodes[1].name)));

    for (words, said) in [
        (&["cache", "get", "nosuch", "k"][..], "No such cache 'nosuch'.\n"),
        (&["cache", "get", "inbound_cidr", "k"], "No such cache 'inbound_cidr'.\n"),
        (&["cache", "set", "plain", "k", "v", "5s"], "time to live: expected a number of seconds"),
        (&["cache", "set", "plain", "k"], "Usage: cache set <cache> <key> <value>"),
    ] {
        let answer = ask(&fleet, 0, words);
        assert!(answer.starts_with(said), "{words:?}: {answer}");
    }
}

#[test]
fn answers_of_a_datasource_are_shared() {
    let (fleet, outside) = fleet();
    const QUERY: &str = "'select v from t where v = ?'";
    let query = |node| ask(&fleet, node, &["ds_core", "query", "customers", QUERY, "one"]);
    assert_eq!(query(0), "v\none\n(1 row)\n");
    wait_until(Duration::from_secs(10), "the answer is everywhere", || {
        (0..3).all(|node| {
            fleet
                .console(node, "cluster shared show customers")
                .contains("select v from t where v = ? [one]:")
        })
    });
    // Nobody else asks the database, and nobody could.
    std::fs::remove_file(outside.path().join("d.sqlite")).unwrap();
    for node in 1..3 {
        assert_eq!(query(node), "v\none\n(1 row)\n");
        let stats: serde_json::Value =
            serde_json::from_str(&ask(&fleet, node, &["json", "ds_core", "stats"])).unwrap();
        assert_eq!(stats["data"]["datasources"][0]["hits"], 1);
        assert_eq!(stats["data"]["datasources"][0]["misses"], 0);
    }
    // A policy's pairs have keys of their own, which a flush leaves alone.
    assert!(console(&fleet.nodes[1].control, "cache set customers mine 1").status.success());
    assert_eq!(fleet.console(1, "ds_core flush customers"), "flushed 1 entries from cache 'customers'\n");
    assert_eq!(fleet.console(1, "cache get customers mine"), "1\n");
    assert!(query(1).contains("unable to open"), "{}", query(1));
    assert_eq!(query(2), "v\none\n(1 row)\n", "a flush is for one node");
}
