//! Bulk state point to point: fetched once, resumed where it broke, skipped where it is known, and on the bus where
//! there is no way to the origin. Replication document, section 2.5.

#![allow(clippy::unwrap_used, reason = "a test may end here")]

mod fleet;

use bytes::Bytes;
use fleet::{Connection, Fleet, specs};
use postfleet_replica::{
    FetchEnd, KIND_ANSWER, KIND_CHUNK, KIND_MARKER, ObjectKind, Of, Replica, Transfer, frame_length,
};
use proptest::prelude::*;
use std::net::IpAddr;
use std::time::Duration;

const OBJECT: &str = "inbound_cidr";

/// Opens connections from that many addresses, which differ from member to member.
fn fill(fleet: &mut Fleet, at: usize, count: u32) {
    let base = 0x0a00_0000 + u32::try_from(at).unwrap() * 0x0100_0000;
    for host in 0..count {
        fleet.open(at, Connection::Inbound(IpAddr::from((base + host * 97).to_be_bytes())));
    }
}

/// Small chunks, so that some hundreds of connections are many of them.
fn small(options: &mut postfleet_replica::ReplicaOptions) {
    options.chunk_bytes_max = 400;
    options.inline_bytes_max = 60;
}

/// Members that each hold `count` addresses, and know each other.
fn filled(names: &[&str], count: u32) -> Fleet {
    let mut fleet = Fleet::new(small);
    for name in names {
        fleet.start(name, specs());
    }
    fleet.run_coarsely(100);
    for at in 0..names.len() {
        fill(&mut fleet, at, count);
    }
    fleet.run_coarsely(1500);
    fleet.check_converged();
    fleet
}

fn on_bus(fleet: &Fleet, from: usize, kind: u16) -> usize {
    fleet.trace[from..].iter().filter(|(_, _, sent, _)| *sent == kind).count()
}

fn total(fleet: &Fleet, at: usize) -> u64 {
    fleet.processes[at].replica.object(OBJECT).unwrap().total(Of::Global).unwrap()
}

/// Lets the bus do its work while point-to-point connections stand still.
fn settle_bus(fleet: &mut Fleet) {
    loop {
        let mut any = false;
        for at in 0..fleet.processes.len() {
            while fleet.sequence(at) {
                any = true;
            }
            while fleet.deliver(at) {
                any = true;
            }
        }
        if !any {
            return;
        }
    }
}

#[test]
fn replication_s2_5_a_joiner_fetches_long_columns_and_the_bus_carries_none_of_them() {
    let mut fleet = filled(&["a", "b"], 1000);
    let before = fleet.trace.len();
    let joiner = fleet.start("c", specs());
    settle_bus(&mut fleet);
    let replica = &fleet.processes[joiner].replica;
    assert!(replica.waiting() && !replica.complete());
    let missing: Vec<String> =
        replica.object(OBJECT).unwrap().missing().iter().map(ToString::to_string).collect();
    assert_eq!(missing, ["#ec1-00101#a", "#ec1-00102#b"], "it says whose counts it lacks");
    assert_eq!(replica.show(OBJECT, Of::Global).unwrap().missing.len(), 2);
    // Changes go on while the columns travel.
    for host in 0..40u8 {
        fleet.carry(joiner, host.into());
        fleet.open(1, Connection::Inbound(IpAddr::from([192, 0, 2, host])));
        fleet.close(1, usize::from(host) * 31);
        fleet.advance(Duration::from_millis(1));
        settle_bus(&mut fleet);
        fleet.check_sums();
    }
    fleet.run_coarsely(1000);
    fleet.check_converged();
    let counters = fleet.processes[joiner].replica.counters();
    assert_eq!((counters.gaps, counters.fetches_opened, counters.fetches_fallen_back), (0, 2, 0));
    assert_eq!(on_bus(&fleet, before, KIND_CHUNK), 0);
    for at in 0..2 {
        let served = fleet.processes[at].replica.counters();
        assert_eq!(served.fetches_served, 1);
        assert_eq!(counters.fetch_bytes_received, served.fetch_bytes_served * 2, "both columns are as long");
    }
    assert!(fleet.processes[joiner].replica.object(OBJECT).unwrap().missing().is_empty());
}

