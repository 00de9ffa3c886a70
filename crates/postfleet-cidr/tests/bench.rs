//! The bench, tiny, so that it keeps compiling and both sides keep agreeing.

#[path = "../benches/compare/mod.rs"]
mod compare;

#[test]
fn both_sides_read_the_same_sums() {
    let report = compare::run(compare::Size { addresses: 2000, operations: 300, rounds: 1 });
    assert_eq!(report.digests.len(), 3);
    for (ours, peer) in report.digests {
        assert_eq!(ours, peer);
        assert_ne!(ours, 0);
    }
    assert!(report.text.lines().count() > 20, "{}", report.text);
}
