//! An SMTP client without sockets (RFC 5321): one outbound connection, from the greeting to the close.
//!
//! Promise: every recipient of every message handed in gets exactly one [`Outcome`], whatever the server says and
//! whenever the connection ends; a recipient is delivered only after a 2xx to the end of its content; and memory stays
//! below the envelope, one reply ([`PEER_REPLY_OCTETS_MAX`]), twice [`OUTPUT_OCTETS_MAX`] and twice the piece of content
//! that was handed in last.
//!
//! # The driver's duties
//!
//! 1. Connect, then say [`connected`](Client::connected) or [`connect_failed`](Client::connect_failed). A message may be
//!    handed in before that.
//! 2. After every call: write what [`poll_transmit`](Client::poll_transmit) returns, carry out what
//!    [`poll_event`](Client::poll_event) returns, in this order, until both return none. While
//!    [`wants_content`](Client::wants_content) says so, hand in the next piece once what came before is written.
//! 3. Then wait for whichever comes first: octets from the server ([`received`](Client::received)), the end of the
//!    connection ([`closed`](Client::closed), [`transmit_failed`](Client::transmit_failed)), the deadline
//!    ([`handle_timeout`](Client::handle_timeout)), the handshake, or a message to send
//!    ([`submit`](Client::submit)). Go to 2.
//! 4. A call that does not fit is [`OutOfTurn`] and changes nothing. It also comes when the connection ended in between.
//!
//! Deviations and decisions: the lines of a reply may end with LF, and their codes may differ in the second and third
//! digit, then the last counts. `452` and `552` to RCPT after an accepted recipient mean "too many recipients" unless an
//! enhanced status code says something other than `x.5.3`. STARTTLS that is refused in words is followed by the
//! clear dialogue on the same connection where policy allows that. AUTH, XCLIENT and LMTP are not spoken.

mod content;
mod dialogue;
mod ehlo;
mod event;
mod message;
mod reply;
mod settings;
mod stage;
mod transaction;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use bytes::{Bytes, BytesMut};
use postfleet_types::Monotonic;

pub use ehlo::Offered;
pub use event::{Ending, Event, Failure, Outcome};
pub use message::{Message, MessageRecipient};
pub use reply::{EnhancedStatus, PEER_LINE_OCTETS_MAX, PEER_REPLY_OCTETS_MAX, PeerReply, ReplyError};
pub use settings::{ClientSettings, EightBit, Timeouts, TlsPolicy};
pub use stage::Stage;

use crate::event::OutOfTurn;
use reply::ReplyReader;
use transaction::Transaction;

/// Octets waiting to be written above which no content is wanted; also the size of a chunk of BDAT.
pub const OUTPUT_OCTETS_MAX: usize = 64 * 1024;

/// One outbound connection. Duties and their order stand in the module's documentation.
#[derive(Debug)]
pub struct Client {
    settings: Arc<ClientSettings>,
    phase: Phase,
    reader: ReplyReader,
    /// The replies that are owed, in order.
    awaited: VecDeque<Awaited>,
    output: BytesMut,
    events: VecDeque<Event>,
    offered: Offered,
    encrypted: bool,
    /// It was ready once: the address works.
    proven: bool,
    /// A message that waits until the connection is ready.
    waiting: Option<Box<Message>>,
    transaction: Option<Box<Transaction>>,
    deadline: Option<Monotonic>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    /// Between the greeting and the first readiness.
    Opening,
    Handshake,
    Idle,
    /// In a transaction, or resetting after one.
    Busy,
    Quitting,
    Closed,
}

/// A reply that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Banner,
    Ehlo,
    Helo,
    StartTls,
    Mail,
    Recipient(usize),
    Data,
    /// A chunk that is not the last.
    Chunk,
    /// The dot, or the last chunk.
    Confirmation,
    /// A dot that ends a message for nobody.
    Nobody,
    Reset,
    Quit,
}

