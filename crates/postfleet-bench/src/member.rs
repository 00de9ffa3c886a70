//! A real node without mail in a process of its own, and the line over which a row drives it.
//!
//! One request a line, one answer a line: what a console costs both sides of a comparison is one round trip over a
//! socket or pipe, and nothing else.

use crate::process::{Running, cpu_nanoseconds};
use anyhow::{Context, Result, bail, ensure};
use postfleet_node::rig::Rig;
use postfleet_replica::{Counted, Of};
use postfleet_throttle::Path as SlotPath;
use postfleet_types::Prefix;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// `count` different addresses, far from each other, from the `first` of them on.
pub(crate) fn scattered(first: u32, count: u32) -> impl Iterator<Item = Ipv4Addr> {
    (first..first.saturating_add(count)).map(|at| Ipv4Addr::from_bits(at.wrapping_mul(2_654_435_761)))
}

/// How often a paced side makes its changes.
pub(crate) const PACE: Duration = Duration::from_millis(5);

/// Makes `rate` changes a second until told to stop; `change` makes so many from the nth on. Says how many were made.
pub(crate) fn pace(
    rate: u32,
    stop: &AtomicBool,
    mut change: impl FnMut(u32, u32) -> Result<()>,
) -> Result<u32> {
    let begin = Instant::now();
    let mut made = 0u32;
    while !stop.load(Ordering::Relaxed) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below")]
        let due = (begin.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        if due > made {
            change(made, due - made)?;
            made = due;
        }
        std::thread::sleep(PACE);
    }
    Ok(made)
}

/// The process of a member: answers until standard input ends.
pub(crate) fn serve(dir: &Path, number: u8) -> Result<()> {
    let rig = Arc::new(Rig::start(dir, number));
    let mut served = Served { rig, open: Vec::new(), slots: 0, paced: None };
    for line in std::io::stdin().lines() {
        println!("{}", served.answer(&line?)?);
        std::io::stdout().flush()?;
    }
    // The process ends here with everything it has open, as if it were killed.
    std::process::exit(0);
}

/// Slots of the one path that rows ask for.
pub(crate) const SLOTS: u64 = 30;

fn slot_path() -> Result<SlotPath> {
    Ok(SlotPath::new([("domain:example.com", SLOTS)])?)
}

struct Served {
    rig: Arc<Rig>,
    open: Vec<(IpAddr, Counted)>,
    /// Slots that were taken.
    slots: u64,
    paced: Option<(Arc<AtomicBool>, JoinHandle<Result<u32>>)>,
}

impl Served {
    fn answer(&mut self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        Ok(match words.as_slice() {
            ["complete", members] => self.rig.complete(members.parse()?).to_string(),
            ["open", client] => {
                let client = client.parse()?;
                self.open.push((client, self.rig.opened(client)));
                "ok".into()
            }
            ["close-all"] => {
                for (client, counted) in self.open.drain(..) {
                    self.rig.closed(client, counted);
                }
                "ok".into()
            }
            ["fill", first, count] => {
                for client in scattered(first.parse()?, count.parse()?) {
                    let client = IpAddr::V4(client);
                    self.open.push((client, self.rig.opened(client)));
                }
                "ok".into()
            }
            ["sum", prefix] => {
                let (prefix, _) = Prefix::parse_lenient(prefix)?;
                self.rig
                    .replica(|replica| replica.object("inbound_cidr")?.sum(Of::Global, prefix))?
                    .to_string()
            }
            ["total"] => {
                self.rig.replica(|replica| replica.object("inbound_cidr")?.total(Of::Global))?.to_string()
            }
            ["want", connections] => {
                self.rig.want_slots(&slot_path()?, connections.parse()?);
                "ok".into()
            }
            ["slots"] => {
                let path = slot_path()?;
                while self.rig.open_slot(&path) {
                    self.slots += 1;
                }
                self.slots.to_string()
            }
            ["received"] => self.rig.replica(|replica| replica.counters().changes_received).to_string(),
            ["pace", first, rate] => {
                let (first, rate): (u32, u32) = (first.parse()?, rate.parse()?);
                let (stop, rig) = (Arc::new(AtomicBool::new(false)), Arc::clone(&self.rig));
                let stopped = Arc::clone(&stop);
                let thread = std::thread::spawn(move || {
                    pace(rate, &stopped, |at, count| {
                        for client in scattered(first + at, count) {
                            // Never closed: the process does not live long.
                            let _counted = rig.opened(IpAddr::V4(client));
                        }
                        Ok(())
                    })
                });
                self.paced = Some((stop, thread));
                "ok".into()
            }
            ["pace-stop"] => {
                let (stop, thread) = self.paced.take().context("nothing is paced")?;
                stop.store(true, Ordering::Relaxed);
                thread.join().ok().context("the pacing thread has panicked")??.to_string()
            }
            _ => bail!("unknown request {line}"),
        })
    }
}

/// A member, as the row sees it.
#[derive(Debug)]
pub(crate) struct Member {
    running: Running,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    answer: String,
}

impl Member {
    /// Starts member `number` (1 to 99) of the fleet in `dir`, and does not wait for it.
    pub(crate) fn start(dir: &Path, number: u8) -> Result<Self> {
        let program = std::env::current_exe().context("this program has no path")?;
        let mut child = Command::new(program)
            .arg("member")
            .arg(dir)
            .arg(number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(dir.join(format!("log-{number}")))?)
            .spawn()
            .context("cannot start a member")?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { running: Running(child), input, output, answer: String::new() })
    }

    /// A fleet of `count` complete members, numbered from 1.
    pub(crate) fn fleet(dir: &Path, count: u8) -> Result<Vec<Self>> {
        // One after the other, so that the first one hosts the hub of the bus.
        let mut members = Vec::new();
        for number in 1..=count {
            members.push(Self::start(dir, number)?);
            for member in &mut members {
                member.wait_complete(usize::from(number))?;
            }
        }
        Ok(members)
    }

    pub(crate) fn ask(&mut self, request: &str) -> Result<&str> {
        self.input.write_all(format!("{request}\n").as_bytes()).context("a member is gone")?;
        self.answer.clear();
        ensure!(
            self.output.read_line(&mut self.answer)? > 0,
            "a member has ended instead of answering {request}"
        );
        Ok(self.answer.trim_end())
    }

    pub(crate) fn number(&mut self, request: &str) -> Result<u64> {
        let answer = self.ask(request)?;
        answer.parse().with_context(|| format!("{request}: answer {answer}"))
    }

    /// Asks until the answer is this; says how long it took.
    pub(crate) fn wait(&mut self, request: &str, wanted: &str, every: Duration) -> Result<Duration> {
        let begin = Instant::now();
        while self.ask(request)? != wanted {
            ensure!(
                begin.elapsed() < Duration::from_secs(120),
                "{request} is still {} and not {wanted}",
                self.answer.trim_end()
            );
            if !every.is_zero() {
                std::thread::sleep(every);
            }
        }
        Ok(begin.elapsed())
    }

    pub(crate) fn wait_complete(&mut self, members: usize) -> Result<()> {
        self.wait(&format!("complete {members}"), "true", Duration::from_millis(2))?;
        Ok(())
    }

    pub(crate) fn cpu_nanoseconds(&self) -> Result<f64> {
        cpu_nanoseconds(self.running.id())
    }

    /// SIGKILL; returns when the signal is sent.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.running.0.kill().context("a member has ended")
    }
}
