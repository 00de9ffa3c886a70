//! The configuration reference is the schema, printed.

use std::fs;
use std::path::Path;

use anyhow::Context;
use postfleet_config::reference_markdown;

use crate::Finding;
use crate::tree::Tree;

const PAGE: &str = "docs/configuration/reference.md";

/// The page says what the schema says.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    compare(tree.file(PAGE), &reference_markdown()).into_iter().collect()
}

/// Writes the page.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    let page = root.join(PAGE);
    fs::create_dir_all(page.parent().unwrap_or(root)).context("cannot make docs/configuration")?;
    fs::write(page, reference_markdown()).with_context(|| format!("cannot write {PAGE}"))
}

fn compare(page: &str, schema: &str) -> Option<Finding> {
    let line = page.lines().zip(schema.lines()).position(|(left, right)| left != right);
    let place = match line {
        Some(line) => format!("{PAGE}:{}", line + 1),
        None if page == schema => return None,
        None => PAGE.to_string(),
    };
    Some(Finding::new(place, "differs from the schema; `cargo xtask reference` writes it anew"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_differs_is_found_at_its_line() {
        let place = |page: &str| compare(page, "a\nb\n").map(|finding| finding.place);
        assert_eq!(place("a\nb\n"), None);
        assert_eq!(place("a\nx\n"), Some(format!("{PAGE}:2")));
        assert_eq!(place("a\n"), Some(PAGE.to_string()));
        assert_eq!(place(""), Some(PAGE.to_string()));
    }
}
