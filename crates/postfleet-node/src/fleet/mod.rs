//! What this node knows of its fleet: members, and the replicated objects.
//!
//! ```text
//!  SMTP sessions ── inbound() ──► replica (lock) ◄── deliveries ── shared connection task ◄──► bus
//!                                      │  wake ──────────────────► (sends what the replica wants)
//!  fetch task each ── frames ──────────┤ ◄── requests ── cluster listener
//!  console ── reads ───────────────────┘                           main connection task ◄──► bus
//! ```

pub(crate) mod agreement;
mod caches;
mod connection;
#[cfg(test)]
mod joins;
mod limits;
#[cfg(any(test, feature = "rig"))]
pub(crate) mod rig;
mod shown;
mod transfers;
mod works;

pub(crate) use caches::SetError;
pub(crate) use connection::{Class, run};
pub(crate) use limits::{LimitError, LimitSettings, NAMED, SLOTS, TrialState};
pub(crate) use shown::{ConfiguredObject, ConnectionState, Listed, ShownMember, bytes_text};
pub(crate) use works::{Report, ReportOf};

use crate::clock;
use crate::cluster_listener::{Dialing, Turns};
use crate::notices::notice;
use postfleet_bus::event::{BusEvent, BusStatus, MemberInfo};
use postfleet_console::{Failure, SharedList, SharedShow, SharedWhy};
use postfleet_replica::{Counted, ObjectSpec, Outgoing, Replica, ReplicaOptions, TableOptions};
use postfleet_types::{GroupName, Monotonic, PrivateName};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// What carries the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BusKind {
    /// The embedded bus of this machine, at this socket path.
    Local { path: PathBuf, bus_name: String },
    /// The Corosync ring of this host.
    Corosync { bus_name: String, allow_large_ring: bool },
    /// Nothing: one node.
    Solo,
}

/// Everything about the fleet that the configuration says.
#[derive(Clone, Debug)]
pub(crate) struct FleetSettings {
    pub(crate) bus: BusKind,
    /// What `cluster info` prints after `Daemon:`.
    pub(crate) daemon: String,
    pub(crate) main_name: PrivateName,
    pub(crate) shared_name: PrivateName,
    /// The announcement of the main connection; the shared one differs in its private name.
    pub(crate) info: MemberInfo,
    pub(crate) control_group: GroupName,
    pub(crate) subcluster_group: GroupName,
    pub(crate) cluster_group: GroupName,
    pub(crate) log_group: Option<String>,
    pub(crate) heartbeat_start_delay: Duration,
    /// Addresses of the nodes that `peers` lists, present or not.
    pub(crate) peers: Vec<IpAddr>,
    pub(crate) max_backlog: usize,
    pub(crate) reconnect_interval: Duration,
    pub(crate) min_delay: Option<Duration>,
    pub(crate) tables: TableOptions,
    pub(crate) limits: LimitSettings,
    /// How this node connects to the cluster listeners of others.
    pub(crate) dialing: Dialing,
}

/// Shared by all tasks of the node.
pub(crate) struct Fleet {
    settings: RwLock<Arc<FleetSettings>>,
    /// A plain lock: it is held for single operations, never across an await.
    replica: Mutex<Replica>,
    main: watch::Sender<ConnectionState>,
    shared: watch::Sender<ConnectionState>,
    /// Wakes the shared connection's task after a change.
    changed: Notify,
    commands: watch::Sender<Commands>,
    transfers: transfers::Transfers,
    /// Members that fetch from this node take turns.
    pub(crate) turns: Turns,
    /// Throttles and slots: who waits for what.
    side: limits::Side,
    /// Configured objects, for the list: stanza facts that the replica does not need.
    listed: Mutex<BTreeMap<String, shown::Listed>>,
}

/// What the connection tasks are asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Commands {
    /// Grows with every `cluster reset`.
    resets: u64,
    /// Leave, and do not come back.
    leave: bool,
}

