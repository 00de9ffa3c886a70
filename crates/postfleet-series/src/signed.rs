//! Signed counts on top of the unsigned structures: what was added and what was taken away are counted apart.
//!
//! The difference is what a reader gets. Nothing is clamped on the way, so members that book the same events in another
//! order agree.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use postfleet_cidr::CidrColumns;
use postfleet_gauge::GaugeColumns;
use postfleet_types::{ColumnId, Monotonic, Prefix, View};

/// Counts of one window. Subtracting is rare, so its half exists only where something was taken away.
#[derive(Clone, Debug)]
pub(crate) struct Signed<T> {
    added: T,
    taken: Option<Box<T>>,
}

/// What both structures can do here.
pub(crate) trait Columns: Default {
    type Key<'a>: Copy + Ord;
    type Query<'a>: Copy;

    fn insert_column(&mut self) -> ColumnId;
    fn remove_column(&mut self, column: ColumnId);
    fn raise(&mut self, column: ColumnId, key: Self::Key<'_>, by: u64);
    fn count(&self, view: View, key: Self::Key<'_>) -> u64;
    fn sum(&self, view: View, query: Self::Query<'_>) -> u64;
    fn erase(&mut self, key: Self::Key<'_>, columns: &[ColumnId]);
    fn for_each<'a>(&'a self, view: View, visit: &mut dyn FnMut(Self::Key<'a>));
    /// The first `limit` keys behind one.
    fn behind<'a>(&'a self, view: View, after: Option<Self::Key<'_>>, limit: usize) -> Vec<Self::Key<'a>>;
    fn is_empty(&self, view: View) -> bool;
    fn memory_bytes(&self) -> usize;
    /// Frees a part of the memory; `true` when the rest can be dropped in a moment.
    fn dismantle(&mut self, keys: usize) -> bool;
}

/// Which addresses are asked for; all of them where there is no prefix.
pub(crate) type AddressQuery = Option<Prefix>;

impl Columns for CidrColumns {
    type Key<'a> = IpAddr;
    type Query<'a> = AddressQuery;

    fn insert_column(&mut self) -> ColumnId {
        Self::insert_column(self)
    }

    fn remove_column(&mut self, column: ColumnId) {
        Self::remove_column(self, column, Monotonic::ZERO);
        self.prune_all_idle();
    }

    fn raise(&mut self, column: ColumnId, key: IpAddr, by: u64) {
        self.change(column, key, i64::try_from(by).unwrap_or(i64::MAX), Monotonic::ZERO);
    }

    fn count(&self, view: View, key: IpAddr) -> u64 {
        Self::count(self, view, key)
    }

    fn sum(&self, view: View, query: AddressQuery) -> u64 {
        match query {
            Some(prefix) => Self::sum(self, view, prefix),
            None => self.total(view),
        }
    }

    fn erase(&mut self, key: IpAddr, columns: &[ColumnId]) {
        let mut erased = false;
        for column in columns {
            let count = Self::count(self, View::Column(*column), key);
            if count > 0 {
                self.change(
                    *column,
                    key,
                    i64::try_from(count).map_or(i64::MIN, |count| -count),
                    Monotonic::ZERO,
                );
                erased = true;
            }
        }
        // Windows have no displays whose branches would have to stay, so nothing stays at 0.
        if erased {
            self.prune_all_idle();
        }
    }

    fn for_each(&self, view: View, visit: &mut dyn FnMut(IpAddr)) {
        self.leaves(view).for_each(|(key, _)| visit(key));
    }

    fn behind(&self, view: View, after: Option<IpAddr>, limit: usize) -> Vec<IpAddr> {
        let from = after.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let keys = self.leaves_from(view, from).map(|(key, _)| key);
        keys.filter(|key| Some(*key) != after).take(limit).collect()
    }

    fn is_empty(&self, view: View) -> bool {
        self.total(view) == 0
    }

    fn memory_bytes(&self) -> usize {
        Self::memory_bytes(self)
    }

    fn dismantle(&mut self, _: usize) -> bool {
        // It lies in large pieces: a million addresses are some ten thousand of them.
        true
    }
}

impl Columns for GaugeColumns {
    type Key<'a> = &'a str;
    type Query<'a> = Option<&'a str>;

    fn insert_column(&mut self) -> ColumnId {
        Self::insert_column(self)
    }

    fn remove_column(&mut self, column: ColumnId) {
        Self::remove_column(self, column);
    }

    fn raise(&mut self, column: ColumnId, key: &str, by: u64) {
        self.change(column, key, i64::try_from(by).unwrap_or(i64::MAX));
    }

    fn count(&self, view: View, key: &str) -> u64 {
        Self::count(self, view, key)
    }

    fn sum(&self, view: View, query: Option<&str>) -> u64 {
        query.map_or_else(|| self.total(view), |key| Self::count(self, view, key))
    }

    fn erase(&mut self, key: &str, columns: &[ColumnId]) {
        for column in columns {
            let count = Self::count(self, View::Column(*column), key);
            self.change(*column, key, i64::try_from(count).map_or(i64::MIN, |count| -count));
        }
    }

    fn for_each<'a>(&'a self, view: View, visit: &mut dyn FnMut(&'a str)) {
        self.leaves(view).for_each(|(key, _)| visit(key));
    }

    fn behind<'a>(&'a self, view: View, after: Option<&str>, limit: usize) -> Vec<&'a str> {
        let keys = self.leaves_from(view, after.unwrap_or_default()).map(|(key, _)| key);
        keys.filter(|key| Some(*key) != after).take(limit).collect()
    }

    fn is_empty(&self, view: View) -> bool {
        self.total(view) == 0
    }

    fn memory_bytes(&self) -> usize {
        Self::memory_bytes(self)
    }

    fn dismantle(&mut self, keys: usize) -> bool {
        self.discard(keys)
    }
}

impl<T: Columns> Default for Signed<T> {
    fn default() -> Self {
        Self { added: T::default(), taken: None }
    }
}

impl<T: Columns> Signed<T> {
    /// Adds a column; both halves know it by the same id.
    pub(crate) fn insert_column(&mut self) -> ColumnId {
        if let Some(taken) = &mut self.taken {
            taken.insert_column();
        }
        self.added.insert_column()
    }

    pub(crate) fn remove_column(&mut self, column: ColumnId) {
        self.added.remove_column(column);
        if let Some(taken) = &mut self.taken {
            taken.remove_column(column);
        }
    }

    /// Adds `delta` in a column. `inserted` is how many columns were ever added here.
    pub(crate) fn change(&mut self, column: ColumnId, inserted: usize, key: T::Key<'_>, delta: i64) {
        if delta >= 0 {
            self.added.raise(column, key, delta.unsigned_abs());
        } else {
            let taken = self.taken.get_or_insert_with(|| {
                let mut taken = Box::<T>::default();
                for _ in 0..inserted {
                    taken.insert_column();
                }
                taken
            });
            taken.raise(column, key, delta.unsigned_abs());
        }
    }

    pub(crate) fn count(&self, view: View, key: T::Key<'_>) -> i64 {
        difference(self.added.count(view, key), self.taken.as_ref().map_or(0, |taken| taken.count(view, key)))
    }

    pub(crate) fn sum(&self, view: View, query: T::Query<'_>) -> i64 {
        difference(self.added.sum(view, query), self.taken.as_ref().map_or(0, |taken| taken.sum(view, query)))
    }

    pub(crate) fn erase(&mut self, key: T::Key<'_>, columns: &[ColumnId]) {
        self.added.erase(key, columns);
        if let Some(taken) = &mut self.taken {
            taken.erase(key, columns);
        }
    }

    /// The keys whose count is not 0, each once. Ascending where nothing was taken away.
    pub(crate) fn keys(&self, view: View) -> Vec<T::Key<'_>> {
        let mut keys = Vec::new();
        self.added.for_each(view, &mut |key| {
            if self.count(view, key) != 0 {
                keys.push(key);
            }
        });
        if let Some(taken) = &self.taken {
            taken.for_each(view, &mut |key| {
                if self.added.count(view, key) == 0 {
                    keys.push(key);
                }
            });
        }
        keys
    }

    /// The keys behind one, ascending, at most twice `limit`, some of which may be at 0; and the last of them where
    /// there are more.
    pub(crate) fn piece<'a>(
        &'a self,
        view: View,
        after: Option<T::Key<'_>>,
        limit: usize,
    ) -> (Vec<T::Key<'a>>, Option<T::Key<'a>>) {
        let mut keys = self.added.behind(view, after, limit);
        let mut bound = keys.last().copied().filter(|_| keys.len() == limit);
        if let Some(taken) = &self.taken {
            let more = taken.behind(view, after, limit);
            let end = more.last().copied().filter(|_| more.len() == limit);
            // Behind the bound, one of the two has not been read yet.
            bound = match (bound, end) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            keys.extend(more);
            keys.sort_unstable();
            keys.dedup();
            keys.retain(|key| bound.is_none_or(|bound| *key <= bound));
        }
        (keys, bound)
    }

    pub(crate) fn is_empty(&self, view: View) -> bool {
        self.added.is_empty(view) && self.taken.as_ref().is_none_or(|taken| taken.is_empty(view))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.added.memory_bytes() + self.taken.as_ref().map_or(0, |taken| taken.memory_bytes())
    }

    pub(crate) fn dismantle(&mut self, keys: usize) -> bool {
        self.added.dismantle(keys) && self.taken.as_mut().is_none_or(|taken| taken.dismantle(keys))
    }
}

fn difference(added: u64, taken: u64) -> i64 {
    let whole = i128::from(added) - i128::from(taken);
    i64::try_from(whole).unwrap_or(if whole > 0 { i64::MAX } else { i64::MIN })
}
