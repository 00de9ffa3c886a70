//! All queues together: what comes in, and the order in which things are looked at.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use postfleet_spool::{BindingName, MessageId, QueueKey};
use postfleet_throttle::{LimitKey, Shadows, Throttle, Through, To};
use postfleet_types::{Monotonic, Random, WallTime};

use crate::connection::{Connection, ConnectionId};
use crate::hosts::Hosts;
use crate::queue::{Entry, Queue, RouteHost, Stage};
use crate::report::{Action, Report, Tried, Verdict};
use crate::retry::After;
use crate::route::{Judged, Routed};
use crate::settings::{Settings, Shared};
use crate::wait::Wait;

/// A limit that has no room is looked at again after this, whatever happens.
pub(crate) const RETEST: Duration = Duration::from_secs(1);
/// `Reserve_Maintenance_Interval`.
const SWEEP: Duration = Duration::from_secs(15);
/// Queues that are looked at again when a connection ends that counted for what they wait for.
const WOKEN_MAX: usize = 8;
/// Queues of no messages that keep their counts and routes.
const UNUSED_QUEUES_MAX: usize = 10_000;

/// The present, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For all that is timed.
    pub monotonic: Monotonic,
    /// For the age of messages.
    pub wall: WallTime,
}

impl Now {
    pub(crate) fn age(self, created: u32) -> Duration {
        Duration::from_secs(self.wall.unix_seconds().saturating_sub(u64::from(created)))
    }

    /// The whole second of the monotonic clock.
    pub(crate) fn second(self) -> u32 {
        second_of(self.monotonic)
    }
}

pub(crate) fn second_of(at: Monotonic) -> u32 {
    u32::try_from(at.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

pub(crate) fn at_second(second: u32) -> Monotonic {
    Monotonic::from_micros(u64::from(second) * 1_000_000)
}

/// A message that is durable in the spool.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The copy.
    pub message: MessageId,
    /// The transaction it came in with.
    pub batch: MessageId,
    /// The queue it belongs to.
    pub queue: &'a QueueKey,
    /// When it was accepted.
    pub created: WallTime,
    /// Attempts that failed before, as far as that is known.
    pub failures: u32,
    /// How long from now it waits: zero for new mail.
    pub due_in: Duration,
}

/// What a binding did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that came.
    pub receptions: u64,
    /// Messages delivered.
    pub deliveries: u64,
    /// Messages that failed for good.
    pub failures: u64,
}

fn tally<'a>(tallies: &'a mut BTreeMap<BindingName, Tally>, binding: &BindingName) -> &'a mut Tally {
    tallies.entry(binding.clone()).or_default()
}

/// Connections that count for one limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Open {
    /// All.
    pub(crate) count: u64,
    /// Of those, how many were told to end and have not.
    leaving: u64,
}

impl Open {
    pub(crate) const fn staying(&self) -> u64 {
        self.count.saturating_sub(self.leaving)
    }
}

/// All outbound queues of a node. The crate's documentation has the driver's duties.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) settings: Box<dyn Settings>,
    pub(crate) messages: BTreeMap<MessageId, Entry>,
    /// The beginning of the last reply of messages that failed before.
    pub(crate) replies: BTreeMap<MessageId, Arc<str>>,
    pub(crate) by_key: BTreeMap<Arc<QueueKey>, u32>,
    pub(crate) queues: Vec<Option<Queue>>,
    unused: usize,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    next_connection: u64,
    /// Connections by what limits count.
    pub(crate) open: BTreeMap<LimitKey, Open>,
    pub(crate) throttles: BTreeMap<(&'static str, String), Throttle>,
    pub(crate) shadows: Shadows,
    pub(crate) hosts: Hosts,
    /// What bindings did since the start.
    pub(crate) tallies: BTreeMap<BindingName, Tally>,
    /// Queues to be looked at, one connection each in turn.
    line: VecDeque<u32>,
    /// Queues that wait for room, in the order in which they began to.
    pub(crate) blocked: BTreeMap<LimitKey, VecDeque<u32>>,
    /// When queues are to be looked at again.
    alarms: BTreeSet<(Monotonic, u32)>,
    next_sweep: Option<Monotonic>,
    /// Queues that one connection may be opened for beyond the node's limit.
    pub(crate) reserve: BTreeSet<u32>,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) random: Random,
}

