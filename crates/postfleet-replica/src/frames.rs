//! The frames of a fetch, point to point. Layout: docs/formats/replication.md, section 6.
//!
//! A frame is a length of four bytes, a type byte, and content. Unknown types are skipped, and so is what follows
//! the known part of a frame's content.

use crate::wire::{MESSAGE_VERSION, MessageError, field, fields, object_name, open};
use alloc::vec::Vec;
use bytes::Bytes;
use postfleet_types::{PrivateName, Reader, WireError, Writer};

/// The longest frame behind its length, in bytes: twice the longest chunk, so that a later release may say more.
pub const FRAME_BYTES_MAX: usize = 128 * 1024;

/// Objects that one request may name. A configuration has some tens.
const OBJECTS_MAX: usize = 4096;

const REQUEST: u8 = 1;
const CHUNK: u8 = 2;
const END: u8 = 3;
const REFUSED: u8 = 4;
const WAIT: u8 = 5;

/// A length that no frame has. The peer is at fault; the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes; 1 to {FRAME_BYTES_MAX} are allowed")]
pub struct FrameLengthError(pub u32);

/// The length of the frame behind these four bytes.
///
/// # Errors
/// [`FrameLengthError`] when it is zero or above [`FRAME_BYTES_MAX`].
pub fn frame_length(bytes: [u8; 4]) -> Result<usize, FrameLengthError> {
    let length = u32::from_be_bytes(bytes);
    match usize::try_from(length) {
        Ok(bytes @ 1..=FRAME_BYTES_MAX) => Ok(bytes),
        Ok(_) | Err(_) => Err(FrameLengthError(length)),
    }
}

/// Why an origin does not serve a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It does not hold that cut (any more).
    NoSuchCut,
    /// The request does not follow the format.
    Malformed,
    /// It is being stopped, or has too much to do.
    NotNow,
}

impl Refusal {
    const ALL: [Self; 3] = [Self::NoSuchCut, Self::Malformed, Self::NotNow];

    const fn code(self) -> u64 {
        match self {
            Self::NoSuchCut => 1,
            Self::Malformed => 2,
            Self::NotNow => 3,
        }
    }
}

/// What a member wants of a cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// Who asks: the name of its shared connection.
    pub(crate) member: PrivateName,
    pub(crate) session: u64,
    /// Names of objects, and the first chunk of each that is missing.
    pub(crate) objects: Vec<(&'a str, usize)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Request(Request<'a>),
    /// A part of a column: its object's place in the marker, its number, the digest of the body.
    Chunk {
        object: usize,
        index: usize,
        digest: u64,
        body: &'a [u8],
    },
    /// Everything asked for has been sent.
    End,
    /// Nothing (more) will be sent. `None`: for a reason that this release does not know.
    Refused(Option<Refusal>),
    /// The sender is alive and has nothing to send yet.
    Wait,
    /// Of a later release.
    Unknown,
}

/// Writes a frame with its length.
pub(crate) fn write_frame(frame: &Frame<'_>) -> Bytes {
    let mut writer = Writer::new();
    match frame {
        Frame::Request(request) => {
            writer.u8(REQUEST).u8(MESSAGE_VERSION).text(request.member.as_str()).varint(request.session);
            for (name, first) in &request.objects {
                let mut object = Writer::new();
                object.text(name).count(*first);
                field(&mut writer, 1, object);
            }
        }
        Frame::Chunk { object, index, digest, body } => {
            writer.u8(CHUNK).count(*object).count(*index).u64(*digest).bytes(body);
        }
        Frame::End => {
            writer.u8(END);
        }
        Frame::Refused(refusal) => {
            writer.u8(REFUSED).varint(refusal.map_or(0, Refusal::code));
        }
        Frame::Wait | Frame::Unknown => {
            writer.u8(WAIT);
        }
    }
    let content = writer.finish();
    let mut framed = Vec::with_capacity(content.len() + 4);
    framed.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&content);
    Bytes::from(framed)
}

