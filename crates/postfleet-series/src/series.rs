//! A series: the running window and the past ones, for every column.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::mem::size_of;
use core::net::IpAddr;

use postfleet_types::{ColumnId, Prefix, View, WallTime, normalised};

use crate::monitor::Monitor;
use crate::piece::Place;
use crate::window::Window;

/// What a series counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeriesKind {
    /// IPv4 addresses: type `cidr`.
    Cidr,
    /// IPv6 addresses: type `cidr_ipv6`.
    CidrIpv6,
    /// Addresses of both families: the built-in series by client.
    Clients,
    /// Texts: type `string`.
    Text,
}

impl SeriesKind {
    /// The word of the type. The built-in series are written as `cidr`; a file tells families by their addresses.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cidr | Self::Clients => "cidr",
            Self::CidrIpv6 => "cidr_ipv6",
            Self::Text => "string",
        }
    }

    /// The kind that policy names by that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Cidr, Self::CidrIpv6, Self::Text].into_iter().find(|kind| kind.word() == word)
    }

    const fn takes(self, key: Key<'_>) -> bool {
        match (self, key) {
            (Self::Cidr, Key::Address(address)) => address.is_ipv4(),
            (Self::CidrIpv6, Key::Address(address)) => address.is_ipv6(),
            (Self::Clients, Key::Address(_)) | (Self::Text, Key::Text(_)) => true,
            (Self::Text, Key::Address(_)) | (Self::Cidr | Self::CidrIpv6 | Self::Clients, Key::Text(_)) => {
                false
            }
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    /// An address. An IPv4-mapped IPv6 address is the IPv4 address.
    Address(IpAddr),
    /// A text.
    Text(&'a str),
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What is asked for. A question of the other kind is answered with 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query<'a> {
    /// Everything.
    All,
    /// The addresses of a block.
    Block(Prefix),
    /// One text.
    Text(&'a str),
}

/// Windows by their numbers, 0 the running one, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    low: u16,
    high: u16,
}

impl Range {
    /// From one window to the other, in whichever order they are given.
    #[must_use]
    pub const fn new(one: u16, other: u16) -> Self {
        if one <= other { Self { low: one, high: other } } else { Self { low: other, high: one } }
    }

    /// One window.
    #[must_use]
    pub const fn window(number: u16) -> Self {
        Self { low: number, high: number }
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booked {
    /// It counts in the window of that number.
    In(u16),
    /// It is older than the oldest window and counts nowhere.
    TooOld,
}

/// Why an event was refused. The caller is at fault; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The series counts by something else.
    #[error("a series of type {} does not count this kind of key", .0.word())]
    Kind(SeriesKind),
    /// There is no such column.
    #[error("no such column")]
    Column,
}

/// A series.
///
/// Call [`Series::advance`] before reading and booking: it is cheap while the window stays the same. A window that has
/// left the series is taken apart in [`Series::dismantle`], bit by bit, so that no call takes long.
#[derive(Clone, Debug)]
pub struct Series {
    kind: SeriesKind,
    monitor: Monitor,
    /// The index of the running window.
    current: u64,
    /// Ascending by index. A window without events is absent.
    windows: VecDeque<Window>,
    /// Left the series, not yet freed.
    retired: Vec<Window>,
    /// Ascending.
    columns: Vec<ColumnId>,
    next_column: u32,
}

impl Series {
    /// An empty series, without columns.
    #[must_use]
    pub fn new(kind: SeriesKind, monitor: Monitor, now: WallTime) -> Self {
        Self {
            kind,
            monitor,
            current: monitor.index(now.unix_seconds()),
            windows: VecDeque::new(),
            retired: Vec::new(),
            columns: Vec::new(),
            next_column: 0,
        }
    }

    /// What it counts by.
    #[must_use]
    pub const fn kind(&self) -> SeriesKind {
        self.kind
    }

    /// Its windows.
    #[must_use]
    pub const fn monitor(&self) -> Monitor {
        self.monitor
    }

    /// Adds an empty column. Its id is never used again in this series.
    pub fn insert_column(&mut self) -> ColumnId {
        let id = ColumnId(self.next_column);
        self.next_column = self.next_column.saturating_add(1);
        self.columns.push(id);
        id
    }

    /// The columns held, in the order in which they were added.
    pub fn columns(&self) -> impl Iterator<Item = ColumnId> + '_ {
        self.columns.iter().copied()
    }

    /// Drops a column and what it counted. `false` when there is no such column.
    pub fn remove_column(&mut self, column: ColumnId) -> bool {
        let Ok(at) = self.columns.binary_search(&column) else { return false };
        self.columns.remove(at);
        for window in &mut self.windows {
            window.remove_column(column);
        }
        true
    }

    /// Whether a column counts nothing any more. That of a departed member is dropped then.
    #[must_use]
    pub fn is_empty(&self, view: View) -> bool {
        self.windows.iter().all(|window| window.is_empty(view))
    }

    /// Moves on to the window that `now` lies in. Windows that are too old then leave the series at once; their memory
    /// is given back by [`Series::dismantle`].
    ///
    /// A clock that was set back does not bring the running window back, as long as that lies within the span of the
    /// series; one that was set back further begins the series anew, or nothing would be counted until it caught up.
    pub fn advance(&mut self, now: WallTime) {
        let index = self.monitor.index(now.unix_seconds());
        if index.saturating_add(u64::from(self.monitor.number())) < self.current {
            self.retired.extend(self.windows.drain(..));
            self.current = index;
        }
        if index <= self.current {
            return;
        }
        self.current = index;
        let oldest = self.oldest();
        while self.windows.front().is_some_and(|window| window.index < oldest) {
            self.retired.extend(self.windows.pop_front());
        }
    }

    /// Frees windows that left the series, about `keys` keys of it. `true` when nothing is left to free.
    pub fn dismantle(&mut self, keys: usize) -> bool {
        if let Some(window) = self.retired.last_mut()
            && window.dismantle(keys)
        {
            self.retired.pop();
        }
        self.retired.is_empty()
    }

    /// Whether [`Series::dismantle`] has something to do.
    #[must_use]
    pub fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// The window that `at` lies in, by its index; what lies in the future lies in the running one. `None` when it is
    /// older than the oldest.
    #[must_use]
    pub fn place(&self, at: WallTime) -> Option<u64> {
        let index = self.monitor.index(at.unix_seconds()).min(self.current);
        (index >= self.oldest()).then_some(index)
    }

    /// Adds to the count of a key in the window that `at` lies in; what lies in the future counts as now. `delta` may be
    /// negative: a count may too, and only answers to questions are not.
    ///
    /// # Errors
    /// [`BookError`]; nothing has changed then.
    pub fn book(
        &mut self,
        column: ColumnId,
        key: Key<'_>,
        delta: i64,
        at: WallTime,
    ) -> Result<Booked, BookError> {
        let key = match key {
            Key::Address(address) => Key::Address(normalised(address)),
            Key::Text(_) => key,
        };
        if !self.kind.takes(key) {
            return Err(BookError::Kind(self.kind));
        }
        if self.columns.binary_search(&column).is_err() {
            return Err(BookError::Column);
        }
        let index = self.monitor.index(at.unix_seconds()).min(self.current);
        if index < self.oldest() {
            return Ok(Booked::TooOld);
        }
        let number = u16::try_from(self.current - index).unwrap_or(u16::MAX);
        if delta != 0
            && let Some(window) = self.window_mut(index)
        {
            window.change(column, key, delta);
        }
        Ok(Booked::In(number))
    }

    /// The sum over windows; 0 where it would be negative.
    #[must_use]
    pub fn sum(&self, view: View, query: Query<'_>, range: Range) -> u64 {
        u64::try_from(self.balance(view, query, range)).unwrap_or(0)
    }

    /// The sum over windows as it is: for those who add parts of a count that may each be negative.
    #[must_use]
    pub fn balance(&self, view: View, query: Query<'_>, range: Range) -> i64 {
        let sum: i128 = self.windows_in(range).map(|window| i128::from(window.sum(view, query))).sum();
        i64::try_from(sum).unwrap_or(if sum > 0 { i64::MAX } else { i64::MIN })
    }

    /// The weighted sliding average at that time; see [`Monitor::average`].
    #[must_use]
    pub fn average(&self, view: View, query: Query<'_>, now: WallTime) -> u64 {
        let begin = self.current.saturating_mul(u64::from(self.monitor.interval()));
        let sum = |window| self.sum(view, query, Range::window(window));
        self.monitor.average(sum(0), sum(1), now.unix_seconds().saturating_sub(begin))
    }

    /// Forgets a key in every window and every column.
    pub fn remove_item(&mut self, key: Key<'_>) {
        for window in &mut self.windows {
            window.erase(key);
        }
    }

    /// The windows in which the count of a key is not 0: when each begins, and the count. Oldest first.
    #[must_use]
    pub fn cells(&self, view: View, key: Key<'_>) -> Vec<(WallTime, i64)> {
        self.windows
            .iter()
            .map(|window| (self.monitor.begin(window.index), window.count(view, key)))
            .filter(|(_, count)| *count != 0)
            .collect()
    }

    /// Calls `visit` for every window and key whose count is not 0: the time the window begins at, the key, the count.
    /// Oldest window first, keys ascending.
    pub fn for_each(&self, view: View, mut visit: impl FnMut(WallTime, Key<'_>, i64)) {
        for window in &self.windows {
            let begin = window.index.saturating_mul(u64::from(self.monitor.interval()));
            let mut keys: Vec<Key<'_>> = match self.kind {
                SeriesKind::Text => window.texts(view).into_iter().map(Key::Text).collect(),
                SeriesKind::Cidr | SeriesKind::CidrIpv6 | SeriesKind::Clients => {
                    window.addresses(view).into_iter().map(Key::Address).collect()
                }
            };
            keys.sort_unstable();
            for key in keys {
                visit(WallTime::from_unix_seconds(begin), key, window.count(view, key));
            }
        }
    }

    /// As [`Series::for_each`], about `limit` keys from a place on; returns the place where to go on, `None` at the end. What
    /// is counted between two calls is told, or not, by where it is.
    pub fn piece(
        &self,
        view: View,
        from: &Place,
        limit: usize,
        visit: &mut dyn FnMut(WallTime, Key<'_>, i64),
    ) -> Option<Place> {
        let mut windows = self.windows.iter().skip_while(|window| window.index < from.window);
        let window = windows.next()?;
        let after = from.after.as_ref().filter(|_| window.index == from.window);
        let begin = self.monitor.begin(window.index);
        match window.piece(view, after, limit.max(1), &mut |key, count| visit(begin, key, count)) {
            Some(last) => Some(Place { window: window.index, after: Some(last) }),
            None => windows.next().map(|next| Place { window: next.index, after: None }),
        }
    }

    /// Every key with its counts from window 0 to the oldest, for lists. Ascending; keys with nothing but zeros are left
    /// out. Passes everything.
    #[must_use]
    pub fn rows(&self, view: View) -> Vec<(String, Vec<i64>)> {
        let length = usize::from(self.monitor.number()) + 1;
        let mut addresses: BTreeMap<IpAddr, Vec<i64>> = BTreeMap::new();
        let mut texts: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        self.for_each(view, |begin, key, count| {
            let cells = match key {
                Key::Address(address) => addresses.entry(address).or_default(),
                Key::Text(text) => texts.entry(String::from(text)).or_default(),
            };
            cells.resize(length, 0);
            let number = self.current.saturating_sub(self.monitor.index(begin.unix_seconds()));
            if let Some(cell) = usize::try_from(number).ok().and_then(|number| cells.get_mut(number)) {
                *cell = count;
            }
        });
        addresses.into_iter().map(|(key, cells)| (alloc::format!("{key}"), cells)).chain(texts).collect()
    }

    /// The memory held, in bytes, windows that wait for [`Series::dismantle`] included. Passes all keys.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.windows.iter().chain(&self.retired).map(Window::memory_bytes).sum::<usize>()
            + (self.windows.capacity() + self.retired.capacity()) * size_of::<Window>()
            + self.columns.capacity() * size_of::<ColumnId>()
    }

    /// The index of the oldest window that is kept.
    fn oldest(&self) -> u64 {
        self.current.saturating_sub(u64::from(self.monitor.number()))
    }

    fn windows_in(&self, range: Range) -> impl Iterator<Item = &Window> {
        let number = |window: &Window| self.current.saturating_sub(window.index);
        self.windows
            .iter()
            .filter(move |window| (u64::from(range.low)..=u64::from(range.high)).contains(&number(window)))
    }

    /// The window of that index, made if need be.
    fn window_mut(&mut self, index: u64) -> Option<&mut Window> {
        let kind = self.kind;
        let at = self.windows.partition_point(|window| window.index < index);
        if self.windows.get(at).is_none_or(|window| window.index != index) {
            let window = match kind {
                SeriesKind::Text => Window::of_texts(index),
                SeriesKind::Cidr | SeriesKind::CidrIpv6 | SeriesKind::Clients => Window::of_addresses(index),
            };
            self.windows.insert(at, window);
        }
        self.windows.get_mut(at)
    }
}
