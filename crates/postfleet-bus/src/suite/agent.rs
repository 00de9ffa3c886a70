//! One member: takes commands, keeps its connection, sends heartbeats and bursts, records what happens.
//!
//! Pure like the rest: a rig calls [`Agent::poll`] when it is woken or [`Agent::deadline`] has passed.

use super::{Burst, Command, MemberSpec, Record, What};
use crate::carrier::Carrier;
use crate::connection::Connection;
use crate::envelope::Load;
use crate::event::{BusEvent, Destination, SendError, SendOptions};
use crate::membership::Reconnect;
use crate::smooth::Smooth;
use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes, BytesMut};
use core::task::{Context, Poll};
use postfleet_types::{GroupName, Monotonic, Random, WallTime};

/// Messages and events handled in one poll, so that members in one thread take turns.
const TURN: usize = 256;

/// A member of the suite. See the module.
#[derive(Debug)]
pub struct Agent<C, F> {
    spec: MemberSpec,
    attach: F,
    random: Random,
    stopwatch: fn() -> u64,
    connection: Option<Connection<C>>,
    stays_away: bool,
    resets: bool,
    connect_at: Option<Monotonic>,
    smooth: Option<Smooth>,
    groups: Vec<GroupName>,
    bursts: VecDeque<Burst>,
    send_at: Monotonic,
    blocked: bool,
    reads: bool,
    mute: bool,
    heartbeat_at: Monotonic,
    records: Vec<Record>,
}

impl<C: Carrier, F: FnMut(Monotonic) -> Option<C>> Agent<C, F> {
    /// A member that connects when it is first polled. `attach` gives a new attachment of its class, or `None`
    /// when the engine is not there.
    pub fn new(spec: MemberSpec, random: Random, attach: F) -> Self {
        Self {
            groups: spec.groups.clone(),
            mute: spec.mute,
            spec,
            attach,
            random,
            stopwatch: || 0,
            connection: None,
            stays_away: false,
            resets: false,
            connect_at: Some(Monotonic::ZERO),
            smooth: None,
            bursts: VecDeque::new(),
            send_at: Monotonic::ZERO,
            blocked: false,
            reads: true,
            heartbeat_at: Monotonic::ZERO,
            records: Vec::new(),
        }
    }

    /// Times calls with this clock (microseconds), for [`What::Sent`]. Without it they take no time.
    #[must_use]
    pub fn with_stopwatch(mut self, stopwatch: fn() -> u64) -> Self {
        self.stopwatch = stopwatch;
        self
    }

    /// What was recorded since the last call.
    pub fn take_records(&mut self) -> Vec<Record> {
        core::mem::take(&mut self.records)
    }

    /// The connection, while there is one.
    #[must_use]
    pub const fn connection(&self) -> Option<&Connection<C>> {
        self.connection.as_ref()
    }

    fn record(&mut self, at: Monotonic, what: What) {
        self.records.push(Record { at, what });
    }

    /// Does what the rig says. Follow it with [`Agent::poll`].
    pub fn command(&mut self, now: Monotonic, command: Command) {
        match command {
            Command::Join(group) => {
                if let Some(connection) = &mut self.connection {
                    // An ended connection refuses; the group is joined on the next one.
                    let _ = connection.join(now, group.clone());
                }
                self.groups.push(group);
            }
            Command::Leave(group) => {
                if let Some(connection) = &mut self.connection {
                    let _ = connection.leave(now, group.clone());
                }
                self.groups.retain(|joined| *joined != group);
            }
            Command::Send(burst) => {
                self.bursts.push_back(burst);
                self.send_at = self.send_at.max(now);
            }
            Command::Quiet => self.bursts.clear(),
            Command::Disconnect => {
                self.send_some(now);
                self.stays_away = true;
                self.smooth = None;
                self.connect_at = None;
                if let Some(connection) = &mut self.connection {
                    connection.disconnect(now);
                }
            }
            Command::Connect => {
                self.stays_away = false;
                if self.connection.is_none() {
                    self.connect_at = Some(now);
                }
            }
            Command::Reset => {
                self.resets = true;
                if let Some(connection) = &mut self.connection {
                    connection.disconnect(now);
                }
            }
            Command::Read(reads) => {
                self.reads = reads;
                self.mute = false;
            }
            Command::Figures => {
                if let Some(connection) = &self.connection {
                    let counters = connection.membership().counters();
                    let what = What::Figures {
                        unknown_unicast: counters.unknown_unicast,
                        gaps: counters.gaps,
                        messages_delivered: counters.messages_delivered,
                        unread_bytes: connection.status().event_queue.1,
                    };
                    self.record(now, what);
                }
            }
        }
    }

