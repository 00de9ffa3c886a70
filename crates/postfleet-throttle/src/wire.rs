//! The messages of throttle and slot tables. Layout: docs/formats/throttle.md.
//!
//! A message is a version byte, a kind, an identity, the sender's own time, and fields of (tag, length, content).
//! Unknown tags, and bytes behind the known part of a field, are skipped: fleets are upgraded a node at a time.

use crate::rate::{Epsilon, Rate};
use alloc::string::String;
use alloc::vec::Vec;
use postfleet_types::{Monotonic, PrivateName, Reader, WireError, Writer};

/// The message version that this build writes and understands.
pub const MESSAGE_VERSION: u8 = 1;

/// The longest name of a throttle, of a key or of a node, in bytes.
pub const NAME_BYTES_MAX: usize = 512;

/// Keys of one path. A connection is governed by a dozen limits at most.
pub(crate) const PATH_KEYS_MAX: usize = 16;

/// Why a message could not be taken. The peer is at fault; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It has a version that this build does not understand.
    #[error("message version {0} is not known here")]
    Version(u8),
    /// It does not follow the format.
    #[error(transparent)]
    Malformed(#[from] WireError),
}

/// One operation. All members apply them in the order of their delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    Create {
        name: &'a str,
        rate: Rate,
        epsilon: Epsilon,
    },
    Rate {
        name: &'a str,
        rate: Rate,
    },
    /// `ahead`: units beyond those wanted, of what nobody waits for.
    Claim {
        name: &'a str,
        units: u64,
        ahead: u64,
    },
    Give {
        name: &'a str,
        units: u64,
    },
    Force {
        name: &'a str,
        units: u64,
    },
    Expire {
        name: &'a str,
        member: PrivateName,
    },
    Drop {
        name: &'a str,
        touched: u64,
    },
    Forget {
        node: &'a str,
    },
    Certain {
        member: PrivateName,
    },
    Leave,
    Limit {
        key: &'a str,
        units: u64,
    },
    SlotClaim {
        path: Vec<&'a str>,
        units: u64,
    },
    SlotGive {
        path: Vec<&'a str>,
        units: u64,
    },
    SlotAdopt {
        path: Vec<&'a str>,
        units: u64,
    },
    Quorum {
        configuration: u64,
        held: bool,
    },
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row<'a> {
    Reference { seats: Vec<&'a str>, released: Vec<&'a str> },
    Throttle(ThrottleRow<'a>),
    Limit { key: &'a str, units: u64 },
    Slots { member: PrivateName, path: Vec<&'a str>, own: u64, want: u64, skipped: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ThrottleRow<'a> {
    pub(crate) name: &'a str,
    pub(crate) rate: Rate,
    pub(crate) epsilon: Epsilon,
    pub(crate) touched: u64,
    /// Owned and wanted; those who want in the order of the queue.
    pub(crate) shares: Vec<(PrivateName, u64, u64)>,
    pub(crate) gone: Vec<GoneRow>,
}

/// Units of a departed member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GoneRow {
    pub(crate) member: PrivateName,
    pub(crate) units: u64,
    pub(crate) certain: bool,
    /// The limit in force before it departed.
    pub(crate) cap: u64,
    /// Which departure it was.
    pub(crate) turn: u64,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    Ops(Vec<Op<'a>>),
    /// A part of the sender's table.
    Part(Vec<Row<'a>>),
    /// The sender is there; with `table`, its table is complete.
    Hello {
        side: u64,
        table: bool,
    },
    /// Members that did not say hello are left out.
    Exclude(Vec<PrivateName>),
    /// The sender wants tables to be exchanged anew.
    Restart,
}

/// A message with what stands in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Which state of the fleet it speaks about: the epoch of operations, the round of an exchange.
    pub(crate) scope: u64,
    /// When it was written, by the sender's clock; of use to the sender alone.
    pub(crate) sent: Monotonic,
    pub(crate) body: Body<'a>,
}

impl Body<'_> {
    const fn kind(&self) -> u8 {
        match self {
            Self::Ops(_) => 1,
            Self::Part(_) => 2,
            Self::Hello { .. } => 3,
            Self::Exclude(_) => 4,
            Self::Restart => 5,
        }
    }
}

pub(crate) fn write(scope: u64, sent: Monotonic, body: &Body<'_>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u8(MESSAGE_VERSION).u8(body.kind()).u64(scope).u64(sent.as_micros());
    match body {
        Body::Ops(ops) => ops.iter().for_each(|op| write_op(&mut writer, op)),
        Body::Part(rows) => rows.iter().for_each(|row| write_row(&mut writer, row)),
        Body::Hello { side, table } => {
            let mut content = Writer::new();
            content.u64(*side).u8(u8::from(*table));
            field(&mut writer, 1, content);
        }
        Body::Exclude(members) => {
            for member in members {
                let mut content = Writer::new();
                content.text(member.as_str());
                field(&mut writer, 1, content);
            }
        }
        Body::Restart => {}
    }
    writer.finish()
}

/// Writes a message of operations, one after the other.
pub(crate) struct OpsWriter {
    writer: Writer,
    empty: bool,
}

impl OpsWriter {
    pub(crate) fn new(epoch: u64, sent: Monotonic) -> Self {
        let mut writer = Writer::new();
        writer.u8(MESSAGE_VERSION).u8(1).u64(epoch).u64(sent.as_micros());
        Self { writer, empty: true }
    }

    pub(crate) fn push(&mut self, op: &Op<'_>) {
        self.empty = false;
        write_op(&mut self.writer, op);
    }

    pub(crate) const fn len(&self) -> usize {
        self.writer.len()
    }

    /// The message; `None` without operations.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        (!self.empty).then(|| self.writer.finish())
    }
}

pub(crate) fn read(bytes: &[u8]) -> Result<Message<'_>, MessageError> {
    let mut reader = Reader::new(bytes);
    match reader.u8()? {
        MESSAGE_VERSION => {}
        other => return Err(MessageError::Version(other)),
    }
    let kind = reader.u8()?;
    let scope = reader.u64()?;
    let sent = Monotonic::from_micros(reader.u64()?);
    let body = match kind {
        1 => {
            let mut ops = Vec::new();
            fields(reader, |tag, reader| {
                ops.extend(read_op(tag, reader)?);
                Ok(())
            })?;
            Body::Ops(ops)
        }
        2 => {
            let mut rows = Vec::new();
            fields(reader, |tag, reader| {
                rows.extend(read_row(tag, reader)?);
                Ok(())
            })?;
            Body::Part(rows)
        }
        3 => {
            let mut hello = None;
            let end = reader.clone();
            fields(reader, |tag, reader| {
                if tag == 1 {
                    hello = Some((reader.u64()?, reader.u8()? != 0));
                }
                Ok(())
            })?;
            let (side, table) = hello.ok_or(end.invalid("hello"))?;
            Body::Hello { side, table }
        }
        4 => {
            let mut members = Vec::new();
            fields(reader, |tag, reader| {
                if tag == 1 {
                    members.push(member(reader)?);
                }
                Ok(())
            })?;
            Body::Exclude(members)
        }
        5 => {
            fields(reader, |_, _| Ok(()))?;
            Body::Restart
        }
        _ => return Err(reader.invalid("kind").into()),
    };
    Ok(Message { scope, sent, body })
}

