//! Connection slots under load, and what is measured.

use std::collections::{BTreeMap, BTreeSet};

use postfleet_throttle::{Configuration, Partition, Path, SlotOptions, Slots};
use postfleet_types::{Monotonic, PrivateName, Random};

use super::{Engine, Fault, Load, SECOND, Sim, World};

impl Engine for Slots {
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

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct SlotRun {
    pub(crate) world: World,
    /// Keys and limits; members use the paths round robin, or all of them when `everywhere`.
    pub(crate) limits: Vec<(&'static str, u64)>,
    pub(crate) paths: Vec<Vec<&'static str>>,
    pub(crate) everywhere: bool,
    pub(crate) partition: Partition,
    /// How long messages take, in microseconds.
    pub(crate) message: (u64, u64),
    pub(crate) seconds: u64,
    pub(crate) warm_up: u64,
    pub(crate) faults: Vec<(u64, Fault)>,
}

/// What came out.
#[derive(Clone, Debug)]
pub(crate) struct SlotMeasured {
    /// The most connections ever open on a key, as a part of its limit, from the start.
    pub(crate) most: f64,
    /// The same since the end of the warm-up.
    pub(crate) most_after: f64,
    /// Connection time of the key that was used least, as a part of what its limit allows.
    pub(crate) used: f64,
    /// The longest time for which a member that wanted a path had no connection on it, in seconds.
    pub(crate) longest: f64,
    pub(crate) messages: f64,
    /// Connection seconds of the member that got least, as a part of the mean.
    pub(crate) least: f64,
}

impl SlotRun {
    pub(crate) fn new(limit: u64, members: usize, message: (u64, u64), seconds: u64) -> Self {
        Self {
            world: World::new(1, members),
            limits: vec![("domain:a", limit)],
            paths: vec![vec!["domain:a"]],
            everywhere: true,
            partition: Partition::Share,
            message,
            seconds,
            warm_up: 20,
            faults: Vec::new(),
        }
    }

    pub(crate) fn measure(&self) -> SlotMeasured {
        let paths = self.paths.iter().map(|keys| {
            let limit =
                |key: &&'static str| self.limits.iter().find(|(of, _)| of == key).map(|(_, limit)| *limit);
            Path::new(keys.iter().map(|key| (*key, limit(key).unwrap()))).unwrap()
        });
        let load = Connections {
            paths: paths.collect(),
            run: self.clone(),
            random: Random::seeded(self.world.seed ^ 0x510),
            nodes: Vec::new(),
            open: BTreeMap::new(),
            since: self.warm_up * SECOND,
            ends: self.seconds * SECOND,
        };
        let mut sim = Sim::new(self.world, load);
        for (at, fault) in &self.faults {
            sim.fault(*at, fault.clone());
        }
        sim.run_until(self.warm_up * SECOND);
        let messages = sim.messages;
        sim.run_until(self.seconds * SECOND);
        let messages = (sim.messages - messages) as f64 / (self.seconds - self.warm_up) as f64;
        sim.load.measured(messages)
    }
}

struct Connection {
    path: usize,
    boundary: u64,
    opened: u64,
}

struct Relay {
    alive: bool,
    open: Vec<Connection>,
    wants: BTreeSet<usize>,
    /// When it last had a connection on a path.
    last: BTreeMap<usize, u64>,
    longest: u64,
    seconds: f64,
}

/// Connections open on a key.
#[derive(Default)]
struct Count {
    now: u64,
    most: u64,
    most_after: u64,
    changed: u64,
    area: f64,
}

pub(crate) struct Connections {
    paths: Vec<Path>,
    run: SlotRun,
    random: Random,
    nodes: Vec<Relay>,
    open: BTreeMap<String, Count>,
    since: u64,
    ends: u64,
}

impl Connections {
    fn count(&mut self, at: u64, path: usize, delta: i64) {
        let keys: Vec<String> = self.paths[path].keys().map(|(key, _)| key.to_string()).collect();
        for key in keys {
            let (since, count) = (self.since, self.open.entry(key).or_default());
            let from = count.changed.max(since);
            count.area += count.now as f64 * at.saturating_sub(from) as f64;
            count.changed = at;
            count.now = count.now.checked_add_signed(delta).expect("closed once");
            count.most = count.most.max(count.now);
            if at >= since {
                count.most_after = count.most_after.max(count.now);
            }
        }
    }

    fn close(&mut self, at: u64, member: usize, number: usize) -> usize {
        let connection = self.nodes[member].open.swap_remove(number);
        self.count(at, connection.path, -1);
        let from = connection.opened.max(self.since);
        let node = &mut self.nodes[member];
        node.seconds += at.saturating_sub(from) as f64 / SECOND as f64;
        if !node.open.iter().any(|other| other.path == connection.path) {
            node.last.insert(connection.path, at);
        }
        connection.path
    }

    fn message(&mut self) -> u64 {
        let (least, most) = self.run.message;
        least + self.random.below(most - least + 1)
    }

    fn measured(mut self, messages: f64) -> SlotMeasured {
        let end = self.ends;
        for path in 0..self.paths.len() {
            self.count(end, path, 0);
        }
        for node in &mut self.nodes {
            for connection in &node.open {
                node.seconds += end.saturating_sub(connection.opened.max(self.since)) as f64 / SECOND as f64;
            }
            for path in &node.wants {
                if node.alive && !node.open.iter().any(|open| open.path == *path) {
                    node.longest = node.longest.max(end - node.last.get(path).copied().unwrap_or(0));
                }
            }
        }
        let of = |key: &str| {
            self.run.limits.iter().find(|(of, _)| *of == key).map_or(1, |(_, limit)| *limit) as f64
        };
        let length = (end - self.since) as f64;
        let part = |value: &dyn Fn(&Count) -> f64| {
            self.open.iter().map(|(key, count)| value(count) / of(key)).collect::<Vec<f64>>()
        };
        let most = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
        let alive: Vec<&Relay> = self.nodes.iter().filter(|node| node.alive).collect();
        let mean = alive.iter().map(|node| node.seconds).sum::<f64>() / alive.len() as f64;
        SlotMeasured {
            most: most(part(&|count| count.most as f64)),
            most_after: most(part(&|count| count.most_after as f64)),
            used: part(&|count| count.area / length).into_iter().fold(f64::INFINITY, f64::min),
            longest: alive.iter().map(|node| node.longest).max().unwrap_or(0) as f64 / SECOND as f64,
            messages,
            least: alive.iter().map(|node| node.seconds).fold(f64::INFINITY, f64::min) / mean,
        }
    }
}

impl Load for Connections {
    type Engine = Slots;

    fn engine(&mut self, name: &PrivateName, member: usize, _now: Monotonic) -> Slots {
        let all = 0..self.paths.len();
        let wants = all.filter(|path| self.run.everywhere || member % self.paths.len() == *path).collect();
        self.nodes.push(Relay {
            alive: true,
            open: Vec::new(),
            wants,
            last: BTreeMap::new(),
            longest: 0,
            seconds: 0.0,
        });
        Slots::new(name, SlotOptions { partition: self.run.partition, ..SlotOptions::default() })
    }

    fn turn(&mut self, at: u64, member: usize, now: Monotonic, slots: &mut Slots) -> Option<u64> {
        let mut number = 0;
        while let Some(connection) = self.nodes[member].open.get(number) {
            if connection.boundary > at {
                number += 1;
                continue;
            }
            let path = connection.path;
            if slots.at_boundary(now, &self.paths[path]) {
                let path = self.close(at, member, number);
                slots.closed(now, &self.paths[path]);
            } else {
                let next = at + self.message();
                self.nodes[member].open[number].boundary = next;
                number += 1;
            }
        }
        for path in self.nodes[member].wants.clone() {
            self.nodes[member].last.entry(path).or_insert(at);
            // More mail than slots, always.
            let wanted = self.paths[path].keys().map(|(_, limit)| limit).min().unwrap_or(0);
            slots.want(now, &self.paths[path], wanted);
            while slots.open(now, &self.paths[path]) {
                if !self.nodes[member].open.iter().any(|open| open.path == path) && at >= self.since {
                    let waited = at - self.nodes[member].last[&path];
                    self.nodes[member].longest = self.nodes[member].longest.max(waited);
                }
                self.count(at, path, 1);
                let boundary = at + self.message();
                self.nodes[member].open.push(Connection { path, boundary, opened: at });
                slots.want(now, &self.paths[path], wanted);
            }
        }
        while slots.poll_ready().is_some() {}
        self.nodes[member].open.iter().map(|open| open.boundary).min()
    }

    fn killed(&mut self, at: u64, member: usize) {
        while !self.nodes[member].open.is_empty() {
            self.close(at, member, 0);
        }
        self.nodes[member].alive = false;
    }
}
