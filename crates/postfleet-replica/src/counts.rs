//! The data of one counting object: a column for every origin, in the structure of its kind, and what of the own
//! column has not been sent yet.

use crate::entries::{BodyEncoder, BoundBodyEncoder, CountKey, decode_bound};
use crate::metrics::Metrics;
use crate::object::{ObjectKind, Structure};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;
use postfleet_cidr::CidrColumns;
use postfleet_gauge::GaugeColumns;
use postfleet_types::{Change, ColumnId, Monotonic, View, WireError};

/// A member whose column is held, by its number here. Never used again after the member has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin(pub(crate) u32);

impl Origin {
    /// This member.
    pub(crate) const OWN: Self = Self(0);
}

/// Why entries could not be added to a column. The peer is at fault; the column is now in between and has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error(transparent)]
    Malformed(#[from] WireError),
    #[error("a count would leave its bounds")]
    OutOfBounds,
}

/// What both structures offer.
pub(crate) trait Table: Default {
    type Key: CountKey + ?Sized;

    fn insert(&mut self) -> ColumnId;
    fn remove(&mut self, column: ColumnId, now: Monotonic);
    fn change(&mut self, column: ColumnId, key: &Self::Key, delta: i64, now: Monotonic) -> Change;
    fn each_leaf(&self, view: View, take: impl FnMut(&Self::Key, u64));
}

impl Table for CidrColumns {
    type Key = IpAddr;

    fn insert(&mut self) -> ColumnId {
        self.insert_column()
    }

    fn remove(&mut self, column: ColumnId, now: Monotonic) {
        self.remove_column(column, now);
    }

    fn change(&mut self, column: ColumnId, key: &IpAddr, delta: i64, now: Monotonic) -> Change {
        Self::change(self, column, *key, delta, now)
    }

    fn each_leaf(&self, view: View, mut take: impl FnMut(&IpAddr, u64)) {
        for (key, count) in self.leaves(view) {
            take(&key, count);
        }
    }
}

impl Table for GaugeColumns {
    type Key = str;

    fn insert(&mut self) -> ColumnId {
        self.insert_column()
    }

    fn remove(&mut self, column: ColumnId, _: Monotonic) {
        self.remove_column(column);
    }

    fn change(&mut self, column: ColumnId, key: &str, delta: i64, _: Monotonic) -> Change {
        Self::change(self, column, key, delta)
    }

    fn each_leaf(&self, view: View, mut take: impl FnMut(&str, u64)) {
        for (key, count) in self.leaves(view) {
            take(key, count);
        }
    }
}

/// One table and which of its columns belongs to whom. A column exists from its first change on.
#[derive(Debug, Default)]
pub(crate) struct Sheet<T> {
    pub(crate) table: T,
    columns: BTreeMap<Origin, ColumnId>,
}

impl<T: Table> Sheet<T> {
    fn column(&mut self, origin: Origin) -> ColumnId {
        *self.columns.entry(origin).or_insert_with(|| self.table.insert())
    }

    fn change(&mut self, origin: Origin, key: &T::Key, delta: i64, now: Monotonic) -> Change {
        let column = self.column(origin);
        self.table.change(column, key, delta, now)
    }

    fn apply(&mut self, origin: Origin, section: &[u8], now: Monotonic) -> Result<usize, ApplyError> {
        let column = self.column(origin);
        let mut changes = 0;
        T::Key::decode(section, |key, delta| {
            changes += 1;
            if self.table.change(column, key, delta, now).clamped {
                return Err(ApplyError::OutOfBounds);
            }
            Ok(())
        })?;
        Ok(changes)
    }

    fn remove(&mut self, origin: Origin, now: Monotonic) {
        if let Some(column) = self.columns.remove(&origin) {
            self.table.remove(column, now);
        }
    }

    /// The view of one origin; `None` when it has no column, which is the same as an empty one.
    pub(crate) fn view(&self, origin: Option<Origin>) -> Option<View> {
        match origin {
            None => Some(View::Global),
            Some(origin) => self.columns.get(&origin).copied().map(View::Column),
        }
    }
}

