//! Times and sizes on real rings; what they must not exceed is asserted with room for a slow machine.

use crate::fleet::Fleet;
use crate::oracle::Oracle;
use postfleet_bus::carrier::{Carrier, CarrierEvent};
use postfleet_bus_corosync::{Class, CorosyncCarrier, CorosyncOptions};
use postfleet_testbed::ring::HostId;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Set for the process that listens on a bus: its name.
pub const OBSERVE: &str = "POSTFLEET_OBSERVE";

/// The envelope's byte that says what a message is, and what it says for data of the application.
const TYPE_AT: usize = 3;
const DATA: u8 = 5;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Listens to the data of a bus, as an attachment that never becomes a member, until its input ends; then prints how
/// many messages there were and how many bytes.
pub fn observe(bus: &str) -> ! {
    let mut carrier = CorosyncCarrier::open(CorosyncOptions::new(bus, Class::Shared)).unwrap();
    let main = std::thread::current();
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let waker = Waker::from(Arc::new(Unpark(main.clone())));
    std::thread::spawn(move || {
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        ended.store(true, std::sync::atomic::Ordering::Release);
        main.unpark();
    });
    let (mut messages, mut total) = (0_u64, 0);
    while !over.load(std::sync::atomic::Ordering::Acquire) {
        let mut context = Context::from_waker(&waker);
        match carrier.poll_event(&mut context) {
            Poll::Ready(CarrierEvent::Deliver { bytes, .. }) if bytes.get(TYPE_AT) == Some(&DATA) => {
                messages += 1;
                total += bytes.len();
            }
            Poll::Ready(_) => {}
            Poll::Pending => std::thread::park_timeout(Duration::from_millis(100)),
        }
    }
    println!("{messages} {total}");
    std::process::exit(0);
}

pub fn play(prefix: &str) {
    let mut fleet = Fleet::start(&format!("{prefix}-m"), 3);
    let hosts = fleet.hosts();
    let detection = fleet.ring.detection();
    let mut oracle = Oracle::new(7);
    oracle.change(&fleet, &hosts);
    oracle.agree(&fleet, &hosts);
    let started = Instant::now();
    fleet.counts(HostId(0), None);
    eprintln!("  asking a console takes {:.0?}", started.elapsed());

    // The process of a node is killed.
    let mut times = Vec::new();
    for _ in 0..5 {
        oracle.change(&fleet, &hosts);
        oracle.agree(&fleet, &hosts);
        let (victim, rest) = (hosts[2], &hosts[..2]);
        oracle.forget(victim);
        fleet.kill_node(victim);
        times.push(corrected(&fleet, &oracle, rest));
        fleet.start_node(victim);
        fleet.wait_together();
    }
    times.sort();
    eprintln!(
        "  node killed, until the counts are right on all others: median {:.0?}, all {times:.0?}",
        times[2]
    );
    assert!(times[2] < Duration::from_secs(1));

    // The link of a host is cut.
    oracle.change(&fleet, &hosts);
    oracle.agree(&fleet, &hosts);
    fleet.ring.cut(&[hosts[..2].to_vec(), vec![hosts[2]]]);
    let begun = Instant::now();
    fleet.wait_view(&hosts[..2]);
    let large = begun.elapsed();
    fleet.wait_view(&hosts[2..]);
    eprintln!(
        "  link cut, until the views are right: {large:.1?} and {:.1?}, computed {detection:.1?}",
        begun.elapsed()
    );
    // Acceptance case 9: 4.5 s, and 5 s for the way back.
    assert!(begun.elapsed() < Duration::from_millis(4500));
    fleet.ring.heal();
    let begun = Instant::now();
    fleet.wait_together();
    eprintln!("  healed, until there is one view: {:.1?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5));
    oracle.agree(&fleet, &hosts);

    traffic(&fleet);

    // A host dies: nothing of it runs, and both of its links are down.
    oracle.agree(&fleet, &hosts);
    let victim = hosts[2];
    fleet.ring.unplug(victim);
    fleet.ring.kill_daemon(victim);
    fleet.kill_node(victim);
    oracle.forget(victim);
    let took = corrected(&fleet, &oracle, &hosts[..2]);
    eprintln!("  host dead, until the counts are right on all others: {took:.1?}, computed {detection:.1?}");
    assert!(took < detection + Duration::from_secs(2));
}

/// How long it takes until all of these show the right global counts.
fn corrected(fleet: &Fleet, oracle: &Oracle, hosts: &[HostId]) -> Duration {
    let wanted = oracle.counts(|_| true);
    let begun = Instant::now();
    for host in hosts {
        fleet.wait("the counts are right", || fleet.counts(*host, None).as_ref() == Some(&wanted));
    }
    begun.elapsed()
}

/// What 10 000 changes of connection counts cost on the bus.
fn traffic(fleet: &Fleet) {
    let host = HostId(0);
    let exe = std::env::current_exe().unwrap();
    let mut observer = fleet.ring.command(host, exe);
    let mut observer =
        observer.env(OBSERVE, "default").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Until its attachment has been seen and left out of the view.
    std::thread::sleep(Duration::from_secs(4));
    let wire = || {
        let read = |what: &str| {
            let path = format!("/sys/class/net/ring.1/statistics/{what}");
            std::fs::read_to_string(path).unwrap().trim().parse::<u64>().unwrap()
        };
        (read("rx_packets"), read("rx_bytes"))
    };
    let (packets, bytes) = wire();
    let begun = Instant::now();
    // Five hundred at a time, so that opening and closing do not cancel out; one connection is two changes.
    for round in 0_u32..10 {
        let clients: Vec<_> = (0..500)
            .map(|index: u32| {
                let [_, _, third, fourth] = (round * 500 + index).to_be_bytes();
                fleet.connect(host, IpAddr::V4(Ipv4Addr::new(203, 0, third, fourth)))
            })
            .collect();
        drop(clients);
    }
    let took = begun.elapsed();
    std::thread::sleep(Duration::from_millis(500));
    let (packets_after, bytes_after) = wire();
    drop(observer.stdin.take());
    let output = observer.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (messages, payload) = text.trim().split_once(' ').unwrap();
    eprintln!(
        "  10 000 changes in {took:.1?}: {messages} bus messages with {payload} bytes; the host sent {} packets with {} \
         bytes to the ring, tokens included",
        packets_after - packets,
        bytes_after - bytes
    );
    let messages: u64 = messages.parse().unwrap();
    assert!(messages > 0 && messages <= 20_000, "{messages}");
}
