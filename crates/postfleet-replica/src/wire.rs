//! The six messages of the shared-data connection. Layout: docs/formats/replication.md. What travels point to
//! point is in `frames.rs`.
//!
//! A message is a version byte, a few numbers, and fields of (tag, length, content). Unknown tags, and bytes behind
//! the known part of a field, are skipped, so that a fleet can be upgraded a node at a time.

use crate::cache_wire;
use crate::entries::{CountKey, decode_bound};
use crate::frames::{Frame, read_frame, write_frame};
use crate::metrics::wire as metrics;
use crate::object::ObjectKind;
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use postfleet_types::{PrivateName, Reader, WireError, Writer};

/// The message version that this build writes and understands.
pub const MESSAGE_VERSION: u8 = 1;

/// Changes of columns, and objects announced or withdrawn. To the data group.
pub const KIND_BATCH: u16 = 0x0201;
/// A cut through the own columns, for members that do not have them. To those members and the sender.
pub const KIND_MARKER: u16 = 0x0202;
/// A part of a column at its marker. To the members that asked for it and the sender.
pub const KIND_CHUNK: u16 = 0x0203;
/// Asks for a marker. To the column's origin.
pub const KIND_ASK: u16 = 0x0204;
/// Which columns of a marker are needed in chunks. To the marker's sender.
pub const KIND_ANSWER: u16 = 0x0205;

/// Bodies of ordered objects. To the data group; the sender applies them too, when they come back.
pub const KIND_TABLES: u16 = 0x0206;
/// A part of the column of a member that has departed. To members that have come, and the sender.
pub const KIND_HERITAGE: u16 = 0x0208;

/// The longest name of an object or of a binding in an object's name, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// Chunks that one column may have: at 64 KiB each, a gigabyte.
const CHUNKS_MAX: usize = 16_384;