/// Reads what follows a length.
pub(crate) fn read_frame(content: &[u8]) -> Result<Frame<'_>, MessageError> {
    let mut reader = Reader::new(content);
    Ok(match reader.u8()? {
        REQUEST => Frame::Request(read_request(reader.rest())?),
        CHUNK => Frame::Chunk {
            object: number(&mut reader, "object")?,
            index: number(&mut reader, "chunk")?,
            digest: reader.u64()?,
            body: reader.bytes()?,
        },
        END => Frame::End,
        REFUSED => {
            let code = reader.varint()?;
            Frame::Refused(Refusal::ALL.into_iter().find(|refusal| refusal.code() == code))
        }
        WAIT => Frame::Wait,
        _ => Frame::Unknown,
    })
}

fn number(reader: &mut Reader<'_>, what: &'static str) -> Result<usize, WireError> {
    usize::try_from(reader.varint()?).map_err(|_| reader.invalid(what))
}

fn read_request(bytes: &[u8]) -> Result<Request<'_>, MessageError> {
    let mut reader = open(bytes)?;
    let name = reader.text()?;
    let member = name.parse().map_err(|_| reader.invalid("private name"))?;
    let session = reader.varint()?;
    let mut objects = Vec::new();
    fields(reader, |tag, reader| {
        if tag == 1 {
            if objects.len() >= OBJECTS_MAX {
                return Err(reader.invalid("objects"));
            }
            objects.push((object_name(reader)?, number(reader, "chunk")?));
        }
        Ok(())
    })?;
    Ok(Request { member, session, objects })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn comes_back(frame: &Frame<'_>) {
        let bytes = write_frame(frame);
        let (length, content) = bytes.split_at(4);
        assert_eq!(frame_length(length.try_into().unwrap()), Ok(content.len()));
        assert_eq!(read_frame(content).as_ref(), Ok(frame));
        // What a later release appends is skipped; a cut one is refused or means something else.
        if !matches!(frame, Frame::Request(_)) {
            let longer = [content, &[7, 7]].concat();
            assert_eq!(read_frame(&longer).as_ref(), Ok(frame));
        }
    }

    #[test]
    fn frames_come_back() {
        let member: PrivateName = "#ec1-00042#mx1".parse().unwrap();
        comes_back(&Frame::Request(Request { member: member.clone(), session: 300, objects: vec![] }));
        let objects = vec![("inbound_cidr", 0), ("x", 16_000)];
        comes_back(&Frame::Request(Request { member, session: 1, objects }));
        comes_back(&Frame::Chunk { object: 1, index: 200, digest: u64::MAX, body: b"abc" });
        comes_back(&Frame::End);
        comes_back(&Frame::Wait);
        for refusal in Refusal::ALL {
            comes_back(&Frame::Refused(Some(refusal)));
        }
        assert_eq!(read_frame(&[REFUSED, 99]), Ok(Frame::Refused(None)));
        assert_eq!(read_frame(&[200, 1, 2]), Ok(Frame::Unknown));
    }

    #[test]
    fn lengths_are_bounded() {
        for length in [0, u32::try_from(FRAME_BYTES_MAX).unwrap() + 1, u32::MAX] {
            assert_eq!(frame_length(length.to_be_bytes()), Err(FrameLengthError(length)));
        }
        assert_eq!(frame_length([0, 2, 0, 0]), Ok(FRAME_BYTES_MAX));
    }

    #[test]
    fn requests_of_another_form_are_refused() {
        assert!(read_frame(&[]).is_err());
        assert_eq!(read_frame(&[REQUEST, 9]), Err(MessageError::Version(9)));
        assert!(read_frame(&[REQUEST, 1, 2, b'm', b'x', 1]).is_err(), "not a private name");
        assert!(read_frame(&[CHUNK, 0, 0, 1, 2]).is_err(), "cut off");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(read_frame(&bytes));
        }
    }
}
