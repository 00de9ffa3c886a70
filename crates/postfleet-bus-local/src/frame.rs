//! The frames between an attachment and the hub. Layout: docs/formats/local-bus.md.

use crate::log::{Body, Change, Entry};
use crate::member::{Mark, MemberId};
use bytes::Bytes;
use postfleet_bus::carrier::{RawId, RawReason};
use postfleet_types::{Reader, WireError};

/// The protocol version that `ATTACH` names.
pub const VERSION: u8 = 1;

/// The longest message that can be submitted. The layer above needs 1 004 096.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The longest frame, without its length field. `HOLD` fills the most: about one message and one entry more.
pub const FRAME_BYTES_MAX: usize = 3 << 20;

/// Above this many bytes of entries a `HOLD` frame is closed and another begun.
const HOLD_BYTES: usize = 1 << 20;

const ATTACH: u8 = 1;
const SUBMIT: u8 = 2;
const ACK: u8 = 3;
const HOLD: u8 = 4;
const DETACH: u8 = 5;
const ENTRY: u8 = 17;
const FETCH: u8 = 18;
const GONE: u8 = 19;
const TICK: u8 = 20;
const KEEP: u8 = 21;

const MESSAGE: u8 = 1;
const CHANGE: u8 = 2;
const OWN: u8 = 3;

/// What an attachment tells the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToHub {
    /// The first frame of a stream.
    Attach(Attach),
    /// A message to be logged.
    Submit {
        /// One more than the submission before.
        no: u64,
        /// The message.
        bytes: Bytes,
    },
    /// Everything up to `seq` has been delivered.
    Ack {
        /// The number of the last entry delivered.
        seq: u64,
    },
    /// Entries that the hub asked for.
    Hold {
        /// In order, without holes.
        entries: Vec<Entry>,
    },
    /// The attachment leaves; all its submissions have come back.
    Detach,
}

/// Who attaches, and with what past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The version it speaks.
    pub version: u8,
    /// The bus it looks for.
    pub bus_name: String,
    /// Its identity.
    pub id: MemberId,
    /// What it has, when it was attached to an earlier hub.
    pub resume: Option<Resume>,
}

/// What an attachment brings from an earlier hub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Its last entry.
    pub last: Mark,
    /// The oldest entry it still keeps.
    pub held_from: u64,
    /// The number of the last own submission that came back.
    pub own_no: u64,
    /// The members of the last change it delivered.
    pub members: Vec<MemberId>,
}

/// What the hub tells an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromHub {
    /// The next entry of the log.
    Entry {
        /// Entries up to this number have been delivered by all.
        stable: u64,
        /// The entry.
        entry: Entry,
    },
    /// Entries from before the receiver joined, to be kept and not delivered: it may be the only one left to hand
    /// them on.
    Keep {
        /// In order, without holes.
        entries: Vec<Entry>,
    },
    /// The next entry of the log is the receiver's own submission, which it still keeps.
    Own {
        /// Entries up to this number have been delivered by all.
        stable: u64,
        /// Its place.
        mark: Mark,
        /// Which submission.
        no: u64,
    },
    /// The hub needs these entries, both ends included.
    Fetch {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// The receiver is no member and will not be one on this stream.
    Gone(Gone),
    /// The hub lives.
    Tick {
        /// Its generation.
        generation: u64,
        /// Entries up to this number have been delivered by all.
        stable: u64,
    },
}

/// Why the hub turns an attachment away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The others went on without it.
    Expelled,
    /// The versions differ.
    Version,
    /// The hub serves a bus of another name.
    BusName,
    /// It sent what the protocol does not allow.
    Protocol,
}

