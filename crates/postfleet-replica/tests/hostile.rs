//! Damaged and foreign messages: nothing panics, no view becomes inconsistent, and what can be noticed is repaired.

#![allow(clippy::unwrap_used, reason = "a test may end here")]

mod fleet;

use bytes::Bytes;
use fleet::{Connection, Fleet, specs};
use postfleet_bus::event::BusEvent;
use postfleet_replica::{KIND_BATCH, Of};
use postfleet_types::ViewId;
use proptest::prelude::*;

fn fleet() -> Fleet {
    let mut fleet = Fleet::new(|_| {});
    fleet.start("a", specs());
    fleet.start("b", specs());
    fleet.run(20);
    for at in 0..2 {
        fleet.open(at, Connection::Inbound([192, 0, 2, 1].into()));
    }
    fleet.run(20);
    fleet.check_converged();
    fleet
}

/// Hands `at` a message that seems to come from `from`.
fn forge(fleet: &mut Fleet, at: usize, from: usize, kind: u16, payload: Vec<u8>) {
    let event = BusEvent::Message {
        from: fleet.processes[from].name.clone(),
        to: Vec::new(),
        kind,
        payload: Bytes::from(payload),
        view: ViewId::default(),
        own: None,
    };
    fleet.processes[at].inbox.push_back(event);
    fleet.deliver(at);
}

/// Whether the last batch that `from` sent is mended after `at` has seen it changed.
fn mended(change: impl Fn(&[u8]) -> Vec<u8>) -> Fleet {
    let mut fleet = fleet();
    fleet.open(1, Connection::Inbound([192, 0, 2, 2].into()));
    let batch = fleet.processes[1].outbox.back().unwrap().payload.clone();
    fleet.sequence(1);
    // In the place of the message that the bus delivered.
    fleet.processes[0].inbox.clear();
    forge(&mut fleet, 0, 1, KIND_BATCH, change(&batch));
    fleet.check_sums();
    fleet.open(1, Connection::Inbound([192, 0, 2, 3].into()));
    fleet.run(3000);
    fleet.check_converged();
    fleet
}

#[test]
fn a_missing_batch_is_noticed_and_the_column_asked_for() {
    let fleet = mended(|batch| batch[..2].to_vec());
    assert_eq!(fleet.processes[0].replica.counters().gaps, 1);
    assert!(
        fleet.processes[0].notices[0].starts_with("Error: inbound_cidr: a batch of #ec1-00102#b is missing")
    );
}

#[test]
fn a_truncated_batch_is_noticed_and_the_columns_asked_for() {
    let fleet = mended(|batch| batch[..batch.len() - 1].to_vec());
    assert_eq!(fleet.processes[0].replica.counters().malformed, 1);
    assert_eq!(fleet.processes[0].replica.counters().gaps, 0);
}

#[test]
fn a_count_below_zero_from_a_peer_is_noticed_and_the_column_asked_for() {
    // The change is the last number of the body: -1 instead of 1.
    let fleet = mended(|batch| {
        let mut batch = batch.to_vec();
        let last = batch.len() - 1;
        assert_eq!(batch[last], 2);
        batch[last] = 1;
        batch
    });
    assert_eq!(fleet.processes[0].replica.counters().malformed, 1);
}

#[test]
fn another_message_version_is_left_out_and_logged_once() {
    let mut fleet = fleet();
    for _ in 0..3 {
        forge(&mut fleet, 0, 1, KIND_BATCH, vec![9, 1, 2, 3]);
    }
    assert_eq!(fleet.processes[0].notices.len(), 1, "{:?}", fleet.processes[0].notices);
    fleet.check_converged();
}

#[test]
fn strangers_and_unknown_kinds_are_ignored() {
    let mut fleet = fleet();
    let stranger = fleet.spawn("z", specs());
    forge(&mut fleet, 0, stranger, KIND_BATCH, vec![0xff]);
    forge(&mut fleet, 0, 1, 0x7777, vec![0xff]);
    assert_eq!(fleet.processes[0].replica.counters().malformed, 0);
    fleet.check_converged();
}

#[test]
fn a_member_that_sends_nonsense_is_not_asked_in_a_loop() {
    let mut fleet = fleet();
    let before = fleet.processes[0].replica.counters().questions_sent;
    for _ in 0..5000 {
        forge(&mut fleet, 0, 1, KIND_BATCH, vec![1]);
        fleet.run(1);
    }
    let asked = fleet.processes[0].replica.counters().questions_sent - before;
    assert!((4..=6).contains(&asked), "{asked} questions in 5 s");
    assert!(fleet.processes[0].notices.len() <= 2);
    fleet.run(2000);
    fleet.check_converged();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn damaged_messages_never_make_views_inconsistent(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0u16..6), 1..40),
        small: bool,
    ) {
        let tune: fn(&mut postfleet_replica::ReplicaOptions) = if small {
            |options| { options.chunk_bytes_max = 40; options.inline_bytes_max = 8; }
        } else {
            |_| {}
        };
        let mut fleet = Fleet::new(tune);
        for name in ["a", "b", "c"] {
            fleet.start(name, specs());
        }
        for (which, at, byte, kind) in damage {
            fleet.open(1, Connection::Inbound([10, 0, 0, byte].into()));
            let trace = fleet.trace.len();
            if trace > 0 {
                let (_, _, sent, payload) = fleet.trace[which.index(trace)].clone();
                let mut bytes = payload.to_vec();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                let kind = if kind == 0 { sent } else { 0x0200 + kind };
                forge(&mut fleet, 0, 1, kind, bytes);
            }
            fleet.check_sums();
            fleet.run(3);
            fleet.check_sums();
        }
        // A fresh start of the connections mends what could not be noticed.
        for at in 0..3 {
            fleet.lose(at);
        }
        fleet.settle();
        for at in 0..3 {
            fleet.connect(at, 0);
            fleet.join_group(at);
        }
        fleet.run_coarsely(8000);
        fleet.check_converged();
        let total = fleet.processes[0].replica.object("inbound_cidr").unwrap().total(Of::Own).unwrap();
        prop_assert_eq!(total, 0);
    }
}
