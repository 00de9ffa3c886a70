//! Limits and throttles of the fleet, asked for the queues.

use super::Delivery;
use super::settings::DeliverySettings;
use crate::fleet::{Fleet, LimitError};
use postfleet_queue::{Blocked, ConnectionId, Limited, Shared};
use postfleet_spool::QueueKey;
use postfleet_throttle::{Limits, Path, To};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// Units of one throttle that are asked for at once.
const ASKED_MAX: u64 = 32;

/// A unit that has come wakes whoever waits for it. What is not used then goes back: used much later, it would come on
/// top of the units of that time.
const UNIT_KEPT: Duration = Duration::from_millis(100);

/// Places whose limits are remembered.
const LIMITS_MAX: usize = 10_000;

/// The object and the name.
pub(super) type Throttle = (&'static str, String);
type Place = (QueueKey, Option<String>);

/// What is remembered between two questions.
#[derive(Debug, Default)]
pub(super) struct Memory {
    limits: BTreeMap<Place, Arc<Limits>>,
    /// Open connections, and the slots that they have.
    open: BTreeMap<ConnectionId, (Arc<QueueKey>, Option<String>, Path)>,
    wishes: Wishes,
    units: BTreeMap<Throttle, Units>,
}

/// How many connections queues want, by path. Queues may have a path in common.
#[derive(Debug, Default)]
struct Wishes {
    of_queues: BTreeMap<QueueKey, BTreeMap<Path, u64>>,
    sums: BTreeMap<Path, u64>,
}

impl Wishes {
    /// What a queue wants now; returns what all want.
    fn want(&mut self, queue: &QueueKey, path: &Path, connections: u64) -> u64 {
        let before = self.of_queues.entry(queue.clone()).or_default().insert(path.clone(), connections);
        let sum = self.sums.entry(path.clone()).or_default();
        *sum = sum.saturating_sub(before.unwrap_or(0)).saturating_add(connections);
        *sum
    }

    /// A queue wants nothing any more; returns the paths on which it did, with what others want there.
    fn want_none(&mut self, queue: &QueueKey) -> Vec<(Path, u64)> {
        let mut left = Vec::new();
        for (path, connections) in self.of_queues.remove(queue).unwrap_or_default() {
            let sum = self.sums.get(&path).copied().unwrap_or(0).saturating_sub(connections);
            if sum == 0 {
                self.sums.remove(&path);
            } else {
                self.sums.insert(path.clone(), sum);
            }
            left.push((path, sum));
        }
        left
    }
}

/// The units of one throttle that were waited for.
#[derive(Debug, Default)]
struct Units {
    /// On their way.
    asked: u64,
    /// Came so far.
    came: u64,
    /// Of those, used or given back: the first to come are the first to go.
    gone: u64,
    /// Those on their way are not wanted any more.
    unwanted: Arc<Notify>,
}

impl Units {
    /// One has come: its number.
    fn one_came(&mut self) -> u64 {
        self.came += 1;
        self.came
    }

    fn use_up_to(&mut self, units: u64) -> u64 {
        let used = units.min(self.came - self.gone);
        self.gone += used;
        used
    }

    /// How many of those up to this number nobody has used. They are not here any more.
    fn expire(&mut self, number: u64) -> u64 {
        let left = number.saturating_sub(self.gone);
        self.gone += left;
        left
    }
}

impl Memory {
    /// A unit that was waited for has come, or will not come. Returns its number.
    pub(super) fn came(&mut self, throttle: &Throttle, granted: bool) -> Option<u64> {
        let units = self.units.entry(throttle.clone()).or_default();
        units.asked = units.asked.saturating_sub(1);
        granted.then(|| units.one_came())
    }

    /// How many units up to this number nobody has used: they are to be given back, as nobody wants them.
    pub(super) fn expire(&mut self, throttle: &Throttle, number: u64) -> u64 {
        let Some(units) = self.units.get_mut(throttle) else { return 0 };
        let left = units.expire(number);
        if left > 0 {
            units.unwanted.notify_waiters();
        }
        left
    }
}

/// The questions of one call of the scheduler.
pub(super) struct Asking<'a> {
    pub(super) delivery: &'a Arc<Delivery>,
    pub(super) settings: &'a DeliverySettings,
    pub(super) fleet: Option<&'a Arc<Fleet>>,
    pub(super) memory: &'a mut Memory,
}

