//! The envelope around every message of the layer: who sent it, its number, where it goes.
//!
//! Drawn byte by byte in `docs/formats/bus-envelope.md`. Bytes become checked types here and nowhere else.

mod admission;
mod heartbeat;
mod member;

pub use admission::{Admitted, Hello, Install, Round};
pub use heartbeat::{Heartbeat, Load};

use crate::carrier::RawId;
use crate::event::Destination;
use alloc::vec::Vec;
use bytes::Bytes;
use postfleet_types::{Epoch, GroupName, PrivateName, Reader, ViewId, WireError, Writer};

/// The first two bytes of every message.
pub const MAGIC: u16 = 0x4D42;
/// The version of this layout, and the only bus protocol spoken today.
pub const VERSION: u8 = 1;
/// The longest payload of one message, promise P23.
pub const PAYLOAD_BYTES_MAX: usize = 1_000_000;
/// The longest header. With the longest payload it stays below every carrier's `bytes_max`.
pub const HEADER_BYTES_MAX: usize = 4096;

const FLAG_MANAGERS_ONLY: u16 = 1;
const FLAG_VIEW_BOUND: u16 = 2;
const FLAG_COMPRESSED: u16 = 4;
const FLAGS_KNOWN: u16 = FLAG_MANAGERS_ONLY | FLAG_VIEW_BOUND | FLAG_COMPRESSED;

/// Why a message was not understood. Its sender is at fault (or newer); the message is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Something else talks on this bus.
    #[error("the message does not begin with the bus's magic number")]
    Magic,
    /// The sender speaks a later envelope.
    #[error("envelope version {0} is not understood here")]
    Version(u8),
    /// A type that this version does not know.
    #[error("unknown message type {0}")]
    UnknownType(u8),
    /// The payload is compressed, or a flag is set that this version does not know.
    #[error("the flags {0:#06x} are not supported here")]
    Flags(u16),
    /// The header is longer than [`HEADER_BYTES_MAX`] or the payload longer than [`PAYLOAD_BYTES_MAX`].
    #[error("the header or the payload is too long")]
    TooLong,
    /// A field is cut short or holds a value that is not allowed.
    #[error("malformed message")]
    Wire(#[from] WireError),
}

/// The part in front of every body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The type as it was received; [`Body::decode`] knows which exist.
    pub type_code: u8,
    /// Only managers among the addressed take it.
    pub managers_only: bool,
    /// Deliver in `view` or nowhere.
    pub view_bound: bool,
    /// The payload is compressed; refused.
    pub compressed: bool,
    /// The application's kind; zero unless the type is DATA.
    pub kind: u16,
    /// The sender's epoch.
    pub epoch: Epoch,
    /// 1, 2, 3 … for each epoch, all types.
    pub sequence: u64,
    /// The sender's installed view, or the one it is bound to.
    pub view: ViewId,
    /// Where it goes; for JOIN and LEAVE the one group.
    pub to: Vec<Destination>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An answer to a ROUND.
    Hello(Hello),
    /// The end of a round: a new view.
    Install(Install),
    /// The sender joins the group.
    Join(GroupName),
    /// The sender leaves the group.
    Leave(GroupName),
    /// The application's bytes.
    Data(Bytes),
    /// The sender's last message before an orderly leave.
    Bye,
    /// A sign of life of the sender's event loop.
    Heartbeat(Heartbeat),
    /// The start of a round.
    Round(Round),
}

impl Body {
    const fn type_code(&self) -> u8 {
        match self {
            Self::Hello(_) => 1,
            Self::Install(_) => 2,
            Self::Join(_) => 3,
            Self::Leave(_) => 4,
            Self::Data(_) => 5,
            Self::Bye => 6,
            Self::Heartbeat(_) => 7,
            Self::Round(_) => 8,
        }
    }

    /// Reads the body that follows `header`, beginning at byte `at` of the message. DATA shares the message's
    /// memory.
    ///
    /// # Errors
    /// As [`EnvelopeError`].
    pub fn decode(header: &Header, message: &Bytes, at: usize) -> Result<Self, EnvelopeError> {
        if header.compressed {
            return Err(EnvelopeError::Flags(FLAG_COMPRESSED));
        }
        let rest = message.get(at..).unwrap_or_default();
        let mut reader = Reader::new(rest);
        // Bytes behind the last known field of a body are a later version's and skipped.
        match header.type_code {
            1 => Ok(Self::Hello(Hello::decode(&mut reader)?)),
            2 => Ok(Self::Install(Install::decode(&mut reader)?)),
            3 => Ok(Self::Join(only_group(header)?)),
            4 => Ok(Self::Leave(only_group(header)?)),
            5 if rest.len() > PAYLOAD_BYTES_MAX => Err(EnvelopeError::TooLong),
            5 => Ok(Self::Data(message.slice(message.len() - rest.len()..))),
            6 => Ok(Self::Bye),
            7 => Ok(Self::Heartbeat(Heartbeat::decode(&mut reader)?)),
            8 => Ok(Self::Round(Round::decode(&mut reader)?)),
            other => Err(EnvelopeError::UnknownType(other)),
        }
    }
}

fn only_group(header: &Header) -> Result<GroupName, EnvelopeError> {
    match header.to.as_slice() {
        [Destination::Group(group)] => Ok(group.clone()),
        _ => Err(WireError::Invalid { field: "group", at: 0 }.into()),
    }
}

impl Header {
    /// A header for `body` without flags and destinations.
    #[must_use]
    pub const fn new(body: &Body, epoch: Epoch, sequence: u64, view: ViewId) -> Self {
        Self {
            type_code: body.type_code(),
            managers_only: false,
            view_bound: false,
            compressed: false,
            kind: 0,
            epoch,
            sequence,
            view,
            to: Vec::new(),
        }
    }

