//! The hub: gives every message and every change its place. Pure; the driver moves the bytes.
//!
//! Duties of the caller, in order: [`Hub::opened`] for every stream (for its own member: [`OWN`]), then its frames
//! to [`Hub::frame`]; after every attempt to write [`Hub::accepted`] with the bytes the kernel has taken in all;
//! [`Hub::closed`] once when a stream has ended; [`Hub::turn`] every 200 ms; after any of these
//! [`Hub::advance`], then all orders of [`Hub::next_order`], in order, until there are none. A turn that is
//! due goes first, so that a hub that was stopped finds out before it logs anything.
//!
//! The promise everything rests on is the sender's precedence: an entry is completely in its sender's socket before
//! anybody else gets it, so whatever anybody has delivered, the sender has too or is gone. `docs/local-bus.md`
//! tells why.

mod take_over;

use crate::frame::{self, Attach, FromHub, Gone, Resume, ToHub, VERSION};
use crate::log::{Body, Change, Entry, Log};
use crate::member::{Mark, MemberId};
use bytes::Bytes;
use core::time::Duration;
use postfleet_bus::carrier::RawReason;
use postfleet_types::Monotonic;
use std::collections::{BTreeMap, VecDeque};
use take_over::Fetching;

/// A stream to an attachment, numbered by the driver.
pub type Stream = u64;

/// The stream of the hub's own member; it needs no socket.
pub const OWN: Stream = 0;

/// A member that holds back a tail of this size is put out.
pub const TAIL_BYTES_MAX: usize = 32 << 20;

/// From this size of the tail on, submissions wait for the slowest member, as long as that goes on reading.
const TAIL_BYTES_SLOW: usize = 16 << 20;

/// How many turns without any progress of the slowest member before nobody waits for it any more.
const STUCK_TURNS: u32 = 2;

/// How many turns a sender may leave half of an entry in the hub's hands before it is put out: everybody waits
/// for it. It happens only to a member that has stopped with a full socket buffer.
const HALF_WRITTEN_TURNS: u32 = 5;

/// How long the members of the last change are waited for after a take-over.
pub const GATHER: Duration = Duration::from_millis(500);

/// How long a hub that leaves waits until all have delivered its last entry.
pub const RETIRE: Duration = Duration::from_secs(2);

const BATCH_ENTRIES: usize = 64;
const BATCH_BYTES: usize = 256 << 10;
/// Nobody has more submissions under way: an attachment is busy above 4 MiB and one message. What a member sends is
/// always read, because its acknowledgements come behind its submissions.
const PENDING_BYTES_MAX: usize = 8 << 20;

/// What the hub must know of the host it runs on.
pub trait Surroundings {
    /// Whether the member's process can still do anything.
    fn process_exists(&mut self, id: MemberId) -> bool;

    /// Whether the number in the lock file is higher than `generation`, or a byte above it is locked.
    fn superseded(&mut self, generation: u64) -> bool;
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Append to what is to be written to the stream, and try to write.
    Write {
        /// Which.
        stream: Stream,
        /// Whole frames.
        bytes: Bytes,
    },
    /// Forget what the stream's socket has not taken.
    Withdraw {
        /// Which.
        stream: Stream,
    },
    /// Close the stream; with `flush`, after all is written or cannot be.
    Close {
        /// Which.
        stream: Stream,
        /// Whether to write first.
        flush: bool,
    },
    /// Hand the frame to the own member.
    Own(FromHub),
    /// Close everything and let go of the lock. The last order.
    Over(Over),
}

/// Why a hub ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Another hub has been started; the own member goes there.
    Superseded,
    /// The own member is not among those who went on.
    Expelled,
    /// The own member has left, and all know it.
    Retired,
}

#[derive(Debug, PartialEq, Eq)]
enum Role {
    /// Has not said who it is.
    New,
    /// Wants to join.
    Waiting,
    /// Brings a past.
    Resuming(Resume),
    Member,
    /// Has asked to leave.
    Detaching,
    /// Turned away, or out.
    Closed,
}

