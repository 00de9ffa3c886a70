//! What leaves: batches, markers, chunks, questions.

use crate::counts::Origin;
use crate::object::ObjectKind;
use crate::pacing::Which;
use crate::peer::{ANSWER_PATIENCE, Peer};
use crate::replica::{Outgoing, Replica, push_notice};
use crate::session::{Need, Session, SessionObject};
use crate::shared::{Column, Shared};
use crate::wire::{
    Ask, BatchWriter, Chunk, DIGEST_START, KIND_ASK, KIND_BATCH, KIND_CHUNK, KIND_MARKER, Marker,
    MarkerContent, MarkerObject, block_overhead, digest, write_ask, write_chunk, write_marker,
};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use postfleet_bus::event::Destination;
use postfleet_types::Severity;
use postfleet_types::{Monotonic, PrivateName};

/// The longest body of a chunk: with what is around it, a chunk message stays below 64 KiB. Longer ones of a peer
/// are refused.
pub(crate) const CHUNK_BYTES_MAX: usize = 64 * 1024 - 512;

/// Destinations named one by one; above it the data group is addressed, and who needs nothing ignores it.
const NAMED_DESTINATIONS_MAX: usize = 32;

impl Replica {
    pub(crate) fn to_group(&self) -> Vec<Destination> {
        vec![Destination::Group(self.options.group.clone())]
    }

    /// These members, and this one, so that it learns when the message was delivered.
    pub(crate) fn to_members(&self, members: &BTreeSet<PrivateName>) -> Vec<Destination> {
        if members.len() >= NAMED_DESTINATIONS_MAX {
            return self.to_group();
        }
        members.iter().chain(core::iter::once(&self.options.own)).cloned().map(Destination::Member).collect()
    }

    /// Puts these buffers into batch messages. `false` when there was nothing in them.
    pub(crate) fn send_pending(&mut self, which: Which, now: Monotonic) -> bool {
        if which == Which::None {
            return false;
        }
        let managers = self.managers();
        let any = self.send_pending_of(which, now, |kind| kind != ObjectKind::EccmgrMetrics, None);
        self.send_pending_of(which, now, |kind| kind == ObjectKind::EccmgrMetrics, Some(&managers)) || any
    }

    /// The managers among the members.
    fn managers(&self) -> BTreeSet<PrivateName> {
        let manager = |(_, peer): &(&PrivateName, &Peer)| peer.origin.is_some() && peer.manager;
        self.peers.iter().filter(manager).map(|(name, _)| name.clone()).collect()
    }

    /// The buffers of objects of some kinds, for these members; for all where none are named.
    fn send_pending_of(
        &mut self,
        which: Which,
        now: Monotonic,
        chosen: impl Fn(ObjectKind) -> bool,
        members: Option<&BTreeSet<PrivateName>>,
    ) -> bool {
        let mut messages = Vec::new();
        let stream = self.stream;
        let mut message = BatchWriter::new(stream);
        let limit = self.options.batch_bytes_max;
        for object in &mut self.objects {
            if !chosen(object.spec.kind) || which == Which::Due && !self.pacing.object_due(object, now) {
                continue;
            }
            let Shared { spec, data: Some(data), .. } = object else { continue };
            if members.is_some_and(BTreeSet::is_empty) {
                data.forget_pending(now);
                continue;
            }
            let overhead = block_overhead(&spec.name);
            for body in data.take_pending(limit.saturating_sub(overhead)) {
                if !message.is_empty() && message.len() + overhead + body.len() > limit {
                    messages.push(core::mem::replace(&mut message, BatchWriter::new(stream)));
                }
                message.entries(spec.kind, &spec.name, data.next, &body);
                if let Some(metrics) = data.counts.metrics_mut() {
                    metrics.sent(data.next, body);
                }
                data.next = data.next.saturating_add(1);
            }
        }
        if !message.is_empty() {
            messages.push(message);
        }
        let any = !messages.is_empty();
        let to = members.map_or_else(|| self.to_group(), |members| self.to_members(members));
        for message in messages {
            self.send_batch(message, now, to.clone());
        }
        any
    }

