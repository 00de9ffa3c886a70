//! What a session asks of its driver, and what the driver may answer.

use alloc::boxed::Box;
use alloc::string::String;

use bytes::Bytes;
use postfleet_types::WallTime;

use crate::address::Address;
use crate::envelope::{Envelope, MailFrom, MessageFacts, Protocol};
use crate::reply::Reply;

/// What the driver is to do next. Events are to be carried out in the order in which they come.
///
/// Order: [`MessageBegin`](Self::MessageBegin), then any number of [`Content`](Self::Content), then one of
/// [`MessageEnd`](Self::MessageEnd) and [`MessageAbort`](Self::MessageAbort). [`Close`](Self::Close) is the last
/// event of a session, except for [`Received`](Self::Received) and [`UnitSpent`](Self::UnitSpent) of a message
/// that was being stored when the connection ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Write these octets to the client. Replies to pipelined commands come in one event.
    Reply(Bytes),
    /// Write everything, then do the TLS handshake as the server. Answer with
    /// [`tls_started`](crate::Session::tls_started), or end the connection. Octets that were read from the socket
    /// before the handshake must not reach the TLS layer: hand them to [`receive`](crate::Session::receive).
    StartTls,
    /// Write everything, then close the connection.
    Close,
    /// The command waits for [`answer`](crate::Session::answer). Answering late holds the reply.
    Question(Question),
    /// A message comes. Answer with [`message_started`](crate::Session::message_started) or
    /// [`message_refused`](crate::Session::message_refused), normally at once.
    MessageBegin(Box<Envelope>),
    /// The next octets of the message: header section first, complete and already mended in the first of them.
    Content(Bytes),
    /// The message is complete. Make it durable, then answer with
    /// [`message_stored`](crate::Session::message_stored) or [`message_failed`](crate::Session::message_failed).
    MessageEnd(MessageFacts),
    /// Forget the message that began. Nothing needs to be answered.
    MessageAbort(AbortReason),
    /// Something was refused that counts as a rejection: one `rejectlog` record for each of `copies`.
    Rejected(Box<Rejection>),
    /// A message was acknowledged. One reception for each copy.
    Received {
        /// Number of recipients.
        copies: u32,
        /// Octets of the content.
        content_octets: u64,
    },
    /// The transaction for which [`Question::Mail`] was answered with [`Answer::Continue`] or [`Answer::Accept`] is over.
    UnitSpent {
        /// Whether its message was acknowledged; if not, a throttle takes its unit back.
        accepted: bool,
    },
}

/// What the driver is asked, where [`Questions`](crate::Questions) says so.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// May this client be greeted?
    Connect,
    /// The client gave this name.
    Helo {
        /// The command as it was written (`ehlo_string`).
        line: String,
        /// Its first argument (`ehlo_domain`).
        name: String,
    },
    /// A transaction would begin.
    Mail {
        /// The command as it was written (`mailfrom_string`).
        line: String,
        /// What came with it.
        mail: Box<MailFrom>,
    },
    /// A recipient was named; relay control comes after the answer.
    Recipient {
        /// The command as it was written (`rcptto_string`).
        line: String,
        /// The recipient.
        address: Box<Address>,
    },
}

/// The driver's answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Go on as if nothing had been asked.
    Continue,
    /// Go on, and say this where the command is accepted. The greeting and the reply to EHLO have a form of their own
    /// and stay as they are.
    Accept(Reply),
    /// The command gets this reply. At connect, 421 closes; any other code leaves a session that answers 503 to
    /// everything but QUIT. Codes outside 400 to 599 become `550 5.7.1 [internal] rejected by policy`.
    Refuse(Reply),
    /// This reply, then the connection is closed.
    Disconnect(Reply),
    /// 451: the wait for a unit of the inbound throttle would be too long. Not a rejection.
    RateLimited,
}

/// What the driver knows when a message starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageStart {
    /// The id of the first copy: it stands in the Received field, in a Message-ID we add, and in the final reply.
    pub id: String,
    /// The time of reception.
    pub at: WallTime,
}

/// Why the driver cannot take a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The spool could not write: `451 4.3.0 transaction failed`.
    Spool,
    /// The disk is short: `452 4.3.1 insufficient system storage`.
    Storage,
    /// No room for a large message now: `421 4.3.0 …`, and the connection is closed.
    TooLargeNow,
    /// Policy, with its reply. After the end of the data it counts as a rejection of every copy.
    Policy(Reply),
    /// As [`Policy`](Self::Policy), then the connection is closed.
    Disconnect(Reply),
}

