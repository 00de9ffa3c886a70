//! The page about the simulator lists what it does and checks, no more and no less.

use postfleet_sim::{Kind, invariant};

const PAGE: &str = include_str!("../../../docs/simulation.md");

/// The rows of the table whose header follows `from`.
fn rows(from: &str, to: &str) -> Vec<String> {
    let table =
        PAGE.split_once(from).and_then(|(_, rest)| rest.split_once(to)).map_or("", |(table, _)| table);
    table.lines().filter(|line| line.starts_with("| ")).skip(1).map(str::to_owned).collect()
}

#[test]
fn the_table_of_invariants_is_the_code_s() {
    let wanted: Vec<String> = invariant::all()
        .iter()
        .map(|row| format!("| {} | {} | {} | {} |", row.name, row.says, row.when(), row.source))
        .collect();
    assert_eq!(rows("<!-- invariants: begin -->", "<!-- invariants: end -->"), wanted);
}

#[test]
fn the_table_of_faults_is_the_code_s() {
    let wanted: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("| `{}` | {} |", kind.word(), kind.says())).collect();
    assert_eq!(rows("<!-- faults: begin -->", "<!-- faults: end -->"), wanted);
}
