//! What a connection sends, what became of it, and the end of the connection.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use postfleet_spool::MessageId;

use crate::connection::{ConnectionId, Ended, Next, Outcome, Phase};
use crate::queue::Stage;
use crate::report::{Action, Report, Tried};
use crate::retry::NOT_ATTEMPTED;
use crate::scheduler::{Now, RETEST, Scheduler};
use crate::settings::Shared;
use crate::wait::Wait;

const UNREACHABLE: &str = "421 4.4.0 [internal] no MXs for this domain could be reached at this time";

impl Scheduler {
    /// What a connection does that is ready: at first, after a transaction, when woken, and when its time has come.
    pub fn next(&mut self, now: Now, id: ConnectionId, shared: &mut dyn Shared) -> Next {
        let Some(connection) = self.connections.get_mut(&id) else { return Next::Quit };
        if !connection.in_flight.is_empty() {
            return Next::Stay { wait: None, until: None };
        }
        let number = connection.queue;
        let (before, address) = (connection.phase, connection.target.address);
        let (deliveries, recipients) = (connection.deliveries, connection.recipients);
        if before != Phase::Idle {
            connection.phase = Phase::Idle;
            connection.since = now.monotonic;
        }
        let Some(queue) = self.queue_mut(number) else { return Next::Quit };
        if before == Phase::Opening {
            queue.opening = queue.opening.saturating_sub(1);
            queue.failing_since = None;
            let from = Arc::clone(&queue.key);
            self.hosts.works(&from.binding, address);
        }
        let Some(queue) = self.queue_mut(number) else { return Next::Quit };
        queue.idle.remove(&id);
        let (key, settings) = (Arc::clone(&queue.key), Arc::clone(&queue.settings));
        let gone = queue.home.is_some();
        // Between two messages is where a connection may end.
        let used_up = |used: u32, most: u32| most > 0 && used >= most;
        let target = self.connections.get(&id).map(|connection| &connection.target);
        let over = target.zip(self.queue(number)).is_some_and(|(target, queue)| self.is_over(queue, target));
        let ends = settings.suspended
            || gone
            || over
            || used_up(deliveries, settings.deliveries_max)
            || used_up(recipients, settings.recipients_max)
            || (before != Phase::Opening && shared.must_end(id));
        if ends {
            self.leaves(id);
            return Next::Quit;
        }
        let room = match settings.recipients_max {
            0 => settings.batch_max,
            most => settings.batch_max.min(most - recipients),
        };
        let Some((batch, mut messages)) = self.head(now, number, room) else {
            self.stay(number, id);
            // A connection that is kept open may have to end for others.
            return Next::Stay { wait: None, until: Some(now.monotonic + RETEST) };
        };
        if let Some((wait, until)) = self.exhausted(now.monotonic, &settings.message_rates) {
            self.stay(number, id);
            return self.throttled(number, wait, until);
        }
        let mut units = self.units(now.monotonic, &settings.message_rates, messages.len() as u64);
        units = match shared.message_units(&key, units) {
            Ok(granted) => granted.min(units),
            Err(scope) => {
                self.stay(number, id);
                let until = now.monotonic + RETEST;
                let wait = Wait::Throttle { option: "Cluster_Outbound_Throttle_Messages", scope, until };
                return self.throttled(number, wait, until);
            }
        };
        self.use_up(now.monotonic, &settings.message_rates, units);
        messages.truncate(usize::try_from(units).unwrap_or(usize::MAX));
        for message in &messages {
            let due = self.messages.get(message).map_or(0, |entry| entry.due);
            self.put(*message, due, Stage::Sending);
        }
        if let Some(queue) = self.queue_mut(number)
            && matches!(queue.wait, Some(Wait::Throttle { .. }))
        {
            queue.wait = None;
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.in_flight.clone_from(&messages);
            connection.phase = Phase::Busy;
            connection.since = now.monotonic;
            connection.recipients =
                connection.recipients.saturating_add(u32::try_from(messages.len()).unwrap_or(u32::MAX));
        }
        Next::Send { batch, messages }
    }

    /// The driver ends a connection between two messages, for a reason of its own.
    pub fn ends(&mut self, id: ConnectionId) {
        let number = self.connections.get(&id).map(|connection| connection.queue);
        if let Some(queue) = number.and_then(|number| self.queue_mut(number)) {
            queue.idle.remove(&id);
        }
        self.leaves(id);
    }

