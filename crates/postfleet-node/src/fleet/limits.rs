//! Rates and connection limits of the fleet, for policy, delivery and consoles.
//!
//! A decision reads and changes memory; only [`Fleet::throttle`] waits for the bus when it may bring what is missing. Who
//! has to wait for time gets a [`Hold`], and whoever wants connections is told when a slot has come
//! ([`Fleet::slot_ready`]).

use super::Fleet;
use crate::clock;
use postfleet_config::Pattern;
use postfleet_replica::{ForgetError, Of, Replica};
use postfleet_throttle::{
    Basis, Epsilon, LimitKey, Limits, Open, Path, Rate, Refusal, SharedThrottles, Slots, ThrottleError,
    ThrottleId, Through, Ticket, To, decide,
};
use postfleet_types::Monotonic;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

/// The object of the throttles that policy creates.
pub(crate) const NAMED: &str = "shared_named_throttles";
/// The object of connection limits.
pub(crate) const SLOTS: &str = "outbound_slots";

/// How long a decision waits for the bus, which takes some milliseconds.
const SOON: Duration = Duration::from_millis(250);
/// How often a connection that is kept open is asked whether it has to end.
const BOUNDARY: Duration = Duration::from_secs(1);

/// What the configuration says about throttles of the fleet.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitSettings {
    /// Throttles of `OBTM` and `OBTC`: object, name, rate.
    pub(crate) rates: Vec<(&'static str, String, Rate)>,
    /// Those of them that only watch, by `Shadow_Limits`.
    pub(crate) shadowed: BTreeSet<(&'static str, String)>,
    /// Of each object, the throttles that only watch.
    pub(crate) shadow: BTreeMap<String, Vec<Pattern>>,
}

/// Why a throttle was not used. The caller is at fault; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitError {
    /// No such object is configured.
    #[error("{0} is not shared here; add Replicate \"{0}\" {{}} to the cluster stanza")]
    NoObject(String),
    #[error(transparent)]
    Throttle(#[from] ThrottleError),
}

/// The limit that no slot is free of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotRefusal {
    pub(crate) key: LimitKey,
    pub(crate) option: &'static str,
    pub(crate) scope: String,
    pub(crate) count: u64,
    pub(crate) in_force: u64,
}

/// What this node keeps beside the tables.
#[derive(Default)]
pub(super) struct Waiters {
    settings: LimitSettings,
    /// Who waits for units, by object and ticket.
    holds: BTreeMap<(String, Ticket), oneshot::Sender<()>>,
    /// Connections that a console holds open for trying a limit, by key.
    trials: BTreeMap<String, Trial>,
    next_boundary: Option<Monotonic>,
    /// This node had just joined when it was last looked at.
    joining: bool,
}

/// Slots that are used by nothing but a console's wish.
struct Trial {
    path: Path,
    open: u64,
    wanted: u64,
}

/// State of the limits that is not the replica's.
#[derive(Default)]
pub(super) struct Side {
    /// Locked behind the replica, never before it.
    waiters: Mutex<Waiters>,
    /// Until when the shared connection's task sleeps.
    sleeps_until: AtomicU64,
    /// A slot has come for a path that delivery wants.
    ready: Notify,
    /// The bus has brought something.
    moved: Notify,
}

impl Side {
    pub(super) fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for one unit of a shared throttle. Dropped before it has come, it wants none.
pub(crate) struct Hold {
    fleet: Arc<Fleet>,
    object: String,
    ticket: Option<Ticket>,
    granted: oneshot::Receiver<()>,
}

impl Hold {
    /// Returns when the unit has come and counts as used. `false`: its object is not shared any more, and none comes.
    pub(crate) async fn granted(mut self) -> bool {
        let granted = (&mut self.granted).await.is_ok();
        self.ticket = None;
        granted
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut replica = self.fleet.locked();
        self.fleet.side.waiters().holds.remove(&(self.object.clone(), ticket));
        if let Some(table) = replica.throttles_mut(&self.object) {
            table.cancel(clock::monotonic(), ticket);
        }
        self.fleet.after(&mut replica);
    }
}

/// What a console sees of a limit that it tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrialState {
    pub(crate) open: u64,
    pub(crate) wanted: u64,
}