    /// The bytes a header with these destinations takes, or `None` when they do not fit one.
    #[must_use]
    pub fn bytes(to: &[Destination]) -> Option<usize> {
        const FIXED: usize = 2 + 1 + 1 + 2 + 2 + 8 + 8 + 16 + 1;
        let names: usize = to.iter().map(|destination| 1 + destination_text(destination).len()).sum();
        let bytes = FIXED + names;
        (to.len() <= 255 && bytes <= HEADER_BYTES_MAX).then_some(bytes)
    }

    /// Reads a header; the second value is where the body begins.
    ///
    /// # Errors
    /// As [`EnvelopeError`], but an unknown type is left to [`Body::decode`], so that its number still counts.
    pub fn decode(message: &[u8]) -> Result<(Self, usize), EnvelopeError> {
        let mut reader = Reader::new(message);
        if reader.u16()? != MAGIC {
            return Err(EnvelopeError::Magic);
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EnvelopeError::Version(version));
        }
        let type_code = reader.u8()?;
        let flags = reader.u16()?;
        if flags & !FLAGS_KNOWN != 0 {
            return Err(EnvelopeError::Flags(flags));
        }
        let kind = reader.u16()?;
        let epoch = Epoch(reader.u64()?);
        let sequence = reader.u64()?;
        let view = ViewId { counter: reader.u64()?, tag: reader.u64()? };
        let count = reader.u8()?;
        let mut to = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let length = reader.u8()?;
            to.push(parse_destination(&mut reader, usize::from(length))?);
        }
        let at = reader.position();
        if at > HEADER_BYTES_MAX {
            return Err(EnvelopeError::TooLong);
        }
        let header = Self {
            type_code,
            managers_only: flags & FLAG_MANAGERS_ONLY != 0,
            view_bound: flags & FLAG_VIEW_BOUND != 0,
            compressed: flags & FLAG_COMPRESSED != 0,
            kind,
            epoch,
            sequence,
            view,
            to,
        };
        Ok((header, at))
    }

    /// The message as bytes. The payload of DATA is copied once, into place.
    #[must_use]
    pub fn encode(&self, body: &Body) -> Bytes {
        let mut writer = Writer::new();
        let flags = u16::from(self.managers_only) * FLAG_MANAGERS_ONLY
            + u16::from(self.view_bound) * FLAG_VIEW_BOUND
            + u16::from(self.compressed) * FLAG_COMPRESSED;
        writer.u16(MAGIC).u8(VERSION).u8(self.type_code).u16(flags).u16(self.kind).u64(self.epoch.0);
        writer.u64(self.sequence).u64(self.view.counter).u64(self.view.tag);
        let group;
        let to: &[Destination] = match body {
            Body::Join(name) | Body::Leave(name) => {
                group = [Destination::Group(name.clone())];
                &group
            }
            Body::Hello(_)
            | Body::Install(_)
            | Body::Data(_)
            | Body::Bye
            | Body::Heartbeat(_)
            | Body::Round(_) => &self.to,
        };
        writer.u8(u8::try_from(to.len()).unwrap_or(u8::MAX));
        for destination in to.iter().take(255) {
            let text = destination_text(destination);
            writer.u8(u8::try_from(text.len()).unwrap_or(u8::MAX)).raw(text.as_bytes());
        }
        match body {
            Body::Hello(hello) => hello.encode(&mut writer),
            Body::Install(install) => install.encode(&mut writer),
            Body::Data(payload) => {
                writer.raw(payload);
            }
            Body::Heartbeat(heartbeat) => heartbeat.encode(&mut writer),
            Body::Round(round) => round.encode(&mut writer),
            Body::Join(_) | Body::Leave(_) | Body::Bye => {}
        }
        Bytes::from(writer.finish())
    }
}

fn destination_text(destination: &Destination) -> &str {
    match destination {
        Destination::Group(group) => group.as_str(),
        Destination::Member(name) => name.as_str(),
    }
}

fn parse_destination(reader: &mut Reader<'_>, length: usize) -> Result<Destination, WireError> {
    let bytes = reader.take(length)?;
    let text = core::str::from_utf8(bytes).map_err(|_| reader.invalid("destination"))?;
    if text.starts_with('#') {
        text.parse::<PrivateName>().map(Destination::Member).map_err(|_| reader.invalid("destination"))
    } else {
        text.parse::<GroupName>().map(Destination::Group).map_err(|_| reader.invalid("destination"))
    }
}

fn write_raw_id(writer: &mut Writer, id: RawId) {
    writer.u32(id.major).u32(id.minor);
}

fn read_raw_id(reader: &mut Reader<'_>) -> Result<RawId, WireError> {
    Ok(RawId { major: reader.u32()?, minor: reader.u32()? })
}

/// Reads a whole message.
///
/// # Errors
/// As [`EnvelopeError`].
pub fn decode(message: &Bytes) -> Result<(Header, Body), EnvelopeError> {
    let (header, at) = Header::decode(message)?;
    let body = Body::decode(&header, message, at)?;
    Ok((header, body))
}

/// The entry for fuzzing: any bytes are read or refused, and what was read survives being written and read again.
///
/// # Panics
/// When it does not.
pub fn fuzz(data: &[u8]) {
    let message = Bytes::copy_from_slice(data);
    if let Ok((header, body)) = decode(&message) {
        let again = decode(&header.encode(&body));
        assert_eq!(again, Ok((header, body)), "a message changed when it was written and read again");
    }
}

#[cfg(test)]
mod tests;
