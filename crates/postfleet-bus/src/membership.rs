//! The membership layer: from raw attachments and ordered bytes to named members, views and groups.
//!
//! A state machine. In: [`Membership::handle_carrier`], [`Membership::handle_timeout`] and what the application
//! asks ([`Membership::join`], [`Membership::leave`], [`Membership::send`], [`Membership::heartbeat`],
//! [`Membership::disconnect`]). Out: [`Membership::poll_submit`] (bytes for the carrier, answered by
//! [`Membership::submitted`]), [`Membership::poll_detach`], [`Membership::poll_event`],
//! [`Membership::poll_notice`] and [`Membership::poll_deadline`]. Any input may change the answer of any output;
//! an output changes only its own.
//!
//! What it promises and how is told in `docs/bus.md`. [`crate::Connection`] does the pumping.

mod admission;
mod announce;
mod counters;
mod deliver;
mod health;
mod heartbeat;
mod inbox;
mod install;
mod numbering;
mod queue;
mod view;

pub use counters::{Counters, OWN_DELIVERY_BOUNDS_MICROS};
pub use health::MemberHealth;

use crate::carrier::{CarrierEvent, CarrierLost, RawId, Submit};
use crate::envelope::{Body, Header, Heartbeat, Hello, Load, PAYLOAD_BYTES_MAX};
use crate::event::{
    BusEvent, BusStatus, Destination, LeaveReason, LostReason, Member, MemberInfo, SendError, SendId,
    SendOptions, Service,
};
use crate::notice::{Notice, Notices, Severity};
use admission::Admission;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use heartbeat::Heartbeats;
use inbox::Inbox;
use numbering::Numbering;
use postfleet_types::{Epoch, GroupName, Monotonic, PrivateName, Random, ViewId, WallTime};
use queue::{Control, Data, Queue, Queued};
use view::View;

/// How long an orderly leave flushes the send queue, promise P28.
const LEAVE_FLUSH: Duration = Duration::from_secs(2);
/// How long the carrier may take to end its stream after it was asked to, or after it answered `Gone`.
const CARRIER_END: Duration = Duration::from_secs(5);
/// An own message that has not come back for so long never will.
const OWN_DELIVERY_MAX: Duration = Duration::from_secs(60);
/// A timer that is served later than this means that the process stood still.
const STALL: Duration = Duration::from_secs(1);

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Messages that may wait to be submitted (1 and more, default 5000). Together they may also hold 64 MiB.
    /// Costs what the messages cost. Reached: [`SendError::QueueFull`]. Source: bus documentation, P21.
    pub max_backlog: usize,
    /// From admission until heartbeats of a member are expected (default 15 s). A member that takes longer to
    /// start its event loop is put out.
    pub heartbeat_start_delay: Duration,
    /// Unread events at which the connection ends with [`LostReason::Overrun`] (default 100 000).
    pub events_max: usize,
    /// Unread bytes at which it does (default 256 MiB).
    pub event_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_backlog: 5000,
            heartbeat_start_delay: Duration::from_secs(15),
            events_max: 100_000,
            event_bytes_max: 256 << 20,
        }
    }
}

/// When a connection that has ended should be followed by the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// Never: the application disconnected.
    Never,
    /// At once: the others went on without this connection, for no lasting reason.
    Now,
    /// After `reconnect_interval`: the engine below is gone.
    Interval,
    /// Not before this time: the cluster refused this member.
    After(Duration),
    /// When the event loop has run for this long without standing still: it did not answer heartbeats.
    Smooth(Duration),
}

/// A refused member asks again after this time.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// How long an expelled member's event loop must have run smoothly. Below the 5 s within which a member that was
/// stopped is expected back.
const SMOOTH: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Attached or about to be; a member as soon as a view is installed.
    Running,
    /// Disconnecting: the queue is flushed until then.
    Leaving { flush_until: Monotonic },
    /// Asked the carrier to end the stream; it should have by then.
    Detaching { end_by: Monotonic },
    /// [`BusEvent::Lost`] has been put out.
    Ended(LostReason),
}