#[derive(Debug)]
struct Peer {
    id: MemberId,
    role: Role,
    pending: VecDeque<(u64, Bytes)>,
    pending_bytes: usize,
    /// The last number logged for it.
    last_no: u64,
    /// Bytes ordered to be written, and bytes that the socket has taken, since the stream was opened.
    ordered: u64,
    accepted: u64,
    /// Its socket took nothing of a batch; nothing is tried until it takes something.
    full: bool,
    acked: u64,
}

impl Peer {
    fn new() -> Self {
        Self {
            id: MemberId::default(),
            role: Role::New,
            pending: VecDeque::new(),
            pending_bytes: 0,
            last_no: 0,
            ordered: 0,
            accepted: 0,
            full: false,
            acked: 0,
        }
    }

    const fn is_member(&self) -> bool {
        matches!(self.role, Role::Member | Role::Detaching)
    }

    const fn has_all(&self) -> bool {
        self.ordered == self.accepted && !self.full
    }
}

/// Entries that are being written to their sender and exist as far as its socket has them.
#[derive(Debug)]
struct Batch {
    stream: Stream,
    id: MemberId,
    submits: Vec<(u64, Bytes)>,
    /// Where the stream stood before, and where each entry ends.
    start: u64,
    ends: Vec<u64>,
    /// Set when the stream has ended: what its socket had taken.
    ended_at: Option<u64>,
    turns: u32,
}

#[derive(Debug)]
enum Phase {
    Gathering { deadline: Monotonic },
    Fetching(Fetching),
    Running,
    Retiring { deadline: Monotonic },
    Over,
}

/// One generation of the hub.
#[derive(Debug)]
pub struct Hub {
    generation: u64,
    bus_name: String,
    phase: Phase,
    peers: BTreeMap<Stream, Peer>,
    log: Log,
    members: Vec<MemberId>,
    lost: Vec<MemberId>,
    batch: Option<Batch>,
    look: bool,
    served: Stream,
    stuck_turns: u32,
    orders: VecDeque<Order>,
}

impl Hub {
    /// A hub of generation `generation`, which begins by finding out what others have.
    #[must_use]
    pub fn new(generation: u64, bus_name: &str, now: Monotonic) -> Self {
        Self {
            generation,
            bus_name: bus_name.to_owned(),
            phase: Phase::Gathering { deadline: now + GATHER },
            peers: BTreeMap::new(),
            log: Log::default(),
            members: Vec::new(),
            lost: Vec::new(),
            batch: None,
            look: false,
            served: OWN,
            stuck_turns: 0,
            orders: VecDeque::new(),
        }
    }

    /// Its generation.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it has finished the take-over and takes submissions.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Whether the own member has left and the hub only waits until all know.
    #[must_use]
    pub const fn is_retiring(&self) -> bool {
        matches!(self.phase, Phase::Retiring { .. })
    }

    /// When [`Hub::advance`] must be called at the latest, apart from turns.
    #[must_use]
    pub const fn deadline(&self) -> Option<Monotonic> {
        match self.phase {
            Phase::Gathering { deadline } | Phase::Retiring { deadline } => Some(deadline),
            Phase::Fetching(_) | Phase::Running | Phase::Over => None,
        }
    }

    /// The members of the last change.
    #[must_use]
    pub fn members(&self) -> &[MemberId] {
        &self.members
    }

    /// The memory of the tail that some member holds back.
    #[must_use]
    pub const fn tail_bytes(&self) -> usize {
        self.log.cost()
    }

    /// Whether the driver should say when the stream can be written, although nothing waits to be.
    #[must_use]
    pub fn is_full(&self, stream: Stream) -> bool {
        self.peers.get(&stream).is_some_and(|peer| peer.full)
    }

    /// The next order.
    pub fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// A stream is there.
    pub fn opened(&mut self, stream: Stream) {
        self.peers.insert(stream, Peer::new());
        self.send(stream, &self.tick());
    }

