//! The acceptance cases of the replication document, sections 4 and 18.
#![allow(clippy::unwrap_used, reason = "a test whose own input is wrong has to fail")]

use core::net::IpAddr;
use core::time::Duration;

use postfleet_cidr::{CidrColumns, Row, RowRange, count_row, shared_row};
use postfleet_types::{ColumnId, Monotonic, View};

const NOW: Monotonic = Monotonic::from_millis(1_000_000);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn seconds(count: u64) -> Monotonic {
    NOW + Duration::from_secs(count)
}

fn shown(tree: &CidrColumns, view: View) -> String {
    text(&tree.rows(view, &RowRange::SHARED), shared_row)
}

fn text(rows: &[Row], layout: fn(&Row) -> String) -> String {
    rows.iter().map(|row| layout(row) + "\n").collect()
}

/// Connections at second `at`: (column, address, change).
fn play(tree: &mut CidrColumns, at: u64, changes: &[(ColumnId, &str, i64)]) {
    for (column, address, delta) in changes {
        assert!(!tree.change(*column, ip(address), *delta, seconds(at)).clamped);
    }
}

/// The history that cases A1 to A4 share.
fn history() -> (CidrColumns, [ColumnId; 3]) {
    let mut tree = CidrColumns::new();
    let [a, b, c] = [(); 3].map(|()| tree.insert_column());
    let first = [(a, "10.0.0.20", 1), (a, "10.0.0.165", 1), (a, "10.0.0.178", 1), (b, "10.0.0.170", 1)];
    play(&mut tree, 0, &first);
    play(&mut tree, 2, &first.map(|(column, address, _)| (column, address, -1)));
    play(
        &mut tree,
        4,
        &[
            (a, "10.0.0.180", 4),
            (a, "10.0.0.181", 1),
            (b, "10.0.0.103", 3),
            (b, "10.0.0.180", 2),
            (b, "10.0.0.181", 2),
            (c, "10.0.0.103", 1),
            (c, "10.0.0.180", 8),
            (c, "10.0.0.181", 10),
        ],
    );
    tree.prune(seconds(6));
    (tree, [a, b, c])
}

#[test]
fn replication_a01_global_view() {
    let (tree, _) = history();
    let want = "     31                         10.0.0.0/8
     31                         10.0.0.0/24
      4                         10.0.0.0/25
      4                         10.0.0.103/32
     27                         10.0.0.160/27
     27                         10.0.0.176/29
     27                         10.0.0.180/31
     14                         10.0.0.180/32
     13                         10.0.0.181/32
";
    assert_eq!(shown(&tree, View::Global), want);
}

#[test]
fn replication_a02_first_node() {
    let (tree, [a, _, _]) = history();
    let want = "      5                         10.0.0.0/8
      5                         10.0.0.0/24
      5                         10.0.0.160/27
      5                         10.0.0.176/29
      5                         10.0.0.180/31
      4                         10.0.0.180/32
      1                         10.0.0.181/32
";
    assert_eq!(shown(&tree, View::Column(a)), want);
}

#[test]
fn replication_a03_second_node() {
    let (tree, [_, b, _]) = history();
    let want = "      7                         10.0.0.0/8
      7                         10.0.0.0/24
      3                         10.0.0.103/32
      4                         10.0.0.160/27
      4                         10.0.0.180/31
      2                         10.0.0.180/32
      2                         10.0.0.181/32
";
    assert_eq!(shown(&tree, View::Column(b)), want);
}

#[test]
fn replication_a04_node_without_history() {
    let (mut tree, [_, _, c]) = history();
    let want = "     19                         10.0.0.0/8
     19                         10.0.0.0/24
      1                         10.0.0.103/32
     18                         10.0.0.180/31
      8                         10.0.0.180/32
     10                         10.0.0.181/32
";
    assert_eq!(shown(&tree, View::Column(c)), want);
    let before = shown(&tree, View::Global);
    tree.prune_all_idle();
    assert_eq!(shown(&tree, View::Column(c)), want);
    assert_ne!(shown(&tree, View::Global), before);
}

