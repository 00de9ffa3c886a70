//! What arrives: batches, markers, chunks, questions and answers of the members, and the own messages back.

use crate::counts::{ApplyError, Origin};
use crate::object::ObjectKind;
use crate::peer::Peer;
use crate::replica::{Replica, noticed};
use crate::sending::CHUNK_BYTES_MAX;
use crate::session::{Need, Session};
use crate::shared::{Column, Data, Receiving, Shared};
use crate::wire::{
    Ask, Batch, Block, Chunk, DIGEST_START, KIND_ANSWER, KIND_ASK, KIND_BATCH, KIND_CHUNK, KIND_HERITAGE,
    KIND_MARKER, KIND_TABLES, Marker, MarkerContent, MessageError, digest, read_answer, read_ask, read_batch,
    read_chunk, read_marker,
};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::Bytes;
use core::cmp::Ordering;
use postfleet_types::Severity;
use postfleet_types::{Monotonic, PrivateName, WireError};

/// Batches kept for a column whose chunks are on their way, in bytes. Beyond it the column is asked for anew.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What was wrong with a column.
enum Problem {
    /// A batch is missing.
    Gap,
    /// The content cannot be what the member has.
    Wrong(String),
}

/// What became of a batch for one column.
enum Taken {
    Applied(usize),
    Held,
    Ignored,
}

impl Replica {
    pub(crate) fn receive(&mut self, now: Monotonic, from: &PrivateName, kind: u16, payload: &Bytes) {
        if !self.online {
            return;
        }
        if kind == KIND_TABLES {
            self.receive_tables(now, from, payload);
            return;
        }
        if *from == self.options.own {
            self.receive_own(now, kind, payload);
            return;
        }
        let Some(peer) = self.peers.get_mut(from) else { return };
        let Some(origin) = peer.origin else { return };
        peer.heard = Some(now);
        let taken = match kind {
            KIND_BATCH => self.receive_batch(now, from, origin, payload),
            KIND_MARKER => self.receive_marker(now, from, origin, payload),
            KIND_CHUNK => self.receive_chunk(now, from, origin, payload),
            KIND_ASK => self.receive_ask(from, payload),
            KIND_ANSWER => self.receive_answer(from, payload),
            KIND_HERITAGE => self.receive_heritage(now, from, payload),
            _ => Ok(()),
        };
        match taken {
            Ok(()) => {}
            Err(MessageError::Version(version)) => self.notice_version(from, version),
            Err(MessageError::Malformed(error)) => {
                self.counters.malformed += 1;
                let text = format!(
                    "{from} sent a message of kind {kind:#06x} that does not follow the format: {error}"
                );
                self.distrust(now, from, text);
                // Which objects it was about is not known: all of its columns may lack something.
                for object in &mut self.objects {
                    if let Some(data) = &mut object.data
                        && !matches!(
                            data.remote.get(&origin),
                            None | Some(Column::Absent | Column::Awaiting { .. } | Column::Fresh)
                        )
                    {
                        data.restart(origin, now);
                    }
                }
                self.ask(from, Need::All);
            }
        }
        self.restate_erased(now);
        self.check_wait(now);
    }

    /// One of the own messages was delivered: it is at its place in the order on every member.
    fn receive_own(&mut self, now: Monotonic, kind: u16, payload: &Bytes) {
        match kind {
            KIND_BATCH => {
                self.pacing.under_way = self.pacing.under_way.saturating_sub(1);
                self.receive_own_batch(now, payload);
            }
            KIND_HERITAGE => self.heirs.delivered(),
            KIND_MARKER => {
                self.markers_under_way = self.markers_under_way.saturating_sub(1);
                if let Ok(marker) = read_marker(payload)
                    && let Some(session) = self.session(marker.session)
                {
                    session.cut = Some(now);
                }
            }
            KIND_CHUNK => {
                if let Ok(chunk) = read_chunk(payload)
                    && let Some(session) = self.session(chunk.session)
                {
                    session.under_way = session.under_way.saturating_sub(1);
                }
            }
            _ => {}
        }
    }

