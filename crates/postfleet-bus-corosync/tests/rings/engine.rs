//! What only real daemons can show.

use crate::rig::{RingRig, Shared};
use postfleet_bus::carrier::{Carrier, CarrierEvent, Submit};
use postfleet_bus::suite::check::History;
use postfleet_bus::suite::{Burst, Command, MemberId, MemberSpec, Rig, What};
use postfleet_bus_corosync::{Class, CorosyncCarrier, CorosyncOptions};
use postfleet_testbed::ring::HostId;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

type Test = fn(&Shared);

/// Name and body.
pub const TESTS: [(&str, Test); 3] = [
    ("bus_case_15_two_hundred_large_messages", large_messages),
    ("engine_throughput", throughput),
    ("engine_hidden_rings", hidden_rings),
];

/// Set for processes that send as fast as they can: `<bus> <senders> <messages> <bytes>`.
pub const BLAST: &str = "POSTFLEET_BLAST";

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits until as many senders are there as there shall be, sends, and takes what all of them sent.
pub fn blast(order: &str) -> ! {
    let mut words = order.split(' ');
    let bus = words.next().unwrap();
    let mut number = || words.next().unwrap().parse::<usize>().unwrap();
    let (senders, messages, bytes) = (number(), number(), number());
    let mut carrier = CorosyncCarrier::open(CorosyncOptions::new(bus, Class::Shared)).unwrap();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let (mut sent, mut taken, mut present) = (0, 0, 0);
    let mut started = Instant::now();
    let payload = bytes::Bytes::from(vec![7; bytes]);
    let mut busy = false;
    while taken < senders * messages {
        let mut progress = false;
        while present == senders && sent < messages && !busy {
            match carrier.submit(payload.clone()) {
                Submit::Accepted => sent += 1,
                Submit::Busy => busy = true,
                Submit::Gone => panic!("gone"),
            }
            progress = true;
        }
        while let Poll::Ready(event) = carrier.poll_event(&mut context) {
            progress = true;
            match event {
                CarrierEvent::Change { members, .. } => {
                    present = present.max(members.len());
                    started = Instant::now();
                }
                CarrierEvent::Deliver { .. } => taken += 1,
                CarrierEvent::Ready => busy = false,
                CarrierEvent::Lost(reason) => panic!("{reason:?}"),
            }
        }
        if !progress {
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
    let took = started.elapsed();
    let millis = took.as_millis().max(1);
    let total = u128::try_from(senders * messages).unwrap();
    // One line in one write: others write too.
    let line = format!(
        "  {senders} senders, {bytes} bytes: {} messages/s, {} kB/s, {} retries\n",
        total * 1000 / millis,
        total * u128::try_from(bytes).unwrap() / millis,
        carrier.send_retries()
    );
    eprint!("{line}");
    std::thread::sleep(Duration::from_millis(300));
    std::process::exit(0);
}

fn summary(rig: &RingRig, members: &[MemberId]) -> String {
    let mut text = String::new();
    for member in members {
        let trace = rig.trace(*member);
        text += &format!("{member:?}: {} sent, {} messages\n", trace.sent(), trace.messages());
        let told = trace.records().iter().filter(|record| {
            !matches!(record.what, What::Message { .. } | What::Sent { .. } | What::GroupView { .. })
        });
        for record in told {
            let line: String = format!("{:?}", record.what).chars().take(200).collect();
            text += &format!("    {:>10} us {line}\n", record.at.as_micros());
        }
    }
    text
}

/// Bus document, acceptance case 15: 200 messages of a megabyte, back to back.
fn large_messages(ring: &Shared) {
    let mut rig = RingRig::new(ring);
    let members = [("a", 101), ("b", 102), ("c", 103)]
        .map(|(node, process)| rig.start(&MemberSpec::node(node, process, &["g"])));
    let wait = |rig: &mut RingRig, what: &str, holds: &dyn Fn(&RingRig) -> bool| {
        let until = Instant::now() + Duration::from_secs(120);
        while !holds(rig) {
            assert!(Instant::now() < until, "in vain: {what}\n{}", summary(rig, &members));
            rig.advance(Duration::from_millis(5));
        }
    };
    wait(&mut rig, "all are there", &|rig| members.iter().all(|member| rig.trace(*member).view_size() == 3));
    let mut burst = Burst::to_group("g", 1, 200);
    burst.bytes = 1_000_000;
    rig.command(members[0], Command::Send(burst));
    let mut burst = Burst::to_group("g", 201, 1);
    burst.bytes = 1_000_001;
    rig.command(members[0], Command::Send(burst));
    for member in members {
        wait(&mut rig, "all messages", &|rig| rig.trace(member).messages() == 200);
        let whole = rig.trace(member).records().iter().filter_map(|record| match record.what {
            What::Message { number, bytes: 1_000_000, .. } => Some(number),
            _ => None,
        });
        assert!(whole.eq(1..=200));
    }
    let refused =
        |what: &What| matches!(what, What::NotSent { number: 201, error, .. } if error.contains("1000001"));
    wait(&mut rig, "the one that is too large is refused", &|rig| rig.trace(members[0]).has(refused));
}

fn throughput(ring: &Shared) {
    for (senders, messages, bytes) in [
        (1, 5000, 100),
        (3, 3000, 100),
        (3, 2000, 1000),
        (3, 500, 10_000),
        (3, 60, 100_000),
        (3, 10, 1_000_000),
    ] {
        let order = format!("blast-{senders}-{bytes} {senders} {messages} {bytes}");
        let children: Vec<_> = (0..senders)
            .map(|index| {
                let exe = std::env::current_exe().unwrap();
                ring.borrow().command(HostId(index), exe).env(BLAST, &order).spawn().unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
    }
}

/// Turns of [`hidden_rings`]; whether one succeeds is a matter of milliseconds, and of how busy the machine is.
const HIDDEN_TURNS: u32 = 4;

/// Two members come from one ring to another over different ones that were never announced: libcpg says that both have
/// stayed. Promise P12 must hold nevertheless.
///
/// Both sides of a split have a slow daemon, so they take seconds to get in step, and one that stops before they are.
/// Then the network is whole again, and those that are left form a ring; when the stopped ones go on, it breaks too
/// before it is in step.
fn hidden_rings(ring: &Shared) {
    let mut rig = RingRig::new(ring);
    let members: Vec<MemberId> = (0..4)
        .map(|n| {
            let process = 101 + u32::try_from(n).unwrap();
            rig.start_on(HostId(n), &MemberSpec::node(&format!("n{n}"), process, &["g"]))
        })
        .collect();
    let all_together = |rig: &RingRig| {
        let view = |member: &MemberId| rig.trace(*member).view().map(|(id, members)| (id, members.len()));
        let first = view(&members[0]);
        first.is_some_and(|(_, size)| size == members.len())
            && members.iter().all(|member| view(member) == first)
    };
    let wait = |rig: &mut RingRig, what: &str, holds: &dyn Fn(&RingRig) -> bool| {
        let until = Instant::now() + Duration::from_secs(60);
        while !holds(rig) {
            assert!(Instant::now() < until, "in vain: {what}\n{}", summary(rig, &members));
            rig.advance(Duration::from_millis(3));
        }
    };
    let hosts = |numbers: &[usize]| numbers.iter().map(|number| HostId(*number)).collect::<Vec<_>>();
    let formed = |host: usize| ring.borrow().rings_formed(HostId(host));
    let mut next = 1;
    let mut found = 0;
    for turn in 1..=HIDDEN_TURNS {
        wait(&mut rig, "all are together", &all_together);
        for member in &members {
            let mut burst = Burst::to_group("g", next, 1500);
            burst.interval = Duration::from_millis(1);
            rig.command(*member, Command::Send(burst));
        }
        next += 1500;
        rig.advance(Duration::from_millis(400));
        let before = [formed(0), formed(1)];
        ring.borrow().cut(&[hosts(&[0, 2, 4, 5]), hosts(&[1, 3, 6, 7])]);
        // Not before: a slow ring sends in gusts, and all have the same when it is cut.
        let slow = [5, 7].map(|host| rig.slow_daemon(HostId(host)));
        for (at, host, stops) in [(0, 0, 4), (1, 1, 6)] {
            wait(&mut rig, "a side forms a ring", &|_| formed(host) > before[at]);
            ring.borrow().pause_daemon(HostId(stops));
        }
        let before = formed(0);
        ring.borrow().heal();
        wait(&mut rig, "those that are left form a ring", &|_| formed(0) > before);
        for host in [4, 6] {
            ring.borrow().resume_daemon(HostId(host));
        }
        drop(slow);
        // Somebody must go and come, or a ring must break, before two can have different messages in one view.
        rig.advance(Duration::from_secs(8));
        wait(&mut rig, "all are together", &all_together);
        rig.command(members[3], Command::Reset);
        rig.advance(Duration::from_secs(2));
        wait(&mut rig, "all are together", &all_together);
        let history = History::new(members.iter().map(|m| (*m, rig.trace(*m))), &BTreeSet::new());
        if let Err(violation) = history.check() {
            panic!("turn {turn}: {violation}\n{}", summary(&rig, &members));
        }
        let told = |what: &What| matches!(what, What::Notice { text, .. } if text.contains("in more than one attempt"));
        found =
            members.iter().flat_map(|m| rig.trace(*m).records()).filter(|record| told(&record.what)).count();
    }
    eprintln!("  hidden rings noticed {found} times in {HIDDEN_TURNS} turns");
    assert!(found > 0, "no ring was hidden; is the machine too busy?\n{}", summary(&rig, &members));
}