fn field(writer: &mut Writer, tag: u8, content: Writer) {
    writer.u8(tag).bytes(&content.finish());
}

fn fields<'a>(
    mut reader: Reader<'a>,
    mut take: impl FnMut(u8, &mut Reader<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    while !reader.rest().is_empty() {
        let tag = reader.u8()?;
        take(tag, &mut Reader::new(reader.bytes()?))?;
    }
    Ok(())
}

fn name<'a>(reader: &mut Reader<'a>) -> Result<&'a str, WireError> {
    let name = reader.text()?;
    match name.len() {
        1..=NAME_BYTES_MAX => Ok(name),
        _ => Err(reader.invalid("name")),
    }
}

fn member(reader: &mut Reader<'_>) -> Result<PrivateName, WireError> {
    let text = reader.text()?;
    text.parse().map_err(|_| reader.invalid("member"))
}

fn rate(reader: &mut Reader<'_>) -> Result<Rate, WireError> {
    let (units, seconds) = (reader.u32()?, reader.u32()?);
    Rate::new(units, seconds).map_err(|_| reader.invalid("rate"))
}

fn epsilon(reader: &mut Reader<'_>) -> Result<Epsilon, WireError> {
    let millionths = reader.u32()?;
    Epsilon::from_millionths(millionths).map_err(|_| reader.invalid("epsilon"))
}

fn write_rate(writer: &mut Writer, rate: Rate) {
    writer.u32(u32::try_from(rate.units()).unwrap_or(u32::MAX)).u32(rate.seconds());
}

fn path<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a str>, WireError> {
    let count = reader.count(2)?;
    if count == 0 || count > PATH_KEYS_MAX {
        return Err(reader.invalid("path"));
    }
    let keys = (0..count).map(|_| name(reader)).collect::<Result<Vec<_>, _>>()?;
    // One form for one path.
    if keys.windows(2).all(|pair| pair.first() < pair.last()) {
        Ok(keys)
    } else {
        Err(reader.invalid("path"))
    }
}

