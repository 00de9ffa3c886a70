//! The file of a transaction, byte by byte: `docs/formats/spool.md` has the drawing.
//!
//! ```text
//! preamble | envelope | checksum | content | trailer | footer
//! ```
//!
//! Everything that is known before the content comes stands in front of it, the rest behind it, so a message of
//! any size is written once, from front to back.

use alloc::string::String;
use alloc::vec::Vec;

use postfleet_types::{Reader, WireError, Writer};

use crate::envelope::{Envelope, EnvelopeError, byte, put, set};
use crate::id::MessageId;

/// The first bytes of every file.
pub const MAGIC: [u8; 8] = *b"PFSPOOL\n";
/// The last bytes of every file.
pub const END: [u8; 4] = *b"PFE\n";
/// The version that this crate writes, and the highest that it reads. It grows only when a change is one that an
/// older reader must not skip.
pub const VERSION: u16 = 1;
/// Bytes of magic, version, reserved and envelope length.
pub const PREAMBLE_BYTES: usize = 16;
/// Bytes of the fixed end of every file.
pub const FOOTER_BYTES: usize = 24;
/// The longest envelope that is written or read: more than 50,000 recipients with addresses of full length are
/// refused when the draft is made.
pub const ENVELOPE_BYTES_MAX: usize = 32 << 20;
/// The longest trailer that is read. Version 1 writes less than 16 bytes.
pub const TRAILER_BYTES_MAX: usize = 64 << 10;

const CHECKSUM_BYTES: usize = 4;

/// Why a file could not be read. The disk (or who wrote the file) is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The file does not begin like a message file.
    #[error("not a message file of this spool")]
    NotOurs,
    /// The file was written by a later version of the program.
    #[error("format version {found}, but this program reads up to {VERSION}")]
    Newer {
        /// The version in the file.
        found: u16,
    },
    /// The lengths in the file do not add up to its size.
    #[error("the file is {found} bytes long; its parts call for {expected}")]
    Length {
        /// The size of the file.
        found: u64,
        /// What its parts add up to, at least.
        expected: u64,
    },
    /// A part is longer than any that is ever written.
    #[error("the {part} claims {claimed} bytes; at most {max} are possible")]
    TooLong {
        /// `envelope` or `trailer`.
        part: &'static str,
        /// The length in the file.
        claimed: u64,
        /// The longest possible.
        max: u64,
    },
    /// A checksum differs.
    #[error("the checksum of the {part} differs")]
    Checksum {
        /// `envelope`, `content` or `footer`.
        part: &'static str,
    },
    /// The end mark is missing.
    #[error("the file does not end with the end mark")]
    NoEnd,
    /// The envelope's fields are wrong though its checksum holds.
    #[error("the envelope cannot be read")]
    Envelope(#[source] EnvelopeError),
    /// The trailer's fields are wrong though its checksum holds.
    #[error("the trailer cannot be read")]
    Trailer(#[source] EnvelopeError),
    /// The file lies under the name of another transaction.
    #[error("the envelope belongs to {batch}, not to the name of the file")]
    OtherName {
        /// The id in the envelope.
        batch: MessageId,
    },
    /// The name of the file is no message id.
    #[error("the name of the file is no message id")]
    NoName,
}

/// What was found out about the content while it came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// Whether a byte above 127 occurs.
    pub eight_bit: bool,
}

mod trailer_field {
    pub(super) const EIGHT_BIT: u64 = 1;
}

/// Preamble, envelope and its checksum: all that precedes the content.
pub(crate) fn encode_front(envelope: &Envelope) -> Result<Vec<u8>, FormatError> {
    let fields = envelope.encode();
    let too_long = || FormatError::TooLong {
        part: "envelope",
        claimed: fields.len() as u64,
        max: ENVELOPE_BYTES_MAX as u64,
    };
    let length = u32::try_from(fields.len()).map_err(|_| too_long())?;
    if fields.len() > ENVELOPE_BYTES_MAX {
        return Err(too_long());
    }
    let mut out = Writer::new();
    out.raw(&MAGIC).u16(VERSION).u16(0).u32(length).raw(&fields);
    let mut bytes = out.finish();
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    Ok(bytes)
}