#[test]
fn replication_s2_5_sixteen_that_start_together_get_everything_once() {
    const NODES: usize = 16;
    let mut fleet = Fleet::new(small);
    for number in 0..NODES {
        let at = fleet.spawn(&format!("n{number}"), specs());
        fill(&mut fleet, at, 150);
    }
    // All connect at the same moment: fifteen views before anybody has said a word.
    for at in 0..NODES {
        fleet.connect(at, 0);
        fleet.join_group(at);
    }
    fleet.run_coarsely(3000);
    fleet.check_converged();
    let counters: Vec<_> = fleet.processes.iter().map(|process| process.replica.counters()).collect();
    // Every column was served to fifteen members, whole, once.
    let others = NODES as u64 - 1;
    let columns: u64 = counters.iter().map(|counters| counters.fetch_bytes_served / others).sum();
    for (at, counters) in counters.iter().enumerate() {
        assert_eq!(counters.fetches_opened, others, "{at}");
        assert_eq!(counters.fetches_served, others, "{at}");
        assert_eq!(counters.fetch_chunks_received, counters.fetch_chunks_served, "{at}");
        assert_eq!(counters.fetch_bytes_served % others, 0, "{at}");
        assert_eq!(
            counters.fetch_bytes_received,
            columns - counters.fetch_bytes_served / others,
            "{at}: every other column once"
        );
        assert_eq!((counters.gaps, counters.questions_sent, counters.chunks_sent), (0, 0, 0), "{at}");
    }
    // On the bus: markers to those who are new, and an answer for each of them; nothing in proportion to the keys.
    assert!(on_bus(&fleet, 0, KIND_MARKER) <= NODES * 15);
    let bytes: usize = fleet.trace.iter().map(|(_, _, _, payload)| payload.len()).sum();
    assert!(bytes < NODES * 15 * 400, "{bytes} bytes on the bus");
}

#[test]
fn replication_s2_5_a_broken_fetch_goes_on_where_it_broke() {
    let mut fleet = filled(&["a"], 1000);
    let joiner = fleet.start("b", specs());
    settle_bus(&mut fleet);
    for _ in 0..4 {
        fleet.carry(joiner, 0);
    }
    fleet.cut_links(joiner);
    fleet.run_coarsely(1000);
    fleet.check_converged();
    let counters = fleet.processes[joiner].replica.counters();
    assert_eq!(counters.fetches_opened, 2);
    let column = fleet.processes[0].replica.counters();
    assert!(column.fetch_chunks_served > counters.fetch_chunks_received, "the rest was cut out again");
    assert_eq!((counters.chunks_received, counters.questions_sent), (0, 0));
    // Three chunks before the break (the first step reads the request) are not sent twice.
    assert_eq!(column.fetch_chunks_served, 2 * counters.fetch_chunks_received - 3);
}

#[test]
fn replication_s2_5_without_a_way_to_the_origin_the_bus_carries_the_rest() {
    let mut fleet = filled(&["a"], 1000);
    let before = fleet.trace.len();
    let joiner = fleet.start("b", specs());
    settle_bus(&mut fleet);
    for _ in 0..4 {
        fleet.carry(joiner, 0);
    }
    fleet.processes[0].listening = false;
    fleet.cut_links(joiner);
    fleet.run_coarsely(2000);
    fleet.check_converged();
    let counters = fleet.processes[joiner].replica.counters();
    assert_eq!((counters.fetches_fallen_back, counters.gaps, counters.questions_sent), (1, 0, 0));
    assert_eq!(on_bus(&fleet, before, KIND_CHUNK) as u64, counters.chunks_received);
    let notices = fleet.processes[joiner].notices.join("\n");
    assert!(
        notices.contains("Warning: the counts of #ec1-00101#a cannot be fetched from its cluster listener: connection refused"),
        "{notices}"
    );
}

