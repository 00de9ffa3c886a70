//! Shared throttles as clients of a real fleet see them: never more than the limit in any window, through faults, and
//! nearly all of it while there is demand. Replication document, sections 9.3 and 9.4.
//!
//! POSTFLEET_SOAK=1 has the rates and windows of the manual's table; otherwise windows are short. POSTFLEET_PAGE names
//! the page that the table is written into.

use crate::fleet::{Fleet, name};
use crate::support::Client;
use postfleet_testbed::ring::{HostId, mail_address};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const HOSTS: usize = 3;
/// Between two attempts of a client that was refused.
const PAUSE: Duration = Duration::from_millis(20);
const BEGIN: &str = "<!-- fleet: begin -->\n";
const END: &str = "<!-- fleet: end -->";

/// X and Y.
#[derive(Clone, Copy)]
struct Rate {
    units: usize,
    seconds: u64,
}

impl Rate {
    fn period(self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// A transaction that a node let begin: somewhere between these two moments.
#[derive(Clone, Copy)]
struct Grant {
    host: HostId,
    asked: Instant,
    told: Instant,
}

/// Clients of one rate on every host that ask all the time.
struct Demand {
    rate: Rate,
    grants: Arc<Mutex<Vec<Grant>>>,
    /// By host: whether its clients ask now.
    asks: Vec<Arc<AtomicBool>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

fn source(index: usize) -> IpAddr {
    IpAddr::from([198, 51, 100, u8::try_from(index + 1).unwrap()])
}

/// Asks until the connection breaks or nobody wants more.
fn ask(
    host: HostId,
    from: IpAddr,
    goes_on: impl Fn() -> bool,
    granted: impl Fn(Grant),
) -> std::io::Result<()> {
    let mut client = Client::connect_from(&format!("{}:2526", mail_address(host)), from)?;
    client.command("EHLO client.example")?;
    while goes_on() {
        let asked = Instant::now();
        let reply = client.command("MAIL FROM:<sender@client.example>")?;
        if reply.starts_with("250") {
            granted(Grant { host, asked, told: Instant::now() });
            client.command("RSET")?;
        } else {
            assert!(reply.starts_with("450 4.7.1 slowly"), "{reply}");
            std::thread::sleep(PAUSE);
        }
    }
    client.command("QUIT").map(drop)
}

impl Demand {
    fn start(index: usize, rate: Rate, hosts: &[HostId]) -> Self {
        let (grants, stop) = (Arc::<Mutex<Vec<Grant>>>::default(), Arc::new(AtomicBool::new(false)));
        let asks: Vec<_> = hosts.iter().map(|_| Arc::new(AtomicBool::new(true))).collect();
        let threads = hosts.iter().map(|host| {
            let (host, asks) = (*host, Arc::clone(&asks[host.0]));
            let (grants, stop) = (Arc::clone(&grants), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    let goes_on = || asks.load(Ordering::Acquire) && !stop.load(Ordering::Acquire);
                    if goes_on() {
                        // A node that is killed or stands still is asked again and again.
                        let _broken =
                            ask(host, source(index), goes_on, |grant| grants.lock().unwrap().push(grant));
                    }
                    std::thread::sleep(PAUSE);
                }
            })
        });
        let threads = threads.collect();
        Self { rate, grants, asks, stop, threads }
    }

    fn of(&self, from: Instant, to: Instant) -> Vec<Grant> {
        let mut grants = self.grants.lock().unwrap().clone();
        grants.retain(|grant| grant.told >= from && grant.told < to);
        grants.sort_by_key(|grant| grant.told);
        grants
    }

    /// The most that certainly happened within one period.
    fn worst(&self, from: Instant, to: Instant) -> usize {
        let grants = self.of(from, to);
        let within = |first: &Grant| {
            let end = first.asked + self.rate.period();
            grants.iter().filter(|grant| grant.asked >= first.asked && grant.told < end).count()
        };
        grants.iter().map(within).max().unwrap_or(0)
    }

    /// The part of the limit that was used: Y over the mean time from a unit to the X-th after it.
    fn used(&self, from: Instant, to: Instant) -> f64 {
        let grants = self.of(from, to);
        let spans: Vec<Duration> = grants
            .iter()
            .zip(grants.iter().skip(self.rate.units))
            .map(|(one, other)| other.told - one.told)
            .collect();
        let count = u32::try_from(spans.len()).unwrap();
        match count {
            0 => 0.0,
            count => {
                self.rate.period().as_secs_f64() * f64::from(count)
                    / spans.iter().sum::<Duration>().as_secs_f64()
            }
        }
    }

    fn share(&self, host: HostId, from: Instant, to: Instant) -> usize {
        self.of(from, to).iter().filter(|grant| grant.host == host).count()
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a client was told something else");
        }
    }
}

struct Play {
    demands: Vec<Demand>,
    fleet: Fleet,
    /// The longest period.
    period: Duration,
    table: String,
    least_used: f64,
}