/// Why a message could not be taken. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It has a version that this build does not understand.
    #[error("message version {0} is not known here")]
    Version(u8),
    /// It does not follow the format.
    #[error(transparent)]
    Malformed(#[from] WireError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block<'a> {
    Entries { kind: u8, name: &'a str, seq: u64, body: &'a [u8] },
    Announced { kind: u8, name: &'a str, next: u64 },
    Withdrawn { kind: u8, name: &'a str },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MarkerObject<'a> {
    pub(crate) kind: u8,
    pub(crate) name: &'a str,
    /// The number of the origin's first batch for this object that the cut does not contain.
    pub(crate) next: u64,
    pub(crate) content: MarkerContent<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MarkerContent<'a> {
    /// The column itself; empty for an empty column.
    Inline(&'a [u8]),
    /// It follows in that many chunks whose bodies have that digest.
    Chunked { chunks: usize, digest: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch<'a> {
    /// The stream that its numbers belong to.
    pub(crate) stream: u64,
    pub(crate) blocks: Vec<Block<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker<'a> {
    /// The stream that its numbers belong to.
    pub(crate) stream: u64,
    pub(crate) session: u64,
    pub(crate) objects: Vec<MarkerObject<'a>>,
    /// The names this marker speaks about; `None` is all of the origin's.
    pub(crate) covers: Option<Vec<&'a str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk<'a> {
    pub(crate) session: u64,
    pub(crate) object: usize,
    pub(crate) index: usize,
    pub(crate) body: &'a [u8],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) session: u64,
    pub(crate) wanted: Vec<&'a str>,
}

fn message() -> Writer {
    let mut writer = Writer::new();
    writer.u8(MESSAGE_VERSION);
    writer
}

pub(crate) fn field(writer: &mut Writer, tag: u8, content: Writer) {
    writer.u8(tag).bytes(&content.finish());
}

/// Starts reading a message behind its version.
pub(crate) fn open(bytes: &[u8]) -> Result<Reader<'_>, MessageError> {
    let mut reader = Reader::new(bytes);
    match reader.u8()? {
        MESSAGE_VERSION => Ok(reader),
        other => Err(MessageError::Version(other)),
    }
}

/// Hands over every field of a message.
pub(crate) fn fields<'a>(
    mut reader: Reader<'a>,
    mut take: impl FnMut(u8, &mut Reader<'a>) -> Result<(), WireError>,
) -> Result<(), MessageError> {
    while !reader.rest().is_empty() {
        let tag = reader.u8()?;
        take(tag, &mut Reader::new(reader.bytes()?))?;
    }
    Ok(())
}

pub(crate) fn object_name<'a>(reader: &mut Reader<'a>) -> Result<&'a str, WireError> {
    let name = reader.text()?;
    match name.len() {
        1..=NAME_BYTES_MAX => Ok(name),
        _ => Err(reader.invalid("object name")),
    }
}

/// Bytes that a block needs beside its body, at most.
pub(crate) const fn block_overhead(name: &str) -> usize {
    // tag, three lengths, kind, sequence number
    name.len() + 1 + 3 * 5 + 1 + 10
}

/// Writes a batch message.
pub(crate) struct BatchWriter {
    writer: Writer,
    empty: bool,
}

impl BatchWriter {
    pub(crate) fn new(stream: u64) -> Self {
        let mut writer = message();
        writer.varint(stream);
        Self { writer, empty: true }
    }

    pub(crate) const fn len(&self) -> usize {
        self.writer.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.empty
    }

    fn block(&mut self, tag: u8, block: Writer) {
        self.empty = false;
        field(&mut self.writer, tag, block);
    }

    pub(crate) fn entries(&mut self, kind: ObjectKind, name: &str, seq: u64, body: &[u8]) {
        let mut block = Writer::new();
        block.u8(kind.code()).text(name).varint(seq).bytes(body);
        self.block(1, block);
    }

    pub(crate) fn announced(&mut self, kind: ObjectKind, name: &str, next: u64) {
        let mut block = Writer::new();
        block.u8(kind.code()).text(name).varint(next);
        self.block(2, block);
    }

    pub(crate) fn withdrawn(&mut self, kind: ObjectKind, name: &str) {
        let mut block = Writer::new();
        block.u8(kind.code()).text(name);
        self.block(3, block);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.writer.finish()
    }
}

pub(crate) fn read_batch(bytes: &[u8]) -> Result<Batch<'_>, MessageError> {
    let mut reader = open(bytes)?;
    let stream = reader.varint()?;
    let mut blocks = Vec::new();
    fields(reader, |tag, reader| {
        match tag {
            1 => blocks.push(Block::Entries {
                kind: reader.u8()?,
                name: object_name(reader)?,
                seq: reader.varint()?,
                body: reader.bytes()?,
            }),
            2 => blocks.push(Block::Announced {
                kind: reader.u8()?,
                name: object_name(reader)?,
                next: reader.varint()?,
            }),
            3 => blocks.push(Block::Withdrawn { kind: reader.u8()?, name: object_name(reader)? }),
            _ => {}
        }
        Ok(())
    })?;
    Ok(Batch { stream, blocks })
}

pub(crate) fn write_marker(marker: &Marker<'_>) -> Vec<u8> {
    let mut writer = message();
    writer.varint(marker.stream).varint(marker.session);
    for object in &marker.objects {
        let mut content = Writer::new();
        content.u8(object.kind).text(object.name).varint(object.next);
        match &object.content {
            MarkerContent::Inline(body) => content.count(0).bytes(body),
            MarkerContent::Chunked { chunks, digest } => content.count(*chunks).u64(*digest),
        };
        field(&mut writer, 1, content);
    }
    if let Some(covers) = &marker.covers {
        field(&mut writer, 2, names(covers));
    }
    writer.finish()
}

fn names(names: &[&str]) -> Writer {
    let mut writer = Writer::new();
    for name in names {
        writer.text(name);
    }
    writer
}

fn read_names<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a str>, WireError> {
    let mut names = Vec::new();
    while !reader.rest().is_empty() {
        names.push(object_name(reader)?);
    }
    Ok(names)
}

pub(crate) fn read_marker(bytes: &[u8]) -> Result<Marker<'_>, MessageError> {
    let mut reader = open(bytes)?;
    let stream = reader.varint()?;
    let session = reader.varint()?;
    let mut objects = Vec::new();
    let mut covers = None;
    fields(reader, |tag, reader| {
        match tag {
            1 => {
                let kind = reader.u8()?;
                let name = object_name(reader)?;
                let next = reader.varint()?;
                let chunks = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
                let content = match chunks {
                    0 => MarkerContent::Inline(reader.bytes()?),
                    1..=CHUNKS_MAX => MarkerContent::Chunked { chunks, digest: reader.u64()? },
                    _ => return Err(reader.invalid("chunks")),
                };
                objects.push(MarkerObject { kind, name, next, content });
            }
            2 => covers = Some(read_names(reader)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(Marker { stream, session, objects, covers })
}

/// What a message of ordered objects says about one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableBody<'a> {
    pub(crate) kind: u8,
    pub(crate) name: &'a str,
    pub(crate) body: &'a [u8],
}

/// Writes a message of ordered objects.
pub(crate) struct TablesWriter {
    writer: Writer,
    empty: bool,
}

impl TablesWriter {
    pub(crate) fn new() -> Self {
        Self { writer: message(), empty: true }
    }

    pub(crate) const fn len(&self) -> usize {
        self.writer.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.empty
    }

    pub(crate) fn push(&mut self, kind: ObjectKind, name: &str, body: &[u8]) {
        self.empty = false;
        let mut content = Writer::new();
        content.u8(kind.code()).text(name).bytes(body);
        field(&mut self.writer, 1, content);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.writer.finish()
    }
}

/// The bodies in the order in which they are applied.
pub(crate) fn read_tables(bytes: &[u8]) -> Result<Vec<TableBody<'_>>, MessageError> {
    let mut bodies = Vec::new();
    fields(open(bytes)?, |tag, reader| {
        if tag == 1 {
            bodies.push(TableBody { kind: reader.u8()?, name: object_name(reader)?, body: reader.bytes()? });
        }
        Ok(())
    })?;
    Ok(bodies)
}

pub(crate) fn write_chunk(chunk: &Chunk<'_>) -> Vec<u8> {
    let mut writer = message();
    writer.varint(chunk.session).count(chunk.object).count(chunk.index).bytes(chunk.body);
    writer.finish()
}

pub(crate) fn read_chunk(bytes: &[u8]) -> Result<Chunk<'_>, MessageError> {
    let mut reader = open(bytes)?;
    let session = reader.varint()?;
    let object = usize::try_from(reader.varint()?).map_err(|_| reader.invalid("object"))?;
    let index = usize::try_from(reader.varint()?).map_err(|_| reader.invalid("chunk"))?;
    let body = reader.bytes()?;
    fields(reader, |_, _| Ok(()))?;
    Ok(Chunk { session, object, index, body })
}

/// What a member asks another for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask<'a> {
    /// Its columns of these objects; none is all.
    Columns(Vec<&'a str>),
    /// Columns of members that have departed.
    Heritage,
}

pub(crate) fn write_ask(ask: &Ask<'_>) -> Vec<u8> {
    let mut writer = message();
    match ask {
        Ask::Columns(wanted) if wanted.is_empty() => {}
        Ask::Columns(wanted) => field(&mut writer, 1, names(wanted)),
        Ask::Heritage => field(&mut writer, 2, Writer::new()),
    }
    writer.finish()
}

pub(crate) fn read_ask(bytes: &[u8]) -> Result<Ask<'_>, MessageError> {
    let mut wanted = Ask::Columns(Vec::new());
    fields(open(bytes)?, |tag, reader| {
        match tag {
            1 => wanted = Ask::Columns(read_names(reader)?),
            2 => wanted = Ask::Heritage,
            _ => {}
        }
        Ok(())
    })?;
    Ok(wanted)
}

pub(crate) fn write_answer(answer: &Answer<'_>) -> Vec<u8> {
    let mut writer = message();
    writer.varint(answer.session);
    field(&mut writer, 1, names(&answer.wanted));
    writer.finish()
}

pub(crate) fn read_answer(bytes: &[u8]) -> Result<Answer<'_>, MessageError> {
    let mut reader = open(bytes)?;
    let session = reader.varint()?;
    let mut wanted = Vec::new();
    fields(reader, |tag, reader| {
        if tag == 1 {
            wanted = read_names(reader)?;
        }
        Ok(())
    })?;
    Ok(Answer { session, wanted })
}

