//! What a run will do, decided before it starts: the fleet, its settings, the faults and when they happen.

use crate::engine::{Class, HostId, Timing};
use crate::fault::{Fault, Kind, Kinds};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::str::FromStr;
use core::time::Duration;
use postfleet_throttle::Partition;
use postfleet_types::{Monotonic, Random};

/// What the caller may choose. The seed decides the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// How many hosts, as a range from which the seed picks. 1 to 16.
    pub nodes: RangeInclusive<u32>,
    /// Which faults may happen.
    pub faults: Kinds,
    /// How long faults happen, in seconds of the simulation, as a range from which the seed picks.
    pub seconds: RangeInclusive<u32>,
    /// What nodes do.
    pub work: Work,
}

/// What the nodes of a run do: `first` or `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Connections, slots and named throttles, under the policy `share`. Seeds that failed with this workload keep their
    /// meaning.
    First,
    /// Rates of outbound mail as well, under a policy that the seed picks.
    All,
}

/// A word that names no workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no workload `{0}`; there are first and all")]
pub struct UnknownWork(String);

impl FromStr for Work {
    type Err = UnknownWork;

    fn from_str(text: &str) -> Result<Self, UnknownWork> {
        match text {
            "first" => Ok(Self::First),
            "all" => Ok(Self::All),
            _ => Err(UnknownWork(text.into())),
        }
    }
}

impl RunOptions {
    /// The most hosts that a run may have: the largest ring that is supported.
    pub const NODES_MAX: u32 = 16;
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            nodes: 2..=6,
            faults: Kinds(Kind::ALL.into_iter().collect()),
            seconds: 15..=45,
            work: Work::All,
        }
    }
}

/// The settings of a fleet.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Heartbeats a second.
    pub heartbeats_per_second: u16,
    /// Heartbeats that may be missing.
    pub heartbeat_miss_limit: u16,
    /// From admission until they are expected.
    pub heartbeat_start_delay: Duration,
    /// From the loss of the engine to the next attempt.
    pub reconnect_interval: Duration,
    /// Messages in a send queue.
    pub max_backlog: usize,
    /// Unread events of a connection.
    pub events_max: usize,
    /// The replica's `min_delay`.
    pub min_delay: Option<Duration>,
    /// Small messages, so that columns travel in many parts.
    pub small_messages: bool,
    /// Nobody listens for point-to-point connections: long columns have to come on the bus.
    pub streams_refused: bool,
    /// Point-to-point connections break, one in twenty at each frame.
    pub streams_break: bool,
    /// A process that connects again gets the identity on the engine that it had.
    pub raw_reuse: bool,
    /// What nodes do.
    pub work: Work,
    /// What sides of a split fleet may use of limits.
    pub partition: Partition,
}

impl Settings {
    /// How long a member may be silent.
    #[must_use]
    pub fn heartbeat_limit(&self) -> Duration {
        let limit = u64::from(self.heartbeat_miss_limit) * 1000;
        Duration::from_millis(limit / u64::from(self.heartbeats_per_second.max(1)))
    }
}

/// A whole run, before it starts.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What decides everything.
    pub seed: u64,
    /// Hosts that run a node, and whether there is a manager besides (on the host after the last).
    pub nodes: u32,
    /// A manager runs on host `nodes + 1`.
    pub manager: bool,
    /// How the engine behaves.
    pub timing: Timing,
    /// How the fleet is set.
    pub settings: Settings,
    /// What is done, in order of time.
    pub faults: Vec<(Monotonic, Fault)>,
    /// When the faults end.
    pub heal_at: Monotonic,
    /// Mean time between two changes on one node.
    pub change_interval: Duration,
}

fn millis(millis: u64) -> Monotonic {
    Monotonic::from_millis(millis)
}

