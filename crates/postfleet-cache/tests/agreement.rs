//! Members that are delivered the same writes hold the same pairs, whatever their clocks do, whatever they read, and
//! whenever they forget; and both sides of a merge agree.
#![allow(clippy::unwrap_used, reason = "a test whose own input is wrong has to fail")]

use bytes::Bytes;
use postfleet_cache::{Cache, CacheLimits, Delivered, Row, Ttl, Write, Writer};
use postfleet_types::Monotonic;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Event {
    writer: usize,
    key: u8,
    value: u8,
    ttl_millis: u64,
    /// The writer's clock runs this much beside the time of the order.
    skew: u64,
    /// Time that passes before.
    after: u64,
    expires: bool,
}

fn events(length: usize) -> impl Strategy<Value = Vec<Event>> {
    let event = (0..3_usize, 0..8_u8, any::<u8>(), 0..4_u64, 0..2000_u64, 0..900_u64, any::<bool>())
        .prop_map(|(writer, key, value, ttl, skew, after, expires)| Event {
            writer,
            key,
            value,
            ttl_millis: ttl * 700,
            skew,
            after,
            expires,
        });
    prop::collection::vec(event, 0..length)
}

fn name(member: usize) -> Writer {
    format!("#ec1-00001#n{member}").parse().unwrap()
}

/// What must agree: everything but what depends on a member's own clock.
fn agreed(cache: &Cache) -> Vec<(Bytes, u64, u64, Writer)> {
    cache
        .rows(Monotonic::ZERO)
        .map(|Row { key, stamp, stamp_end, writer, .. }| (key, stamp, stamp_end, writer))
        .collect()
}

/// Delivers the events to a member whose clock began at `origin` and runs `rate` per mille of the time of the order.
fn run(cache: &mut Cache, events: &[Event], origin: u64, rate: u64, sweeps: bool) -> Monotonic {
    let mut time = 10_000;
    let clock = |time: u64| Monotonic::from_millis(origin + time * rate / 1000);
    for event in events {
        time += event.after;
        let write = Write {
            key: Bytes::copy_from_slice(&[event.key]),
            value: Bytes::copy_from_slice(&[event.value]),
            ttl: Ttl::from_millis(event.ttl_millis),
            clock_millis: time + event.skew,
        };
        cache.deliver(Delivered::Other(&name(event.writer)), write, clock(time));
        if sweeps && event.expires {
            cache.expire(clock(time));
            let _ = cache.value(&[event.key], clock(time));
        }
    }
    clock(time)
}

proptest! {
    #[test]
    fn members_agree_whatever_their_clocks_do(events in events(80), max in 1..6_usize) {
        let limits = CacheLimits { pairs_max: Some(max) };
        let (mut one, mut other) = (Cache::new(limits), Cache::new(limits));
        run(&mut one, &events, 0, 1000, true);
        run(&mut other, &events, 987_654_321, 1900, false);
        prop_assert_eq!(agreed(&one), agreed(&other));
        prop_assert!(one.len() <= max);
    }

    #[test]
    fn both_sides_of_a_merge_agree(
        before in events(20),
        left in events(30),
        right in events(30),
        during in events(12),
        at in (0..12_usize, 0..12_usize),
        after in events(20),
        max in 1..8_usize,
    ) {
        // A member is on one side.
        let on = |side: std::ops::Range<usize>, mut events: Vec<Event>| {
            for event in &mut events {
                event.writer = side.start + event.writer % side.len();
            }
            events
        };
        let (left, right) = (on(0..2, left), on(2..3, right));
        let limits = CacheLimits { pairs_max: Some(max) };
        let (mut one, mut other) = (Cache::new(limits), Cache::new(limits));
        run(&mut one, &before, 0, 1000, false);
        run(&mut other, &before, 0, 1000, false);
        let now = run(&mut one, &left, 0, 1000, true).max(run(&mut other, &right, 0, 1000, false));
        let (from_one, from_other): (Vec<Row>, Vec<Row>) = (one.rows(now).collect(), other.rows(now).collect());
        one.begin_exchange();
        other.begin_exchange();
        // Writes go on, and rows of the other side, and the own one, come in between.
        for (cache, at, rows) in [(&mut one, at.0, [&from_other, &from_one]), (&mut other, at.1, [&from_one, &from_other])] {
            // One at a time, so that clocks do not depend on where the rows come in.
            for (number, event) in during.iter().enumerate() {
                if number == at {
                    for rows in rows {
                        cache.absorb(rows.clone(), now);
                    }
                }
                run(cache, std::slice::from_ref(event), 0, 1000, false);
            }
            if at >= during.len() {
                for rows in rows {
                    cache.absorb(rows.clone(), now);
                }
            }
            cache.end_exchange();
        }
        prop_assert_eq!(agreed(&one), agreed(&other));
        prop_assert!(one.len() <= max);
        // And they go on in step.
        run(&mut one, &after, 0, 1000, true);
        run(&mut other, &after, 5, 1000, false);
        prop_assert_eq!(agreed(&one), agreed(&other));
    }

    #[test]
    fn a_member_reads_its_own_last_write(
        steps in prop::collection::vec((0..3_u8, 0..3_u8, any::<u8>()), 1..60),
    ) {
        let me = name(0);
        let mut cache = Cache::new(CacheLimits { pairs_max: None });
        let mut sent: std::collections::VecDeque<Write> = std::collections::VecDeque::new();
        let mut last: std::collections::BTreeMap<u8, u8> = std::collections::BTreeMap::new();
        let now = Monotonic::ZERO;
        for (step, key, value) in steps {
            match step {
                0 => {
                    cache.set(Bytes::copy_from_slice(&[key]), Bytes::copy_from_slice(&[value]), Ttl::NEVER, now);
                    last.insert(key, value);
                }
                1 => sent.extend(cache.send(now, 0)),
                _ => {
                    if let Some(write) = sent.pop_front() {
                        cache.deliver(Delivered::Own(&me), write, now);
                    }
                    // Somebody else's write does not show through while one of ours is on its way.
                    let theirs = Write {
                        key: Bytes::copy_from_slice(&[key]),
                        value: Bytes::from_static(b"theirs"),
                        ttl: Ttl::NEVER,
                        clock_millis: 0,
                    };
                    let ours_on_its_way = sent.iter().any(|write| *write.key == [key]);
                    if ours_on_its_way {
                        cache.deliver(Delivered::Other(&name(1)), theirs, now);
                    }
                }
            }
            for (key, value) in &last {
                prop_assert_eq!(cache.value(&[*key], now).map(|held| held.to_vec()), Some(vec![*value]));
            }
        }
    }
}
