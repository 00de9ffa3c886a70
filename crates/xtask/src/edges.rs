//! Who may depend on whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::Finding;
use crate::tree::{Graph, Tree};

/// What a crate of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Decides, and does nothing else.
    Pure,
    /// Has sockets, clocks, files or tasks.
    Impure,
}

/// Every crate, its kind, and the crates of ours that it may be built with. Development dependencies are free.
pub(crate) const CRATES: &[(&str, Kind, &[&str])] = &[
    ("postfleet-types", Kind::Pure, &[]),
    ("postfleet-bus", Kind::Pure, &["postfleet-types"]),
    ("postfleet-cidr", Kind::Pure, &["postfleet-types"]),
    ("postfleet-gauge", Kind::Pure, &["postfleet-types"]),
    ("postfleet-cache", Kind::Pure, &["postfleet-types"]),
    ("postfleet-datasource", Kind::Pure, &["postfleet-types"]),
    ("postfleet-policy", Kind::Pure, &["postfleet-types", "postfleet-datasource"]),
    ("postfleet-sieve", Kind::Pure, &["postfleet-types", "postfleet-datasource", "postfleet-policy"]),
    ("postfleet-series", Kind::Pure, &["postfleet-types", "postfleet-cidr", "postfleet-gauge"]),
    ("postfleet-throttle", Kind::Pure, &["postfleet-types"]),
    (
        "postfleet-replica",
        Kind::Pure,
        &[
            "postfleet-types",
            "postfleet-bus",
            "postfleet-cache",
            "postfleet-cidr",
            "postfleet-gauge",
            "postfleet-series",
            "postfleet-throttle",
        ],
    ),
    ("postfleet-config", Kind::Pure, &["postfleet-types"]),
    ("postfleet-smtp", Kind::Pure, &["postfleet-types"]),
    ("postfleet-log", Kind::Pure, &["postfleet-types"]),
    ("postfleet-spool", Kind::Pure, &["postfleet-types"]),
    (
        "postfleet-queue",
        Kind::Pure,
        &["postfleet-types", "postfleet-config", "postfleet-spool", "postfleet-throttle"],
    ),
    ("postfleet-console", Kind::Pure, &["postfleet-types"]),
    (
        "postfleet-sim",
        Kind::Pure,
        &[
            "postfleet-types",
            "postfleet-bus",
            "postfleet-cache",
            "postfleet-cidr",
            "postfleet-replica",
            "postfleet-throttle",
        ],
    ),
    ("postfleet-bus-local", Kind::Impure, &["postfleet-types", "postfleet-bus"]),
    ("postfleet-bus-corosync", Kind::Impure, &["postfleet-types", "postfleet-bus"]),
    // An interpreter in C, and a clock that bounds it.
    ("postfleet-lua", Kind::Impure, &["postfleet-types", "postfleet-datasource", "postfleet-policy"]),
    ("postfleet-drivers", Kind::Impure, &["postfleet-types", "postfleet-datasource"]),
    (
        "postfleet-node",
        Kind::Impure,
        &[
            "postfleet-types",
            "postfleet-bus",
            "postfleet-bus-local",
            "postfleet-bus-corosync",
            "postfleet-cache",
            "postfleet-cidr",
            "postfleet-datasource",
            "postfleet-drivers",
            "postfleet-gauge",
            "postfleet-log",
            "postfleet-lua",
            "postfleet-policy",
            "postfleet-series",
            "postfleet-sieve",
            "postfleet-cache",
            "postfleet-queue",
            "postfleet-replica",
            "postfleet-throttle",
            "postfleet-config",
            "postfleet-smtp",
            "postfleet-spool",
            "postfleet-console",
        ],
    ),
    // Measures; nothing is built with it.
    (
        "postfleet-bench",
        Kind::Impure,
        &["postfleet-types", "postfleet-cidr", "postfleet-node", "postfleet-replica", "postfleet-throttle"],
    ),
    ("postfleet-testbed", Kind::Impure, &["postfleet-types", "postfleet-bus", "postfleet-bus-corosync"]),
    // The program knows nodes, configuration files, consoles, simulated fleets and their types; never a replicated
    // object.
    (
        "postfleet",
        Kind::Impure,
        // Of the bus it knows the file that describes a ring.
        &[
            "postfleet-types",
            "postfleet-bus-corosync",
            "postfleet-node",
            "postfleet-config",
            "postfleet-console",
            // Scripts, which it runs on recorded sessions.
            "postfleet-datasource",
            "postfleet-lua",
            "postfleet-policy",
            "postfleet-sieve",
            // Files of series, which it answers questions about.
            "postfleet-series",
            "postfleet-sim",
        ],
    ),
    ("xtask", Kind::Impure, &["postfleet-config"]),
];

/// Crates of others that touch the world. No pure crate may be built with one, not even by way of a third.
const IMPURE: [&str; 25] = [
    "async-std",
    "chrono",
    "crossbeam-channel",
    "fs-err",
    "futures-executor",
    "getrandom",
    "hashbrown",
    "hyper",
    "libc",
    "log",
    "mio",
    "nix",
    "parking_lot",
    "rand",
    "rustix",
    "rustls",
    "signal-hook",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tokio-rustls",
    "tracing",
    "windows-sys",
];

