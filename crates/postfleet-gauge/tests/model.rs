//! The table beside a plain model: one map of text to count for every column.
#![allow(clippy::unwrap_used, reason = "a test whose own input is wrong has to fail")]

use std::collections::BTreeMap;

use postfleet_gauge::GaugeColumns;
use postfleet_types::{ColumnId, View};
use proptest::prelude::*;

type Model = BTreeMap<ColumnId, BTreeMap<String, u64>>;

#[derive(Clone, Debug)]
enum Step {
    Insert,
    Remove(usize),
    Clear(usize),
    Change(usize, String, i64),
    Replace(usize, BTreeMap<String, u64>),
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]{1,2}(::)?[ab*]{0,2}", 1 => ".{0,3}"]
}

fn step() -> impl Strategy<Value = Step> {
    let delta = prop_oneof![8 => -4i64..6, 1 => any::<i64>()];
    prop_oneof![
        2 => Just(Step::Insert),
        1 => (0usize..4).prop_map(Step::Remove),
        1 => (0usize..4).prop_map(Step::Clear),
        30 => (0usize..4, key(), delta).prop_map(|(c, k, d)| Step::Change(c, k, d)),
        2 => (0usize..4, prop::collection::btree_map(key(), 0u64..6, 0..8)).prop_map(|(c, m)| Step::Replace(c, m)),
    ]
}

fn play(steps: &[Step]) {
    let mut table = GaugeColumns::new();
    let mut model = Model::new();
    let mut ids: Vec<ColumnId> = Vec::new();
    for step in steps {
        let id = |n: &usize| ids.get(*n).copied().unwrap_or(ColumnId(u32::MAX));
        match step {
            Step::Insert => {
                let id = table.insert_column();
                assert!(!model.contains_key(&id));
                model.insert(id, BTreeMap::new());
                ids.push(id);
                ids.retain(|id| model.contains_key(id));
            }
            Step::Remove(n) => assert_eq!(table.remove_column(id(n)), model.remove(&id(n)).is_some()),
            Step::Clear(n) => {
                let cleared = model.get_mut(&id(n)).map(BTreeMap::clear);
                assert_eq!(table.clear_column(id(n)), cleared.is_some());
            }
            Step::Change(n, key, delta) => {
                let change = table.change(id(n), key, *delta);
                let Some(column) = model.get_mut(&id(n)) else {
                    assert_eq!((change.count, change.clamped), (0, *delta != 0));
                    continue;
                };
                let wanted = i128::from(*column.get(key).unwrap_or(&0)) + i128::from(*delta);
                let is = wanted.clamp(0, i128::from(u32::MAX));
                assert_eq!((i128::from(change.count), change.clamped), (is, is != wanted));
                column.insert(key.clone(), change.count);
                column.retain(|_, count| *count > 0);
            }
            Step::Replace(n, leaves) => {
                let replaced = table.replace_column(id(n), leaves.iter().map(|(k, c)| (k.as_str(), *c)));
                assert_eq!(replaced, model.contains_key(&id(n)));
                if let Some(column) = model.get_mut(&id(n)) {
                    *column = leaves.clone();
                    column.retain(|_, count| *count > 0);
                }
            }
        }
        compare(&table, &model);
    }
}

fn compare(table: &GaugeColumns, model: &Model) {
    let mut sum: BTreeMap<&str, u64> = BTreeMap::new();
    for (id, column) in model {
        for (key, count) in column {
            *sum.entry(key).or_default() += count;
            assert_eq!(table.count(View::Column(*id), key), *count);
        }
        let rows: Vec<_> = column.iter().map(|(key, count)| (key.as_str(), *count)).collect();
        assert_eq!(table.rows(View::Column(*id)), rows);
        assert_eq!(table.total(View::Column(*id)), column.values().sum::<u64>());
    }
    assert_eq!(table.columns().collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
    assert_eq!(table.rows(View::Global), sum.iter().map(|(key, count)| (*key, *count)).collect::<Vec<_>>());
    assert_eq!(table.total(View::Global), sum.values().sum::<u64>());
    assert_eq!(table.len(), sum.len(), "keys at 0 take no memory");
    for prefix in ["a", "ab::"] {
        let want: Vec<_> = sum.iter().filter(|(k, _)| k.starts_with(prefix)).map(|(k, c)| (*k, *c)).collect();
        assert_eq!(table.leaves_with_prefix(View::Global, prefix).collect::<Vec<_>>(), want);
    }
}

#[expect(clippy::disallowed_methods, reason = "how long to test is chosen by whoever runs the test")]
fn cases() -> u32 {
    std::env::var("POSTFLEET_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(128)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn table_agrees_with_model(steps in prop::collection::vec(step(), 0..120)) {
        play(&steps);
    }
}
