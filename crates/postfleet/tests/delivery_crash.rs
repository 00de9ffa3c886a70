//! A node that takes and delivers mail is killed again and again: what it acknowledged arrives, whole, and only what was on
//! its way at a kill arrives twice.
//!
//! The short form is part of the tests; `make crash` kills a thousand times.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "tests")]

#[path = "support/sink.rs"]
mod sink;
mod support;

use postfleet_types::Random;
use sink::Sink;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{Client, SingleNode, wait_until};

const KILLS: u64 = 20;
const SENDERS: usize = 6;
/// Messages in the spool beyond which the senders wait: it is to be neither empty nor ever longer.
const QUEUED_MAX: usize = 300;
/// How long before a kill a message may have been taken by the server and yet be sent again. The server's answer has to
/// come to the node, and the node has to take the message out of the spool, for which it does not wait for a sync. On top
/// of it comes what a file system takes at the moment to write a file and to remove it.
const IN_FLIGHT: Duration = Duration::from_millis(500);

/// Says how to do it again when the test fails.
struct Again {
    kills: u64,
    seed: u64,
}

impl Drop for Again {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { kills, seed } = self;
            eprintln!("seed {seed}; the same again: make crash KILLS={kills} SEED={seed}");
        }
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Messages by number: how many were begun, which were acknowledged.
#[derive(Default)]
struct Sent {
    begun: AtomicU64,
    acknowledged: Mutex<BTreeSet<u64>>,
    queued: AtomicUsize,
    /// The longest that a file took to be written and removed.
    stall_micros: AtomicU64,
    stop: AtomicBool,
}

