//! Whether a queue gets one more connection: the limits in their order.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use postfleet_throttle::{LimitKey, Throttle};
use postfleet_types::Monotonic;

use crate::choosing::Choice;
use crate::connection::{Connection, Phase, Target};
use crate::report::Action;
use crate::scheduler::{Now, RETEST, Scheduler};
use crate::settings::{LocalRate, Shared};
use crate::wait::Wait;

/// How long connections may double only once.
const STEP: Duration = Duration::from_secs(1);

impl Scheduler {
    /// Opens one connection for a queue when it wants one and everything allows it.
    pub(crate) fn try_open(&mut self, now: Now, number: u32, shared: &mut dyn Shared) -> bool {
        let reserve = self.reserve.remove(&number);
        let wanted = self.queue_mut(number).is_some_and(|queue| core::mem::take(&mut queue.wanted_of_fleet));
        let outcome = self.attempt(now, number, reserve, shared);
        if wanted
            && let Some(queue) = self.queue(number)
            && !queue.wanted_of_fleet
        {
            shared.wants_none(&queue.key);
        }
        match outcome {
            Ok(()) => true,
            Err((wait, key)) => {
                self.waits(now, number, wait, key);
                false
            }
        }
    }

    fn attempt(
        &mut self,
        now: Now,
        number: u32,
        reserve: bool,
        shared: &mut dyn Shared,
    ) -> Result<(), (Option<Wait>, Option<LimitKey>)> {
        let at = now.monotonic;
        let waits = |wait: Wait| Err((Some(wait), None));
        let Some(queue) = self.queue_mut(number) else { return Err((None, None)) };
        let settings = Arc::clone(&queue.settings);
        let key = Arc::clone(&queue.key);
        // Demand, without which there is nothing to explain.
        let waiting = queue.active.len() as u64;
        let free = queue.opening + queue.idle.len() as u64;
        if waiting == 0 {
            return Err((None, None));
        }
        if settings.suspended {
            return waits(Wait::Suspended);
        }
        if let Some(wait) = queue.held.as_ref().filter(|(until, _)| *until > at).map(|(_, wait)| wait.clone())
        {
            return waits(wait);
        }
        // The route: asked for once, and used while it is asked for again.
        let stale = queue.route.until.is_none_or(|until| until <= at);
        if stale && !queue.route.asked {
            queue.route.asked = true;
            let failed_lookups = queue.route.lookups.failed();
            self.actions.push_back(Action::Resolve { queue: Arc::clone(&key), failed_lookups });
        }
        let Some(queue) = self.queue_mut(number) else { return Err((None, None)) };
        if queue.route.hosts.is_empty() {
            return match queue.route.until {
                // Nothing else leaves no hosts for a time.
                Some(until) if !stale => {
                    waits(Wait::NoSuchDomain { lookups: queue.route.lookups.no_name(), until })
                }
                Some(_) | None => waits(Wait::Routing),
            };
        }
        let open = queue.open();
        let wanted = settings.growth.wanted(waiting + queue.sending);
        let wanted = settings.connections_max.map_or(wanted, |most| wanted.min(most.max(1)));
        if waiting <= free || open >= wanted {
            return waits(Wait::Connected);
        }
        // A connection would end before it had a message to send.
        if let Some((wait, until)) = self.exhausted(at, &settings.message_rates)
            && until > at + settings.idle_timeout
        {
            return waits(wait);
        }
        let Some(queue) = self.queue_mut(number) else { return Err((None, None)) };
        if settings.growth.is_gradual() {
            let (since, before, added) = queue.growth;
            if at >= since + STEP {
                queue.growth = (at, open, 0);
            } else if added >= before.max(1) {
                return waits(Wait::Growing { until: since + STEP });
            }
        }
        // Limits of this node.
        if let Some(limit) = self.full(&settings.limits, reserve) {
            let (wait, key) = (self.limited(limit), limit.key.clone());
            return Err((Some(wait), Some(key)));
        }
        // The exchanger, with its limits, and those of the fleet.
        if let Some(queue) = self.queue_mut(number) {
            queue.wanted_of_fleet = true;
        }
        let target = match self.choose(at, number, (wanted - open).min(waiting - free), shared) {
            Choice::Target(target) => target,
            Choice::Wait(wait, key) => return Err((Some(wait), key)),
        };
        // Nothing has been consumed up to here.
        if let Some((wait, _)) = self.exhausted(at, &settings.connection_rates) {
            return waits(wait);
        }
        let connection = self.new_connection();
        if !shared.take_slot(connection, &key, target.host.as_deref()) {
            return waits(Wait::Connected);
        }
        if let Err(scope) = shared.connection_unit(&key) {
            shared.give_slot(connection);
            let option = "Cluster_Outbound_Throttle_Connections";
            return waits(Wait::Throttle { option, scope, until: at + RETEST });
        }
        self.use_up(at, &settings.connection_rates, 1);
        let shadowed = shared.shadowed(&key, target.host.as_deref());
        self.note_full_shadows(at, number, &target, shadowed);
        let Some(queue) = self.queue_mut(number) else { return Err((None, None)) };
        queue.connections.insert(connection);
        queue.opening += 1;
        queue.growth.2 += 1;
        queue.last_attempt = Some(at);
        queue.wait = None;
        let keys = self.queue(number).map(|queue| self.keys_of(queue, &target)).unwrap_or_default();
        self.count(&keys, true);
        let plain = self.hosts.is_plain(at, &key.binding, target.address);
        let entry = Connection {
            queue: number,
            target: target.clone(),
            keys,
            phase: Phase::Opening,
            since: at,
            in_flight: Vec::new(),
            leaves: false,
            deliveries: 0,
            recipients: 0,
        };
        self.connections.insert(connection, entry);
        self.actions.push_back(Action::Connect { connection, queue: key, target, plain });
        Ok(())
    }

