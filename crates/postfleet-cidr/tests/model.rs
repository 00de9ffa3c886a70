//! The object beside a plain model: for every view one ordered map, and the rows by the reference model of the
//! replication document, section 4.7, extended to IPv6 and retention.
#![allow(clippy::unwrap_used, reason = "a test whose own input is wrong has to fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use postfleet_cidr::{CidrColumns, IDLE_LEAVES_MAX, IDLE_SECONDS, Row, RowRange};
use postfleet_types::{ColumnId, Monotonic, Prefix, View, normalised};
use proptest::prelude::*;

/// A leaf: its count, and when it fell to 0.
type Leaf = (u64, Monotonic);

#[derive(Clone, Default)]
struct ModelTree(BTreeMap<IpAddr, Leaf>);

impl ModelTree {
    fn count(&self, address: IpAddr) -> u64 {
        self.0.get(&address).map_or(0, |leaf| leaf.0)
    }

    fn set(&mut self, address: IpAddr, count: u64, now: Monotonic) {
        match self.0.get_mut(&address) {
            Some(leaf) if leaf.0 == 0 && count == 0 => {}
            Some(leaf) => *leaf = (count, now),
            None if count == 0 => {}
            None => drop(self.0.insert(address, (count, now))),
        }
    }

    fn prune(&mut self, now: Monotonic) {
        self.0.retain(|_, leaf| leaf.0 > 0 || now.since(leaf.1) < Duration::from_secs(IDLE_SECONDS));
    }

    fn rows(&self, range: &RowRange) -> Vec<Row> {
        let (v4, v6): (Vec<_>, Vec<_>) = self.0.keys().partition(|address| address.is_ipv4());
        let mut rows = Vec::new();
        for (addresses, range) in [(v4, &range.v4), (v6, &range.v6)] {
            if let Some(range) = range {
                rows.extend(self.family(&addresses, range));
            }
        }
        rows
    }

    fn family(&self, addresses: &[IpAddr], range: &RangeInclusive<u8>) -> Vec<Row> {
        let Some(bits) = addresses.first().map(|address| Prefix::bits(*address)) else { return Vec::new() };
        let (low, high) = (*range.start(), bits.min(*range.end()));
        if low > high {
            return Vec::new();
        }
        let mut nodes = BTreeSet::new();
        for address in addresses {
            nodes.extend([low, high].map(|length| Prefix::containing(*address, length).unwrap()));
            nodes.insert(Prefix::host(*address));
        }
        for pair in addresses.windows(2) {
            let length = (0..bits)
                .rev()
                .find(|length| Prefix::containing(pair[0], *length).unwrap().contains(pair[1]));
            nodes.insert(Prefix::containing(pair[0], length.unwrap()).unwrap());
        }
        nodes.retain(|node| (low..=high).contains(&node.length()));
        let rows = nodes.into_iter().map(|prefix| Row { prefix, count: self.sum(prefix) });
        rows.filter(|row| row.count > 0).collect()
    }