#[test]
fn replication_a05_nothing_open_shows_nothing() {
    let (mut tree, [a, b, c]) = history();
    for column in [a, b, c] {
        let open: Vec<_> = tree.leaves(View::Column(column)).collect();
        for (address, count) in open {
            tree.change(column, address, -i64::try_from(count).unwrap(), seconds(7));
        }
    }
    for view in [View::Global, View::Column(a), View::Column(b), View::Column(c)] {
        assert_eq!(shown(&tree, view), "");
    }
    assert_eq!(shown(&CidrColumns::new(), View::Global), "");
}

#[test]
fn replication_a06_count_ranges() {
    let mut tree = CidrColumns::new();
    let own = tree.insert_column();
    play(
        &mut tree,
        0,
        &[
            (own, "216.200.145.35", 1),
            (own, "216.220.128.9", 1),
            (own, "216.237.12.147", 1),
            (own, "217.117.146.233", 5),
        ],
    );
    let count = |low, high| text(&tree.rows(View::Global, &RowRange::of_lengths(low, high)), count_row);
    let want = "      1                 216.200.0.0/16
      1                                 216.200.145.35/32
      1                 216.220.0.0/16
      1                                 216.220.128.9/32
      1                 216.237.0.0/16
      1                                 216.237.12.147/32
      5                 217.117.0.0/16
      5                                 217.117.146.233/32
";
    assert_eq!(count(16, 32), want);
    let want = "      3         216.0.0.0/8
      3           216.192.0.0/10
      2            216.192.0.0/11
      1                         216.200.145.0/24
      1                         216.220.128.0/24
      1                         216.237.12.0/24
      5         217.0.0.0/8
      5                         217.117.146.0/24
";
    assert_eq!(count(8, 24), want);
    assert_eq!(tree.sum(View::Global, "217.117.146.233/32".parse().unwrap()), 5);
    assert_eq!(count(64, 64), "");
    let mut smtp = CidrColumns::new();
    let own = smtp.insert_column();
    smtp.change(own, ip("127.0.0.1"), 1, NOW);
    assert_eq!(
        text(&smtp.rows(View::Global, &RowRange::of_lengths(32, 32)), count_row),
        "      1                                 127.0.0.1/32\n"
    );
}

#[test]
fn replication_a10_retained_branches_and_their_end() {
    let mut tree = CidrColumns::new();
    let own = tree.insert_column();
    play(&mut tree, 0, &[(own, "192.0.2.10", 2), (own, "192.0.2.200", 1), (own, "198.51.100.7", 3)]);
    let first = "      3                         192.0.0.0/8
      3                         192.0.2.0/24
      2                         192.0.2.10/32
      1                         192.0.2.200/32
      3                         198.0.0.0/8
      3                         198.51.100.7/32
";
    assert_eq!(shown(&tree, View::Global), first);
    play(&mut tree, 10, &[(own, "192.0.2.200", -1)]);
    let second = "      2                         192.0.0.0/8
      2                         192.0.2.0/24
      2                         192.0.2.10/32
      3                         198.0.0.0/8
      3                         198.51.100.7/32
";
    assert_eq!(shown(&tree, View::Global), second);
    let mut pruned = tree.clone();
    play(&mut tree, 20, &[(own, "192.0.2.11", 1)]);
    let third = "      3                         192.0.0.0/8
      3                         192.0.2.0/24
      3                         192.0.2.10/31
      2                         192.0.2.10/32
      1                         192.0.2.11/32
      3                         198.0.0.0/8
      3                         198.51.100.7/32
";
    assert_eq!(shown(&tree, View::Global), third);
    for (tree, before) in [(&mut pruned, second), (&mut tree, third)] {
        assert_eq!(tree.prune(seconds(309)), 0);
        assert_eq!(tree.poll_prune(), Some(seconds(339)));
        assert_eq!(shown(tree, View::Global), before);
        assert_eq!(tree.prune(seconds(310)), 2, "the leaf in the column and in the global view");
        for view in [View::Global, View::Column(own)] {
            let lines = before.lines().filter(|line| !line.ends_with("192.0.2.0/24"));
            assert_eq!(shown(tree, view), lines.map(|line| format!("{line}\n")).collect::<String>());
        }
        assert_eq!(tree.poll_prune(), None);
    }
}
