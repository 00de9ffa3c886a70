//! The throttle and slot engines of a fleet, in this process, on a bus that takes no time.

use postfleet_throttle::{
    Configuration, Present, Rate, SharedThrottles, SlotOptions, Slots, ThrottleId, ThrottleOptions,
};
use postfleet_types::{Monotonic, PrivateName};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// When clocks begin, so that cores can subtract intervals.
pub(crate) const START: Monotonic = Monotonic::from_millis(3_600_000);

/// How long a batch waits for more, as in a node with the recommended settings.
const BATCH: Duration = Duration::from_millis(10);
/// As heartbeats are by default.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The clock as a node reads it for every decision.
pub(crate) fn monotonic() -> Monotonic {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let since = ORIGIN.get_or_init(Instant::now).elapsed();
    START + since
}

/// A node's member of the shared connection.
pub(crate) fn name(node: &str) -> PrivateName {
    // Names of rows and of this file: they are valid.
    node.parse().map_or_else(|_| unreachable!("{node} is a node name"), |node| PrivateName::shared(&node, 1))
}

/// What an engine needs to take part in a fleet; both have it.
pub(crate) trait Engine: Sized {
    fn new(own: &PrivateName) -> Self;
    fn reconfigure(&mut self, now: Monotonic, next: &Configuration<'_>);
    fn apply(&mut self, now: Monotonic, from: &PrivateName, body: &[u8]);
    fn drain(&mut self, now: Monotonic) -> Option<Vec<u8>>;
    fn tick(&mut self, now: Monotonic);
    fn heard(&mut self, now: Monotonic);
}

macro_rules! engine {
    ($table:ty, $options:expr) => {
        impl Engine for $table {
            fn new(own: &PrivateName) -> Self {
                Self::new(own, $options)
            }

            fn reconfigure(&mut self, now: Monotonic, next: &Configuration<'_>) {
                Self::reconfigure(self, now, next);
            }

            fn apply(&mut self, now: Monotonic, from: &PrivateName, body: &[u8]) {
                let applied = Self::apply(self, now, from, body);
                assert!(applied.is_ok(), "a message of our own: {applied:?}");
            }

            fn drain(&mut self, now: Monotonic) -> Option<Vec<u8>> {
                Self::drain_outbox(self, now, 60_000)
            }

            fn tick(&mut self, now: Monotonic) {
                if self.poll_deadline().is_some_and(|due| due <= now) {
                    self.handle_timeout(now);
                }
            }

            fn heard(&mut self, now: Monotonic) {
                Self::heard(self, now, now);
            }
        }
    };
}

engine!(SharedThrottles, ThrottleOptions::default());
engine!(Slots, SlotOptions::default());

/// Members that share one table.
#[derive(Debug)]
pub(crate) struct EngineFleet<E> {
    names: Vec<PrivateName>,
    pub(crate) members: Vec<E>,
    sent: Monotonic,
    beat: Monotonic,
    /// Messages that were carried, each to all members.
    pub(crate) messages: u64,
}

impl<E: Engine> EngineFleet<E> {
    /// So many members, which know each other.
    pub(crate) fn new(now: Monotonic, count: usize) -> Self {
        let names: Vec<PrivateName> = (1..=count).map(|number| name(&format!("relay-{number}"))).collect();
        let present: Vec<Present<'_>> = names.iter().map(|name| Present { name, relay: true }).collect();
        let mut members: Vec<E> = names.iter().map(E::new).collect();
        for (member, own) in members.iter_mut().zip(&names) {
            let joined: Vec<PrivateName> = names.iter().filter(|name| *name != own).cloned().collect();
            let next = Configuration { id: 7, members: &present, departed: &[], joined: &joined };
            member.reconfigure(now, &next);
        }
        let mut fleet = Self { names, members, sent: now, beat: now, messages: 0 };
        fleet.exchange(now);
        fleet
    }

    /// Carries everything that members want to say, in one order, to all of them.
    pub(crate) fn exchange(&mut self, now: Monotonic) {
        self.sent = now;
        for member in &mut self.members {
            member.tick(now);
        }
        let mut any = true;
        while any {
            any = false;
            for from in 0..self.members.len() {
                while let Some(body) = self.members.get_mut(from).and_then(|member| member.drain(now)) {
                    any = true;
                    self.messages += 1;
                    if let Some(name) = self.names.get(from) {
                        self.members.iter_mut().for_each(|member| member.apply(now, name, &body));
                    }
                }
            }
        }
    }

    /// What the driver of a node does now and then: heartbeats, deadlines, batches.
    pub(crate) fn turn(&mut self, now: Monotonic) {
        if now.since(self.beat) >= HEARTBEAT {
            self.beat = now;
            self.members.iter_mut().for_each(|member| member.heard(now));
        }
        if now.since(self.sent) >= BATCH {
            self.exchange(now);
        }
    }
}

impl EngineFleet<SharedThrottles> {
    /// Adds throttles that the configuration of every member names; their ids are those of each member.
    pub(crate) fn throttles(&mut self, now: Monotonic, count: u32, rate: Rate) -> Vec<Vec<ThrottleId>> {
        let mut ids = Vec::new();
        for member in &mut self.members {
            // The names are short: they are valid.
            let all =
                (0..count).filter_map(|at| member.configure(now, &format!("domain:{at}.example"), rate).ok());
            ids.push(all.collect());
        }
        self.exchange(now);
        ids
    }
}

/// A rate of a row.
pub(crate) fn rate(text: &str) -> Rate {
    text.parse().unwrap_or_else(|_| unreachable!("{text} is a rate"))
}