fn write_names(writer: &mut Writer, names: &[&str]) {
    writer.count(names.len());
    for name in names {
        writer.text(name);
    }
}

fn names<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a str>, WireError> {
    let count = reader.count(2)?;
    (0..count).map(|_| name(reader)).collect()
}

fn write_op(writer: &mut Writer, op: &Op<'_>) {
    let mut content = Writer::new();
    let tag = match op {
        Op::Create { name, rate, epsilon } => {
            content.text(name);
            write_rate(&mut content, *rate);
            content.u32(epsilon.millionths());
            1
        }
        Op::Rate { name, rate } => {
            content.text(name);
            write_rate(&mut content, *rate);
            2
        }
        Op::Claim { name, units, ahead } => {
            content.text(name).varint(*units).varint(*ahead);
            3
        }
        Op::Give { name, units } => {
            content.text(name).varint(*units);
            4
        }
        Op::Force { name, units } => {
            content.text(name).varint(*units);
            5
        }
        Op::Expire { name, member } => {
            content.text(name).text(member.as_str());
            6
        }
        Op::Drop { name, touched } => {
            content.text(name).varint(*touched);
            7
        }
        Op::Forget { node } => {
            content.text(node);
            8
        }
        Op::Certain { member } => {
            content.text(member.as_str());
            9
        }
        Op::Leave => 10,
        Op::Limit { key, units } => {
            content.text(key).varint(*units);
            11
        }
        Op::SlotClaim { path, units } => {
            write_names(&mut content, path);
            content.varint(*units);
            12
        }
        Op::SlotGive { path, units } => {
            write_names(&mut content, path);
            content.varint(*units);
            13
        }
        Op::SlotAdopt { path, units } => {
            write_names(&mut content, path);
            content.varint(*units);
            14
        }
        Op::Quorum { configuration, held } => {
            content.u64(*configuration).u8(u8::from(*held));
            15
        }
    };
    field(writer, tag, content);
}

/// The operation of that tag; `None` when this build does not know it.
fn read_op<'a>(tag: u8, reader: &mut Reader<'a>) -> Result<Option<Op<'a>>, WireError> {
    Ok(Some(match tag {
        1 => Op::Create { name: name(reader)?, rate: rate(reader)?, epsilon: epsilon(reader)? },
        2 => Op::Rate { name: name(reader)?, rate: rate(reader)? },
        3 => Op::Claim { name: name(reader)?, units: reader.varint()?, ahead: reader.varint()? },
        4 => Op::Give { name: name(reader)?, units: reader.varint()? },
        5 => Op::Force { name: name(reader)?, units: reader.varint()? },
        6 => Op::Expire { name: name(reader)?, member: member(reader)? },
        7 => Op::Drop { name: name(reader)?, touched: reader.varint()? },
        8 => Op::Forget { node: name(reader)? },
        9 => Op::Certain { member: member(reader)? },
        10 => Op::Leave,
        11 => Op::Limit { key: name(reader)?, units: reader.varint()? },
        12 => Op::SlotClaim { path: path(reader)?, units: reader.varint()? },
        13 => Op::SlotGive { path: path(reader)?, units: reader.varint()? },
        14 => Op::SlotAdopt { path: path(reader)?, units: reader.varint()? },
        15 => Op::Quorum { configuration: reader.u64()?, held: reader.u8()? != 0 },
        _ => return Ok(None),
    }))
}

fn write_row(writer: &mut Writer, row: &Row<'_>) {
    let mut content = Writer::new();
    let tag = match row {
        Row::Reference { seats, released } => {
            write_names(&mut content, seats);
            write_names(&mut content, released);
            1
        }
        Row::Throttle(row) => {
            content.text(row.name);
            write_rate(&mut content, row.rate);
            content.u32(row.epsilon.millionths()).varint(row.touched).count(row.shares.len());
            for (member, own, want) in &row.shares {
                content.text(member.as_str()).varint(*own).varint(*want);
            }
            content.count(row.gone.len());
            for gone in &row.gone {
                content.text(gone.member.as_str()).varint(gone.units).u8(u8::from(gone.certain));
                content.varint(gone.cap).varint(gone.turn);
            }
            2
        }
        Row::Limit { key, units } => {
            content.text(key).varint(*units);
            3
        }
        Row::Slots { member, path, own, want, skipped } => {
            content.text(member.as_str());
            write_names(&mut content, path);
            content.varint(*own).varint(*want).varint(*skipped);
            4
        }
    };
    field(writer, tag, content);
}

