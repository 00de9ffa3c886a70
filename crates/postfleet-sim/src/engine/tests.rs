//! What section "Observed sequences" of the bus documentation says of a ring.

use super::*;
use core::task::Waker;
use postfleet_bus::CarrierLost;

fn read(carrier: &mut Attachment) -> Vec<CarrierEvent> {
    let mut context = Context::from_waker(Waker::noop());
    let mut events = Vec::new();
    while let Poll::Ready(event) = carrier.poll_event(&mut context) {
        events.push(event);
    }
    events
}

fn texts(events: &[CarrierEvent]) -> Vec<&[u8]> {
    events
        .iter()
        .filter_map(
            |event| if let CarrierEvent::Deliver { bytes, .. } = event { Some(&bytes[..]) } else { None },
        )
        .collect()
}

/// Who left and why, and who joined.
type LeftAndJoined = (Vec<(RawId, RawReason)>, Vec<RawId>);

/// Left and joined of each change.
fn changes(events: &[CarrierEvent]) -> Vec<LeftAndJoined> {
    let change = |event: &CarrierEvent| {
        if let CarrierEvent::Change { left, joined, .. } = event {
            Some((left.clone(), joined.clone()))
        } else {
            None
        }
    };
    events.iter().filter_map(change).collect()
}

fn engine(timing: Timing, hosts: u32) -> (Engine, Vec<Attachment>) {
    let engine = Engine::new(7, timing);
    let mut carriers: Vec<Attachment> = (1..=hosts)
        .map(|host| {
            engine.add_host(host);
            engine.attach(Class::Main, host, 1).unwrap()
        })
        .collect();
    engine.set_time(Monotonic::from_millis(100));
    for carrier in &mut carriers {
        read(carrier);
    }
    (engine, carriers)
}

fn send(carrier: &mut Attachment, text: &'static [u8]) {
    assert_eq!(carrier.submit(Bytes::from_static(text)), Submit::Accepted);
}

fn at(millis: u64) -> Monotonic {
    Monotonic::from_millis(millis)
}

#[test]
fn a_daemon_that_stood_still_learns_twice() {
    let (engine, mut all) = engine(Timing::PROMPT, 2);
    let ids: Vec<RawId> = all.iter().map(Attachment::id).collect();
    engine.freeze(2);
    send(&mut all[1], b"while frozen");
    engine.set_time(at(8000));
    assert_eq!(changes(&read(&mut all[0])), [(vec![(ids[1], RawReason::NodeDown)], vec![])]);
    assert!(read(&mut all[1]).is_empty());
    engine.thaw(2);
    engine.set_time(at(12_000));
    let seen = read(&mut all[1]);
    assert_eq!(
        changes(&seen),
        [(vec![(ids[0], RawReason::NodeDown)], vec![]), (vec![], vec![ids[0]])],
        "{seen:?}"
    );
    assert_eq!(texts(&seen), [b"while frozen"]);
    assert_eq!(texts(&read(&mut all[0])), [b"while frozen"], "ordered after the merge");
}

/// The message was ordered, reached nobody else, and its sender is cut off: a hole. What another sent behind it comes
/// to those that stay with that other; the sender alone delivers its own.
#[test]
fn a_hole_ends_what_is_delivered_of_others() {
    let slow = Timing { transit: Duration::from_millis(4), ..Timing::PROMPT };
    for seed in 0..50 {
        let engine = Engine::new(seed, slow);
        let mut all: Vec<Attachment> = (1..=3)
            .map(|host| {
                engine.add_host(host);
                engine.attach(Class::Main, host, 1).unwrap()
            })
            .collect();
        engine.set_time(at(100));
        all.iter_mut().for_each(|carrier| drop(read(carrier)));
        // Nothing of 3 gets through from here on, but the ring has not noticed.
        engine.delay(1, Duration::from_secs(1));
        engine.delay(2, Duration::from_secs(1));
        send(&mut all[2], b"lost");
        engine.set_time(at(101));
        send(&mut all[0], b"behind");
        engine.set_time(at(102));
        engine.partition(&[vec![3]]);
        engine.set_time(at(5000));
        let [one, two, three] = [0, 1, 2].map(|at| read(&mut all[at]));
        assert_eq!(texts(&one), [b"behind"], "seed {seed}");
        assert_eq!(texts(&two), [b"behind"], "seed {seed}");
        assert_eq!(texts(&three).first(), Some(&&b"lost"[..]), "seed {seed}");
    }
}

