//! The session: what the driver calls, and the loop that turns input into events.

mod commands;
mod data;
mod transaction;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::net::SocketAddr;

use bytes::{Buf, BytesMut};
use memchr::memmem;
use postfleet_types::{Monotonic, normalised};

use crate::envelope::{Origin, Protocol, TlsFacts};
use crate::event::{
    AbortReason, Answer, ConnectRefusal, Counters, Event, OutOfTurn, Phase, Question, Rejection,
    RejectionKind, Resources, SessionFacts,
};
use crate::reply::Reply;
use crate::settings::{BAD_COMMANDS_MAX, Injection, Questions, SessionSettings};
use data::Incoming;
pub use transaction::RECIPIENTS_MAX;
use transaction::{PendingMail, PendingRecipient, Transaction};

/// Longest command line, CR LF included (RFC 5321, section 4.5.3.1.4).
pub const COMMAND_OCTETS_MAX: usize = 512;
/// Longest MAIL or RCPT line after EHLO: the extensions add their parameters.
pub const EXTENDED_COMMAND_OCTETS_MAX: usize = 2048;
/// Unread input above which the driver should stop reading.
pub const INPUT_OCTETS_MAX: usize = 64 * 1024;
/// A line this long that still has no end is no mistake: the session is ended.
const ENDLESS_LINE_OCTETS: u64 = 64 * 1024;

/// One inbound connection, from the greeting to the close.
///
/// The driver hands in what arrives ([`receive`](Self::receive)), carries out what [`poll_event`](Self::poll_event)
/// returns, and answers. Duties and their order stand in the crate's documentation.
#[derive(Debug)]
pub struct Session {
    settings: Arc<SessionSettings>,
    client: SocketAddr,
    local: SocketAddr,
    opened: postfleet_types::WallTime,
    tls: Option<TlsFacts>,
    input: BytesMut,
    replies: BytesMut,
    outbox: VecDeque<Event>,
    state: State,
    waiting: Waiting,
    helo: Option<Helo>,
    transaction: Option<Transaction>,
    /// The message of the transaction, between two chunks.
    chunked: Option<Box<Incoming>>,
    /// The greeting refused service: only QUIT is honoured.
    service_refused: bool,
    /// MAIL was answered with `Continue` and the unit it took is not settled.
    unit_open: bool,
    questions: Questions,
    can_relay: bool,
    resources: Resources,
    shutting_down: bool,
    reconfigured: bool,
    counters: Counters,
    deadline: Option<Monotonic>,
    now: Monotonic,
}

#[derive(Clone, Debug)]
struct Helo {
    name: String,
    extended: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing was sent yet.
    Greeting,
    /// A command line comes next.
    Command,
    /// The rest of a command line that is too long comes next; so many octets of it are gone.
    Overlong { dropped: u64 },
    /// The octets of a chunk that is refused come next.
    SkipChunk { octets: u64, reply: Box<Reply> },
    /// The content of a message comes next.
    Data(Box<Incoming>),
    /// `Close` was issued.
    Closed,
}

#[derive(Debug)]
enum Waiting {
    Nothing,
    Connect,
    Helo(Helo),
    Mail(Box<PendingMail>),
    Recipient(Box<PendingRecipient>),
    MessageStart(Option<data::Chunk>),
    MessageStored(Box<data::Complete>),
    Tls,
}

enum Step {
    Progress,
    NeedInput,
}

impl Session {
    /// A session for a connection that was just accepted. Its first event is the greeting.
    #[must_use]
    pub fn new(settings: Arc<SessionSettings>, facts: SessionFacts) -> Self {
        let canonical = |address: SocketAddr| SocketAddr::new(normalised(address.ip()), address.port());
        let questions = settings.questions;
        let mut session = Self {
            settings,
            client: canonical(facts.client),
            local: canonical(facts.local),
            opened: facts.opened,
            tls: facts.tls,
            input: BytesMut::new(),
            replies: BytesMut::new(),
            outbox: VecDeque::new(),
            state: State::Greeting,
            waiting: Waiting::Nothing,
            helo: None,
            transaction: None,
            chunked: None,
            service_refused: false,
            unit_open: false,
            questions,
            can_relay: false,
            resources: Resources::Ample,
            shutting_down: false,
            reconfigured: false,
            counters: Counters::default(),
            deadline: None,
            now: facts.now,
        };
        session.verified_peer_may_relay();
        session.touch(facts.now);
        session
    }

