//! Every page can be reached, and no link leads nowhere.

use std::collections::BTreeSet;

use crate::Finding;
use crate::tree::Tree;

const INDEX: &str = "docs/README.md";
const README: &str = "README.md";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut linked = BTreeSet::new();
    let pages = tree.files.iter().filter(|(path, _)| path.ends_with(".md"));
    for (page, text) in pages {
        for (number, line) in text.lines().enumerate() {
            for target in links(line) {
                let path = resolve(page, target);
                if path.ends_with(".md") && !tree.files.contains_key(&path) {
                    let place = format!("{page}:{}", number + 1);
                    findings
                        .push(Finding::new(place, format!("the link leads to {path}, which is not there")));
                }
                if page == INDEX || page == README {
                    linked.insert(path);
                }
            }
        }
    }
    let pages = tree.files.keys().filter(|path| path.starts_with("docs/") && path.ends_with(".md"));
    for page in pages.filter(|page| *page != INDEX && !linked.contains(*page)) {
        findings.push(Finding::new(page, format!("no reader finds this page; link it from {INDEX}")));
    }
    findings
}

/// The targets of the links in a line that lead to files of the tree.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains(':'))
}

/// A link's target as a path from the root.
fn resolve(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_links_agree() {
        let files = [
            ("README.md", "[bus](docs/bus.md#order) and [out](https://example.org/x.md)"),
            ("docs/README.md", "[spool](formats/spool.md), [home](../README.md)"),
            ("docs/bus.md", "see [spool](./formats/spool.md) [here](#order)"),
            ("docs/formats/spool.md", "[bus](../bus.md)"),
        ];
        assert_eq!(check(&Tree::of(&files)), []);
    }

    #[test]
    fn lost_pages_and_dead_links_are_found() {
        let files = [("docs/README.md", "x\n[a](a.md)"), ("docs/b.md", "[c](c.md)")];
        assert_eq!(
            check(&Tree::of(&files)),
            [
                Finding::new("docs/README.md:2", "the link leads to docs/a.md, which is not there"),
                Finding::new("docs/b.md:1", "the link leads to docs/c.md, which is not there"),
                Finding::new("docs/b.md", "no reader finds this page; link it from docs/README.md"),
            ]
        );
    }
}