    /// The stream has ended, after its socket took `accepted` bytes in all.
    pub fn closed(&mut self, stream: Stream, accepted: u64) {
        let Some(peer) = self.peers.remove(&stream) else { return };
        if peer.is_member() {
            self.lost.push(peer.id);
            self.look = true;
        }
        if let Some(batch) = self.batch.as_mut().filter(|batch| batch.stream == stream) {
            batch.ended_at = Some(accepted);
        }
        if let Phase::Fetching(fetching) = &self.phase
            && matches!(peer.role, Role::Resuming(_))
        {
            self.phase = Phase::Gathering { deadline: fetching.deadline };
        }
    }

    /// After an attempt to write: the stream's socket has taken `accepted` bytes in all.
    pub fn accepted(&mut self, stream: Stream, accepted: u64) {
        let Some(peer) = self.peers.get_mut(&stream) else { return };
        peer.accepted = accepted;
        peer.full = false;
        if let Some(batch) = self.batch.take_if(|batch| batch.stream == stream && batch.start == accepted) {
            // Nothing of it is in the sender's socket, so it does not exist, and others need not wait for it.
            peer.ordered = batch.start;
            peer.full = true;
            for (no, bytes) in batch.submits.into_iter().rev() {
                peer.pending_bytes += bytes.len();
                peer.pending.push_front((no, bytes));
            }
            self.orders.push_back(Order::Withdraw { stream });
        }
    }

    /// A turn of 200 ms.
    pub fn turn(&mut self) {
        self.look = true;
        self.stuck_turns = self.stuck_turns.saturating_add(1);
        let tick = self.tick();
        let idle: Vec<Stream> =
            self.peers.iter().filter(|(_, peer)| peer.has_all()).map(|(s, _)| *s).collect();
        for stream in idle {
            self.send(stream, &tick);
        }
        if let Phase::Fetching(fetching) = &mut self.phase
            && let Some(stream) = fetching.turn()
        {
            self.put_out(stream);
        }
        if let Some(batch) = &mut self.batch {
            batch.turns = batch.turns.saturating_add(1);
            if batch.turns >= HALF_WRITTEN_TURNS {
                let stream = batch.stream;
                self.put_out(stream);
            }
        }
    }

    /// A frame from a stream.
    pub fn frame(&mut self, stream: Stream, frame: ToHub) {
        let Some(peer) = self.peers.get_mut(&stream) else { return };
        let allowed = match (frame, &peer.role) {
            (_, Role::Closed) => true,
            (ToHub::Attach(attach), Role::New) => {
                self.attach(stream, attach);
                true
            }
            (ToHub::Submit { no, bytes }, Role::Member) => {
                let next = peer.pending.back().map_or(peer.last_no, |(no, _)| *no).saturating_add(1);
                let in_batch = self.batch.as_ref().filter(|batch| batch.stream == stream);
                let next = next.max(
                    in_batch.and_then(|batch| batch.submits.last()).map_or(0, |(no, _)| no.saturating_add(1)),
                );
                if no == next {
                    peer.pending_bytes += bytes.len();
                    peer.pending.push_back((no, bytes));
                }
                no <= next && peer.pending_bytes <= PENDING_BYTES_MAX
            }
            (ToHub::Ack { seq }, Role::Member | Role::Detaching) => {
                peer.acked = peer.acked.max(seq.min(self.log.last().seq));
                self.forget();
                true
            }
            (ToHub::Hold { entries }, Role::Resuming(_)) => {
                if let Phase::Fetching(fetching) = &mut self.phase {
                    fetching.hold(stream, entries);
                }
                true
            }
            (ToHub::Detach, Role::Member) => {
                peer.role = Role::Detaching;
                true
            }
            // Answers to a question of an earlier attempt, or of no consequence.
            (ToHub::Hold { .. } | ToHub::Ack { .. }, _) => true,
            (ToHub::Attach(_) | ToHub::Submit { .. } | ToHub::Detach, _) => false,
        };
        if !allowed {
            self.refuse(stream, Gone::Protocol);
        }
    }

