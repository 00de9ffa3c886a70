//! Throttles under load, and what is measured.

use std::collections::BTreeMap;

use postfleet_throttle::{
    Configuration, Partition, Rate, SharedThrottles, ThrottleId, ThrottleOptions, Ticket,
};
use postfleet_types::{Monotonic, PrivateName, Random};

use super::{Engine, Fault, Load, SECOND, Sim, World};

impl Engine for SharedThrottles {
    fn reconfigure(&mut self, now: Monotonic, next: &Configuration<'_>) {
        Self::reconfigure(self, now, next);
    }

    fn apply(&mut self, now: Monotonic, from: &PrivateName, payload: &[u8]) {
        Self::apply(self, now, from, payload).expect("members of one version understand each other");
    }

    fn heard(&mut self, now: Monotonic, sent: Monotonic) {
        Self::heard(self, now, sent);
    }

    fn poll_deadline(&self) -> Option<Monotonic> {
        Self::poll_deadline(self)
    }

    fn handle_timeout(&mut self, now: Monotonic) {
        Self::handle_timeout(self, now);
    }

    fn wants_to_send(&self) -> bool {
        Self::wants_to_send(self)
    }

    fn drain(&mut self, now: Monotonic) -> Option<Vec<u8>> {
        self.drain_outbox(now, 60_000)
    }

    fn fingerprint(&self) -> Option<u64> {
        (!self.is_merging()).then(|| Self::fingerprint(self))
    }

    fn check(&self) {}
}

/// Who wants how much.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Demand {
    /// Every node wants more than there is, always.
    Saturated,
    /// One node does, the others nothing.
    OneHot,
    /// Single units at random, all nodes together so many in a second.
    Arrivals(f64),
    /// As many, from those who do not wait: refused is refused.
    Impatient(f64),
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) world: World,
    pub(crate) rate: Rate,
    pub(crate) partition: Partition,
    pub(crate) demand: Demand,
    pub(crate) seconds: u64,
    /// Measuring of use, shares and waits starts here.
    pub(crate) warm_up: u64,
    pub(crate) faults: Vec<(u64, Fault)>,
}

impl Run {
    pub(crate) fn new(rate: &str, members: usize, demand: Demand, seconds: u64) -> Self {
        let rate: Rate = rate.parse().unwrap();
        Self {
            world: World::new(1, members),
            rate,
            partition: Partition::Share,
            demand,
            seconds,
            warm_up: u64::from(rate.seconds()) + 1,
            faults: Vec::new(),
        }
    }

    /// A fleet to which everything happens, and which is left in peace in the end.
    pub(crate) fn random(seed: u64) -> Self {
        let random = &mut Random::seeded(seed.wrapping_mul(0x9e37_79b9));
        let members = usize::try_from(3 + random.below(4)).unwrap();
        let demand = match random.below(3) {
            0 => Demand::Arrivals(9.0),
            // The draw of every seed stays what it was.
            _ if seed % 4 == 3 => Demand::Impatient(100.0),
            _ => Demand::Saturated,
        };
        let mut run = Run::new("80/10", members, demand, 200);
        run.world = World { seed, ..World::new(seed, members) };
        run.world.detection = 500_000 + random.below(3_500_000);
        if random.below(2) == 0 {
            run.world.transit = (5000, 40_000);
        }
        run.partition = if random.below(4) == 0 { Partition::Quorum } else { Partition::Share };
        let mut killed = Vec::new();
        for _ in 0..2 + random.below(8) {
            let at = 5 * SECOND + random.below(125 * SECOND);
            let member = usize::try_from(random.below(members as u64)).unwrap();
            match random.below(10) {
                0 if killed.len() + 2 < members && !killed.contains(&member) => {
                    killed.push(member);
                    run.faults.push((at, Fault::Kill(member)));
                }
                0..=3 => {
                    run.faults.push((at, Fault::Hang(member)));
                    run.faults.push((at + 200_000 + random.below(20 * SECOND), Fault::Resume(member)));
                }
                4..=5 => run.faults.push((at, Fault::Join)),
                6..=8 => {
                    let mut parts = vec![Vec::new(); usize::try_from(2 + random.below(2)).unwrap()];
                    for member in 0..members {
                        let part = usize::try_from(random.below(parts.len() as u64)).unwrap();
                        parts[part].push(member);
                    }
                    run.faults.push((at, Fault::Split(parts)));
                }
                _ => run.faults.push((at, Fault::Heal)),
            }
        }
        for member in 0..members {
            run.faults.push((150 * SECOND, Fault::Resume(member)));
        }
        run.faults.push((153 * SECOND, Fault::Heal));
        run.warm_up = 178;
        run
    }

