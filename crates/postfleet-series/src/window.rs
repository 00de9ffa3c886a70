//! One window: which part of time it is, and what was counted in it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::size_of;
use core::net::IpAddr;

use postfleet_cidr::CidrColumns;
use postfleet_gauge::GaugeColumns;
use postfleet_types::{ColumnId, View, normalised};

use crate::piece::OwnedKey;
use crate::series::{Key, Query};
use crate::signed::Signed;

/// Counts by address or by text.
#[derive(Clone, Debug)]
enum Counts {
    Addresses(Box<Signed<CidrColumns>>),
    Texts(Signed<GaugeColumns>),
}

/// Calls the same method of whichever it is.
macro_rules! counts {
    ($self:expr, $counts:ident => $body:expr) => {
        match $self {
            Counts::Addresses($counts) => $body,
            Counts::Texts($counts) => $body,
        }
    };
}

/// One window. Columns are added to it when they first have something in it.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// Its number since the epoch.
    pub(crate) index: u64,
    counts: Counts,
    /// The columns of the series that are in it, with their ids here, ascending by the first.
    columns: Vec<(ColumnId, ColumnId)>,
    /// How many columns were ever added to it.
    inserted: usize,
}

impl Window {
    pub(crate) fn of_addresses(index: u64) -> Self {
        Self { index, counts: Counts::Addresses(Box::default()), columns: Vec::new(), inserted: 0 }
    }

    pub(crate) fn of_texts(index: u64) -> Self {
        Self { index, counts: Counts::Texts(Signed::default()), columns: Vec::new(), inserted: 0 }
    }

    /// Adds to a count. A key of the other kind changes nothing: the series has checked it.
    pub(crate) fn change(&mut self, column: ColumnId, key: Key<'_>, delta: i64) {
        let inner = match self.place(column) {
            Ok(at) => self.columns.get(at).map(|(_, inner)| *inner),
            Err(at) => {
                let inner = counts!(&mut self.counts, counts => counts.insert_column());
                self.inserted += 1;
                self.columns.insert(at, (column, inner));
                Some(inner)
            }
        };
        let Some(inner) = inner else { return };
        match (&mut self.counts, key) {
            (Counts::Addresses(counts), Key::Address(key)) => {
                counts.change(inner, self.inserted, normalised(key), delta);
            }
            (Counts::Texts(counts), Key::Text(key)) => counts.change(inner, self.inserted, key, delta),
            (Counts::Addresses(_), Key::Text(_)) | (Counts::Texts(_), Key::Address(_)) => {}
        }
    }

    pub(crate) fn sum(&self, view: View, query: Query<'_>) -> i64 {
        let Some(view) = self.view(view) else { return 0 };
        match (&self.counts, query) {
            (Counts::Addresses(counts), Query::All) => counts.sum(view, None),
            (Counts::Addresses(counts), Query::Block(block)) => counts.sum(view, Some(block)),
            (Counts::Texts(counts), Query::All) => counts.sum(view, None),
            (Counts::Texts(counts), Query::Text(key)) => counts.sum(view, Some(key)),
            (Counts::Addresses(_), Query::Text(_)) | (Counts::Texts(_), Query::Block(_)) => 0,
        }
    }

    pub(crate) fn count(&self, view: View, key: Key<'_>) -> i64 {
        let Some(view) = self.view(view) else { return 0 };
        match (&self.counts, key) {
            (Counts::Addresses(counts), Key::Address(key)) => counts.count(view, normalised(key)),
            (Counts::Texts(counts), Key::Text(key)) => counts.count(view, key),
            (Counts::Addresses(_), Key::Text(_)) | (Counts::Texts(_), Key::Address(_)) => 0,
        }
    }

    /// Forgets a key in every column.
    pub(crate) fn erase(&mut self, key: Key<'_>) {
        let columns: Vec<ColumnId> = self.columns.iter().map(|(_, inner)| *inner).collect();
        match (&mut self.counts, key) {
            (Counts::Addresses(counts), Key::Address(key)) => counts.erase(normalised(key), &columns),
            (Counts::Texts(counts), Key::Text(key)) => counts.erase(key, &columns),
            (Counts::Addresses(_), Key::Text(_)) | (Counts::Texts(_), Key::Address(_)) => {}
        }
    }

    pub(crate) fn remove_column(&mut self, column: ColumnId) {
        if let Ok(at) = self.place(column) {
            let (_, inner) = self.columns.remove(at);
            counts!(&mut self.counts, counts => counts.remove_column(inner));
        }
    }

    /// The addresses whose count is not 0.
    pub(crate) fn addresses(&self, view: View) -> Vec<IpAddr> {
        match (&self.counts, self.view(view)) {
            (Counts::Addresses(counts), Some(view)) => counts.keys(view),
            _ => Vec::new(),
        }
    }

    /// The texts whose count is not 0.
    pub(crate) fn texts(&self, view: View) -> Vec<&str> {
        match (&self.counts, self.view(view)) {
            (Counts::Texts(counts), Some(view)) => counts.keys(view),
            _ => Vec::new(),
        }
    }

    /// Calls `visit` for the keys behind one whose count is not 0, about `limit` of them; returns the last key looked at
    /// when there are more.
    pub(crate) fn piece(
        &self,
        view: View,
        after: Option<&OwnedKey>,
        limit: usize,
        visit: &mut dyn FnMut(Key<'_>, i64),
    ) -> Option<OwnedKey> {
        let view = self.view(view)?;
        let mut told = |key: Key<'_>, count: i64| {
            if count != 0 {
                visit(key, count);
            }
        };
        match &self.counts {
            Counts::Addresses(counts) => {
                let after = match after {
                    Some(OwnedKey::Address(address)) => Some(*address),
                    Some(OwnedKey::Text(_)) | None => None,
                };
                let (keys, bound) = counts.piece(view, after, limit);
                keys.into_iter().for_each(|key| told(Key::Address(key), counts.count(view, key)));
                bound.map(OwnedKey::Address)
            }
            Counts::Texts(counts) => {
                let after = match after {
                    Some(OwnedKey::Text(text)) => Some(&**text),
                    Some(OwnedKey::Address(_)) | None => None,
                };
                let (keys, bound) = counts.piece(view, after, limit);
                keys.into_iter().for_each(|key| told(Key::Text(key), counts.count(view, key)));
                bound.map(|text| OwnedKey::Text(text.into()))
            }
        }
    }

    pub(crate) fn is_empty(&self, view: View) -> bool {
        self.view(view).is_none_or(|view| counts!(&self.counts, counts => counts.is_empty(view)))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        counts!(&self.counts, counts => counts.memory_bytes())
            + self.columns.capacity() * size_of::<(ColumnId, ColumnId)>()
    }

    /// Frees a part; `true` when the rest can be dropped in a moment.
    pub(crate) fn dismantle(&mut self, keys: usize) -> bool {
        counts!(&mut self.counts, counts => counts.dismantle(keys))
    }

    fn place(&self, column: ColumnId) -> Result<usize, usize> {
        self.columns.binary_search_by_key(&column, |(outer, _)| *outer)
    }

    /// The view in the words of this window; `None` for a column that has nothing in it.
    fn view(&self, view: View) -> Option<View> {
        match view {
            View::Global => Some(View::Global),
            View::Column(column) => {
                let at = self.place(column).ok()?;
                self.columns.get(at).map(|(_, inner)| View::Column(*inner))
            }
        }
    }
}
