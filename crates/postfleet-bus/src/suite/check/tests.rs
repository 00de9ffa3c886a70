//! A checker that never objects proves nothing: each is shown a history that breaks its promise, and a good one.

use super::*;
use crate::event::{LeaveReason, LostReason};
use crate::suite::MemberSpec;
use postfleet_types::Monotonic;

const V1: ViewId = ViewId { counter: 1, tag: 11 };
const V2: ViewId = ViewId { counter: 2, tag: 22 };

fn name(node: &str) -> PrivateName {
    MemberSpec::node(node, 1, &[]).private_name()
}

fn member(node: &str, epoch: u64) -> Member {
    let groups = alloc::vec!["g".parse().unwrap()];
    Member { info: MemberSpec::node(node, 1, &[]).info(), epoch: Epoch(epoch), age: 1, groups }
}

fn begin(node: &str, epoch: u64) -> What {
    What::Connecting { name: name(node), epoch: Epoch(epoch) }
}

fn view(id: ViewId, nodes: &[(&str, u64)], joined: &[&str], transitional: &[&str]) -> What {
    What::View {
        id,
        members: nodes.iter().map(|(node, epoch)| member(node, *epoch)).collect(),
        joined: joined.iter().map(|node| name(node)).collect(),
        left: Vec::<(PrivateName, LeaveReason)>::new(),
        transitional: transitional.iter().map(|node| name(node)).collect(),
    }
}

fn sent(number: u64) -> What {
    let to = alloc::vec![Destination::Group("g".parse().unwrap())];
    What::Sent { number, bytes: 8, digest: number, to, only_in: None, took_micros: 0 }
}

fn got(from: &str, number: u64, view: ViewId, own: bool) -> What {
    What::Message { from: name(from), number, bytes: 8, digest: number, view, own }
}

/// A and B form a view, A sends 1 and 2, both deliver, both go to the next view.
fn good() -> [Vec<What>; 2] {
    let both = [("a", 1), ("b", 2)];
    let a = alloc::vec![
        begin("a", 1),
        view(V1, &both, &["a", "b"], &[]),
        sent(1),
        sent(2),
        got("a", 1, V1, true),
        got("a", 2, V1, true),
        view(V2, &both, &[], &["a", "b"]),
    ];
    let b = alloc::vec![
        begin("b", 2),
        view(V1, &both, &["a", "b"], &[]),
        got("a", 1, V1, false),
        got("a", 2, V1, false),
        view(V2, &both, &[], &["a", "b"]),
    ];
    [a, b]
}

fn verdict(histories: &[Vec<What>; 2]) -> Result<(), Violation> {
    let traces: Vec<Trace> = histories
        .iter()
        .map(|whats| {
            let mut trace = Trace::empty();
            for what in whats {
                trace.push(Record { at: Monotonic::ZERO, what: what.clone() });
            }
            trace
        })
        .collect();
    let members = traces.iter().enumerate().map(|(index, trace)| (MemberId(index), trace));
    History::new(members, &BTreeSet::new()).check_at_rest()
}

#[track_caller]
fn check(promise: &str, spoil: impl Fn(&mut [Vec<What>; 2])) {
    let mut histories = good();
    spoil(&mut histories);
    let verdict = verdict(&histories);
    assert!(verdict.as_ref().is_err_and(|text| text.starts_with(promise)), "{promise}: {verdict:?}");
}

#[test]
fn a_good_history_passes() {
    assert_eq!(verdict(&good()), Ok(()));
}

#[test]
fn every_checker_objects() {
    check("P1", |h| {
        h[1].insert(4, What::Lost { reason: LostReason::Daemon });
    });
    check("P2", |h| h[1].swap(1, 2));
    check("P2", |h| h[1][0] = begin("b", 3));
    check("P3", |h| {
        h[1][4] = view(V2, &[("b", 2)], &[], &["b"]);
    });
    check("P4", |h| {
        for history in h {
            history.push(view(V1, &[("a", 1), ("b", 2)], &[], &["a", "b"]));
        }
    });
    check("P5", |h| h[1].insert(3, got("a", 1, V1, false)));
    check("P5", |h| h[1].insert(4, got("a", 3, V1, false)));
    check("P5", |h| {
        h[1][3] = What::Message { from: name("a"), number: 2, bytes: 8, digest: 9, view: V1, own: false };
    });
    check("P5", |h| h[0][4] = got("a", 1, V1, false));
    check("P7", |h| h[1].swap(2, 3));
    check("P9", |h| {
        h[1].insert(2, sent(1));
        h[0].insert(4, got("b", 1, V1, false));
        h[1].push(got("b", 1, V1, true));
    });
    check("P10", |h| {
        h[0].push(sent(3));
        h[0].insert(
            2,
            What::GroupView {
                group: "g".parse().unwrap(),
                members: alloc::vec![name("a")],
                cause: GroupCause::View,
            },
        );
    });
    check("P11", |h| h[1][3] = got("a", 2, V2, false));
    check("P12", |h| {
        h[1].remove(3);
    });
    check("P13", |h| {
        h[1][3] = got("a", 2, V2, false);
        h[0][5] = got("a", 2, V2, true);
    });
    check("P14", |h| h[1][4] = view(V2, &[("a", 1), ("b", 2)], &["a"], &["b"]));
    check("P15", |h| {
        let to = alloc::vec![Destination::Group("g".parse().unwrap())];
        h[0][3] = What::Sent { number: 2, bytes: 8, digest: 2, to, only_in: Some(V2), took_micros: 0 };
    });
    check("P16", |h| {
        h[0].pop();
    });
}

#[test]
fn the_sender_must_be_inside() {
    let mut histories = good();
    for history in &mut histories {
        history.pop();
    }
    histories[0].push(What::Lost { reason: LostReason::Local });
    histories[1].push(view(V2, &[("b", 2)], &[], &["b"]));
    histories[0].insert(4, sent(3));
    histories[1].push(got("a", 3, V2, false));
    let verdict = verdict(&histories);
    assert!(verdict.as_ref().is_err_and(|text| text.starts_with("P6")), "{verdict:?}");
}

#[test]
fn an_effect_before_its_cause_is_seen() {
    // B sends 1 after it has delivered A's 2; A delivers its own 2 only after B's 1.
    let mut histories = good();
    histories[1].insert(4, sent(1));
    histories[1].insert(5, got("b", 1, V1, true));
    histories[0].insert(5, got("b", 1, V1, false));
    let verdict = verdict(&histories);
    assert!(verdict.as_ref().is_err_and(|text| text.starts_with("P8")), "{verdict:?}");
}
