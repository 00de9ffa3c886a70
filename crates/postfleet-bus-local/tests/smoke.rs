//! Attachments of one process: the first words of a bus.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and waits for one kind of event"
)]

use bytes::Bytes;
use postfleet_bus::carrier::{Carrier, CarrierEvent, CarrierLost, RawId, RawReason, Submit};
use postfleet_bus_local::{Class, LocalCarrier, LocalOptions, OpenError};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn next(carrier: &mut LocalCarrier) -> CarrierEvent {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Poll::Ready(event) = carrier.poll_event(&mut Context::from_waker(&waker)) {
            return event;
        }
        assert!(Instant::now() < deadline, "no event within 20 s");
        std::thread::park_timeout(Duration::from_secs(1));
    }
}

fn open(dir: &tempfile::TempDir) -> LocalCarrier {
    LocalCarrier::open(LocalOptions::new(dir.path().join("bus"), "default", Class::Main)).unwrap()
}

fn deliver(from: &LocalCarrier, text: &'static str) -> CarrierEvent {
    CarrierEvent::Deliver { from: from.id(), bytes: Bytes::from_static(text.as_bytes()) }
}

fn change(members: &[RawId], left: &[(RawId, RawReason)], joined: &[RawId]) -> CarrierEvent {
    CarrierEvent::Change { members: members.to_vec(), left: left.to_vec(), joined: joined.to_vec() }
}

#[test]
fn messages_and_changes_come_in_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut a = open(&dir);
    assert_eq!(next(&mut a), change(&[a.id()], &[], &[a.id()]));
    let mut b = open(&dir);
    let both = change(&[a.id(), b.id()], &[], &[b.id()]);
    assert_eq!(next(&mut b), both);
    assert_eq!(next(&mut a), both);
    assert!(a.is_hosting() && !b.is_hosting());
    assert_eq!(b.submit(Bytes::from_static(b"one")), Submit::Accepted);
    assert_eq!(next(&mut a), deliver(&b, "one"));
    assert_eq!(next(&mut b), deliver(&b, "one"));
    assert_eq!(a.submit(Bytes::from_static(b"two")), Submit::Accepted);
    assert_eq!(next(&mut a), deliver(&a, "two"));
    assert_eq!(next(&mut b), deliver(&a, "two"));
    b.detach();
    assert_eq!(next(&mut b), CarrierEvent::Lost(CarrierLost::Detached));
    assert_eq!(next(&mut a), change(&[a.id()], &[(b.id(), RawReason::Left)], &[]));
    assert_eq!(b.submit(Bytes::new()), Submit::Gone);
}

#[test]
fn a_host_that_leaves_hands_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut a = open(&dir);
    next(&mut a);
    let mut b = open(&dir);
    next(&mut b);
    next(&mut a);
    assert_eq!(a.submit(Bytes::from_static(b"last words")), Submit::Accepted);
    a.detach();
    assert_eq!(next(&mut b), deliver(&a, "last words"));
    assert_eq!(next(&mut b), change(&[b.id()], &[(a.id(), RawReason::Left)], &[]));
    assert_eq!(b.submit(Bytes::from_static(b"alone")), Submit::Accepted);
    // The new hub begins with a change of its own.
    assert_eq!(next(&mut b), change(&[b.id()], &[], &[]));
    assert_eq!(next(&mut b), deliver(&b, "alone"));
    assert_eq!(next(&mut a), deliver(&a, "last words"));
    assert_eq!(next(&mut a), CarrierEvent::Lost(CarrierLost::Detached));
}

