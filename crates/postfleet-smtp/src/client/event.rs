//! What a client tells its driver.

use super::reply::PeerReply;
use super::stage::Stage;

/// What happened, or what the driver is to do next. Events are to be carried out in the order in which they come.
///
/// Order: for each message, one [`Settled`](Self::Settled) for each recipient and at most one
/// [`ContentWanted`](Self::ContentWanted) among them; then [`Ready`](Self::Ready) or [`Close`](Self::Close), which is
/// the last event of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Write everything, then do the TLS handshake as the client. Answer with
    /// [`tls_ready`](super::Client::tls_ready) or [`tls_failed`](super::Client::tls_failed). Octets that were read in
    /// the clear must not reach the TLS layer: hand them to [`received`](super::Client::received).
    StartTls,
    /// The connection is idle: it takes a message, until `Idle_Timeout`.
    Ready,
    /// Hand in the content from its start, with [`content`](super::Client::content), whenever
    /// [`wants_content`](super::Client::wants_content) says so, then [`content_end`](super::Client::content_end). Stop
    /// when the last recipient is settled.
    ContentWanted,
    /// One recipient has its outcome; there is exactly one for each.
    Settled {
        /// Its place in [`Message::recipients`](super::Message::recipients).
        recipient: usize,
        /// What became of it.
        outcome: Outcome,
    },
    /// Write everything, then close the connection.
    Close(Ending),
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server has taken responsibility.
    Delivered(PeerReply),
    /// To be tried again after the retry interval.
    Temporary(Failure),
    /// Never to be tried again.
    Permanent(Failure),
    /// The server takes no more recipients in this transaction: it stays active, and no failure is counted.
    StaysActive(Failure),
    /// The connection could not take the message; nothing was said of it. [`Ending`] tells which address to try now. When
    /// there is none, this is the temporary failure.
    AnotherConnection(Failure),
}

/// Why, and where in the dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stage.
    pub stage: Stage,
    /// The server's reply, or ours (`[internal]`).
    pub reply: PeerReply,
    /// All of the content was sent and no reply came: the server may have taken the message. Trying again is right
    /// (RFC 5321, section 4.5.4.1, a copy too many is better than one too few); the log should say it.
    pub in_doubt: bool,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With QUIT, or because the driver wanted it.
    Done,
    /// After it had been ready once.
    Lost(Failure),
    /// Before it was ready: this address counts as failed, the next one is to be tried.
    AddressFailed(Failure),
    /// The TLS handshake failed, and policy allows this host again without TLS (`TLS_Ifavailable_Fallback`).
    RetryWithoutTls(Failure),
}
