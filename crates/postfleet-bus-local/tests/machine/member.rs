//! What a member process does: an agent of the suite on a local carrier, driven over a socket.

use postfleet_bus::suite::{Agent, Command, MemberSpec};
use postfleet_bus_local::{Class, LocalCarrier, LocalOptions, Step};
use postfleet_types::{Monotonic, Random};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Kinds of what a member tells the rig.
pub const RECORDS: u8 = 1;
pub const STEP: u8 = 2;

/// Names of the variables through which the rig tells a member what it is.
pub const CONTROL: &str = "POSTFLEET_MEMBER_CONTROL";
pub const BUS: &str = "POSTFLEET_MEMBER_BUS";
pub const ORIGIN: &str = "POSTFLEET_MEMBER_ORIGIN";
pub const DIE: &str = "POSTFLEET_MEMBER_DIE";
pub const CHILD: &str = "POSTFLEET_MEMBER_CHILD";

pub fn unix_micros() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

pub fn write_frame(stream: &mut impl Write, kind: u8, body: &[u8]) -> std::io::Result<()> {
    let mut frame = u32::try_from(body.len() + 1).unwrap().to_be_bytes().to_vec();
    frame.push(kind);
    frame.extend_from_slice(body);
    stream.write_all(&frame)
}

pub fn read_frame(stream: &mut impl Read) -> std::io::Result<(u8, Vec<u8>)> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut body)?;
    let kind = body.remove(0);
    Ok((kind, body))
}

pub const STEPS: [Step; 6] =
    [Step::Locked, Step::Left, Step::Numbered, Step::Listening, Step::Running, Step::Wrote];

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn stopwatch() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap()
}

fn die() {
    let own = nix::unistd::Pid::this();
    nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL).unwrap();
    loop {
        std::thread::park();
    }
}

/// Tells the rig of every step, and dies at the one it was told to die at.
fn observer(control: Arc<Mutex<UnixStream>>) -> Arc<dyn Fn(Step) + Send + Sync> {
    let fatal = std::env::var(DIE).ok().map(|text| {
        let (step, times) = text.split_once(':').unwrap();
        let step = STEPS.into_iter().find(|known| format!("{known:?}") == step).unwrap();
        (step, times.parse::<u64>().unwrap())
    });
    let seen = AtomicU64::new(0);
    Arc::new(move |step| {
        if let Some((fatal, times)) = fatal
            && fatal == step
            && seen.fetch_add(1, Ordering::Relaxed) + 1 == times
        {
            die();
        }
        if step != Step::Wrote {
            let number = STEPS.iter().position(|known| *known == step).unwrap();
            let _ = write_frame(&mut *control.lock().unwrap(), STEP, &[u8::try_from(number).unwrap()]);
        }
    })
}

pub fn run() {
    let Ok(path) = std::env::var(CONTROL) else { panic!("a member process is started by the rig") };
    let origin: u64 = std::env::var(ORIGIN).unwrap().parse().unwrap();
    let mut input = UnixStream::connect(path).unwrap();
    let (_, spec) = read_frame(&mut input).unwrap();
    let spec = MemberSpec::decode(&spec).unwrap();
    let control = Arc::new(Mutex::new(input.try_clone().unwrap()));

    let begin = Instant::now();
    let offset = unix_micros().saturating_sub(origin);
    let clock = move || Monotonic::from_micros(offset + u64::try_from(begin.elapsed().as_micros()).unwrap());
    let mut options = LocalOptions::new(std::env::var(BUS).unwrap(), "default", Class::Main);
    options.observer = Some(observer(Arc::clone(&control)));
    let random = Random::seeded(u64::from(std::process::id()) ^ unix_micros());
    let mut agent =
        Agent::new(spec, random, move |_| LocalCarrier::open(options.clone()).ok()).with_stopwatch(stopwatch);

    let commands: Arc<Mutex<VecDeque<Command>>> = Arc::default();
    let (to_agent, main) = (Arc::clone(&commands), std::thread::current());
    std::thread::spawn(move || {
        while let Ok((_, body)) = read_frame(&mut input) {
            to_agent.lock().unwrap().push_back(Command::decode(&body).unwrap());
            main.unpark();
        }
        // The rig is gone, and with it the reason to live.
        std::process::exit(0);
    });
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut child = std::env::var(CHILD).is_ok();
    loop {
        let waiting: Vec<Command> = commands.lock().unwrap().drain(..).collect();
        for command in waiting {
            agent.command(clock(), command);
        }
        let more = agent.poll(clock(), &mut context);
        let records = agent.take_records();
        if !records.is_empty() {
            if child {
                child = false;
                // Outlives this process for a while, with whatever it was left.
                let child = std::process::Command::new("sleep").arg("8").spawn().unwrap();
                std::mem::forget(child);
            }
            let mut out = Vec::new();
            for record in records {
                write_frame(&mut out, 0, &record.encode()).unwrap();
            }
            write_frame(&mut *control.lock().unwrap(), RECORDS, &out).unwrap();
        }
        if !more {
            let now = clock();
            let wait = agent.deadline().map_or(Duration::from_secs(1), |deadline| deadline.since(now));
            std::thread::park_timeout(wait.min(Duration::from_secs(1)));
        }
    }
}