    pub(crate) fn measure(&self) -> Measured {
        let load = Mail {
            rate: self.rate,
            partition: self.partition,
            demand: self.demand,
            members: self.world.members,
            random: Random::seeded(self.world.seed ^ 0x5eed),
            nodes: Vec::new(),
            uses: Vec::new(),
        };
        let mut sim = Sim::new(self.world, load);
        for (at, fault) in &self.faults {
            sim.fault(*at, fault.clone());
        }
        sim.run_until(self.warm_up * SECOND);
        let messages = sim.messages;
        sim.run_until(self.seconds * SECOND);
        let messages = sim.messages - messages;
        sim.load.measured(self, messages)
    }
}

/// What came out.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Units in the fullest window, as a part of X.
    pub(crate) worst: f64,
    /// Units used, as a part of what the rate allows.
    pub(crate) used: f64,
    /// Units of the node that got fewest, as a part of the mean of those that want.
    pub(crate) least: f64,
    /// The longest time without a unit of a node that waits, or of an arrival, in seconds.
    pub(crate) longest: f64,
    /// Messages a second, of all nodes.
    pub(crate) messages: f64,
    /// Every use: true time and member.
    pub(crate) uses: Vec<(u64, usize)>,
}

impl Measured {
    /// Units used by a member from `from` to `to`, both in seconds.
    pub(crate) fn between(&self, member: usize, from: u64, to: u64) -> usize {
        let (from, to) = (from * SECOND, to * SECOND);
        self.uses.iter().filter(|(at, of)| *of == member && *at >= from && *at < to).count()
    }

    /// Units used by all.
    pub(crate) fn all_between(&self, from: u64, to: u64) -> usize {
        let (from, to) = (from * SECOND, to * SECOND);
        self.uses.iter().filter(|(at, _)| *at >= from && *at < to).count()
    }
}

struct Sender {
    id: ThrottleId,
    tickets: BTreeMap<Ticket, u64>,
    next: u64,
    served: u64,
    alive: bool,
    started: u64,
    /// Units and the longest wait since measuring started.
    units: u64,
    longest: u64,
}

pub(crate) struct Mail {
    rate: Rate,
    partition: Partition,
    demand: Demand,
    members: usize,
    random: Random,
    nodes: Vec<Sender>,
    uses: Vec<(u64, usize)>,
}

impl Load for Mail {
    type Engine = SharedThrottles;

    fn engine(&mut self, name: &PrivateName, member: usize, now: Monotonic) -> SharedThrottles {
        let options = ThrottleOptions { partition: self.partition, ..ThrottleOptions::default() };
        let mut engine = SharedThrottles::new(name, options);
        let id = engine.configure(now, "global", self.rate).unwrap();
        assert_eq!(member, self.nodes.len());
        self.nodes.push(Sender {
            id,
            tickets: BTreeMap::new(),
            next: 0,
            served: u64::MAX,
            alive: true,
            started: u64::MAX,
            units: 0,
            longest: 0,
        });
        engine
    }

