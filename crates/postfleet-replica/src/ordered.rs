//! Objects that are one state for all: what the frame asks of them, and what they are.
//!
//! A counting object is a sum of columns. An ordered object is a state machine: its operations travel as opaque
//! **bodies** in the total order, and every member applies them where they are delivered, the sender included. So all
//! members hold the same state at the same point of the order. When a configuration brings members, the object
//! itself exchanges what its sides hold, again as bodies.
//!
//! The frame (`tables.rs`, `configuring.rs`) says who shares the objects, delivers, and decides when a message
//! leaves. An object is a variant of [`Table`] that implements [`Ordered`].

use crate::cache::SharedCache;
use crate::object::{ObjectKind, ObjectSpec};
use crate::replica::ReplicaOptions;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::time::Duration;
use postfleet_cache::CacheLimits;
use postfleet_throttle::{Configuration, Partition, SharedThrottles, SlotOptions, Slots, ThrottleOptions};
use postfleet_types::{Monotonic, Notice, PrivateName, WireError};

/// Settings that all ordered objects of this member share. All of them have to be the same on all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableOptions {
    /// What a side of a split fleet gets of a limit (option `partition`, default `share`).
    pub partition: Partition,
    /// How long a member that is out of reach may go on using what it owns. Default 4 s; the detection time of the
    /// bus when that is longer.
    pub grace: Duration,
    /// How long a slot is owned before it goes to a member that owns one fewer (option `slot_handover`, default 5 s).
    pub slot_handover: Duration,
    /// The most named throttles (option `siv_throttle_cache_size`, default 1000).
    pub named_throttles_max: usize,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            partition: Partition::Share,
            grace: Duration::from_secs(4),
            slot_handover: Duration::from_secs(5),
            named_throttles_max: 1000,
        }
    }
}

impl TableOptions {
    /// With what the stanza of an object says itself.
    pub(crate) fn of(&self, spec: &ObjectSpec) -> Self {
        Self { partition: spec.partition.unwrap_or(self.partition), ..*self }
    }
}

/// How much waits to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Nothing.
    Nothing,
    /// Operations that somebody waits for: they leave as soon as none of this member's is under way, and never wait
    /// for `max_delay`.
    Soon,
    /// Changes that may wait, as those of counting objects do: `max_delay` and `max_pending` decide, and the default
    /// `min_delay` sends them when nothing of this member is under way.
    Lazily {
        /// When the oldest of them was made.
        since: Monotonic,
        /// How many were made since.
        changes: u32,
    },
}

/// Why a body was not applied. Nothing of it was, here or on any other member of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It has a version that this build does not understand.
    Version(u8),
    /// It does not follow the format.
    Malformed(WireError),
}

