//! The acceptance cases of the replication document, sections 5 and 18.

use postfleet_gauge::{GaugeColumns, gauge_row};
use postfleet_types::View;

fn shown(table: &GaugeColumns, view: View) -> String {
    table.rows(view).into_iter().map(|(key, count)| gauge_row(key, count) + "\n").collect()
}

#[test]
fn replication_a08_open_connections_by_domain() {
    let mut table = GaugeColumns::new();
    let [first, second] = [(); 2].map(|()| table.insert_column());
    for (domain, all, own) in [
        ("yahoo.com", 65, 30),
        ("aol.com", 10, 1),
        ("omniti.com", 5, 0),
        ("hotmail.com", 246, 26),
        ("bellsouth.net", 23, 4),
    ] {
        table.change(first, domain, own);
        table.change(second, domain, all - own);
    }
    let want = "                                                     aol.com:           10
                                               bellsouth.net:           23
                                                 hotmail.com:          246
                                                  omniti.com:            5
                                                   yahoo.com:           65
";
    assert_eq!(shown(&table, View::Global), want);
    let want = "                                                     aol.com:            1
                                               bellsouth.net:            4
                                                 hotmail.com:           26
                                                   yahoo.com:           30
";
    assert_eq!(shown(&table, View::Column(first)), want);
    assert_eq!(table.total(View::Global), 349);
}

#[test]
fn replication_5_rows_at_zero_are_dropped_at_once() {
    let mut table = GaugeColumns::new();
    let own = table.insert_column();
    table.change(own, "aol.com", 2);
    assert!(!table.change(own, "aol.com", -2).clamped);
    assert!(table.is_empty());
    let refused = table.change(own, "aol.com", -1);
    assert!(refused.clamped && refused.count == 0 && table.is_empty());
}

#[test]
fn replication_5_long_keys_and_counts_push_the_row() {
    assert_eq!(gauge_row(&"x".repeat(61), 1_234_567_890_123), "x".repeat(61) + ": 1234567890123");
}