impl Fleet {
    pub(crate) fn new(settings: FleetSettings, objects: Vec<ConfiguredObject>) -> Arc<Self> {
        let mut options = ReplicaOptions::new(
            settings.shared_name.clone(),
            settings.info.node_name.clone(),
            settings.cluster_group.clone(),
        );
        options.min_delay = settings.min_delay;
        options.tables = settings.tables;
        let limits = settings.limits.clone();
        let specs: Vec<ObjectSpec> = objects.iter().map(|object| object.spec.clone()).collect();
        let mut replica = Replica::new(options, specs);
        if !matches!(settings.bus, BusKind::Solo) {
            replica.start(clock::monotonic());
        }
        let fleet = Arc::new(Self {
            settings: RwLock::new(Arc::new(settings)),
            replica: Mutex::new(replica),
            main: watch::Sender::new(ConnectionState::default()),
            shared: watch::Sender::new(ConnectionState::default()),
            changed: Notify::new(),
            commands: watch::Sender::new(Commands::default()),
            transfers: transfers::Transfers::default(),
            turns: Turns::default(),
            side: limits::Side::default(),
            listed: Mutex::new(listed(objects)),
        });
        fleet.adopt_limits(&mut fleet.locked(), limits);
        fleet
    }

    /// What the configuration says now. Names, groups and the bus are those of the start.
    pub(crate) fn settings(&self) -> Arc<FleetSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the objects and settings of a new configuration. Objects that stay keep their counts. Heartbeats, the
    /// control group and the backlog are those of the connection, and change with the next one.
    pub(crate) fn adopt(&self, settings: FleetSettings, objects: Vec<ConfiguredObject>) {
        {
            let specs = objects.iter().map(|object| object.spec.clone()).collect();
            let mut replica = self.locked();
            replica.reconfigure(clock::monotonic(), specs);
            replica.set_min_delay(settings.min_delay);
            // The detection time of the bus comes with the connection.
            let grace = replica.options().tables.grace;
            replica.set_table_options(clock::monotonic(), TableOptions { grace, ..settings.tables });
            self.adopt_limits(&mut replica, settings.limits.clone());
            *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = listed(objects);
        }
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.changed.notify_one();
    }

