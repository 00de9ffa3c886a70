//! One attachment: what it keeps, what it asks of the hub, what it delivers. Pure; the driver moves the frames.
//!
//! Duties of the caller, in order: [`Attachment::linked`] when a stream to a hub is up; then every frame of it
//! to [`Attachment::frame`], and [`Attachment::quiet`] when nothing more can be read; [`Attachment::unlinked`]
//! when the stream has ended **and all it still held has been handed over**; [`Attachment::turn`] every 200 ms of
//! the own clock, also between streams. After each call the frames of [`Attachment::next_frame`] go into the
//! stream (without a stream there are none) and the events of [`Attachment::next_event`] to the application.

use crate::frame::{Attach, FromHub, Gone, MESSAGE_BYTES_MAX, Resume, ToHub, VERSION};
use crate::log::{Body, Change, Entry, Log};
use crate::member::{Mark, MemberId};
use bytes::Bytes;
use postfleet_bus::carrier::{CarrierEvent, CarrierLost, Submit};
use std::collections::VecDeque;

/// Own submissions that have not come back take at most this much (one message more, because the last is taken
/// whole); above it [`Submit::Busy`].
pub const KEPT_BYTES_MAX: usize = 4 << 20;

/// Own timer turns of 200 ms in a row without a frame after which the hub is taken to be stopped: 3 s.
///
/// Own turns, not clock time: a process that was stopped itself counts one turn when it wakes up, and does not
/// accuse a hub of its own absence.
pub const SILENT_TURNS: u32 = 15;

/// Own timer turns without a hub after which the stream ends with [`CarrierLost::Daemon`]: 5 s.
pub const HUBLESS_TURNS: u32 = 25;

/// Acknowledge at the latest after so many entries …
const ACK_ENTRIES: u32 = 64;
/// … or so many bytes, so that large messages cannot fill the hub's tail unacknowledged.
const ACK_BYTES: usize = 256 << 10;

const SUBMIT_COST: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No stream.
    Unlinked,
    /// `ATTACH` is out; the hub's first change with this attachment has not come.
    Attaching,
    /// A member; submissions are sent.
    Running,
    /// Over.
    Ended,
}

/// One attachment to one bus.
#[derive(Debug)]
pub struct Attachment {
    id: MemberId,
    bus_name: String,
    phase: Phase,
    log: Log,
    /// Whether a change with the own id was delivered; before it entries are only kept.
    admitted: bool,
    members: Vec<MemberId>,
    /// Own submissions that have not come back, oldest first, numbered without holes.
    kept: VecDeque<(u64, Bytes)>,
    kept_bytes: usize,
    next_no: u64,
    /// How many of `kept` have been sent on this stream.
    sent: usize,
    own_no: u64,
    hub_generation: Option<u64>,
    acked: u64,
    unacked: (u32, usize),
    silent_turns: u32,
    hubless_turns: u32,
    busy: bool,
    detaching: bool,
    detach_sent: bool,
    out: VecDeque<ToHub>,
    events: VecDeque<CarrierEvent>,
}

