//! Delivery: the queues of `postfleet-queue`, driven with sockets, a name service and the spool.
//!
//! ```text
//!  spool: stored ──► Scheduler (lock) ◄── next, settled, ended ── connection tasks ──► other servers
//!                        │  ▲                                          │ report
//!            pump task ──┘  └── routed ── look-up tasks                ▼
//!            (opens connections, starts look-ups)     finishing: bounce if it failed, then out of the spool
//! ```
//!
//! A message leaves the spool after the other side has it, or after the bounce that tells of its failure is durable.

mod bindings;
mod bounces;
mod connection;
mod outgoing;
mod rebind;
mod resolver;
mod settings;
mod shared;
mod source;
mod tls;

pub(crate) use settings::DeliverySettings;

use crate::clock;
use crate::fleet::Fleet;
use crate::lock::locked;
use crate::logs::{Attempt, Attempted};
use crate::node::Node;
use crate::notices::{self, Severity, notice};
use bounces::Failures;
pub(crate) use bounces::RefusedCopy;
use postfleet_queue::{
    Action, Arrival, ConnectionId, Need, Now, QueueState, Report, Routing, Scheduler, Shared, Verdict,
};
use postfleet_replica::MetricWord;
use postfleet_spool::{BindingName, Envelope, QueueKey, Stored};
use postfleet_types::{Monotonic, Random};
use resolver::Resolver;
use settings::{QueueOptions, retries_passed};
use shared::{Asking, Memory, Throttle};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// Domains that are looked up at a time.
const LOOKUPS_MAX: usize = 256;

/// The queues and what moves them.
pub(crate) struct Delivery {
    /// A plain lock, held for single calls and never across an await. The fleet's lock is taken behind it.
    state: Mutex<State>,
    settings: RwLock<Arc<DeliverySettings>>,
    resolver: RwLock<Arc<Resolver>>,
    fleet: Option<Arc<Fleet>>,
    /// Wakes the pump.
    changed: Notify,
    /// Connections that wait for a message.
    waiting: Mutex<BTreeMap<ConnectionId, Arc<Notify>>>,
    failures: Failures,
    node: OnceLock<Weak<Node>>,
    connector: tls::Connectors,
    /// Look-ups at a time.
    lookups: Semaphore,
    /// Bindings whose source address this machine has not got.
    unplumbed: Mutex<BTreeSet<BindingName>>,
    /// When it was last said that local ports have run out.
    portless: Mutex<Option<Monotonic>>,
    /// Chooses among the bindings of a group.
    chooser: Mutex<Random>,
}

struct State {
    scheduler: Scheduler,
    memory: Memory,
}

fn now() -> Now {
    Now { monotonic: clock::monotonic(), wall: clock::wall() }
}

impl Delivery {
    pub(crate) fn new(settings: Arc<DeliverySettings>, fleet: Option<Arc<Fleet>>) -> Arc<Self> {
        let mut seed = [0; 8];
        // Any seed will do: it only mixes exchangers of equal preference, and bindings of one group.
        let _same_order = getrandom::fill(&mut seed);
        let seed = u64::from_le_bytes(seed);
        let scheduler = Scheduler::new(Box::new(QueueOptions(Arc::clone(&settings))), seed);
        let resolver = Arc::new(Resolver::new(settings.resolv_conf.as_deref()));
        Arc::new(Self {
            state: Mutex::new(State { scheduler, memory: Memory::default() }),
            settings: RwLock::new(settings),
            resolver: RwLock::new(resolver),
            fleet,
            changed: Notify::new(),
            waiting: Mutex::default(),
            failures: Failures::default(),
            node: OnceLock::new(),
            connector: tls::Connectors::default(),
            lookups: Semaphore::new(LOOKUPS_MAX),
            unplumbed: Mutex::default(),
            portless: Mutex::default(),
            chooser: Mutex::new(Random::seeded(seed.rotate_left(32))),
        })
    }

