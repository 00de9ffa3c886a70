//! What the scheduler wants done, and what became of messages.

use alloc::sync::Arc;
use core::net::SocketAddr;

use postfleet_spool::{MessageId, QueueKey};
use postfleet_throttle::Shadowed;
use postfleet_types::{Monotonic, WallTime};

use crate::connection::{ConnectionId, Target};

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Find out where the mail of a queue goes, and say it with [`routed`](crate::Scheduler::routed).
    Resolve {
        /// The queue.
        queue: Arc<QueueKey>,
        /// Look-ups of exchangers that failed in a row so far, for [`Routing::new`](crate::Routing::new).
        failed_lookups: u32,
    },
    /// Open a connection.
    Connect {
        /// Its number, for all that is said about it.
        connection: ConnectionId,
        /// The queue it serves.
        queue: Arc<QueueKey>,
        /// Where to.
        target: Target,
        /// STARTTLS failed there a moment ago, and policy allows to go on in the clear.
        plain: bool,
    },
    /// A connection that waits should ask for a message again.
    Wake(ConnectionId),
    /// What became of a message without a connection.
    Report(Report),
    /// A limit that only watches would have held something back.
    Shadowed(Shadowed),
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The message.
    pub message: MessageId,
    /// The transaction it came in with.
    pub batch: MessageId,
    /// The queue it was on.
    pub queue: Arc<QueueKey>,
    /// When it was accepted.
    pub created: WallTime,
    /// Attempts that had failed before this one.
    pub retries: u32,
    /// The outcome.
    pub verdict: Verdict,
    /// Where it was tried last, when that is why it fails without a connection that had it.
    pub tried: Option<Tried>,
}

/// An address that was of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The address.
    pub address: SocketAddr,
    /// How far it came, as in [`Ended::AddressFailed`](crate::Ended::AddressFailed).
    pub stage: u8,
}

/// The outcome of an attempt, as the queue sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The other side has it. The message is forgotten here.
    Delivered,
    /// It will be tried again.
    Delayed {
        /// When.
        until: Monotonic,
        /// The reply that says why.
        reply: Arc<str>,
    },
    /// It will not be tried again. The message is forgotten here.
    Failed {
        /// The reply that says why.
        reply: Arc<str>,
        /// The reply of the last attempt, when `reply` says that it was one too many.
        last: Option<Arc<str>>,
        /// Nobody is to be told.
        quiet: bool,
    },
}
