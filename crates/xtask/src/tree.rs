//! What the checks look at: the project's text files and cargo's dependency graph, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// Which packages a package is built with, by name. Development dependencies are left out.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// The project.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Text files of the root, `crates/`, `docs/` and `fuzz/`, by path from the root.
    pub(crate) files: BTreeMap<String, String>,
    /// For each crate what it is built with, directly and by way of others.
    pub(crate) graphs: BTreeMap<String, Graph>,
}

/// The ends of the names of files that are read.
const TEXT: [&str; 4] = [".rs", ".toml", ".md", ".snap"];

impl Tree {
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_file() {
                read_file(root, &name, &mut files)?;
            }
        }
        for folder in ["crates", "docs", "fuzz"] {
            if root.join(folder).is_dir() {
                read_folder(root, folder, &mut files)?;
            }
        }
        let mut tree = Self { files, graphs: BTreeMap::new() };
        let names: Vec<String> = tree.crates().into_iter().map(String::from).collect();
        for name in names {
            let graph = read_graph(root, &name)?;
            tree.graphs.insert(name, graph);
        }
        Ok(tree)
    }

    /// The names of the folders under `crates/`.
    pub(crate) fn crates(&self) -> BTreeSet<&str> {
        let paths = self.files.keys().filter_map(|path| path.strip_prefix("crates/"));
        paths.filter_map(|path| path.strip_suffix("/Cargo.toml")).filter(|name| !name.contains('/')).collect()
    }

    /// A file of a crate, empty when missing.
    pub(crate) fn file(&self, path: &str) -> &str {
        self.files.get(path).map_or("", String::as_str)
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|&(path, text)| (path.to_string(), text.to_string())).collect();
        Self { files, graphs: BTreeMap::new() }
    }
}

fn read_folder(root: &Path, folder: &str, files: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("cannot list {folder}"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        if !entry.file_type()?.is_dir() {
            read_file(root, &path, files)?;
        } else if !matches!(name.as_str(), "target" | "corpus" | "artifacts" | "coverage") {
            read_folder(root, &path, files)?;
        }
    }
    Ok(())
}

fn read_file(root: &Path, path: &str, files: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    if TEXT.iter().any(|end| path.ends_with(end)) {
        let text = fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        files.insert(path.to_string(), text);
    }
    Ok(())
}

/// Asks cargo what a crate is built with. Each crate is asked about alone, because in a common build the features that
/// one crate needs would show up in all of them.
fn read_graph(root: &Path, name: &str) -> anyhow::Result<Graph> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree",
            "--locked",
            "--edges",
            "normal,no-proc-macro",
            "--prefix",
            "depth",
            "--format",
            " {p}",
        ])
        .args(["--package", name])
        .current_dir(root)
        .output()
        .context("cannot run cargo tree")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    parse_graph(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("cargo tree has another form for {name} than expected"))
}

/// Reads lines like `2 memchr v2.8.3`: a depth and a package. A package whose own lines were shown before has none.
fn parse_graph(text: &str) -> Option<Graph> {
    let mut graph = Graph::new();
    let mut way: Vec<&str> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (depth, name) = (words.next()?.parse().ok()?, words.next()?);
        way.truncate(depth);
        graph.entry(name.to_string()).or_default();
        if let Some(above) = way.last() {
            graph.entry((*above).to_string()).or_default().insert(name.to_string());
        }
        way.push(name);
    }
    Some(graph)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_become_edges() {
        let text = "0 a v0.1.0 (/somewhere/a)\n1 b v1.0.0\n2 c v2.0.0\n1 d v1.0.0\n2 c v2.0.0 (*)\n";
        let graph = parse_graph(text).unwrap();
        let edges = |from: &str| graph[from].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(edges("a"), ["b", "d"]);
        assert_eq!(edges("b"), ["c"]);
        assert_eq!(edges("d"), ["c"]);
        assert_eq!(parse_graph("a v1"), None);
    }

    #[test]
    fn crates_are_the_folders_one_level_deep() {
        let tree =
            Tree::of(&[("crates/a/Cargo.toml", ""), ("crates/a/x/Cargo.toml", ""), ("Cargo.toml", "")]);
        assert_eq!(tree.crates(), BTreeSet::from(["a"]));
    }
}
