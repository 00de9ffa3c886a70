//! What a member reports.

use super::wire::{
    read_destinations, read_member, read_names, read_optional_view, read_view, write_destinations,
    write_member, write_names, write_optional_view, write_view,
};
use crate::event::{Destination, GroupCause, LeaveReason, LostReason, Member};
use crate::notice::Severity;
use alloc::string::String;
use alloc::vec::Vec;
use postfleet_types::{Epoch, GroupName, Monotonic, PrivateName, Reader, ViewId, WireError, Writer};

/// Something that happened at a member, and when by its clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Monotonic,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A connection was begun.
    Connecting {
        /// Its name.
        name: PrivateName,
        /// Its epoch.
        epoch: Epoch,
    },
    /// A view was read.
    View {
        /// Its identity.
        id: ViewId,
        /// Its members.
        members: Vec<Member>,
        /// As in the event.
        joined: Vec<PrivateName>,
        /// As in the event.
        left: Vec<(PrivateName, LeaveReason)>,
        /// As in the event.
        transitional: Vec<PrivateName>,
    },
    /// A group change was read.
    GroupView {
        /// The group.
        group: GroupName,
        /// Its members.
        members: Vec<PrivateName>,
        /// Why.
        cause: GroupCause,
    },
    /// A message was read.
    Message {
        /// Its sender.
        from: PrivateName,
        /// The number in its payload.
        number: u64,
        /// Length of the payload.
        bytes: usize,
        /// Digest of the payload.
        digest: u64,
        /// The view.
        view: ViewId,
        /// Whether it was marked as one of the own.
        own: bool,
    },
    /// A message was accepted.
    Sent {
        /// Its number.
        number: u64,
        /// Length of its payload.
        bytes: usize,
        /// Digest of its payload.
        digest: u64,
        /// Where to.
        to: Vec<Destination>,
        /// Bound to this view.
        only_in: Option<ViewId>,
        /// Microseconds that the call took, by the member's clock.
        took_micros: u64,
    },
    /// A message was not accepted.
    NotSent {
        /// Its number.
        number: u64,
        /// Why, as text.
        error: String,
        /// Microseconds that the call took.
        took_micros: u64,
    },
    /// There is room again.
    SendReady,
    /// The connection ended.
    Lost {
        /// Why.
        reason: LostReason,
    },
    /// A line for the log.
    Notice {
        /// How much it matters.
        severity: Severity,
        /// The line.
        text: String,
    },
    /// Counters, on command: unknown unicasts, gaps, messages delivered, bytes of unread events.
    Figures {
        /// [`crate::Counters::unknown_unicast`].
        unknown_unicast: u64,
        /// [`crate::Counters::gaps`].
        gaps: u64,
        /// [`crate::Counters::messages_delivered`].
        messages_delivered: u64,
        /// Bytes of unread events now.
        unread_bytes: usize,
    },
}

