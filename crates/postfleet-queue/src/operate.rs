//! What operators see and do.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use postfleet_spool::{BindingGroupName, BindingName, MessageId, QueueKey};
use postfleet_types::{Monotonic, WallTime};

use crate::connection::{Target, host_text};
use crate::queue::{Queue, Stage};
use crate::report::{Action, Report};
use crate::scheduler::{Now, Scheduler, Tally, at_second};
use crate::wait::Wait;

/// One queue, as displays show it.
#[derive(Clone, Debug)]
pub struct QueueState {
    /// Its name.
    pub key: Arc<QueueKey>,
    /// Messages to be delivered now, those in transmission included.
    pub active: u64,
    /// Messages to be delivered later.
    pub delayed: u64,
    /// Connections, open or being opened.
    pub connections: u64,
    /// Messages that came, were delivered, failed for good, failed attempts: since the queue is known.
    pub receptions: u64,
    /// Delivered.
    pub deliveries: u64,
    /// Failed for good.
    pub failures: u64,
    /// Attempts that failed and may be repeated.
    pub transient: u64,
    /// Why its active messages are not all on their way.
    pub wait: Option<Wait>,
}

/// One message, as displays show it.
#[derive(Clone, Debug)]
pub struct MessageState {
    /// The transaction it came in with.
    pub batch: MessageId,
    /// Its queue.
    pub key: Arc<QueueKey>,
    /// When it was accepted.
    pub created: WallTime,
    /// A connection has it.
    pub sending: bool,
    /// It is on the delayed list until then.
    pub delayed_until: Option<Monotonic>,
    /// Attempts that failed.
    pub failures: u32,
    /// The last reply.
    pub reply: Option<Arc<str>>,
}

impl Scheduler {
    /// All queues that are known, by group, binding, domain.
    pub fn states(&self) -> impl Iterator<Item = QueueState> {
        self.by_key.values().filter_map(|number| self.queue(*number)).map(state)
    }

    /// Whether a domain is known.
    #[must_use]
    pub fn knows(&self, domain: &str) -> bool {
        self.by_key.keys().any(|key| &*key.domain == domain)
    }

    /// One message.
    #[must_use]
    pub fn message(&self, id: MessageId) -> Option<MessageState> {
        let entry = self.messages.get(&id)?;
        Some(MessageState {
            batch: entry.batch,
            key: Arc::clone(&self.queue(entry.queue)?.key),
            created: WallTime::from_unix_seconds(u64::from(entry.created)),
            sending: entry.stage == Stage::Sending,
            delayed_until: (entry.stage == Stage::Delayed).then(|| at_second(entry.due)),
            failures: u32::from(entry.failures),
            reply: self.replies.get(&id).cloned(),
        })
    }