    /// The longest body of a chunk.
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.options.chunk_bytes_max.min(CHUNK_BYTES_MAX)
    }

    pub(crate) fn send_batch(&mut self, message: BatchWriter, now: Monotonic, to: Vec<Destination>) {
        let payload = Bytes::from(message.finish());
        self.pacing.under_way = self.pacing.under_way.saturating_add(1);
        self.pacing.last_sent = Some(now);
        self.counters.batches_sent += 1;
        self.counters.batch_bytes_sent += payload.len() as u64;
        self.outbox.push_back(Outgoing { to, kind: KIND_BATCH, payload });
    }

    /// Cuts the own columns for those who need them. What waits goes first, so that the cut is what the members
    /// have that got every batch.
    pub(crate) fn start_session(&mut self, now: Monotonic) {
        for data in self.objects.iter_mut().filter_map(|object| object.data.as_mut()) {
            if data.snapped
                && let Some(metrics) = data.counts.metrics_mut()
            {
                metrics.repeat_replacements();
            }
        }
        self.send_pending(Which::All, now);
        let mut need = Need::Named(BTreeSet::new());
        let mut members = BTreeSet::new();
        for (member, lacks) in core::mem::take(&mut self.need) {
            need.join(lacks);
            members.insert(member);
        }
        self.session_numbers = self.session_numbers.saturating_add(1);
        let session = self.session_numbers;
        let mut objects = Vec::new();
        let mut kept = Vec::new();
        let mut inline = 0;
        // Bodies live here until the marker, which borrows them, is written.
        let mut cut = Vec::new();
        for Shared { spec, data, .. } in &self.objects {
            let Some(data) = data else { continue };
            if let Need::Named(names) = &need
                && !names.contains(&spec.name)
            {
                continue;
            }
            // Who comes to what is not snapped begins with nothing.
            let bodies =
                if data.snapped { data.counts.encode(Origin::OWN, self.chunk_bytes()) } else { Vec::new() };
            cut.push((spec, data.next, bodies));
        }
        for (spec, next, bodies) in &cut {
            let first = bodies.first().map_or(&[][..], Vec::as_slice);
            let content = if bodies.len() <= 1 && inline + first.len() <= self.options.inline_bytes_max {
                inline += first.len();
                MarkerContent::Inline(first)
            } else {
                let digest = bodies.iter().fold(DIGEST_START, |sum, body| digest(sum, body));
                MarkerContent::Chunked { chunks: bodies.len(), digest }
            };
            objects.push(MarkerObject { kind: spec.kind.code(), name: &spec.name, next: *next, content });
        }
        let covers = match &need {
            Need::All => None,
            Need::Named(names) => Some(names.iter().map(String::as_str).collect()),
        };
        let marker = Marker { stream: self.stream, session, objects, covers };
        let payload = Bytes::from(write_marker(&marker));
        let chunked: Vec<bool> = marker
            .objects
            .iter()
            .map(|object| matches!(object.content, MarkerContent::Chunked { .. }))
            .collect();
        for ((spec, _, bodies), chunked) in cut.iter().zip(&chunked) {
            let chunks = if *chunked {
                bodies.iter().map(|body| Bytes::from(body.clone())).collect()
            } else {
                Vec::new()
            };
            kept.push(SessionObject { name: spec.name.clone(), chunks, wanted: false });
        }
        self.counters.markers_sent += 1;
        self.markers_under_way = self.markers_under_way.saturating_add(1);
        let to = self.to_members(&members);
        self.outbox.push_back(Outgoing { to, kind: KIND_MARKER, payload });
        if chunked.contains(&true) {
            self.sessions.push(Session {
                id: session,
                unanswered: members,
                fetching: BTreeSet::new(),
                wanted_by: BTreeSet::new(),
                objects: kept,
                cut: None,
                cursor: (0, 0),
                started: false,
                under_way: 0,
            });
        }
    }

    pub(crate) fn produce_chunk(&mut self, now: Monotonic) -> bool {
        let next = self.sessions.iter_mut().find_map(|session| {
            let (object, index, body) = session.next_chunk(now)?;
            Some((session.id, session.wanted_by.clone(), object, index, body))
        });
        let Some((session, members, object, index, body)) = next else { return false };
        let payload = Bytes::from(write_chunk(&Chunk { session, object, index, body: &body }));
        self.counters.chunks_sent += 1;
        self.counters.chunk_bytes_sent += payload.len() as u64;
        let to = self.to_members(&members);
        self.outbox.push_back(Outgoing { to, kind: KIND_CHUNK, payload });
        true
    }

    /// Asks one member for what is missing of it, when that is due.
    pub(crate) fn produce_question(&mut self, now: Monotonic) -> bool {
        for (name, peer) in &mut self.peers {
            if peer.origin.is_none() || peer.ask_at().is_none_or(|at| at > now) {
                continue;
            }
            let Some(need) = peer.to_ask.take() else { continue };
            peer.asked = Some(now);
            let names: Vec<&str> = match &need {
                Need::All => Vec::new(),
                Need::Named(names) => names.iter().map(String::as_str).collect(),
            };
            let payload = Bytes::from(write_ask(&Ask::Columns(names)));
            let to = vec![Destination::Member(name.clone())];
            self.outbox.push_back(Outgoing { to, kind: KIND_ASK, payload });
            self.counters.questions_sent += 1;
            return true;
        }
        false
    }

    /// Notes questions to members whose marker or chunks are overdue.
    pub(crate) fn question_the_late(&mut self, now: Monotonic) {
        self.break_late_fetches(now);
        let fetched = self.fetched_columns();
        let mut late: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for Shared { spec, data, .. } in &mut self.objects {
            let Some(data) = data else { continue };
            let mut restarted = Vec::new();
            for (origin, column) in &data.remote {
                let since = match column {
                    Column::Awaiting { since } => *since,
                    Column::Receiving(receiving) if fetched.contains_key(&(*origin, receiving.session)) => {
                        continue;
                    }
                    Column::Receiving(receiving) => receiving.since,
                    Column::Live { .. } | Column::Fresh | Column::Absent => continue,
                };
                if now.since(since) >= ANSWER_PATIENCE {
                    restarted.push(*origin);
                    late.entry(*origin).or_default().insert(spec.name.clone());
                }
            }
            for origin in restarted.drain(..) {
                data.restart(origin, now);
            }
        }
        for (name, peer) in &mut self.peers {
            if let Some(names) = peer.origin.and_then(|origin| late.remove(&origin)) {
                let text = format!("{name} has not sent its counts of {}; asking again", join(&names));
                peer.ask(Need::Named(names));
                push_notice(&mut self.notices, Severity::Notice, text);
            }
        }
    }

    /// When a question becomes due, or a member becomes late.
    pub(crate) fn question_deadline(&self) -> Option<Monotonic> {
        let due = self.peers.values().filter(|peer| peer.origin.is_some()).filter_map(|peer| peer.ask_at());
        let fetched = self.fetched_columns();
        let late = self.datas().flat_map(|data| &data.remote).filter_map(|(origin, column)| match column {
            Column::Awaiting { since } => Some(*since + ANSWER_PATIENCE),
            Column::Receiving(receiving) => match fetched.get(&(*origin, receiving.session)) {
                Some(true) => None,
                Some(false) | None => Some(receiving.since + ANSWER_PATIENCE),
            },
            Column::Live { .. } | Column::Fresh | Column::Absent => None,
        });
        due.chain(late).chain(self.fetches.deadline()).min()
    }

    /// The sessions of which columns are fetched, and whether the fetch waits for its turn.
    fn fetched_columns(&self) -> BTreeMap<(Origin, u64), bool> {
        let mut fetched = BTreeMap::new();
        if self.fetches.is_empty() {
            return fetched;
        }
        for (name, peer) in &self.peers {
            let Some(origin) = peer.origin else { continue };
            for data in self.datas() {
                if let Some(Column::Receiving(receiving)) = data.remote.get(&origin)
                    && self.fetches.has(name, receiving.session)
                {
                    fetched.insert((origin, receiving.session), self.fetches.waits(name, receiving.session));
                }
            }
        }
        fetched
    }
}

pub(crate) fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