/// A part of the column of a member that has departed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heritage<'a> {
    pub(crate) kind: u8,
    pub(crate) name: &'a str,
    /// Whose column it was.
    pub(crate) member: PrivateName,
    /// How far it was: the member's stream and the number of the batch that would have come next.
    pub(crate) stream: u64,
    pub(crate) next: u64,
    pub(crate) part: usize,
    pub(crate) parts: usize,
    /// Of the bodies of all parts: it decides between copies that are equally far.
    pub(crate) digest: u64,
    pub(crate) body: &'a [u8],
}

pub(crate) fn write_heritage(part: &Heritage<'_>) -> Vec<u8> {
    let mut writer = message();
    let mut content = Writer::new();
    content.u8(part.kind).text(part.name).text(part.member.as_str());
    content
        .varint(part.stream)
        .varint(part.next)
        .count(part.part)
        .count(part.parts)
        .u64(part.digest)
        .bytes(part.body);
    field(&mut writer, 1, content);
    writer.finish()
}

/// `None` for a message that says nothing this release knows.
pub(crate) fn read_heritage(bytes: &[u8]) -> Result<Option<Heritage<'_>>, MessageError> {
    let mut found = None;
    fields(open(bytes)?, |tag, reader| {
        if tag == 1 {
            let (kind, name) = (reader.u8()?, object_name(reader)?);
            let member = reader.text()?.parse().map_err(|_| reader.invalid("private name"))?;
            let (stream, next) = (reader.varint()?, reader.varint()?);
            let part = usize::try_from(reader.varint()?).map_err(|_| reader.invalid("part"))?;
            let parts = usize::try_from(reader.varint()?).map_err(|_| reader.invalid("part"))?;
            if part >= parts || parts > CHUNKS_MAX {
                return Err(reader.invalid("part"));
            }
            let (digest, body) = (reader.u64()?, reader.bytes()?);
            found = Some(Heritage { kind, name, member, stream, next, part, parts, digest, body });
        }
        Ok(())
    })?;
    Ok(found)
}