impl Sent {
    /// Sends messages until told to stop, over as many connections as it takes.
    fn send(&self, smtp: &str) {
        let mut client = None;
        while !self.stop.load(Ordering::Relaxed) {
            if self.queued.load(Ordering::Relaxed) > QUEUED_MAX {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let Some(open) = &mut client else {
                client = Client::connect(smtp).ok();
                if client.is_none() {
                    std::thread::sleep(Duration::from_millis(10));
                }
                continue;
            };
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            match one(open, number) {
                Ok(()) => drop(self.acknowledged.lock().unwrap().insert(number)),
                // The connection broke, and with it the message: nobody will ever send that number again.
                Err(_) => client = None,
            }
        }
    }

    /// Looks at the spool until told to stop, and at how fast its file system is.
    fn watch(&self, messages: &Path, probe: &Path) {
        while !self.stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            std::fs::write(probe, "x").unwrap();
            std::fs::remove_file(probe).unwrap();
            let took = u64::try_from(began.elapsed().as_micros()).unwrap();
            self.stall_micros.fetch_max(took, Ordering::Relaxed);
            self.queued.store(files(messages), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }
}

/// `Ok` when the message was acknowledged.
fn one(client: &mut Client, number: u64) -> std::io::Result<()> {
    let expect = |reply: String, code: &str| {
        if reply.starts_with(code) { Ok(()) } else { Err(std::io::Error::other(reply)) }
    };
    expect(client.command("MAIL FROM:<sender@client.example>")?, "250")?;
    for recipient in sink::recipients(number) {
        expect(client.command(&format!("RCPT TO:<{recipient}>"))?, "250")?;
    }
    expect(client.command("DATA")?, "354")?;
    client.send(&format!("{}.\r\n", sink::text(number).replace("\r\n.", "\r\n..")))?;
    expect(client.reply()?, "250")
}

fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| if entry.file_type().unwrap().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

/// Mail transfer document, acceptance case 11, and what delivery promises of a crash.
#[test]
fn mta_case_11_kills_during_reception_and_delivery_lose_nothing() {
    let kills = number_from("POSTFLEET_KILLS").unwrap_or(KILLS);
    let seed = number_from("POSTFLEET_SEED").unwrap_or(1);
    let _again = Again { kills, seed };
    let mut random = Random::seeded(seed);
    let sink = Sink::start(seed);
    let mut node = SingleNode::start(
        &format!(
            "Relay_Hosts = ( 127.0.0.0/8 )\nGateway = \"127.0.0.1:{}\"\nSuspend_Delivery = false\nRetry_Interval = 1\n\
             Max_Outbound_Connections = 8\nConnection_Allocation_Aggressiveness = high",
            sink.port
        ),
        "",
        "",
    );
    let started = Instant::now();
    let sent = Sent::default();
    let smtp = node.smtp.clone();
    let (messages, probe) = (node.dir.path().join("spool/msg"), node.dir.path().join("probe"));
    let mut killed = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| sent.send(&smtp));
        }
        scope.spawn(|| sent.watch(&messages, &probe));
        // The threads end also when an assertion here does not hold.
        let _stop = Stop(&sent.stop);
        for kill in 1..=kills {
            let so_far = || sent.acknowledged() + sink.count.load(Ordering::Relaxed);
            let before = so_far();
            if random.below(5) == 0 {
                // While it reads the spool, or sooner.
                std::thread::sleep(Duration::from_millis(random.below(200)));
            } else {
                wait_until(Duration::from_secs(60), "mail moves again", || so_far() > before);
                std::thread::sleep(Duration::from_micros(random.below(600_000)));
            }
            node.kill();
            killed.push(Instant::now());
            node.start_again();
            if kill % 100 == 0 {
                let arrived = sink.count.load(Ordering::Relaxed);
                let queued = files(&messages);
                println!(
                    "{kill} kills: {} acknowledged, {arrived} delivered, {queued} queued",
                    sent.acknowledged()
                );
            }
        }
    });
    let spool = node.dir.path().join("spool");
    wait_until(Duration::from_secs(60), "the spool is empty", || files(&messages) == 0);

    let acknowledged = sent.acknowledged.into_inner().unwrap();
    let begun = sent.begun.into_inner();
    let seen = sink.seen.lock().unwrap();
    let mut lost = Vec::new();
    for recipient in acknowledged.iter().flat_map(|number| sink::recipients(*number)) {
        let came = if sink::is_taken(&recipient) {
            seen.arrived.contains_key(&recipient)
        } else {
            seen.reported.contains_key(&recipient)
        };
        if !came {
            lost.push(recipient);
        }
    }
    let mut faults = seen.faults.clone();
    let stall = Duration::from_micros(sent.stall_micros.into_inner());
    let mut twice = 0;
    // How long before the kill what came twice had been taken, at most.
    let mut longest = Duration::ZERO;
    for (recipient, arrivals) in &seen.arrived {
        for pair in arrivals.windows(2) {
            twice += 1;
            let kill = killed.iter().find(|kill| **kill >= pair[0].began);
            let Some(kill) = kill.filter(|kill| **kill < pair[1].began) else {
                faults.push(format!("{recipient} got a message twice without a kill between"));
                continue;
            };
            let age = kill.saturating_duration_since(pair[0].ended);
            longest = longest.max(age);
            if age > IN_FLIGHT + stall {
                faults.push(format!("{recipient} got again what had arrived {age:?} before the kill"));
            }
        }
    }
    let never_sent = seen
        .arrived
        .keys()
        .filter(|recipient| recipient.split('-').nth(1).unwrap().parse::<u64>().unwrap() >= begun);
    faults.extend(never_sent.map(|recipient| format!("{recipient} got what was never sent")));
    println!(
        "seed {seed}: {} kills in {:.0} s; {} messages acknowledged of {begun} begun; {} copies delivered, {twice} of them \
         again, taken {} ms before the kill at most (a file took {} ms at most); {} failed and reported, {} of them again; {} lost",
        killed.len(),
        started.elapsed().as_secs_f64(),
        acknowledged.len(),
        seen.arrived.len(),
        longest.as_millis(),
        stall.as_millis(),
        seen.reported.len(),
        seen.reported.values().sum::<usize>() - seen.reported.len(),
        lost.len(),
    );
    assert!(lost.is_empty(), "{} lost: {:?}", lost.len(), &lost[..lost.len().min(10)]);
    assert!(faults.is_empty(), "{} faults: {:?}", faults.len(), &faults[..faults.len().min(10)]);
    assert_eq!(files(&spool.join("corrupt")), 0, "a kill damages no file");
    assert!(acknowledged.len() as u64 > kills, "too little was sent for the test to mean something");
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
