//! All columns of one object.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem::size_of;
use core::ops::Bound;

use postfleet_types::{Change, ColumnId, View};

use crate::cells::Cells;

/// All columns of one object that counts by text key, and their sum.
///
/// A key is held once and has a number; each column is an array by that number. Keys are compared by their
/// bytes; [`crate::keys`] brings domains into the form in which they are keys. Memory: about 35 bytes and the
/// text for a key, 8 for its sum and 4 in each column that holds a key near it.
#[derive(Clone, Debug, Default)]
pub struct GaugeColumns {
    numbers: BTreeMap<Box<str>, u32>,
    /// Numbers that no key has at the moment.
    free: Vec<u32>,
    global: Cells<u64>,
    global_total: u64,
    columns: Vec<Column>,
    next_column: u32,
}

#[derive(Clone, Debug)]
struct Column {
    id: ColumnId,
    cells: Cells<u32>,
    total: u64,
}

impl GaugeColumns {
    /// An object without columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an empty column. Its id is never used again in this object.
    pub fn insert_column(&mut self) -> ColumnId {
        let id = ColumnId(self.next_column);
        self.next_column = self.next_column.saturating_add(1);
        self.columns.push(Column { id, cells: Cells::default(), total: 0 });
        id
    }

    /// The columns held, in the order in which they were added.
    pub fn columns(&self) -> impl Iterator<Item = ColumnId> + '_ {
        self.columns.iter().map(|column| column.id)
    }

    /// Drops a column; its counts leave the global view. `false` when there is no such column.
    pub fn remove_column(&mut self, column: ColumnId) -> bool {
        let Ok(at) = self.position(column) else { return false };
        self.clear_column(column);
        self.columns.remove(at);
        true
    }

    /// Empties a column. `false` when there is no such column.
    pub fn clear_column(&mut self, column: ColumnId) -> bool {
        let Ok(at) = self.position(column) else { return false };
        let Some(column) = self.columns.get_mut(at) else { return false };
        let old = core::mem::take(&mut column.cells);
        self.global_total = self.global_total.saturating_sub(column.total);
        column.total = 0;
        let (global, free) = (&mut self.global, &mut self.free);
        self.numbers.retain(|_, number| {
            let count = u64::from(old.at(*number));
            let left = global.at(*number).saturating_sub(count);
            if count > 0 {
                global.set(*number, left);
            }
            if left == 0 {
                free.push(*number);
            }
            left > 0
        });
        true
    }

    /// Makes the column what a snapshot says; the global view takes the difference. `false` when there is no such
    /// column. Of two counts for one key the last holds.
    pub fn replace_column<'a>(
        &mut self,
        column: ColumnId,
        leaves: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> bool {
        if !self.clear_column(column) {
            return false;
        }
        for (key, count) in leaves {
            let held = self.count(View::Column(column), key);
            let delta = i128::from(count) - i128::from(held);
            self.change(column, key, i64::try_from(delta).unwrap_or(i64::MAX));
        }
        true
    }

    /// Adds `delta` to the count of a key in a column.
    ///
    /// A count stays within 0 and `u32::MAX`; what does not fit is left out and reported. A key whose counts are
    /// all 0 is dropped at once.
    pub fn change(&mut self, column: ColumnId, key: &str, delta: i64) -> Change {
        let refused = Change { count: 0, clamped: delta != 0 };
        let Ok(at) = self.position(column) else { return refused };
        let Some(column) = self.columns.get_mut(at) else { return refused };
        let (number, is_new) = match self.numbers.get(key) {
            Some(number) => (*number, false),
            None if delta <= 0 => return refused,
            None => match self.free.pop().map_or_else(|| u32::try_from(self.numbers.len()), Ok) {
                Ok(number) => (number, true),
                Err(_) => return refused,
            },
        };
        let before = column.cells.at(number);
        let wanted = i128::from(before) + i128::from(delta);
        let count = u32::try_from(wanted.max(0)).unwrap_or(u32::MAX);
        column.cells.set(number, count);
        column.total = column.total.saturating_sub(u64::from(before)).saturating_add(u64::from(count));
        let global =
            self.global.at(number).saturating_sub(u64::from(before)).saturating_add(u64::from(count));
        self.global.set(number, global);
        self.global_total =
            self.global_total.saturating_sub(u64::from(before)).saturating_add(u64::from(count));
        if is_new {
            self.numbers.insert(Box::from(key), number);
        } else if global == 0 && self.numbers.remove(key).is_some() {
            self.free.push(number);
        }
        Change { count: u64::from(count), clamped: i128::from(count) != wanted }
    }

    /// The count of a key; 0 where there is none.
    #[must_use]
    pub fn count(&self, view: View, key: &str) -> u64 {
        self.numbers.get(key).map_or(0, |number| self.cell(view, *number))
    }

    /// The sum of all counts.
    #[must_use]
    pub fn total(&self, view: View) -> u64 {
        match view {
            View::Global => self.global_total,
            View::Column(column) => self.column(column).map_or(0, |column| column.total),
        }
    }

    /// The keys with a count other than 0, ascending by bytes. These are also the rows of a display.
    ///
    /// A column takes as long as the global view: all keys of the object are passed.
    pub fn leaves(&self, view: View) -> impl Iterator<Item = (&str, u64)> + '_ {
        self.leaves_with_prefix(view, "")
    }

    /// As [`GaugeColumns::leaves`], for the keys that begin with `prefix`, such as `<binding>::`.
    pub fn leaves_with_prefix<'a>(
        &'a self,
        view: View,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, u64)> + 'a {
        self.numbers
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(move |(key, number)| (&**key, self.cell(view, *number)))
            .filter(|(_, count)| *count > 0)
    }

    /// As [`GaugeColumns::leaves`], from a key on: for those who read a large object piece by piece.
    pub fn leaves_from<'a>(&'a self, view: View, from: &str) -> impl Iterator<Item = (&'a str, u64)> + 'a {
        self.numbers
            .range::<str, _>((Bound::Included(from), Bound::Unbounded))
            .map(move |(key, number)| (&**key, self.cell(view, *number)))
            .filter(|(_, count)| *count > 0)
    }

    /// The rows of a display, ascending by the bytes of the key, without those at 0.
    #[must_use]
    pub fn rows(&self, view: View) -> Vec<(&str, u64)> {
        self.leaves(view).collect()
    }

    /// How many keys have a count in some column.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether nothing is counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Frees the first keys of an object that is not used any more, so that dropping it does not take long at once;
    /// `true` when no key is left. What is counted afterwards means nothing.
    pub fn discard(&mut self, keys: usize) -> bool {
        for _ in 0..keys {
            if self.numbers.pop_first().is_none() {
                return true;
            }
        }
        self.numbers.is_empty()
    }

    /// The memory held, in bytes, without what the allocator adds. Passes all keys. For the map of keys it is an
    /// estimate: nodes of eleven entries, two thirds full.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let text: usize = self.numbers.keys().map(|key| key.len()).sum();
        let map = self.numbers.len() * (size_of::<(Box<str>, u32)>() + 4) * 3 / 2;
        let columns: usize = self.columns.iter().map(|column| column.cells.memory_bytes()).sum();
        size_of::<Self>()
            + text
            + map
            + columns
            + self.global.memory_bytes()
            + self.free.capacity() * size_of::<u32>()
            + self.columns.capacity() * size_of::<Column>()
    }

    fn position(&self, id: ColumnId) -> Result<usize, usize> {
        self.columns.binary_search_by_key(&id, |column| column.id)
    }

    fn column(&self, id: ColumnId) -> Option<&Column> {
        self.position(id).ok().and_then(|at| self.columns.get(at))
    }

    fn cell(&self, view: View, number: u32) -> u64 {
        match view {
            View::Global => self.global.at(number),
            View::Column(id) => self.column(id).map_or(0, |column| u64::from(column.cells.at(number))),
        }
    }
}
