use super::*;
use core::task::Waker;

fn read(carrier: &mut Scripted) -> Vec<CarrierEvent> {
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
        .filter_map(|event| match event {
            CarrierEvent::Deliver { bytes, .. } => Some(&bytes[..]),
            CarrierEvent::Change { .. } | CarrierEvent::Ready | CarrierEvent::Lost(_) => None,
        })
        .collect()
}

fn send(carrier: &mut Scripted, text: &'static [u8]) {
    assert_eq!(carrier.submit(Bytes::from_static(text)), Submit::Accepted);
}

#[test]
fn an_engine_that_stood_still_learns_twice() {
    let network = Network::new(1, Timing::PROMPT);
    let (mut a, mut b) = (network.attach(1), network.attach(2));
    read(&mut a);
    read(&mut b);
    network.engine_stop(2);
    send(&mut b, b"while stopped");
    network.set_time(Monotonic::from_millis(5000));
    assert!(read(&mut b).is_empty());
    assert_eq!(read(&mut a).len(), 1, "A sees B leave");
    network.engine_resume(2);
    network.set_time(Monotonic::from_millis(6000));
    let at_b = read(&mut b);
    let CarrierEvent::Change { left, members, .. } = &at_b[0] else { panic!("{at_b:?}") };
    assert_eq!((left.len(), members.as_slice()), (1, &[b.id()][..]));
    let CarrierEvent::Change { joined, .. } = &at_b[1] else { panic!("{at_b:?}") };
    assert_eq!(joined[..], [a.id()]);
    assert_eq!(texts(&at_b), [b"while stopped"]);
    assert_eq!(texts(&read(&mut a)), [b"while stopped"], "it is ordered after the merge");
}

#[test]
fn step_by_step() {
    let network = Network::new(1, Timing::PROMPT);
    let mut a = network.attach(1);
    network.set_stepwise(true);
    send(&mut a, b"one");
    assert!(read(&mut a).is_empty());
    network.step(a.id(), 1);
    assert_eq!(read(&mut a).len(), 1);
    network.step(a.id(), 5);
    assert_eq!(texts(&read(&mut a)), [b"one"]);
}

#[test]
fn a_busy_carrier_says_when_it_is_ready() {
    let network = Network::new(1, Timing::PROMPT);
    let mut a = network.attach(1);
    read(&mut a);
    network.throttle(a.id(), Some(Duration::from_millis(1)));
    let accepted = (0..1000).take_while(|_| a.submit(Bytes::from_static(b"x")) == Submit::Accepted).count();
    assert!((256..=258).contains(&accepted), "{accepted}");
    network.set_time(Monotonic::from_millis(100));
    assert!(!read(&mut a).contains(&CarrierEvent::Ready), "not below half yet");
    network.set_time(Monotonic::from_millis(200));
    assert!(read(&mut a).contains(&CarrierEvent::Ready));
}

#[test]
fn detaching_flushes_and_is_told() {
    let network = Network::new(1, Timing::PROMPT);
    let (mut a, mut b) = (network.attach(1), network.attach(2));
    read(&mut a);
    read(&mut b);
    send(&mut b, b"last");
    b.detach();
    assert_eq!(b.submit(Bytes::new()), Submit::Gone);
    let at_a = read(&mut a);
    assert_eq!(texts(&at_a), [b"last"]);
    let left = at_a.iter().any(|event| match event {
        CarrierEvent::Change { left, .. } => left[..] == [(b.id(), crate::carrier::RawReason::Left)],
        CarrierEvent::Deliver { .. } | CarrierEvent::Ready | CarrierEvent::Lost(_) => false,
    });
    assert!(left);
    let at_b = read(&mut b);
    assert_eq!(at_b.last(), Some(&CarrierEvent::Lost(crate::carrier::CarrierLost::Detached)));
}

/// The same seed twice gives the same stream.
#[test]
fn a_seed_decides_everything() {
    let run = |seed| {
        let network = Network::new(seed, Timing::UNEVEN);
        let (mut a, mut b) = (network.attach(1), network.attach(2));
        let mut streams = Vec::new();
        for step in 1..200 {
            send(if step % 3 == 0 { &mut a } else { &mut b }, b"x");
            network.set_time(Monotonic::from_millis(step));
            streams.extend(read(&mut a));
            streams.extend(read(&mut b));
        }
        streams
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