pub fn play(prefix: &str) {
    let long = std::env::var_os("POSTFLEET_SOAK").is_some();
    let rates = match long {
        true => [(600, 60), (20, 60), (2, 10), (1, 10)],
        false => [(60, 3), (20, 3), (2, 3), (1, 3)],
    }
    .map(|(units, seconds)| Rate { units, seconds });
    let mut fleet = Fleet::without_daemons(&format!("{prefix}-a"), HOSTS, |_| ());
    for host in fleet.hosts() {
        fleet.configure(host, "Replicate \"shared_named_throttles\" {}");
        for (index, rate) in rates.iter().enumerate() {
            let others =
                (0..rates.len()).filter(|other| *other != index).map(|other| format!("{}/32", source(other)));
            let others = others.collect::<Vec<_>>().join(" ");
            let Rate { units, seconds } = rate;
            fleet.append(
                host,
                &format!(
                    "Policy_Rule \"rate-{index}\" {{\n  phase = \"mailfrom\"\n  key = \"all\"\n  rate = \"{units}/{seconds}\"\n  \
                     exempt = ( {others} )\n  action = \"450 4.7.1 slowly\"\n}}\n"
                ),
            );
        }
    }
    fleet.ring.form();
    for host in fleet.hosts() {
        fleet.start_node(host);
    }
    fleet.wait_together();
    let hosts = fleet.hosts();
    let demands = rates.iter().enumerate().map(|(index, rate)| Demand::start(index, *rate, &hosts)).collect();
    let period = rates.iter().map(|rate| rate.period()).max().unwrap();
    // A machine that does other things as well may take a good part of a short window away.
    let least_used = if long { 0.96 } else { 0.6 };
    let table = String::from(
        "| Rate | Condition | Fullest window | of | Used | Least and most of a node |\n|---|---|---|---|---|---|\n",
    );
    let mut play = Play { demands, fleet, period, table, least_used };
    play.steady();
    play.one_hot();
    play.killed();
    play.stopped();
    play.cut();
    let Play { table, .. } = &play;
    eprint!("{table}");
    if let Some(page) = std::env::var_os("POSTFLEET_PAGE") {
        let text = std::fs::read_to_string(&page).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        std::fs::write(page, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    }
}

impl Play {
    fn row(&mut self, demand: usize, condition: &str, from: Instant, limit: usize, saturated: bool) {
        let now = Instant::now();
        let Some(known) = self.demands.get(demand) else { return };
        let Rate { units, seconds } = known.rate;
        let worst = known.worst(from, now);
        let shares = self.fleet.hosts().into_iter().map(|host| known.share(host, from, now));
        let shares: Vec<usize> = shares.collect();
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        let used = if saturated { format!("{:.3}", known.used(from, now)) } else { String::from("-") };
        writeln!(
            self.table,
            "| {units}/{seconds} | {condition} | {worst} | {limit} | {used} | {least}, {most} |"
        )
        .unwrap();
        assert!(
            worst <= limit,
            "{condition}: {worst} of {units} in {seconds} s, allowed {limit}\n{}",
            self.table
        );
    }

    fn rows(&mut self, condition: &str, from: Instant, saturated: bool) {
        for demand in 0..self.demands.len() {
            let limit = self.demands[demand].rate.units;
            self.row(demand, condition, from, limit, saturated);
        }
    }

    /// For a time in which the fleet was in two sides, of one node and of two.
    fn rows_of_sides(&mut self, condition: &str, from: Instant) {
        for demand in 0..self.demands.len() {
            let units = self.demands[demand].rate.units;
            // A side whose part of the limit is below one has one.
            let below = [1, 2].into_iter().filter(|seats| units * seats < HOSTS).count();
            self.row(demand, condition, from, units + below, false);
        }
    }

    #[track_caller]
    fn all_is_used(&self, from: Instant) {
        for demand in &self.demands {
            let used = demand.used(from, Instant::now());
            assert!(used >= self.least_used, "{used:.3} of {} used\n{}", demand.rate.units, self.table);
        }
    }

    fn wait(&self, periods: f64) {
        std::thread::sleep(self.period.mul_f64(periods));
    }

    fn steady(&mut self) {
        self.wait(1.0);
        let from = Instant::now();
        self.wait(4.0);
        self.rows("all nodes ask", from, true);
        self.all_is_used(from);
        for demand in &self.demands {
            for host in self.fleet.hosts() {
                let share = demand.share(host, from, Instant::now());
                assert!(share > 0, "{} got nothing of {}\n{}", name(host), demand.rate.units, self.table);
            }
        }
    }

    fn one_hot(&mut self) {
        let turn = |play: &Self, on: bool| {
            for asks in play.demands.iter().flat_map(|demand| demand.asks.iter().skip(1)) {
                asks.store(on, Ordering::Release);
            }
        };
        turn(self, false);
        // What the others own has to cool, and to come here.
        self.wait(1.5);
        let from = Instant::now();
        self.wait(3.0);
        self.rows("one node asks", from, true);
        self.all_is_used(from);
        turn(self, true);
    }

    fn killed(&mut self) {
        let victim = HostId(2);
        let from = Instant::now();
        self.fleet.kill_node(victim);
        self.wait(1.5);
        self.fleet.start_node(victim);
        self.fleet.wait_together();
        self.wait(1.5);
        self.rows("a node is killed and comes back", from, false);
    }

    fn stopped(&mut self) {
        let victim = HostId(1);
        let others = [HostId(0), HostId(2)];
        let from = Instant::now();
        self.fleet.signal(victim, "-STOP");
        self.fleet.wait_view(&others);
        self.wait(1.0);
        self.fleet.signal(victim, "-CONT");
        self.fleet.wait_together();
        self.wait(1.5);
        // Expelled, and not yet back, it is a side of its own.
        self.rows_of_sides("a node stands still, is expelled, and comes back", from);
    }

    fn cut(&mut self) {
        let (alone, others) = (HostId(0), [HostId(1), HostId(2)]);
        let from = Instant::now();
        self.fleet.ring.cut(&[others.to_vec(), vec![alone]]);
        self.fleet.wait_view(&others);
        self.fleet.wait_view(&[alone]);
        self.wait(1.5);
        self.fleet.ring.heal();
        self.fleet.wait_together();
        self.wait(1.5);
        self.rows_of_sides("a link is cut and healed", from);
    }
}