    /// A connection was told to end.
    fn leaves(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| !connection.leaves) else {
            return;
        };
        connection.leaves = true;
        let keys = connection.keys.clone();
        self.count_leaving(&keys, true);
    }

    fn throttled(&mut self, number: u32, wait: Wait, until: postfleet_types::Monotonic) -> Next {
        if let Some(queue) = self.queue_mut(number) {
            queue.wait = Some(wait.clone());
        }
        Next::Stay { wait: Some(wait), until: Some(until) }
    }

    /// The connection waits for mail.
    fn stay(&mut self, number: u32, id: ConnectionId) {
        if let Some(queue) = self.queue_mut(number) {
            queue.idle.insert(id);
        }
    }

    /// The oldest active messages that go in one transaction. Fails those on the way that are too old to be attempted.
    fn head(&mut self, now: Now, number: u32, most: u32) -> Option<(MessageId, Vec<MessageId>)> {
        loop {
            let queue = self.queue(number)?;
            let (_, first) = *queue.active.first()?;
            let entry = *self.messages.get(&first)?;
            let policy = &queue.settings.retry;
            // What expired while delivery was suspended gets one attempt.
            let life = policy.schedule.expiration_seconds;
            let resumed_since = queue
                .resumed
                .is_some_and(|at| u64::from(entry.created).saturating_add(life) <= u64::from(at));
            if policy.never_attempt_expired && policy.is_expired(now.age(entry.created)) && !resumed_since {
                let report = self.failed(first, Arc::from(NOT_ATTEMPTED), None, false);
                self.actions.extend(report.map(Action::Report));
                continue;
            }
            let most = usize::try_from(most.max(1)).unwrap_or(usize::MAX);
            // Copies of one transaction have ids that follow each other, and are due together.
            let same = |message: &MessageId| {
                self.messages.get(message).is_some_and(|other| other.batch == entry.batch)
            };
            let messages = queue.active.iter().map(|(_, message)| *message);
            let messages: Vec<MessageId> = messages.take_while(same).take(most).collect();
            return Some((entry.batch, messages));
        }
    }

    /// What became of one recipient of the transaction that a connection was given.
    pub fn settled(
        &mut self,
        now: Now,
        id: ConnectionId,
        message: MessageId,
        outcome: Outcome,
    ) -> Option<Report> {
        let connection = self.connections.get_mut(&id)?;
        let place = connection.in_flight.iter().position(|other| *other == message)?;
        connection.in_flight.swap_remove(place);
        let number = connection.queue;
        let address = connection.target.address;
        if outcome == Outcome::Delivered {
            connection.deliveries = connection.deliveries.saturating_add(1);
            if let Some(queue) = self.queue_mut(number) {
                queue.failing_since = None;
                let from = Arc::clone(&queue.key);
                self.hosts.serves(&from.binding, address);
            }
        }
        let report = match outcome {
            Outcome::Delivered => self.delivered(message),
            Outcome::Temporary(reply) => self.failed_once(now, message, reply, Duration::ZERO),
            Outcome::Permanent(reply) => self.failed(message, reply, None, false),
            Outcome::Stays => {
                let due = self.messages.get(&message).map_or(0, |entry| entry.due);
                self.put(message, due, Stage::Active);
                None
            }
        };
        self.follow(message);
        self.look_at(number);
        report
    }

    /// A connection has ended, whatever it was doing. What it was given and has no outcome stays as if it had not been
    /// given: the driver has said so of everything that was sent.
    pub fn ended(&mut self, now: Now, id: ConnectionId, how: Ended, shared: &mut dyn Shared) {
        let Some(connection) = self.connections.remove(&id) else { return };
        for message in connection.in_flight {
            let due = self.messages.get(&message).map_or(0, |entry| entry.due);
            self.put(message, due, Stage::Active);
            self.follow(message);
        }
        if connection.leaves {
            self.count_leaving(&connection.keys, false);
        }
        self.count(&connection.keys, false);
        let number = connection.queue;
        let target = connection.target;
        let Some(queue) = self.queue_mut(number) else { return };
        queue.connections.remove(&id);
        queue.idle.remove(&id);
        if connection.phase == Phase::Opening {
            queue.opening = queue.opening.saturating_sub(1);
        }
        let key = Arc::clone(&queue.key);
        shared.give_slot(id);
        match how {
            Ended::Done => {}
            Ended::RetryWithoutTls => {
                self.hosts.handshake_failed(now.monotonic, &key.binding, target.address);
            }
            Ended::NoSource => {
                if let Some(queue) = self.queue_mut(number) {
                    let until = now.monotonic + queue.settings.source_retry;
                    queue.held = Some((until, Wait::NoSource { until }));
                }
            }
            Ended::NoPort => {
                if let Some(queue) = self.queue_mut(number) {
                    let until = now.monotonic + RETEST;
                    queue.held = Some((until, Wait::NoPort { until }));
                    // Nothing has grown.
                    queue.growth.2 = queue.growth.2.saturating_sub(1);
                }
            }
            Ended::AddressFailed { stage } => {
                self.hosts.failed(now.monotonic, &key.binding, target.address);
                // Nothing has grown.
                if let Some(queue) = self.queue_mut(number) {
                    queue.growth.2 = queue.growth.2.saturating_sub(1);
                }
                self.address_failed(now, number, Tried { address: target.address, stage });
            }
        }
        self.look_at(number);
    }

    /// After too many failures on every exchanger, or for too long, all active messages are delayed.
    fn address_failed(&mut self, now: Now, number: u32, tried: Tried) {
        let Some(queue) = self.queue(number) else { return };
        let is_ready = |id| self.connections.get(id).is_some_and(|other| other.phase != Phase::Opening);
        let works = queue.connections.iter().any(is_ready);
        let Some(queue) = self.queue_mut(number) else { return };
        if works {
            // Some servers take one connection of a client and refuse the others.
            queue.failing_since = None;
            return;
        }
        let since = *queue.failing_since.get_or_insert(now.monotonic);
        let settings = Arc::clone(&queue.settings);
        let silent =
            !settings.silence_to_delay.is_zero() && now.monotonic >= since + settings.silence_to_delay;
        let Some(queue) = self.queue(number) else { return };
        let key = Arc::clone(&queue.key);
        let most = settings.failures_to_delay;
        let mut addresses = queue.route.hosts.iter().flat_map(|host| &host.host.addresses).peekable();
        let too_often = most > 0
            && addresses.peek().is_some()
            && addresses.all(|address| self.hosts.failures(&key.binding, *address) >= most);
        if !silent && !too_often {
            return;
        }
        let addresses: Vec<_> =
            queue.route.hosts.iter().flat_map(|host| &host.host.addresses).copied().collect();
        for address in addresses {
            self.hosts.works(&key.binding, address);
        }
        if let Some(queue) = self.queue_mut(number) {
            queue.failing_since = None;
        }
        self.delay_waiting(now, number, UNREACHABLE, Some(tried));
    }
}
