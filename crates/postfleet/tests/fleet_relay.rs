//! A fleet of three relays mail from Postfix' smtp-source to three of its smtp-sink, with a limit of connections for one
//! destination and a rate for another, and loses a node on the way. What is checked is what the sinks saw.
//!
//! The short form is part of the tests; `make relay` has 100,000 messages and needs twelve minutes.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use support::{Fleet, wait_until};

/// Connections to the slow destination, all nodes together.
const CONNECTIONS: usize = 20;
/// Length of a message, without what the sink writes before it.
const OCTETS: usize = 1024;

struct Size {
    slow: usize,
    metered: usize,
    moody: usize,
    /// Messages and seconds of the metered destination.
    rate: (usize, u64),
    /// Of a hundred messages so many wait a second for their answer at the slow destination, and so many of these another.
    delayed: u32,
    /// When a node is killed, after the last message was accepted.
    half: Duration,
    /// By how much the time from the beginning of a message to its end in the sink may differ.
    transit: Duration,
}

const SHORT: Size = Size {
    slow: 1200,
    metered: 240,
    moody: 560,
    rate: (60, 6),
    delayed: 20,
    half: Duration::from_secs(4),
    transit: Duration::from_secs(2),
};
const WHOLE: Size = Size {
    slow: 74_000,
    metered: 6_000,
    moody: 20_000,
    rate: (600, 60),
    delayed: 10,
    half: Duration::from_secs(200),
    transit: Duration::from_secs(1),
};

/// Where mail arrives: a file for each message, whose time of change is when its end came.
struct Sink {
    process: Child,
    port: u16,
    dir: PathBuf,
}

impl Sink {
    fn start(host: &str, dir: &Path, options: &[&str]) -> Self {
        let port = TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port();
        std::fs::create_dir_all(dir).unwrap();
        let mut command = Command::new(tool("smtp-sink").unwrap());
        if is_root() {
            assert!(Command::new("chown").arg("nobody").arg(dir).status().unwrap().success());
            command.args(["-u", "nobody"]);
        }
        let process = command
            .args(["-m", "2000", "-d"])
            .arg(dir.join("%M/"))
            .args(options)
            .args([&format!("{host}:{port}"), "1000"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until(Duration::from_secs(10), "the sink listens", || sockets(port, LISTEN) > 0);
        Self { process, port, dir: dir.to_owned() }
    }

    fn files(&self) -> Vec<PathBuf> {
        let minutes = std::fs::read_dir(&self.dir).unwrap().flatten();
        minutes
            .flat_map(|minute| std::fs::read_dir(minute.path()).unwrap().flatten())
            .map(|file| file.path())
            .collect()
    }

    /// How often each recipient's message arrived, and when.
    fn arrivals(&self) -> (BTreeMap<String, usize>, Vec<SystemTime>) {
        let (mut counts, mut times) = (BTreeMap::new(), Vec::new());
        for path in self.files() {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            // A file without its end belongs to a transaction that was cut off.
            if text.len() < OCTETS + 200 {
                continue;
            }
            times.push(std::fs::metadata(&path).unwrap().modified().unwrap());
            for line in text.lines().filter_map(|line| line.strip_prefix("X-Rcpt-Args: ")) {
                *counts.entry(line.to_owned()).or_default() += 1;
            }
        }
        times.sort_unstable();
        (counts, times)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn tool(name: &str) -> Option<PathBuf> {
    let places = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"];
    places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists())
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t")
}

/// States of a socket, as the kernel's table has them.
const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";

/// Lines of the kernel's table of sockets at a local port in a state.
fn sockets(port: u16, state: &str) -> usize {
    let port = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let of = |line: &&str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some(state)
    };
    table.lines().filter(of).count()
}

/// How many connections a sink has open, again and again.
struct Sampler {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<(Instant, usize)>>,
}

impl Sampler {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while !seen.load(Ordering::Relaxed) {
                let mut open = sockets(port, ESTABLISHED);
                // The table is no picture of one moment: a connection that ends and the next one may both be in it.
                // What is open too much is so for as long as a message takes.
                for _ in 0..3 {
                    if open > CONNECTIONS {
                        open = open.min(sockets(port, ESTABLISHED));
                    }
                }
                samples.push((Instant::now(), open));
                std::thread::sleep(Duration::from_millis(20));
            }
            samples
        });
        Self { stop, thread }
    }

    fn samples(self) -> Vec<(Instant, usize)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The mean number of connections between two moments.
