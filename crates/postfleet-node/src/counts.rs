//! Open connections of this node, counted from accept to close by a guard.

use crate::clock;
use crate::fleet::Fleet;
use crate::notices::{Severity, notice};
use crate::socket::Endpoint;
use postfleet_cidr::CidrColumns;
use postfleet_console::InboundService;
use postfleet_replica::Outbound;
use postfleet_spool::{BindingName, QueueKey};
use postfleet_types::{ColumnId, Prefix, View};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The service of SMTP listeners; the only one that is also shared with the fleet.
pub(crate) const SMTP: &str = InboundService::Smtp.word();
/// The service of control listeners.
pub(crate) const CONTROL: &str = InboundService::Control.word();
/// The service of the cluster listener.
pub(crate) const CLUSTER: &str = InboundService::EcCluster.word();
/// The tree of connections to other hosts.
pub(crate) const OUTBOUND: &str = "outbound";

/// The tree of connections to other hosts through one binding.
pub(crate) fn outbound_through(binding: &BindingName) -> String {
    format!("{OUTBOUND}/{binding}")
}

struct LocalTree {
    columns: CidrColumns,
    own: ColumnId,
}

impl LocalTree {
    fn new() -> Self {
        let mut columns = CidrColumns::new();
        let own = columns.insert_column();
        Self { columns, own }
    }
}

/// The local trees, one a service, and the way to the fleet's.
///
/// A plain lock: every hold is one tree operation, far below a microsecond's worth of contention.
pub(crate) struct OpenConnections {
    trees: Mutex<BTreeMap<String, LocalTree>>,
    /// By listener, what was accepted while some policy was in force.
    listeners: Mutex<BTreeMap<Endpoint, LocalTree>>,
    fleet: Option<Arc<Fleet>>,
}

impl OpenConnections {
    pub(crate) fn new(fleet: Option<Arc<Fleet>>) -> Arc<Self> {
        let services = InboundService::ALL.map(InboundService::word).into_iter().chain([OUTBOUND]);
        let trees = services.map(|service| (service.to_owned(), LocalTree::new())).collect();
        Arc::new(Self { trees: Mutex::new(trees), listeners: Mutex::default(), fleet })
    }

    /// Counts a connection until the guard is dropped. No path can forget the decrement.
    pub(crate) fn open(self: &Arc<Self>, service: &'static str, address: IpAddr) -> Counted {
        self.change(service, address, 1);
        let shared = match (service, &self.fleet) {
            (SMTP, Some(fleet)) => Some(fleet.inbound_opened(address)),
            _ => None,
        };
        Counted { counts: Arc::clone(self), service, address, shared }
    }

    /// Counts a connection to another host until the guard is dropped.
    pub(crate) fn open_outbound(
        self: &Arc<Self>,
        queue: &Arc<QueueKey>,
        host: Option<&str>,
        address: IpAddr,
    ) -> CountedOutbound {
        let through = outbound_through(&queue.binding);
        self.change(OUTBOUND, address, 1);
        self.change(&through, address, 1);
        let host = host.map(str::to_owned);
        let shared = self.fleet.as_ref().map(|fleet| {
            let counted = outbound(queue, host.as_deref(), address);
            fleet.counting(|replica| replica.outbound_opened(clock::monotonic(), &counted))
        });
        CountedOutbound { counts: Arc::clone(self), queue: Arc::clone(queue), through, host, address, shared }
    }

    fn change(&self, service: &str, address: IpAddr, delta: i64) {
        let clamped = {
            let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
            if !trees.contains_key(service) {
                // The first connection of a binding.
                trees.insert(service.to_owned(), LocalTree::new());
            }
            trees
                .get_mut(service)
                .is_some_and(|tree| tree.columns.change(tree.own, address, delta, clock::monotonic()).clamped)
        };
        if clamped {
            notice(
                Severity::Error,
                format_args!("count of service {service} for {address} fell below zero; kept at 0"),
            );
        }
    }

