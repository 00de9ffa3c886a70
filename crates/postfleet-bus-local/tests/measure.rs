//! Times and rates of the carrier alone, printed and not judged: `POSTFLEET_CASES=20000 cargo test --release -p
//! postfleet-bus-local --test measure -- --nocapture --test-threads=1`. An ordinary run is short, and only shows that it
//! works. Three attachments, threads of one process; the hub is that of the first.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use postfleet_bus::carrier::{Carrier, CarrierEvent, Submit};
use postfleet_bus_local::{Class, LocalCarrier, LocalOptions};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Messages of each measurement.
fn rounds() -> usize {
    std::env::var("POSTFLEET_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn next(carrier: &mut LocalCarrier, waker: &Waker) -> CarrierEvent {
    loop {
        if let Poll::Ready(event) = carrier.poll_event(&mut Context::from_waker(waker)) {
            return event;
        }
        std::thread::park_timeout(Duration::from_secs(10));
    }
}

fn waker() -> Waker {
    Waker::from(Arc::new(Unpark(std::thread::current())))
}

fn three(dir: &tempfile::TempDir) -> Vec<LocalCarrier> {
    let mut carriers = Vec::new();
    for count in 1..=3 {
        let options = LocalOptions::new(dir.path().join("bus"), "default", Class::Main);
        carriers.push(LocalCarrier::open(options).unwrap());
        for carrier in &mut carriers {
            loop {
                if let CarrierEvent::Change { members, .. } = next(carrier, &waker())
                    && members.len() == count
                {
                    break;
                }
            }
        }
    }
    carriers
}

#[test]
fn round_trip_on_an_idle_bus() {
    for (name, which) in [("member", 1), ("host", 0)] {
        let dir = tempfile::tempdir().unwrap();
        let mut carriers = three(&dir);
        let carrier = &mut carriers[which];
        let waker = waker();
        let mut times: Vec<Duration> = (0..rounds())
            .map(|_| {
                let start = Instant::now();
                assert_eq!(carrier.submit(Bytes::from_static(&[7; 100])), Submit::Accepted);
                while !matches!(next(carrier, &waker), CarrierEvent::Deliver { .. }) {}
                let took = start.elapsed();
                std::thread::sleep(Duration::from_micros(100));
                took
            })
            .collect();
        times.sort_unstable();
        println!(
            "submit to own delivery, {name}: median {:?}, 99 % {:?}, longest {:?}",
            times[times.len() / 2],
            times[times.len() * 99 / 100],
            times[times.len() - 1]
        );
    }
}

#[test]
fn from_one_member_to_another_on_an_idle_bus() {
    let dir = tempfile::tempdir().unwrap();
    let mut carriers = three(&dir);
    let mut receiver = carriers.pop().unwrap();
    let mut sender = carriers.pop().unwrap();
    let origin = Instant::now();
    let reader = std::thread::spawn(move || {
        let waker = waker();
        let mut times = Vec::new();
        while times.len() < rounds() {
            if let CarrierEvent::Deliver { bytes, .. } = next(&mut receiver, &waker) {
                let sent = Duration::from_nanos(u64::from_be_bytes(*bytes.first_chunk().unwrap()));
                times.push(origin.elapsed().saturating_sub(sent));
            }
        }
        times
    });
    let waker = waker();
    for _ in 0..rounds() {
        let sent = u64::try_from(origin.elapsed().as_nanos()).unwrap();
        assert_eq!(sender.submit(Bytes::copy_from_slice(&sent.to_be_bytes())), Submit::Accepted);
        while !matches!(next(&mut sender, &waker), CarrierEvent::Deliver { .. }) {}
        std::thread::sleep(Duration::from_micros(100));
    }
    let mut times = reader.join().unwrap();
    times.sort_unstable();
    println!(
        "submit to delivery at another member: median {:?}, 99 % {:?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
}

#[test]
fn messages_a_second() {
    for (bytes, share) in [(100, 10), (1000, 5), (10_000, 1)] {
        let each = i32::try_from(rounds()).unwrap() * share;
        let dir = tempfile::tempdir().unwrap();
        let carriers = three(&dir);
        let start = Instant::now();
        let threads: Vec<_> = carriers
            .into_iter()
            .map(|mut carrier| {
                std::thread::spawn(move || {
                    let waker = waker();
                    let message = Bytes::from(vec![7; bytes]);
                    let (mut sent, mut received, mut busy) = (0, 0, false);
                    while received < 3 * each {
                        while sent < each && !busy {
                            match carrier.submit(message.clone()) {
                                Submit::Accepted => sent += 1,
                                Submit::Busy => busy = true,
                                Submit::Gone => panic!("gone"),
                            }
                            while let Poll::Ready(event) =
                                carrier.poll_event(&mut Context::from_waker(&waker))
                            {
                                match event {
                                    CarrierEvent::Deliver { .. } => received += 1,
                                    CarrierEvent::Ready => busy = false,
                                    CarrierEvent::Change { .. } => {}
                                    CarrierEvent::Lost(why) => panic!("{why:?}"),
                                }
                            }
                        }
                        if received < 3 * each {
                            match next(&mut carrier, &waker) {
                                CarrierEvent::Deliver { .. } => received += 1,
                                CarrierEvent::Ready => busy = false,
                                CarrierEvent::Change { .. } => {}
                                CarrierEvent::Lost(why) => panic!("{why:?}"),
                            }
                        }
                    }
                    carrier
                })
            })
            .collect();
        let carriers: Vec<LocalCarrier> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let took = start.elapsed();
        let total = 3.0 * f64::from(each);
        println!(
            "{bytes} bytes, three senders: {:.0} messages/s ordered and delivered three times, {:.0} MB/s",
            total / took.as_secs_f64(),
            total * f64::from(u32::try_from(bytes).unwrap()) / took.as_secs_f64() / 1e6
        );
        drop(carriers);
    }
}
