//! What a change costs: noted on its node, sent, and received by another.

#[path = "../tests/fleet/mod.rs"]
mod fleet;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use fleet::{Connection, Fleet, group, specs};
use postfleet_bus::event::BusEvent;
use postfleet_types::{Random, ViewId};
use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Duration;

fn main() {
    divan::main();
}

/// Two members, the second of which holds connections from `held` addresses.
fn two(held: u32) -> Fleet {
    let mut fleet = Fleet::new(|_| {});
    fleet.start("a", specs());
    fleet.start("b", specs());
    fleet.run(20);
    let mut random = Random::seeded(11);
    for _ in 0..held {
        fleet.open(1, any(&mut random));
    }
    fleet.run(1100);
    fleet
}

fn any(random: &mut Random) -> Connection {
    let [a, b, c, d, ..] = random.next_u64().to_be_bytes();
    Connection::Inbound(IpAddr::from([a, b, c, d]))
}

/// A batch of `changes` from one member, taken by another that holds 100 000 addresses of it.
#[divan::bench(args = [1, 100, 10_000], sample_count = 50, sample_size = 1)]
fn receive_a_batch(bencher: Bencher<'_, '_>, changes: u32) {
    let mut fleet = two(100_000);
    let receiver = fleet.processes.remove(0).replica;
    let from = fleet.processes[0].name.clone();
    let fleet = RefCell::new(fleet);
    let receiver = RefCell::new(receiver);
    let random = RefCell::new(Random::seeded(5));
    bencher
        .counter(ItemsCount::new(changes))
        .with_inputs(|| {
            let mut fleet = fleet.borrow_mut();
            let mut random = random.borrow_mut();
            // Half of the changes open, half close; one is held back by the one before it.
            for at in 0..changes {
                if at % 2 == 0 {
                    fleet.open(0, any(&mut random));
                } else {
                    let which = usize::try_from(random.below(100_000)).unwrap_or(0);
                    fleet.close(0, which);
                }
            }
            let now = fleet.now;
            fleet.processes[0].replica.flush(now);
            fleet.turn_ends(0);
            fleet.trace.clear();
            fleet.advance(Duration::from_millis(20));
            let mut events = Vec::new();
            while let Some(outgoing) = fleet.processes[0].outbox.pop_front() {
                let event = |own| BusEvent::Message {
                    from: from.clone(),
                    to: outgoing.to.clone(),
                    kind: outgoing.kind,
                    payload: outgoing.payload.clone(),
                    view: ViewId::default(),
                    own,
                };
                fleet.processes[0].replica.handle(now, &event(None));
                events.push(event(None));
            }
            (now, events)
        })
        .bench_local_values(|(now, events)| {
            let mut receiver = receiver.borrow_mut();
            for event in &events {
                receiver.handle(now, black_box(event));
            }
        });
    assert_eq!(receiver.borrow().counters().gaps, 0);
    black_box(group());
}

/// A connection opened and closed on a node that shares with another.
#[divan::bench]
fn open_and_close(bencher: Bencher<'_, '_>) {
    let mut fleet = two(100_000);
    let now = fleet.now;
    let client = IpAddr::from([192, 0, 2, 1]);
    let replica = &mut fleet.processes[1].replica;
    bencher.bench_local(|| {
        let counted = replica.inbound_opened(now, black_box(client));
        replica.inbound_closed(now, client, counted);
    });
}

/// What an event loop does when nothing is due.
#[divan::bench]
fn idle_turn(bencher: Bencher<'_, '_>) {
    let mut fleet = two(1000);
    let now = fleet.now;
    let replica = &mut fleet.processes[1].replica;
    bencher.bench_local(|| (black_box(replica.poll_send(now)), replica.poll_deadline()));
}

/// A member joins a node with that many addresses; until it is complete.
#[divan::bench(args = [200_000], sample_count = 3, sample_size = 1)]
fn join(bencher: Bencher<'_, '_>, addresses: u32) {
    let fleet = RefCell::new(two(addresses));
    let number = RefCell::new(0);
    bencher.counter(ItemsCount::new(addresses)).bench_local(|| {
        let mut fleet = fleet.borrow_mut();
        *number.borrow_mut() += 1;
        let joiner = fleet.start("joiner", specs());
        fleet.run(5);
        assert!(fleet.processes[joiner].replica.complete());
        fleet.kill(joiner);
        fleet.settle();
    });
}
