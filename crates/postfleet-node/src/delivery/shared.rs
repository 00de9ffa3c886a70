//! Limits and throttles of the fleet, asked for the queues.

use super::Delivery;
use super::settings::DeliverySettings;
use crate::fleet::{Fleet, LimitError};
use postfleet_queue::{Blocked, Limited, Shared};
use postfleet_spool::QueueKey;
use postfleet_throttle::{Limits, Path, To};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Units of one throttle that are asked for at once.
const ASKED_MAX: u64 = 32;

/// Places whose limits are remembered.
const LIMITS_MAX: usize = 10_000;

type Place = (QueueKey, Option<String>);

/// What is remembered between two questions.
#[derive(Debug, Default)]
pub(super) struct Memory {
    limits: BTreeMap<Place, Arc<Limits>>,
    /// The slots that open connections have, by what the limits were when they began.
    open: BTreeMap<Place, Vec<Path>>,
    /// The paths on which a queue wants connections.
    wanted: BTreeMap<QueueKey, BTreeSet<Path>>,
    /// Units that came and were not used yet.
    credits: BTreeMap<(&'static str, String), u64>,
    /// Units that are on their way.
    asked: BTreeMap<(&'static str, String), u64>,
}

impl Memory {
    /// Another configuration holds.
    pub(super) fn forget_limits(&mut self) {
        self.limits.clear();
    }

    pub(super) fn came(&mut self, object: &'static str, name: &str) {
        let key = (object, name.to_owned());
        *self.credits.entry(key.clone()).or_default() += 1;
        if let Some(asked) = self.asked.get_mut(&key) {
            *asked = asked.saturating_sub(1);
        }
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
        let key = (object, name.clone());
        let credit = self.memory.credits.get_mut(&key);
        let credit = credit.map_or(0, |credit| {
            let used = units.min(*credit);
            *credit -= used;
            used
        });
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
        let asked = self.memory.asked.entry(key).or_default();
        while *asked < units.min(ASKED_MAX) {
            let Ok(hold) = fleet.hold(object, &name) else { break };
            *asked += 1;
            let (delivery, name) = (Arc::clone(self.delivery), name.clone());
            tokio::spawn(async move {
                hold.granted().await;
                delivery.unit_came(object, &name);
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
        self.memory.wanted.entry(queue.clone()).or_default().insert(limits.path().clone());
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

    fn take_slot(&mut self, queue: &QueueKey, host: Option<&str>) -> bool {
        let Some(fleet) = self.fleet else { return true };
        let limits = self.limits(queue, host);
        if limits.path().is_free() {
            return true;
        }
        let taken = fleet.open_slot(limits.path());
        if taken {
            let place = (queue.clone(), host.map(str::to_owned));
            self.memory.open.entry(place).or_default().push(limits.path().clone());
        }
        taken
    }

    fn give_slot(&mut self, queue: &QueueKey, host: Option<&str>) {
        let place = (queue.clone(), host.map(str::to_owned));
        let Some(paths) = self.memory.open.get_mut(&place) else { return };
        let path = paths.pop();
        if paths.is_empty() {
            self.memory.open.remove(&place);
        }
        if let (Some(fleet), Some(path)) = (self.fleet, path) {
            fleet.close_slot(&path);
        }
    }

    fn must_end(&mut self, queue: &QueueKey, host: Option<&str>) -> bool {
        let place = (queue.clone(), host.map(str::to_owned));
        let path = self.memory.open.get(&place).and_then(|paths| paths.last());
        match (self.fleet, path) {
            (Some(fleet), Some(path)) => fleet.slot_at_boundary(path),
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
        for path in self.memory.wanted.remove(queue).unwrap_or_default() {
            fleet.want_slots(&path, 0);
        }
    }
}