    /// A cut that is held.
    fn session(&mut self, id: u64) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.id == id)
    }

    fn receive_batch(
        &mut self,
        now: Monotonic,
        from: &PrivateName,
        origin: Origin,
        payload: &Bytes,
    ) -> Result<(), MessageError> {
        let Batch { stream, blocks } = read_batch(payload)?;
        self.follow(now, from, stream)?;
        self.counters.batches_received += 1;
        self.counters.batch_bytes_received += payload.len() as u64;
        for block in blocks {
            let (kind, name) = match block {
                Block::Entries { kind, name, .. }
                | Block::Announced { kind, name, .. }
                | Block::Withdrawn { kind, name } => (kind, name),
            };
            let Some(object) = self.objects.iter_mut().find(|object| object.spec.name == name) else {
                continue;
            };
            let own_kind = object.spec.kind;
            let Some(data) = object.data.as_mut().filter(|data| data.foreign) else { continue };
            if own_kind.code() != kind {
                self.notice_kind(from, name, own_kind);
                continue;
            }
            match block {
                Block::Entries { seq, body, .. } => match take_entries(data, origin, seq, body, payload, now)
                {
                    Ok(taken) => {
                        match taken {
                            Taken::Applied(changes) => self.counters.changes_received += changes as u64,
                            Taken::Held | Taken::Ignored => {
                                self.counters.batches_ignored += u64::from(matches!(taken, Taken::Ignored));
                                if let Some(metrics) = data.counts.metrics_mut() {
                                    metrics.apply_operations(origin, body, now);
                                }
                            }
                        }
                        self.replace_columns(name, body);
                    }
                    Err(problem) => self.column_problem(now, from, name, problem),
                },
                Block::Announced { next, .. } => {
                    // Delivered where the column came into being: it is empty there.
                    data.counts.remove(origin, now);
                    data.remote.insert(origin, Column::Live { next });
                }
                Block::Withdrawn { .. } => {
                    data.counts.remove(origin, now);
                    data.remote.insert(origin, Column::Absent);
                }
            }
        }
        Ok(())
    }

    /// A member has begun a new stream: its columns here do not continue in it. Its marker is on its way, since it
    /// has seen this member go and come.
    fn follow(&mut self, now: Monotonic, from: &PrivateName, stream: u64) -> Result<(), MessageError> {
        let Some(peer) = self.peers.get_mut(from) else { return Ok(()) };
        let Some(origin) = peer.origin else { return Ok(()) };
        match stream.cmp(&peer.stream) {
            Ordering::Equal => return Ok(()),
            Ordering::Less => return Err(WireError::Invalid { field: "stream", at: 0 }.into()),
            Ordering::Greater => peer.stream = stream,
        }
        for object in &mut self.objects {
            if let Some(data) = &mut object.data {
                data.restart(origin, now);
            }
        }
        Ok(())
    }

    fn receive_marker(
        &mut self,
        now: Monotonic,
        from: &PrivateName,
        origin: Origin,
        payload: &Bytes,
    ) -> Result<(), MessageError> {
        let marker = read_marker(payload)?;
        self.follow(now, from, marker.stream)?;
        if let Some(peer) = self.peers.get_mut(from) {
            match (&mut peer.to_ask, &marker.covers) {
                (to_ask, None) => *to_ask = None,
                (Some(Need::Named(names)), Some(covers)) => {
                    names.retain(|name| !covers.contains(&name.as_str()));
                    if names.is_empty() {
                        peer.to_ask = None;
                    }
                }
                (Some(Need::All) | None, Some(_)) => {}
            }
        }
        let mut wanted = false;
        let mut problems = Vec::new();
        let mut other_kinds = Vec::new();
        for Shared { spec, data, .. } in &mut self.objects {
            let Some(data) = data.as_mut().filter(|data| data.foreign) else { continue };
            if marker.covers.as_ref().is_some_and(|covers| !covers.contains(&spec.name.as_str())) {
                continue;
            }
            let listed = marker.objects.iter().enumerate().find(|(_, object)| object.name == spec.name);
            let Some((at, object)) = listed else {
                data.counts.remove(origin, now);
                data.remote.insert(origin, Column::Absent);
                continue;
            };
            if object.kind != spec.kind.code() {
                other_kinds.push((spec.name.clone(), spec.kind));
                data.counts.remove(origin, now);
                data.remote.insert(origin, Column::Absent);
                continue;
            }
            if matches!(data.remote.get(&origin), Some(Column::Live { next }) if *next == object.next) {
                continue;
            }
            if !data.snapped {
                data.remote.insert(origin, Column::Live { next: object.next });
                continue;
            }
            data.counts.remove(origin, now);
            match object.content {
                MarkerContent::Inline(body) => match data.counts.apply(origin, body, now) {
                    Ok(_) => {
                        data.remote.insert(origin, Column::Live { next: object.next });
                        self.counters.columns_received += 1;
                    }
                    Err(error) => problems.push((spec.name.clone(), wrong(error))),
                },
                MarkerContent::Chunked { chunks, digest } => {
                    if let Some(bodies) =
                        self.parking.find(&(from.clone(), spec.name.clone()), chunks, digest)
                        && bodies.iter().all(|body| data.counts.apply(origin, body, now).is_ok())
                    {
                        data.remote.insert(origin, Column::Live { next: object.next });
                        self.counters.columns_kept += 1;
                        continue;
                    }
                    data.counts.remove(origin, now);
                    let receiving = Receiving {
                        session: marker.session,
                        object: at,
                        next: object.next,
                        chunks,
                        digest,
                        received: 0,
                        running: DIGEST_START,
                        held: Vec::new(),
                        held_bytes: 0,
                        since: now,
                    };
                    data.remote.insert(origin, Column::Receiving(Box::new(receiving)));
                    wanted = true;
                }
            }
        }
        for (name, kind) in other_kinds {
            self.notice_kind(from, &name, kind);
        }
        for (name, problem) in problems {
            self.column_problem(now, from, &name, problem);
        }
        if has_chunks(&marker) {
            let on_bus =
                self.peers.get(from).and_then(|peer| peer.on_bus_until).is_some_and(|until| now < until);
            if wanted && !on_bus {
                self.fetches.queue(from, marker.session);
            } else {
                self.answer(from, origin, marker.session);
            }
        }
        self.drop_idle_fetches();
        Ok(())
    }

    fn receive_chunk(
        &mut self,
        now: Monotonic,
        from: &PrivateName,
        origin: Origin,
        payload: &Bytes,
    ) -> Result<(), MessageError> {
        let chunk = read_chunk(payload)?;
        self.counters.chunks_received += 1;
        self.take_chunk_of(now, from, origin, &chunk);
        Ok(())
    }

    /// Takes a chunk for the column it belongs to, whichever way it came.
    pub(crate) fn take_chunk_of(
        &mut self,
        now: Monotonic,
        from: &PrivateName,
        origin: Origin,
        chunk: &Chunk<'_>,
    ) {
        let mut problem = None;
        for Shared { spec, data, .. } in &mut self.objects {
            let Some(data) = data else { continue };
            let Some(Column::Receiving(receiving)) = data.remote.get_mut(&origin) else { continue };
            if receiving.session != chunk.session || receiving.object != chunk.object {
                continue;
            }
            match take_chunk(data, origin, chunk, now) {
                Ok(false) => {}
                Ok(true) => self.counters.columns_received += 1,
                Err(found) => problem = Some((spec.name.clone(), found)),
            }
            break;
        }
        if let Some((name, problem)) = problem {
            self.column_problem(now, from, &name, problem);
        }
    }

    fn receive_ask(&mut self, from: &PrivateName, payload: &Bytes) -> Result<(), MessageError> {
        let names = match read_ask(payload)? {
            Ask::Columns(names) => names,
            Ask::Heritage => {
                self.heirs.add(from);
                return Ok(());
            }
        };
        let need = if names.is_empty() {
            Need::All
        } else {
            Need::Named(names.into_iter().map(String::from).collect())
        };
        self.needs(from, need);
        Ok(())
    }

    fn receive_answer(&mut self, from: &PrivateName, payload: &Bytes) -> Result<(), MessageError> {
        let answer = read_answer(payload)?;
        let Some(session) = self.session(answer.session) else { return Ok(()) };
        session.unanswered.remove(from);
        session.fetching.remove(from);
        if answer.wanted.is_empty() {
            return Ok(());
        }
        if session.started {
            // Too late for this cut: some chunks have gone by.
            let names: BTreeSet<String> = answer.wanted.into_iter().map(String::from).collect();
            self.needs(from, Need::Named(names));
            return Ok(());
        }
        for object in &mut session.objects {
            object.wanted |= answer.wanted.contains(&object.name.as_str());
        }
        session.wanted_by.insert(from.clone());
        Ok(())
    }

    /// A member lacks own columns.
    pub(crate) fn needs(&mut self, member: &PrivateName, lacks: Need) {
        match self.need.get_mut(member) {
            Some(need) => need.join(lacks),
            None => {
                self.need.insert(member.clone(), lacks);
            }
        }
    }

    /// This member lacks columns of another.
    pub(crate) fn ask(&mut self, member: &PrivateName, need: Need) {
        if let Some(peer) = self.peers.get_mut(member) {
            peer.ask(need);
        }
    }

    /// A column can no longer be trusted: it goes, and its origin is asked for it.
    fn column_problem(&mut self, now: Monotonic, from: &PrivateName, name: &str, problem: Problem) {
        let Some(origin) = self.peers.get(from).and_then(|peer| peer.origin) else { return };
        for Shared { spec, data, .. } in &mut self.objects {
            if let Some(data) = data
                && spec.name == name
            {
                data.restart(origin, now);
            }
        }
        self.ask(from, Need::Named(core::iter::once(String::from(name)).collect()));
        let text = match problem {
            Problem::Gap => {
                self.counters.gaps += 1;
                format!("{name}: a batch of {from} is missing; its counts are left out and asked for again")
            }
            Problem::Wrong(what) => {
                self.counters.malformed += 1;
                format!(
                    "{name}: {from} sent counts that cannot be: {what}; they are left out and asked for again"
                )
            }
        };
        self.distrust(now, from, text);
    }

    pub(crate) fn distrust(&mut self, now: Monotonic, from: &PrivateName, text: String) {
        if self.peers.get_mut(from).is_some_and(|peer: &mut Peer| noticed(&mut peer.malformed_noticed, now)) {
            self.notice(Severity::Error, text);
        }
    }

    pub(crate) fn notice_version(&mut self, from: &PrivateName, version: u8) {
        if let Some(peer) = self.peers.get_mut(from)
            && !core::mem::replace(&mut peer.version_noticed, true)
        {
            let text = format!(
                "{from} sends shared data in version {version}, which this release does not know; its counts are \
                 left out here. Upgrade this node"
            );
            self.notice(Severity::Warning, text);
        }
    }

    pub(crate) fn notice_kind(&mut self, from: &PrivateName, name: &str, own: ObjectKind) {
        if let Some(peer) = self.peers.get_mut(from)
            && peer.kinds_noticed.insert(name.to_string())
        {
            let text = format!(
                "{name}: here it is of kind {}, on {from} of another; nothing of that member is counted. Give both \
                 Replicate stanzas one type",
                own.word()
            );
            self.notice(Severity::Warning, text);
        }
    }
}

