//! Dealing: who waits and owns fewest is served first.

use alloc::vec::Vec;

/// One who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting<T> {
    pub(crate) who: T,
    pub(crate) own: u64,
    pub(crate) want: u64,
    /// Its place in the queue; places are unique and below the `next` of the deal.
    pub(crate) place: u64,
}

/// Gives `units` away, one after the other: each goes to the one in the queue that owns fewest, among equals to the
/// one nearest the front, which then moves to the end or, when it wants no more, leaves. Returns what is left.
///
/// Those who leave stay in `waiting` with a want of 0. Works in levels: the cost grows with the number of those who
/// wait, not with the units.
pub(crate) fn deal<T>(waiting: &mut [Waiting<T>], next: &mut u64, mut units: u64) -> u64 {
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    let key =
        |waiting: &[Waiting<T>], at: usize| waiting.get(at).map_or((u64::MAX, 0), |one| (one.own, one.place));
    while units > 0 {
        order.retain(|at| waiting.get(*at).is_some_and(|one| one.want > 0));
        order.sort_unstable_by_key(|at| key(waiting, *at));
        let Some(level) = order.first().map(|at| key(waiting, *at).0) else { break };
        let group = order.partition_point(|at| key(waiting, *at).0 == level);
        let above = order.get(group).map(|at| key(waiting, *at).0);
        let (group, _) = order.split_at(group);
        let want = group.iter().filter_map(|at| waiting.get(*at)).map(|one| one.want).min().unwrap_or(0);
        let size = group.len() as u64;
        // All of them stay level for so many rounds, and then stand in the same order.
        let rounds = above.map_or(u64::MAX, |above| above - level).min(want).min(units / size);
        let (members, each) = if rounds == 0 { (units, 1) } else { (size, rounds) };
        for at in group.iter().take(usize::try_from(members).unwrap_or(usize::MAX)) {
            if let Some(one) = waiting.get_mut(*at) {
                one.own += each;
                one.want -= each;
                one.place = *next;
                *next += 1;
                units -= each;
            }
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Unit by unit, as the words say.
    fn plainly(waiting: &mut [Waiting<usize>], next: &mut u64, mut units: u64) -> u64 {
        while units > 0 {
            let Some(one) =
                waiting.iter_mut().filter(|one| one.want > 0).min_by_key(|one| (one.own, one.place))
            else {
                break;
            };
            one.own += 1;
            one.want -= 1;
            one.place = *next;
            *next += 1;
            units -= 1;
        }
        units
    }

    /// Places only mean an order.
    fn ranked(waiting: &[Waiting<usize>]) -> Vec<(usize, u64, u64)> {
        let mut ranked = waiting.to_vec();
        ranked.sort_unstable_by_key(|one| {
            (one.want == 0, if one.want == 0 { one.who as u64 } else { one.place })
        });
        ranked.into_iter().map(|one| (one.who, one.own, one.want)).collect()
    }

    proptest! {
        #[test]
        fn levels_come_to_the_same_as_units(
            members in proptest::collection::vec((0u64..12, 0u64..15), 0..8),
            units in 0u64..80,
        ) {
            let all: Vec<Waiting<usize>> = members
                .iter()
                .enumerate()
                .map(|(who, (own, want))| Waiting { who, own: *own, want: *want, place: who as u64 })
                .collect();
            let (mut left, mut right) = (all.clone(), all);
            let (mut next_left, mut next_right) = (100, 100);
            let over = deal(&mut left, &mut next_left, units);
            prop_assert_eq!(over, plainly(&mut right, &mut next_right, units));
            prop_assert_eq!(ranked(&left), ranked(&right));
        }
    }

    #[test]
    fn large_deals_take_few_steps() {
        let mut waiting = [Waiting { who: 0, own: 0, want: u64::MAX / 4, place: 0 }; 3];
        let mut next = 3;
        assert_eq!(deal(&mut waiting, &mut next, u64::MAX / 8), 0);
        assert!(next < 20, "{next}");
    }
}