    /// The messages of a queue in its order, active before delayed; those in transmission are not among them.
    pub fn listed(&self, key: &QueueKey) -> impl Iterator<Item = (MessageId, bool)> {
        let queue = self.by_key.get(key).and_then(|number| self.queue(*number));
        let active = queue.into_iter().flat_map(|queue| &queue.active).map(|(_, message)| (*message, true));
        active.chain(queue.into_iter().flat_map(|queue| &queue.delayed).map(|(_, message)| (*message, false)))
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Connections open or being opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Where the connections of a queue go.
    #[must_use]
    pub fn targets(&self, key: &QueueKey) -> Vec<(Target, String)> {
        let queue = self.by_key.get(key).and_then(|number| self.queue(*number));
        let connections = queue.into_iter().flat_map(|queue| &queue.connections);
        let connections = connections.filter_map(|id| self.connections.get(id));
        connections.map(|connection| (connection.target.clone(), host_text(&connection.target))).collect()
    }

    /// The delayed messages of queues are due now. Their failures stay counted. Says how many there were.
    pub fn flush(&mut self, now: Now, mut chosen: impl FnMut(&QueueKey) -> bool) -> usize {
        let numbers = self.chosen(&mut chosen);
        let mut moved = 0;
        for number in numbers {
            let Some(queue) = self.queue(number) else { continue };
            let messages: Vec<MessageId> = queue.delayed.iter().map(|(_, message)| *message).collect();
            moved += messages.len();
            for message in messages {
                self.put(message, now.second(), Stage::Active);
            }
            self.look_at(number);
            self.wake(number);
        }
        moved
    }

    /// The messages of queues fail, except those in transmission. Says how many there were.
    pub fn purge(&mut self, reply: &str, quiet: bool, mut chosen: impl FnMut(&QueueKey) -> bool) -> usize {
        let reply: Arc<str> = Arc::from(reply);
        let numbers = self.chosen(&mut chosen);
        numbers.into_iter().map(|number| self.fail_waiting(number, &reply, quiet)).sum()
    }

    /// One message is due now. `false` when it is not here; one in transmission stays there.
    pub fn retry_now(&mut self, now: Now, message: MessageId) -> bool {
        let Some(entry) = self.messages.get(&message).copied() else { return false };
        if entry.stage == Stage::Delayed {
            self.put(message, now.second(), Stage::Active);
            self.look_at(entry.queue);
            self.wake(entry.queue);
        }
        true
    }

    /// One message fails, unless it is in transmission. `false` when it is not here or a connection has it.
    pub fn fail_now(&mut self, message: MessageId, reply: &str, quiet: bool) -> bool {
        match self.messages.get(&message) {
            Some(entry) if entry.stage != Stage::Sending => {
                let report: Option<Report> = self.failed(message, Arc::from(reply), None, quiet);
                self.actions.extend(report.map(Action::Report));
                true
            }
            Some(_) | None => false,
        }
    }

    /// The routes of a domain are looked up again.
    pub fn refresh(&mut self, domain: &str) {
        for number in self.chosen(&mut |key| &*key.domain == domain) {
            if let Some(queue) = self.queue_mut(number) {
                queue.route.until = None;
            }
            self.look_at(number);
        }
    }

    /// The routes of a domain are looked up, for all its queues, or for that of the binding that always exists.
    pub fn dig(&mut self, domain: &str) {
        let mut numbers = self.chosen(&mut |key| &*key.domain == domain);
        if numbers.is_empty() {
            let binding_group = BindingGroupName::default();
            let key = QueueKey { binding_group, binding: BindingName::default(), domain: domain.into() };
            numbers.push(self.queue_number(&key));
        }
        for number in numbers {
            let Some(queue) = self.queue_mut(number).filter(|queue| !queue.route.asked) else { continue };
            queue.route.asked = true;
            let (queue, failed_lookups) = (Arc::clone(&queue.key), queue.route.lookups.failed());
            self.actions.push_back(Action::Resolve { queue, failed_lookups });
        }
    }

    /// What a binding did since the start.
    #[must_use]
    pub fn tally(&self, binding: &BindingName) -> Tally {
        self.tallies.get(binding).copied().unwrap_or_default()
    }

    /// Slots of the fleet have come: queues that wait for them are looked at.
    pub fn slots_came(&mut self) {
        let numbers = self.by_key.values().copied();
        let waiting = numbers.filter(|number| self.queue(*number).is_some_and(|queue| queue.wanted_of_fleet));
        let waiting: Vec<u32> = waiting.collect();
        waiting.into_iter().for_each(|number| self.look_at(number));
    }

    /// A message is gone from the spool, for reasons of its own. It is forgotten, unless it is in transmission.
    pub fn withdraw(&mut self, message: MessageId) -> bool {
        let waits = self.messages.get(&message).is_some_and(|entry| entry.stage != Stage::Sending);
        waits && self.forget(message).is_some()
    }

    fn chosen(&self, chosen: &mut dyn FnMut(&QueueKey) -> bool) -> Vec<u32> {
        self.by_key.iter().filter(|(key, _)| chosen(key)).map(|(_, number)| *number).collect()
    }
}

fn state(queue: &Queue) -> QueueState {
    QueueState {
        key: Arc::clone(&queue.key),
        active: queue.active.len() as u64 + queue.sending,
        delayed: queue.delayed.len() as u64,
        connections: queue.open(),
        receptions: queue.receptions,
        deliveries: queue.deliveries,
        failures: queue.failures,
        transient: queue.transient,
        wait: if queue.active.is_empty() { None } else { queue.wait.clone() },
    }
}
