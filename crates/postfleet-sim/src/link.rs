//! One bus connection of a simulated process: what `postfleet-node` does with a connection, without its tasks.

use crate::clock::Clock;
use crate::engine::{AttachError, Attachment, Class, Engine, HostId};
use crate::log::Log;
use crate::plan::Settings;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use bytes::{BufMut, Bytes, BytesMut};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use postfleet_bus::suite::{Record, Trace, What};
use postfleet_bus::{
    BusEvent, Connection, Destination, Load, MemberInfo, Options, RawId, Reconnect, SendError, SendOptions,
    Smooth,
};
use postfleet_replica::{Outgoing, Replica};
use postfleet_types::{GroupName, Monotonic, Random};

/// Events taken in one turn, so that processes take turns.
const TURN_EVENTS_MAX: usize = 256;
/// A slow event loop takes fewer.
const SLOW_TURN_EVENTS_MAX: usize = 32;
/// The kind of messages that the workload sends on main connections.
const KIND_CONTROL: u16 = 0x7f00;
/// What stands before each payload: its number, by which the checkers know it.
const NUMBER_BYTES: usize = 8;

/// Why a connection is leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// For good.
    Leave,
    /// To come anew.
    Reset,
}

/// What a link needs of its surroundings in a turn.
pub(crate) struct Turn<'a, 'l> {
    pub(crate) engine: &'a Engine,
    pub(crate) settings: &'a Settings,
    pub(crate) random: &'a mut Random,
    pub(crate) log: &'a mut Log<'l>,
    pub(crate) clock: &'a Clock,
    /// The time of the simulation.
    pub(crate) now: Monotonic,
    pub(crate) slow: bool,
    pub(crate) who: &'a str,
    pub(crate) process: u32,
}

impl Turn<'_, '_> {
    fn local(&self) -> Monotonic {
        self.clock.local(self.now)
    }
}

/// What came of a turn.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Something happened.
    pub(crate) any: bool,
    /// Views that were installed in this turn, on the shared connection.
    pub(crate) view: bool,
    /// Members that were taken out, with the reason in words.
    pub(crate) left: Vec<(String, postfleet_bus::LeaveReason)>,
    /// It left for good.
    pub(crate) gone: bool,
    /// What is to be done point to point.
    pub(crate) transfers: Vec<postfleet_replica::Transfer>,
    /// Lines of the log that say that something is broken.
    pub(crate) broken: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) class: Class,
    host: HostId,
    info: MemberInfo,
    groups: Vec<GroupName>,
    connection: Option<Connection<Attachment>>,
    connect_at: Option<Monotonic>,
    /// Put out because it did not answer: it comes back when it runs smoothly.
    smooth: Option<Smooth>,
    heartbeat_at: Monotonic,
    /// When the latest own heartbeat that came back was sent.
    heard: Option<Monotonic>,
    kept: VecDeque<Outgoing>,
    asked: Option<Asked>,
    numbers: u64,
    attempts: u32,
    pub(crate) trace: Trace,
}

impl Link {
    pub(crate) fn new(class: Class, host: HostId, info: MemberInfo, groups: Vec<GroupName>) -> Self {
        Self {
            class,
            host,
            info,
            groups,
            connection: None,
            connect_at: Some(Monotonic::ZERO),
            smooth: None,
            heartbeat_at: Monotonic::ZERO,
            heard: None,
            kept: VecDeque::new(),
            asked: None,
            numbers: 0,
            attempts: 0,
            trace: Trace::default(),
        }
    }

    pub(crate) const fn connection(&self) -> Option<&Connection<Attachment>> {
        self.connection.as_ref()
    }

    pub(crate) fn raw(&self) -> Option<RawId> {
        self.connection.as_ref().map(|connection| postfleet_bus::Carrier::id(connection.carrier()))
    }