/// One connection, seen from above the carrier. See the module.
#[derive(Debug)]
pub struct Membership {
    own: RawId,
    epoch: Epoch,
    info: MemberInfo,
    options: Options,
    random: Random,
    stage: Stage,
    attached: bool,
    raw: BTreeSet<RawId>,
    view: Option<View>,
    /// Groups as of the JOINs and LEAVEs handed to the carrier; what the next HELLO says.
    groups: Vec<GroupName>,
    admission: Admission,
    numbering: Numbering,
    queue: Queue,
    inbox: Inbox,
    heartbeats: Heartbeats,
    /// Members that departed and what they were attached as, the latest first.
    departed: Vec<(PrivateName, RawId)>,
    notices: Notices,
    counters: Counters,
    bound: Duration,
    told_quorum: Option<bool>,
    /// What was last known.
    quorate: bool,
    detach: bool,
    gone_since: Option<Monotonic>,
    watchdog_warned: bool,
    expulsion: Option<LeaveReason>,
    last_delivery: Option<Monotonic>,
    last_deadline: Option<Monotonic>,
    same_address: BTreeSet<(PrivateName, PrivateName)>,
}

impl Membership {
    /// A connection that has not heard from its carrier yet. `random` must have been seeded by the operating
    /// system, or the epoch is not unique.
    #[must_use]
    pub fn new(own: RawId, mut info: MemberInfo, mut random: Random, options: Options) -> Self {
        let epoch = Epoch(random.next_u64());
        // What a peer would refuse to read is not sent.
        info.version.retain(|letter| !letter.is_control());
        info.heartbeats_per_second = info.heartbeats_per_second.max(1);
        info.heartbeat_miss_limit = info.heartbeat_miss_limit.max(1);
        info.protocol.1 = info.protocol.1.max(info.protocol.0);
        Self {
            own,
            epoch,
            info,
            options,
            random,
            stage: Stage::Running,
            attached: false,
            raw: BTreeSet::new(),
            view: None,
            groups: Vec::new(),
            admission: Admission::default(),
            numbering: Numbering::default(),
            queue: Queue::default(),
            inbox: Inbox::new(),
            heartbeats: Heartbeats::default(),
            departed: Vec::new(),
            notices: Notices::default(),
            counters: Counters::default(),
            bound: Duration::ZERO,
            told_quorum: None,
            quorate: true,
            detach: false,
            gone_since: None,
            watchdog_warned: false,
            expulsion: None,
            last_delivery: None,
            last_deadline: None,
            same_address: BTreeSet::new(),
        }
    }

    /// What the carrier says about itself: [`crate::Carrier::bound`] and [`crate::Carrier::quorum`].
    pub fn set_carrier_state(&mut self, bound: Duration, quorum: Option<bool>) {
        self.told_quorum = quorum;
        let quorate = quorum.unwrap_or(self.quorate);
        if quorate != self.quorate {
            let (severity, text) = if quorate {
                (Severity::Notice, "The cluster is quorate again")
            } else {
                (Severity::Warning, "The cluster is no longer quorate on this side")
            };
            self.notices.push(severity, text.into());
        }
        self.bound = bound;
        self.quorate = quorate;
    }

    // ---- what happens below ----

    /// Takes one event of the carrier, in order.
    pub fn handle_carrier(&mut self, now: Monotonic, event: CarrierEvent) {
        if self.has_ended() {
            return;
        }
        match event {
            CarrierEvent::Change { members, left, joined } => self.raw_change(now, &members, &left, &joined),
            CarrierEvent::Deliver { from, bytes } => self.deliver(now, from, &bytes),
            CarrierEvent::Ready => self.queue.busy = false,
            CarrierEvent::Lost(reason) => self.carrier_lost(reason),
        }
        self.admission_step(now);
        self.check_overrun();
    }

    fn carrier_lost(&mut self, reason: CarrierLost) {
        let leaving = matches!(self.stage, Stage::Leaving { .. } | Stage::Detaching { .. });
        let reason = match reason {
            _ if leaving => LostReason::Local,
            CarrierLost::Daemon => LostReason::Daemon,
            CarrierLost::Expelled => LostReason::Expelled,
            CarrierLost::Overrun => LostReason::Overrun,
            CarrierLost::Protocol => LostReason::Protocol,
            CarrierLost::Detached => LostReason::Local,
        };
        self.end(reason);
    }