/// Why bytes are no frame. The peer is at fault; the stream cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field promises more than any frame has.
    #[error("a frame of {bytes} bytes; the longest has {FRAME_BYTES_MAX}")]
    TooLong {
        /// What it promises.
        bytes: usize,
    },
    /// The type is none of this direction.
    #[error("a frame of the unknown type {kind}")]
    Type {
        /// The type.
        kind: u8,
    },
    /// A field is wrong.
    #[error("a damaged frame")]
    Field(#[from] WireError),
}

/// A whole frame: its type, its body, and how many bytes it takes in all.
pub type Split<'a> = (u8, &'a [u8], usize);

/// Finds the first whole frame.
///
/// `None`: the bytes end before the frame does.
///
/// # Errors
/// [`FrameError::TooLong`], before anything is reserved for it.
pub fn split(bytes: &[u8]) -> Result<Option<Split<'_>>, FrameError> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { bytes: length });
    }
    if length == 0 {
        return Err(FrameError::Field(WireError::Truncated { at: 4, missing: 1 }));
    }
    let Some((kind, body)) = rest.get(..length).and_then(<[u8]>::split_first) else { return Ok(None) };
    Ok(Some((*kind, body, 4 + length)))
}

/// How long the first frame will be in all, when its length field is there; a hint for reading.
#[must_use]
pub fn expected(bytes: &[u8]) -> usize {
    bytes.first_chunk::<4>().map_or(0, |length| {
        usize::try_from(u32::from_be_bytes(*length)).unwrap_or(0).min(FRAME_BYTES_MAX).saturating_add(4)
    })
}

fn frame(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    body(out);
    let length = u32::try_from(out.len().saturating_sub(start + 4)).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_raw(out: &mut Vec<u8>, raw: RawId) {
    out.extend_from_slice(&raw.major.to_be_bytes());
    out.extend_from_slice(&raw.minor.to_be_bytes());
}

fn put_member(out: &mut Vec<u8>, id: MemberId) {
    put_raw(out, id.raw);
    put_u64(out, id.started);
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
}

fn put_members(out: &mut Vec<u8>, members: &[MemberId]) {
    put_count(out, members.len());
    for id in members {
        put_member(out, *id);
    }
}

fn put_mark(out: &mut Vec<u8>, mark: Mark) {
    put_u64(out, mark.generation);
    put_u64(out, mark.seq);
}

fn put_body(out: &mut Vec<u8>, body: &Body) {
    match body {
        Body::Message { from, no, bytes } => {
            out.push(MESSAGE);
            put_raw(out, *from);
            put_u64(out, *no);
            out.extend_from_slice(bytes);
        }
        Body::Change(change) => {
            out.push(CHANGE);
            put_members(out, &change.members);
            put_count(out, change.left.len());
            for (id, reason) in &change.left {
                put_member(out, *id);
                out.push(match reason {
                    RawReason::Left => 2,
                    RawReason::NodeDown => 3,
                    RawReason::ProcessDown => 5,
                });
            }
            put_members(out, &change.joined);
        }
    }
}

/// Appends an `ENTRY` frame.
pub fn put_entry(out: &mut Vec<u8>, stable: u64, entry: &Entry) {
    frame(out, ENTRY, |out| {
        put_mark(out, entry.mark);
        put_u64(out, stable);
        put_body(out, &entry.body);
    });
}

/// Appends an `ENTRY` frame in the short form for the sender.
pub fn put_own(out: &mut Vec<u8>, stable: u64, mark: Mark, no: u64) {
    frame(out, ENTRY, |out| {
        put_mark(out, mark);
        put_u64(out, stable);
        out.push(OWN);
        put_u64(out, no);
    });
}

/// Entries in as many frames as they need.
fn put_entries(out: &mut Vec<u8>, kind: u8, entries: &[Entry]) {
    let mut left = entries;
    while !left.is_empty() {
        frame(out, kind, |out| {
            let start = out.len();
            while let Some((entry, after)) = left.split_first() {
                let at = out.len();
                out.extend_from_slice(&[0; 4]);
                put_mark(out, entry.mark);
                put_body(out, &entry.body);
                let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
                if let Some(field) = out.get_mut(at..at + 4) {
                    field.copy_from_slice(&length.to_be_bytes());
                }
                left = after;
                if out.len() - start > HOLD_BYTES {
                    break;
                }
            }
        });
    }
}

impl ToHub {
    /// Appends the frame. A `Hold` too long for one becomes several.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Attach(attach) => frame(out, ATTACH, |out| {
                out.push(attach.version);
                put_member(out, attach.id);
                let name = attach.bus_name.as_bytes();
                let name = name.get(..usize::from(u8::MAX)).unwrap_or(name);
                out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
                out.extend_from_slice(name);
                match &attach.resume {
                    None => out.push(0),
                    Some(resume) => {
                        out.push(1);
                        put_mark(out, resume.last);
                        put_u64(out, resume.held_from);
                        put_u64(out, resume.own_no);
                        put_members(out, &resume.members);
                    }
                }
            }),
            Self::Submit { no, bytes } => frame(out, SUBMIT, |out| {
                put_u64(out, *no);
                out.extend_from_slice(bytes);
            }),
            Self::Ack { seq } => frame(out, ACK, |out| put_u64(out, *seq)),
            Self::Hold { entries } => put_entries(out, HOLD, entries),
            Self::Detach => frame(out, DETACH, |_| {}),
        }
    }

    /// Reads a frame that [`split`] found.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn decode(kind: u8, body: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader::new(body);
        let frame = match kind {
            ATTACH => Self::Attach(attach(&mut reader)?),
            SUBMIT => Self::Submit { no: reader.u64()?, bytes: message(&mut reader)? },
            ACK => Self::Ack { seq: reader.u64()? },
            HOLD => Self::Hold { entries: entries(&mut reader)? },
            DETACH => Self::Detach,
            kind => return Err(FrameError::Type { kind }),
        };
        reader.finish()?;
        Ok(frame)
    }
}

