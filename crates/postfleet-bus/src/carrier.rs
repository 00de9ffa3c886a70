//! What lies below the membership layer: ordered delivery and raw membership, nothing else.
//!
//! A carrier knows no private name, group or view. One value is one attachment to one class (main or shared) of
//! one bus.

mod queue;

use crate::notice::Notice;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::task::{Context, Poll};
use core::time::Duration;
pub use queue::{EVENT_BYTES_MAX, EVENTS_MAX, EventQueue};

/// The identity of one attachment, unique among those attached. The order ("lowest") picks who starts a round.
///
/// `corosync`: (node id, pid). `local`: (pid, serial number in the process).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawId {
    /// Compared first.
    pub major: u32,
    /// Compared second.
    pub minor: u32,
}

impl fmt::Display for RawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why an attachment left, as the carrier saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RawReason {
    /// It detached. Whether in good order, its last message says.
    Left,
    /// Its process has ended; it certainly does nothing any more.
    ProcessDown,
    /// Its host (or, with `local`, its connection) is gone; the process may live on.
    NodeDown,
}

/// One event of the stream. The first is a [`CarrierEvent::Change`] that contains the own id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CarrierEvent {
    /// The set of attachments changed.
    Change {
        /// All that are attached now, ascending.
        members: Vec<RawId>,
        /// Who is no longer attached, and why.
        left: Vec<(RawId, RawReason)>,
        /// Who is attached since this change.
        joined: Vec<RawId>,
    },
    /// A message, in the one order that all attachments share.
    Deliver {
        /// Who submitted it; always a member of the last change.
        from: RawId,
        /// What was submitted.
        bytes: Bytes,
    },
    /// After [`Submit::Busy`]: there is room again.
    Ready,
    /// The last event of the stream.
    Lost(CarrierLost),
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarrierLost {
    /// The engine (daemon, hub) went away and did not come back in time.
    Daemon,
    /// The others went on without this attachment.
    Expelled,
    /// This side did not read its events; see promise P22.
    Overrun,
    /// The peer sent what the protocol does not allow.
    Protocol,
    /// This side asked to leave, and has left.
    Detached,
}

/// The answer to a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Submit {
    /// Taken. It comes back in the own stream, or the stream ends with [`CarrierEvent::Lost`].
    Accepted,
    /// Not taken; [`CarrierEvent::Ready`] follows.
    Busy,
    /// Not taken; the stream has ended or is about to.
    Gone,
}

/// Ordered delivery and raw membership.
///
/// What members have in common they deliver in one order: FIFO for each sender, at most once, their own messages
/// too, and only while the sender is in the last change (C1). Members that deliver the same two successive
/// changes deliver the same messages between them (C2). The layer above bears two changes in a row, members
/// that never speak, and accepted messages that vanish.
pub trait Carrier {
    /// The own identity.
    fn id(&self) -> RawId;

    /// The next event, or `Pending` after which the context's waker is woken when there is one.
    ///
    /// After [`CarrierEvent::Lost`] it is `Pending` for ever.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CarrierEvent>;

    /// Hands a message to the carrier. Never waits. `bytes` is at most [`Carrier::bytes_max`] long.
    fn submit(&mut self, bytes: Bytes) -> Submit;

    /// Asks to leave in an orderly way: what was accepted still goes out and comes back, others see
    /// [`RawReason::Left`], and the own stream ends with [`CarrierLost::Detached`]. Submissions after it are `Gone`.
    fn detach(&mut self);

    /// Upper bound of the time from a silent crash of a member until the engine gives it up. The change without it follows
    /// within half a second, which the engine needs to form what is left.
    fn bound(&self) -> Duration;

    /// Whether the hosts of the last event that was read are quorate. `None` where nothing counts votes, and while it is
    /// not known of these hosts; never `Some(true)` because of hosts whose coming has not been read yet.
    fn quorum(&self) -> Option<bool> {
        None
    }

    /// Whether the host of an attachment, present or gone, is still reached. A carrier that does not know says yes.
    fn host_present(&self, _id: RawId) -> bool {
        true
    }

    /// The longest message, at least 1 004 096 bytes (a payload of 1 000 000 and the longest header).
    fn bytes_max(&self) -> usize;

    /// The next line for the operator's log. Carriers that have nothing to say say nothing.
    fn poll_notice(&mut self) -> Option<Notice> {
        None
    }
}

impl<C: Carrier + ?Sized> Carrier for Box<C> {
    fn id(&self) -> RawId {
        (**self).id()
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CarrierEvent> {
        (**self).poll_event(context)
    }

    fn submit(&mut self, bytes: Bytes) -> Submit {
        (**self).submit(bytes)
    }

    fn detach(&mut self) {
        (**self).detach();
    }

    fn bound(&self) -> Duration {
        (**self).bound()
    }

    fn quorum(&self) -> Option<bool> {
        (**self).quorum()
    }

    fn host_present(&self, id: RawId) -> bool {
        (**self).host_present(id)
    }

    fn bytes_max(&self) -> usize {
        (**self).bytes_max()
    }

    fn poll_notice(&mut self) -> Option<Notice> {
        (**self).poll_notice()
    }
}
