//! Checks of the tree itself, which neither the compiler nor clippy makes.
//!
//! `cargo xtask tidy` changes nothing: it prints what is wrong, one line each, and ends with 1 when there is anything.
//! `cargo xtask reference` writes the configuration reference from the schema.

mod docs;
mod edges;
mod map;
mod purity;
mod reference;
mod sources;
mod tree;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::tree::Tree;

/// Something that is wrong in the tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// The file, and the line if there is one.
    place: String,
    /// What is wrong and what to do.
    text: String,
}

impl Finding {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }
}

/// All checks.
const CHECKS: [fn(&Tree) -> Vec<Finding>; 10] = [
    map::check,
    edges::check_own,
    edges::check_foreign,
    purity::check_no_std,
    purity::check_clippy,
    purity::check_lints,
    sources::check_lengths,
    sources::check_words,
    docs::check,
    reference::check,
];

fn root() -> anyhow::Result<PathBuf> {
    let package = env::var_os("CARGO_MANIFEST_DIR").context("run it as `cargo xtask`")?;
    let package = PathBuf::from(package);
    Ok(package.ancestors().nth(2).context("crates/xtask has moved")?.to_path_buf())
}

fn tidy() -> anyhow::Result<bool> {
    let tree = Tree::read(&root()?)?;
    let mut findings: Vec<Finding> = CHECKS.iter().flat_map(|check| check(&tree)).collect();
    findings.sort();
    for Finding { place, text } in &findings {
        eprintln!("{place}: {text}");
    }
    match findings.len() {
        0 => eprintln!("tidy: {} files, {} checks, nothing to say", tree.files.len(), CHECKS.len()),
        count => eprintln!("tidy: {count} to put right"),
    }
    Ok(findings.is_empty())
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => tidy(),
        ["reference"] => root().and_then(|root| reference::write(&root)).map(|()| true),
        _ => {
            eprintln!("usage: cargo xtask tidy | reference");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