impl Scheduler {
    /// Without messages. Equal exchangers are chosen by the seed.
    #[must_use]
    pub fn new(settings: Box<dyn Settings>, seed: u64) -> Self {
        Self {
            settings,
            messages: BTreeMap::new(),
            replies: BTreeMap::new(),
            by_key: BTreeMap::new(),
            queues: Vec::new(),
            unused: 0,
            connections: BTreeMap::new(),
            next_connection: 0,
            open: BTreeMap::new(),
            throttles: BTreeMap::new(),
            shadows: Shadows::default(),
            hosts: Hosts::default(),
            tallies: BTreeMap::new(),
            line: VecDeque::new(),
            blocked: BTreeMap::new(),
            alarms: BTreeSet::new(),
            next_sweep: None,
            reserve: BTreeSet::new(),
            actions: VecDeque::new(),
            random: Random::seeded(seed),
        }
    }

    /// Takes a message. `false` when it is here already.
    pub fn arrived(&mut self, now: Now, arrival: &Arrival<'_>) -> bool {
        if self.messages.contains_key(&arrival.message) {
            return false;
        }
        let home = self.settings.home(arrival.queue);
        let number = self.queue_number(home.as_ref().unwrap_or(arrival.queue));
        let due = second_of(now.monotonic + arrival.due_in);
        let stage = if due <= now.second() { Stage::Active } else { Stage::Delayed };
        let entry = Entry {
            batch: arrival.batch,
            created: u32::try_from(arrival.created.unix_seconds()).unwrap_or(u32::MAX),
            queue: number,
            due,
            failures: u16::try_from(arrival.failures).unwrap_or(u16::MAX),
            stage,
        };
        self.messages.insert(arrival.message, entry);
        if let Some(queue) = self.queue_mut(number) {
            queue.receptions += 1;
            match stage {
                Stage::Active => queue.active.insert((due, arrival.message)),
                Stage::Delayed | Stage::Sending => queue.delayed.insert((due, arrival.message)),
            };
            let key = Arc::clone(&queue.key);
            tally(&mut self.tallies, &key.binding).receptions += 1;
        }
        self.look_at(number);
        self.wake(number);
        true
    }

    /// Takes another configuration. Open connections keep running; what counts for limits is counted anew. Says how many
    /// messages went to other queues, because their binding is gone or in another group.
    pub fn configure(&mut self, now: Now, settings: Box<dyn Settings>) -> usize {
        self.settings = settings;
        let keys: Vec<(Arc<QueueKey>, u32)> =
            self.by_key.iter().map(|(key, number)| (Arc::clone(key), *number)).collect();
        for (key, number) in keys {
            let settings = self.settings.queue(&key);
            let second = u32::try_from(now.wall.unix_seconds()).unwrap_or(u32::MAX);
            let Some(queue) = self.queues.get_mut(number as usize).and_then(Option::as_mut) else { continue };
            if queue.settings.suspended && !settings.suspended {
                queue.resumed = Some(second);
            }
            queue.settings = settings;
            // Where mail goes may be configured otherwise now, and otherwise than somebody is just finding out.
            queue.route.until = None;
            queue.held = None;
            queue.route.outdated = queue.route.asked;
            for host in &mut queue.route.hosts {
                host.settings = match &host.host.name {
                    Some(name) => self.settings.host(&key, name),
                    None => Arc::default(),
                };
            }
        }
        self.recount();
        let moved = self.move_home();
        let all: Vec<u32> = self.by_key.values().copied().collect();
        for number in all {
            self.look_at(number);
            self.wake_all(number);
        }
        moved
    }

    /// Where the mail of a queue goes, after [`Action::Resolve`].
    pub fn routed(&mut self, now: Now, queue: &QueueKey, routed: Routed) {
        let Some(number) = self.by_key.get(queue).copied() else { return };
        let Some(found) = self.queue_mut(number) else { return };
        found.route.asked = false;
        let outdated = core::mem::take(&mut found.route.outdated);
        let purge_after = found.settings.lookup_failures_to_purge;
        match found.route.lookups.judge(now.monotonic, routed, purge_after) {
            Judged::Hosts(hosts, ttl) => {
                let key = Arc::clone(&found.key);
                let hosts = hosts.into_iter().map(|host| {
                    let settings = match &host.name {
                        Some(name) => self.settings.host(&key, name),
                        None => Arc::default(),
                    };
                    RouteHost { host, settings }
                });
                let mut hosts: Vec<RouteHost> = hosts.collect();
                hosts.sort_by_key(|host| host.host.preference);
                if let Some(queue) = self.queue_mut(number) {
                    queue.route.hosts = hosts;
                    // Of a configuration that is gone: good enough until the next answer.
                    queue.route.until = (!outdated).then(|| now.monotonic + ttl.max(RETEST));
                }
            }
            // That is what a configuration that is gone came to: asked again, nothing fails for it.
            Judged::Fail(_) | Judged::Delay(_) | Judged::Again { .. } if outdated => found.route.until = None,
            Judged::Fail(reply) => {
                found.route.hosts.clear();
                found.route.until = None;
                self.fail_waiting(number, &Arc::from(reply), false);
            }
            Judged::Delay(reply) => {
                found.route.hosts.clear();
                found.route.until = None;
                self.delay_waiting(now, number, reply, None);
            }
            Judged::Again { lookups, until } => {
                found.route.hosts.clear();
                found.route.until = Some(until);
                found.wait = Some(Wait::NoSuchDomain { lookups, until });
                self.set_alarm(number, until);
            }
        }
        self.look_at(number);
    }