impl FromHub {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entry { stable, entry } => put_entry(out, *stable, entry),
            Self::Keep { entries } => put_entries(out, KEEP, entries),
            Self::Own { stable, mark, no } => put_own(out, *stable, *mark, *no),
            Self::Fetch { from, to } => frame(out, FETCH, |out| {
                put_u64(out, *from);
                put_u64(out, *to);
            }),
            Self::Gone(why) => frame(out, GONE, |out| {
                out.push(match why {
                    Gone::Expelled => 0,
                    Gone::Version => 1,
                    Gone::BusName => 2,
                    Gone::Protocol => 3,
                });
            }),
            Self::Tick { generation, stable } => frame(out, TICK, |out| {
                put_u64(out, *generation);
                put_u64(out, *stable);
            }),
        }
    }

    /// Reads a frame that [`split`] found.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn decode(kind: u8, body: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader::new(body);
        let frame = match kind {
            ENTRY => {
                let mark = mark(&mut reader)?;
                let stable = reader.u64()?;
                match reader.u8()? {
                    OWN => Self::Own { stable, mark, no: reader.u64()? },
                    kind => {
                        Self::Entry { stable, entry: Entry { mark, body: entry_body(&mut reader, kind)? } }
                    }
                }
            }
            KEEP => Self::Keep { entries: entries(&mut reader)? },
            FETCH => Self::Fetch { from: reader.u64()?, to: reader.u64()? },
            GONE => Self::Gone(match reader.u8()? {
                0 => Gone::Expelled,
                1 => Gone::Version,
                2 => Gone::BusName,
                3 => Gone::Protocol,
                _ => return Err(reader.invalid("reason").into()),
            }),
            TICK => Self::Tick { generation: reader.u64()?, stable: reader.u64()? },
            kind => return Err(FrameError::Type { kind }),
        };
        reader.finish()?;
        Ok(frame)
    }
}

