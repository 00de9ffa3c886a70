//! What a node does under limits that the fleet shares: units of a throttle, connections on slots.

use postfleet_replica::{ObjectKind, Replica};
use postfleet_throttle::{Epsilon, Path, Rate};
use postfleet_types::{Monotonic, Random};

/// The ordered objects of a simulated node.
pub(crate) const TABLES: [ObjectKind; 2] = [ObjectKind::SharedNamedThrottles, ObjectKind::OutboundSlots];

/// The limit of connections.
pub(crate) const SLOTS: u64 = 12;

/// Connections under the limit, and those that are wanted.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    open: u64,
    wanted: u64,
}

fn path() -> Option<Path> {
    Path::new([("domain:d0.example", SLOTS), ("global", SLOTS + 3)]).ok()
}

impl Limits {
    pub(crate) const fn open(&self) -> u64 {
        self.open
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

    /// Opens what it may, and ends what it has to: each look is one between two transactions.
    pub(crate) fn tend(&mut self, replica: &mut Replica, now: Monotonic) {
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