    /// Hands in octets that the client sent.
    ///
    /// May change what [`poll_event`](Self::poll_event), [`poll_deadline`](Self::poll_deadline) and
    /// [`wants_input`](Self::wants_input) answer.
    pub fn receive(&mut self, now: Monotonic, octets: &[u8]) {
        if octets.is_empty() || matches!(self.state, State::Closed) {
            return;
        }
        match (&self.state, &self.waiting) {
            (State::Greeting, _) => self.counters.early_talker = true,
            (_, Waiting::Tls) => {
                // The handshake has not begun: this came in the clear.
                if self.settings.starttls_injection == Injection::Reject {
                    self.injected();
                }
                return;
            }
            _ => {}
        }
        self.touch(now);
        self.input.extend_from_slice(octets);
    }

    /// Whether the driver should go on reading: false while more than [`INPUT_OCTETS_MAX`] wait to be processed.
    ///
    /// The disconnection of a client whose command is held is noticed only while the driver reads.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        !matches!(self.state, State::Closed) && self.input.len() < INPUT_OCTETS_MAX
    }

    /// The next thing to do; none when the session waits for input or for an answer.
    ///
    /// Any other call that takes `&mut self` may change the answer.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.outbox.pop_front() {
                return Some(event);
            }
            let blocked = matches!(self.state, State::Closed) || !matches!(self.waiting, Waiting::Nothing);
            if blocked || matches!(self.step(), Step::NeedInput) {
                self.shrink();
                self.flush();
                return self.outbox.pop_front();
            }
        }
    }

    /// When [`timed_out`](Self::timed_out) is to be called. None while the session waits for an answer, except for
    /// the TLS handshake, or when there is no idle time.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Monotonic> {
        match (&self.state, &self.waiting) {
            (State::Closed, _) => None,
            (_, Waiting::Nothing | Waiting::Tls) => self.deadline,
            (
                _,
                Waiting::Connect
                | Waiting::Helo(_)
                | Waiting::Mail(_)
                | Waiting::Recipient(_)
                | Waiting::MessageStart(_)
                | Waiting::MessageStored(_),
            ) => None,
        }
    }

    /// Tells the time. After the deadline the client gets 421 and the session ends; before it, nothing happens.
    pub fn timed_out(&mut self, now: Monotonic) {
        self.now = now;
        if self.poll_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if !matches!(self.waiting, Waiting::Tls) {
            self.reply(&Reply::new(421, "4.4.2", "idle timeout, closing connection"));
        }
        self.close();
    }

    /// The connection is gone: nothing more can be written. A message that is being stored may still be answered.
    pub fn connection_lost(&mut self) {
        if !matches!(self.state, State::Closed) {
            self.replies.clear();
            let started = !matches!(self.waiting, Waiting::MessageStart(_));
            self.outbox.retain(|event| match event {
                Event::Reply(_) | Event::StartTls | Event::Question(_) => false,
                Event::MessageBegin(_) => started,
                Event::Close
                | Event::Content(_)
                | Event::MessageEnd(_)
                | Event::MessageAbort(_)
                | Event::Rejected(_)
                | Event::Received { .. }
                | Event::UnitSpent { .. } => true,
            });
            self.close();
        }
    }

    /// Turns the client away instead of greeting it.
    ///
    /// # Errors
    /// [`OutOfTurn`] when something was sent already.
    pub fn refuse(&mut self, refusal: ConnectRefusal) -> Result<(), OutOfTurn> {
        if !matches!((&self.state, &self.waiting), (State::Greeting, Waiting::Nothing | Waiting::Connect)) {
            return Err(OutOfTurn);
        }
        let (reply, kind) = match refusal {
            ConnectRefusal::SessionLimit => (
                Reply::new(421, "4.4.5", "Service unavailable, concurrency limit reached"),
                Some((Phase::ConcurrencyLimit, RejectionKind::SessionLimit)),
            ),
            ConnectRefusal::NetworkLimit => (
                Reply::new(421, "4.7.0", "Service unavailable, too many connections from your network"),
                Some((Phase::Connected, RejectionKind::NetworkLimit)),
            ),
            ConnectRefusal::Resources => (Reply::new(421, "4.3.4", "allocated resources exceeded"), None),
            ConnectRefusal::Shutdown => (shutting_down(), None),
        };
        self.waiting = Waiting::Nothing;
        if let Some((phase, kind)) = kind {
            self.rejected(phase, kind, &reply, 1);
        }
        self.reply(&reply);
        self.close();
        Ok(())
    }

    /// Answers the [`Question`] that was asked last.
    ///
    /// # Errors
    /// [`OutOfTurn`] when no question is open.
    pub fn answer(&mut self, now: Monotonic, answer: Answer) -> Result<(), OutOfTurn> {
        match core::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::Connect => self.connect_answered(answer),
            Waiting::Helo(helo) => self.helo_answered(helo, answer),
            Waiting::Mail(pending) => self.mail_answered(*pending, answer),
            Waiting::Recipient(pending) => self.recipient_answered(*pending, answer),
            other @ (Waiting::Nothing
            | Waiting::MessageStart(_)
            | Waiting::MessageStored(_)
            | Waiting::Tls) => {
                self.waiting = other;
                return Err(OutOfTurn);
            }
        }
        self.touch(now);
        Ok(())
    }

    /// The TLS handshake is done. Everything said before is forgotten (RFC 3207, section 4.2).
    ///
    /// # Errors
    /// [`OutOfTurn`] when no handshake was asked for.
    pub fn tls_started(&mut self, now: Monotonic, facts: TlsFacts) -> Result<(), OutOfTurn> {
        if !matches!(self.waiting, Waiting::Tls) {
            return Err(OutOfTurn);
        }
        self.waiting = Waiting::Nothing;
        self.tls = Some(facts);
        self.helo = None;
        self.transaction = None;
        self.verified_peer_may_relay();
        self.touch(now);
        Ok(())
    }

    /// Asks at these points, too. Before the first [`Self::poll_event`]; what the settings ask for is asked anyway.
    pub fn ask_also(&mut self, further: Questions) {
        self.questions = self.questions.and(further);
    }

    /// Policy or authentication lets this session relay (`can_relay`), or no longer.
    pub fn set_can_relay(&mut self, can_relay: bool) {
        self.can_relay = can_relay;
    }

    /// Tells how much room there is; asked at each MAIL and `SIZE=`. Start with [`Resources::Ample`].
    pub fn set_resources(&mut self, resources: Resources) {
        self.resources = resources;
    }

    /// The configuration that this session can see has changed: the next MAIL or RSET gets 421.
    pub fn configuration_changed(&mut self) {
        self.reconfigured = true;
    }

    /// The node stops: the next command gets 421.
    pub fn shut_down(&mut self) {
        self.shutting_down = true;
    }

    /// The running counts.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Where the client comes from and what it has said of itself.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let utf8 = self.transaction.as_ref().is_some_and(|transaction| transaction.mail.smtputf8);
        Origin {
            client: self.client,
            local: self.local,
            helo: self.helo.as_ref().map(|helo| helo.name.clone()),
            protocol: Protocol::of(self.is_extended(), self.tls.is_some(), utf8),
            tls: self.tls.clone(),
        }
    }

    /// Whether the last event was, or will be, `Close`.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    fn step(&mut self) -> Step {
        match core::mem::replace(&mut self.state, State::Command) {
            State::Greeting => {
                self.state = State::Greeting;
                self.greet();
                Step::Progress
            }
            State::Command => self.step_command(),
            State::Overlong { dropped } => self.step_overlong(dropped),
            State::SkipChunk { octets, reply } => self.step_skip(octets, reply),
            State::Data(incoming) => self.step_data(incoming),
            State::Closed => {
                self.state = State::Closed;
                Step::NeedInput
            }
        }
    }

    fn greet(&mut self) {
        if self.questions.connect {
            self.ask(Question::Connect, Waiting::Connect);
        } else {
            self.greeting();
        }
    }

    fn greeting(&mut self) {
        self.state = State::Command;
        match self.settings.static_banner.clone() {
            Some(banner) => {
                let text = banner.strip_prefix("220").unwrap_or(&banner).trim_start_matches(' ').to_string();
                self.reply(&Reply::verbatim(220, text));
            }
            None => {
                let text = format!(
                    "{} ESMTP {} {}",
                    self.settings.banner_hostname,
                    self.settings.product,
                    self.opened.civil().rfc5322()
                );
                self.reply(&Reply::verbatim(220, text));
            }
        }
    }

    fn connect_answered(&mut self, answer: Answer) {
        match answer {
            Answer::Continue | Answer::Accept(_) => self.greeting(),
            Answer::Refuse(reply) => {
                let reply = reply.refusing();
                self.rejected(Phase::Connected, RejectionKind::Policy, &reply, 1);
                self.reply(&reply);
                self.state = State::Command;
                self.service_refused = true;
                if reply.code() == 421 {
                    self.close();
                }
            }
            Answer::Disconnect(reply) => {
                self.disconnect(Phase::Connected, reply);
            }
            Answer::RateLimited => {
                self.reply(&rate_limited());
                self.state = State::Command;
                self.service_refused = true;
            }
        }
    }

    /// Takes the next complete line out of the input, without its CR LF.
    fn take_line(&mut self) -> Option<BytesMut> {
        let at = memmem::find(&self.input, b"\r\n")?;
        let line = self.input.split_to(at);
        self.input.advance(2);
        Some(line)
    }

    fn step_command(&mut self) -> Step {
        let limit = self.line_limit();
        match memmem::find(&self.input, b"\r\n") {
            Some(at) if at + 2 > limit => {
                self.input.advance(at + 2);
                if octets(at + 2) > ENDLESS_LINE_OCTETS {
                    self.too_many_errors();
                } else {
                    self.line_too_long();
                }
                Step::Progress
            }
            Some(_) => {
                if let Some(line) = self.take_line() {
                    self.command(&line);
                }
                Step::Progress
            }
            // The last octet may be the CR of CR LF.
            None if self.input.len() > limit => self.step_overlong(0),
            None => Step::NeedInput,
        }
    }

    /// The limit depends on the command; of an unfinished line the first five octets tell.
    fn line_limit(&self) -> usize {
        let head = self.input.get(..5).unwrap_or_default();
        let long = head.eq_ignore_ascii_case(b"MAIL ") || head.eq_ignore_ascii_case(b"RCPT ");
        if long && self.is_extended() { EXTENDED_COMMAND_OCTETS_MAX } else { COMMAND_OCTETS_MAX }
    }

    fn step_overlong(&mut self, dropped: u64) -> Step {
        match memmem::find(&self.input, b"\r\n") {
            Some(at) => {
                self.input.advance(at + 2);
                if dropped.saturating_add(octets(at + 2)) > ENDLESS_LINE_OCTETS {
                    self.too_many_errors();
                } else {
                    self.line_too_long();
                }
                Step::Progress
            }
            None => {
                let kept = usize::from(self.input.last() == Some(&b'\r'));
                let gone = self.input.len() - kept;
                self.input.advance(gone);
                let dropped = dropped.saturating_add(octets(gone));
                if dropped > ENDLESS_LINE_OCTETS {
                    self.too_many_errors();
                    return Step::Progress;
                }
                self.state = State::Overlong { dropped };
                Step::NeedInput
            }
        }
    }

    fn is_extended(&self) -> bool {
        self.helo.as_ref().is_some_and(|helo| helo.extended)
    }

    fn verified_peer_may_relay(&mut self) {
        let verified = self.tls.as_ref().is_some_and(|tls| tls.client_verified);
        self.can_relay |= verified && self.settings.relay.verified_peers;
    }

    fn touch(&mut self, now: Monotonic) {
        self.now = now;
        self.deadline = (!self.settings.idle_time.is_zero()).then(|| now + self.settings.idle_time);
    }

    fn reply(&mut self, reply: &Reply) {
        reply.write(self.settings.extensions.enhanced_status_codes, &mut self.replies);
    }

    fn flush(&mut self) {
        if !self.replies.is_empty() {
            let replies = self.replies.split().freeze();
            self.outbox.push_back(Event::Reply(replies));
        }
    }

    /// A session that waits for commands keeps no large buffer: most sessions of a relay do that most of the time.
    fn shrink(&mut self) {
        let waits_for_commands = !matches!(self.state, State::Data(_));
        if waits_for_commands && self.input.is_empty() && self.input.capacity() > EXTENDED_COMMAND_OCTETS_MAX
        {
            self.input = BytesMut::new();
        }
    }

    /// Everything said so far goes out first: an answer may take its time.
    fn ask(&mut self, question: Question, waiting: Waiting) {
        self.flush();
        self.outbox.push_back(Event::Question(question));
        self.waiting = waiting;
    }

    fn close(&mut self) {
        if matches!(self.state, State::Closed) {
            return;
        }
        self.flush();
        let chunked = self.chunked.take();
        let state = core::mem::replace(&mut self.state, State::Closed);
        let incoming = if let State::Data(incoming) = state { Some(incoming) } else { chunked };
        if incoming.is_some_and(|mut incoming| incoming.abort()) {
            self.outbox.push_back(Event::MessageAbort(AbortReason::ConnectionLost));
        }
        self.input.clear();
        self.transaction = None;
        // The spool has the message; its answer is still awaited, and settles the unit.
        if !matches!(self.waiting, Waiting::MessageStored(_)) {
            self.waiting = Waiting::Nothing;
            self.settle(false);
        }
        self.outbox.push_back(Event::Close);
    }

    fn quit(&mut self) {
        let text = format!("{} closing connection", self.settings.banner_hostname);
        self.reply(&Reply::new(221, "2.0.0", text));
        self.close();
    }

    fn disconnect(&mut self, phase: Phase, reply: Reply) {
        let reply = reply.refusing();
        self.rejected(phase, RejectionKind::Policy, &reply, 1);
        self.reply(&reply);
        self.close();
    }

    fn injected(&mut self) {
        let reply = Reply::new(554, "5.5.1", "input after STARTTLS refused");
        self.rejected(Phase::AwaitingMail, RejectionKind::Injection, &reply, 1);
        // While a handshake is awaited the 220 is out, and a reply would be taken for TLS.
        if !matches!(self.waiting, Waiting::Tls) {
            self.reply(&reply);
        }
        self.close();
    }

    fn line_too_long(&mut self) {
        self.reply(&Reply::new(500, "5.5.2", "line too long"));
        self.counters.bad_commands += 1;
        self.limit_errors();
    }

    fn limit_errors(&mut self) {
        if self.counters.bad_commands + self.counters.unrecognized_commands >= BAD_COMMANDS_MAX {
            self.too_many_errors();
        }
    }

    fn too_many_errors(&mut self) {
        self.reply(&Reply::new(421, "4.7.0", "too many errors"));
        self.close();
    }

    /// A unit of the inbound throttle, taken at MAIL, is spent or comes back.
    fn settle(&mut self, accepted: bool) {
        if core::mem::take(&mut self.unit_open) {
            self.outbox.push_back(Event::UnitSpent { accepted });
        }
    }

    /// A rejection outside a transaction, or of all of it.
    fn rejected(&mut self, phase: Phase, kind: RejectionKind, reply: &Reply, copies: u32) {
        let sender = self.transaction.as_ref().map(|transaction| transaction.mail.reverse_path.to_string());
        let reply = reply.clone();
        self.report(Rejection { phase, kind, reply, copies, sender, recipient: None });
    }

    fn report(&mut self, rejection: Rejection) {
        self.outbox.push_back(Event::Rejected(Box::new(rejection)));
    }
}

fn shutting_down() -> Reply {
    Reply::new(421, "4.3.2", "shutting down")
}

fn rate_limited() -> Reply {
    Reply::new(451, "4.3.2", "reception rate limit, try later")
}

fn octets(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
