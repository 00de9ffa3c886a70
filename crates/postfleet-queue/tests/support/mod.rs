//! A driver without sockets: it carries out what the scheduler wants, and counts at the far side.
#![allow(dead_code, reason = "each test uses a part")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use postfleet_config::retry::{Retries, RetrySchedule};
use postfleet_queue::{
    Action, Arrival, ConnectionId, Ended, Growth, HostSettings, LocalLimit, LocalRate, Next, Now, Outcome,
    QueueSettings, Report, RetryPolicy, Routed, Scheduler, Settings, Shared, Target, TargetHost, Unlimited,
};
use postfleet_spool::{MessageId, QueueKey};
use postfleet_throttle::{LimitKey, Shadowed, Through, To};
use postfleet_types::{Monotonic, WallTime};

pub(crate) const START: u64 = 1_900_000_000;

pub(crate) fn key(group: &str, binding: &str, domain: &str) -> QueueKey {
    QueueKey { binding_group: group.into(), binding: binding.into(), domain: domain.into() }
}

pub(crate) fn limit(through: Through, to: To, most: u64, option: &'static str) -> LocalLimit {
    let key = LimitKey { through, to };
    LocalLimit { scope: key.to_string(), key, most, reserve: 0, option, shadow: false }
}

pub(crate) fn defaults() -> QueueSettings {
    let schedule = RetrySchedule {
        interval_seconds: 1200,
        interval_seconds_max: 43_200,
        expiration_seconds: 86_400,
        retries: Retries::Auto,
    };
    QueueSettings {
        retry: RetryPolicy { schedule, never_retry: false, never_attempt_expired: false },
        suspended: false,
        limits: Vec::new(),
        connections_max: Some(32),
        growth: Growth::High,
        deliveries_max: 0,
        recipients_max: 0,
        batch_max: 100,
        host_failure_retry: Duration::from_secs(120),
        source_retry: Duration::from_secs(60),
        failures_to_delay: 50,
        silence_to_delay: Duration::from_secs(900),
        delay_fuzz: Duration::ZERO,
        message_rates: Vec::new(),
        idle_timeout: Duration::from_secs(5),
        connection_rates: Vec::new(),
        lookup_failures_to_purge: 10,
    }
}

/// Limits of the pair, as `Max_Outbound_Connections` makes them.
pub(crate) fn pair(key: &QueueKey, most: u64) -> LocalLimit {
    limit(
        Through::Binding(key.binding.to_string()),
        To::Domain(key.domain.to_string()),
        most,
        "Max_Outbound_Connections",
    )
}

pub(crate) fn rate(text: &str, scope: &str) -> Option<LocalRate> {
    Some(LocalRate {
        option: "Outbound_Throttle_Messages",
        scope: scope.to_owned(),
        rate: text.parse().unwrap(),
        shadow: false,
    })
}

type OfQueue = Box<dyn Fn(&QueueKey) -> QueueSettings + Send>;
type OfHost = Box<dyn Fn(&str) -> HostSettings + Send>;

pub(crate) struct Config(pub(crate) OfQueue, pub(crate) OfHost);

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Config")
    }
}

impl Settings for Config {
    fn queue(&self, queue: &QueueKey) -> Arc<QueueSettings> {
        Arc::new((self.0)(queue))
    }
    fn host(&self, _: &QueueKey, host: &str) -> Arc<HostSettings> {
        Arc::new((self.1)(host))
    }
}

pub(crate) fn config(of_queue: impl Fn(&QueueKey) -> QueueSettings + Send + 'static) -> Box<dyn Settings> {
    Box::new(Config(Box::new(of_queue), Box::new(|_| HostSettings::default())))
}

/// One host for every domain.
pub(crate) fn one_host(domain: &str) -> Routed {
    hosts(&[(10, &format!("mx.{domain}"), "192.0.2.1:25")])
}

pub(crate) fn hosts(of: &[(u32, &str, &str)]) -> Routed {
    let hosts = of.iter().map(|(preference, name, address)| TargetHost {
        preference: *preference,
        name: Some(Arc::from(*name)),
        addresses: vec![address.parse().unwrap()],
    });
    Routed::Hosts { hosts: hosts.collect(), ttl: Duration::from_secs(3600) }
}

pub(crate) struct Open {
    pub(crate) queue: QueueKey,
    pub(crate) target: Target,
    pub(crate) sending: Vec<MessageId>,
}

pub(crate) struct Bench {
    pub(crate) scheduler: Scheduler,
    pub(crate) shared: Box<dyn Shared>,
    pub(crate) micros: u64,
    pub(crate) open: BTreeMap<ConnectionId, Open>,
    pub(crate) reports: Vec<Report>,
    pub(crate) shadowed: Vec<Shadowed>,
    pub(crate) route: Box<dyn Fn(&str) -> Routed>,
    /// Connections to it fail.
    pub(crate) dead: Vec<SocketAddr>,
    /// Most connections ever, by queue.
    pub(crate) peak: BTreeMap<QueueKey, usize>,
    pub(crate) resolved: usize,
    next_id: u32,
}

impl Bench {
    pub(crate) fn new(settings: Box<dyn Settings>) -> Self {
        Self {
            scheduler: Scheduler::new(settings, 7),
            shared: Box::new(Unlimited),
            micros: 1_000_000,
            open: BTreeMap::new(),
            reports: Vec::new(),
            shadowed: Vec::new(),
            route: Box::new(one_host),
            dead: Vec::new(),
            peak: BTreeMap::new(),
            resolved: 0,
            next_id: 0,
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            monotonic: Monotonic::from_micros(self.micros),
            wall: WallTime::from_unix_millis(START * 1000 + self.micros / 1000 - 1000),
        }
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.micros / 1_000_000 - 1
    }

