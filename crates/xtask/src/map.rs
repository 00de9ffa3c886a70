//! ARCHITECTURE.md names every crate, and no crate that is not there.

use std::collections::BTreeSet;

use crate::Finding;
use crate::tree::Tree;

const MAP: &str = "ARCHITECTURE.md";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let crates = tree.crates();
    let listed: BTreeSet<&str> = tree.file(MAP).lines().filter_map(row).collect();
    let named: BTreeSet<&str> = names(tree.file(MAP)).collect();
    let missing = crates.difference(&listed).map(|name| {
        Finding::new(MAP, format!("the table of crates has no row for `{name}`; say what it promises"))
    });
    let gone = listed
        .union(&named)
        .filter(|name| !crates.contains(*name))
        .map(|name| Finding::new(MAP, format!("`{name}` is not a crate under crates/; remove or rename it")));
    missing.chain(gone).collect()
}

/// The crate that a row of the table is about: the name in its first column.
fn row(line: &str) -> Option<&str> {
    let name = line.strip_prefix("| `")?.split_once('`')?.0;
    is_ours(name).then_some(name)
}

/// Everything in the text that looks like the name of a crate of ours.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let part = |letter: char| !(letter.is_ascii_lowercase() || letter == '-');
    text.split(part).map(|word| word.trim_end_matches('-')).filter(|word| word.starts_with("postfleet-"))
}

fn is_ours(name: &str) -> bool {
    name == "postfleet" || name == "xtask" || name.starts_with("postfleet-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_map(text: &str) -> Vec<String> {
        let files = [
            (MAP, text),
            ("crates/postfleet-bus/Cargo.toml", ""),
            ("crates/postfleet/Cargo.toml", ""),
            ("crates/xtask/Cargo.toml", ""),
        ];
        check(&Tree::of(&files)).into_iter().map(|finding| finding.text).collect()
    }

    const ROWS: &str = "| `postfleet` | p |\n| `xtask` | x |\n";

    #[test]
    fn a_map_that_agrees_is_silent() {
        let text =
            format!("{ROWS}| `postfleet-bus` | b |\n\nThe bus (postfleet-bus) is neither seen nor heard.");
        assert_eq!(check_map(&text), [""; 0]);
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let text = format!("{ROWS}postfleet-bus is only in the prose");
        assert_eq!(
            check_map(&text),
            ["the table of crates has no row for `postfleet-bus`; say what it promises"]
        );
    }

    #[test]
    fn a_name_without_a_crate_is_found() {
        let text = format!("{ROWS}| `postfleet-bus` | b |\nsee postfleet-old-");
        assert_eq!(check_map(&text), ["`postfleet-old` is not a crate under crates/; remove or rename it"]);
    }
}
