//! What the membership layer tells the application, and what the application may ask of it.

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use postfleet_types::{Epoch, GroupName, NodeName, NodeType, PrivateName, SubclusterName, ViewId};

/// What a member announces about itself when it joins and at every view change with additions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its connection's name.
    pub private_name: PrivateName,
    /// Its node name; a manager's too, although displays print `(Null)` for it.
    pub node_name: NodeName,
    /// Its subcluster.
    pub subcluster: SubclusterName,
    /// What it is.
    pub node_type: NodeType,
    /// `<version> r(<revision>)`.
    pub version: String,
    /// Where its cluster listener can be reached; `0.0.0.0:0` when it has none.
    pub address: SocketAddr,
    /// Lowest and highest bus protocol it speaks.
    pub protocol: (u16, u16),
    /// Digest of the options that must agree on all members.
    pub options_digest: u64,
    /// Heartbeats a second that it will send.
    pub heartbeats_per_second: u16,
    /// Heartbeats in a row that may be missing.
    pub heartbeat_miss_limit: u16,
    /// Changes when its host boots.
    pub boot_id: u128,
}

/// A member of a view, with its place in the order of age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it announced.
    pub info: MemberInfo,
    /// Which connection of that name.
    pub epoch: Epoch,
    /// Counter of the view that first admitted this epoch; members are ordered by it, then by private name.
    pub age: u64,
    /// Groups it has joined, in joining order.
    pub groups: Vec<GroupName>,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// All members of a group.
    Group(GroupName),
    /// One connection.
    Member(PrivateName),
}

/// The delivery service asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// One order for all members that respects causality.
    #[default]
    Agreed,
    /// Agreed, and known to have been received by all. No carrier offers it today.
    Safe,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// The service.
    pub service: Service,
    /// Deliver in this view or nowhere.
    pub only_in: Option<ViewId>,
    /// Only managers among the addressed take it.
    pub managers_only: bool,
}

/// Identifies an accepted message when it comes back: the number of this connection's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub u64);

/// Why a member is no longer in the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaveReason {
    /// It left in an orderly way.
    Left,
    /// Its process ended.
    ProcessDown,
    /// Its host is gone or out of reach.
    NodeDown,
    /// It did not answer heartbeats.
    Heartbeat,
    /// It did not answer a round.
    Silent,
    /// It may not be a member (duplicate name, no common protocol).
    Refused,
}

/// Why a group's list changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupCause {
    /// A member joined the group.
    Joined,
    /// A member left the group.
    Left,
    /// A view change took members away or brought them in.
    View,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostReason {
    /// The engine below went away.
    Daemon,
    /// The application did not read its events.
    Overrun,
    /// The others went on without this connection.
    Expelled,
    /// One of the own messages vanished.
    OwnGap,
    /// Something below broke the protocol.
    Protocol,
    /// This side disconnected.
    Local,
}

/// One event of a connection. The first is a [`BusEvent::View`] that contains the connection itself (P2), the
/// last a [`BusEvent::Lost`] (P24).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusEvent {
    /// A new view.
    View {
        /// Its identity, the same for everybody who installs it (P3).
        id: ViewId,
        /// Its members by age.
        members: Vec<Member>,
        /// Members that did not come here with the receiver.
        joined: Vec<PrivateName>,
        /// Who is gone, and why.
        left: Vec<(PrivateName, LeaveReason)>,
        /// Members whose previous view was the receiver's previous view.
        transitional: Vec<PrivateName>,
    },
    /// The members of a group changed, in order with messages.
    GroupView {
        /// The group.
        group: GroupName,
        /// Its members in the order of the view.
        members: Vec<PrivateName>,
        /// Why.
        cause: GroupCause,
    },
    /// A message.
    Message {
        /// Its sender.
        from: PrivateName,
        /// Its destinations.
        to: Vec<Destination>,
        /// The application's kind.
        kind: u16,
        /// The application's bytes.
        payload: Bytes,
        /// The view it is delivered in.
        view: ViewId,
        /// Set when it is one of the own.
        own: Option<SendId>,
    },
    /// After [`SendError::QueueFull`]: the queue is below half.
    SendReady,
    /// The end.
    Lost {
        /// Why.
        reason: LostReason,
    },
}

/// Why a message was not accepted. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The connection has ended.
    #[error("not connected to the bus")]
    NotConnected,
    /// The first view has not come yet.
    #[error("not yet admitted to the cluster")]
    NotAdmitted,
    /// The send queue holds `max_backlog` messages or 64 MiB; `SendReady` follows.
    #[error("the send queue is full")]
    QueueFull,
    /// The payload is longer than 1 000 000 bytes.
    #[error("the payload has {bytes} bytes; at most {bytes_max} are sent")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The longest.
        bytes_max: usize,
    },
    /// This carrier does not offer the service; it is never downgraded silently.
    #[error("this bus does not offer safe delivery")]
    Unsupported,
    /// No destination, or too many for the header.
    #[error("the destinations do not fit the message header")]
    BadDestination,
}

/// The state of a connection at this moment.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct BusStatus {
    /// Whether a view is installed.
    pub connected: bool,
    /// The installed view.
    pub view: Option<ViewId>,
    /// Accepted messages that wait to be submitted, and their bytes.
    pub send_queue: (usize, usize),
    /// Events that wait to be read, and their bytes.
    pub event_queue: (usize, usize),
    /// Upper bound from a silent crash until the member is given up; the view without it follows within half a second (P26).
    pub bound: Duration,
    /// Whether the hosts of the installed view are quorate; `None` where nothing counts votes, and while it is not known.
    pub quorum: Option<bool>,
    /// The same for displays: what was last known, and yes where nothing counts votes.
    pub quorate: bool,
}

impl fmt::Display for LeaveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::ProcessDown => "process down",
            Self::NodeDown => "node down",
            Self::Heartbeat => "heartbeat",
            Self::Silent => "silent",
            Self::Refused => "refused",
        })
    }
}