impl Asking<'_> {
    /// Another configuration holds. What is open counts for the limits that there are now, even if it is more than they
    /// allow: it ends between two messages then.
    pub(super) fn limits_changed(&mut self) {
        self.memory.limits.clear();
        let Some(fleet) = self.fleet else { return };
        // Whoever still wants connections says so again, on the paths of now.
        for path in std::mem::take(&mut self.memory.wishes).sums.into_keys() {
            fleet.want_slots(&path, 0);
        }
        let mut open = std::mem::take(&mut self.memory.open);
        for (queue, host, path) in open.values_mut() {
            let now = self.limits(queue, host.as_deref()).path().clone();
            fleet.move_slot(path, &now);
            *path = now;
        }
        self.memory.open = open;
    }

    fn limits(&mut self, queue: &QueueKey, host: Option<&str>) -> Arc<Limits> {
        let place = (queue.clone(), host.map(str::to_owned));
        if self.memory.limits.len() >= LIMITS_MAX {
            self.memory.limits.clear();
        }
        if let Some(limits) = self.memory.limits.get(&place) {
            return Arc::clone(limits);
        }
        // More limits than a path has places for are refused by the check of the configuration.
        let limits = Arc::new(Limits::new(self.settings.cluster_limits(queue, host)).unwrap_or_default());
        self.memory.limits.insert(place, Arc::clone(&limits));
        limits
    }

    /// Up to so many units of a throttle of the fleet, and asks for more when there is none.
    fn units(
        &mut self,
        object: &'static str,
        option: &str,
        queue: &QueueKey,
        units: u64,
    ) -> Result<u64, String> {
        let Some(fleet) = self.fleet else { return Ok(units) };
        let Some(name) = self.settings.cluster_throttle(queue, option) else { return Ok(units) };
        let throttle = (object, name.clone());
        let credit = self.memory.units.get_mut(&throttle).map_or(0, |here| here.use_up_to(units));
        if credit > 0 {
            return Ok(credit);
        }
        match fleet.take_units(object, &name, units) {
            Ok(0) => {}
            Ok(taken) => return Ok(taken),
            // Without the object the throttle is the node's own; the check of the configuration has said so.
            Err(LimitError::NoObject(_)) => return Ok(units),
            Err(LimitError::Throttle(_)) => return Err(name),
        }
        let here = self.memory.units.entry(throttle.clone()).or_default();
        while here.asked < units.min(ASKED_MAX) {
            let Ok(hold) = fleet.hold(object, &name) else { break };
            here.asked += 1;
            let (delivery, throttle) = (Arc::clone(self.delivery), throttle.clone());
            let unwanted = Arc::clone(&here.unwanted);
            tokio::spawn(async move {
                let granted = tokio::select! {
                    biased;
                    granted = hold.granted() => granted,
                    () = unwanted.notified() => false,
                };
                let Some(number) = delivery.unit_came(&throttle, granted) else { return };
                sleep(UNIT_KEPT).await;
                delivery.unit_expires(&throttle, number);
            });
        }
        Err(name)
    }
}

