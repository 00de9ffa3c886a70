//! The origin's side of a cut: who needs it, what it holds, which chunk is next on the bus.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use postfleet_types::{Monotonic, PrivateName};

/// Chunks on the bus at a time. More would not be faster on one machine and would delay other messages; with
/// 20 ms transit four of them carry 6 MB/s, or some million keys a second.
pub(crate) const CHUNKS_UNDER_WAY_MAX: u32 = 4;

/// Cuts held at a time. Members that join while all are in use wait until one is not; four columns of a million
/// keys take about 20 MB.
pub(crate) const SESSIONS_MAX: usize = 4;

/// How long chunks on the bus, and a cut that has to make way for another, wait for members that do not answer the
/// marker.
pub(crate) const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// What a member lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Every object.
    All,
    /// These.
    Named(BTreeSet<String>),
}

impl Need {
    pub(crate) fn join(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (Self::Named(_), Self::All) => *self = Self::All,
            (Self::Named(names), Self::Named(more)) => names.extend(more),
        }
    }
}

/// A cut of which chunks have to be sent.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: u64,
    /// Members that have not answered the marker: they fetch, or will say that they want chunks on the bus.
    pub(crate) unanswered: BTreeSet<PrivateName>,
    /// Those of them that have fetched or do so. A fetch holds its chunks itself and outlives the session.
    pub(crate) fetching: BTreeSet<PrivateName>,
    /// Members that need chunks on the bus.
    pub(crate) wanted_by: BTreeSet<PrivateName>,
    /// In the order of the marker.
    pub(crate) objects: Vec<SessionObject>,
    /// When the marker was delivered back.
    pub(crate) cut: Option<Monotonic>,
    /// The next chunk: object, index.
    pub(crate) cursor: (usize, usize),
    pub(crate) started: bool,
    pub(crate) under_way: u32,
}

#[derive(Debug)]
pub(crate) struct SessionObject {
    pub(crate) name: String,
    /// Empty when the marker carried the column itself.
    pub(crate) chunks: Vec<Bytes>,
    /// Somebody needs it on the bus.
    pub(crate) wanted: bool,
}

impl Session {
    /// From when on chunks may leave.
    pub(crate) fn start(&self) -> Option<Monotonic> {
        let cut = self.cut?;
        Some(if self.unanswered.is_empty() || self.started { cut } else { cut + ANSWER_GRACE })
    }

    fn is_time(&self, now: Monotonic) -> bool {
        self.start().is_some_and(|start| start <= now)
    }

    /// The next chunk for the bus at `now`: object, index, body.
    pub(crate) fn next_chunk(&mut self, now: Monotonic) -> Option<(usize, usize, Bytes)> {
        if self.under_way >= CHUNKS_UNDER_WAY_MAX || self.wanted_by.is_empty() || !self.is_time(now) {
            return None;
        }
        self.started = true;
        loop {
            let (at, index) = self.cursor;
            let object = self.objects.get(at)?;
            match object.chunks.get(index).filter(|_| object.wanted) {
                Some(body) => {
                    self.cursor = (at, index + 1);
                    self.under_way += 1;
                    return Some((at, index, body.clone()));
                }
                None => self.cursor = (at + 1, 0),
            }
        }
    }

    fn bus_is_done(&self) -> bool {
        self.wanted_by.is_empty()
            || (self.started && self.under_way == 0 && self.cursor.0 >= self.objects.len())
    }

    /// Whether nobody needs it any more.
    pub(crate) fn finished(&self) -> bool {
        self.unanswered.is_empty() && self.bus_is_done()
    }

    /// Whether it may make way for another cut: those who are slow to answer are covered by a later marker.
    pub(crate) fn may_go(&self, now: Monotonic) -> bool {
        self.bus_is_done() && self.is_time(now)
    }

    /// When time alone changes what is to be done for it. `others_wait`: a cut has to make way.
    pub(crate) fn deadline(&self, others_wait: bool) -> Option<Monotonic> {
        let waits_for_answers_only = self.wanted_by.is_empty() && !others_wait;
        if self.started || waits_for_answers_only { None } else { self.start() }
    }

    /// Takes a member out.
    pub(crate) fn remove(&mut self, member: &PrivateName) {
        self.unanswered.remove(member);
        self.fetching.remove(member);
        self.wanted_by.remove(member);
    }
}