fn has_chunks(marker: &Marker<'_>) -> bool {
    marker.objects.iter().any(|object| matches!(object.content, MarkerContent::Chunked { .. }))
}

fn wrong(error: ApplyError) -> Problem {
    Problem::Wrong(error.to_string())
}

fn take_entries(
    data: &mut Data,
    origin: Origin,
    seq: u64,
    body: &[u8],
    payload: &Bytes,
    now: Monotonic,
) -> Result<Taken, Problem> {
    match data.remote.get_mut(&origin) {
        None | Some(Column::Awaiting { .. }) => Ok(Taken::Ignored),
        Some(Column::Absent) => Err(Problem::Gap),
        Some(column @ Column::Fresh) => {
            *column = Column::Live { next: seq.saturating_add(1) };
            data.counts.apply(origin, body, now).map(Taken::Applied).map_err(wrong)
        }
        Some(Column::Live { next }) => {
            if seq != *next {
                return Err(Problem::Gap);
            }
            *next = next.saturating_add(1);
            data.counts.apply(origin, body, now).map(Taken::Applied).map_err(wrong)
        }
        Some(Column::Receiving(receiving)) => {
            if seq != receiving.next.saturating_add(receiving.held.len() as u64) {
                return Err(Problem::Gap);
            }
            receiving.held_bytes += body.len();
            if receiving.held_bytes > HELD_BYTES_MAX {
                return Err(Problem::Wrong(String::from("its changes outrun its chunks")));
            }
            receiving.held.push(payload.slice_ref(body));
            Ok(Taken::Held)
        }
    }
}