/// The data of an object by its structure.
#[derive(Debug)]
pub(crate) enum Counts {
    /// Counts by address.
    Addresses(Sheet<CidrColumns>),
    /// Counts by address, a tree for each binding and one for their sum.
    BoundAddresses { sum: Sheet<CidrColumns>, bindings: BTreeMap<Box<str>, Sheet<CidrColumns>> },
    /// Counts by text key.
    Names(Sheet<GaugeColumns>),
    /// Series and gauge caches; what waits of them they keep themselves.
    Metrics(Box<Metrics>),
}

/// Changes of the own column that wait, merged by key.
#[derive(Debug)]
pub(crate) enum Pending {
    Addresses(BTreeMap<IpAddr, i64>),
    BoundAddresses(BTreeMap<Box<str>, BTreeMap<IpAddr, i64>>),
    Names(BTreeMap<Box<str>, i64>),
    /// In [`Counts::Metrics`].
    Elsewhere,
}

/// A key of one of the structures.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key<'a> {
    Address(IpAddr),
    BoundAddress(&'a str, IpAddr),
    Name(&'a str),
}

impl Counts {
    pub(crate) fn new(kind: ObjectKind) -> Option<(Self, Pending)> {
        if matches!(kind, ObjectKind::Metrics | ObjectKind::EccmgrMetrics) {
            return Some((Self::Metrics(Box::default()), Pending::Elsewhere));
        }
        if !kind.counts_connections() {
            return None;
        }
        Some(match (kind.structure(), kind) {
            (Structure::CidrTree, ObjectKind::OutboundCidr) => (
                Self::BoundAddresses { sum: Sheet::default(), bindings: BTreeMap::new() },
                Pending::BoundAddresses(BTreeMap::new()),
            ),
            (Structure::CidrTree, _) => {
                (Self::Addresses(Sheet::default()), Pending::Addresses(BTreeMap::new()))
            }
            _ => (Self::Names(Sheet::default()), Pending::Names(BTreeMap::new())),
        })
    }

    /// Changes the own column. `false` when the count would have left its bounds; then nothing was changed that
    /// the other members would have to hear of.
    pub(crate) fn change_own(&mut self, key: Key<'_>, delta: i64, now: Monotonic) -> bool {
        match (self, key) {
            (Self::Addresses(sheet), Key::Address(address)) => {
                !sheet.change(Origin::OWN, &address, delta, now).clamped
            }
            (Self::BoundAddresses { sum, bindings }, Key::BoundAddress(binding, address)) => {
                if !binding.fits() {
                    return false;
                }
                let bound = match bindings.get_mut(binding) {
                    Some(sheet) => sheet,
                    None => bindings.entry(Box::from(binding)).or_default(),
                };
                !bound.change(Origin::OWN, &address, delta, now).clamped
                    && !sum.change(Origin::OWN, &address, delta, now).clamped
            }
            (Self::Names(sheet), Key::Name(name)) => {
                name.fits() && !sheet.change(Origin::OWN, name, delta, now).clamped
            }
            (Self::Addresses(_) | Self::BoundAddresses { .. } | Self::Names(_) | Self::Metrics(_), _) => {
                false
            }
        }
    }

    /// Adds the entries of a body to a column, and says how many there were.
    pub(crate) fn apply(&mut self, origin: Origin, body: &[u8], now: Monotonic) -> Result<usize, ApplyError> {
        if body.is_empty() {
            return Ok(0);
        }
        match self {
            Self::Addresses(sheet) => sheet.apply(origin, body, now),
            Self::BoundAddresses { sum, bindings } => {
                let mut changes = 0;
                decode_bound(body, |binding, section| {
                    let bound = match bindings.get_mut(binding) {
                        Some(sheet) => sheet,
                        None => bindings.entry(Box::from(binding)).or_default(),
                    };
                    bound.apply(origin, section, now)?;
                    changes += sum.apply(origin, section, now)?;
                    Ok::<(), ApplyError>(())
                })?;
                Ok(changes)
            }
            Self::Names(sheet) => sheet.apply(origin, body, now),
            Self::Metrics(metrics) => Ok(metrics.apply(origin, body, now)?),
        }
    }

    /// As [`Counts::apply`], of a body that had to wait for the rest of its column.
    pub(crate) fn apply_held(
        &mut self,
        origin: Origin,
        body: &[u8],
        now: Monotonic,
    ) -> Result<usize, ApplyError> {
        match self {
            Self::Metrics(metrics) => Ok(metrics.apply_held(origin, body, now)?),
            Self::Addresses(_) | Self::BoundAddresses { .. } | Self::Names(_) => {
                self.apply(origin, body, now)
            }
        }
    }

    /// Drops a column.
    pub(crate) fn remove(&mut self, origin: Origin, now: Monotonic) {
        match self {
            Self::Addresses(sheet) => sheet.remove(origin, now),
            Self::BoundAddresses { sum, bindings } => {
                sum.remove(origin, now);
                for sheet in bindings.values_mut() {
                    sheet.remove(origin, now);
                }
            }
            Self::Names(sheet) => sheet.remove(origin, now),
            Self::Metrics(metrics) => metrics.remove(origin),
        }
    }

    /// A column as bodies of at most about `limit` bytes; none when it is empty. Equal columns give equal bodies.
    pub(crate) fn encode(&self, origin: Origin, limit: usize) -> Vec<Vec<u8>> {
        let of = Some(origin);
        match self {
            Self::Addresses(sheet) => encode_sheet(sheet, of, limit),
            Self::Names(sheet) => encode_sheet(sheet, of, limit),
            Self::BoundAddresses { bindings, .. } => {
                let mut encoder = BoundBodyEncoder::<IpAddr>::new(limit);
                for (binding, sheet) in bindings {
                    encoder.binding(binding);
                    if let Some(view) = sheet.view(of) {
                        sheet.table.each_leaf(view, |key, count| encoder.push(key, signed(count)));
                    }
                }
                encoder.finish()
            }
            Self::Metrics(metrics) => metrics.encode(origin, limit),
        }
    }

    /// The sum of a column, or of all.
    pub(crate) fn total(&self, origin: Option<Origin>) -> u64 {
        match self {
            Self::Addresses(sheet) | Self::BoundAddresses { sum: sheet, .. } => {
                sheet.view(origin).map_or(0, |view| sheet.table.total(view))
            }
            Self::Names(sheet) => sheet.view(origin).map_or(0, |view| sheet.table.total(view)),
            Self::Metrics(metrics) => metrics.total(origin),
        }
    }

    /// The series and gauge caches, where the object has them.
    pub(crate) fn metrics(&self) -> Option<&Metrics> {
        match self {
            Self::Metrics(metrics) => Some(metrics),
            Self::Addresses(_) | Self::BoundAddresses { .. } | Self::Names(_) => None,
        }
    }

    /// As [`Counts::metrics`].
    pub(crate) fn metrics_mut(&mut self) -> Option<&mut Metrics> {
        match self {
            Self::Metrics(metrics) => Some(metrics),
            Self::Addresses(_) | Self::BoundAddresses { .. } | Self::Names(_) => None,
        }
    }

    /// When addresses at 0, windows that left their series and the like are to be forgotten.
    pub(crate) fn poll_prune(&self) -> Option<Monotonic> {
        match self {
            Self::Addresses(sheet) => sheet.table.poll_prune(),
            Self::BoundAddresses { sum, bindings } => bindings
                .values()
                .chain(core::iter::once(sum))
                .filter_map(|sheet| sheet.table.poll_prune())
                .min(),
            Self::Names(_) => None,
            Self::Metrics(metrics) => metrics.poll_upkeep(),
        }
    }

    /// Forgets what is due. `true` when columns of departed members may have become empty.
    pub(crate) fn prune(&mut self, now: Monotonic) -> bool {
        let due = |sheet: &Sheet<CidrColumns>| sheet.table.poll_prune().is_some_and(|due| due <= now);
        match self {
            Self::Addresses(sheet) => {
                if due(sheet) {
                    sheet.table.prune(now);
                }
            }
            Self::BoundAddresses { sum, bindings } => {
                for sheet in bindings.values_mut().chain(core::iter::once(sum)) {
                    if due(sheet) {
                        sheet.table.prune(now);
                    }
                }
                // A binding that nobody uses any more takes no memory.
                bindings.retain(|_, sheet| {
                    sheet.table.total(View::Global) > 0 || sheet.table.poll_prune().is_some()
                });
            }
            Self::Names(_) => {}
            Self::Metrics(metrics) => return metrics.upkeep(now),
        }
        false
    }

    pub(crate) fn prune_all_idle(&mut self) {
        match self {
            Self::Addresses(sheet) => sheet.table.prune_all_idle(),
            Self::BoundAddresses { sum, bindings } => {
                for sheet in bindings.values_mut().chain(core::iter::once(sum)) {
                    sheet.table.prune_all_idle();
                }
            }
            Self::Names(_) | Self::Metrics(_) => {}
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::Addresses(sheet) => sheet.table.memory_bytes(),
            Self::BoundAddresses { sum, bindings } => {
                sum.table.memory_bytes()
                    + bindings.values().map(|sheet| sheet.table.memory_bytes()).sum::<usize>()
            }
            Self::Names(sheet) => sheet.table.memory_bytes(),
            Self::Metrics(metrics) => metrics.memory_bytes(),
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn encode_sheet<T: Table>(sheet: &Sheet<T>, origin: Option<Origin>, limit: usize) -> Vec<Vec<u8>> {
    let mut encoder = BodyEncoder::<T::Key>::new(limit);
    if let Some(view) = sheet.view(origin) {
        sheet.table.each_leaf(view, |key, count| encoder.push(key, signed(count)));
    }
    encoder.finish()
}

impl Pending {
    pub(crate) fn add(&mut self, key: Key<'_>, delta: i64) {
        match (self, key) {
            (Self::Addresses(changes), Key::Address(address)) => add(changes, &address, delta),
            (Self::BoundAddresses(bindings), Key::BoundAddress(binding, address)) => {
                let changes = match bindings.get_mut(binding) {
                    Some(changes) => changes,
                    None => bindings.entry(Box::from(binding)).or_default(),
                };
                add(changes, &address, delta);
                if changes.is_empty() {
                    bindings.remove(binding);
                }
            }
            (Self::Names(changes), Key::Name(name)) => match changes.get_mut(name) {
                Some(sum) => {
                    *sum += delta;
                    if *sum == 0 {
                        changes.remove(name);
                    }
                }
                None => {
                    changes.insert(Box::from(name), delta);
                }
            },
            (Self::Addresses(_) | Self::BoundAddresses(_) | Self::Names(_) | Self::Elsewhere, _) => {}
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Addresses(changes) => changes.clear(),
            Self::BoundAddresses(bindings) => bindings.clear(),
            Self::Names(changes) => changes.clear(),
            Self::Elsewhere => {}
        }
    }

    /// Takes everything, as bodies of at most about `limit` bytes.
    pub(crate) fn take(&mut self, limit: usize) -> Vec<Vec<u8>> {
        match self {
            Self::Addresses(changes) => {
                let mut encoder = BodyEncoder::<IpAddr>::new(limit);
                for (key, delta) in core::mem::take(changes) {
                    encoder.push(&key, delta);
                }
                encoder.finish()
            }
            Self::BoundAddresses(bindings) => {
                let mut encoder = BoundBodyEncoder::<IpAddr>::new(limit);
                for (binding, changes) in core::mem::take(bindings) {
                    encoder.binding(&binding);
                    for (key, delta) in changes {
                        encoder.push(&key, delta);
                    }
                }
                encoder.finish()
            }
            Self::Names(changes) => {
                let mut encoder = BodyEncoder::<str>::new(limit);
                for (key, delta) in core::mem::take(changes) {
                    encoder.push(&key, delta);
                }
                encoder.finish()
            }
            Self::Elsewhere => Vec::new(),
        }
    }
}

fn add(changes: &mut BTreeMap<IpAddr, i64>, key: &IpAddr, delta: i64) {
    let sum = changes.entry(*key).or_insert(0);
    *sum += delta;
    if *sum == 0 {
        changes.remove(key);
    }
}
