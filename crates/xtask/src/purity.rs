//! Pure crates say so to the compiler and to clippy, and every crate takes part in the workspace's lints.

use toml::{Table, Value};

use crate::Finding;
use crate::edges::{CRATES, Kind};
use crate::tree::Tree;

/// What the compiler is told in every pure crate. Tests may use the standard library.
const NO_STD: &str = "#![cfg_attr(not(test), no_std)]";

/// What `no_std` does not catch in tests, or once somebody adds `extern crate std`.
const TYPES: [&str; 6] = [
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::fs::File",
    "std::net::TcpStream",
];
/// The one crate that may call C.
const CALLS_C: &str = "postfleet-bus-corosync";
const METHODS: [&str; 2] = ["std::thread::spawn", "std::env::var"];

fn pure() -> impl Iterator<Item = &'static str> {
    CRATES.iter().filter(|row| row.1 == Kind::Pure).map(|row| row.0)
}

pub(crate) fn check_no_std(tree: &Tree) -> Vec<Finding> {
    let places = pure().map(|name| format!("crates/{name}/src/lib.rs"));
    let mut findings = Vec::new();
    for place in places.filter(|place| tree.files.contains_key(place)) {
        let text = tree.file(&place);
        if !text.lines().any(|line| line == NO_STD) {
            findings.push(Finding::new(place.clone(), format!("a pure crate begins with {NO_STD}")));
        }
        if text.lines().any(|line| line.trim_start().starts_with("extern crate std")) {
            findings.push(Finding::new(place, "a pure crate must not bring `std` back"));
        }
    }
    findings
}

pub(crate) fn check_clippy(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in pure().filter(|name| tree.crates().contains(name)) {
        let place = format!("crates/{name}/clippy.toml");
        let mut complain = |text: String| findings.push(Finding::new(place.clone(), text));
        let table: Table = match tree.file(&place).parse() {
            Ok(table) => table,
            Err(error) => {
                complain(format!("cannot be read: {error}"));
                continue;
            }
        };
        for (list, required) in [("disallowed-types", &TYPES[..]), ("disallowed-methods", &METHODS[..])] {
            let bans = table.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
            let text = |ban: &Value, key: &str| {
                ban.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty()).map(String::from)
            };
            let paths: Vec<String> = bans.iter().filter_map(|ban| text(ban, "path")).collect();
            for missing in required.iter().filter(|path| !paths.iter().any(|banned| banned == *path)) {
                complain(format!("`{list}` must ban {missing}"));
            }
            for ban in bans.iter().filter(|ban| text(ban, "reason").is_none()) {
                complain(format!(
                    "the ban of {} in `{list}` gives no reason",
                    text(ban, "path").unwrap_or_default()
                ));
            }
        }
    }
    findings
}

pub(crate) fn check_lints(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in tree.crates() {
        let place = format!("crates/{name}/Cargo.toml");
        let table: Table = tree.file(&place).parse().unwrap_or_default();
        let opted = table.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool);
        if name == CALLS_C {
            if table.get("lints") != lints_of_c(tree).as_ref() {
                let text = "`[lints]` must be the workspace's, with `unsafe_code = \"deny\"`";
                findings.push(Finding::new(place.clone(), text));
            }
        } else if opted != Some(true) {
            findings.push(Finding::new(place.clone(), "add `[lints] workspace = true`"));
        }
        let package = table.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
        if package != Some(name) {
            findings.push(Finding::new(place, "the folder is not named like its crate"));
        }
    }
    findings
}

/// The workspace's lints, but that a module may allow `unsafe`: what cannot be said with `workspace = true`.
fn lints_of_c(tree: &Tree) -> Option<Value> {
    let workspace: Table = tree.file("Cargo.toml").parse().ok()?;
    let mut lints = workspace.get("workspace")?.get("lints")?.clone();
    lints.get_mut("rust")?.as_table_mut()?.insert("unsafe_code".into(), "deny".into());
    Some(lints)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../postfleet-types/clippy.toml");

    fn texts(findings: Vec<Finding>) -> Vec<String> {
        findings.into_iter().map(|finding| format!("{}: {}", finding.place, finding.text)).collect()
    }

    #[test]
    fn a_pure_crate_says_no_std() {
        let good = format!("//! Promises.\n{NO_STD}\n");
        let tree = Tree::of(&[
            ("crates/postfleet-cidr/src/lib.rs", &good),
            ("crates/postfleet-node/src/lib.rs", ""),
        ]);
        assert_eq!(check_no_std(&tree), []);
        let tree = Tree::of(&[("crates/postfleet-cidr/src/lib.rs", "//! no_std\nextern crate std;\n")]);
        assert_eq!(
            texts(check_no_std(&tree)),
            [
                "crates/postfleet-cidr/src/lib.rs: a pure crate begins with #![cfg_attr(not(test), no_std)]",
                "crates/postfleet-cidr/src/lib.rs: a pure crate must not bring `std` back",
            ]
        );
    }

    fn clippy(text: &str) -> Vec<String> {
        let files = [("crates/postfleet-cidr/Cargo.toml", ""), ("crates/postfleet-cidr/clippy.toml", text)];
        check_clippy(&Tree::of(&files)).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn the_bans_are_there_with_their_reasons() {
        assert_eq!(clippy(GOOD), [""; 0]);
        let lines = |word: &str| {
            let kept = GOOD.lines().filter(|line| !line.contains(word)).collect::<Vec<_>>();
            kept.join("\n")
        };
        assert_eq!(clippy(&lines("std::time::Instant")), ["`disallowed-types` must ban std::time::Instant"]);
        assert_eq!(clippy(&lines("std::thread")), ["`disallowed-methods` must ban std::thread::spawn"]);
        let silent = GOOD.replace("the environment is read by postfleet-node", " ");
        assert_eq!(clippy(&silent), ["the ban of std::env::var in `disallowed-methods` gives no reason"]);
        assert_eq!(clippy("").len(), TYPES.len() + METHODS.len());
        assert_eq!(clippy("= ").len(), 1);
    }

    #[test]
    fn every_crate_takes_the_workspace_lints() {
        let check = |text: &str| texts(check_lints(&Tree::of(&[("crates/a/Cargo.toml", text)])));
        assert_eq!(check("[package]\nname = \"a\"\n[lints]\nworkspace = true\n"), [""; 0]);
        assert_eq!(
            check("[package]\nname = \"a\"\n"),
            ["crates/a/Cargo.toml: add `[lints] workspace = true`"]
        );
        assert_eq!(
            check("[package]\nname = \"b\"\n[lints]\nworkspace = true\n"),
            ["crates/a/Cargo.toml: the folder is not named like its crate"]
        );
    }

    #[test]
    fn the_crate_that_calls_c_has_the_workspace_lints_but_one() {
        let root = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\nmissing_docs = \"warn\"\n";
        let check = |lints: &str| {
            let own = format!("[package]\nname = \"{CALLS_C}\"\n[lints.rust]\n{lints}");
            let place = format!("crates/{CALLS_C}/Cargo.toml");
            texts(check_lints(&Tree::of(&[("Cargo.toml", root), (&place, &own)])))
        };
        assert_eq!(check("unsafe_code = \"deny\"\nmissing_docs = \"warn\"\n"), [""; 0]);
        assert_eq!(check("unsafe_code = \"allow\"\nmissing_docs = \"warn\"\n").len(), 1);
        assert_eq!(check("unsafe_code = \"deny\"\n").len(), 1);
    }
}
