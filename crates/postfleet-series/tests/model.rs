//! A series beside the plainest model: a list of events, summed up for every question.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that fails says so by a panic"
)]

use postfleet_series::{Booked, Key, Query, Range, Series, SeriesKind};
use postfleet_types::{ColumnId, Prefix, View, WallTime};
use proptest::prelude::*;
use std::net::IpAddr;

const INTERVAL: u64 = 10;
const NUMBER: u16 = 3;

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Book { column: usize, key: u8, delta: i64, age: u64 },
    Remove(u8),
    Insert,
    Drop(usize),
    Free,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..25_u64).prop_map(Step::Advance),
        12 => (0..4_usize, 0..12_u8, -3..9_i64, 0..60_u64)
            .prop_map(|(column, key, delta, age)| Step::Book { column, key, delta, age }),
        1 => (0..12_u8).prop_map(Step::Remove),
        1 => Just(Step::Insert),
        1 => (0..4_usize).prop_map(Step::Drop),
        1 => Just(Step::Free),
    ];
    prop::collection::vec(step, 1..120)
}

fn address(key: u8) -> IpAddr {
    if key % 3 == 2 {
        format!("2001:db8:{:x}::{key}", key % 4).parse().unwrap()
    } else {
        [10, key % 2, key / 4, key].into()
    }
}

struct Event {
    column: ColumnId,
    key: u8,
    delta: i64,
    window: u64,
}

fn check(kind: SeriesKind, steps: &[Step]) {
    let mut now = 10_000_u64;
    let at = WallTime::from_unix_seconds;
    let mut series = Series::new(kind, "10,3".parse().unwrap(), at(now));
    let mut columns = vec![series.insert_column()];
    let mut events: Vec<Event> = Vec::new();
    for step in steps {
        match step {
            Step::Advance(seconds) => {
                now += seconds;
                series.advance(at(now));
                let oldest = (now / INTERVAL).saturating_sub(u64::from(NUMBER));
                events.retain(|event| event.window >= oldest);
            }
            Step::Book { column, key, delta, age } => {
                let Some(column) = columns.get(*column) else { continue };
                let time = now - age.min(&now);
                let text = format!("k{key}");
                let what = match kind {
                    SeriesKind::Text => Key::Text(&text),
                    _ => Key::Address(address(*key)),
                };
                let booked = series.book(*column, what, *delta, at(time)).unwrap();
                let behind = now / INTERVAL - time / INTERVAL;
                if behind > u64::from(NUMBER) {
                    assert_eq!(booked, Booked::TooOld);
                } else {
                    assert_eq!(booked, Booked::In(u16::try_from(behind).unwrap()));
                    events.push(Event { column: *column, key: *key, delta: *delta, window: time / INTERVAL });
                }
            }
            Step::Remove(key) => {
                let text = format!("k{key}");
                series.remove_item(match kind {
                    SeriesKind::Text => Key::Text(&text),
                    _ => Key::Address(address(*key)),
                });
                events.retain(|event| event.key != *key);
            }
            Step::Insert => columns.push(series.insert_column()),
            Step::Drop(column) => {
                if *column < columns.len() {
                    let column = columns.remove(*column);
                    assert!(series.remove_column(column));
                    events.retain(|event| event.column != column);
                }
            }
            Step::Free => while !series.dismantle(2) {},
        }
    }
    let views = columns.iter().map(|column| View::Column(*column)).chain([View::Global]);
    for view in views {
        for (low, high) in [(0, 0), (1, 1), (0, 3), (2, 3), (3, 1)] {
            let (first, last) = (low.min(high), low.max(high));
            let sum = |wanted: &dyn Fn(u8) -> bool| {
                let sum: i64 = events
                    .iter()
                    .filter(|event| match view {
                        View::Global => true,
                        View::Column(column) => event.column == column,
                    })
                    .filter(|event| (first..=last).contains(&(now / INTERVAL - event.window)))
                    .filter(|event| wanted(event.key))
                    .map(|event| event.delta)
                    .sum();
                u64::try_from(sum.max(0)).unwrap()
            };
            let range = Range::new(u16::try_from(low).unwrap(), u16::try_from(high).unwrap());
            assert_eq!(series.sum(view, Query::All, range), sum(&|_| true));
            if kind == SeriesKind::Text {
                assert_eq!(series.sum(view, Query::Text("k3"), range), sum(&|key| key == 3));
            } else {
                let block: Prefix = "10.1.0.0/16".parse().unwrap();
                let inside = |key| block.contains(address(key));
                assert_eq!(series.sum(view, Query::Block(block), range), sum(&inside));
            }
        }
    }
    // Lists agree with single questions.
    for (key, cells) in series.rows(View::Global) {
        for (number, cell) in (0..).zip(cells) {
            let query = match kind {
                SeriesKind::Text => Query::Text(&key),
                _ => Query::Block(Prefix::host(key.parse().unwrap())),
            };
            let one = series.sum(View::Global, query, Range::window(number));
            assert_eq!(one, u64::try_from(cell.max(0)).unwrap());
        }
    }
}

proptest! {
    #[test]
    fn addresses_count_like_the_model(steps in steps()) {
        check(SeriesKind::Clients, &steps);
    }

    #[test]
    fn texts_count_like_the_model(steps in steps()) {
        check(SeriesKind::Text, &steps);
    }

    #[test]
    fn no_text_is_read_as_a_file_by_accident(text in "(# series [a-z%]{1,3} (cidr|string) [0-9]{1,3} [0-9]{1,2}\n)?([0-9\t%a-f. -]{0,30}\n){0,5}") {
        if let Ok((_, entries)) = postfleet_series::file::read(&text) {
            for entry in entries.flatten() {
                prop_assert!(text.contains(&entry.count.to_string().trim_start_matches('-').to_owned()));
            }
        }
    }
}