    /// Serves the timers. Call it when [`Membership::poll_deadline`] has passed, after the carrier's waiting
    /// events have been handed in.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        if self.has_ended() {
            return;
        }
        if let Some(deadline) = self.last_deadline.take()
            && now.since(deadline) > STALL
        {
            self.numbering.forgive(now.since(deadline));
            self.heartbeats.stalled(now);
        }
        match self.stage {
            Stage::Leaving { flush_until } if now >= flush_until => {
                let (messages, bytes) = self.queue.waiting();
                if messages > 1 {
                    let text = format!(
                        "{messages} bus messages ({bytes} bytes) were not sent within {} s of leaving",
                        LEAVE_FLUSH.as_secs()
                    );
                    self.notices.push(Severity::Warning, text);
                }
                self.queue.drop_ordered();
                self.start_detach(now);
            }
            Stage::Detaching { end_by } if now >= end_by => self.end(LostReason::Local),
            Stage::Running | Stage::Leaving { .. } | Stage::Detaching { .. } | Stage::Ended(_) => {}
        }
        if self.gone_since.is_some_and(|since| now.since(since) >= CARRIER_END) {
            self.end(LostReason::Daemon);
        }
        self.watch_own_messages(now);
        self.admission_step(now);
        self.suspicion_step(now);
    }

    /// When [`Membership::handle_timeout`] must be called at the latest.
    pub fn poll_deadline(&mut self) -> Option<Monotonic> {
        let deadline = match self.stage {
            Stage::Ended(_) => None,
            Stage::Running | Stage::Leaving { .. } | Stage::Detaching { .. } => [
                match self.stage {
                    Stage::Leaving { flush_until } => Some(flush_until),
                    Stage::Detaching { end_by } => Some(end_by),
                    Stage::Running | Stage::Ended(_) => None,
                },
                self.gone_since.map(|since| since + CARRIER_END),
                self.watchdog_deadline(),
                self.admission_deadline(),
                self.suspicion_deadline(),
            ]
            .into_iter()
            .flatten()
            .min(),
        };
        self.last_deadline = deadline;
        deadline
    }

    /// The next message for the carrier. Each must be answered by [`Membership::submitted`] before the next is
    /// asked for. Nothing while the carrier is busy.
    pub fn poll_submit(&mut self) -> Option<Bytes> {
        if self.queue.busy || self.gone_since.is_some() || !self.attached {
            return None;
        }
        match self.stage {
            Stage::Running | Stage::Leaving { .. } => {}
            Stage::Detaching { .. } | Stage::Ended(_) => return None,
        }
        let sequence = self.numbering.next_own();
        let view = self.view.as_ref().map_or(ViewId::default(), |view| view.id);
        let body = match self.queue.control.front() {
            None if self.admission.holds_data() => return None,
            None => return self.queue.build(self.epoch, sequence, view),
            Some(Control::Round(round)) => Body::Round(round.clone()),
            Some(Control::Install(install)) => Body::Install(install.clone()),
            Some(Control::Heartbeat(heartbeat)) => Body::Heartbeat(*heartbeat),
            Some(Control::Hello) => Body::Hello(self.hello()),
        };
        Some(Header::new(&body, self.epoch, sequence, view).encode(&body))
    }

    /// The carrier's answer to what [`Membership::poll_submit`] gave out (the same bytes).
    pub fn submitted(&mut self, now: Monotonic, bytes: Bytes, answer: Submit) {
        match answer {
            Submit::Busy => {
                self.queue.busy = true;
                self.counters.send_retries += 1;
                if self.queue.control.is_empty() {
                    self.queue.keep_built(self.numbering.next_own(), bytes);
                }
            }
            Submit::Gone => self.gone_since = Some(self.gone_since.unwrap_or(now)),
            Submit::Accepted => {
                self.counters.messages_sent += 1;
                self.counters.bytes_sent += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                if self.queue.control.pop_front().is_some() {
                    self.numbering.sent(now, None);
                    return;
                }
                let item = self.queue.pop();
                let id = if let Some(Queued::Data(data)) = &item { Some(data.id) } else { None };
                self.numbering.sent(now, id);
                match item {
                    Some(Queued::Join(group)) if !self.groups.contains(&group) => self.groups.push(group),
                    Some(Queued::Leave(group)) => self.groups.retain(|joined| *joined != group),
                    Some(Queued::Bye) => self.start_detach(now),
                    Some(Queued::Data(_) | Queued::Join(_)) | None => {}
                }
                if self.queue.refused && self.queue.is_below_half(self.options.max_backlog) {
                    self.queue.refused = false;
                    self.inbox.push(BusEvent::SendReady);
                }
            }
        }
    }

    /// True once, when the carrier is to be detached.
    pub const fn poll_detach(&mut self) -> bool {
        core::mem::replace(&mut self.detach, false)
    }

    const fn start_detach(&mut self, now: Monotonic) {
        self.detach = true;
        let end_by =
            Monotonic::from_micros(now.as_micros().saturating_add(CARRIER_END.as_secs() * 1_000_000));
        self.stage = Stage::Detaching { end_by };
    }

    // ---- what the application asks ----

    /// Joins a group. The application learns of it by [`BusEvent::GroupView`], or by its first view.
    ///
    /// # Errors
    /// [`SendError::NotConnected`].
    pub fn join(&mut self, group: GroupName) -> Result<(), SendError> {
        self.ask(Queued::Join(group))
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// [`SendError::NotConnected`].
    pub fn leave(&mut self, group: GroupName) -> Result<(), SendError> {
        self.ask(Queued::Leave(group))
    }

    fn ask(&mut self, item: Queued) -> Result<(), SendError> {
        if self.stage != Stage::Running {
            return Err(SendError::NotConnected);
        }
        self.queue.push(item);
        Ok(())
    }

    /// Accepts a message, or says why not. Never waits.
    ///
    /// # Errors
    /// As [`SendError`]; nothing was sent.
    pub fn send(
        &mut self,
        to: &[Destination],
        kind: u16,
        payload: Bytes,
        options: SendOptions,
    ) -> Result<SendId, SendError> {
        if self.stage != Stage::Running {
            return Err(SendError::NotConnected);
        }
        if self.view.is_none() {
            return Err(SendError::NotAdmitted);
        }
        match options.service {
            Service::Agreed => {}
            Service::Safe => return Err(SendError::Unsupported),
        }
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(SendError::TooLarge { bytes: payload.len(), bytes_max: PAYLOAD_BYTES_MAX });
        }
        if to.is_empty() || Header::bytes(to).is_none() {
            return Err(SendError::BadDestination);
        }
        if !self.queue.has_room(payload.len(), self.options.max_backlog) {
            self.queue.refused = true;
            self.counters.queue_full += 1;
            return Err(SendError::QueueFull);
        }
        let id = self.queue.next_send();
        self.queue.push(Queued::Data(Data {
            id,
            to: to.to_vec(),
            kind,
            only_in: options.only_in,
            managers_only: options.managers_only,
            payload,
        }));
        Ok(id)
    }

    /// Sends a heartbeat. To be called by the application's own event loop, never by a thread beside it,
    /// [`MemberInfo::heartbeats_per_second`] times a second from admission on. Without a view it does nothing.
    pub fn heartbeat(&mut self, now: Monotonic, wall: WallTime, load: Load) {
        if self.stage != Stage::Running {
            return;
        }
        let Some(view) = &self.view else { return };
        let number = self.heartbeats.sent(now, wall);
        self.queue.cancel(|control| matches!(control, Control::Heartbeat(_)));
        self.queue.control.push_back(Control::Heartbeat(Heartbeat {
            number,
            view: view.id.counter,
            load,
            wall,
            options_digest: Some(self.info.options_digest),
        }));
    }

    /// Leaves in an orderly way: what was accepted is flushed for at most two seconds. Nothing more is accepted.
    pub fn disconnect(&mut self, now: Monotonic) {
        if self.stage != Stage::Running {
            return;
        }
        if self.view.is_none() {
            self.start_detach(now);
            return;
        }
        self.queue.push(Queued::Bye);
        self.stage = Stage::Leaving { flush_until: now + LEAVE_FLUSH };
    }

    // ---- what comes out ----

    /// The next event for the application.
    pub fn poll_event(&mut self) -> Option<BusEvent> {
        self.inbox.pop()
    }

    /// The next line for the operator's log.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop()
    }

    /// What the connection's state is.
    #[must_use]
    pub fn status(&self) -> BusStatus {
        BusStatus {
            connected: self.view.is_some(),
            view: self.view_id(),
            send_queue: self.queue.waiting(),
            event_queue: self.inbox.waiting(),
            bound: self.bound,
            quorum: self.quorum(self.told_quorum),
            quorate: self.quorate,
        }
    }

    /// What the carrier's word on quorum means for the installed view. It is a gain only when the application has read
    /// everything and everybody who is attached is a member: otherwise those who are coming may be the quorum, and
    /// use what this side would use as well.
    pub(crate) fn quorum(&self, told: Option<bool>) -> Option<bool> {
        let view = self.view.as_ref()?;
        let settled =
            || self.inbox.waiting().0 == 0 && self.raw.iter().all(|raw| view.member(*raw).is_some());
        told.filter(|held| !held || settled())
    }

    /// The installed view.
    #[must_use]
    pub fn view_id(&self) -> Option<ViewId> {
        self.view.as_ref().map(|view| view.id)
    }

    /// The members of the installed view in membership order; none while not connected.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.view.iter().flat_map(|view| view.in_order().map(|(_, installed)| &installed.member))
    }

    /// The oldest member of type node.
    #[must_use]
    pub fn leader(&self) -> Option<&Member> {
        let view = self.view.as_ref()?;
        view.leader().and_then(|raw| view.member(raw)).map(|installed| &installed.member)
    }

    /// The own connection's name.
    #[must_use]
    pub const fn name(&self) -> &PrivateName {
        &self.info.private_name
    }

    /// The own announcement.
    #[must_use]
    pub const fn info(&self) -> &MemberInfo {
        &self.info
    }

    /// Changes the digest that is announced: others see it with the next view that somebody joins in.
    pub const fn set_options_digest(&mut self, digest: u64) {
        self.info.options_digest = digest;
    }

    /// The own epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Figures.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// When anything of an installed member, own messages included, was delivered last.
    #[must_use]
    pub const fn last_delivery(&self) -> Option<Monotonic> {
        self.last_delivery
    }

    /// Why the connection has ended, if it has.
    #[must_use]
    pub const fn ended(&self) -> Option<LostReason> {
        match self.stage {
            Stage::Ended(reason) => Some(reason),
            Stage::Running | Stage::Leaving { .. } | Stage::Detaching { .. } => None,
        }
    }

    /// When to connect again after the end.
    #[must_use]
    pub const fn reconnect(&self) -> Reconnect {
        match (self.ended(), self.expulsion) {
            (Some(LostReason::Local), _) => Reconnect::Never,
            (_, Some(LeaveReason::Refused)) => Reconnect::After(REFUSED_PAUSE),
            (_, Some(LeaveReason::Heartbeat)) => Reconnect::Smooth(SMOOTH),
            (Some(LostReason::Expelled | LostReason::OwnGap), _) => Reconnect::Now,
            (
                Some(LostReason::Daemon | LostReason::Overrun | LostReason::Protocol) | None,
                Some(
                    LeaveReason::Left
                    | LeaveReason::ProcessDown
                    | LeaveReason::NodeDown
                    | LeaveReason::Silent,
                )
                | None,
            ) => Reconnect::Interval,
        }
    }

    // ---- within ----

    const fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    fn end(&mut self, reason: LostReason) {
        if self.has_ended() {
            return;
        }
        if reason == LostReason::Overrun {
            self.counters.overruns += 1;
        }
        self.stage = Stage::Ended(reason);
        self.view = None;
        self.queue.drop_ordered();
        self.queue.control.clear();
        self.detach = true;
        self.inbox.close(reason);
    }

    fn check_overrun(&mut self) {
        let (events, bytes) = self.inbox.waiting();
        if events > self.options.events_max || bytes > self.options.event_bytes_max {
            self.end(LostReason::Overrun);
        }
    }

    fn hello(&self) -> Hello {
        let age = self
            .view
            .as_ref()
            .and_then(|view| view.member(self.own))
            .map_or(0, |installed| installed.member.age);
        Hello {
            nonce: self.admission.nonce().unwrap_or(0),
            counter: self.view.as_ref().map_or(0, |view| view.id.counter),
            age,
            delivered: self.numbering.own_delivered(),
            info: self.info.clone(),
            groups: self.groups.clone(),
        }
    }

    fn watch_own_messages(&mut self, now: Monotonic) {
        let Some(oldest) = self.numbering.oldest_in_flight() else {
            self.watchdog_warned = false;
            return;
        };
        let waited = now.since(oldest);
        if waited >= OWN_DELIVERY_MAX {
            self.end(LostReason::Daemon);
        } else if waited >= self.watchdog_patience() && !self.watchdog_warned {
            self.watchdog_warned = true;
            // Whoever is no member sends nothing else behind a question that has vanished, and would not notice.
            if self.admission.is_asking() {
                self.ask_round(Vec::new());
            }
            let (messages, bytes) = self.queue.waiting();
            let text = format!(
                "Own messages have not come back from the bus for {} s: {} under way, {messages} ({bytes} bytes) \
                 waiting",
                waited.as_secs(),
                self.numbering.in_flight()
            );
            self.notices.push(Severity::Warning, text);
        }
    }

    fn watchdog_patience(&self) -> Duration {
        self.bound.saturating_mul(2).clamp(Duration::from_secs(1), OWN_DELIVERY_MAX)
    }

    fn watchdog_deadline(&self) -> Option<Monotonic> {
        let oldest = self.numbering.oldest_in_flight()?;
        Some(oldest + if self.watchdog_warned { OWN_DELIVERY_MAX } else { self.watchdog_patience() })
    }
}

#[cfg(test)]
mod tests;