    /// Connects, reads, sends, as far as it goes. `true`: there is more to do at once.
    pub fn poll(&mut self, now: Monotonic, context: &mut Context<'_>) -> bool {
        if self.smooth.as_mut().is_some_and(|smooth| smooth.tick(now, true)) {
            self.connect_at = Some(now);
        }
        if self.connection.is_none() && self.connect_at.is_some_and(|at| now >= at) {
            self.connect(now);
        }
        if self.mute {
            return false;
        }
        let read = self.read(now, context);
        self.beat(now);
        let sent = self.send_some(now);
        self.note(now);
        read || sent
    }

    /// When to poll at the latest.
    pub fn deadline(&mut self) -> Option<Monotonic> {
        let sends = self.connection.as_ref().is_some_and(|c| c.membership().view_id().is_some())
            && !self.blocked
            && !self.bursts.is_empty();
        let connection = self.connection.as_mut();
        let beats = connection.as_ref().is_some_and(|c| c.membership().view_id().is_some());
        let connection = connection.filter(|_| !self.mute).and_then(Connection::deadline);
        [
            connection,
            self.connect_at.filter(|_| self.connection.is_none()),
            sends.then_some(self.send_at),
            beats.then_some(self.heartbeat_at),
            self.smooth.map(|smooth| smooth.next_tick()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn connect(&mut self, now: Monotonic) {
        self.smooth = None;
        let Some(carrier) = (self.attach)(now) else {
            self.connect_at = Some(now + self.spec.reconnect_interval);
            return;
        };
        self.connect_at = None;
        let random = Random::seeded(self.random.next_u64());
        let mut connection = Connection::new(carrier, self.spec.info(), random, self.spec.options());
        let (name, epoch) = (connection.membership().name().clone(), connection.membership().epoch());
        self.record(now, What::Connecting { name, epoch });
        for group in &self.groups {
            let _ = connection.join(now, group.clone());
        }
        self.connection = Some(connection);
        self.blocked = false;
        if let Some(group) = self.spec.send_early.clone() {
            let to = alloc::vec![Destination::Group(group)];
            self.send_one(now, u64::MAX, &to, 32, SendOptions::default());
        }
    }

    fn read(&mut self, now: Monotonic, context: &mut Context<'_>) -> bool {
        for _ in 0..TURN {
            let Some(connection) = &mut self.connection else { return false };
            if !self.reads {
                connection.pump(now, context);
                return false;
            }
            match connection.poll(now, context) {
                Poll::Pending => return false,
                Poll::Ready(event) => self.take(now, event),
            }
        }
        true
    }

    fn take(&mut self, now: Monotonic, event: BusEvent) {
        let what = match event {
            BusEvent::View { id, members, joined, left, transitional } => {
                self.heartbeat_at = self.heartbeat_at.min(now);
                What::View { id, members, joined, left, transitional }
            }
            BusEvent::GroupView { group, members, cause } => What::GroupView { group, members, cause },
            BusEvent::Message { from, payload, view, own, .. } => What::Message {
                from,
                number: number_of(&payload),
                bytes: payload.len(),
                digest: digest(&payload),
                view,
                own: own.is_some(),
            },
            BusEvent::SendReady => {
                self.blocked = false;
                What::SendReady
            }
            BusEvent::Lost { reason } => {
                self.note(now);
                let advice = self.connection.take().map(|connection| connection.membership().reconnect());
                self.smooth = None;
                self.connect_at = match advice {
                    _ if core::mem::take(&mut self.resets) => Some(now),
                    _ if self.stays_away => None,
                    None | Some(Reconnect::Never) => None,
                    Some(Reconnect::Now) => Some(now),
                    Some(Reconnect::Interval) => Some(now + self.spec.reconnect_interval),
                    Some(Reconnect::After(pause)) => Some(now + pause),
                    Some(Reconnect::Smooth(needed)) => {
                        self.smooth = Some(Smooth::new(now, needed));
                        None
                    }
                };
                What::Lost { reason }
            }
        };
        self.record(now, what);
    }

    fn beat(&mut self, now: Monotonic) {
        let Some(connection) = &mut self.connection else { return };
        if now >= self.heartbeat_at && connection.membership().view_id().is_some() {
            let wall = WallTime::from_unix_millis(1_900_000_000_000 + now.as_micros() / 1000);
            connection.heartbeat(now, wall, Load::default());
            self.heartbeat_at = now + connection.membership().heartbeat_interval();
        }
    }

    fn note(&mut self, now: Monotonic) {
        while let Some(notice) = self.connection.as_mut().and_then(Connection::poll_notice) {
            self.record(now, What::Notice { severity: notice.severity, text: notice.text });
        }
    }

    fn send_some(&mut self, now: Monotonic) -> bool {
        for _ in 0..TURN {
            let is_member = self.connection.as_ref().is_some_and(|c| c.membership().view_id().is_some());
            if !is_member || self.blocked || now < self.send_at {
                return false;
            }
            let Some(burst) = self.bursts.front() else { return false };
            if burst.count == 0 {
                self.bursts.pop_front();
                continue;
            }
            let (number, bytes, options, interval) =
                (burst.first, burst.bytes, burst.options, burst.interval);
            let to = burst.to.clone();
            let went = self.send_one(now, number, &to, bytes, options);
            if went && let Some(burst) = self.bursts.front_mut() {
                burst.first += 1;
                burst.count -= 1;
                self.send_at = now + interval;
            }
        }
        true
    }

    /// `false` when it is to be tried again.
    fn send_one(
        &mut self,
        now: Monotonic,
        number: u64,
        to: &[Destination],
        bytes: usize,
        options: SendOptions,
    ) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let payload = payload(number, bytes);
        let (bytes, digest) = (payload.len(), digest(&payload));
        let started = (self.stopwatch)();
        let answer = connection.send(now, to, 1, payload, options);
        let took_micros = (self.stopwatch)().saturating_sub(started);
        let went = match answer {
            Ok(_) => {
                let (to, only_in) = (to.to_vec(), options.only_in);
                self.record(now, What::Sent { number, bytes, digest, to, only_in, took_micros });
                return true;
            }
            Err(SendError::QueueFull) => {
                self.blocked = true;
                false
            }
            Err(SendError::NotConnected) => false,
            Err(
                SendError::NotAdmitted
                | SendError::TooLarge { .. }
                | SendError::Unsupported
                | SendError::BadDestination,
            ) => true,
        };
        let error = match answer {
            Err(error) => error.to_string(),
            Ok(_) => return true,
        };
        self.record(now, What::NotSent { number, error, took_micros });
        if !went && !self.blocked {
            self.bursts.clear();
        }
        went
    }
}

/// A payload that carries its number and that no accident produces.
fn payload(number: u64, bytes: usize) -> Bytes {
    let mut payload = BytesMut::with_capacity(bytes.max(8));
    payload.put_u64(number);
    let mut word = number;
    while payload.len() + 8 <= bytes {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        payload.put_u64(word);
    }
    while payload.len() < bytes {
        payload.put_u8(0x5a);
    }
    payload.freeze()
}

fn number_of(payload: &[u8]) -> u64 {
    payload.first_chunk::<8>().map_or(0, |number| u64::from_be_bytes(*number))
}

/// A digest by words of eight bytes, for telling payloads apart.
fn digest(payload: &[u8]) -> u64 {
    let (words, rest) = payload.as_chunks::<8>();
    let whole = words.iter().fold(0xcbf2_9ce4_8422_2325_u64, |digest, word| {
        (digest ^ u64::from_be_bytes(*word)).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
    });
    rest.iter().fold(whole, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