/// Our own crates depend on each other as the table says.
pub(crate) fn check_own(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let crates = tree.crates();
    for name in &crates {
        let place = format!("crates/{name}/Cargo.toml");
        let Some((_, _, allowed)) = CRATES.iter().find(|row| row.0 == *name) else {
            let text = "the table in crates/xtask/src/edges.rs has no row for this crate; say if it is pure and what \
                        it may be built with";
            findings.push(Finding::new(place, text));
            continue;
        };
        let graph = tree.graphs.get(*name);
        for used in graph.and_then(|graph| graph.get(*name)).into_iter().flatten() {
            if crates.contains(used.as_str()) && !allowed.contains(&used.as_str()) {
                let text = format!("{name} may not be built with {used}; ARCHITECTURE.md says why");
                findings.push(Finding::new(place.clone(), text));
            }
        }
    }
    for (name, ..) in CRATES.iter().filter(|row| !crates.contains(row.0)) {
        let text = format!("`{name}` is in the table, but not under crates/");
        findings.push(Finding::new("crates/xtask/src/edges.rs", text));
    }
    findings
}

/// Pure crates are built with nothing that touches the world.
pub(crate) fn check_foreign(tree: &Tree) -> Vec<Finding> {
    let pure = CRATES.iter().filter(|row| row.1 == Kind::Pure);
    let graphs = pure.filter_map(|(name, ..)| Some((tree.graphs.get(*name)?, *name)));
    let paths = graphs.flat_map(|(graph, name)| ways_out(graph, name));
    let finding = |path: Vec<&str>| {
        let place = format!("crates/{}/Cargo.toml", path.first().unwrap_or(&""));
        Finding::new(place, format!("a pure crate must not reach {}", path.join(" → ")))
    };
    paths.map(finding).collect()
}

/// The shortest way from a crate to each impure one that it reaches.
fn ways_out<'a>(graph: &'a Graph, from: &'a str) -> Vec<Vec<&'a str>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut seen = BTreeSet::from([from]);
    let mut waiting = VecDeque::from([from]);
    let mut ways = Vec::new();
    while let Some(at) = waiting.pop_front() {
        if IMPURE.contains(&at) {
            let mut way = vec![at];
            while let Some(&previous) = way.last().and_then(|last| before.get(last)) {
                way.push(previous);
            }
            way.reverse();
            ways.push(way);
            continue;
        }
        for next in graph.get(at).into_iter().flatten() {
            if seen.insert(next) {
                before.insert(next, at);
                waiting.push_back(next);
            }
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(of: &str, edges: &[(&str, &str)]) -> Tree {
        let manifests: Vec<String> =
            CRATES.iter().map(|row| format!("crates/{}/Cargo.toml", row.0)).collect();
        let files: Vec<(&str, &str)> = manifests.iter().map(|path| (path.as_str(), "")).collect();
        let mut tree = Tree::of(&files);
        for (from, to) in edges {
            let graph = tree.graphs.entry(of.to_string()).or_default();
            graph.entry(from.to_string()).or_default().insert(to.to_string());
        }
        tree
    }

    #[test]
    fn allowed_edges_are_silent() {
        for tree in [
            tree("postfleet-replica", &[("postfleet-replica", "postfleet-cidr")]),
            tree("postfleet-node", &[("postfleet-node", "tokio"), ("tokio", "libc")]),
        ] {
            assert_eq!(check_own(&tree), []);
            assert_eq!(check_foreign(&tree), []);
        }
    }

    #[test]
    fn a_forbidden_edge_between_our_crates_is_found() {
        let findings = check_own(&tree("postfleet-cidr", &[("postfleet-cidr", "postfleet-bus")]));
        let text = "postfleet-cidr may not be built with postfleet-bus; ARCHITECTURE.md says why";
        assert_eq!(findings, [Finding::new("crates/postfleet-cidr/Cargo.toml", text)]);
    }

    #[test]
    fn the_way_to_an_impure_crate_is_shown() {
        let edges = [("postfleet-smtp", "bytes"), ("bytes", "helper"), ("helper", "libc"), ("libc", "mio")];
        let findings = check_foreign(&tree("postfleet-smtp", &edges));
        let text = "a pure crate must not reach postfleet-smtp → bytes → helper → libc";
        assert_eq!(findings, [Finding::new("crates/postfleet-smtp/Cargo.toml", text)]);
    }

    #[test]
    fn table_and_folders_agree() {
        let mut tree = tree("", &[]);
        tree.files.remove("crates/xtask/Cargo.toml");
        tree.files.insert("crates/new/Cargo.toml".to_string(), String::new());
        let places: Vec<String> = check_own(&tree).into_iter().map(|finding| finding.place).collect();
        assert_eq!(places, ["crates/new/Cargo.toml", "crates/xtask/src/edges.rs"]);
    }

    #[test]
    fn a_pure_crate_is_allowed_pure_crates_only() {
        let pure = || CRATES.iter().filter(|row| row.1 == Kind::Pure);
        for (name, _, allowed) in pure() {
            for used in *allowed {
                assert!(pure().any(|row| row.0 == *used), "{name} and {used}");
            }
        }
    }
}
