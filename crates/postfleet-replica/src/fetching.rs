//! The joiner's side of a fetch: columns that a marker announced in chunks come point to point from their origin,
//! and over the bus when that does not work.
//!
//! ```text
//!  marker ──► queued ──► open ── chunks ──► complete ──► answer: nothing wanted
//!               ▲          │ broken: what is missing is fetched again, twice without progress at most
//!               └──────────┤
//!                          └ no way to the origin ──► answer: the rest is wanted on the bus
//! ```

use crate::counts::Origin;
use crate::frames::{Frame, Refusal, Request, read_frame, write_frame};
use crate::peer::{ANSWER_PATIENCE, Peer};
use crate::replica::{Outgoing, Replica, noticed};
use crate::session::Need;
use crate::shared::{Column, Shared};
use crate::wire::{Answer, Chunk, DIGEST_START, KIND_ANSWER, digest, write_answer};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use postfleet_bus::event::Destination;
use postfleet_types::{Monotonic, PrivateName, Severity};

/// Fetches that run at a time. More would not be faster: applying what comes is the work.
const FETCHES_MAX: usize = 4;

/// Attempts in a row that may bring nothing before the bus is asked.
const FRUITLESS_MAX: u8 = 2;

/// The pause before a fetch that broke without a chunk is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// How long a member whose listener cannot be reached is asked for chunks on the bus at once.
const UNREACHABLE: Duration = Duration::from_secs(60);

/// A fetch, by a number that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// What is to be done point to point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Connect to the cluster listener of this member, ask for the service of bulk state, write the request, then
    /// hand every frame to [`Replica::fetched`] until the end.
    Open {
        /// Its number.
        fetch: FetchId,
        /// The origin: the name of its shared connection.
        from: PrivateName,
        /// The request, with its length.
        request: Bytes,
    },
    /// Close the connection; nothing of it is needed any more. Calls that come later do no harm.
    Close {
        /// Which.
        fetch: FetchId,
    },
}

/// Why a fetch is over before it was closed here. The text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEnd {
    /// The listener cannot be reached, or does not offer the service: the bus has to do.
    Unreachable(String),
    /// The connection ended, at the other side's will or by an accident: another attempt may succeed.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    Pause(Monotonic),
    Open { id: FetchId, fruitful: bool },
}

/// What is fetched of one cut.
#[derive(Debug)]
pub(crate) struct Fetch {
    state: State,
    /// Attempts in a row without a chunk.
    fruitless: u8,
    /// Bytes that have come.
    bytes: usize,
}

/// Where fetches are, for those who are not concerned with how they go on.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    last: u64,
    /// By the member and its session.
    all: BTreeMap<(PrivateName, u64), Fetch>,
    closing: Vec<FetchId>,
}

impl Fetches {
    pub(crate) fn queue(&mut self, from: &PrivateName, session: u64) {
        self.all.insert((from.clone(), session), Fetch { state: State::Queued, fruitless: 0, bytes: 0 });
    }

    pub(crate) fn has(&self, from: &PrivateName, session: u64) -> bool {
        self.all.contains_key(&(from.clone(), session))
    }

    /// Whether it waits for its turn, so that nothing can come of it yet.
    pub(crate) fn waits(&self, from: &PrivateName, session: u64) -> bool {
        let may_open = self.open() < FETCHES_MAX;
        self.all.get(&(from.clone(), session)).is_some_and(|fetch| match fetch.state {
            State::Queued => !may_open,
            State::Pause(_) => true,
            State::Open { .. } => false,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn find(&self, id: FetchId) -> Option<(PrivateName, u64)> {
        self.all
            .iter()
            .find(|(_, fetch)| matches!(fetch.state, State::Open { id: open, .. } if open == id))
            .map(|(key, _)| key.clone())
    }

    fn open(&self) -> usize {
        self.all.values().filter(|fetch| matches!(fetch.state, State::Open { .. })).count()
    }

    /// Takes one out; what is open of it gets closed.
    fn take(&mut self, from: &PrivateName, session: u64) -> Option<Fetch> {
        let fetch = self.all.remove(&(from.clone(), session))?;
        if let State::Open { id, .. } = fetch.state {
            self.closing.push(id);
        }
        Some(fetch)
    }

    /// Forgets a member.
    pub(crate) fn forget(&mut self, member: &PrivateName) {
        let sessions: Vec<u64> =
            self.all.keys().filter(|(from, _)| from == member).map(|(_, session)| *session).collect();
        for session in sessions {
            self.take(member, session);
        }
    }

    /// When one that pauses goes on.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        if self.open() >= FETCHES_MAX {
            return None;
        }
        self.all
            .values()
            .filter_map(|fetch| match fetch.state {
                State::Pause(until) => Some(until),
                State::Queued | State::Open { .. } => None,
            })
            .min()
    }
}

impl Replica {
    /// The next thing to be done point to point. Call it until it returns `None`, at the end of every turn, behind
    /// [`Replica::poll_send`].
    ///
    /// Changed by every other call, and by time.
    pub fn poll_transfer(&mut self, now: Monotonic) -> Option<Transfer> {
        self.drop_idle_fetches();
        if let Some(fetch) = self.fetches.closing.pop() {
            return Some(Transfer::Close { fetch });
        }
        if self.fetches.open() >= FETCHES_MAX {
            return None;
        }
        let due = |name: &&PrivateName| {
            self.fetches.all.iter().find(|((from, _), fetch)| {
                from == *name
                    && match fetch.state {
                        State::Queued => true,
                        State::Pause(until) => until <= now,
                        State::Open { .. } => false,
                    }
            })
        };
        let (from, session) = self.order.iter().find_map(|name| due(&name)).map(|(key, _)| key.clone())?;
        let origin = self.peers.get(&from).and_then(|peer| peer.origin)?;
        let mut objects = Vec::new();
        for Shared { spec, data, .. } in &mut self.objects {
            if let Some(Column::Receiving(receiving)) =
                data.as_mut().and_then(|data| data.remote.get_mut(&origin))
                && receiving.session == session
            {
                receiving.since = now;
                objects.push((spec.name.as_str(), receiving.received));
            }
        }
        let request = Request { member: self.options.own.clone(), session, objects };
        let request = write_frame(&Frame::Request(request));
        self.fetches.last = self.fetches.last.saturating_add(1);
        let fetch = FetchId(self.fetches.last);
        if let Some(held) = self.fetches.all.get_mut(&(from.clone(), session)) {
            held.state = State::Open { id: fetch, fruitful: false };
        }
        self.counters.fetches_opened += 1;
        Some(Transfer::Open { fetch, from, request })
    }