    /// Does what can be done now.
    pub fn advance(&mut self, now: Monotonic, surroundings: &mut impl Surroundings) {
        loop {
            if matches!(self.phase, Phase::Over) {
                return;
            }
            if self.look {
                if surroundings.superseded(self.generation) {
                    return self.over(Over::Superseded);
                }
                self.look = false;
            }
            let again = match &self.phase {
                Phase::Gathering { deadline } => {
                    let deadline = *deadline;
                    self.gather(now, deadline, surroundings)
                }
                Phase::Fetching(_) => self.fetch(surroundings),
                Phase::Running => self.run(now, surroundings),
                Phase::Retiring { deadline } => {
                    if now >= *deadline || self.lowest_ack() >= self.log.last().seq {
                        self.over(Over::Retired);
                    }
                    false
                }
                Phase::Over => false,
            };
            if !again {
                return;
            }
        }
    }

    /// One step of ordinary work. Returns whether there may be more.
    fn run(&mut self, now: Monotonic, surroundings: &mut impl Surroundings) -> bool {
        if self.batch.is_some() {
            return self.settle();
        }
        if !self.lost.is_empty() {
            let left = core::mem::take(&mut self.lost)
                .into_iter()
                .map(|id| (id, gone_reason(id, surroundings)))
                .collect();
            self.log_change(left, &[]);
            return true;
        }
        if let Some((stream, peer)) = self.peers.iter_mut().find(|(_, peer)| peer.role == Role::Detaching) {
            let (stream, id) = (*stream, peer.id);
            self.log_change(vec![(id, RawReason::Left)], &[]);
            if stream == OWN {
                self.phase = Phase::Retiring { deadline: now + RETIRE };
            }
            return true;
        }
        let joining: Vec<Stream> =
            self.peers.iter().filter(|(_, peer)| peer.role == Role::Waiting).map(|(s, _)| *s).collect();
        if !joining.is_empty() {
            self.log_change(Vec::new(), &joining);
            return true;
        }
        if self.log.cost() > TAIL_BYTES_MAX {
            let lowest = self.lowest_ack();
            let slow: Vec<Stream> = self
                .peers
                .iter()
                .filter(|(stream, peer)| **stream != OWN && peer.is_member() && peer.acked == lowest)
                .map(|(stream, _)| *stream)
                .collect();
            for stream in &slow {
                self.put_out(*stream);
            }
            if !slow.is_empty() {
                return true;
            }
        }
        let may_take = self.log.cost() < TAIL_BYTES_SLOW || self.stuck_turns >= STUCK_TURNS;
        may_take && self.take_batch()
    }

    /// Writes the next submissions of one member to that member. Returns whether there were any.
    fn take_batch(&mut self) -> bool {
        let ready = |(_, peer): &(&Stream, &mut Peer)| {
            peer.role == Role::Member && peer.has_all() && !peer.pending.is_empty()
        };
        let next = self.peers.range_mut(self.served + 1..).find(ready).map(|(stream, _)| *stream);
        let next = next.or_else(|| self.peers.iter_mut().find(ready).map(|(stream, _)| *stream));
        let Some(stream) = next else { return false };
        let Some(peer) = self.peers.get_mut(&stream) else { return false };
        self.served = stream;
        let mut submits = Vec::new();
        let mut bytes_taken = 0;
        while let Some((no, bytes)) = peer.pending.pop_front_if(|_| {
            submits.is_empty() || submits.len() < BATCH_ENTRIES && bytes_taken < BATCH_BYTES
        }) {
            bytes_taken += bytes.len();
            submits.push((no, bytes));
        }
        peer.pending_bytes = peer.pending_bytes.saturating_sub(bytes_taken);
        let (start, id) = (peer.ordered, peer.id);
        let stable = self.log.first_seq().saturating_sub(1);
        let mut mark = self.log.last();
        mark.generation = self.generation;
        let mut out = Vec::new();
        let mut ends = Vec::with_capacity(submits.len());
        for (no, _) in &submits {
            mark.seq = mark.seq.saturating_add(1);
            if stream == OWN {
                self.orders.push_back(Order::Own(FromHub::Own { stable, mark, no: *no }));
            } else {
                frame::put_own(&mut out, stable, mark, *no);
            }
            ends.push(start + count(out.len()));
        }
        self.batch = Some(Batch { stream, id, submits, start, ends, ended_at: None, turns: 0 });
        if stream == OWN {
            return true;
        }
        self.write(stream, out.into());
        true
    }

