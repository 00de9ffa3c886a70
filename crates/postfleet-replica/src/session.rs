//! The origin's side of a snapshot: who needs it, what was cut, which chunk is next.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use postfleet_types::{Monotonic, PrivateName};

/// Chunks on the bus at a time. More would not be faster on one machine and would delay other messages; with
/// 20 ms transit four of them carry 12 MB/s, or some two million keys a second.
pub(crate) const CHUNKS_UNDER_WAY_MAX: u32 = 4;

/// How long chunks, and members of a next session, wait for members that do not answer the marker. Those are
/// covered by the next marker; while nobody else waits, a session waits for their answer as long as they are members.
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
    /// Members that have not answered the marker.
    pub(crate) unanswered: BTreeSet<PrivateName>,
    /// Members that need chunks.
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
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) wanted: bool,
}

impl Session {
    /// From when on chunks may leave.
    pub(crate) fn start(&self) -> Option<Monotonic> {
        let cut = self.cut?;
        Some(if self.unanswered.is_empty() || self.started { cut } else { cut + ANSWER_GRACE })
    }

    /// The next chunk to send at `now`: object, index, body.
    pub(crate) fn next_chunk(&mut self, now: Monotonic) -> Option<(usize, usize, Bytes)> {
        let is_time = self.start().is_some_and(|start| start <= now);
        if self.under_way >= CHUNKS_UNDER_WAY_MAX || self.wanted_by.is_empty() || !is_time {
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

    /// Whether it makes way for the next. `others_wait`: members that it does not cover need something.
    ///
    /// A session whose members are slow to answer stays: were it dropped, their answers would come to nothing, they
    /// would ask again, and the next session would end in the same way.
    pub(crate) fn finished(&self, now: Monotonic, others_wait: bool) -> bool {
        if self.wanted_by.is_empty() {
            let patience_is_over = self.start().is_some_and(|start| start <= now);
            return self.unanswered.is_empty() || (others_wait && patience_is_over);
        }
        self.started && self.under_way == 0 && self.cursor.0 >= self.objects.len()
    }

    /// When time alone changes what is to be done for it.
    pub(crate) fn deadline(&self, others_wait: bool) -> Option<Monotonic> {
        let waits_for_answers_only = self.wanted_by.is_empty() && !others_wait;
        if self.started || waits_for_answers_only { None } else { self.start() }
    }

    /// Takes a member out.
    pub(crate) fn remove(&mut self, member: &PrivateName) {
        self.unanswered.remove(member);
        self.wanted_by.remove(member);
    }
}