/// Trailer and footer: all that follows the content.
pub(crate) fn encode_back(content_bytes: u64, content_checksum: u32, traits: Traits) -> Vec<u8> {
    let mut trailer = Writer::new();
    if traits.eight_bit {
        put(&mut trailer, trailer_field::EIGHT_BIT, &[1]);
    }
    let trailer_bytes = u32::try_from(trailer.len()).unwrap_or(u32::MAX);
    trailer.u64(content_bytes).u32(trailer_bytes).u32(content_checksum);
    let mut bytes = trailer.finish();
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes.extend_from_slice(&END);
    bytes
}

/// The length of preamble, envelope and checksum, as the first [`PREAMBLE_BYTES`] bytes of a file say.
///
/// # Errors
/// [`FormatError`] when they are not the beginning of a message file.
pub(crate) fn front_bytes(preamble: &[u8]) -> Result<usize, FormatError> {
    let not_ours = |_: WireError| FormatError::NotOurs;
    let mut reader = Reader::new(preamble);
    if reader.array().map_err(not_ours)? != MAGIC {
        return Err(FormatError::NotOurs);
    }
    let version = reader.u16().map_err(not_ours)?;
    if version > VERSION {
        return Err(FormatError::Newer { found: version });
    }
    if version == 0 {
        return Err(FormatError::NotOurs);
    }
    let _reserved = reader.u16().map_err(not_ours)?;
    let claimed = reader.u32().map_err(not_ours)?;
    match usize::try_from(claimed) {
        Ok(length) if length <= ENVELOPE_BYTES_MAX => Ok(PREAMBLE_BYTES + length + CHECKSUM_BYTES),
        Ok(_) | Err(_) => Err(FormatError::TooLong {
            part: "envelope",
            claimed: claimed.into(),
            max: ENVELOPE_BYTES_MAX as u64,
        }),
    }
}

/// Reads preamble, envelope and checksum; `front` is exactly as long as [`front_bytes`] said.
pub(crate) fn decode_front(front: &[u8]) -> Result<Envelope, FormatError> {
    let damaged = FormatError::Checksum { part: "envelope" };
    let (covered, checksum) = front.split_last_chunk::<CHECKSUM_BYTES>().ok_or(damaged.clone())?;
    if crc32fast::hash(covered) != u32::from_be_bytes(*checksum) {
        return Err(damaged);
    }
    Envelope::decode(covered.get(PREAMBLE_BYTES..).unwrap_or_default()).map_err(FormatError::Envelope)
}

/// The fixed end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) content_bytes: u64,
    pub(crate) trailer_bytes: usize,
    pub(crate) content_checksum: u32,
    checksum: u32,
}

impl Footer {
    /// Reads the last [`FOOTER_BYTES`] bytes of a file. The checksum is looked at by [`Footer::decode_trailer`].
    pub(crate) fn decode(footer: &[u8; FOOTER_BYTES]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(footer);
        let mut read = || {
            let content_bytes = reader.u64()?;
            let trailer_bytes = reader.u32()?;
            Ok::<_, WireError>((content_bytes, trailer_bytes, reader.u32()?, reader.u32()?, reader.array()?))
        };
        let (content_bytes, claimed, content_checksum, checksum, end) =
            read().map_err(|_| FormatError::NoEnd)?;
        if end != END {
            return Err(FormatError::NoEnd);
        }
        match usize::try_from(claimed) {
            Ok(trailer_bytes) if trailer_bytes <= TRAILER_BYTES_MAX => {
                Ok(Self { content_bytes, trailer_bytes, content_checksum, checksum })
            }
            Ok(_) | Err(_) => Err(FormatError::TooLong {
                part: "trailer",
                claimed: claimed.into(),
                max: TRAILER_BYTES_MAX as u64,
            }),
        }
    }

    /// Reads the trailer; `back` is the trailer's fields and the footer.
    pub(crate) fn decode_trailer(&self, back: &[u8]) -> Result<Traits, FormatError> {
        let damaged = FormatError::Checksum { part: "footer" };
        let covered = back
            .len()
            .checked_sub(CHECKSUM_BYTES + END.len())
            .and_then(|covered| back.get(..covered))
            .ok_or(damaged.clone())?;
        if crc32fast::hash(covered) != self.checksum {
            return Err(damaged);
        }
        decode_traits(back.get(..self.trailer_bytes).unwrap_or_default()).map_err(FormatError::Trailer)
    }