    /// Looks how far the batch has got. Returns whether it is over.
    fn settle(&mut self) -> bool {
        let Some(batch) = &self.batch else { return true };
        let accepted = match (batch.ended_at, self.peers.get(&batch.stream)) {
            (Some(accepted), _) => accepted,
            (None, Some(peer)) if peer.has_all() => peer.accepted,
            (None, Some(_)) => return false,
            (None, None) => batch.start,
        };
        // Entries whose last byte the sender's socket took exist; the others never did.
        let existing = batch.ends.iter().take_while(|end| **end <= accepted).count();
        let Some(mut batch) = self.batch.take() else { return true };
        batch.submits.truncate(existing);
        self.publish(batch);
        true
    }

    fn publish(&mut self, batch: Batch) {
        let Some((last_no, _)) = batch.submits.last() else { return };
        if let Some(peer) = self.peers.get_mut(&batch.stream) {
            peer.last_no = *last_no;
        }
        let stable = self.log.first_seq().saturating_sub(1);
        let mut mark = self.log.last();
        mark.generation = self.generation;
        let mut out = Vec::new();
        let mut places = Vec::with_capacity(batch.submits.len());
        for (no, bytes) in batch.submits {
            mark.seq = mark.seq.saturating_add(1);
            let length = bytes.len();
            let entry = Entry { mark, body: Body::Message { from: batch.id.raw, no, bytes } };
            frame::put_entry(&mut out, stable, &entry);
            places.push((mark, no, out.len() - length..out.len()));
        }
        let out = Bytes::from(out);
        for (mark, no, place) in places {
            // The message is kept where it lies in the written frames, not a second time.
            let body = Body::Message { from: batch.id.raw, no, bytes: out.slice(place) };
            let entry = Entry { mark, body };
            if batch.stream != OWN && self.peers.get(&OWN).is_some_and(Peer::is_member) {
                self.orders.push_back(Order::Own(FromHub::Entry { stable, entry: entry.clone() }));
            }
            let next = self.log.push(entry);
            debug_assert!(next, "the log has a hole");
        }
        self.write_others(batch.stream, &out);
    }

    fn write_others(&mut self, sender: Stream, out: &Bytes) {
        let others: Vec<Stream> = self
            .peers
            .iter()
            .filter(|(stream, peer)| **stream != OWN && **stream != sender && peer.is_member())
            .map(|(stream, _)| *stream)
            .collect();
        for stream in others {
            self.write(stream, out.clone());
        }
    }

    /// Logs a change and tells everybody, those who leave by their own wish and those who join included.
    fn log_change(&mut self, left: Vec<(MemberId, RawReason)>, joining: &[Stream]) {
        let mut mark = self.log.last();
        mark = Mark { generation: self.generation, seq: mark.seq.saturating_add(1) };
        let stable = self.log.first_seq().saturating_sub(1);
        self.members.retain(|member| !left.iter().any(|(id, _)| id == member));
        let mut joined = Vec::new();
        let tail: Vec<Entry> = self.log.range(0, u64::MAX).cloned().collect();
        for stream in joining {
            let Some(peer) = self.peers.get_mut(stream) else { continue };
            peer.role = Role::Member;
            peer.acked = mark.seq.saturating_sub(1);
            joined.push(peer.id);
            self.members.push(peer.id);
            if !tail.is_empty() {
                self.send(*stream, &FromHub::Keep { entries: tail.clone() });
            }
        }
        joined.sort_unstable();
        self.members.sort_unstable();
        let entry =
            Entry { mark, body: Body::Change(Change { members: self.members.clone(), left, joined }) };
        let next = self.log.push(entry.clone());
        debug_assert!(next, "the log has a hole");
        let mut out = Vec::new();
        frame::put_entry(&mut out, stable, &entry);
        self.write_others(OWN, &out.into());
        if self.peers.get(&OWN).is_some_and(Peer::is_member) {
            self.orders.push_back(Order::Own(FromHub::Entry { stable, entry }));
        }
        for (stream, peer) in &mut self.peers {
            if peer.role == Role::Detaching && !self.members.contains(&peer.id) {
                peer.role = Role::Closed;
                if *stream != OWN {
                    self.orders.push_back(Order::Close { stream: *stream, flush: true });
                }
            }
        }
        self.forget();
    }

