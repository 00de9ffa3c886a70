//! One queue: messages of one binding to one domain.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use postfleet_spool::{MessageId, QueueKey};
use postfleet_types::Monotonic;

use crate::connection::ConnectionId;
use crate::route::{Lookups, TargetHost};
use crate::settings::{HostSettings, QueueSettings};
use crate::wait::Wait;

/// A place in the order of a list: when it was due, in whole seconds of the monotonic clock, then the id.
pub(crate) type Place = (u32, MessageId);

/// What is known of a message: 28 bytes beside its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) batch: MessageId,
    /// When it was accepted, Unix seconds.
    pub(crate) created: u32,
    pub(crate) queue: u32,
    pub(crate) due: u32,
    /// Attempts that failed.
    pub(crate) failures: u16,
    pub(crate) stage: Stage,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Active,
    Delayed,
    /// Handed to a connection.
    Sending,
}

/// A host of a route, with what holds for it.
#[derive(Debug)]
pub(crate) struct RouteHost {
    pub(crate) host: TargetHost,
    pub(crate) settings: Arc<HostSettings>,
}

#[derive(Debug, Default)]
pub(crate) struct Route {
    pub(crate) hosts: Vec<RouteHost>,
    /// Since when there are none, or until when they hold.
    pub(crate) until: Option<Monotonic>,
    /// The driver has been asked.
    pub(crate) asked: bool,
    /// The settings have changed since.
    pub(crate) outdated: bool,
    pub(crate) lookups: Lookups,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) key: Arc<QueueKey>,
    /// Where its messages belong instead: the configuration has its binding no more, or in another group.
    pub(crate) home: Option<Arc<QueueKey>>,
    pub(crate) settings: Arc<QueueSettings>,
    pub(crate) active: BTreeSet<Place>,
    pub(crate) delayed: BTreeSet<Place>,
    pub(crate) sending: u64,
    pub(crate) connections: BTreeSet<ConnectionId>,
    /// Of the connections, those that will ask for a message without being woken.
    pub(crate) opening: u64,
    /// Of the connections, those that wait to be woken.
    pub(crate) idle: BTreeSet<ConnectionId>,
    pub(crate) route: Route,
    pub(crate) wait: Option<Wait>,
    /// When it is to be looked at again.
    pub(crate) retest: Option<Monotonic>,
    /// It is in the line of those to be looked at.
    pub(crate) listed: bool,
    /// The current second of growth: its start, the connections at its start, those added.
    pub(crate) growth: (Monotonic, u64, u64),
    pub(crate) last_attempt: Option<Monotonic>,
    /// This machine can open nothing for it until then, and why.
    pub(crate) held: Option<(Monotonic, Wait)>,
    /// Since when every attempt to connect has failed.
    pub(crate) failing_since: Option<Monotonic>,
    /// When delivery was resumed last, Unix seconds.
    pub(crate) resumed: Option<u32>,
    /// The fleet has been asked for connections.
    pub(crate) wanted_of_fleet: bool,
    pub(crate) receptions: u64,
    pub(crate) deliveries: u64,
    pub(crate) failures: u64,
    pub(crate) transient: u64,
    /// What was kept of the last reply that delayed a message.
    pub(crate) last_reply: Option<Arc<str>>,
}

/// Octets that are kept of a reply while its message is delayed: a server may say 64 KiB to each.
const REPLY_OCTETS_MAX: usize = 400;

impl Queue {
    pub(crate) fn new(key: Arc<QueueKey>, settings: Arc<QueueSettings>) -> Self {
        Self {
            key,
            home: None,
            settings,
            active: BTreeSet::new(),
            delayed: BTreeSet::new(),
            sending: 0,
            connections: BTreeSet::new(),
            opening: 0,
            idle: BTreeSet::new(),
            route: Route::default(),
            wait: None,
            retest: None,
            listed: false,
            growth: (Monotonic::ZERO, 0, 0),
            last_attempt: None,
            held: None,
            failing_since: None,
            resumed: None,
            wanted_of_fleet: false,
            receptions: 0,
            deliveries: 0,
            failures: 0,
            transient: 0,
            last_reply: None,
        }
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.active.is_empty() && self.delayed.is_empty() && self.sending == 0 && self.connections.is_empty()
    }

    /// What is kept of a reply. Messages that get the same one after the other share it.
    pub(crate) fn kept(&mut self, reply: &Arc<str>) -> Arc<str> {
        let end = (0..=reply.len().min(REPLY_OCTETS_MAX)).rev().find(|end| reply.is_char_boundary(*end));
        let cut = end.and_then(|end| reply.get(..end)).unwrap_or_default();
        if let Some(last) = self.last_reply.as_ref().filter(|last| ***last == *cut) {
            return Arc::clone(last);
        }
        let kept = if cut.len() == reply.len() { Arc::clone(reply) } else { Arc::from(cut) };
        self.last_reply = Some(Arc::clone(&kept));
        kept
    }

    /// Connections open or being opened.
    pub(crate) fn open(&self) -> u64 {
        self.connections.len() as u64
    }
}