    /// Counts a connection of a listener until the guard is dropped.
    pub(crate) fn open_at(self: &Arc<Self>, listener: &Endpoint, address: IpAddr) -> CountedAt {
        self.change_at(listener, address, 1);
        CountedAt { counts: Arc::clone(self), listener: listener.clone(), address }
    }

    fn change_at(&self, listener: &Endpoint, address: IpAddr, delta: i64) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let tree = match listeners.get_mut(listener) {
            Some(tree) => tree,
            None => listeners.entry(listener.clone()).or_insert_with(LocalTree::new),
        };
        // Every decrement is that of a guard.
        let _change = tree.columns.change(tree.own, address, delta, clock::monotonic());
    }

    /// Open connections of a listener from inside a prefix.
    pub(crate) fn listener_sum(&self, listener: &Endpoint, prefix: Prefix) -> u64 {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.get(listener).map_or(0, |tree| tree.columns.sum(View::Column(tree.own), prefix))
    }

    /// Reads a tree; `None` for a service that does not exist.
    pub(crate) fn read<T>(&self, service: &str, read: impl FnOnce(&CidrColumns, View) -> T) -> Option<T> {
        let trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.get(service).map(|tree| read(&tree.columns, View::Column(tree.own)))
    }

    /// Open connections of a service from inside a prefix.
    pub(crate) fn sum(&self, service: &str, prefix: Prefix) -> Option<u64> {
        self.read(service, |columns, view| columns.sum(view, prefix))
    }

    /// All open connections of a service.
    pub(crate) fn total(&self, service: &str) -> u64 {
        self.read(service, |columns, view| columns.total(view)).unwrap_or(0)
    }

    /// Drops what has been at zero for long enough.
    pub(crate) fn prune(&self) {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        for tree in trees.values_mut() {
            tree.columns.prune(clock::monotonic());
        }
        drop(trees);
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        for tree in listeners.values_mut() {
            tree.columns.prune(clock::monotonic());
        }
    }
}

/// One connection to another host that is counted.
pub(crate) struct CountedOutbound {
    counts: Arc<OpenConnections>,
    queue: Arc<QueueKey>,
    /// The tree of its binding.
    through: String,
    host: Option<String>,
    address: IpAddr,
    shared: Option<postfleet_replica::Counted>,
}

impl Drop for CountedOutbound {
    fn drop(&mut self) {
        self.counts.change(OUTBOUND, self.address, -1);
        self.counts.change(&self.through, self.address, -1);
        if let (Some(shared), Some(fleet)) = (self.shared.take(), &self.counts.fleet) {
            let counted = outbound(&self.queue, self.host.as_deref(), self.address);
            fleet.counting(|replica| replica.outbound_closed(clock::monotonic(), &counted, shared));
        }
    }
}

fn outbound<'a>(queue: &'a QueueKey, host: Option<&'a str>, address: IpAddr) -> Outbound<'a> {
    Outbound {
        binding: queue.binding.as_str(),
        group: Some(queue.binding_group.as_str()),
        domain: &queue.domain,
        host,
        address,
    }
}

/// One connection that is counted at its listener.
pub(crate) struct CountedAt {
    counts: Arc<OpenConnections>,
    listener: Endpoint,
    address: IpAddr,
}

impl Drop for CountedAt {
    fn drop(&mut self) {
        self.counts.change_at(&self.listener, self.address, -1);
    }
}

/// One connection that is counted as open.
pub(crate) struct Counted {
    counts: Arc<OpenConnections>,
    service: &'static str,
    address: IpAddr,
    /// The fleet's proof that it counted the opening.
    shared: Option<postfleet_replica::Counted>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.change(self.service, self.address, -1);
        if let (Some(shared), Some(fleet)) = (self.shared.take(), &self.counts.fleet) {
            fleet.inbound_closed(self.address, shared);
        }
    }
}