impl Plan {
    /// The run of a seed.
    #[must_use]
    pub fn new(seed: u64, options: &RunOptions) -> Self {
        let mut random = Random::seeded(seed ^ 0x706c_616e);
        let between = |random: &mut Random, range: &RangeInclusive<u32>| {
            let (low, high) = (*range.start(), (*range.end()).max(*range.start()));
            low + u32::try_from(random.below(u64::from(high - low) + 1)).unwrap_or(0)
        };
        let nodes = between(&mut random, &options.nodes).clamp(1, RunOptions::NODES_MAX);
        let seconds = between(&mut random, &options.seconds).max(1);
        let fast = random.below(3) > 0;
        let settings = Settings {
            heartbeats_per_second: if fast { 4 } else { 1 },
            heartbeat_miss_limit: if fast { 12 } else { 10 },
            heartbeat_start_delay: Duration::from_secs(if fast { 1 } else { 15 }),
            reconnect_interval: Duration::from_secs(if fast { 1 } else { 5 }),
            max_backlog: if random.below(3) == 0 { 40 } else { 5000 },
            events_max: if random.below(3) == 0 { 400 } else { 100_000 },
            min_delay: if random.below(6) == 0 { None } else { Some(Duration::from_millis(10)) },
            small_messages: random.below(2) == 0,
            streams_refused: random.below(6) == 0,
            streams_break: random.below(2) == 0,
            raw_reuse: random.below(2) == 0,
            work: options.work,
            // From numbers of its own, so that nothing else in a run changes with it.
            partition: match (options.work, Random::seeded(seed ^ 0x7061_7274).below(5)) {
                (Work::All, 0) => Partition::Quorum,
                (Work::All, 1) => Partition::Full,
                (Work::First, _) | (Work::All, _) => Partition::Share,
            },
        };
        let timing = match random.below(4) {
            0 => Timing {
                detection: Duration::from_millis(3500),
                merge: Duration::from_millis(2100),
                ..Timing::RACK
            },
            1 => {
                Timing { sync: Duration::from_millis(400), origin: Duration::from_millis(20), ..Timing::RACK }
            }
            _ => Timing::RACK,
        };
        let mut plan = Self {
            seed,
            nodes,
            manager: random.below(3) == 0 && nodes < RunOptions::NODES_MAX,
            timing,
            settings,
            faults: Vec::new(),
            heal_at: millis(u64::from(seconds) * 1000),
            change_interval: Duration::from_millis(
                [30, 100, 400][usize::try_from(random.below(3)).unwrap_or(0)],
            ),
        };
        plan.starts(&mut random);
        plan.draw_faults(&mut random, &options.faults);
        plan.faults.sort_by_key(|(at, _)| *at);
        plan
    }