impl Fleet {
    /// Uses a table, and sees to what follows from it.
    fn with_table<T>(
        &self,
        object: &str,
        act: impl FnOnce(Monotonic, &mut SharedThrottles) -> T,
    ) -> Result<T, LimitError> {
        let mut replica = self.locked();
        let table = replica.throttles_mut(object).ok_or_else(|| LimitError::NoObject(object.to_owned()))?;
        let now = clock::monotonic();
        let result = act(now, table);
        let wake = table.wants_to_send() || self.sleeps_beyond(table.poll_deadline());
        let granted = self.hand_out(&mut replica, object);
        drop(replica);
        if wake || granted {
            self.changed.notify_one();
        }
        Ok(result)
    }

    /// As [`Fleet::with_table`], for a throttle that has to exist.
    fn with_throttle<T>(
        &self,
        object: &str,
        name: &str,
        act: impl FnOnce(Monotonic, &mut SharedThrottles, ThrottleId) -> Result<T, ThrottleError>,
    ) -> Result<T, LimitError> {
        let result = self.with_table(object, |now, table| match table.lookup(name) {
            Some(id) => act(now, table, id),
            None => Err(ThrottleError::Unknown(name.to_owned())),
        })?;
        Ok(result?)
    }

    /// Whether throttles that policy names are shared.
    pub(crate) fn has_named_throttles(&self) -> bool {
        self.replica(|replica| replica.throttles(NAMED).is_some())
    }

    /// Adds a named throttle for the whole fleet; one that lives already is left as it is.
    pub(crate) fn create_throttle(&self, name: &str, rate: Rate, epsilon: Epsilon) -> Result<(), LimitError> {
        let shadow = self.is_shadow(NAMED, name);
        self.with_table(NAMED, |now, table| {
            let id = table.create(now, name, rate, epsilon)?;
            if shadow {
                table.set_shadow(now, id, true)?;
            }
            Ok::<(), ThrottleError>(())
        })??;
        Ok(())
    }

    /// Records units of a named throttle now; never refuses.
    pub(crate) fn inc_throttle(&self, name: &str, units: u64) -> Result<(), LimitError> {
        self.with_throttle(NAMED, name, |now, table, id| (0..units).try_for_each(|_| table.inc(now, id)))
    }

    /// Whether a named throttle exceeds its quota.
    pub(crate) fn check_throttle(&self, name: &str) -> Result<bool, LimitError> {
        self.with_throttle(NAMED, name, |_, table, id| table.check(id))
    }

    /// Uses up to so many units of a throttle, and says how many. 0 means: not now.
    ///
    /// It waits for the bus and not for time: what nobody has comes with the claim of this node, some milliseconds later.
    /// What is refused is wanted here for a moment, so that units come to where they are asked for.
    pub(crate) async fn throttle(&self, object: &str, name: &str, units: u64) -> Result<u64, LimitError> {
        let patience = Instant::now() + SOON;
        let mut taken =
            self.with_throttle(object, name, |now, table, id| table.take_or_wish(now, id, units))?;
        while taken < units {
            let mut moved = pin!(self.side.moved.notified());
            // From here on nothing that moves is missed.
            moved.as_mut().enable();
            let (more, may_come) = self.with_throttle(object, name, |now, table, id| {
                Ok((table.take(now, &[id], units - taken)?, table.may_come(id)?))
            })?;
            taken += more;
            if taken < units && (!may_come || timeout_at(patience, moved).await.is_err()) {
                break;
            }
        }
        Ok(taken)
    }

    /// Waits for one unit of a throttle, as a tarpit does.
    pub(crate) fn hold(self: &Arc<Self>, object: &str, name: &str) -> Result<Hold, LimitError> {
        let (sender, granted) = oneshot::channel();
        let ticket = self.with_throttle(object, name, |now, table, id| {
            let ticket = table.request(now, &[id], 1)?;
            self.side.waiters().holds.insert((object.to_owned(), ticket), sender);
            Ok(ticket)
        })?;
        Ok(Hold { fleet: Arc::clone(self), object: object.to_owned(), ticket: Some(ticket), granted })
    }