    fn turn(&mut self, at: u64, member: usize, now: Monotonic, engine: &mut SharedThrottles) -> Option<u64> {
        let node = &mut self.nodes[member];
        if node.started == u64::MAX {
            node.started = at;
            node.served = at;
        }
        let mut wake = None;
        loop {
            while let Some(granted) = engine.poll_granted() {
                let since = match self.demand {
                    Demand::Arrivals(_) => node.tickets.get(&granted.ticket).copied().unwrap_or(at),
                    Demand::Saturated | Demand::OneHot | Demand::Impatient(_) => node.served,
                };
                if granted.last {
                    node.tickets.remove(&granted.ticket);
                }
                node.longest = node.longest.max(at - since);
                node.served = at;
                node.units += granted.units;
                self.uses.extend((0..granted.units).map(|_| (at, member)));
            }
            match self.demand {
                Demand::OneHot if member != 0 => {
                    node.served = at;
                    break;
                }
                Demand::Saturated | Demand::OneHot => {
                    if node.tickets.is_empty() {
                        let ticket = engine.request(now, &[node.id], 4 * self.rate.units()).unwrap();
                        node.tickets.insert(ticket, at);
                    } else {
                        break;
                    }
                }
                Demand::Arrivals(each_second) | Demand::Impatient(each_second) => {
                    let mean = SECOND as f64 * self.members as f64 / each_second;
                    let mut gap = || {
                        let unit = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                        (-(1.0 - unit).ln() * mean) as u64
                    };
                    if node.next == 0 {
                        node.next = at + gap();
                    }
                    if node.next > at {
                        wake = Some(node.next);
                        break;
                    }
                    let arrived = node.next;
                    node.next += gap();
                    if matches!(self.demand, Demand::Impatient(_)) {
                        if engine.take_or_wish(now, node.id, 1).unwrap() == 1 {
                            node.longest = node.longest.max(at - node.served);
                            node.served = at;
                            node.units += 1;
                            self.uses.push((at, member));
                        }
                        continue;
                    }
                    // As a relay does: at once when a unit is at hand, else it waits.
                    if engine.take(now, &[node.id], 1).unwrap() == 1 {
                        node.units += 1;
                        self.uses.push((at, member));
                    } else {
                        let ticket = engine.request(now, &[node.id], 1).unwrap();
                        node.tickets.insert(ticket, arrived);
                    }
                }
            }
        }
        wake
    }

    fn killed(&mut self, _at: u64, member: usize) {
        self.nodes[member].alive = false;
    }
}

impl Mail {
    fn measured(mut self, run: &Run, messages: u64) -> Measured {
        self.uses.sort_unstable();
        let (from, to) = (run.warm_up * SECOND, run.seconds * SECOND);
        let seconds = (run.seconds - run.warm_up) as f64;
        let used = mean_use(&self.uses, self.rate, from, to);
        let wanting: Vec<usize> = (0..self.nodes.len())
            .filter(|member| self.nodes[*member].alive)
            .filter(|member| !matches!(run.demand, Demand::OneHot) || *member == 0)
            .collect();
        let units =
            |member: usize| self.uses.iter().filter(|(at, of)| *of == member && *at >= from).count() as f64;
        let mean = wanting.iter().map(|member| units(*member)).sum::<f64>() / wanting.len() as f64;
        let least = wanting.iter().map(|member| units(*member)).fold(f64::INFINITY, f64::min);
        let open = |member: &usize| {
            let node = &self.nodes[*member];
            match run.demand {
                Demand::Arrivals(_) => node.tickets.values().map(|since| to - since).max().unwrap_or(0),
                Demand::Saturated | Demand::OneHot | Demand::Impatient(_) => to - node.served.min(to),
            }
        };
        let longest = wanting.iter().map(|member| self.nodes[*member].longest.max(open(member))).max();
        Measured {
            worst: worst_window(&self.uses, self.rate) as f64 / self.rate.units() as f64,
            used,
            least: least / mean,
            longest: longest.unwrap_or(0) as f64 / SECOND as f64,
            messages: messages as f64 / seconds,
            uses: self.uses,
        }
    }
}

/// Units used as a part of what the rate allows. Saturated units are used again in bursts, a period and a thousandth
/// apart; so that it does not matter how many bursts the interval happens to hold, this is the mean over intervals that
/// begin anywhere in the first such time.
fn mean_use(uses: &[(u64, usize)], rate: Rate, from: u64, to: u64) -> f64 {
    let cycle = u64::from(rate.seconds()) * 1_001_000;
    let length = to - from - cycle;
    let weight = |at: u64| {
        // Begins in [from, from + cycle) for which the interval holds the use.
        let first = from.max((at + 1).saturating_sub(length));
        let last = (from + cycle).min(at + 1);
        last.saturating_sub(first) as f64 / cycle as f64
    };
    let used: f64 = uses.iter().filter(|(at, _)| *at >= from && *at < to).map(|(at, _)| weight(*at)).sum();
    used / (rate.units() as f64 * length as f64 / SECOND as f64 / f64::from(rate.seconds()))
}

/// The most uses in any window of the period's length.
fn worst_window(uses: &[(u64, usize)], rate: Rate) -> usize {
    let period = u64::from(rate.seconds()) * SECOND;
    let mut first = 0;
    let mut worst = 0;
    for (last, (at, _)) in uses.iter().enumerate() {
        while uses[first].0 + period <= *at {
            first += 1;
        }
        worst = worst.max(last + 1 - first);
    }
    worst
}