fn read_row<'a>(tag: u8, reader: &mut Reader<'a>) -> Result<Option<Row<'a>>, WireError> {
    Ok(Some(match tag {
        1 => Row::Reference { seats: names(reader)?, released: names(reader)? },
        2 => {
            let mut row = ThrottleRow {
                name: name(reader)?,
                rate: rate(reader)?,
                epsilon: epsilon(reader)?,
                touched: reader.varint()?,
                shares: Vec::new(),
                gone: Vec::new(),
            };
            for _ in 0..reader.count(3)? {
                row.shares.push((member(reader)?, reader.varint()?, reader.varint()?));
            }
            for _ in 0..reader.count(5)? {
                row.gone.push(GoneRow {
                    member: member(reader)?,
                    units: reader.varint()?,
                    certain: reader.u8()? != 0,
                    cap: reader.varint()?,
                    turn: reader.varint()?,
                });
            }
            Row::Throttle(row)
        }
        3 => Row::Limit { key: name(reader)?, units: reader.varint()? },
        4 => Row::Slots {
            member: member(reader)?,
            path: path(reader)?,
            own: reader.varint()?,
            want: reader.varint()?,
            skipped: reader.varint()?,
        },
        _ => return Ok(None),
    }))
}

/// Reads bytes as a message: the entry point for fuzzing. What was read has to come back when it is written.
///
/// # Panics
/// When it does not.
#[must_use]
pub fn decode_any(bytes: &[u8]) -> Option<String> {
    let message = read(bytes).ok()?;
    let written = write(message.scope, message.sent, &message.body);
    assert_eq!(read(&written).as_ref(), Ok(&message), "a message comes back");
    Some(alloc::format!("{message:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn relay(text: &str) -> PrivateName {
        PrivateName::shared(&text.parse().unwrap(), 7)
    }

    fn check(body: Body<'_>) {
        let bytes = write(9, Monotonic::from_micros(77), &body);
        assert_eq!(read(&bytes), Ok(Message { scope: 9, sent: Monotonic::from_micros(77), body }));
    }

    #[test]
    fn messages_come_back() {
        let rate = Rate::new(30, 60).unwrap();
        let epsilon = Epsilon::default();
        check(Body::Ops(vec![
            Op::Create { name: "bar", rate, epsilon },
            Op::Rate { name: "domain:a", rate },
            Op::Claim { name: "global", units: 300, ahead: 75 },
            Op::Give { name: "global", units: 3 },
            Op::Force { name: "bar", units: 1 },
            Op::Expire { name: "bar", member: relay("a") },
            Op::Drop { name: "bar", touched: 12 },
            Op::Forget { node: "b" },
            Op::Certain { member: relay("b") },
            Op::Leave,
            Op::Limit { key: "domain:a", units: 20 },
            Op::SlotClaim { path: vec!["binding:x", "domain:a"], units: 5 },
            Op::SlotGive { path: vec!["domain:a"], units: 1 },
            Op::SlotAdopt { path: vec!["domain:a"], units: 2 },
            Op::Quorum { configuration: 77, held: true },
        ]));
        check(Body::Part(vec![
            Row::Reference { seats: vec!["a", "b"], released: vec!["c"] },
            Row::Throttle(ThrottleRow {
                name: "bar",
                rate,
                epsilon,
                touched: 4,
                shares: vec![(relay("a"), 3, 0), (relay("b"), 0, 7)],
                gone: vec![GoneRow { member: relay("c"), units: 2, certain: true, cap: 20, turn: 3 }],
            }),
            Row::Limit { key: "domain:a", units: 20 },
            Row::Slots { member: relay("a"), path: vec!["domain:a"], own: 1, want: 2, skipped: 3 },
        ]));
        check(Body::Hello { side: 5, table: true });
        check(Body::Exclude(vec![relay("a")]));
        check(Body::Restart);
    }

    #[test]
    fn what_is_not_known_is_skipped_and_what_is_wrong_is_refused() {
        let mut bytes = write(1, Monotonic::ZERO, &Body::Ops(vec![Op::Leave]));
        bytes.extend([200, 3, 1, 2, 3]);
        // A field that a later release made longer.
        bytes.extend([4, 5, 1, b'x', 9, 1, 1]);
        let message = read(&bytes).unwrap();
        assert_eq!(message.body, Body::Ops(vec![Op::Leave, Op::Give { name: "x", units: 9 }]));
        assert_eq!(read(&[2]), Err(MessageError::Version(2)));
        assert!(read(&[]).is_err());
        // A path has one form: its keys ascend.
        let wrong = Body::Ops(vec![Op::SlotGive { path: vec!["b", "a"], units: 1 }]);
        assert!(read(&write(1, Monotonic::ZERO, &wrong)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes: Vec<u8>, kind in 0u8..7) {
            let _ = decode_any(&bytes);
            bytes.splice(0..0, [MESSAGE_VERSION, kind].into_iter().chain([0; 16]));
            let _ = decode_any(&bytes);
        }
    }
}
