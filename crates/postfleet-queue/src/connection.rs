//! One outbound connection, as the queues see it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use postfleet_spool::MessageId;
use postfleet_throttle::LimitKey;
use postfleet_types::Monotonic;

use crate::wait::Wait;

/// Names a connection. Numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) u64);

impl ConnectionId {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The name of the exchanger as it was found; none for an address.
    pub host: Option<Arc<str>>,
    /// The address and port.
    pub address: SocketAddr,
}

/// What a connection is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send one transaction with these recipients; all are of this batch.
    Send {
        /// The transaction that the copies came in with.
        batch: MessageId,
        /// The copies.
        messages: Vec<MessageId>,
    },
    /// Stay, and ask again when woken ([`Action::Wake`](crate::Action::Wake)) or at this time.
    Stay {
        /// Why nothing is sent, when there is something.
        wait: Option<Wait>,
        /// When to ask again.
        until: Option<Monotonic>,
    },
    /// End with QUIT.
    Quit,
}

/// What became of one recipient of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has it.
    Delivered,
    /// To be tried again; the reply.
    Temporary(Arc<str>),
    /// Never to be tried again; the reply.
    Permanent(Arc<str>),
    /// Nothing was said of it: it stays where it is, and no failure is counted.
    Stays,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In good order, or after it had been of use.
    Done,
    /// Before it was ready: the address has failed, at this stage of the dialogue (0: it could not be connected to).
    AddressFailed {
        /// Its number, for logs.
        stage: u8,
    },
    /// This machine has not got the source address of the binding. The other side has nothing to do with it.
    NoSource,
    /// This machine has no local port left for such a connection. The other side has nothing to do with it.
    NoPort,
    /// The handshake failed, and the same address may be tried in the clear.
    RetryWithoutTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not ready yet.
    Opening,
    /// It takes a message.
    Idle,
    /// It has one.
    Busy,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) queue: u32,
    pub(crate) target: Target,
    /// What it counts for.
    pub(crate) keys: Vec<LimitKey>,
    pub(crate) phase: Phase,
    pub(crate) since: Monotonic,
    /// Handed out and not settled.
    pub(crate) in_flight: Vec<MessageId>,
    /// It was told to end.
    pub(crate) leaves: bool,
    pub(crate) deliveries: u32,
    pub(crate) recipients: u32,
}

/// The name of a host, or of an address where there is none.
pub(crate) fn host_text(target: &Target) -> String {
    target.host.as_deref().map_or_else(|| alloc::format!("[{}]", target.address.ip()), String::from)
}