/// Takes the next chunk of a column; `true` when it was the last and the column is complete.
///
/// Each chunk is applied when it comes, so that a long column is never applied in one go; the copy counts as
/// incomplete until the digest of the whole has been seen to be right.
fn take_chunk(data: &mut Data, origin: Origin, chunk: &Chunk<'_>, now: Monotonic) -> Result<bool, Problem> {
    let Some(Column::Receiving(receiving)) = data.remote.get_mut(&origin) else { return Ok(false) };
    match chunk.index.cmp(&receiving.received) {
        // It came before, the other way.
        Ordering::Less => return Ok(false),
        Ordering::Equal => {}
        Ordering::Greater => return Err(Problem::Gap),
    }
    if chunk.body.len() > CHUNK_BYTES_MAX {
        return Err(Problem::Wrong(String::from("a chunk is too long")));
    }
    receiving.received += 1;
    receiving.running = digest(receiving.running, chunk.body);
    receiving.since = now;
    data.counts.apply(origin, chunk.body, now).map_err(wrong)?;
    if receiving.received < receiving.chunks {
        return Ok(false);
    }
    if receiving.running != receiving.digest {
        return Err(Problem::Wrong(String::from("the chunks do not have the digest of the marker")));
    }
    let next = receiving.next.saturating_add(receiving.held.len() as u64);
    for body in core::mem::take(&mut receiving.held) {
        data.counts.apply_held(origin, &body, now).map_err(wrong)?;
    }
    data.remote.insert(origin, Column::Live { next });
    Ok(true)
}