    fn locked(&self) -> MutexGuard<'_, Replica> {
        let mut replica = self.replica.lock().unwrap_or_else(PoisonError::into_inner);
        replica.set_wall(clock::wall());
        replica
    }

    /// Counts in what is shared, and wakes the task that sends.
    pub(crate) fn counting<T>(&self, act: impl FnOnce(&mut Replica) -> T) -> T {
        let done = act(&mut self.locked());
        self.changed.notify_one();
        done
    }

    /// Reads the replica.
    pub(crate) fn replica<T>(&self, read: impl FnOnce(&Replica) -> T) -> T {
        read(&self.locked())
    }

    /// An inbound connection was accepted. Keep the result for [`Fleet::inbound_closed`].
    pub(crate) fn inbound_opened(&self, client: IpAddr) -> Counted {
        let counted = self.locked().inbound_opened(clock::monotonic(), client);
        self.changed.notify_one();
        counted
    }

    /// It was closed.
    pub(crate) fn inbound_closed(&self, client: IpAddr, opened: Counted) {
        self.locked().inbound_closed(clock::monotonic(), client, opened);
        self.changed.notify_one();
    }

    /// The state of the main connection.
    pub(crate) fn main(&self) -> ConnectionState {
        self.main.borrow().clone()
    }

    /// The state of the shared connection.
    pub(crate) fn shared(&self) -> ConnectionState {
        self.shared.borrow().clone()
    }

    /// Drops both connections and joins again.
    pub(crate) fn reset(&self) {
        self.commands.send_modify(|commands| commands.resets += 1);
    }

    /// Leaves the fleet for good.
    pub(crate) fn leave(&self) {
        self.commands.send_modify(|commands| commands.leave = true);
    }

    /// `cluster shared list`.
    pub(crate) fn shared_list(&self) -> SharedList {
        let replica = self.locked();
        shown::list(&replica, &self.listed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// `cluster shared show`.
    pub(crate) fn shared_show(&self, typed: &str, from: Option<&str>) -> Result<SharedShow, Failure> {
        let settings = self.settings();
        let own_node = settings.info.node_name.as_str();
        let foreign = from.is_some_and(|node| !node.eq_ignore_ascii_case(own_node));
        let replica = self.locked();
        if foreign && !self.shared.borrow().connected {
            // An unknown object is the operator's first mistake, whatever the state of the bus.
            shown::known(&replica, typed)?;
            return Err(Failure::not_connected());
        }
        shown::show(&replica, clock::monotonic(), typed, from)
    }

    /// Hands an event of the shared connection to the replica.
    fn deliver(&self, now: Monotonic, event: &BusEvent) {
        self.locked().handle(now, event);
    }

    /// `cluster shared why`.
    pub(crate) fn shared_why(&self, typed: &str, key: &str) -> Result<SharedWhy, Failure> {
        let replica = self.locked();
        shown::why(&replica, clock::monotonic(), typed, key)
    }

    /// What the connection knows of itself: when the latest heartbeat that came back was sent, how long a silent
    /// host stays in the view, whether this side is quorate, and hosts that are gone.
    fn attend_limits(
        &self,
        now: Monotonic,
        heard: Option<Monotonic>,
        status: &BusStatus,
        host_present: impl Fn(&PrivateName) -> bool,
    ) {
        let mut replica = self.locked();
        if let Some(sent) = heard {
            replica.heard(now, sent);
        }
        let tables = replica.options().tables;
        let grace = status.bound.max(TableOptions::default().grace);
        replica.set_table_options(now, TableOptions { grace, ..tables });
        replica.set_quorum(now, status.quorum);
        let gone: Vec<PrivateName> =
            replica.suspected().filter(|name| !host_present(name)).cloned().collect();
        for name in gone {
            replica.host_left(&name);
        }
    }

    /// What the replica wants to be done now, and when it wants to be called again.
    fn turn(&self, now: Monotonic, send: &mut impl FnMut(Outgoing) -> bool) -> Option<Monotonic> {
        let mut replica = self.locked();
        if replica.poll_deadline().is_some_and(|deadline| deadline <= now) {
            replica.handle_timeout(now);
        }
        self.settle_limits(&mut replica, now);
        while let Some(outgoing) = replica.poll_send(now) {
            if !send(outgoing) {
                break;
            }
        }
        let deadline = replica.poll_deadline().into_iter().chain(self.limits_deadline()).min();
        self.sleep_until(deadline);
        while let Some(told) = replica.poll_notice() {
            notice(told.severity, told.text);
        }
        deadline
    }

    /// Does what time has brought, also while the shared connection is down: idle addresses are forgotten, units of
    /// limits cool. Returns when there is more to do.
    pub(crate) fn maintain(&self) -> Option<Monotonic> {
        let now = clock::monotonic();
        let mut replica = self.locked();
        if replica.poll_deadline().is_some_and(|deadline| deadline <= now) {
            replica.handle_timeout(now);
        }
        self.settle_limits(&mut replica, now);
        let deadline = replica.poll_deadline().into_iter().chain(self.limits_deadline()).min();
        self.sleep_until(deadline);
        deadline
    }

    /// Does what time brings while there is no shared connection. Never returns.
    async fn tend(&self) {
        loop {
            let deadline = self.maintain();
            let timer = async {
                match deadline {
                    Some(deadline) => {
                        let soon = clock::monotonic() + Duration::from_millis(1);
                        tokio::time::sleep_until(clock::instant_of(deadline.max(soon))).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Puts everything that waits into messages, before an orderly leave; for good, what is not used is given.
    fn flush(&self, now: Monotonic, for_good: bool) {
        let mut replica = self.locked();
        if for_good { replica.leave(now) } else { replica.flush(now) }
    }
}

fn listed(objects: Vec<ConfiguredObject>) -> BTreeMap<String, shown::Listed> {
    objects.into_iter().map(|object| (object.spec.name, object.listed)).collect()
}
