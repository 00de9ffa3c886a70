//! What a node does under limits that the fleet shares: units of throttles, connections on slots.

use crate::plan::Work;
use alloc::collections::VecDeque;
use core::time::Duration;
use postfleet_replica::{ObjectKind, Replica};
use postfleet_throttle::{Epsilon, Path, Rate};
use postfleet_types::{Monotonic, Random, ViewId};

/// The ordered objects of a simulated node.
pub(crate) const TABLES: [ObjectKind; 2] = [ObjectKind::SharedNamedThrottles, ObjectKind::OutboundSlots];
/// The object whose rate is measured: nothing is forced in it.
pub(crate) const RATES: ObjectKind = ObjectKind::Obtm;
/// Its rate, units and seconds. More units than a fleet has nodes.
pub(crate) const RATE: (u32, u32) = (20, 4);

/// A cache whose pairs joiners get.
pub(crate) const CACHE: &str = "pairs";

/// The limit of connections.
pub(crate) const SLOTS: u64 = 12;
/// A key that has it.
pub(crate) const KEY: &str = "domain:d0.example";
/// A node has so many units in its queue, so that there is always somebody who waits.
const QUEUED: u64 = 6;

/// Units used in one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use {
    pub(crate) at: Monotonic,
    pub(crate) units: u64,
    /// The view in which the node shared its limits with others then.
    pub(crate) view: Option<ViewId>,
}

/// Connections under the limit, those that are wanted, and units used of late.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    open: u64,
    wanted: u64,
    rates: bool,
    queued: u64,
    uses: VecDeque<Use>,
    live: Option<ViewId>,
}

fn path() -> Option<Path> {
    Path::new([(KEY, SLOTS), ("global", SLOTS + 3)]).ok()
}

impl Limits {
    pub(crate) fn new(work: Work) -> Self {
        Self { rates: work == Work::All, ..Self::default() }
    }

    pub(crate) const fn open(&self) -> u64 {
        self.open
    }

    /// Units used, for some periods.
    pub(crate) fn uses(&self) -> impl Iterator<Item = &Use> {
        self.uses.iter()
    }

    /// Uses a throttle, wants connections, or ends one.
    pub(crate) fn change(&mut self, replica: &mut Replica, now: Monotonic, random: &mut Random) {
        let name = ["a", "b"].get(usize::try_from(random.below(2)).unwrap_or(0)).copied().unwrap_or("a");
        if let (Some(table), Ok(rate)) =
            (replica.throttles_mut(ObjectKind::SharedNamedThrottles.word()), Rate::new(7, 2))
            && let Ok(id) = table.create(now, name, rate, Epsilon::default())
        {
            match random.below(3) {
                0 => drop(table.inc(now, id)),
                1 => drop(table.request(now, &[id], 1 + random.below(3))),
                _ => drop(table.take(now, &[id], 1 + random.below(5))),
            }
            while table.poll_granted().is_some() {}
        }
        if self.rates {
            self.send(replica, now);
        }
        let (Some(slots), Some(path)) = (replica.slots_mut(ObjectKind::OutboundSlots.word()), path()) else {
            return;
        };
        if random.below(2) == 0 {
            self.wanted = random.below(2 * SLOTS);
            slots.want(now, &path, self.wanted);
        } else if self.open > 0 {
            self.open -= 1;
            slots.closed(now, &path);
        }
    }

    /// Messages wait for the rate; a connection is opened when it may be now.
    fn send(&mut self, replica: &mut Replica, now: Monotonic) {
        let Ok(rate) = Rate::new(RATE.0, RATE.1) else { return };
        if let Some(table) = replica.throttles_mut(RATES.word())
            && let Ok(id) = table.configure(now, "global", rate)
            && self.queued < QUEUED
            && table.request(now, &[id], QUEUED).is_ok()
        {
            self.queued += QUEUED;
        }
        if let Some(table) = replica.throttles_mut(ObjectKind::Obtc.word())
            && let Ok(id) = table.configure(now, "global", rate)
        {
            let _ = table.take(now, &[id], 1);
        }
    }

    /// Notes which units came.
    pub(crate) fn note(&mut self, replica: &mut Replica, at: Monotonic, live: Option<ViewId>) {
        // What was used in the turn in which tables met may have been used before they did.
        let view = core::mem::replace(&mut self.live, live).filter(|before| Some(*before) == live);
        let Some(table) = replica.throttles_mut(RATES.word()) else { return };
        while let Some(granted) = table.poll_granted() {
            self.queued = self.queued.saturating_sub(granted.units);
            self.uses.push_back(Use { at, units: granted.units, view });
        }
        let kept = Duration::from_secs(u64::from(RATE.1) * 3);
        while self.uses.front().is_some_and(|first| first.at + kept < at) {
            self.uses.pop_front();
        }
    }

    /// Opens what it may, and ends what it has to: each look is one between two transactions.
    pub(crate) fn tend(
        &mut self,
        replica: &mut Replica,
        now: Monotonic,
        at: Monotonic,
        live: Option<ViewId>,
    ) {
        self.note(replica, at, live);
        let (Some(slots), Some(path)) = (replica.slots_mut(ObjectKind::OutboundSlots.word()), path()) else {
            return;
        };
        while slots.poll_ready().is_some() {}
        while self.wanted > 0 && slots.open(now, &path) {
            self.wanted -= 1;
            self.open += 1;
        }
        for _ in 0..self.open {
            if !slots.at_boundary(now, &path) {
                break;
            }
            slots.closed(now, &path);
            self.open -= 1;
        }
    }
}

/// The most units in any period that ends at one of these uses.
pub(crate) fn worst_window(mut uses: alloc::vec::Vec<Use>) -> u64 {
    uses.sort_by_key(|one| one.at);
    // A node that shares with nobody counts the period by its own clock, which may be fast by half of this.
    let period = Duration::from_millis(u64::from(RATE.1) * 999);
    let (mut window, mut sum, mut worst) = (VecDeque::new(), 0, 0);
    for one in uses {
        sum += one.units;
        window.push_back(one);
        while window.front().is_some_and(|first: &Use| first.at + period <= one.at) {
            sum -= window.pop_front().map_or(0, |first| first.units);
        }
        worst = worst.max(sum);
    }
    worst
}
