//! The configuration reference is the schema, printed; so are the codes of findings.

use std::fs;
use std::path::Path;

use anyhow::Context;
use postfleet_config::{codes_markdown, reference_markdown};

use crate::Finding;
use crate::tree::Tree;

/// A page and what it must say.
type Page = (&'static str, fn() -> String);

const PAGES: [Page; 2] = [
    ("docs/configuration/reference.md", reference_markdown),
    ("docs/configuration/codes.md", codes_markdown),
];

/// The pages say what the tables say.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    PAGES.iter().filter_map(|(page, text)| compare(page, tree.file(page), &text())).collect()
}

/// Writes the pages.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    for (name, text) in PAGES {
        let page = root.join(name);
        fs::create_dir_all(page.parent().unwrap_or(root)).context("cannot make docs/configuration")?;
        fs::write(page, text()).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

fn compare(name: &str, page: &str, table: &str) -> Option<Finding> {
    let line = page.lines().zip(table.lines()).position(|(left, right)| left != right);
    let place = match line {
        Some(line) => format!("{name}:{}", line + 1),
        None if page == table => return None,
        None => name.to_string(),
    };
    Some(Finding::new(place, "differs from the table; `cargo xtask reference` writes it anew"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_differs_is_found_at_its_line() {
        let place = |page: &str| compare("p.md", page, "a\nb\n").map(|finding| finding.place);
        assert_eq!(place("a\nb\n"), None);
        assert_eq!(place("a\nx\n"), Some("p.md:2".to_string()));
        assert_eq!(place("a\n"), Some("p.md".to_string()));
        assert_eq!(place(""), Some("p.md".to_string()));
    }
}
