//! What a member process does: an agent of the suite on some carrier, driven over a socket.

use postfleet_bus::carrier::Carrier;
use postfleet_bus::suite::{Agent, Command, MemberSpec};
use postfleet_types::{Monotonic, Random};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The kind of frame that carries records; others are the carrier's tests' own.
pub const RECORDS: u8 = 1;

/// Names of the variables through which a rig tells a member what it is.
pub(crate) const CONTROL: &str = "POSTFLEET_MEMBER_CONTROL";
pub(crate) const ORIGIN: &str = "POSTFLEET_MEMBER_ORIGIN";

pub(crate) fn unix_micros() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

pub(crate) fn write_frame(stream: &mut impl Write, kind: u8, body: &[u8]) -> io::Result<()> {
    let mut frame = u32::try_from(body.len() + 1).unwrap().to_be_bytes().to_vec();
    frame.push(kind);
    frame.extend_from_slice(body);
    stream.write_all(&frame)
}

pub(crate) fn read_frame(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut body)?;
    let kind = body.remove(0);
    Ok((kind, body))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn stopwatch() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap()
}

/// A member's line to its rig.
#[derive(Debug)]
pub struct Control {
    input: UnixStream,
    output: Arc<Mutex<UnixStream>>,
    spec: MemberSpec,
    origin: u64,
}

/// Tells the rig something of a kind that is not [`RECORDS`].
#[derive(Clone, Debug)]
pub struct Teller(Arc<Mutex<UnixStream>>);

impl Teller {
    /// Tells it; a rig that is gone does not matter.
    pub fn tell(&self, kind: u8, body: &[u8]) {
        let _ = write_frame(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), kind, body);
    }
}

impl Control {
    /// Whether this process was started by a rig.
    #[must_use]
    pub fn is_member() -> bool {
        std::env::var_os(CONTROL).is_some()
    }

    /// Connects to the rig that started this process, and learns what it is.
    #[must_use]
    pub fn from_environment() -> Self {
        let path = std::env::var(CONTROL).unwrap();
        let origin = std::env::var(ORIGIN).unwrap().parse().unwrap();
        let mut input = UnixStream::connect(path).unwrap();
        let (_, spec) = read_frame(&mut input).unwrap();
        let output = Arc::new(Mutex::new(input.try_clone().unwrap()));
        Self { input, output, spec: MemberSpec::decode(&spec).unwrap(), origin }
    }

    /// For threads and callbacks.
    #[must_use]
    pub fn teller(&self) -> Teller {
        Teller(Arc::clone(&self.output))
    }

    /// Plays the member until the rig goes away. `attach` opens an attachment; `first` is called when there is
    /// something to report for the first time.
    pub fn serve<C: Carrier>(self, attach: impl FnMut(Monotonic) -> Option<C>, first: impl FnOnce()) -> ! {
        let begin = Instant::now();
        let offset = unix_micros().saturating_sub(self.origin);
        let clock =
            move || Monotonic::from_micros(offset + u64::try_from(begin.elapsed().as_micros()).unwrap());
        let random = Random::seeded(u64::from(std::process::id()) ^ unix_micros());
        let mut agent = Agent::new(self.spec, random, attach).with_stopwatch(stopwatch);
        let mut first = Some(first);

        let commands: Arc<Mutex<VecDeque<Command>>> = Arc::default();
        let (to_agent, main) = (Arc::clone(&commands), std::thread::current());
        let mut input = self.input;
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
        loop {
            let waiting: Vec<Command> = commands.lock().unwrap().drain(..).collect();
            for command in waiting {
                agent.command(clock(), command);
            }
            let more = agent.poll(clock(), &mut context);
            let records = agent.take_records();
            if !records.is_empty() {
                if let Some(first) = first.take() {
                    first();
                }
                let mut out = Vec::new();
                for record in records {
                    write_frame(&mut out, 0, &record.encode()).unwrap();
                }
                write_frame(&mut *self.output.lock().unwrap(), RECORDS, &out).unwrap();
            }
            if !more {
                let now = clock();
                let wait = agent.deadline().map_or(Duration::from_secs(1), |deadline| deadline.since(now));
                std::thread::park_timeout(wait.min(Duration::from_secs(1)));
            }
        }
    }
}