/// FNV-1a with 64 bits (draft-eastlake-fnv), continued from `digest` over `bytes`.
pub(crate) fn digest(digest: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(digest, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// What [`digest`] starts from.
pub(crate) const DIGEST_START: u64 = 0xcbf2_9ce4_8422_2325;

/// Decodes bytes as every message of this crate, entries included: the entry point for fuzzing.
///
/// Returns a line for each reading that the bytes allow, so that a fuzzer can see them differ.
#[must_use]
pub fn decode_any(bytes: &[u8]) -> Vec<String> {
    let mut readings = Vec::new();
    let mut bodies: Vec<&[u8]> = Vec::new();
    bodies.push(bytes);
    if let Ok(batch) = read_batch(bytes) {
        readings.push(alloc::format!("batch {batch:?}"));
        for block in &batch.blocks {
            if let Block::Entries { body, .. } = block {
                bodies.push(body);
            }
        }
    }
    if let Ok(marker) = read_marker(bytes) {
        readings.push(alloc::format!("marker {marker:?}"));
        for object in &marker.objects {
            if let MarkerContent::Inline(body) = object.content {
                bodies.push(body);
            }
        }
        if read_marker(&write_marker(&marker)).as_ref() != Ok(&marker) {
            readings.push("marker does not come back".to_owned());
        }
    }
    if let Ok(chunk) = read_chunk(bytes) {
        readings.push(alloc::format!("chunk {chunk:?}"));
        bodies.push(chunk.body);
    }
    if let Ok(wanted) = read_ask(bytes) {
        readings.push(alloc::format!("ask {wanted:?}"));
    }
    if let Ok(answer) = read_answer(bytes) {
        readings.push(alloc::format!("answer {answer:?}"));
    }
    if let Ok(tables) = read_tables(bytes) {
        readings.push(alloc::format!("tables {tables:?}"));
        readings.extend(tables.iter().filter_map(|table| postfleet_throttle::decode_any(table.body)));
    }
    if let Ok(body) = cache_wire::read(bytes) {
        let back = body == cache_wire::Body::Unknown
            || cache_wire::read(&cache_wire::write(&body)).as_ref() == Ok(&body);
        readings.push(alloc::format!("cache {body:?}{}", if back { "" } else { " does not come back" }));
    }
    if let Ok(Some(part)) = read_heritage(bytes) {
        readings.push(alloc::format!("heritage {part:?}"));
        bodies.push(part.body);
        if read_heritage(&write_heritage(&part)).as_ref() != Ok(&Some(part)) {
            readings.push("heritage does not come back".to_owned());
        }
    }
    if let Ok(frame) = read_frame(bytes) {
        readings.push(alloc::format!("frame {frame:?}"));
        let again = write_frame(&frame);
        if frame != Frame::Unknown && again.get(4..).map(read_frame) != Some(Ok(frame)) {
            readings.push("frame does not come back".to_owned());
        }
    }
    for body in bodies {
        readings.extend(readings_of_body(body));
    }
    readings
}

fn readings_of_body(body: &[u8]) -> Vec<String> {
    let mut readings = Vec::new();
    let mut count = 0usize;
    let mut tally = || {
        count += 1;
        Ok::<(), WireError>(())
    };
    let results = [
        ("addresses", IpAddr::decode(body, |_, _| tally())),
        ("names", str::decode(body, |_, _| tally())),
        ("bound addresses", decode_bound(body, |_, section| IpAddr::decode(section, |_, _| tally()))),
        ("bound names", decode_bound(body, |_, section| str::decode(section, |_, _| tally()))),
    ];
    if let Ok(tally) = metrics::tally(body) {
        readings.push(alloc::format!("metrics, {tally}"));
    }
    for (reading, result) in results {
        if result.is_ok() {
            readings.push(alloc::format!("{reading}, {count} entries read so far"));
        }
    }
    readings
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_come_back() {
        let mut batch = BatchWriter::new(9);
        assert!(batch.is_empty());
        batch.entries(ObjectKind::InboundCidr, "inbound_cidr", 7, &[1, 2]);
        batch.announced(ObjectKind::OutboundDomains, "x", 1);
        batch.withdrawn(ObjectKind::OutboundCidr, "y");
        assert_eq!(
            read_batch(&batch.finish()).unwrap().blocks,
            [
                Block::Entries { kind: 1, name: "inbound_cidr", seq: 7, body: &[1, 2] },
                Block::Announced { kind: 3, name: "x", next: 1 },
                Block::Withdrawn { kind: 2, name: "y" },
            ]
        );
        let marker = Marker {
            stream: 4,
            session: 300,
            objects: vec![
                MarkerObject { kind: 1, name: "a", next: 2, content: MarkerContent::Inline(b"xy") },
                MarkerObject {
                    kind: 2,
                    name: "b",
                    next: 3,
                    content: MarkerContent::Chunked { chunks: 4, digest: 5 },
                },
            ],
            covers: Some(vec!["a", "b", "c"]),
        };
        assert_eq!(read_marker(&write_marker(&marker)), Ok(marker));
        let chunk = Chunk { session: 300, object: 1, index: 2, body: b"abc" };
        assert_eq!(read_chunk(&write_chunk(&chunk)), Ok(chunk));
        for ask in [Ask::Columns(vec!["a", "b"]), Ask::Columns(vec![]), Ask::Heritage] {
            assert_eq!(read_ask(&write_ask(&ask)), Ok(ask));
        }
        let mut tables = TablesWriter::new();
        assert!(tables.is_empty());
        tables.push(ObjectKind::OutboundSlots, "outbound_slots", b"abc");
        tables.push(ObjectKind::Obtm, "OBTM", b"");
        assert_eq!(
            read_tables(&tables.finish()).unwrap(),
            [
                TableBody { kind: 9, name: "outbound_slots", body: b"abc" },
                TableBody { kind: 6, name: "OBTM", body: b"" },
            ]
        );
        let answer = Answer { session: 300, wanted: vec!["b"] };
        assert_eq!(read_answer(&write_answer(&answer)), Ok(answer));
    }

    #[test]
    fn unknown_fields_are_skipped_and_unknown_versions_refused() {
        let mut batch = message();
        batch.varint(1);
        let mut later = Writer::new();
        later.raw(b"from a later release");
        field(&mut batch, 200, later);
        let mut block = Writer::new();
        block.u8(1).text("n").varint(1).bytes(b"b").raw(b"more of a later release");
        field(&mut batch, 1, block);
        let bytes = batch.finish();
        assert_eq!(
            read_batch(&bytes).unwrap().blocks,
            [Block::Entries { kind: 1, name: "n", seq: 1, body: b"b" }]
        );
        assert_eq!(read_batch(&[2]), Err(MessageError::Version(2)));
        assert!(matches!(read_batch(&[]), Err(MessageError::Malformed(_))));
        assert!(matches!(read_marker(&[1]), Err(MessageError::Malformed(_))));
    }

    #[test]
    fn the_digest_is_fnv_1a() {
        assert_eq!(digest(DIGEST_START, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(digest(DIGEST_START, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(digest(digest(DIGEST_START, b"foo"), b"bar"), 0x8594_4171_f739_67e8);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes: Vec<u8>) {
            let _ = decode_any(&bytes);
            bytes.insert(0, MESSAGE_VERSION);
            let readings = decode_any(&bytes);
            prop_assert!(!readings.iter().any(|line| line == "marker does not come back"));
        }
    }
}