impl Shared for Asking<'_> {
    fn may_connect(&mut self, queue: &QueueKey, host: Option<&str>, wanted: u64) -> Result<(), Blocked> {
        let Some(fleet) = self.fleet else { return Ok(()) };
        let limits = self.limits(queue, host);
        if limits.path().is_free() {
            return Ok(());
        }
        let wanted = self.memory.wishes.want(queue, limits.path(), wanted);
        fleet.want_slots(limits.path(), wanted);
        fleet.slot_room(&limits).map_err(|refusal| Blocked {
            by_host: matches!(refusal.key.to, To::Host(_)),
            limited: Limited {
                option: refusal.option,
                scope: refusal.scope,
                count: refusal.count,
                limit: refusal.in_force,
            },
        })
    }

    fn shadowed(&mut self, queue: &QueueKey, host: Option<&str>) -> Vec<(&'static str, String)> {
        let Some(fleet) = self.fleet else { return Vec::new() };
        let limits = self.limits(queue, host);
        fleet.shadowed(&limits)
    }

    fn take_slot(&mut self, connection: ConnectionId, queue: &Arc<QueueKey>, host: Option<&str>) -> bool {
        let Some(fleet) = self.fleet else { return true };
        let limits = self.limits(queue, host);
        let taken = limits.path().is_free() || fleet.open_slot(limits.path());
        if taken {
            let held = (Arc::clone(queue), host.map(str::to_owned), limits.path().clone());
            self.memory.open.insert(connection, held);
        }
        taken
    }

    fn give_slot(&mut self, connection: ConnectionId) {
        let held = self.memory.open.remove(&connection);
        if let (Some(fleet), Some((.., path))) = (self.fleet, held)
            && !path.is_free()
        {
            fleet.close_slot(&path);
        }
    }

    fn must_end(&mut self, connection: ConnectionId) -> bool {
        match (self.fleet, self.memory.open.get(&connection)) {
            (Some(fleet), Some((.., path))) if !path.is_free() => fleet.slot_at_boundary(path),
            _ => false,
        }
    }

    fn connection_unit(&mut self, queue: &QueueKey) -> Result<(), String> {
        self.units("OBTC", "Cluster_Outbound_Throttle_Connections", queue, 1).map(|_| ())
    }

    fn message_units(&mut self, queue: &QueueKey, units: u64) -> Result<u64, String> {
        self.units("OBTM", "Cluster_Outbound_Throttle_Messages", queue, units)
    }

    fn wants_none(&mut self, queue: &QueueKey) {
        let Some(fleet) = self.fleet else { return };
        for (path, wanted) in self.memory.wishes.want_none(queue) {
            fleet.want_slots(&path, wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(domain: &str) -> QueueKey {
        QueueKey { binding_group: "g".into(), binding: "b".into(), domain: domain.into() }
    }

    #[test]
    fn queues_on_one_path_want_the_sum() {
        let path = Path::new([("global", 10)]).unwrap();
        let mut wishes = Wishes::default();
        assert_eq!(wishes.want(&queue("a.example"), &path, 3), 3);
        assert_eq!(wishes.want(&queue("b.example"), &path, 4), 7);
        assert_eq!(wishes.want(&queue("a.example"), &path, 1), 5);
        assert_eq!(wishes.want_none(&queue("a.example")), [(path.clone(), 4)]);
        assert_eq!(wishes.want_none(&queue("b.example")), [(path, 0)]);
        assert!(wishes.sums.is_empty() && wishes.of_queues.is_empty());
    }

    #[test]
    fn a_unit_that_nobody_uses_does_not_stay() {
        let throttle: Throttle = ("OBTM", "global".to_owned());
        let mut memory = Memory::default();
        let numbers: Vec<u64> = (0..3).filter_map(|_| memory.came(&throttle, true)).collect();
        assert_eq!(memory.came(&throttle, false), None, "nobody granted it");
        assert_eq!(memory.units.get_mut(&throttle).unwrap().use_up_to(1), 1);
        // The first was used; the others are given back, each once.
        let left: Vec<u64> = numbers.into_iter().map(|number| memory.expire(&throttle, number)).collect();
        assert_eq!(left, [0, 1, 1]);
        assert_eq!(memory.units.get_mut(&throttle).unwrap().use_up_to(9), 0);
    }
}