impl Attachment {
    /// An attachment that is not linked yet.
    #[must_use]
    pub fn new(id: MemberId, bus_name: &str) -> Self {
        Self {
            id,
            bus_name: bus_name.to_owned(),
            phase: Phase::Unlinked,
            log: Log::default(),
            admitted: false,
            members: Vec::new(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            next_no: 1,
            sent: 0,
            own_no: 0,
            hub_generation: None,
            acked: 0,
            unacked: (0, 0),
            silent_turns: 0,
            hubless_turns: 0,
            busy: false,
            detaching: false,
            detach_sent: false,
            out: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The own identity.
    #[must_use]
    pub const fn id(&self) -> MemberId {
        self.id
    }

    /// The generation of the hub it is linked to, once that has spoken.
    #[must_use]
    pub const fn hub_generation(&self) -> Option<u64> {
        self.hub_generation
    }

    /// Whether a stream is up.
    #[must_use]
    pub const fn is_linked(&self) -> bool {
        matches!(self.phase, Phase::Attaching | Phase::Running)
    }

    /// Whether it is a member and its submissions are sent.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Whether the stream of events has ended.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Own timer turns in a row without a frame.
    #[must_use]
    pub const fn silent_turns(&self) -> u32 {
        self.silent_turns
    }

    /// Whether the hub brought no frame for so long that it must be taken to be stopped.
    #[must_use]
    pub const fn suspects_hub(&self) -> bool {
        self.silent_turns >= SILENT_TURNS && !self.has_ended()
    }

    /// Own submissions that have not come back: how many, and their bytes.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        (self.kept.len(), self.kept_bytes)
    }

    /// The tail it keeps.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// What it brings to another hub; `None` before its first admission.
    #[must_use]
    pub fn resume(&self) -> Option<Resume> {
        self.admitted.then(|| Resume {
            last: self.log.last(),
            held_from: self.log.first_seq(),
            own_no: self.own_no,
            members: self.members.clone(),
        })
    }

    /// Takes a message, or says why not.
    pub fn submit(&mut self, bytes: Bytes) -> Submit {
        if self.has_ended() || self.detaching || bytes.len() > MESSAGE_BYTES_MAX {
            return Submit::Gone;
        }
        if self.kept_bytes > KEPT_BYTES_MAX {
            self.busy = true;
            return Submit::Busy;
        }
        self.keep(bytes);
        Submit::Accepted
    }

    /// Takes a message that the caller has accepted already, whatever is kept.
    pub fn keep(&mut self, bytes: Bytes) {
        if self.has_ended() {
            return;
        }
        self.kept_bytes += bytes.len() + SUBMIT_COST;
        self.kept.push_back((self.next_no, bytes));
        self.next_no = self.next_no.saturating_add(1);
        self.send_kept();
    }

    /// Asks for [`CarrierEvent::Ready`] as soon as there is room.
    pub fn want_ready(&mut self) {
        self.busy = true;
        self.tell_ready();
    }

    /// Asks to leave in an orderly way.
    pub fn detach(&mut self) {
        self.detaching = true;
        if self.phase == Phase::Unlinked && !self.admitted && self.kept.is_empty() {
            self.end(CarrierLost::Detached);
        }
        self.send_kept();
    }

    /// Ends the stream of events from this side.
    pub fn end(&mut self, why: CarrierLost) {
        if !self.has_ended() {
            self.phase = Phase::Ended;
            self.out.clear();
            self.events.push_back(CarrierEvent::Lost(why));
        }
    }

    /// A stream to a hub is up.
    pub fn linked(&mut self) {
        if self.phase != Phase::Unlinked {
            return;
        }
        self.phase = Phase::Attaching;
        self.hub_generation = None;
        self.acked = self.log.last().seq;
        self.unacked = (0, 0);
        self.out.push_back(ToHub::Attach(Attach {
            version: VERSION,
            bus_name: self.bus_name.clone(),
            id: self.id,
            resume: self.resume(),
        }));
    }

    /// The stream has ended, and everything it held has been handed over.
    pub fn unlinked(&mut self) {
        if self.has_ended() {
            return;
        }
        if self.is_running() {
            self.hubless_turns = 0;
        }
        self.phase = Phase::Unlinked;
        self.hub_generation = None;
        self.sent = 0;
        self.detach_sent = false;
        self.out.clear();
        if !self.admitted {
            // Nothing was delivered: the next hub meets a newcomer.
            self.log = Log::default();
            if self.detaching && self.kept.is_empty() {
                self.end(CarrierLost::Detached);
            }
        }
    }

    /// The number of the newest hub has changed; it deserves the full patience.
    pub const fn hub_changed(&mut self) {
        self.silent_turns = 0;
    }

    /// One own timer turn of 200 ms.
    pub fn turn(&mut self) {
        self.silent_turns = self.silent_turns.saturating_add(1);
        if !self.is_running() {
            self.hubless_turns = self.hubless_turns.saturating_add(1);
            if self.hubless_turns >= HUBLESS_TURNS {
                self.end(CarrierLost::Daemon);
            }
        }
    }

    /// Nothing more is readable.
    pub fn quiet(&mut self) {
        if self.is_linked() && self.admitted && self.log.last().seq > self.acked {
            self.acked = self.log.last().seq;
            self.unacked = (0, 0);
            self.out.push_back(ToHub::Ack { seq: self.acked });
        }
    }

    /// A frame of the hub.
    pub fn frame(&mut self, frame: FromHub) {
        if !self.is_linked() {
            return;
        }
        self.silent_turns = 0;
        match frame {
            FromHub::Entry { stable, entry } => self.entry(stable, entry),
            FromHub::Keep { entries } => self.keep_entries(entries),
            FromHub::Own { stable, mark, no } => {
                let Some((_, bytes)) = self.kept.front().filter(|(kept, _)| *kept == no) else {
                    return self.end(CarrierLost::Protocol);
                };
                let body = Body::Message { from: self.id.raw, no, bytes: bytes.clone() };
                self.entry(stable, Entry { mark, body });
            }
            FromHub::Fetch { from, to } => {
                let entries = self.log.range(from, to).cloned().collect();
                self.out.push_back(ToHub::Hold { entries });
            }
            // Its leaving may have been logged by a hub that died before it could say so.
            FromHub::Gone(Gone::Expelled) if self.detaching && self.kept.is_empty() => {
                self.end(CarrierLost::Detached);
            }
            FromHub::Gone(Gone::Expelled) => self.end(CarrierLost::Expelled),
            FromHub::Gone(Gone::Version | Gone::BusName | Gone::Protocol) => self.end(CarrierLost::Protocol),
            FromHub::Tick { generation, stable } => {
                self.hub_generation = Some(generation);
                self.forget(stable);
            }
        }
    }

    /// The next frame for the stream.
    pub fn next_frame(&mut self) -> Option<ToHub> {
        self.out.pop_front()
    }

    /// The next event for the application.
    pub fn next_event(&mut self) -> Option<CarrierEvent> {
        self.events.pop_front()
    }

    /// The log of a newcomer begins wherever the first entry is.
    fn begin_log(&mut self, first: Mark) {
        if self.log.last() == Mark::default() && !self.admitted {
            self.log = Log::after(Mark { generation: 0, seq: first.seq.saturating_sub(1) });
        }
    }

    fn keep_entries(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.begin_log(entry.mark);
            if self.admitted || !self.log.push(entry) {
                return self.end(CarrierLost::Protocol);
            }
        }
    }

    fn entry(&mut self, stable: u64, entry: Entry) {
        self.begin_log(entry.mark);
        let mark = entry.mark;
        self.unacked = (self.unacked.0 + 1, self.unacked.1 + entry.cost());
        if !self.log.push(entry.clone()) {
            return self.end(CarrierLost::Protocol);
        }
        self.forget(stable);
        match entry.body {
            Body::Message { from, no, bytes } => {
                if !self.admitted {
                    return self.end(CarrierLost::Protocol);
                }
                if from == self.id.raw {
                    self.came_back(no);
                }
                self.events.push_back(CarrierEvent::Deliver { from, bytes });
            }
            Body::Change(change) => self.change(mark, change),
        }
        if self.unacked.0 >= ACK_ENTRIES || self.unacked.1 >= ACK_BYTES {
            self.quiet();
        }
        self.send_kept();
    }

    fn change(&mut self, mark: Mark, change: Change) {
        let inside = change.members.contains(&self.id);
        if !inside {
            return self.end(if self.detaching { CarrierLost::Detached } else { CarrierLost::Expelled });
        }
        self.admitted = true;
        self.members = change.members.clone();
        self.events.push_back(CarrierEvent::Change {
            members: change.members.iter().map(|id| id.raw).collect(),
            left: change.left.iter().map(|(id, reason)| (id.raw, *reason)).collect(),
            joined: change.joined.iter().map(|id| id.raw).collect(),
        });
        if self.phase == Phase::Attaching && self.hub_generation == Some(mark.generation) {
            self.phase = Phase::Running;
            self.hubless_turns = 0;
            self.sent = 0;
        }
    }

    fn came_back(&mut self, no: u64) {
        self.own_no = no;
        while let Some((_, bytes)) = self.kept.pop_front_if(|(kept, _)| *kept <= no) {
            self.kept_bytes = self.kept_bytes.saturating_sub(bytes.len() + SUBMIT_COST);
            self.sent = self.sent.saturating_sub(1);
        }
        self.tell_ready();
    }

    fn tell_ready(&mut self) {
        if self.busy && self.kept_bytes <= KEPT_BYTES_MAX / 2 && !self.has_ended() {
            self.busy = false;
            self.events.push_back(CarrierEvent::Ready);
        }
    }

    fn forget(&mut self, stable: u64) {
        self.log.forget(stable.min(self.acked));
    }

    fn send_kept(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        for (no, bytes) in self.kept.iter().skip(self.sent) {
            self.out.push_back(ToHub::Submit { no: *no, bytes: bytes.clone() });
        }
        self.sent = self.kept.len();
        if self.detaching && !self.detach_sent && self.kept.is_empty() {
            self.detach_sent = true;
            self.quiet();
            self.out.push_back(ToHub::Detach);
        }
    }
}