#[test]
fn a_short_cut_loses_nothing() {
    let (engine, mut all) = engine(Timing::RACK, 3);
    send(&mut all[0], b"one");
    engine.set_time(at(103));
    engine.partition(&[vec![1]]);
    send(&mut all[1], b"two");
    engine.set_time(at(400));
    engine.heal();
    engine.set_time(at(500));
    for carrier in &mut all {
        let seen = read(carrier);
        assert_eq!(texts(&seen), [&b"one"[..], b"two"], "{seen:?}");
        assert!(changes(&seen).is_empty());
    }
}

/// 1 hears 2 and 2 hears 3, but 1 and 3 do not hear each other: a ring never holds both.
#[test]
fn a_ring_holds_only_who_hear_each_other() {
    let (engine, mut all) = engine(Timing::RACK, 3);
    engine.block(1, 3);
    let mut with_two = [false; 2];
    for second in 3..200 {
        engine.set_time(at(second * 1000));
        let ring = engine.ring_of(2);
        assert!(!(ring.contains(&1) && ring.contains(&3)), "{ring:?}");
        with_two[0] |= ring == [1, 2];
        with_two[1] |= ring == [2, 3];
    }
    assert_eq!(with_two, [true; 2], "the daemons try others again");
    engine.heal();
    engine.set_time(at(230_000));
    assert_eq!(engine.ring_of(1), [1, 2, 3]);
    all.iter_mut().for_each(|carrier| drop(read(carrier)));
}

#[test]
fn a_killed_daemon_ends_its_streams_and_a_process_comes_back_under_its_identity() {
    let (engine, mut all) = engine(Timing::RACK, 2);
    engine.kill(2);
    engine.set_time(at(110));
    assert_eq!(read(&mut all[1]), [CarrierEvent::Lost(CarrierLost::Daemon)]);
    all.pop();
    assert_eq!(engine.attach(Class::Main, 2, 1).err(), Some(AttachError::NoEngine));
    engine.boot(2);
    let again = engine.attach(Class::Main, 2, 1).unwrap();
    engine.set_time(at(5000));
    let id = again.id();
    let seen = changes(&read(&mut all[0]));
    assert_eq!(seen, [(vec![(id, RawReason::NodeDown)], vec![]), (vec![], vec![id])]);
}

#[test]
fn an_identity_is_free_when_its_leave_has_been_ordered() {
    let (engine, mut all) = engine(Timing::RACK, 1);
    all[0].detach();
    assert_eq!(engine.attach(Class::Main, 1, 1).err(), Some(AttachError::TryAgain));
    engine.set_time(at(200));
    assert_eq!(read(&mut all[0]), [CarrierEvent::Lost(CarrierLost::Detached)]);
    all.clear();
    assert!(engine.attach(Class::Main, 1, 1).is_ok());
}

#[test]
fn a_busy_daemon_says_when_it_is_ready() {
    let (engine, mut all) = engine(Timing::PROMPT, 1);
    engine.throttle(Class::Main, all[0].id(), Some(Duration::from_millis(1)));
    let accepted =
        (0..1000).take_while(|_| all[0].submit(Bytes::from_static(b"x")) == Submit::Accepted).count();
    assert!((256..=258).contains(&accepted), "{accepted}");
    engine.set_time(at(150));
    assert!(!read(&mut all[0]).contains(&CarrierEvent::Ready), "not below half yet");
    engine.set_time(at(300));
    assert!(read(&mut all[0]).contains(&CarrierEvent::Ready));
}
