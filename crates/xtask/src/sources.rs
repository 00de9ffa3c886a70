//! Files stay short, and nothing unfinished is left in them.

use crate::Finding;
use crate::tree::Tree;

/// The longest file under `crates/`, in lines. One concept a file; a state machine that grows past it is split.
const LINES_MAX: usize = 800;

pub(crate) fn check_lengths(tree: &Tree) -> Vec<Finding> {
    let ours = tree.files.iter().filter(|(path, _)| path.starts_with("crates/") && !path.ends_with(".snap"));
    let lines = ours.map(|(path, text)| (path, text.lines().count()));
    let long = lines.filter(|&(_, count)| count > LINES_MAX);
    long.map(|(path, count)| Finding::new(path, format!("{count} lines; split it below {LINES_MAX}")))
        .collect()
}

/// What must not be in a source file, and what to do instead. In halves, so that this file may have them.
const WORDS: [(&str, &str, &str); 3] = [
    ("todo", "!(", "finish it or take it out"),
    ("unimplemented", "!(", "finish it or take it out"),
    ("#[", "ignore", "a test runs or goes; long ones run more cases with POSTFLEET_CASES"),
];

pub(crate) fn check_words(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sources =
        |path: &str| path.ends_with(".rs") && (path.starts_with("crates/") || path.starts_with("fuzz/"));
    for (path, text) in tree.files.iter().filter(|(path, _)| sources(path)) {
        for (number, line) in text.lines().enumerate() {
            for (first, second, remedy) in WORDS {
                let word = format!("{first}{second}");
                if line.contains(&word) {
                    findings
                        .push(Finding::new(format!("{path}:{}", number + 1), format!("`{word}`: {remedy}")));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_found() {
        let (short, long) = ("x\n".repeat(LINES_MAX), "x\n".repeat(LINES_MAX + 1));
        let files =
            [("crates/a/src/a.rs", short.as_str()), ("crates/a/src/b.rs", &long), ("docs/c.md", &long)];
        let findings = check_lengths(&Tree::of(&files));
        assert_eq!(findings, [Finding::new("crates/a/src/b.rs", "801 lines; split it below 800")]);
    }

    #[test]
    fn unfinished_things_are_found_with_their_line() {
        for (first, second, _) in WORDS {
            let text = format!("fn a() {{}}\n    {first}{second}\n");
            let findings =
                check_words(&Tree::of(&[("crates/a/src/a.rs", text.as_str()), ("docs/a.md", &text)]));
            assert_eq!(findings.len(), 1);
            assert_eq!(findings[0].place, "crates/a/src/a.rs:2");
        }
        assert_eq!(check_words(&Tree::of(&[("crates/a/src/a.rs", "// what is to do\n")])), []);
    }
}