    pub(crate) fn is_member(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.membership().view_id().is_some())
    }

    /// Whether it has left for good, or is about to.
    pub(crate) fn is_leaving(&self) -> bool {
        self.asked == Some(Asked::Leave)
    }

    /// Messages that wait to be sent or to come back.
    pub(crate) fn waiting(&self) -> usize {
        self.kept.len() + self.connection.as_ref().map_or(0, |connection| connection.status().send_queue.0)
    }

    /// When it has something to do, by the clock of its host.
    pub(crate) fn deadline(&mut self) -> Option<Monotonic> {
        let is_member = self.is_member();
        let connecting = self.connect_at.filter(|_| self.connection.is_none());
        let smooth = self.smooth.map(|smooth| smooth.next_tick());
        let connection = self.connection.as_mut().and_then(Connection::deadline);
        let beat = (is_member && self.asked.is_none()).then_some(self.heartbeat_at);
        [connecting, smooth, connection, beat].into_iter().flatten().min()
    }

    pub(crate) fn readable(&self, engine: &Engine) -> bool {
        self.raw().is_some_and(|raw| engine.is_readable(self.class, raw))
    }

    fn record(&mut self, at: Monotonic, what: What) {
        self.trace.push(Record { at, what });
    }

    fn log(&self, turn: &mut Turn<'_, '_>, what: &str, rest: core::fmt::Arguments<'_>) {
        if turn.log.is_on() {
            let what = format!("{}.{what}", self.class.letter());
            turn.log.line(turn.now, turn.who, &what, rest);
        }
    }

    /// Leaves, for good or to come anew. What the replica has waiting goes first.
    pub(crate) fn ask(&mut self, turn: &mut Turn<'_, '_>, asked: Asked, mut replica: Option<&mut Replica>) {
        let now = turn.local();
        if self.asked == Some(Asked::Leave) {
            return;
        }
        let was_asked = self.asked.replace(asked).is_some();
        if let Some(replica) = &mut replica {
            if asked == Asked::Leave {
                replica.leave(now)
            } else {
                replica.flush(now)
            }
            self.exchange(turn, replica);
        }
        match &mut self.connection {
            Some(connection) if !was_asked => {
                if asked == Asked::Leave && replica.is_some() {
                    // Who stays away has no part of the limits any more.
                    for group in &self.groups {
                        let _ = connection.leave(now, group.clone());
                    }
                }
                connection.disconnect(now);
            }
            Some(_) => {}
            None if asked == Asked::Leave => {
                self.smooth = None;
                self.connect_at = None;
            }
            None => {
                self.asked = None;
                self.smooth = None;
                self.connect_at = Some(now);
            }
        }
    }

    /// Whether it is over for good.
    pub(crate) const fn is_over(&self) -> bool {
        self.connection.is_none() && self.connect_at.is_none() && self.smooth.is_none()
    }

    /// Connects, reads, beats, sends, as far as it goes.
    pub(crate) fn turn(&mut self, turn: &mut Turn<'_, '_>, mut replica: Option<&mut Replica>) -> Progress {
        let mut progress = Progress::default();
        let now = turn.local();
        if self.smooth.as_mut().is_some_and(|smooth| smooth.tick(now, true)) {
            self.smooth = None;
            self.connect_at = Some(now);
        }
        if self.connection.is_none() && self.connect_at.is_some_and(|at| at <= now) {
            progress.any = true;
            self.connect(turn);
        }
        self.beat(turn);
        let most = if turn.slow { SLOW_TURN_EVENTS_MAX } else { TURN_EVENTS_MAX };
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..most {
            if self.asked.is_none()
                && let Some(replica) = &mut replica
            {
                progress.any |= self.exchange(turn, replica);
            }
            let Some(connection) = &mut self.connection else { break };
            if let Some(replica) = &mut replica {
                replica.set_quorum(now, connection.status().quorum);
            }
            let heard = connection.membership().heard();
            if heard != self.heard
                && let (Some(sent), Some(replica)) = (heard, &mut replica)
            {
                self.heard = heard;
                replica.heard(now, sent);
            }
            let Poll::Ready(event) = connection.poll(now, &mut context) else { break };
            progress.any = true;
            let event = self.take(turn, event, &mut progress);
            if let Some(replica) = &mut replica {
                replica.handle(now, &event);
            }
            self.notices(turn, &mut progress);
            match event {
                BusEvent::Lost { .. } => {
                    self.lost(turn, &mut progress);
                    break;
                }
                // The checkers look at what a view has done before anything else happens.
                BusEvent::View { .. } => break,
                BusEvent::GroupView { .. } | BusEvent::Message { .. } | BusEvent::SendReady => {}
            }
        }
        self.notices(turn, &mut progress);
        progress
    }

    fn connect(&mut self, turn: &mut Turn<'_, '_>) {
        let now = turn.local();
        self.asked = None;
        let serial = if turn.settings.raw_reuse { 0 } else { self.attempts };
        let process = turn.process + serial;
        let carrier = match turn.engine.attach(self.class, self.host, process) {
            Ok(carrier) => carrier,
            Err(AttachError::TryAgain) => {
                self.connect_at = Some(now + Duration::from_millis(10));
                return;
            }
            Err(AttachError::NoEngine) => {
                self.connect_at = Some(now + jitter(turn.settings.reconnect_interval, turn.random));
                return;
            }
        };
        self.attempts += 1;
        self.connect_at = None;
        let options = Options {
            max_backlog: turn.settings.max_backlog,
            heartbeat_start_delay: turn.settings.heartbeat_start_delay,
            events_max: turn.settings.events_max,
            ..Options::default()
        };
        let random = Random::seeded(turn.random.next_u64());
        let mut connection = Connection::new(carrier, self.info.clone(), random, options);
        let membership = connection.membership();
        let (name, epoch) = (membership.name().clone(), membership.epoch());
        let raw = postfleet_bus::Carrier::id(connection.carrier());
        self.log(turn, "connecting", format_args!("{name} as {raw}"));
        self.record(now, What::Connecting { name, epoch });
        for group in &self.groups {
            // A new connection takes every join.
            let _ = connection.join(now, group.clone());
        }
        self.connection = Some(connection);
        self.heartbeat_at = now;
    }

    fn beat(&mut self, turn: &Turn<'_, '_>) {
        let now = turn.local();
        let Some(connection) = &mut self.connection else { return };
        if connection.membership().view_id().is_none() || now < self.heartbeat_at {
            return;
        }
        connection.heartbeat(now, turn.clock.wall(turn.now), Load::default());
        self.heartbeat_at = now + connection.membership().heartbeat_interval();
    }

    /// Submits what the replica wants to be sent. `true` when something was.
    fn exchange(&mut self, turn: &mut Turn<'_, '_>, replica: &mut Replica) -> bool {
        let now = turn.local();
        let mut any = false;
        while let Some(outgoing) = self.kept.pop_front() {
            if !self.submit(turn, &outgoing) {
                self.kept.push_front(outgoing);
                return any;
            }
            any = true;
        }
        if replica.poll_deadline().is_some_and(|deadline| deadline <= now) {
            replica.handle_timeout(now);
        }
        while let Some(outgoing) = replica.poll_send(now) {
            any = true;
            if !self.submit(turn, &outgoing) {
                self.kept.push_back(outgoing);
                break;
            }
        }
        any
    }

    /// `false` when it must be tried again after `SendReady`.
    fn submit(&mut self, turn: &mut Turn<'_, '_>, outgoing: &Outgoing) -> bool {
        self.send(turn, &outgoing.to, outgoing.kind, &outgoing.payload, SendOptions::default())
            != Err(SendError::QueueFull)
    }

    fn send(
        &mut self,
        turn: &mut Turn<'_, '_>,
        to: &[Destination],
        kind: u16,
        payload: &[u8],
        options: SendOptions,
    ) -> Result<(), SendError> {
        let now = turn.local();
        let connection = self.connection.as_mut().ok_or(SendError::NotConnected)?;
        let number = self.numbers + 1;
        let mut numbered = BytesMut::with_capacity(NUMBER_BYTES + payload.len());
        numbered.put_u64(number);
        numbered.put_slice(payload);
        let payload = numbered.freeze();
        let (bytes, digest) = (payload.len(), digest(&payload));
        connection.send(now, to, kind, payload, options)?;
        self.numbers = number;
        let only_in = options.only_in;
        self.log(
            turn,
            "send",
            format_args!("{number} kind={kind:#06x} bytes={bytes} to={}", destinations(to)),
        );
        self.record(now, What::Sent { number, bytes, digest, to: to.to_vec(), only_in, took_micros: 0 });
        Ok(())
    }

    /// A message of the workload on the main connection.
    pub(crate) fn control(&mut self, turn: &mut Turn<'_, '_>) {
        let Some(view) = self.connection.as_ref().and_then(|connection| connection.membership().view_id())
        else {
            return;
        };
        let members: Vec<_> = self
            .connection
            .iter()
            .flat_map(|connection| connection.membership().members())
            .map(|member| member.info.private_name.clone())
            .collect();
        let group = |name: &str| name.parse().ok().map(Destination::Group);
        let to = match turn.random.below(4) {
            0 => group("ec_console"),
            1 => {
                let which = usize::try_from(turn.random.below(members.len() as u64)).unwrap_or(0);
                members.get(which).cloned().map(Destination::Member)
            }
            _ => group("ec_cluster"),
        };
        let only_in = (turn.random.below(4) == 0).then_some(view);
        let options = SendOptions { only_in, managers_only: false, ..SendOptions::default() };
        let payload = vec![0x5a; usize::try_from(turn.random.below(40)).unwrap_or(0)];
        // A full queue or an ended connection loses a message of nobody's.
        let _ = self.send(turn, &to.into_iter().collect::<Vec<_>>(), KIND_CONTROL, &payload, options);
    }

    /// Records an event, and gives it back as the application sees it.
    fn take(&mut self, turn: &mut Turn<'_, '_>, event: BusEvent, progress: &mut Progress) -> BusEvent {
        let now = turn.local();
        match event {
            BusEvent::View { id, members, joined, left, transitional } => {
                self.heartbeat_at = self.heartbeat_at.min(now + Duration::from_millis(20));
                progress.view = true;
                progress.left.extend(left.iter().map(|(name, reason)| (name.node().into(), *reason)));
                if turn.log.is_on() {
                    let members = members.iter().map(|member| member.info.private_name.node());
                    let left = left.iter().map(|(name, why)| format!("{}:{}", name.node(), dashed(why)));
                    let left = left.collect::<Vec<_>>().join(",");
                    let members = members.collect::<Vec<_>>().join(",");
                    let (joined, along) = (nodes(&joined), nodes(&transitional));
                    self.log(
                        turn,
                        "view",
                        format_args!("{id} members={members} joined={joined} left={left} along={along}"),
                    );
                }
                let what = What::View {
                    id,
                    members: members.clone(),
                    joined: joined.clone(),
                    left: left.clone(),
                    transitional: transitional.clone(),
                };
                self.record(now, what);
                BusEvent::View { id, members, joined, left, transitional }
            }
            BusEvent::GroupView { group, members, cause } => {
                self.log(turn, "group", format_args!("{group} members={} {cause:?}", nodes(&members)));
                let what = What::GroupView { group: group.clone(), members: members.clone(), cause };
                self.record(now, what);
                BusEvent::GroupView { group, members, cause }
            }
            BusEvent::Message { from, to, kind, payload, view, own } => {
                let number = payload.first_chunk::<8>().map_or(0, |number| u64::from_be_bytes(*number));
                let (bytes, digest) = (payload.len(), digest(&payload));
                let from_node = from.node();
                self.log(
                    turn,
                    "message",
                    format_args!("{number} of {from_node} kind={kind:#06x} bytes={bytes}"),
                );
                let own_mark = own.is_some();
                self.record(
                    now,
                    What::Message { from: from.clone(), number, bytes, digest, view, own: own_mark },
                );
                let payload = payload.slice(NUMBER_BYTES.min(payload.len())..);
                BusEvent::Message { from, to, kind, payload, view, own }
            }
            BusEvent::SendReady => {
                self.record(now, What::SendReady);
                BusEvent::SendReady
            }
            BusEvent::Lost { reason } => {
                self.log(turn, "lost", format_args!("{reason:?}"));
                self.record(now, What::Lost { reason });
                BusEvent::Lost { reason }
            }
        }
    }

    fn lost(&mut self, turn: &mut Turn<'_, '_>, progress: &mut Progress) {
        let now = turn.local();
        self.kept.clear();
        let advice = self.connection.take().map(|connection| connection.membership().reconnect());
        let pause = match (self.asked.take(), advice) {
            (Some(Asked::Leave), _) => {
                self.asked = Some(Asked::Leave);
                progress.gone = true;
                return;
            }
            (Some(Asked::Reset), _) | (None, Some(Reconnect::Never | Reconnect::Now) | None) => {
                Duration::ZERO
            }
            (None, Some(Reconnect::Interval)) => jitter(turn.settings.reconnect_interval, turn.random),
            (None, Some(Reconnect::After(pause))) => pause,
            (None, Some(Reconnect::Smooth(needed))) => {
                self.smooth = Some(Smooth::new(now, needed));
                return;
            }
        };
        self.connect_at = Some(now + pause);
    }

    fn notices(&mut self, turn: &mut Turn<'_, '_>, progress: &mut Progress) {
        while let Some(notice) = self.connection.as_mut().and_then(Connection::poll_notice) {
            if ["malformed", "unknown message type", "cannot be"]
                .iter()
                .any(|word| notice.text.contains(word))
            {
                progress.broken.push(notice.text.to_string());
            }
            self.log(turn, "notice", format_args!("{notice}"));
        }
    }
}

fn jitter(interval: Duration, random: &mut Random) -> Duration {
    interval * u32::try_from(800 + random.below(401)).unwrap_or(1000) / 1000
}

fn nodes(names: &[postfleet_types::PrivateName]) -> String {
    names.iter().map(postfleet_types::PrivateName::node).collect::<Vec<_>>().join(",")
}

fn dashed(reason: &postfleet_bus::LeaveReason) -> String {
    reason.to_string().replace(' ', "-")
}

fn destinations(to: &[Destination]) -> String {
    let text = |to: &Destination| match to {
        Destination::Group(group) => group.to_string(),
        Destination::Member(name) => name.to_string(),
    };
    to.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Tells payloads apart.
fn digest(payload: &Bytes) -> u64 {
    payload.iter().fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
        (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