impl Awaited {
    const fn stage(self) -> Stage {
        match self {
            Self::Banner => Stage::Banner,
            Self::Ehlo | Self::Helo => Stage::Ehlo,
            Self::StartTls => Stage::StartTls,
            Self::Mail => Stage::Mail,
            Self::Recipient(_) => Stage::Recipient,
            Self::Data | Self::Nobody => Stage::Data,
            Self::Chunk => Stage::Body,
            Self::Confirmation => Stage::Confirmation,
            Self::Reset => Stage::Reset,
            Self::Quit => Stage::Unknown,
        }
    }
}

impl Client {
    /// A client for a connection that is being opened.
    #[must_use]
    pub fn new(settings: Arc<ClientSettings>, now: Monotonic) -> Self {
        let mut client = Self {
            settings,
            phase: Phase::Connecting,
            reader: ReplyReader::default(),
            awaited: VecDeque::new(),
            output: BytesMut::new(),
            events: VecDeque::new(),
            offered: Offered::default(),
            encrypted: false,
            proven: false,
            waiting: None,
            transaction: None,
            deadline: None,
        };
        client.touch(now);
        client
    }

    /// The connection is open; the greeting comes next.
    ///
    /// # Errors
    /// [`OutOfTurn`] when it was open before, or has ended.
    pub fn connected(&mut self, now: Monotonic) -> Result<(), OutOfTurn> {
        self.in_phase(Phase::Connecting)?;
        self.phase = Phase::Opening;
        self.awaited.push_back(Awaited::Banner);
        self.touch(now);
        Ok(())
    }

    /// The connection could not be opened: `450 4.4.1 [internal] <cause>`.
    ///
    /// # Errors
    /// [`OutOfTurn`] when it was open before, or has ended.
    pub fn connect_failed(&mut self, cause: &str) -> Result<(), OutOfTurn> {
        self.in_phase(Phase::Connecting)?;
        let cause: String = cause.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        self.lose(PeerReply::internal(450, format!("4.4.1 [internal] {cause}")), false);
        Ok(())
    }

    /// Hands in octets that the server sent. After the end of the connection, and before its start, they are ignored.
    pub fn received(&mut self, now: Monotonic, octets: &[u8]) {
        let mut rest = octets;
        loop {
            match self.phase {
                Phase::Closed | Phase::Connecting => return,
                Phase::Handshake if !rest.is_empty() => {
                    // Sent in the clear behind the 220: whoever wrote it is not the one that TLS will prove.
                    return self.lose(tls_failed_reply(), false);
                }
                Phase::Handshake | Phase::Opening | Phase::Idle | Phase::Busy | Phase::Quitting => {}
            }
            match self.reader.next(&mut rest) {
                Ok(Some(reply)) => {
                    self.replied(reply);
                    self.touch(now);
                }
                Ok(None) => return,
                Err(_) => return self.unanswered(),
            }
        }
    }

    /// The server has closed the connection, or it broke.
    pub fn closed(&mut self) {
        match self.phase {
            Phase::Closed => {}
            Phase::Quitting => self.end(Ending::Done),
            Phase::Handshake => self.handshake_failed(),
            Phase::Connecting | Phase::Opening | Phase::Idle | Phase::Busy => {
                let text = String::from("4.4.2 [internal] connection closed by remote host");
                self.lose(PeerReply::internal(451, text), true);
            }
        }
    }

    /// Something could not be written: `451 4.4.2 [internal] send <STAGE> failed`.
    pub fn transmit_failed(&mut self) {
        match self.phase {
            Phase::Closed => {}
            Phase::Quitting => self.end(Ending::Done),
            Phase::Connecting | Phase::Opening | Phase::Handshake | Phase::Idle | Phase::Busy => {
                let text = format!("4.4.2 [internal] send {} failed", self.stage().word());
                self.lose(PeerReply::internal(451, text), true);
            }
        }
    }

    /// The handshake is done. Everything said before is forgotten (RFC 3207, section 4.2).
    ///
    /// # Errors
    /// [`OutOfTurn`] when no handshake was asked for.
    pub fn tls_ready(&mut self, now: Monotonic) -> Result<(), OutOfTurn> {
        self.in_phase(Phase::Handshake)?;
        self.encrypted = true;
        self.offered = Offered::default();
        self.phase = Phase::Opening;
        self.hello();
        self.touch(now);
        Ok(())
    }