#[test]
fn replication_s2_5_a_listener_that_accepts_and_says_nothing_is_given_up() {
    let mut fleet = filled(&["a"], 1000);
    let joiner = fleet.start("b", specs());
    settle_bus(&mut fleet);
    assert_eq!(fleet.processes[joiner].links.len(), 1);
    // Nothing is carried; the bus goes on. Two attempts of five seconds, then the bus.
    for _ in 0..1200 {
        fleet.advance(Duration::from_millis(10));
        settle_bus(&mut fleet);
    }
    assert!(fleet.processes[joiner].replica.complete());
    assert_eq!(fleet.processes[joiner].replica.counters().fetches_opened, 2);
    fleet.run_coarsely(2000);
    fleet.check_converged();
}

/// A driver that knows nothing of connections between members still gets everything, on the bus.
#[test]
fn replication_s2_5_fetches_that_nobody_opens_are_left_to_the_bus() {
    let mut fleet = filled(&["a"], 600);
    let joiner = fleet.start("b", specs());
    for _ in 0..800 {
        for at in 0..2 {
            while fleet.sequence(at) {}
            while let Some(event) = fleet.processes[at].inbox.pop_front() {
                let now = fleet.now;
                fleet.processes[at].replica.handle(now, &event);
            }
            let now = fleet.now;
            let process = &mut fleet.processes[at];
            process.replica.handle_timeout(now);
            while let Some(outgoing) = process.replica.poll_send(now) {
                process.outbox.push_back(outgoing);
            }
        }
        fleet.now = fleet.now + Duration::from_millis(10);
    }
    assert!(fleet.processes[joiner].replica.complete());
    assert_eq!(total(&fleet, joiner), 600);
    assert_eq!(fleet.processes[joiner].replica.counters().fetches_opened, 0);
}

#[test]
fn replication_s2_5_a_view_that_does_not_concern_a_fetch_leaves_it_alone() {
    let mut fleet = filled(&["a", "b", "c"], 600);
    let joiner = fleet.start("d", specs());
    settle_bus(&mut fleet);
    for which in 0..9 {
        fleet.carry(joiner, which);
    }
    // c dies, another joins: only c's fetch ends, only the new one's is added.
    let c = fleet.processes[2].name.clone();
    fleet.kill(2);
    let other = fleet.start("e", specs());
    settle_bus(&mut fleet);
    assert_eq!(fleet.processes[joiner].links.len(), 2, "a and b go on");
    fleet.run_coarsely(2000);
    fleet.check_converged();
    let counters = fleet.processes[joiner].replica.counters();
    assert_eq!((counters.fetches_opened, counters.fetches_fallen_back), (3, 0));
    assert_eq!(fleet.processes[other].replica.counters().fetches_opened, 2);
    for at in [0, 1] {
        let served = fleet.processes[at].replica.counters();
        assert_eq!(served.fetches_served, 2, "once for each of the two");
    }
    assert!(fleet.processes[joiner].replica.show(OBJECT, Of::Node(c.node())).is_err());
}

#[test]
fn replication_s2_5_what_is_known_is_not_sent_again() {
    let mut fleet = filled(&["a", "b"], 600);
    let fetched = |fleet: &Fleet| -> u64 {
        fleet.processes.iter().map(|process| process.replica.counters().fetch_bytes_received).sum()
    };
    let before = fetched(&fleet);
    // The bus engine is started anew: everybody loses the connection and comes back.
    for at in 0..2 {
        fleet.lose(at);
    }
    fleet.settle();
    assert_eq!(total(&fleet, 0), 600, "only the own column while alone");
    for at in 0..2 {
        fleet.connect(at, 0);
        fleet.join_group(at);
    }
    fleet.run_coarsely(1000);
    fleet.check_converged();
    assert_eq!(fetched(&fleet), before, "no chunk");
    for process in &fleet.processes {
        assert_eq!(process.replica.counters().columns_kept, 1);
    }
    // A partition in which one column changes: that one travels, the other does not.
    fleet.split(0, &[1], 1);
    fleet.run_coarsely(100);
    fleet.open(1, Connection::Inbound([192, 0, 2, 1].into()));
    fleet.merge(0, 1);
    fleet.run_coarsely(1000);
    fleet.check_converged();
    assert_eq!(fleet.processes[0].replica.counters().columns_kept, 1);
    assert_eq!(fleet.processes[1].replica.counters().columns_kept, 2);
    assert_eq!(total(&fleet, 0), 1201);
    // What is kept for members that may come back is forgotten.
    fleet.kill(1);
    fleet.run_coarsely(100);
    let kept = fleet.processes[0].replica.memory_bytes();
    fleet.run_coarsely(700_000);
    assert!(fleet.processes[0].replica.memory_bytes() + 1200 < kept);
}

