//! ROUND, HELLO and INSTALL: how members are admitted.

use super::member::{read_member_info, write_member_info};
use super::{read_raw_id, write_raw_id};
use crate::carrier::RawId;
use crate::event::{LeaveReason, MemberInfo};
use alloc::vec::Vec;
use postfleet_types::{Epoch, GroupName, Reader, WireError, Writer};

/// Asks everybody for a HELLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Keeps answers to an earlier round from being counted.
    pub nonce: u64,
    /// Whether it may end in an INSTALL: members hold back what they have to send from their HELLO on. The other kind
    /// only finds out who is silent.
    pub decides: bool,
    /// Epochs that may not be admitted; normally none.
    pub excluded: Vec<Epoch>,
}

/// What a member says about itself in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The round that is answered.
    pub nonce: u64,
    /// Counter of the installed view; zero if none is.
    pub counter: u64,
    /// The counter of the view that admitted it; zero if it never was.
    pub age: u64,
    /// The highest own number that had come back when this was sent. What lies between it and this message must
    /// be seen by everybody who saw the ROUND, so that a new member notices a hole where old members do.
    pub delivered: u64,
    /// The announcement.
    pub info: MemberInfo,
    /// Groups that it has joined so far.
    pub groups: Vec<GroupName>,
}

/// One entry of an [`Install`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The attachment.
    pub raw: RawId,
    /// Which connection of it.
    pub epoch: Epoch,
    /// Counter of the view that first admitted it.
    pub age: u64,
}

/// The decision of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// The round; also the tag of the new view.
    pub nonce: u64,
    /// The counter of the new view.
    pub counter: u64,
    /// The bus protocol that all admitted members share.
    pub protocol: u16,
    /// The members.
    pub admitted: Vec<Admitted>,
    /// Attachments that are not members, and why.
    pub others: Vec<(RawId, LeaveReason)>,
}

impl Round {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u64(self.nonce).u8(u8::from(self.decides)).count(self.excluded.len());
        for epoch in &self.excluded {
            writer.u64(epoch.0);
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let nonce = reader.u64()?;
        let decides = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(reader.invalid("kind of round")),
        };
        let count = reader.count(8)?;
        let mut excluded = Vec::with_capacity(count);
        for _ in 0..count {
            excluded.push(Epoch(reader.u64()?));
        }
        Ok(Self { nonce, decides, excluded })
    }
}

impl Hello {
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.u64(self.nonce).u64(self.counter).u64(self.age).u64(self.delivered);
        write_member_info(writer, &self.info);
        writer.count(self.groups.len());
        for group in &self.groups {
            writer.text(group.as_str());
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let nonce = reader.u64()?;
        let counter = reader.u64()?;
        let age = reader.u64()?;
        let delivered = reader.u64()?;
        let info = read_member_info(reader)?;
        let count = reader.count(2)?;
        let mut groups = Vec::with_capacity(count);
        for _ in 0..count {
            groups.push(reader.text()?.parse().map_err(|_| reader.invalid("group"))?);
        }
        Ok(Self { nonce, counter, age, delivered, info, groups })
    }
}

impl Install {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u64(self.nonce).u64(self.counter).u16(self.protocol).count(self.admitted.len());
        for admitted in &self.admitted {
            write_raw_id(writer, admitted.raw);
            writer.u64(admitted.epoch.0).u64(admitted.age);
        }
        writer.count(self.others.len());
        for (raw, reason) in &self.others {
            write_raw_id(writer, *raw);
            writer.u8(match reason {
                LeaveReason::Left => 1,
                LeaveReason::ProcessDown => 2,
                LeaveReason::NodeDown => 3,
                LeaveReason::Heartbeat => 4,
                LeaveReason::Silent => 5,
                LeaveReason::Refused => 6,
            });
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let nonce = reader.u64()?;
        let counter = reader.u64()?;
        let protocol = reader.u16()?;
        let count = reader.count(24)?;
        let mut admitted = Vec::with_capacity(count);
        for _ in 0..count {
            let raw = read_raw_id(reader)?;
            admitted.push(Admitted { raw, epoch: Epoch(reader.u64()?), age: reader.u64()? });
        }
        let count = reader.count(9)?;
        let mut others = Vec::with_capacity(count);
        for _ in 0..count {
            let raw = read_raw_id(reader)?;
            let reason = match reader.u8()? {
                1 => LeaveReason::Left,
                2 => LeaveReason::ProcessDown,
                3 => LeaveReason::NodeDown,
                4 => LeaveReason::Heartbeat,
                5 => LeaveReason::Silent,
                6 => LeaveReason::Refused,
                _ => return Err(reader.invalid("reason")),
            };
            others.push((raw, reason));
        }
        Ok(Self { nonce, counter, protocol, admitted, others })
    }
}