    /// Something to do, or none. To be called again after it was done.
    pub fn poll(&mut self, now: Now, shared: &mut dyn Shared) -> Option<Action> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            self.advance(now);
            let number = self.line.pop_front()?;
            let Some(queue) = self.queue_mut(number) else { continue };
            queue.listed = false;
            if self.try_open(now, number, shared) {
                // The others first.
                self.look_at(number);
            } else {
                self.forget_if_unused(number);
            }
        }
    }

    /// When [`poll`](Self::poll) is to be called at the latest. Any other call may change the answer.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Monotonic> {
        if !self.actions.is_empty() || !self.line.is_empty() {
            return Some(Monotonic::ZERO);
        }
        self.alarms.first().map(|(at, _)| *at).into_iter().chain(self.next_sweep).min()
    }

    /// Does what time has brought.
    fn advance(&mut self, now: Now) {
        while let Some((at, number)) = self.alarms.first().copied()
            && at <= now.monotonic
        {
            self.alarms.remove(&(at, number));
            let mut due = BTreeSet::new();
            if let Some(queue) = self.queue_mut(number) {
                queue.retest = None;
                let next = now.second().checked_add(1).map(|second| (second, MessageId::from_parts(0, 0, 0)));
                let later = next.map(|next| queue.delayed.split_off(&next)).unwrap_or_default();
                due = core::mem::replace(&mut queue.delayed, later);
                queue.active.extend(due.iter().copied());
            }
            for (_, message) in &due {
                if let Some(entry) = self.messages.get_mut(message) {
                    entry.stage = Stage::Active;
                }
            }
            self.await_due(number);
            self.look_at(number);
            if !due.is_empty() {
                self.wake(number);
            }
        }
        if self.next_sweep.is_some_and(|at| at <= now.monotonic) {
            self.next_sweep = None;
            let everything = LimitKey { through: Through::Any, to: To::Any };
            let waiting: Vec<u32> = self.blocked.get(&everything).into_iter().flatten().copied().collect();
            for number in waiting {
                if self.queue(number).is_some_and(|queue| queue.connections.is_empty()) {
                    self.reserve.insert(number);
                    self.look_at(number);
                }
            }
        }
    }

    pub(crate) fn queue(&self, number: u32) -> Option<&Queue> {
        self.queues.get(number as usize)?.as_ref()
    }

    pub(crate) fn queue_mut(&mut self, number: u32) -> Option<&mut Queue> {
        self.queues.get_mut(number as usize)?.as_mut()
    }

    /// The number of a queue, which is made when it is not there.
    pub(crate) fn queue_number(&mut self, key: &QueueKey) -> u32 {
        if let Some(number) = self.by_key.get(key) {
            return *number;
        }
        let key = Arc::new(key.clone());
        let queue = Queue::new(Arc::clone(&key), self.settings.queue(&key));
        let free = if self.unused > 0 { self.queues.iter().position(Option::is_none) } else { None };
        let number = match free {
            Some(number) => {
                self.unused -= 1;
                number
            }
            None => {
                self.queues.push(None);
                self.queues.len() - 1
            }
        };
        if let Some(place) = self.queues.get_mut(number) {
            *place = Some(queue);
        }
        // Four billion queues do not fit into memory.
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.by_key.insert(key, number);
        number
    }

    /// A queue without messages keeps its counts and its route, until there are many of them or its binding is gone.
    fn forget_if_unused(&mut self, number: u32) {
        let gone = self.queue(number).is_some_and(|queue| queue.home.is_some());
        if !gone && self.by_key.len() <= UNUSED_QUEUES_MAX {
            return;
        }
        let Some(queue) = self.queue(number).filter(|queue| queue.is_unused() && !queue.route.asked) else {
            return;
        };
        let (key, retest) = (Arc::clone(&queue.key), queue.retest);
        if let Some(at) = retest {
            self.alarms.remove(&(at, number));
        }
        self.by_key.remove(&key);
        self.reserve.remove(&number);
        if let Some(place) = self.queues.get_mut(number as usize) {
            *place = None;
            self.unused += 1;
        }
    }

    /// Puts a queue into the line.
    pub(crate) fn look_at(&mut self, number: u32) {
        if let Some(queue) = self.queue_mut(number)
            && !queue.listed
        {
            queue.listed = true;
            self.line.push_back(number);
        }
    }

    /// Wakes one connection that waits for a message.
    pub(crate) fn wake(&mut self, number: u32) {
        let idle = self.queue_mut(number).and_then(|queue| queue.idle.pop_first());
        if let Some(connection) = idle {
            self.actions.push_back(Action::Wake(connection));
        }
    }

    /// Wakes them all.
    pub(crate) fn wake_all(&mut self, number: u32) {
        let idle = self.queue_mut(number).map(|queue| core::mem::take(&mut queue.idle)).unwrap_or_default();
        self.actions.extend(idle.into_iter().map(Action::Wake));
    }

    /// A queue is to be looked at no later than then.
    pub(crate) fn set_alarm(&mut self, number: u32, at: Monotonic) {
        let Some(queue) = self.queue_mut(number) else { return };
        if queue.retest.is_some_and(|before| before <= at) {
            return;
        }
        let before = queue.retest.replace(at);
        if let Some(before) = before {
            self.alarms.remove(&(before, number));
        }
        self.alarms.insert((at, number));
    }

    /// The first message of the delayed list is to be moved when it is due.
    pub(crate) fn await_due(&mut self, number: u32) {
        let first =
            self.queue(number).and_then(|queue| queue.delayed.first()).map(|(due, _)| at_second(*due));
        if let Some(at) = first {
            self.set_alarm(number, at);
        }
    }

    pub(crate) fn sweep_soon(&mut self, now: Now) {
        self.next_sweep.get_or_insert(now.monotonic + SWEEP);
    }

    pub(crate) fn new_connection(&mut self) -> ConnectionId {
        self.next_connection += 1;
        ConnectionId(self.next_connection)
    }

    /// One connection more, or less, on all that limits count.
    pub(crate) fn count(&mut self, keys: &[LimitKey], more: bool) {
        for key in keys {
            if more {
                self.open.entry(key.clone()).or_default().count += 1;
                continue;
            }
            if let Some(open) = self.open.get_mut(key) {
                open.count = open.count.saturating_sub(1);
                if open.count == 0 {
                    self.open.remove(key);
                }
            }
            for _ in 0..WOKEN_MAX {
                let Some(number) = self.blocked.get_mut(key).and_then(VecDeque::pop_front) else { break };
                self.look_at(number);
            }
            if self.blocked.get(key).is_some_and(VecDeque::is_empty) {
                self.blocked.remove(key);
            }
        }
    }

    pub(crate) fn count_leaving(&mut self, keys: &[LimitKey], more: bool) {
        for key in keys {
            if let Some(open) = self.open.get_mut(key) {
                open.leaving = if more { open.leaving + 1 } else { open.leaving.saturating_sub(1) };
            }
        }
    }

    /// How many connections count for a limit.
    pub(crate) fn open_for(&self, key: &LimitKey) -> u64 {
        self.open.get(key).map_or(0, |open| open.count)
    }

    /// Counts all open connections anew, for limits that may be others now.
    fn recount(&mut self) {
        self.open.clear();
        self.blocked.clear();
        let mut counted: Vec<(ConnectionId, Vec<LimitKey>)> = Vec::new();
        for (id, connection) in &self.connections {
            if let Some(queue) = self.queue(connection.queue) {
                counted.push((*id, self.keys_of(queue, &connection.target)));
            }
        }
        for (id, keys) in counted {
            self.count(&keys, true);
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            connection.keys.clone_from(&keys);
            if connection.leaves {
                self.count_leaving(&keys, true);
            }
        }
    }

    /// Takes a message out of the lists and forgets it.
    pub(crate) fn forget(&mut self, message: MessageId) -> Option<Entry> {
        let entry = self.messages.remove(&message)?;
        self.replies.remove(&message);
        if let Some(queue) = self.queue_mut(entry.queue) {
            match entry.stage {
                Stage::Active => _ = queue.active.remove(&(entry.due, message)),
                Stage::Delayed => _ = queue.delayed.remove(&(entry.due, message)),
                Stage::Sending => queue.sending = queue.sending.saturating_sub(1),
            }
        }
        Some(entry)
    }

    /// Moves a message to a list.
    pub(crate) fn put(&mut self, message: MessageId, due: u32, stage: Stage) {
        let Some(entry) = self.messages.get_mut(&message) else { return };
        let (before, due_before, number) = (entry.stage, entry.due, entry.queue);
        (entry.due, entry.stage) = (due, stage);
        let Some(queue) = self.queue_mut(number) else { return };
        match before {
            Stage::Active => _ = queue.active.remove(&(due_before, message)),
            Stage::Delayed => _ = queue.delayed.remove(&(due_before, message)),
            Stage::Sending => queue.sending = queue.sending.saturating_sub(1),
        }
        match stage {
            Stage::Active => _ = queue.active.insert((due, message)),
            Stage::Delayed => _ = queue.delayed.insert((due, message)),
            Stage::Sending => queue.sending += 1,
        }
    }

    fn report(&self, message: MessageId, entry: &Entry, verdict: Verdict) -> Option<Report> {
        let queue = Arc::clone(&self.queue(entry.queue)?.key);
        let created = WallTime::from_unix_seconds(u64::from(entry.created));
        let retries = u32::from(entry.failures);
        Some(Report { message, batch: entry.batch, queue, created, retries, verdict, tried: None })
    }

    /// The message is delivered.
    pub(crate) fn delivered(&mut self, message: MessageId) -> Option<Report> {
        let entry = self.forget(message)?;
        if let Some(queue) = self.queue_mut(entry.queue) {
            queue.deliveries += 1;
            let key = Arc::clone(&queue.key);
            tally(&mut self.tallies, &key.binding).deliveries += 1;
        }
        self.report(message, &entry, Verdict::Delivered)
    }

    /// The message has failed for good.
    pub(crate) fn failed(
        &mut self,
        message: MessageId,
        reply: Arc<str>,
        last: Option<Arc<str>>,
        quiet: bool,
    ) -> Option<Report> {
        let entry = self.forget(message)?;
        if let Some(queue) = self.queue_mut(entry.queue) {
            queue.failures += 1;
            let key = Arc::clone(&queue.key);
            tally(&mut self.tallies, &key.binding).failures += 1;
        }
        self.report(message, &entry, Verdict::Failed { reply, last, quiet })
    }

    /// An attempt has failed and may be repeated. `spread` is added to the pause.
    pub(crate) fn failed_once(
        &mut self,
        now: Now,
        message: MessageId,
        reply: Arc<str>,
        spread: Duration,
    ) -> Option<Report> {
        let entry = *self.messages.get(&message)?;
        let failures = entry.failures.saturating_add(1);
        let queue = self.queue_mut(entry.queue)?;
        queue.transient += 1;
        match queue.settings.retry.after_failure(u32::from(failures), now.age(entry.created)) {
            After::Failed(said) => self.failed(message, Arc::from(said), Some(reply), false),
            After::Retry(pause) => {
                let until = now.monotonic + pause.saturating_add(spread);
                let due = second_of(until + Duration::from_micros(999_999));
                self.put(message, due, Stage::Delayed);
                if let Some(entry) = self.messages.get_mut(&message) {
                    entry.failures = failures;
                }
                if let Some(kept) = self.queue_mut(entry.queue).map(|queue| queue.kept(&reply)) {
                    self.replies.insert(message, kept);
                }
                self.await_due(entry.queue);
                self.report(message, &entry, Verdict::Delayed { until: at_second(due), reply })
            }
        }
    }

    /// All messages of a queue that no connection has fail.
    pub(crate) fn fail_waiting(&mut self, number: u32, reply: &Arc<str>, quiet: bool) -> usize {
        let Some(queue) = self.queue(number) else { return 0 };
        let messages: Vec<MessageId> =
            queue.active.iter().chain(&queue.delayed).map(|(_, message)| *message).collect();
        for message in &messages {
            let report = self.failed(*message, Arc::clone(reply), None, quiet);
            self.actions.extend(report.map(Action::Report));
        }
        messages.len()
    }

    /// All active messages of a queue count a failure.
    pub(crate) fn delay_waiting(&mut self, now: Now, number: u32, reply: &'static str, tried: Option<Tried>) {
        let Some(queue) = self.queue(number) else { return };
        let fuzz = queue.settings.delay_fuzz;
        let messages: Vec<MessageId> = queue.active.iter().map(|(_, message)| *message).collect();
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX).max(1);
        let reply: Arc<str> = Arc::from(reply);
        for (place, message) in (0_u32..).zip(messages) {
            let spread = fuzz.saturating_mul(place) / count;
            let report = self.failed_once(now, message, Arc::clone(&reply), spread);
            self.actions.extend(report.map(|report| Action::Report(Report { tried, ..report })));
        }
    }
}