#[test]
fn the_longest_message_passes_and_a_longer_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (open(&dir), open(&dir));
    let joined =
        |event: &CarrierEvent| matches!(event, CarrierEvent::Change { members, .. } if members.len() == 2);
    while !joined(&next(&mut a)) {}
    while !joined(&next(&mut b)) {}
    let long = Bytes::from(vec![7; b.bytes_max()]);
    for _ in 0..3 {
        assert_eq!(b.submit(long.clone()), Submit::Accepted);
        assert_eq!(a.submit(long.clone()), Submit::Accepted);
    }
    assert_eq!(b.submit(Bytes::from(vec![7; b.bytes_max() + 1])), Submit::Gone);
    for carrier in [&mut a, &mut b] {
        for _ in 0..6 {
            let CarrierEvent::Deliver { bytes, .. } = next(carrier) else { panic!("no message") };
            assert!(bytes == long);
        }
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: std::path::PathBuf| LocalCarrier::open(LocalOptions::new(path, "default", Class::Main));
    let error = open(dir.path().join("none").join("bus")).unwrap_err();
    assert!(matches!(&error, OpenError::NoDirectory { .. }), "{error}");
    let error = open(dir.path().join("x".repeat(100))).unwrap_err();
    assert!(matches!(&error, OpenError::PathTooLong { .. }), "{error}");
    std::fs::write(dir.path().join("bus.m.lock"), "not a number").unwrap();
    let error = open(dir.path().join("bus")).unwrap_err();
    assert!(matches!(&error, OpenError::NotALock { .. }), "{error}");
}

#[test]
fn buses_of_two_names_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let mut a = open(&dir);
    next(&mut a);
    let mut stranger =
        LocalCarrier::open(LocalOptions::new(dir.path().join("bus"), "other", Class::Main)).unwrap();
    assert_eq!(next(&mut stranger), CarrierEvent::Lost(CarrierLost::Protocol));
    assert_eq!(a.submit(Bytes::from_static(b"x")), Submit::Accepted);
    assert_eq!(next(&mut a), deliver(&a, "x"));
}

#[test]
fn bus_p21_busy_and_ready_again_and_nothing_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (open(&dir), open(&dir));
    let joined =
        |event: &CarrierEvent| matches!(event, CarrierEvent::Change { members, .. } if members.len() == 2);
    while !joined(&next(&mut a)) {}
    while !joined(&next(&mut b)) {}
    let mut sent = 0_u64;
    let mut times = Vec::new();
    let mut was_busy = 0;
    while was_busy < 5 {
        let mut message = vec![0; 20_000];
        message[..8].copy_from_slice(&sent.to_be_bytes());
        let start = Instant::now();
        let answer = b.submit(Bytes::from(message));
        times.push(start.elapsed());
        match answer {
            Submit::Accepted => sent += 1,
            Submit::Gone => panic!("gone"),
            Submit::Busy => {
                was_busy += 1;
                let mut received = 0;
                loop {
                    match next(&mut b) {
                        CarrierEvent::Ready => break,
                        CarrierEvent::Deliver { .. } => received += 1,
                        other => panic!("{other:?}"),
                    }
                }
                assert!(received > 0 || was_busy > 1, "room without a delivery");
            }
        }
    }
    times.sort_unstable();
    let slow = times[times.len() * 99 / 100];
    println!("bus_p21: 99 % of {} calls returned within {slow:?}", times.len());
    for expected in 0..sent {
        let CarrierEvent::Deliver { bytes, .. } = next(&mut a) else { panic!("no message {expected}") };
        assert_eq!(bytes[..8], expected.to_be_bytes());
    }
}

#[test]
fn everybody_at_full_speed_loses_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut carriers = [open(&dir), open(&dir), open(&dir)];
    let joined =
        |event: &CarrierEvent| matches!(event, CarrierEvent::Change { members, .. } if members.len() == 3);
    for carrier in &mut carriers {
        while !joined(&next(carrier)) {}
    }
    // 90 MB: more than the tail may hold, so the fast must wait for the slow.
    let (each, bytes) = (3000, 10_000);
    let threads = carriers.map(|mut carrier| {
        std::thread::spawn(move || {
            let message = Bytes::from(vec![7; bytes]);
            let (mut sent, mut received, mut busy) = (0, 0, false);
            while received < 3 * each {
                if sent < each && !busy {
                    match carrier.submit(message.clone()) {
                        Submit::Accepted => sent += 1,
                        Submit::Busy => busy = true,
                        Submit::Gone => panic!("gone"),
                    }
                    continue;
                }
                match next(&mut carrier) {
                    CarrierEvent::Deliver { .. } => received += 1,
                    CarrierEvent::Ready => busy = false,
                    other => panic!("{other:?}"),
                }
            }
            carrier
        })
    });
    drop(threads.map(|thread| thread.join().unwrap()));
}