fn mean(samples: &[(Instant, usize)], from: Instant, to: Instant) -> f64 {
    let (mut sum, mut all) = (0.0, 0.0);
    for pair in samples.windows(2) {
        let [(start, open), (end, _)] = pair else { continue };
        if *start >= from && *end <= to {
            let span = (*end - *start).as_secs_f64();
            sum += span * *open as f64;
            all += span;
        }
    }
    sum / all
}

/// The most messages in any period.
fn fullest(times: &[SystemTime], period: Duration) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, time) in times.iter().enumerate() {
        while times[first] + period <= *time {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

/// Sends so many messages to each node in turn; all of them are acknowledged when it returns.
fn send(fleet: &Fleet, domain: &str, messages: usize) {
    let nodes = fleet.nodes.len();
    let sources: Vec<Child> = (0..nodes)
        .map(|node| {
            let part = messages / nodes + usize::from(node < messages % nodes);
            Command::new(tool("smtp-source").unwrap())
                .args(["-N", "-s", "10", "-l", &OCTETS.to_string(), "-m", &part.to_string()])
                .args(["-f", "sender@client.example", "-t", &format!("-node{node}@{domain}")])
                .arg(&fleet.nodes[node].smtp)
                .spawn()
                .unwrap()
        })
        .collect();
    for mut source in sources {
        assert!(source.wait().unwrap().success(), "every message is accepted");
    }
}

#[test]
fn a_fleet_relays_within_its_limits_and_loses_nothing_with_a_node() {
    let whole = std::env::var_os("POSTFLEET_SOAK").is_some();
    if tool("smtp-sink").is_none() || tool("smtp-source").is_none() {
        let missing =
            "smtp-sink and smtp-source are missing (Debian: postfix); `scripts/setup mail` installs them";
        assert!(!whole, "{missing}");
        eprintln!("NOT RUN: {missing}");
        return;
    }
    let size = if whole { WHOLE } else { SHORT };
    let mut fleet = Fleet::start(3);
    let dir = tempfile::Builder::new().prefix("pfsink").tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let slow = Sink::start("127.0.0.1", &dir.path().join("slow"), &["-W", &format!(".:1:{}", size.delayed)]);
    let metered = Sink::start("127.0.0.1", &dir.path().join("metered"), &[]);
    let refusing = Sink::start("127.0.0.2", &dir.path().join("refusing"), &["-Q", "EHLO"]);
    let moody = Sink::start("127.0.0.1", &dir.path().join("moody"), &["-W", ".:1:2"]);
    let options = format!(
        "Domain \"slow.example\" {{\n  Routes = ( \"smtp://127.0.0.1?port={}\" )\n  \
           Cluster_Scope_Max_Outbound_Connections = {CONNECTIONS}\n}}\n\
         Domain \"metered.example\" {{\n  Routes = ( \"smtp://127.0.0.1?port={}\" )\n  \
           Cluster_Outbound_Throttle_Messages = \"{}/{}\"\n}}\n\
         Domain \"moody.example\" {{\n  Routes = ( \"smtp://127.0.0.2?port={}&pref=10\" \
           \"smtp://127.0.0.1?port={}&pref=20\" )\n  Retry_Interval = 5\n}}\n",
        slow.port, metered.port, size.rate.0, size.rate.1, refusing.port, moody.port
    );
    for node in 0..3 {
        let text = std::fs::read_to_string(&fleet.nodes[node].config).unwrap();
        let text = text.replace("Suspend_Delivery = true", &options);
        let text = text.replace("cluster {", "cluster {\n  Replicate \"OBTM\" {}");
        std::fs::write(&fleet.nodes[node].config, text).unwrap();
    }
    for node in 0..3 {
        let reloaded = fleet.console(node, "config reload");
        assert!(reloaded.ends_with("Reconfigure complete\n"), "{reloaded}");
    }
    let sampler = Sampler::start(slow.port);
    let started = Instant::now();
    for (domain, messages) in
        [("metered.example", size.metered), ("slow.example", size.slow), ("moody.example", size.moody)]
    {
        send(&fleet, domain, messages);
    }
    let accepted = started.elapsed();
    let full = Instant::now();
    std::thread::sleep(size.half);
    let killed = Instant::now();
    fleet.kill(1);
    std::thread::sleep(Duration::from_secs(3));
    let restarted = Instant::now();
    fleet.restart(1);

    let sinks = [(&slow, size.slow), (&metered, size.metered), (&moody, size.moody)];
    let patience = Duration::from_secs(120 + size.rate.1 * (size.metered / size.rate.0) as u64);
    let deadline = Instant::now() + patience;
    let mut ended: [Option<Instant>; 3] = [None; 3];
    while ended.iter().any(Option::is_none) {
        for ((sink, messages), ended) in sinks.iter().zip(&mut ended).filter(|(_, ended)| ended.is_none()) {
            if sink.files().len() >= *messages && sink.arrivals().0.len() >= *messages {
                *ended = Some(Instant::now());
            }
        }
        if Instant::now() > deadline {
            let rest = sinks.map(|(sink, messages)| messages - sink.arrivals().0.len());
            panic!("after {patience:?} {rest:?} messages have not arrived");
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let samples = sampler.samples();

    // Never more connections than the limit.
    let most = samples.iter().map(|(_, open)| *open).max().unwrap();
    let end = ended[0].unwrap();
    // The last connections have not enough left to do.
    let busy = (end - Duration::from_secs(2)).max(full);
    let used = mean(&samples, full, killed) / CONNECTIONS as f64;
    let later = mean(&samples, restarted + Duration::from_secs(10), busy) / CONNECTIONS as f64;
    let after = samples.iter().filter(|(at, _)| *at > killed + Duration::from_millis(20));
    let again = after.clone().find(|(_, open)| *open == CONNECTIONS).map(|(at, _)| *at - killed);
    let least =
        after.take_while(|(at, _)| *at < killed + Duration::from_secs(2)).map(|(_, open)| *open).min();
    println!(
        "connections to slow.example: {most} of {CONNECTIONS} at most; mean use {used:.3} before the kill, {later:.3} \
         after the restart; down to {least:?} and back at {CONNECTIONS} after {again:?}"
    );

    // Never more messages in a period than the rate says. A unit is used when the node begins to send; how long the message
    // takes from there to its end in the sink's file differs by what the machine has to do.
    let arrived = sinks.map(|(sink, _)| sink.arrivals());
    let times = &arrived[1].1;
    let (units, seconds) = size.rate;
    let window = fullest(times, Duration::from_secs(seconds));
    let sure = fullest(times, Duration::from_secs(seconds) - size.transit);
    let kill_time = SystemTime::now() - killed.elapsed();
    let before: Vec<SystemTime> = times.iter().copied().filter(|time| *time < kill_time).collect();
    let rate_used = before.len().checked_sub(units).filter(|_| before.len() > 2 * units).map(|steady| {
        let span = before[before.len() - 1].duration_since(before[0]).unwrap().as_secs_f64();
        steady as f64 / units as f64 * seconds as f64 / span
    });
    println!(
        "messages to metered.example: {window} of {units} in {seconds} s at most, {sure} in {:?} less; use before the kill {rate_used:?}",
        size.transit
    );

    let twice = [0, 1, 2].map(|at| {
        let (counts, messages) = (&arrived[at].0, sinks[at].1);
        assert_eq!(counts.len(), messages, "every message arrives");
        counts.values().sum::<usize>() - messages
    });
    println!(
        "{} messages accepted in {:.1} s; delivered twice: {twice:?} (slow, metered, moody)",
        size.slow + size.metered + size.moody,
        accepted.as_secs_f64()
    );

    assert!(most <= CONNECTIONS, "{most} connections");
    assert!(sure <= units, "{sure} messages in {seconds} s less {:?}", size.transit);
    // What the killed node had under way: its part of the connections, and a pipeline of the others.
    assert!(twice.iter().sum::<usize>() <= 3 * CONNECTIONS, "{twice:?}");
    if whole {
        assert!(used >= 0.95 && later >= 0.95, "{used} {later}");
        assert!(rate_used.is_some_and(|used| used >= 0.95), "{rate_used:?}");
        assert!(again.is_some_and(|again| again <= Duration::from_secs(2)), "{again:?}");
    }
}