impl Record {
    /// The wire form, for rigs whose members are processes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u64(self.at.as_micros());
        match &self.what {
            What::Connecting { name, epoch } => {
                w.u8(1).text(name.as_str()).u64(epoch.0);
            }
            What::View { id, members, joined, left, transitional } => {
                w.u8(2);
                write_view(&mut w, *id);
                w.count(members.len());
                for member in members {
                    write_member(&mut w, member);
                }
                write_names(&mut w, joined);
                w.count(left.len());
                for (name, reason) in left {
                    w.text(name.as_str()).u8(*reason as u8);
                }
                write_names(&mut w, transitional);
            }
            What::GroupView { group, members, cause } => {
                w.u8(3).text(group.as_str());
                write_names(&mut w, members);
                w.u8(*cause as u8);
            }
            What::Message { from, number, bytes, digest, view, own } => {
                w.u8(4).text(from.as_str()).varint(*number).count(*bytes).u64(*digest);
                write_view(&mut w, *view);
                w.u8(u8::from(*own));
            }
            What::Sent { number, bytes, digest, to, only_in, took_micros } => {
                w.u8(5).varint(*number).count(*bytes).u64(*digest);
                write_destinations(&mut w, to);
                write_optional_view(&mut w, *only_in);
                w.varint(*took_micros);
            }
            What::NotSent { number, error, took_micros } => {
                w.u8(6).varint(*number).text(error).varint(*took_micros);
            }
            What::SendReady => {
                w.u8(7);
            }
            What::Lost { reason } => {
                w.u8(8).u8(*reason as u8);
            }
            What::Notice { severity, text } => {
                w.u8(9).u8(*severity as u8).text(text);
            }
            What::Figures { unknown_unicast, gaps, messages_delivered, unread_bytes } => {
                w.u8(10).varint(*unknown_unicast).varint(*gaps).varint(*messages_delivered);
                w.count(*unread_bytes);
            }
        }
        w.finish()
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let at = Monotonic::from_micros(r.u64()?);
        let what = match r.u8()? {
            1 => What::Connecting { name: read_name(&mut r)?, epoch: Epoch(r.u64()?) },
            2 => {
                let id = read_view(&mut r)?;
                let count = r.count(1)?;
                let members = (0..count).map(|_| read_member(&mut r)).collect::<Result<_, _>>()?;
                let joined = read_names(&mut r)?;
                let count = r.count(2)?;
                let left = (0..count)
                    .map(|_| Ok((read_name(&mut r)?, pick(&mut r, &LEAVE_REASONS)?)))
                    .collect::<Result<_, WireError>>()?;
                What::View { id, members, joined, left, transitional: read_names(&mut r)? }
            }
            3 => What::GroupView {
                group: r.text()?.parse().map_err(|_| r.invalid("group"))?,
                members: read_names(&mut r)?,
                cause: pick(&mut r, &[GroupCause::Joined, GroupCause::Left, GroupCause::View])?,
            },
            4 => What::Message {
                from: read_name(&mut r)?,
                number: r.varint()?,
                bytes: read_size(&mut r)?,
                digest: r.u64()?,
                view: read_view(&mut r)?,
                own: r.u8()? == 1,
            },
            5 => What::Sent {
                number: r.varint()?,
                bytes: read_size(&mut r)?,
                digest: r.u64()?,
                to: read_destinations(&mut r)?,
                only_in: read_optional_view(&mut r)?,
                took_micros: r.varint()?,
            },
            6 => What::NotSent { number: r.varint()?, error: r.text()?.into(), took_micros: r.varint()? },
            7 => What::SendReady,
            8 => What::Lost { reason: pick(&mut r, &LOST_REASONS)? },
            9 => What::Notice { severity: pick(&mut r, &SEVERITIES)?, text: r.text()?.into() },
            10 => What::Figures {
                unknown_unicast: r.varint()?,
                gaps: r.varint()?,
                messages_delivered: r.varint()?,
                unread_bytes: read_size(&mut r)?,
            },
            _ => return Err(r.invalid("record")),
        };
        r.finish()?;
        Ok(Self { at, what })
    }
}

// Each table lists the variants in the order of their declaration, which is what `as u8` writes.
const LEAVE_REASONS: [LeaveReason; 6] = [
    LeaveReason::Left,
    LeaveReason::ProcessDown,
    LeaveReason::NodeDown,
    LeaveReason::Heartbeat,
    LeaveReason::Silent,
    LeaveReason::Refused,
];
const LOST_REASONS: [LostReason; 6] = [
    LostReason::Daemon,
    LostReason::Overrun,
    LostReason::Expelled,
    LostReason::OwnGap,
    LostReason::Protocol,
    LostReason::Local,
];
const SEVERITIES: [Severity; 6] = [
    Severity::Debug,
    Severity::Info,
    Severity::Notice,
    Severity::Warning,
    Severity::Error,
    Severity::Critical,
];

fn pick<T: Copy>(reader: &mut Reader<'_>, table: &[T]) -> Result<T, WireError> {
    let index = reader.u8()?;
    table.get(usize::from(index)).copied().ok_or_else(|| reader.invalid("variant"))
}

fn read_name(reader: &mut Reader<'_>) -> Result<PrivateName, WireError> {
    reader.text()?.parse().map_err(|_| reader.invalid("private name"))
}

fn read_size(reader: &mut Reader<'_>) -> Result<usize, WireError> {
    usize::try_from(reader.varint()?).map_err(|_| reader.invalid("size"))
}