fn attach(reader: &mut Reader<'_>) -> Result<Attach, WireError> {
    let version = reader.u8()?;
    let id = member(reader)?;
    let length = usize::from(reader.u8()?);
    let name = reader.take(length)?;
    let bus_name = core::str::from_utf8(name).map_err(|_| reader.invalid("bus name"))?.to_owned();
    let resume = match reader.u8()? {
        0 => None,
        1 => Some(Resume {
            last: mark(reader)?,
            held_from: reader.u64()?,
            own_no: reader.u64()?,
            members: members(reader)?,
        }),
        _ => return Err(reader.invalid("resume")),
    };
    Ok(Attach { version, bus_name, id, resume })
}

fn message(reader: &mut Reader<'_>) -> Result<Bytes, WireError> {
    let rest = reader.rest();
    if rest.len() > MESSAGE_BYTES_MAX {
        return Err(reader.invalid("message"));
    }
    reader.take(rest.len()).map(Bytes::copy_from_slice)
}

fn entries(reader: &mut Reader<'_>) -> Result<Vec<Entry>, WireError> {
    let mut entries = Vec::new();
    while !reader.rest().is_empty() {
        let length = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let mut inner = Reader::new(reader.take(length)?);
        let mark = mark(&mut inner)?;
        let kind = inner.u8()?;
        entries.push(Entry { mark, body: entry_body(&mut inner, kind)? });
        inner.finish()?;
    }
    Ok(entries)
}

fn entry_body(reader: &mut Reader<'_>, kind: u8) -> Result<Body, WireError> {
    match kind {
        MESSAGE => Ok(Body::Message { from: raw(reader)?, no: reader.u64()?, bytes: message(reader)? }),
        CHANGE => {
            let all = members(reader)?;
            let left = counted(reader, 17, |reader| {
                let id = member(reader)?;
                let reason = match reader.u8()? {
                    2 => RawReason::Left,
                    3 => RawReason::NodeDown,
                    5 => RawReason::ProcessDown,
                    _ => return Err(reader.invalid("reason")),
                };
                Ok((id, reason))
            })?;
            Ok(Body::Change(Change { members: all, left, joined: members(reader)? }))
        }
        _ => Err(reader.invalid("entry")),
    }
}

fn mark(reader: &mut Reader<'_>) -> Result<Mark, WireError> {
    Ok(Mark { generation: reader.u64()?, seq: reader.u64()? })
}

fn raw(reader: &mut Reader<'_>) -> Result<RawId, WireError> {
    Ok(RawId { major: reader.u32()?, minor: reader.u32()? })
}

fn member(reader: &mut Reader<'_>) -> Result<MemberId, WireError> {
    Ok(MemberId { raw: raw(reader)?, started: reader.u64()? })
}

fn members(reader: &mut Reader<'_>) -> Result<Vec<MemberId>, WireError> {
    counted(reader, 16, member)
}

