//! One shared object on this member: its data, what waits to be sent, and how far each member's column is.

use crate::counts::{Counts, Key, Origin, Pending};
use crate::object::{ObjectKind, ObjectSpec};
use crate::ordered::Table;
use crate::replica::ReplicaOptions;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use postfleet_types::{Monotonic, PrivateName};

use crate::departed::{Departed, Reached};

/// One object.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) spec: ObjectSpec,
    /// Of counting objects.
    pub(crate) data: Option<Data>,
    /// Of ordered objects. Neither: a kind that this build lists and does not keep.
    pub(crate) table: Option<Table>,
}

/// The data of a counting object.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) counts: Counts,
    pub(crate) pending: Pending,
    /// Changes since the last sending, each counted, merged or not.
    pub(crate) mutations: u32,
    /// When the oldest of them was made.
    pub(crate) oldest: Option<Monotonic>,
    /// The number of the next batch.
    pub(crate) next: u64,
    /// Connections opened before this generation are not counted here, so their end is not either.
    pub(crate) since: u64,
    /// The columns of the members that are present.
    pub(crate) remote: BTreeMap<Origin, Column>,
    /// Whether joiners get what exists.
    pub(crate) snapped: bool,
    /// Whether the others' columns are held here.
    pub(crate) foreign: bool,
    /// Columns of members that are gone, of a kind that keeps them.
    pub(crate) departed: BTreeMap<PrivateName, Departed>,
    /// How far the copies were that are kept while their members, which are back, have still to tell.
    pub(crate) retained: BTreeMap<Origin, Reached>,
    pub(crate) clamp_noticed: Option<Monotonic>,
}

/// How far another member's column is.
#[derive(Debug)]
pub(crate) enum Column {
    /// A marker has to come; batches are ignored.
    Awaiting {
        /// Since when, or when it was last asked for.
        since: Monotonic,
    },
    /// The marker has come, its chunks come, and what has come is counted.
    Receiving(Box<Receiving>),
    /// Complete up to a point of the order.
    Live {
        /// The number of the batch that comes next.
        next: u64,
    },
    /// Nothing of what was before is coming: the next batch is taken as it comes.
    Fresh,
    /// The member does not have the object, or it is not for this member.
    Absent,
}

impl Column {
    /// Whether nothing of it is missing.
    pub(crate) const fn complete(&self) -> bool {
        matches!(self, Self::Live { .. } | Self::Fresh | Self::Absent)
    }
}

/// A column on its way.
#[derive(Debug)]
pub(crate) struct Receiving {
    pub(crate) session: u64,
    /// Its place in the marker.
    pub(crate) object: usize,
    pub(crate) next: u64,
    pub(crate) chunks: usize,
    pub(crate) digest: u64,
    /// Chunks that have been applied, and the digest of these.
    pub(crate) received: usize,
    pub(crate) running: u64,
    /// Batches delivered after the marker, in order.
    pub(crate) held: Vec<Bytes>,
    pub(crate) held_bytes: usize,
    /// When something last came.
    pub(crate) since: Monotonic,
}

impl Shared {
    pub(crate) fn new(spec: ObjectSpec, since: u64, options: &ReplicaOptions) -> Self {
        let (snapped, foreign) = (spec.snapped(), options.manager || spec.kind != ObjectKind::EccmgrMetrics);
        let data = Counts::new(spec.kind).map(|(counts, pending)| Data {
            counts,
            pending,
            mutations: 0,
            oldest: None,
            next: 1,
            since,
            remote: BTreeMap::new(),
            snapped,
            foreign,
            departed: BTreeMap::new(),
            retained: BTreeMap::new(),
            clamp_noticed: None,
        });
        let table = Table::new(&spec, options);
        Self { spec, data, table }
    }
}

impl Data {
    /// Notes a change of the own column for sending.
    pub(crate) fn note(&mut self, key: Key<'_>, delta: i64, now: Monotonic) {
        self.pending.add(key, delta);
        self.noted(now);
    }

    /// Something more waits to be sent.
    pub(crate) fn noted(&mut self, now: Monotonic) {
        self.mutations = self.mutations.saturating_add(1);
        self.oldest.get_or_insert(now);
    }

    /// Nothing waits any more.
    pub(crate) fn forget_pending(&mut self, now: Monotonic) {
        self.pending.clear();
        if let Some(metrics) = self.counts.metrics_mut() {
            metrics.forget_pending(now);
        }
        self.mutations = 0;
        self.oldest = None;
    }

    /// Takes what waits, as bodies of at most about `limit` bytes.
    pub(crate) fn take_pending(&mut self, limit: usize) -> Vec<Vec<u8>> {
        self.mutations = 0;
        self.oldest = None;
        match self.counts.metrics_mut() {
            Some(metrics) => metrics.take_pending(limit),
            None => self.pending.take(limit),
        }
    }

    /// How the column of a member that has come begins.
    pub(crate) const fn beginning(&self, now: Monotonic) -> Column {
        match (self.foreign, self.snapped) {
            (false, _) => Column::Absent,
            (true, false) => Column::Fresh,
            (true, true) => Column::Awaiting { since: now },
        }
    }

    /// Forgets the counts of a column and waits for a marker. What nobody would send again stays.
    pub(crate) fn restart(&mut self, origin: Origin, now: Monotonic) {
        if self.snapped {
            self.counts.remove(origin, now);
            self.retained.remove(&origin);
        }
        self.remote.insert(origin, self.beginning(now));
    }

    /// Forgets a member.
    pub(crate) fn forget(&mut self, origin: Origin, now: Monotonic) {
        self.counts.remove(origin, now);
        self.remote.remove(&origin);
    }
}