    /// Checks that the parts add up to the size of the file.
    pub(crate) fn check_length(&self, file_bytes: u64, front_bytes: usize) -> Result<(), FormatError> {
        let around = (front_bytes + self.trailer_bytes + FOOTER_BYTES) as u64;
        let expected = self.content_bytes.saturating_add(around);
        if expected == file_bytes { Ok(()) } else { Err(FormatError::Length { found: file_bytes, expected }) }
    }
}

fn decode_traits(bytes: &[u8]) -> Result<Traits, EnvelopeError> {
    let mut eight_bit = None;
    let mut fields = Reader::new(bytes);
    while !fields.rest().is_empty() {
        let number = fields.varint()?;
        let mut value = Reader::new(fields.bytes()?);
        if number == trailer_field::EIGHT_BIT {
            if byte(&mut value)? != 1 {
                return Err(value.invalid("eight bit").into());
            }
            set(&mut eight_bit, "eight bit", true)?;
        }
    }
    Ok(Traits { eight_bit: eight_bit.unwrap_or(false) })
}

/// A whole message file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFile<'a> {
    /// The envelope.
    pub envelope: Envelope,
    /// The content as received: CRLF line ends, dots unstuffed.
    pub content: &'a [u8],
    /// What is known about the content.
    pub traits: Traits,
}

impl<'a> MessageFile<'a> {
    /// Reads a whole file from memory and checks every checksum.
    ///
    /// # Errors
    /// [`FormatError`]; never panics, whatever the bytes are.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let front_bytes = front_bytes(bytes)?;
        let found = bytes.len() as u64;
        let at_least = front_bytes + FOOTER_BYTES;
        if bytes.len() < at_least {
            return Err(FormatError::Length { found, expected: at_least as u64 });
        }
        let (front, rest) =
            bytes.split_at_checked(front_bytes).ok_or(FormatError::Length { found, expected: found })?;
        let envelope = decode_front(front)?;
        let (_, footer) = rest.split_last_chunk::<FOOTER_BYTES>().ok_or(FormatError::NoEnd)?;
        let footer = Footer::decode(footer)?;
        footer.check_length(found, front_bytes)?;
        let content_bytes = usize::try_from(footer.content_bytes).unwrap_or(usize::MAX);
        let (content, back) = rest
            .split_at_checked(content_bytes)
            .ok_or(FormatError::Length { found, expected: footer.content_bytes })?;
        let traits = footer.decode_trailer(back)?;
        if crc32fast::hash(content) != footer.content_checksum {
            return Err(FormatError::Checksum { part: "content" });
        }
        Ok(Self { envelope, content, traits })
    }

    /// Writes a whole file into memory.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] when the envelope is longer than [`ENVELOPE_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut bytes = encode_front(&self.envelope)?;
        bytes.extend_from_slice(self.content);
        let back = encode_back(self.content.len() as u64, crc32fast::hash(self.content), self.traits);
        bytes.extend_from_slice(&back);
        Ok(bytes)
    }
}

/// The id that a file's name stands for.
pub(crate) fn id_of_name(name: &str) -> Result<MessageId, FormatError> {
    MessageId::from_file_name(name).map_err(|_| FormatError::NoName)
}

/// Checks that a file lies under its own name.
pub(crate) fn check_name(envelope: &Envelope, name: MessageId) -> Result<(), FormatError> {
    if envelope.batch == name { Ok(()) } else { Err(FormatError::OtherName { batch: envelope.batch }) }
}

/// The fuzzing entry: any bytes are read or refused, and what was read is written and read again as the same.
///
/// # Panics
/// When that does not hold, which is what the fuzzer looks for.
pub fn fuzz_spool_file(bytes: &[u8]) {
    if let Ok(file) = MessageFile::parse(bytes) {
        let written = file.encode().unwrap_or_default();
        let again = MessageFile::parse(&written);
        assert_eq!(again.as_ref(), Ok(&file), "written and read again it differs");
    }
    if let Ok(name) = core::str::from_utf8(bytes)
        && let Ok(id) = MessageId::from_file_name(name)
    {
        assert_eq!(id.file_name(), String::from(name), "a name has one form");
    }
}