    fn attach(&mut self, stream: Stream, attach: Attach) {
        if attach.version != VERSION {
            return self.refuse(stream, Gone::Version);
        }
        if attach.bus_name != self.bus_name {
            return self.refuse(stream, Gone::BusName);
        }
        let taking_over = matches!(self.phase, Phase::Gathering { .. } | Phase::Fetching(_));
        if attach.resume.is_some() && !taking_over {
            return self.refuse(stream, Gone::Expelled);
        }
        let same = |(_, peer): &(&Stream, &Peer)| {
            peer.id.raw == attach.id.raw && !matches!(peer.role, Role::New | Role::Closed)
        };
        if let Some(older) = self.peers.iter().find(same).map(|(stream, _)| *stream) {
            if older == OWN {
                return self.refuse(stream, Gone::Protocol);
            }
            self.put_out(older);
        }
        let Some(peer) = self.peers.get_mut(&stream) else { return };
        peer.id = attach.id;
        match attach.resume {
            None => peer.role = Role::Waiting,
            Some(resume) => {
                peer.role = Role::Resuming(resume);
                if let Phase::Fetching(fetching) = &self.phase {
                    self.phase = Phase::Gathering { deadline: fetching.deadline };
                }
            }
        }
    }

    /// Ends a stream that does not keep up, or that a newer one of the same attachment replaces.
    fn put_out(&mut self, stream: Stream) {
        let accepted = self.peers.get(&stream).map_or(0, |peer| peer.accepted);
        self.closed(stream, accepted);
        self.orders.push_back(Order::Close { stream, flush: false });
    }

    fn refuse(&mut self, stream: Stream, why: Gone) {
        let Some(peer) = self.peers.get_mut(&stream) else { return };
        if peer.is_member() {
            return self.put_out(stream);
        }
        peer.role = Role::Closed;
        self.send(stream, &FromHub::Gone(why));
        if stream != OWN {
            self.orders.push_back(Order::Close { stream, flush: true });
        }
    }

    fn over(&mut self, why: Over) {
        self.phase = Phase::Over;
        self.batch = None;
        self.orders.push_back(Order::Over(why));
    }

    fn tick(&self) -> FromHub {
        FromHub::Tick { generation: self.generation, stable: self.log.first_seq().saturating_sub(1) }
    }

    fn send(&mut self, stream: Stream, frame: &FromHub) {
        if stream == OWN {
            return self.orders.push_back(Order::Own(frame.clone()));
        }
        let mut out = Vec::new();
        frame.encode(&mut out);
        self.write(stream, out.into());
    }

    fn write(&mut self, stream: Stream, bytes: Bytes) {
        if let Some(peer) = self.peers.get_mut(&stream) {
            peer.ordered += count(bytes.len());
            self.orders.push_back(Order::Write { stream, bytes });
        }
    }

    fn lowest_ack(&self) -> u64 {
        self.peers.values().filter(|peer| peer.is_member()).map(|peer| peer.acked).min().unwrap_or(u64::MAX)
    }

    fn forget(&mut self) {
        let before = self.log.first_seq();
        // Who is lost but not yet logged as gone holds nothing back: it cannot come back to this hub.
        self.log.forget(self.lowest_ack());
        if self.log.first_seq() > before {
            self.stuck_turns = 0;
        }
    }
}

fn gone_reason(id: MemberId, surroundings: &mut impl Surroundings) -> RawReason {
    if surroundings.process_exists(id) { RawReason::NodeDown } else { RawReason::ProcessDown }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