#[test]
fn replication_s2_5_more_joiners_than_cuts_are_all_served() {
    let mut fleet = filled(&["a"], 800);
    // Each joins after a change, so each needs a cut of its own, and reads slowly.
    for number in 0..9u8 {
        fleet.open(0, Connection::Inbound([192, 0, 2, number].into()));
        fleet.start(&format!("j{number}"), specs());
        settle_bus(&mut fleet);
        fleet.advance(Duration::from_millis(100));
    }
    fleet.run_coarsely(8000);
    fleet.check_converged();
    for process in &fleet.processes {
        assert_eq!(process.replica.counters().gaps, 0);
        assert_eq!(process.replica.counters().chunks_received, 0);
    }
}

/// A joiner `b` with an open fetch, and what the origin would send.
fn open_fetch() -> (Fleet, postfleet_replica::FetchId, Vec<Bytes>) {
    let mut fleet = filled(&["a"], 600);
    let joiner = fleet.spawn("b", specs());
    fleet.connect(joiner, 0);
    fleet.join_group(joiner);
    let mut open = None;
    loop {
        let mut any = false;
        for at in 0..2 {
            any |= fleet.sequence(at);
            if let Some(event) = fleet.processes[at].inbox.pop_front() {
                any = true;
                let now = fleet.now;
                fleet.processes[at].replica.handle(now, &event);
                if at == joiner {
                    while let Some(outgoing) = fleet.processes[at].replica.poll_send(now) {
                        fleet.processes[at].outbox.push_back(outgoing);
                    }
                    if let Some(transfer) = fleet.processes[at].replica.poll_transfer(now) {
                        open = Some(transfer);
                    }
                } else {
                    fleet.turn_ends(at);
                }
            }
        }
        if !any {
            break;
        }
    }
    let Some(Transfer::Open { fetch, request, .. }) = open else { panic!("a fetch") };
    let now = fleet.now;
    let mut serving = fleet.processes[0].replica.serve(now, &request[4..]).unwrap();
    let mut frames = Vec::new();
    let mut at = now;
    loop {
        match serving.poll(at) {
            postfleet_replica::Served::Frame(frame) => frames.push(frame),
            postfleet_replica::Served::Later(until) => at = until,
            postfleet_replica::Served::Done => break,
        }
    }
    (fleet, fetch, frames)
}

#[test]
fn lengths_stand_before_every_frame() {
    let (_, _, frames) = open_fetch();
    assert!(frames.len() >= 3, "{}", frames.len());
    for frame in &frames {
        let (length, content) = frame.split_at(4);
        assert_eq!(frame_length(length.try_into().unwrap()), Ok(content.len()));
    }
}

/// What `b` makes of frames that were tampered with.
fn tampered(change: impl Fn(usize, &Bytes) -> Option<Bytes>) -> Fleet {
    let (mut fleet, fetch, frames) = open_fetch();
    let now = fleet.now;
    for (number, frame) in frames.iter().enumerate() {
        if let Some(frame) = change(number, &frame.slice(4..)) {
            fleet.processes[1].replica.fetched(now, fetch, &frame);
        }
        fleet.check_sums();
    }
    fleet.turn_ends(1);
    fleet.run_coarsely(4000);
    fleet.check_converged();
    fleet
}