    pub(crate) fn id(&mut self) -> MessageId {
        self.next_id += 1;
        MessageId::from_parts(u32::try_from(START).unwrap(), self.next_id, 0)
    }

    /// A transaction with so many recipients.
    pub(crate) fn mail(&mut self, queue: &QueueKey, copies: usize) -> Vec<MessageId> {
        let ids: Vec<MessageId> = (0..copies).map(|_| self.id()).collect();
        for id in &ids {
            let arrival = Arrival {
                message: *id,
                batch: ids[0],
                queue,
                created: self.now().wall,
                failures: 0,
                due_in: Duration::ZERO,
            };
            assert!(self.scheduler.arrived(self.now(), &arrival));
            assert!(!self.scheduler.arrived(self.now(), &arrival), "a message is taken once");
        }
        ids
    }

    /// Does all that is to be done now; connections that are opened stay open, and what they are given stays with them.
    pub(crate) fn run(&mut self) {
        let now = self.now();
        while let Some(action) = self.scheduler.poll(now, &mut *self.shared) {
            match action {
                Action::Resolve { queue, .. } => {
                    self.resolved += 1;
                    let routed = (self.route)(&queue.domain);
                    self.scheduler.routed(now, &queue, routed);
                }
                Action::Connect { connection, queue, target, .. } => {
                    if self.dead.contains(&target.address) {
                        self.scheduler.ended(
                            now,
                            connection,
                            Ended::AddressFailed { stage: 0 },
                            &mut *self.shared,
                        );
                        continue;
                    }
                    let queue = QueueKey::clone(&queue);
                    self.open.insert(connection, Open { queue: queue.clone(), target, sending: Vec::new() });
                    let open = self.open.values().filter(|open| open.queue == queue).count();
                    let peak = self.peak.entry(queue).or_default();
                    *peak = open.max(*peak);
                    self.ask(connection);
                }
                Action::Wake(connection) => self.ask(connection),
                Action::Report(report) => self.reports.push(report),
                Action::Shadowed(told) => self.shadowed.push(told),
            }
        }
    }

    pub(crate) fn ask(&mut self, connection: ConnectionId) {
        let now = self.now();
        if !self.open.contains_key(&connection) {
            return;
        }
        match self.scheduler.next(now, connection, &mut *self.shared) {
            Next::Send { messages, .. } => self.open.get_mut(&connection).unwrap().sending = messages,
            Next::Stay { .. } => {}
            Next::Quit => {
                self.open.remove(&connection);
                self.scheduler.ended(now, connection, Ended::Done, &mut *self.shared);
            }
        }
    }

    /// All transactions under way end, each recipient as told; the connections ask for more.
    pub(crate) fn settle(&mut self, outcome: impl Fn(MessageId) -> Outcome) {
        let busy: Vec<ConnectionId> =
            self.open.iter().filter(|(_, open)| !open.sending.is_empty()).map(|(id, _)| *id).collect();
        for connection in busy {
            let now = self.now();
            for message in std::mem::take(&mut self.open.get_mut(&connection).unwrap().sending) {
                let report = self.scheduler.settled(now, connection, message, outcome(message));
                self.reports.extend(report);
            }
            self.ask(connection);
        }
        self.run();
    }

    pub(crate) fn close_all(&mut self) {
        for (connection, _) in std::mem::take(&mut self.open) {
            self.scheduler.ended(self.now(), connection, Ended::Done, &mut *self.shared);
        }
    }

    /// Lets time pass, doing what is due at its time.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.micros + u64::try_from(span.as_micros()).unwrap();
        loop {
            self.run();
            let next = self.scheduler.poll_deadline().map_or(u64::MAX, Monotonic::as_micros);
            if next >= end {
                break;
            }
            self.micros = next.max(self.micros + 1);
        }
        self.micros = end;
        self.run();
    }

    pub(crate) fn connections(&self, queue: &QueueKey) -> usize {
        self.open.values().filter(|open| open.queue == *queue).count()
    }

    pub(crate) fn wait(&self, queue: &QueueKey) -> String {
        let state = self.scheduler.states().find(|state| *state.key == *queue).unwrap();
        state.wait.map(|wait| wait.to_string()).unwrap_or_default()
    }
}

/// Counts what is asked of a fleet that always has something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) slots: Rc<RefCell<i64>>,
    pub(crate) connection_units: Rc<RefCell<u64>>,
    pub(crate) message_units: Rc<RefCell<u64>>,
    pub(crate) refuse_connection_units: Rc<RefCell<bool>>,
}

impl Shared for Asked {
    fn may_connect(&mut self, _: &QueueKey, _: Option<&str>, _: u64) -> Result<(), postfleet_queue::Blocked> {
        Ok(())
    }
    fn take_slot(&mut self, _: ConnectionId, _: &Arc<QueueKey>, _: Option<&str>) -> bool {
        *self.slots.borrow_mut() += 1;
        true
    }
    fn give_slot(&mut self, _: ConnectionId) {
        *self.slots.borrow_mut() -= 1;
    }
    fn must_end(&mut self, _: ConnectionId) -> bool {
        false
    }
    fn connection_unit(&mut self, _: &QueueKey) -> Result<(), String> {
        if *self.refuse_connection_units.borrow() {
            return Err("global".to_owned());
        }
        *self.connection_units.borrow_mut() += 1;
        Ok(())
    }
    fn message_units(&mut self, _: &QueueKey, units: u64) -> Result<u64, String> {
        *self.message_units.borrow_mut() += units;
        Ok(units)
    }
    fn wants_none(&mut self, _: &QueueKey) {}
}