    /// A frame of a fetch has come: what stands behind its length.
    pub fn fetched(&mut self, now: Monotonic, fetch: FetchId, content: &Bytes) {
        let Some((from, session)) = self.fetches.find(fetch) else { return };
        let Some(origin) = self.peers.get(&from).and_then(|peer| peer.origin) else { return };
        match read_frame(content) {
            Ok(Frame::Chunk { object, index, digest: told, body }) => {
                if digest(DIGEST_START, body) != told {
                    self.fetch_is_wrong(now, fetch, &from, "a chunk does not have its digest");
                    return;
                }
                if let Some(held) = self.fetches.all.get_mut(&(from.clone(), session)) {
                    held.state = State::Open { id: fetch, fruitful: true };
                    held.fruitless = 0;
                    held.bytes = held.bytes.saturating_add(body.len());
                }
                self.counters.fetch_chunks_received += 1;
                self.counters.fetch_bytes_received += body.len() as u64;
                let chunk = Chunk { session, object, index, body };
                self.take_chunk_of(now, &from, origin, &chunk);
            }
            Ok(Frame::Wait) => self.touch(now, origin, session),
            Ok(Frame::End) => {
                if !self.missing_of(origin, session).is_empty() {
                    self.fetch_ended(now, fetch, FetchEnd::Broken);
                }
            }
            Ok(Frame::Refused(Some(Refusal::NoSuchCut))) => {
                let names: BTreeSet<String> =
                    self.missing_of(origin, session).into_iter().map(String::from).collect();
                for Shared { spec, data, .. } in &mut self.objects {
                    if let Some(data) = data
                        && names.contains(&spec.name)
                    {
                        data.restart(origin, now);
                    }
                }
                if !names.is_empty() {
                    self.ask(&from, Need::Named(names));
                }
            }
            Ok(Frame::Refused(_)) => {
                let why = String::from("it serves no counts at present");
                self.fetch_ended(now, fetch, FetchEnd::Unreachable(why));
            }
            Ok(Frame::Unknown | Frame::Request(_)) => {}
            Err(_) => self.fetch_is_wrong(now, fetch, &from, "a frame does not follow the format"),
        }
        self.drop_idle_fetches();
        self.check_wait(now);
    }

    /// A fetch is over that was not closed here.
    pub fn fetch_ended(&mut self, now: Monotonic, fetch: FetchId, end: FetchEnd) {
        let Some((from, session)) = self.fetches.find(fetch) else { return };
        let Some(origin) = self.peers.get(&from).and_then(|peer| peer.origin) else { return };
        self.touch(now, origin, session);
        let Some(held) = self.fetches.all.get_mut(&(from.clone(), session)) else { return };
        self.fetches.closing.push(fetch);
        let why = match end {
            FetchEnd::Broken => {
                let fruitful = matches!(held.state, State::Open { fruitful: true, .. });
                held.fruitless = if fruitful { 0 } else { held.fruitless.saturating_add(1) };
                held.state = if fruitful { State::Queued } else { State::Pause(now + RETRY_PAUSE) };
                if held.fruitless < FRUITLESS_MAX {
                    return;
                }
                String::from("the connection breaks")
            }
            FetchEnd::Unreachable(why) => {
                held.state = State::Queued;
                why
            }
        };
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.on_bus_until = Some(now + UNREACHABLE);
            if noticed(&mut peer.unreachable_noticed, now) {
                let text = format!(
                    "the counts of {from} cannot be fetched from its cluster listener: {why}; they are asked for \
                     on the bus, which is slower. Check ECCluster_Listener and the network there"
                );
                self.notice(Severity::Warning, text);
            }
        }
        self.counters.fetches_fallen_back += 1;
        self.fetches.take(&from, session);
        self.answer(&from, origin, session);
    }