    /// The handshake failed, or what it proved is not enough. The connection is of no more use.
    ///
    /// # Errors
    /// [`OutOfTurn`] when no handshake was asked for.
    pub fn tls_failed(&mut self) -> Result<(), OutOfTurn> {
        self.in_phase(Phase::Handshake)?;
        self.handshake_failed();
        Ok(())
    }

    /// Tells the time. After the deadline the stage has failed; before it, nothing happens.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.phase {
            Phase::Closed => {}
            Phase::Quitting => self.end(Ending::Done),
            Phase::Handshake => self.handshake_failed(),
            Phase::Idle => self.say_quit(now),
            Phase::Connecting => {
                let text = String::from("4.4.1 [internal] Connection Timed Out");
                self.lose(PeerReply::internal(450, text), false);
            }
            // Nothing is owed by the server: it does not take what is sent.
            Phase::Busy if self.awaited.is_empty() => self.transmit_failed(),
            Phase::Opening | Phase::Busy => self.unanswered(),
        }
    }

    /// Hands in a message. It is sent when the connection is ready; its recipients get their outcomes as events.
    ///
    /// # Errors
    /// The message comes back when there is one already, or the connection ends: see
    /// [`takes_message`](Self::takes_message).
    pub fn submit(&mut self, now: Monotonic, message: Message) -> Result<(), Box<Message>> {
        let message = Box::new(message);
        if !self.takes_message() {
            return Err(message);
        }
        self.waiting = Some(message);
        if self.phase == Phase::Idle {
            self.events.retain(|event| *event != Event::Ready);
            self.become_ready();
            self.touch(now);
        }
        Ok(())
    }

    /// Whether a message may be handed in.
    #[must_use]
    pub fn takes_message(&self) -> bool {
        let ending = matches!(self.phase, Phase::Quitting | Phase::Closed);
        !ending && self.waiting.is_none() && self.transaction.is_none()
    }

    /// Ends the connection: with QUIT when it is idle, at once when it is not ready yet.
    ///
    /// # Errors
    /// [`OutOfTurn`] while there is a message, or when it has ended.
    pub fn quit(&mut self, now: Monotonic) -> Result<(), OutOfTurn> {
        if !self.takes_message() {
            return Err(OutOfTurn);
        }
        if self.phase == Phase::Idle {
            self.say_quit(now);
        } else {
            self.output.clear();
            self.end(Ending::Done);
        }
        Ok(())
    }

    /// The next octets to write.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        (!self.output.is_empty()).then(|| self.output.split().freeze())
    }

    /// The next event; none when the client waits. Any other call that takes `&mut self` may change the answer.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; none when the connection has ended.
    #[must_use]
    pub const fn poll_deadline(&self) -> Option<Monotonic> {
        self.deadline
    }

    /// What the server offers; nothing before its EHLO reply.
    #[must_use]
    pub const fn offered(&self) -> &Offered {
        &self.offered
    }

    /// Whether TLS is on.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Where in the dialogue the connection is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match (self.phase, self.awaited.front()) {
            (Phase::Connecting | Phase::Closed, _) => Stage::NotConnected,
            (Phase::Handshake, _) => Stage::Handshake,
            (_, Some(awaited)) => awaited.stage(),
            (Phase::Idle, None) => Stage::Idle,
            // A message is looked at, or policy, before anything is said.
            (Phase::Opening, None) => Stage::AfterEhlo,
            (Phase::Busy, None) if !self.sends_content() => Stage::AfterEhlo,
            (Phase::Busy, None) => Stage::Body,
            (Phase::Quitting, None) => Stage::Unknown,
        }
    }

    fn in_phase(&self, phase: Phase) -> Result<(), OutOfTurn> {
        if self.phase == phase { Ok(()) } else { Err(OutOfTurn) }
    }

    fn touch(&mut self, now: Monotonic) {
        let limit = self.stage().limit(&self.settings.timeouts);
        self.deadline = (self.phase != Phase::Closed).then(|| now + limit);
    }
}

fn tls_failed_reply() -> PeerReply {
    PeerReply::internal(451, String::from("4.7.5 [internal] TLS negotiation failed"))
}