    /// Notes why a queue waits, and when it is looked at again.
    fn waits(&mut self, now: Now, number: u32, wait: Option<Wait>, key: Option<LimitKey>) {
        let at = now.monotonic;
        let until = match &wait {
            // Messages, an answer of the name service or a configuration bring it back.
            None | Some(Wait::Suspended | Wait::Routing) => None,
            Some(Wait::Connected | Wait::Limit(_)) => Some(at + RETEST),
            Some(
                Wait::NoSuchDomain { until, .. }
                | Wait::Growing { until }
                | Wait::Throttle { until, .. }
                | Wait::NoSource { until }
                | Wait::NoPort { until }
                | Wait::Unreachable { until },
            ) => Some((*until).max(at + Duration::from_millis(1))),
        };
        if let Some(key) = key {
            if key.to == postfleet_throttle::To::Any && key.through == postfleet_throttle::Through::Any {
                self.sweep_soon(now);
            }
            let line = self.blocked.entry(key).or_default();
            if !line.contains(&number) {
                line.push_back(number);
            }
        }
        if let Some(queue) = self.queue_mut(number) {
            // The connections take them when the throttle lets them.
            let throttled = matches!(&queue.wait, Some(Wait::Throttle { until, .. }) if *until > at);
            if !(throttled && wait == Some(Wait::Connected)) {
                queue.wait = wait;
            }
        }
        if let Some(until) = until {
            self.set_alarm(number, until);
        }
    }

    pub(crate) fn throttle(&mut self, rate: &LocalRate) -> &mut Throttle {
        let name: (&'static str, String) = (rate.option, rate.scope.clone());
        let throttle = self.throttles.entry(name).or_insert_with(|| Throttle::new(rate.rate));
        if throttle.rate() != rate.rate {
            throttle.set_rate(rate.rate);
        }
        throttle
    }

    /// The throttle that has no unit for the longest time, when one has none now.
    pub(crate) fn exhausted(&mut self, now: Monotonic, rates: &[LocalRate]) -> Option<(Wait, Monotonic)> {
        let mut longest: Option<(&LocalRate, Monotonic)> = None;
        for rate in rates.iter().filter(|rate| !rate.shadow) {
            let throttle = self.throttle(rate);
            if throttle.free(now) == 0 {
                let until = throttle.next_free(now);
                longest = longest.filter(|(_, longest)| *longest >= until).or(Some((rate, until)));
            }
        }
        let (rate, until) = longest?;
        Some((Wait::Throttle { option: rate.option, scope: rate.scope.clone(), until }, until))
    }

    /// How many units all of these throttles have.
    pub(crate) fn units(&mut self, now: Monotonic, rates: &[LocalRate], wanted: u64) -> u64 {
        let rates = rates.iter().filter(|rate| !rate.shadow);
        rates.fold(wanted, |units, rate| units.min(self.throttle(rate).free(now)))
    }

    /// Takes so many units of each; of a throttle that only watches those that it has.
    pub(crate) fn use_up(&mut self, now: Monotonic, rates: &[LocalRate], units: u64) {
        for rate in rates {
            let throttle = self.throttle(rate);
            if rate.shadow {
                let taken = throttle.take(now, units);
                self.shadowed(now, rate.option, &rate.scope, units.saturating_sub(taken));
            } else {
                throttle.take(now, units);
            }
        }
    }

    /// A connection starts that limits in shadow mode would have held back: those of this node, and these of the fleet.
    fn note_full_shadows(
        &mut self,
        now: Monotonic,
        number: u32,
        target: &Target,
        fleet: Vec<(&'static str, String)>,
    ) {
        let mut full = fleet;
        if let Some(queue) = self.queue(number) {
            self.each_limit(queue, target, |key, limit| {
                if limit.shadow && self.open_for(key) >= limit.most {
                    full.push((limit.option, limit.scope.clone()));
                }
            });
        }
        for (option, scope) in full {
            self.shadowed(now, option, &scope, 1);
        }
    }

    fn shadowed(&mut self, now: Monotonic, option: &'static str, scope: &str, count: u64) {
        if let Some(told) = self.shadows.note(now, option, scope, count) {
            self.actions.push_back(Action::Shadowed(told));
        }
    }

    /// What limits in shadow mode would have held back since the start: option, scope, connections or messages.
    pub fn shadows(&self) -> impl Iterator<Item = (&'static str, &str, u64)> {
        self.shadows.counts()
    }
}