/// Why a message that began does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortReason {
    /// The client went away, or was sent away, before the end of the data.
    ConnectionLost,
    /// It will be refused when its data ends.
    Refused,
    /// RSET, EHLO or HELO between two chunks.
    Reset,
}

/// Why a client is turned away before the greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectRefusal {
    /// `Service_Sessions` or `Listener_Sessions` is reached.
    SessionLimit,
    /// Too many connections from the client's network, over the whole fleet.
    NetworkLimit,
    /// Resources are exhausted; not a rejection.
    Resources,
    /// The node stops; not a rejection.
    Shutdown,
}

/// A refusal that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Where in the dialogue.
    pub phase: Phase,
    /// What kind.
    pub kind: RejectionKind,
    /// The reply, as it was sent.
    pub reply: Reply,
    /// Records and events it counts as: the recipients when data is refused, otherwise 1.
    pub copies: u32,
    /// The sender, once there is one.
    pub sender: Option<String>,
    /// The refused recipient.
    pub recipient: Option<String>,
}

/// The kinds of rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectionKind {
    /// A session limit.
    SessionLimit,
    /// A limit on the client's network.
    NetworkLimit,
    /// Policy said so.
    Policy,
    /// `SIZE=` or the data is over the limit.
    Size,
    /// Relay control.
    Relaying,
    /// The message has a forbidden form.
    Format,
    /// Too many Received fields.
    Loop,
    /// The spool could not take it.
    Storage,
    /// Input behind STARTTLS.
    Injection,
}

/// Where in the dialogue a session is, in the words of the rejectlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before the greeting.
    Connected,
    /// Before or at EHLO.
    AwaitingHelo,
    /// Between transactions, or at MAIL.
    AwaitingMail,
    /// In a transaction, or at RCPT.
    AwaitingRecipient,
    /// Refused by relay control.
    RelayingDenied,
    /// Refused by a session limit.
    ConcurrencyLimit,
    /// While data is received.
    ReadingBody,
    /// After the end of the data.
    SendingBodyResponse,
}

impl Phase {
    /// The words of the rejectlog's `P` field.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "just connected",
            Self::AwaitingHelo => "awaiting ehlo/helo",
            Self::AwaitingMail => "awaiting mailfrom",
            Self::AwaitingRecipient => "awaiting rcptto",
            Self::RelayingDenied => "relaying denied",
            Self::ConcurrencyLimit => "concurrency limit",
            Self::ReadingBody => "reading body",
            Self::SendingBodyResponse => "sending body response",
        }
    }
}

/// How much room there is for mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resources {
    /// Enough, as far as is known.
    Ample,
    /// Enough for messages of this many octets; a larger `SIZE=` gets 452.
    Room(u64),
    /// The disk is short: MAIL gets 452.
    Short,
}

/// The running counts of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages acknowledged (`connection_message_count`).
    pub messages: u32,
    /// Recipients accepted (`connection_rcpt_count`).
    pub recipients: u32,
    /// Unknown commands (`conntrol_unrecognized_commands`).
    pub unrecognized_commands: u32,
    /// Commands with wrong syntax or out of order (`conntrol_bad_commands`).
    pub bad_commands: u32,
    /// The client sent something before the greeting (`early_talker`).
    pub early_talker: bool,
}

/// What the driver knows of a connection when it accepts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// The client's address and port (from the PROXY header where there is one).
    pub client: core::net::SocketAddr,
    /// The address and port the client connected to.
    pub local: core::net::SocketAddr,
    /// The time of the greeting.
    pub opened: WallTime,
    /// The same point on the monotonic clock.
    pub now: postfleet_types::Monotonic,
    /// TLS from the first octet, when `Use_SSL` is set: the handshake comes before the session.
    pub tls: Option<crate::envelope::TlsFacts>,
}

/// The call does not fit what the session waits for. The driver is at fault; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session does not wait for this")]
pub struct OutOfTurn;

impl Protocol {
    pub(crate) const fn of(extended: bool, tls: bool, utf8: bool) -> Self {
        Self { extended, tls, utf8 }
    }
}