    /// Fetches from which nothing has come for too long break. One that could have been opened and was not, because
    /// nobody polls, is left to the bus.
    pub(crate) fn break_late_fetches(&mut self, now: Monotonic) {
        let mut late = Vec::new();
        let mut unopened = Vec::new();
        let any_may_open = self.fetches.open() < FETCHES_MAX;
        for ((from, session), fetch) in &self.fetches.all {
            let Some(origin) = self.peers.get(from).and_then(|peer| peer.origin) else { continue };
            let since = self
                .datas()
                .filter_map(|data| match data.remote.get(&origin) {
                    Some(Column::Receiving(receiving)) if receiving.session == *session => {
                        Some(receiving.since)
                    }
                    Some(_) | None => None,
                })
                .max();
            if since.is_none_or(|since| now.since(since) < ANSWER_PATIENCE) {
                continue;
            }
            match fetch.state {
                State::Open { id, .. } => late.push(id),
                State::Queued if any_may_open => unopened.push((from.clone(), *session, origin)),
                State::Queued | State::Pause(_) => {}
            }
        }
        for id in late {
            self.fetch_ended(now, id, FetchEnd::Broken);
        }
        for (from, session, origin) in unopened {
            self.touch(now, origin, session);
            self.counters.fetches_fallen_back += 1;
            self.fetches.take(&from, session);
            self.answer(&from, origin, session);
        }
    }

    /// Closes fetches that have nothing left to bring, and tells their origins that the cut is not needed.
    pub(crate) fn drop_idle_fetches(&mut self) {
        let mut idle = Vec::new();
        for (from, session) in self.fetches.all.keys() {
            match self.peers.get(from).and_then(|peer| peer.origin) {
                Some(origin) if !self.missing_of(origin, *session).is_empty() => {}
                origin => idle.push((from.clone(), *session, origin)),
            }
        }
        for (from, session, origin) in idle {
            let fetch = self.fetches.take(&from, session);
            if let Some(origin) = origin {
                self.answer(&from, origin, session);
                let all = self.datas().all(|data| data.remote.get(&origin).is_none_or(Column::complete));
                if let Some(Fetch { bytes: bytes @ 1.., .. }) = fetch
                    && all
                {
                    let text = format!("the counts of {from} were fetched from it, {bytes} bytes");
                    self.notice(Severity::Info, text);
                }
            }
        }
    }

    /// Tells an origin what of a cut is still missing, and wanted on the bus.
    pub(crate) fn answer(&mut self, from: &PrivateName, origin: Origin, session: u64) {
        let wanted = self.missing_of(origin, session);
        let payload = Bytes::from(write_answer(&Answer { session, wanted }));
        let to = vec![Destination::Member(from.clone())];
        self.outbox.push_back(Outgoing { to, kind: KIND_ANSWER, payload });
    }

    /// The objects whose columns of that cut are on their way.
    fn missing_of(&self, origin: Origin, session: u64) -> Vec<&str> {
        self.objects
            .iter()
            .filter(|Shared { data, .. }| {
                matches!(
                    data.as_ref().and_then(|data| data.remote.get(&origin)),
                    Some(Column::Receiving(receiving)) if receiving.session == session
                )
            })
            .map(|Shared { spec, .. }| spec.name.as_str())
            .collect()
    }

    fn touch(&mut self, now: Monotonic, origin: Origin, session: u64) {
        for data in self.objects.iter_mut().filter_map(|object| object.data.as_mut()) {
            if let Some(Column::Receiving(receiving)) = data.remote.get_mut(&origin)
                && receiving.session == session
            {
                receiving.since = now;
            }
        }
    }

    fn fetch_is_wrong(&mut self, now: Monotonic, fetch: FetchId, from: &PrivateName, what: &str) {
        self.counters.malformed += 1;
        if self.peers.get_mut(from).is_some_and(|peer: &mut Peer| noticed(&mut peer.malformed_noticed, now)) {
            let text =
                format!("{from} sent counts point to point that cannot be taken: {what}; trying again");
            self.notice(Severity::Error, text);
        }
        if let Some(key) = self.fetches.find(fetch)
            && let Some(held) = self.fetches.all.get_mut(&key)
        {
            // What came before may be right, and brings no peace: such a peer is not fetched from for ever.
            held.state = State::Open { id: fetch, fruitful: false };
        }
        self.fetch_ended(now, fetch, FetchEnd::Broken);
    }
}