    /// All hosts, the manager's too.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        1..=self.nodes + u32::from(self.manager)
    }

    /// Whether a host runs the manager.
    #[must_use]
    pub const fn is_manager(&self, host: HostId) -> bool {
        host > self.nodes
    }

    /// Most start in the first second, in any order; some join later.
    fn starts(&mut self, random: &mut Random) {
        let late = self.heal_at.as_micros() / 1000;
        for host in self.hosts() {
            let at = if random.below(5) == 0 { random.below(late) } else { random.below(1000) };
            self.faults.push((millis(at), Fault::Start(host)));
        }
    }

    /// How long it may take after the last repair until everybody is together and every copy is right.
    ///
    /// The engine finds its ring (two detections and a merge); rounds come to their end (heartbeat limit, patience,
    /// fallbacks of the hosts, twice: a ghost is waited for); whoever was put out comes back (4 s for a smooth event
    /// loop, the reconnect interval); columns are asked for again (5 s, twice).
    #[must_use]
    pub fn rest_bound(&self) -> Duration {
        let engine = self.timing.detection * 2 + self.timing.merge;
        let rounds = (self.settings.heartbeat_limit() + self.settings.heartbeat_start_delay) * 2;
        let hosts = Duration::from_secs(1) * (self.nodes + 2);
        let again = Duration::from_secs(10) + self.settings.reconnect_interval * 2;
        engine + rounds + hosts + again + Duration::from_secs(20)
    }

    fn draw_faults(&mut self, random: &mut Random, kinds: &Kinds) {
        let mut kinds: Vec<Kind> = kinds.0.iter().copied().collect();
        if self.settings.work == Work::First {
            kinds.retain(|kind| *kind != Kind::Halt);
        }
        if kinds.is_empty() {
            return;
        }
        // A run has a few kinds of faults that it does often, so that combinations are tried in depth.
        let count = 1 + random.below(4);
        let mut chosen = Vec::new();
        for _ in 0..count {
            chosen.extend(kinds.get(usize::try_from(random.below(kinds.len() as u64)).unwrap_or(0)).copied());
        }
        let pause = 300 + random.below(4000);
        let end = self.heal_at.as_micros() / 1000;
        let mut at = 500 + random.below(3000);
        while at < end {
            let kind = chosen.get(usize::try_from(random.below(chosen.len() as u64)).unwrap_or(0));
            if let Some(kind) = kind {
                let list = self.draw(random, *kind, at);
                self.faults.extend(list.into_iter().filter(|(at, _)| *at < self.heal_at));
            }
            at += 1 + random.below(2 * pause);
        }
    }

    fn node(&self, random: &mut Random) -> HostId {
        1 + u32::try_from(random.below(u64::from(self.nodes))).unwrap_or(0)
    }

    fn any(&self, random: &mut Random) -> HostId {
        1 + u32::try_from(random.below(u64::from(self.nodes + u32::from(self.manager)))).unwrap_or(0)
    }

    /// One fault and its end.
    fn draw(&self, random: &mut Random, kind: Kind, at: u64) -> Vec<(Monotonic, Fault)> {
        // Some are over before anybody can notice, some last.
        let lasts = match random.below(3) {
            0 => 1 + random.below(300),
            1 => 300 + random.below(3000),
            _ => 2000 + random.below(14_000),
        };
        let (node, any) = (self.node(random), self.any(random));
        let class = if random.below(2) == 0 { Class::Main } else { Class::Shared };
        let small = |random: &mut Random, most: u64| u32::try_from(1 + random.below(most)).unwrap_or(1);
        let pair = |first, second| vec![(millis(at), first), (millis(at + lasts), second)];
        match kind {
            Kind::Crash => pair(Fault::Crash(node), Fault::Start(node)),
            Kind::Leave if random.below(2) == 0 => vec![(millis(at), Fault::Reset(any))],
            Kind::Leave => pair(Fault::Leave(node), Fault::Start(node)),
            Kind::Stop => pair(Fault::Stop(any), Fault::Resume(any)),
            Kind::Slow => pair(Fault::Slow(node, small(random, 2000)), Fault::Slow(node, 0)),
            Kind::Freeze => pair(Fault::Freeze(any), Fault::Thaw(any)),
            Kind::Engine if random.below(2) == 0 => pair(Fault::Kill(any), Fault::Boot(any)),
            Kind::Engine => {
                let mut list = pair(Fault::PowerOff(node), Fault::Boot(node));
                list.push((millis(at + lasts + random.below(2000)), Fault::Start(node)));
                list
            }
            Kind::Partition => {
                let side = self.hosts().filter(|_| random.below(2) == 0).collect();
                pair(Fault::Partition(side), Fault::Heal)
            }
            Kind::Lopsided => {
                let mut list = pair(Fault::Block(node, any), Fault::Heal);
                for _ in 0..random.below(3) {
                    let (from, to) = (self.any(random), self.any(random));
                    list.push((millis(at + random.below(lasts)), Fault::Block(from, to)));
                }
                list
            }
            Kind::Delay if random.below(2) == 0 => {
                let millis = small(random, 200);
                pair(Fault::Throttle(node, class, millis), Fault::Throttle(node, class, 0))
            }
            Kind::Delay => pair(Fault::Delay(any, small(random, 300)), Fault::Delay(any, 0)),
            Kind::Ghost => vec![(millis(at), Fault::Ghost(any))],
            Kind::Drop => vec![(millis(at), Fault::Drop(node, class))],
            Kind::Clock => {
                let most = if random.below(2) == 0 { 5_000 } else { 3_600_000 };
                let offset = i32::try_from(random.below(2 * most)).unwrap_or(0);
                let offset = offset - i32::try_from(most).unwrap_or(0);
                vec![(millis(at), Fault::SetClock(any, offset))]
            }
            Kind::Burst => vec![(millis(at), Fault::Burst(node, small(random, 500)))],
            Kind::Halt => {
                let down = at + 50 + random.below(1000);
                let up = down + lasts;
                vec![
                    (millis(at), Fault::Leave(node)),
                    (millis(down), Fault::Kill(node)),
                    (millis(up), Fault::Boot(node)),
                    (millis(up + random.below(2000)), Fault::Start(node)),
                ]
            }
            Kind::Detour if random.below(2) == 0 => vec![(millis(at), Fault::Detour)],
            Kind::Detour => {
                let side = self.hosts().filter(|_| random.below(2) == 0).collect();
                let mut list = pair(Fault::Partition(side), Fault::Heal);
                list.push((millis(at + random.below(lasts)), Fault::Detour));
                list
            }
        }
    }
}