    fn settings(&self) -> Arc<DeliverySettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes another configuration. Says what became of mail whose binding is gone.
    pub(crate) fn adopt(self: &Arc<Self>, settings: Arc<DeliverySettings>) -> Option<String> {
        let file = settings.resolv_conf.as_deref();
        let stale = self.resolver.read().unwrap_or_else(PoisonError::into_inner).is_stale(file);
        if stale {
            let resolver = Arc::new(Resolver::new(file));
            *self.resolver.write().unwrap_or_else(PoisonError::into_inner) = resolver;
        }
        let mut state = locked(&self.state);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&settings);
        let State { scheduler, memory } = &mut *state;
        let mut asking = Asking { delivery: self, settings: &settings, fleet: self.fleet.as_ref(), memory };
        asking.limits_changed();
        let moved = scheduler.configure(now(), Box::new(QueueOptions(Arc::clone(&settings))));
        drop(state);
        self.changed.notify_one();
        (moved > 0).then(|| {
            format!(
                "{moved} queued messages were moved: their bindings are in another group now, or are gone and 'default' has them"
            )
        })
    }

    /// Takes the copies of a transaction that is durable. `before`: it was in the spool when the node started.
    pub(crate) fn stored(&self, stored: &Stored, before: bool) {
        let now = now();
        let envelope = &stored.envelope;
        let settings = self.settings();
        let mut state = locked(&self.state);
        for copy in &envelope.copies {
            let queue = QueueKey {
                binding_group: copy.binding_group.clone(),
                binding: copy.binding.clone(),
                domain: copy.domain.as_str().into(),
            };
            let age = now.wall.unix_millis().saturating_sub(envelope.created.unix_millis());
            let failures =
                if before { retries_passed(&settings.retry(&queue), Duration::from_millis(age)) } else { 0 };
            let arrival = Arrival {
                message: copy.id,
                batch: envelope.batch,
                queue: &queue,
                created: envelope.created,
                failures,
                due_in: Duration::ZERO,
            };
            state.scheduler.arrived(now, &arrival);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Calls the scheduler together with the limits of the fleet.
    fn with<T>(self: &Arc<Self>, act: impl FnOnce(&mut Scheduler, &mut dyn Shared) -> T) -> T {
        let mut state = locked(&self.state);
        // Not before: limits of a configuration that is gone would be remembered as those of the next.
        let settings = self.settings();
        let State { scheduler, memory } = &mut *state;
        let mut asking = Asking { delivery: self, settings: &settings, fleet: self.fleet.as_ref(), memory };
        act(scheduler, &mut asking)
    }

    /// A unit that was waited for has come, or will not come. Returns its number.
    fn unit_came(&self, throttle: &Throttle, granted: bool) -> Option<u64> {
        let number = locked(&self.state).memory.came(throttle, granted)?;
        for waiting in locked(&self.waiting).values() {
            waiting.notify_one();
        }
        self.changed.notify_one();
        Some(number)
    }

    /// What nobody has used goes back to the throttle.
    fn unit_expires(&self, throttle: &Throttle, number: u64) {
        let mut state = locked(&self.state);
        let left = state.memory.expire(throttle, number);
        if left > 0
            && let Some(fleet) = &self.fleet
        {
            // A throttle that is gone meanwhile needs nothing back.
            let _gone = fleet.put_back(throttle.0, &throttle.1, left);
        }
    }

    /// Starts moving mail. Ends with the node.
    pub(crate) fn start(self: &Arc<Self>, node: &Arc<Node>) {
        // Once, at the start of the node.
        let _again = self.node.set(Arc::downgrade(node));
        let (pumped, slots) = (Arc::clone(self), Arc::clone(self));
        tokio::spawn(async move { pumped.pump().await });
        if let Some(fleet) = self.fleet.clone() {
            tokio::spawn(async move {
                loop {
                    fleet.slot_ready().await;
                    locked(&slots.state).scheduler.slots_came();
                    slots.changed.notify_one();
                }
            });
        }
    }

    /// Tells the sender of copies that policy refused. `Ok` once that is durable.
    pub(crate) async fn tell_refused(
        &self,
        node: &Arc<Node>,
        envelope: &Envelope,
        refused: &[RefusedCopy],
        header: &[u8],
    ) -> Result<(), String> {
        bounces::tell_refused(self, node, envelope, refused, header).await
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.node.get().and_then(Weak::upgrade)
    }

    async fn pump(self: Arc<Self>) {
        loop {
            let Some(node) = self.node() else { return };
            let stopping = *node.stopping.borrow();
            loop {
                // A node that stops opens nothing more; what is under way ends in peace.
                let action = if stopping {
                    None
                } else {
                    self.with(|scheduler, shared| scheduler.poll(now(), shared))
                };
                match action {
                    Some(action) => self.carry_out(&node, action),
                    None => break,
                }
            }
            let deadline = locked(&self.state).scheduler.poll_deadline().filter(|_| !stopping);
            let mut stop = node.stopping.subscribe();
            drop(node);
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(clock::instant_of(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {}
                () = self.changed.notified() => {}
                stopped = stop.wait_for(|stopping| *stopping), if !stopping => if stopped.is_err() { return },
            }
        }
    }

    fn carry_out(self: &Arc<Self>, node: &Arc<Node>, action: Action) {
        match action {
            Action::Resolve { queue, failed_lookups } => {
                let delivery = Arc::clone(self);
                tokio::spawn(async move { delivery.resolve(&queue, failed_lookups).await });
            }
            Action::Connect { connection, queue, target, plain } => {
                let opening = connection::Opening::new(self, connection, queue, target, plain);
                let node = Arc::clone(node);
                tokio::spawn(async move { opening.run(&node).await });
            }
            Action::Wake(connection) => {
                if let Some(waiting) = locked(&self.waiting).get(&connection) {
                    waiting.notify_one();
                }
            }
            Action::Report(report) => self.reported(node, report, None, None),
            Action::Shadowed(told) => notices::shadowed(&told),
        }
    }

    async fn resolve(self: Arc<Self>, queue: &QueueKey, failed_lookups: u32) {
        // Never closed.
        let _turn = self.lookups.acquire().await;
        let settings = self.settings();
        let mut route = settings.route(queue);
        let (four, six) = source::families(&settings.dialing(queue).bind).await;
        (route.ipv4, route.ipv6) = (route.ipv4 && four, route.ipv6 && six);
        let settings = Arc::new(route);
        let resolver = Arc::clone(&self.resolver.read().unwrap_or_else(PoisonError::into_inner));
        let mut routing = Routing::new(Arc::clone(&settings), &queue.domain, failed_lookups);
        let routed = loop {
            let needed = match routing.poll() {
                Ok(routed) => break routed,
                Err(needed) => needed,
            };
            for need in needed {
                match need {
                    Need::Exchangers(name) => {
                        let answer = resolver.exchangers(&name).await;
                        routing.exchangers(&name, answer);
                    }
                    Need::Addresses(name) => {
                        let answer = resolver.addresses(&name, settings.ipv6).await;
                        routing.addresses(&name, answer);
                    }
                }
            }
        };
        locked(&self.state).scheduler.routed(now(), queue, routed);
        self.changed.notify_one();
    }

    /// Counts what became of a message, tells of failures, and takes what is done out of the spool.
    fn reported(
        self: &Arc<Self>,
        node: &Arc<Node>,
        report: Report,
        remote: Option<String>,
        attempt: Option<&Attempt>,
    ) {
        if node.logs.wants_attempts() {
            let message = node.store.queued(report.message).unwrap_or_default();
            node.logs.attempted(&Attempted { report: &report, attempt, message });
        }
        let word = match &report.verdict {
            Verdict::Delivered => MetricWord::Delivery,
            Verdict::Delayed { .. } => MetricWord::Transfail,
            Verdict::Failed { .. } => MetricWord::Permfail,
        };
        node.audit.attempted(word, &report.queue.domain);
        match &report.verdict {
            Verdict::Delivered => {
                node.statistics.count_delivered();
                node.store.finish(report.batch, vec![report.message]);
            }
            Verdict::Delayed { reply, .. } => {
                let text =
                    format!("message {} for {} is delayed: {reply}", report.message, report.queue.domain);
                notice(Severity::Debug, text);
            }
            Verdict::Failed { reply, .. } => {
                node.statistics.count_failed();
                let text =
                    format!("message {} for {} has failed: {reply}", report.message, report.queue.domain);
                notice(Severity::Info, text);
                self.failures.add(self, report, remote);
            }
        }
    }

    /// The queues, by group, binding, domain.
    pub(crate) fn queues(&self) -> Vec<QueueState> {
        locked(&self.state).scheduler.states().collect()
    }

    /// Looks at the queues, and changes nothing.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Scheduler) -> T) -> T {
        at(&locked(&self.state).scheduler)
    }

    /// Messages that are queued.
    pub(crate) fn len(&self) -> usize {
        locked(&self.state).scheduler.len()
    }

    /// Does what an operator wants with the queues.
    pub(crate) fn operate<T>(&self, act: impl FnOnce(&mut Scheduler, Now) -> T) -> T {
        let result = act(&mut locked(&self.state).scheduler, now());
        self.changed.notify_one();
        result
    }

    /// Connections open or being opened.
    pub(crate) fn connections(&self) -> usize {
        locked(&self.state).scheduler.connections()
    }
}