#[test]
fn frames_that_are_right_complete_the_columns() {
    let fleet = tampered(|_, frame| Some(frame.clone()));
    let counters = fleet.processes[1].replica.counters();
    assert_eq!((counters.fetches_opened, counters.malformed, counters.questions_sent), (1, 0, 0));
}

#[test]
fn a_damaged_chunk_is_noticed_by_its_digest_and_fetched_again() {
    let fleet = tampered(|number, frame| {
        let mut bytes = frame.to_vec();
        if number == 1 {
            let last = bytes.len() - 1;
            bytes[last] ^= 4;
        }
        Some(bytes.into())
    });
    let counters = fleet.processes[1].replica.counters();
    assert_eq!((counters.malformed, counters.fetches_opened), (1, 2));
    assert!(fleet.processes[1].notices.iter().any(|text| text.contains("does not have its digest")));
}

#[test]
fn a_lost_chunk_is_a_gap_and_the_column_is_asked_for() {
    let fleet = tampered(|number, frame| (number != 1).then(|| frame.clone()));
    let counters = fleet.processes[1].replica.counters();
    assert_eq!((counters.gaps, counters.questions_sent), (1, 1));
}

#[test]
fn a_request_for_a_cut_that_is_not_held_is_refused_and_asked_for_on_the_bus() {
    let mut fleet = filled(&["a"], 600);
    let joiner = fleet.start("b", specs());
    settle_bus(&mut fleet);
    // The origin's process lost the bus for a moment: the cut is gone, and so is the view it was for.
    fleet.lose(0);
    settle_bus(&mut fleet);
    fleet.connect(0, 0);
    fleet.join_group(0);
    fleet.run_coarsely(3000);
    fleet.check_converged();
    assert!(fleet.processes[joiner].replica.complete());
    let now = fleet.now;
    for request in [&b""[..], &[1], &[1, 9], &[3], &[1, 1, 2, b'm', b'x', 0], &[0xff; 40]] {
        let refusal = fleet.processes[0].replica.serve(now, request).unwrap_err();
        assert_eq!(&refusal[..5], [0, 0, 0, 2, 4]);
    }
}

#[test]
fn an_end_of_a_fetch_that_is_not_known_is_ignored() {
    let (mut fleet, fetch, _) = open_fetch();
    let now = fleet.now;
    let replica: &mut Replica = &mut fleet.processes[1].replica;
    let unknown = postfleet_replica::FetchId(fetch.0 + 1000);
    replica.fetch_ended(now, unknown, FetchEnd::Broken);
    replica.fetched(now, unknown, &Bytes::from_static(&[2, 0, 0]));
    replica.fetch_ended(now, fetch, FetchEnd::Unreachable("no route to host".into()));
    fleet.turn_ends(1);
    fleet.run_coarsely(2000);
    fleet.check_converged();
    assert!(on_bus(&fleet, 0, KIND_ANSWER) >= 1 && on_bus(&fleet, 0, KIND_CHUNK) > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever a peer writes point to point: no panic, sums hold, and a fresh start mends it.
    #[test]
    fn damaged_frames_never_make_views_inconsistent(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let (mut fleet, fetch, frames) = open_fetch();
        let now = fleet.now;
        for (which, at, byte) in damage {
            let mut bytes = frames[which.index(frames.len())][4..].to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            fleet.processes[1].replica.fetched(now, fetch, &Bytes::from(bytes.clone()));
            drop(fleet.processes[0].replica.serve(now, &bytes));
            fleet.check_sums();
        }
        fleet.turn_ends(1);
        for at in 0..2 {
            fleet.lose(at);
        }
        fleet.settle();
        for at in 0..2 {
            fleet.connect(at, 0);
            fleet.join_group(at);
        }
        fleet.run_coarsely(8000);
        fleet.check_converged();
        prop_assert!(fleet.truth(0, OBJECT, ObjectKind::InboundCidr).unwrap().len() == 600);
    }
}