    /// What stands in the way of a connection that these limits govern, as `say` puts it. Where nothing does, take the slot
    /// with [`Fleet::open_slot`].
    fn refused<T>(&self, limits: &Limits, say: impl FnOnce(Refusal<'_>) -> T) -> Result<(), T> {
        let replica = self.locked();
        let Some(slots) = replica.slots(SLOTS) else { return Ok(()) };
        let decision = decide(clock::monotonic(), limits, Basis::Slots, slots, |_| Open::default());
        decision.refusal.map_or(Ok(()), |refusal| Err(say(refusal)))
    }

    /// Whether such a connection may start now.
    pub(crate) fn slot_room(&self, limits: &Limits) -> Result<(), Box<SlotRefusal>> {
        self.refused(limits, |refusal| {
            Box::new(SlotRefusal {
                key: refusal.limit.key.clone(),
                option: refusal.limit.option,
                scope: refusal.limit.scope.clone(),
                count: refusal.count,
                in_force: refusal.in_force,
            })
        })
    }

    /// Limits that only watch, of which one more connection is one too many by what all nodes have open: option and scope.
    /// Where no object counts what a limit is about, it counts nothing.
    pub(crate) fn shadowed(&self, limits: &Limits) -> Vec<(&'static str, String)> {
        if !limits.has_shadows() {
            return Vec::new();
        }
        let replica = self.locked();
        let Some(slots) = replica.slots(SLOTS) else { return Vec::new() };
        let open = |key: &LimitKey| open_of(&replica, key);
        let decision = decide(clock::monotonic(), limits, Basis::Slots, slots, open);
        decision.shadowed.into_iter().map(|limit| (limit.option, limit.scope.clone())).collect()
    }

    /// The same, in words that name who holds the slots.
    #[cfg(test)]
    pub(crate) fn may_connect(&self, limits: &Limits) -> Result<(), String> {
        if !limits.path().is_free()
            && self.replica(|replica| replica.slots(SLOTS).is_some() && replica.waiting())
        {
            return Err(String::from("this node has just joined and waits for what the others have open"));
        }
        self.refused(limits, |refusal| {
            let key = &refusal.limit.key;
            if refusal.asked {
                return format!("no slot of {key} has come yet");
            }
            let holders = refusal.holders.iter().map(|(name, slots)| format!("{} {slots}", name.node()));
            let holders = holders.collect::<Vec<_>>().join(", ");
            format!("{key}: {} of {} ({holders})", refusal.count, refusal.in_force)
        })
    }

    /// Uses up to so many units that this node owns, and says how many. More have to be waited for: [`Fleet::hold`].
    pub(crate) fn take_units(&self, object: &str, name: &str, units: u64) -> Result<u64, LimitError> {
        self.with_throttle(object, name, |now, table, id| table.take(now, &[id], units))
    }

    /// Takes back units that were used a moment ago, and for which nothing was started.
    pub(crate) fn put_back(&self, object: &str, name: &str, units: u64) -> Result<(), LimitError> {
        self.with_throttle(object, name, |now, table, id| table.put_back(now, &[id], units))
    }

    fn with_slots<T>(&self, act: impl FnOnce(Monotonic, &mut Slots) -> T) -> Option<T> {
        let mut replica = self.locked();
        let result = act(clock::monotonic(), replica.slots_mut(SLOTS)?);
        self.after(&mut replica);
        Some(result)
    }

    /// Takes a slot for a connection whose connect starts now. `false`: not now; say [`Fleet::want_slots`].
    pub(crate) fn open_slot(&self, path: &Path) -> bool {
        let mut replica = self.locked();
        // Whoever has just joined does not see the whole fleet yet.
        if replica.waiting() && !path.is_free() {
            return false;
        }
        let Some(slots) = replica.slots_mut(SLOTS) else { return true };
        let opened = slots.open(clock::monotonic(), path);
        self.after(&mut replica);
        opened
    }

    /// How many connections of a path are wanted beyond those that are open.
    pub(crate) fn want_slots(&self, path: &Path, connections: u64) {
        self.with_slots(|now, slots| slots.want(now, path, connections));
    }

    /// Whether a connection whose transaction has ended has to be ended. Ask once a second where one is kept open.
    pub(crate) fn slot_at_boundary(&self, path: &Path) -> bool {
        self.with_slots(|now, slots| slots.at_boundary(now, path)).unwrap_or(false)
    }

    /// A connection counts for other limits from now on, whether they have room or not.
    pub(crate) fn move_slot(&self, from: &Path, to: &Path) {
        self.with_slots(|now, slots| slots.moved(now, from, to));
    }

    /// The connection has ended.
    pub(crate) fn close_slot(&self, path: &Path) {
        self.with_slots(|now, slots| slots.closed(now, path));
    }

    /// Returns when a slot has come that is wanted.
    pub(crate) async fn slot_ready(&self) {
        self.side.ready.notified().await;
    }

    /// A console opens connections that are none, under a limit: as many as it gets now, and the rest when slots come.
    pub(crate) fn open_trial(
        &self,
        key: &str,
        limit: u64,
        connections: u64,
    ) -> Result<TrialState, LimitError> {
        let path = Path::new([(key, limit)]).map_err(|_| ThrottleError::BadName)?;
        let mut replica = self.locked();
        if replica.slots(SLOTS).is_none() {
            return Err(LimitError::NoObject(SLOTS.to_owned()));
        }
        {
            let mut waiters = self.side.waiters();
            let trial = waiters.trials.entry(key.to_owned()).or_insert_with(|| Trial {
                path: path.clone(),
                open: 0,
                wanted: 0,
            });
            trial.path = path;
            trial.wanted = trial.wanted.saturating_add(connections);
            if let Some(slots) = replica.slots_mut(SLOTS) {
                slots.want(clock::monotonic(), &trial.path, trial.wanted);
            }
        }
        self.after(&mut replica);
        Ok(self.trial(key))
    }

    /// It closes some of them: those that are still wanted first.
    pub(crate) fn close_trial(&self, key: &str, connections: u64) -> Result<TrialState, LimitError> {
        let mut replica = self.locked();
        let Some(slots) = replica.slots_mut(SLOTS) else {
            return Err(LimitError::NoObject(SLOTS.to_owned()));
        };
        {
            let mut waiters = self.side.waiters();
            if let Some(trial) = waiters.trials.get_mut(key) {
                let now = clock::monotonic();
                let given_up = connections.min(trial.wanted);
                trial.wanted -= given_up;
                slots.want(now, &trial.path, trial.wanted);
                for _ in 0..(connections - given_up).min(trial.open) {
                    trial.open -= 1;
                    slots.closed(now, &trial.path);
                }
                if trial.open + trial.wanted == 0 {
                    waiters.trials.remove(key);
                }
            }
        }
        self.after(&mut replica);
        Ok(self.trial(key))
    }

    fn trial(&self, key: &str) -> TrialState {
        let waiters = self.side.waiters();
        let trial = waiters.trials.get(key);
        TrialState {
            open: trial.map_or(0, |trial| trial.open),
            wanted: trial.map_or(0, |trial| trial.wanted),
        }
    }

    /// An operator says that a node is gone for good.
    pub(crate) fn forget_node(&self, node: &str) -> Result<(), ForgetError> {
        let mut replica = self.locked();
        replica.forget_node(clock::monotonic(), node)?;
        self.after(&mut replica);
        Ok(())
    }

    fn is_shadow(&self, object: &str, name: &str) -> bool {
        let waiters = self.side.waiters();
        waiters.settings.shadow.get(object).is_some_and(|all| all.iter().any(|one| one.is_match(name)))
    }

    /// Takes what a configuration says about throttles.
    pub(super) fn adopt_limits(&self, replica: &mut Replica, settings: LimitSettings) {
        let now = clock::monotonic();
        let before = core::mem::replace(&mut self.side.waiters().settings, settings.clone());
        // Nothing comes any more of objects that are gone.
        self.side.waiters().holds.retain(|(object, _), _| replica.throttles(object).is_some());
        for (object, name, _) in &before.rates {
            let kept = settings.rates.iter().any(|(other, named, _)| other == object && named == name);
            if !kept && let Some(table) = replica.throttles_mut(object) {
                table.unconfigure(now, name);
            }
        }
        for (object, name, rate) in &settings.rates {
            if let Some(table) = replica.throttles_mut(object) {
                // Names come from the configuration, which has checked their length.
                drop(table.configure(now, name, *rate));
            }
        }
        for row in replica.list() {
            let Some(table) = replica.throttles_mut(&row.name) else { continue };
            let patterns = settings.shadow.get(&row.name).map(Vec::as_slice).unwrap_or_default();
            let names: Vec<(String, bool)> =
                table.rows().map(|throttle| (throttle.name.to_owned(), throttle.shadow)).collect();
            let configured = settings.rates.iter().filter(|(object, ..)| *object == row.name);
            let names = names.into_iter().chain(configured.map(|(_, name, _)| (name.clone(), false)));
            for (name, was) in names.collect::<Vec<_>>() {
                let named =
                    settings.shadowed.iter().any(|(object, other)| *object == row.name && *other == name);
                let shadow = named || patterns.iter().any(|pattern| pattern.is_match(&name));
                if shadow != was
                    && let Some(id) = table.lookup(&name)
                {
                    drop(table.set_shadow(now, id, shadow));
                }
            }
        }
    }

    /// What follows from any change of the tables: grants reach those who wait, trials open and end, and the
    /// connection's task learns that there is something to send.
    pub(super) fn after(&self, replica: &mut Replica) {
        self.settle_limits(replica, clock::monotonic());
        self.changed.notify_one();
    }

    /// Grants and slots that have come. Called in every turn.
    pub(super) fn settle_limits(&self, replica: &mut Replica, now: Monotonic) {
        for object in [NAMED, "OBTM", "OBTC"] {
            self.hand_out(replica, object);
        }
        let joining = replica.waiting();
        self.side.moved.notify_waiters();
        let Some(slots) = replica.slots_mut(SLOTS) else { return };
        let mut waiters = self.side.waiters();
        let boundary = waiters.next_boundary.is_some_and(|due| due <= now);
        for trial in waiters.trials.values_mut() {
            while !joining && trial.wanted > 0 && slots.open(now, &trial.path) {
                trial.open += 1;
                trial.wanted -= 1;
            }
            // Nothing is under way on these connections, so each look is one between two transactions.
            let mut left = if boundary { trial.open } else { 0 };
            while left > 0 && slots.at_boundary(now, &trial.path) {
                slots.closed(now, &trial.path);
                left -= 1;
                trial.open -= 1;
                trial.wanted += 1;
                slots.want(now, &trial.path, trial.wanted);
            }
        }
        let any = waiters.trials.values().any(|trial| trial.open > 0);
        if !any {
            waiters.next_boundary = None;
        } else if boundary || waiters.next_boundary.is_none() {
            waiters.next_boundary = Some(now + BOUNDARY);
        }
        // Whoever was refused meanwhile asks again.
        let mut wanted = core::mem::replace(&mut waiters.joining, joining) && !joining;
        while !joining && let Some(path) = slots.poll_ready() {
            wanted |= !waiters.trials.values().any(|trial| trial.path == path);
        }
        if wanted {
            self.side.ready.notify_waiters();
        }
    }

    /// Hands grants to those who wait. `true` when there were any.
    fn hand_out(&self, replica: &mut Replica, object: &str) -> bool {
        let Some(table) = replica.throttles_mut(object) else { return false };
        let mut any = false;
        while let Some(granted) = table.poll_granted() {
            any = true;
            if granted.last
                && let Some(hold) = self.side.waiters().holds.remove(&(object.to_owned(), granted.ticket))
            {
                // Whoever does not wait any more has cancelled, or is about to and loses the unit.
                let _gone = hold.send(());
            }
        }
        any
    }

    /// When the trials have to be looked at.
    pub(super) fn limits_deadline(&self) -> Option<Monotonic> {
        self.side.waiters().next_boundary
    }

    /// The task of the shared connection sleeps until then.
    pub(super) fn sleep_until(&self, deadline: Option<Monotonic>) {
        let until = deadline.map_or(u64::MAX, Monotonic::as_micros);
        self.side.sleeps_until.store(until, Ordering::Relaxed);
    }

    fn sleeps_beyond(&self, deadline: Option<Monotonic>) -> bool {
        deadline.is_some_and(|due| due.as_micros() < self.side.sleeps_until.load(Ordering::Relaxed))
    }
}
/// What is open for a key, as far as the objects that count it are there.
fn open_of(replica: &Replica, key: &LimitKey) -> Open {
    let count = |object: &str, name: &str| {
        let object = replica.object(object);
        let of = |of| object.as_ref().ok().and_then(|object| object.count(of, name).ok()).unwrap_or(0);
        (of(Of::Global), of(Of::Own))
    };
    let total = |object: &str| {
        let object = replica.object(object);
        let of = |of| object.as_ref().ok().and_then(|object| object.total(of).ok()).unwrap_or(0);
        (of(Of::Global), of(Of::Own))
    };
    let (all, own) = match (&key.through, &key.to) {
        (Through::Any, To::Any) => total("outbound_cidr"),
        (Through::Binding(binding), To::Any) => total(&format!("outbound_cidr/{binding}")),
        (Through::Any, To::Domain(domain)) => count("outbound_domains", domain),
        (Through::Any, To::Host(host)) => count("outbound_hosts", host),
        (Through::Binding(binding), To::Host(host)) => count(&format!("outbound_hosts/{binding}"), host),
        (Through::Binding(_), To::Domain(_)) | (Through::Group(_), _) => {
            count("outbound_binding_domains", &key.to_string())
        }
    };
    Open { all, own }
}