/// One ordered object on this member.
///
/// The frame calls, in the order of the bus: [`Ordered::reconfigure`] for every change of who shares the objects
/// ([`Ordered::enter`] instead, once, when the object was added while a configuration stood), [`Ordered::deliver`]
/// for every body of the object, own ones included, [`Ordered::lost`] when the connection ended. Own bodies that
/// were polled and not delivered before `lost` will never come.
///
/// Nothing that another member can see may depend on a clock or on the order of a map: only on what was delivered.
pub(crate) trait Ordered: Debug {
    /// Takes the next configuration. One with additions is where sides exchange what they hold.
    fn reconfigure(&mut self, now: Monotonic, next: &Configuration<'_>);

    /// The process has just started and will join others: until it has, it uses nothing that they may be using.
    fn start(&mut self, _now: Monotonic) {}

    /// The object was made while this configuration stood: the others are to be asked for what they hold.
    fn enter(&mut self, now: Monotonic, standing: &Configuration<'_>);

    /// The connection to the bus is gone; this member goes on alone.
    fn lost(&mut self, now: Monotonic);

    /// Applies the next body of a member, this one included.
    ///
    /// # Errors
    /// [`BodyError`]; the same on every member of this version.
    fn deliver(&mut self, now: Monotonic, from: &PrivateName, body: &[u8]) -> Result<(), BodyError>;

    /// Whether [`Ordered::poll_message`] has a body.
    fn waiting(&self) -> Waiting;

    /// The next body, of at most about `bytes_max` bytes. Called until it returns `None` or the message is full.
    fn poll_message(&mut self, now: Monotonic, bytes_max: usize) -> Option<Vec<u8>>;

    /// When [`Ordered::handle_timeout`] has something to do. Changed by every other call.
    fn poll_deadline(&self) -> Option<Monotonic>;

    /// Does what time has brought. Early and repeated calls do no harm.
    fn handle_timeout(&mut self, now: Monotonic);

    /// The next line for the log.
    fn poll_notice(&mut self) -> Option<Notice>;

    /// Something that this member sent at that time has come back: it is not cut off.
    fn heard(&mut self, _now: Monotonic, _sent: Monotonic) {}

    /// The bus says whether this side is quorate; `None`: nothing counts votes, or not yet.
    fn set_quorum(&mut self, _now: Monotonic, _held: Option<bool>) {}

    /// The process of a departed member is known to be dead. Called on every member.
    fn confirm_dead(&mut self, _now: Monotonic, _member: &PrivateName) {}

    /// The operator says that a departed node is gone for good. Called where it was said, only.
    fn forget(&mut self, _now: Monotonic, _node: &str) {}

    /// This member will leave in good order. What [`Ordered::poll_message`] returns is sent before it does.
    fn leave(&mut self, _now: Monotonic) {}

    /// The object is dropped here while this member stays in the fleet; the body is sent after all others.
    fn withdraw(&self, _now: Monotonic) -> Option<Vec<u8>> {
        None
    }

    /// Members that have not yet sent what is exchanged; empty when nothing is being exchanged.
    fn awaited(&self) -> Vec<&PrivateName> {
        Vec::new()
    }

    /// A digest of the state that all members agree on, equal on all of them at the same point of the order.
    fn fingerprint(&self) -> u64;

    /// Takes other settings.
    fn set_options(&mut self, _now: Monotonic, _options: &TableOptions) {}
}

/// The ordered objects that there are.
#[derive(Debug)]
pub(crate) enum Table {
    /// `OBTM`, `OBTC`, `shared_named_throttles`.
    Throttles(Box<SharedThrottles>),
    /// `outbound_slots`.
    Slots(Box<Slots>),
    /// `cache`.
    Cache(Box<SharedCache>),
}

impl Table {
    /// An object with nothing in it; `None` for kinds that are not ordered.
    pub(crate) fn new(spec: &ObjectSpec, options: &ReplicaOptions) -> Option<Self> {
        let TableOptions { partition, grace, slot_handover, named_throttles_max } = options.tables.of(spec);
        let throttles = |capacity| {
            let settings = ThrottleOptions { partition, grace, capacity };
            Some(Self::Throttles(Box::new(SharedThrottles::new(&options.own, settings))))
        };
        match spec.kind {
            ObjectKind::Obtm | ObjectKind::Obtc => throttles(None),
            ObjectKind::SharedNamedThrottles => throttles(Some(named_throttles_max)),
            ObjectKind::OutboundSlots => {
                let settings = SlotOptions { partition, grace, handover: slot_handover };
                Some(Self::Slots(Box::new(Slots::new(&options.own, settings))))
            }
            ObjectKind::InboundCidr
            | ObjectKind::OutboundCidr
            | ObjectKind::OutboundDomains
            | ObjectKind::OutboundBindingDomains
            | ObjectKind::OutboundHosts
            | ObjectKind::Metrics
            | ObjectKind::EccmgrMetrics => None,
            ObjectKind::Cache => {
                let cache = SharedCache::new(&options.own, spec.snapped(), cache_limits(spec));
                Some(Self::Cache(Box::new(cache)))
            }
        }
    }

    pub(crate) fn ordered(&self) -> &dyn Ordered {
        match self {
            Self::Throttles(table) => &**table,
            Self::Slots(table) => &**table,
            Self::Cache(cache) => &**cache,
        }
    }

    pub(crate) fn ordered_mut(&mut self) -> &mut dyn Ordered {
        match self {
            Self::Throttles(table) => &mut **table,
            Self::Slots(table) => &mut **table,
            Self::Cache(cache) => &mut **cache,
        }
    }
}

/// How much the cache of a stanza holds.
pub(crate) fn cache_limits(spec: &ObjectSpec) -> CacheLimits {
    CacheLimits { pairs_max: spec.max_size.map(|max| usize::try_from(max).unwrap_or(usize::MAX)) }
}