    fn sum(&self, prefix: Prefix) -> u64 {
        self.0.iter().filter(|(address, _)| prefix.contains(**address)).map(|(_, leaf)| leaf.0).sum()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert,
    Remove(usize),
    Clear(usize),
    Replace(usize, Vec<(IpAddr, u64)>),
    Change(usize, IpAddr, i64),
    /// Time passes; then it is checked for old leaves.
    Prune(u64),
    PruneAll,
}

fn address() -> impl Strategy<Value = IpAddr> {
    // Few distinct addresses, so that they meet again, and the ends of both families.
    let near = (0u32..4, 0u32..4, 0u32..40).prop_map(|(a, b, c)| a << 30 | b << 9 | c);
    let v4 = prop_oneof![12 => near, 1 => Just(u32::MAX), 1 => Just(0), 2 => any::<u32>()];
    let near6 = (0u128..3, 0u128..3, 0u128..20).prop_map(|(a, b, c)| a << 94 | b << 61 | c);
    let v6 = prop_oneof![12 => near6, 1 => Just(u128::MAX), 1 => Just(0), 1 => any::<u128>()];
    prop_oneof![
        6 => v4.clone().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        1 => v4.prop_map(|bits| IpAddr::V6(Ipv4Addr::from_bits(bits).to_ipv6_mapped())),
        4 => v6.prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let delta =
        prop_oneof![20 => -4i64..5, 1 => any::<i64>(), 1 => Just(0x7fff_ffff), 1 => Just(-0x7fff_ffff)];
    let leaves = prop::collection::vec((address(), 0u64..5), 0..12);
    prop_oneof![
        3 => Just(Step::Insert),
        1 => (0usize..4).prop_map(Step::Remove),
        1 => (0usize..4).prop_map(Step::Clear),
        2 => (0usize..4, leaves).prop_map(|(column, leaves)| Step::Replace(column, leaves)),
        60 => (0usize..4, address(), delta).prop_map(|(c, a, d)| Step::Change(c, a, d)),
        4 => (0u64..400).prop_map(Step::Prune),
        1 => Just(Step::PruneAll),
    ]
}

#[derive(Default)]
struct Model {
    global: ModelTree,
    columns: BTreeMap<ColumnId, ModelTree>,
}

impl Model {
    fn global_takes(&mut self, address: IpAddr, was: u64, is: u64, now: Monotonic) {
        if was != is {
            self.global.set(address, self.global.count(address) - was + is, now);
        }
    }

    fn replace(&mut self, column: ColumnId, leaves: &[(IpAddr, u64)], now: Monotonic) -> bool {
        let Some(tree) = self.columns.get_mut(&column) else { return false };
        let old = std::mem::take(tree);
        for (address, count) in leaves.iter().filter(|(_, count)| *count > 0) {
            tree.0.insert(normalised(*address), (*count, now));
        }
        let new = tree.clone();
        let addresses: BTreeSet<IpAddr> = old.0.keys().chain(new.0.keys()).copied().collect();
        for address in addresses {
            self.global_takes(address, old.count(address), new.count(address), now);
        }
        true
    }

    fn trees(&mut self) -> impl Iterator<Item = &mut ModelTree> {
        std::iter::once(&mut self.global).chain(self.columns.values_mut())
    }
}

fn play(steps: &[Step]) {
    let mut object = CidrColumns::new();
    let mut model = Model::default();
    let mut ids: Vec<ColumnId> = Vec::new();
    let mut now = Monotonic::from_millis(5_000);
    for step in steps {
        now = now + Duration::from_secs(1);
        let id = |n: &usize| ids.get(*n).copied().unwrap_or(ColumnId(u32::MAX));
        match step {
            Step::Insert => {
                let id = object.insert_column();
                assert!(model.columns.insert(id, ModelTree::default()).is_none());
                ids.push(id);
                ids.retain(|id| model.columns.contains_key(id));
            }
            Step::Remove(n) => {
                let had = model.replace(id(n), &[], now) && model.columns.remove(&id(n)).is_some();
                assert_eq!(object.remove_column(id(n), now), had);
            }
            Step::Clear(n) => assert_eq!(object.clear_column(id(n), now), model.replace(id(n), &[], now)),
            Step::Replace(n, leaves) => {
                let replaced = object.replace_column(id(n), leaves.iter().copied(), now);
                assert_eq!(replaced, model.replace(id(n), leaves, now));
            }
            Step::Change(n, address, delta) => {
                let change = object.change(id(n), *address, *delta, now);
                let address = normalised(*address);
                let Some(tree) = model.columns.get_mut(&id(n)) else {
                    assert_eq!((change.count, change.clamped), (0, *delta != 0));
                    continue;
                };
                let before = tree.count(address);
                let wanted = i128::from(before) + i128::from(*delta);
                let is = wanted.clamp(0, i128::from(u32::MAX));
                assert_eq!((i128::from(change.count), change.clamped), (is, is != wanted));
                tree.set(address, change.count, now);
                model.global_takes(address, before, change.count, now);
            }
            Step::Prune(seconds) => {
                now = now + Duration::from_secs(*seconds);
                object.prune(now);
                model.trees().for_each(|tree| tree.prune(now));
            }
            Step::PruneAll => {
                object.prune_all_idle();
                model.trees().for_each(|tree| tree.0.retain(|_, leaf| leaf.0 > 0));
            }
        }
    }
    compare(&object, &mut model);
    let all: BTreeSet<_> =
        model.trees().flat_map(|tree| tree.0.keys().copied().collect::<Vec<_>>()).collect();
    assert_eq!(object.len(), all.len(), "nothing is held that no view has");
    let due =
        model.trees().flat_map(|tree| tree.0.values().filter(|leaf| leaf.0 == 0).map(|leaf| leaf.1)).min();
    assert_eq!(object.poll_prune().is_some(), due.is_some());
    if let Some(due) = due {
        let polled = object.poll_prune().unwrap();
        let due = due + Duration::from_secs(IDLE_SECONDS);
        assert!(due <= polled && polled <= due.max(now) + Duration::from_secs(30));
    }
    for id in ids {
        object.remove_column(id, now);
    }
    assert_eq!(object.total(View::Global), 0);
    object.prune_all_idle();
    assert!(object.is_empty());
}

fn compare(object: &CidrColumns, model: &mut Model) {
    assert_eq!(object.columns().collect::<Vec<_>>(), model.columns.keys().copied().collect::<Vec<_>>());
    let mut sum: BTreeMap<IpAddr, u64> = BTreeMap::new();
    for tree in model.columns.values() {
        for (address, leaf) in &tree.0 {
            *sum.entry(*address).or_default() += leaf.0;
        }
    }
    sum.retain(|_, count| *count > 0);
    assert!(object.leaves(View::Global).eq(sum), "the global view is the sum of the columns");
    let views = model.columns.iter().map(|(id, tree)| (View::Column(*id), tree));
    for (view, tree) in views.chain([(View::Global, &model.global)]) {
        let leaves: Vec<_> =
            tree.0.iter().filter(|(_, leaf)| leaf.0 > 0).map(|(a, leaf)| (*a, leaf.0)).collect();
        assert_eq!(object.leaves(view).collect::<Vec<_>>(), leaves);
        assert_eq!(object.total(view), leaves.iter().map(|leaf| leaf.1).sum::<u64>());
        for address in tree.0.keys() {
            assert_eq!(object.count(view, *address), tree.count(*address));
            for length in [0, 1, 2, 7, 16, 22, 24, 27, 31, 32, 64, 66, 96, 127, 128] {
                if let Ok(prefix) = Prefix::containing(*address, length) {
                    assert_eq!(object.sum(view, prefix), tree.sum(prefix), "{prefix}");
                }
            }
        }
        let count = |low, high| RowRange::of_lengths(low, high);
        for range in
            [RowRange::SHARED, count(0, 128), count(8, 24), count(24, 24), count(30, 8), count(64, 64)]
        {
            assert_eq!(object.rows(view, &range), tree.rows(&range), "{range:?}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long to test is chosen by whoever runs the test")]
fn cases() -> u32 {
    std::env::var("POSTFLEET_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn object_agrees_with_model(steps in prop::collection::vec(step(), 0..400)) {
        play(&steps);
    }
}

/// Addresses in an order that looks random; all differ.
fn scattered(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(n.wrapping_mul(2_654_435_769)))
}

/// Splits, joins and moves of blocks at every level, with sums compared along the way.
#[test]
fn blocks_split_and_join_at_every_level() {
    let mut object = CidrColumns::new();
    let [a, b] = [(); 2].map(|()| object.insert_column());
    let orders: [fn(u32) -> IpAddr; 4] = [
        scattered,
        |n| IpAddr::V4(Ipv4Addr::from_bits(n)),
        |n| IpAddr::V4(Ipv4Addr::from_bits(u32::MAX - n)),
        |n| {
            IpAddr::V6(Ipv6Addr::from_bits(
                u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
            ))
        },
    ];
    for order in orders {
        let mut model: BTreeMap<IpAddr, u64> = BTreeMap::new();
        let check = |object: &CidrColumns, model: &BTreeMap<IpAddr, u64>, from: IpAddr| {
            for length in [1, 4, 9, 13, 17, 20, 24, 30, 32] {
                let prefix = Prefix::containing(from, length).unwrap();
                let want: u64 = model
                    .iter()
                    .filter(|(address, _)| prefix.contains(**address))
                    .map(|(_, count)| count)
                    .sum();
                assert_eq!(object.sum(View::Global, prefix), want);
            }
            let (in_a, in_b) = (object.total(View::Column(a)), object.total(View::Column(b)));
            assert_eq!(in_a + in_b, object.total(View::Global));
        };
        for n in 0..9000u32 {
            let address = order(n);
            object.change(if n % 3 == 0 { a } else { b }, address, i64::from(n % 7 + 1), Monotonic::ZERO);
            model.insert(address, u64::from(n % 7 + 1));
            if n % 1000 == 999 {
                check(&object, &model, address);
            }
        }
        assert!(object.leaves(View::Global).eq(model.clone()));
        for n in (0..9000u32).map(|n| n * 7 % 9000) {
            let address = order(n);
            object.change(if n % 3 == 0 { a } else { b }, address, -i64::from(n % 7 + 1), Monotonic::ZERO);
            model.remove(&address);
            if n % 8 == 0 {
                object.prune_all_idle();
                assert_eq!(object.len(), model.len());
            }
            if n % 1500 == 0 {
                check(&object, &model, address);
                assert!(object.leaves(View::Global).eq(model.clone()));
            }
        }
        object.prune_all_idle();
        assert!(object.is_empty());
        assert!(object.memory_bytes() < 200_000, "{} bytes are left", object.memory_bytes());
    }
}

/// Section 4.4: a tree holds at most 65 536 leaves at 0, the longest idle go first.
#[test]
fn replication_4_4_idle_leaves_are_limited() {
    let limit = u32::try_from(IDLE_LEAVES_MAX).unwrap();
    let at = Monotonic::from_millis;
    let mut object = CidrColumns::new();
    let [a, b] = [(); 2].map(|()| object.insert_column());
    // Ten more than fit fall to 0 one after the other; the first ten are gone.
    for n in 0..limit + 10 {
        object.change(a, scattered(n), 1, at(0));
        object.change(a, scattered(n), -1, at(u64::from(n)));
    }
    assert_eq!(object.len(), IDLE_LEAVES_MAX);
    assert_eq!(object.poll_prune(), Some(at(10) + Duration::from_secs(IDLE_SECONDS)));
    // One family makes room for the other.
    let v6: IpAddr = "2001:db8::1".parse().unwrap();
    object.change(b, v6, 1, at(100_000));
    object.change(b, v6, -1, at(100_000));
    assert_eq!(object.poll_prune(), Some(at(10) + Duration::from_secs(IDLE_SECONDS)), "still in the column");
    object.clear_column(a, at(100_001));
    assert_eq!(object.poll_prune(), Some(at(11) + Duration::from_secs(IDLE_SECONDS)));
    assert_eq!(object.len(), IDLE_LEAVES_MAX);
    // A column that leaves pushes everything older out, and the first of its own.
    let open = (0..limit + 5).map(|n| (IpAddr::V4(Ipv4Addr::from_bits(n << 8)), 1));
    object.replace_column(b, open, at(100_002));
    object.remove_column(b, at(200_000));
    assert_eq!(object.len(), IDLE_LEAVES_MAX);
    assert_eq!(object.poll_prune(), Some(at(200_000) + Duration::from_secs(IDLE_SECONDS)));
    assert_eq!(object.prune(at(200_000) + Duration::from_secs(IDLE_SECONDS)), IDLE_LEAVES_MAX);
    assert!(object.is_empty());
}

/// Columns come and go in a tree that is large enough for every short cut; all sums agree with plain maps.
#[test]
fn whole_columns_leave_all_sums_right() {
    let dense = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + ((n % 7) << 16) + n / 7));
    let v6 = |n: u32| {
        IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | u128::from(n % 50) << 64 | u128::from(n)))
    };
    let leaves = |from: u32, to: u32| -> BTreeMap<IpAddr, u64> {
        (from..to).flat_map(|n| [(dense(n), u64::from(n % 5 + 1)), (v6(n), 2), (scattered(n), 1)]).collect()
    };
    let mut object = CidrColumns::new();
    let [a, b, c] = [(); 3].map(|()| object.insert_column());
    let mut model: BTreeMap<ColumnId, BTreeMap<IpAddr, u64>> = BTreeMap::new();
    let mut put = |object: &mut CidrColumns, column, leaves: BTreeMap<IpAddr, u64>| {
        object.replace_column(column, leaves.clone(), Monotonic::ZERO);
        model.insert(column, leaves);
        let mut sum: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for (address, count) in model.values().flatten() {
            *sum.entry(*address).or_default() += count;
        }
        for (view, leaves) in
            model.iter().map(|(id, leaves)| (View::Column(*id), leaves)).chain([(View::Global, &sum)])
        {
            assert!(object.leaves(view).eq(leaves.clone()));
            for (n, length) in (0..129u8).step_by(3).flat_map(|length| [(1, length), (4000, length)]) {
                for address in [dense(n), v6(n), scattered(n)] {
                    let Ok(prefix) = Prefix::containing(address, length) else { continue };
                    let inside = leaves.iter().filter(|(address, _)| prefix.contains(**address));
                    assert_eq!(object.sum(view, prefix), inside.map(|leaf| leaf.1).sum::<u64>(), "{prefix}");
                }
            }
        }
    };
    put(&mut object, a, leaves(0, 4500));
    put(&mut object, b, leaves(3900, 8000));
    put(&mut object, c, leaves(7000, 7100));
    put(&mut object, a, leaves(4400, 4600));
    put(&mut object, b, leaves(0, 10));
    object.prune_all_idle();
    put(&mut object, c, BTreeMap::new());
    put(&mut object, a, leaves(0, 8000));
}