fn counted<T>(
    reader: &mut Reader<'_>,
    size: usize,
    one: impl Fn(&mut Reader<'_>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let count = usize::from(reader.u16()?);
    if count.saturating_mul(size) > reader.rest().len() {
        return Err(reader.invalid("count"));
    }
    (0..count).map(|_| one(reader)).collect()
}

/// Entry point for fuzzing: reads `bytes` as a stream of frames of both directions.
///
/// # Panics
/// When a frame that was read is not written back as it came: that is the finding.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some((kind, body, taken))) = split(rest) {
        let mut again = Vec::new();
        if let Ok(frame) = ToHub::decode(kind, body) {
            frame.encode(&mut again);
            // One frame of many entries may be written as several.
            let several = matches!(&frame, ToHub::Hold { .. });
            assert!(several || rest.get(..taken) == Some(again.as_slice()), "{frame:?}");
        } else if let Ok(frame) = FromHub::decode(kind, body) {
            frame.encode(&mut again);
            let several = matches!(&frame, FromHub::Keep { .. });
            assert!(several || rest.get(..taken) == Some(again.as_slice()), "{frame:?}");
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids() -> impl Strategy<Value = MemberId> {
        (any::<u32>(), any::<u32>(), any::<u64>())
            .prop_map(|(major, minor, started)| MemberId { raw: RawId { major, minor }, started })
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        let message = (ids(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(id, no, bytes)| Body::Message { from: id.raw, no, bytes: bytes.into() });
        let reasons =
            prop_oneof![Just(RawReason::Left), Just(RawReason::NodeDown), Just(RawReason::ProcessDown)];
        let some = || proptest::collection::vec(ids(), 0..4);
        let change = (some(), proptest::collection::vec((ids(), reasons), 0..4), some())
            .prop_map(|(members, left, joined)| Body::Change(Change { members, left, joined }));
        (any::<u64>(), any::<u64>(), prop_oneof![message, change])
            .prop_map(|(generation, seq, body)| Entry { mark: Mark { generation, seq }, body })
    }

    fn read_all(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some((kind, body, taken)) = split(bytes).unwrap() {
            frames.push((kind, body.to_vec()));
            bytes = &bytes[taken..];
        }
        assert!(bytes.is_empty());
        frames
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entry in any_entry(), stable: u64, id in ids(), name in "[a-z]{0,31}", past: bool) {
            let resume = past.then(|| Resume {
                last: entry.mark, held_from: stable, own_no: 7, members: vec![id, id],
            });
            let to_hub = [
                ToHub::Attach(Attach { version: VERSION, bus_name: name, id, resume }),
                ToHub::Submit { no: stable, bytes: Bytes::from_static(b"abc") },
                ToHub::Ack { seq: stable },
                ToHub::Hold { entries: vec![entry.clone(), entry.clone()] },
                ToHub::Detach,
            ];
            let mut bytes = Vec::new();
            to_hub.iter().for_each(|frame| frame.encode(&mut bytes));
            let read: Vec<ToHub> =
                read_all(&bytes).iter().map(|(kind, body)| ToHub::decode(*kind, body).unwrap()).collect();
            prop_assert_eq!(read.as_slice(), to_hub.as_slice());

            let from_hub = [
                FromHub::Entry { stable, entry: entry.clone() },
                FromHub::Keep { entries: vec![entry.clone(), entry.clone()] },
                FromHub::Own { stable, mark: entry.mark, no: 3 },
                FromHub::Fetch { from: 1, to: stable },
                FromHub::Gone(Gone::BusName),
                FromHub::Tick { generation: 4, stable },
            ];
            let mut bytes = Vec::new();
            from_hub.iter().for_each(|frame| frame.encode(&mut bytes));
            let read: Vec<FromHub> =
                read_all(&bytes).iter().map(|(kind, body)| FromHub::decode(*kind, body).unwrap()).collect();
            prop_assert_eq!(read.as_slice(), from_hub.as_slice());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, kind: u8) {
            fuzz(&bytes);
            let mut framed = Vec::new();
            frame(&mut framed, kind % 24, |out| out.extend_from_slice(&bytes));
            fuzz(&framed);
        }
    }

    #[test]
    fn a_long_hold_becomes_several_frames() {
        let entry = |seq| Entry {
            mark: Mark { generation: 1, seq },
            body: Body::Message { from: RawId::default(), no: seq, bytes: vec![7; MESSAGE_BYTES_MAX].into() },
        };
        let mut bytes = Vec::new();
        ToHub::Hold { entries: (1..=3).map(entry).collect() }.encode(&mut bytes);
        assert_eq!(read_all(&bytes).len(), 3);
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_it_is_waited_for() {
        assert!(matches!(split(&[0xff; 4]), Err(FrameError::TooLong { .. })));
        assert!(split(&[0; 4]).is_err());
        assert!(matches!(split(&[0, 0, 0, 2, ACK]), Ok(None)));
    }
}
