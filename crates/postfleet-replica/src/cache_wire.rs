//! The bodies of a cache: writes, and what sides tell each other when they meet. Layout: docs/formats/cache.md.

use alloc::vec::Vec;
use bytes::Bytes;
use postfleet_cache::{Row, Ttl, Write};
use postfleet_types::{Reader, WireError, Writer};

use crate::ordered::BodyError;

/// The version of all bodies. A later one is refused as a whole.
const VERSION: u8 = 1;

/// What a body says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Writes, in their order.
    Writes(Vec<Write>),
    /// Some of what the sender's side holds.
    Part { round: u64, rows: Vec<Row> },
    /// The sender has nothing more to tell in this round.
    Hello { round: u64 },
    /// The round is over.
    End { round: u64 },
    /// The sender wants a round: it holds something else than the others. Numbered, so that two are not one.
    Ask { configuration: u64, number: u64 },
    /// Something of a later build.
    Unknown,
}

/// About how many bytes a write takes.
pub(crate) fn write_bytes(write: &Write) -> usize {
    write.key.len() + write.value.len() + 24
}

/// About how many bytes a row takes.
pub(crate) fn row_bytes(row: &Row) -> usize {
    row.key.len() + row.value.as_ref().map_or(0, Bytes::len) + row.writer.as_str().len() + 36
}

pub(crate) fn write(body: &Body) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u8(VERSION);
    match body {
        Body::Writes(writes) => {
            writer.u8(1).count(writes.len());
            for write in writes {
                writer.bytes(&write.key).bytes(&write.value);
                writer.varint(write.ttl.as_millis()).varint(write.clock_millis);
            }
        }
        Body::Part { round, rows } => {
            writer.u8(2).u64(*round).count(rows.len());
            for row in rows {
                writer.bytes(&row.key);
                match &row.value {
                    None => writer.u8(0),
                    Some(value) => writer.u8(1).bytes(value),
                };
                // Never is 0: no pair ends at the stamp 0.
                let end = if row.stamp_end == u64::MAX { 0 } else { row.stamp_end };
                writer.varint(row.stamp).varint(end).varint(row.ttl.as_millis()).text(row.writer.as_str());
            }
        }
        Body::Hello { round } => {
            writer.u8(3).u64(*round);
        }
        Body::End { round } => {
            writer.u8(4).u64(*round);
        }
        Body::Ask { configuration, number } => {
            writer.u8(5).u64(*configuration).varint(*number);
        }
        // Nobody sends what nobody knows.
        Body::Unknown => {
            writer.u8(0);
        }
    }
    writer.finish()
}

/// Reads a body. Bytes behind what is known are passed over.
pub(crate) fn read(bytes: &[u8]) -> Result<Body, BodyError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8().map_err(BodyError::Malformed)?;
    if version != VERSION {
        return Err(BodyError::Version(version));
    }
    content(&mut reader).map_err(BodyError::Malformed)
}

fn content(reader: &mut Reader<'_>) -> Result<Body, WireError> {
    Ok(match reader.u8()? {
        1 => Body::Writes(
            (0..reader.count(4)?)
                .map(|_| {
                    Ok(Write {
                        key: copied(reader)?,
                        value: copied(reader)?,
                        ttl: Ttl::from_millis(reader.varint()?),
                        clock_millis: reader.varint()?,
                    })
                })
                .collect::<Result<_, WireError>>()?,
        ),
        2 => {
            let round = reader.u64()?;
            let rows = (0..reader.count(6)?).map(|_| row(reader)).collect::<Result<_, WireError>>()?;
            Body::Part { round, rows }
        }
        3 => Body::Hello { round: reader.u64()? },
        4 => Body::End { round: reader.u64()? },
        5 => Body::Ask { configuration: reader.u64()?, number: reader.varint()? },
        _ => Body::Unknown,
    })
}

fn row(reader: &mut Reader<'_>) -> Result<Row, WireError> {
    let key = copied(reader)?;
    let value = match reader.u8()? {
        0 => None,
        1 => Some(copied(reader)?),
        _ => return Err(reader.invalid("value")),
    };
    let stamp = reader.varint()?;
    let stamp_end = match reader.varint()? {
        0 => u64::MAX,
        end => end,
    };
    let ttl = Ttl::from_millis(reader.varint()?);
    let writer = reader.text()?.parse().map_err(|_| reader.invalid("writer"))?;
    Ok(Row { key, value, stamp, stamp_end, ttl, writer })
}

fn copied(reader: &mut Reader<'_>) -> Result<Bytes, WireError> {
    Ok(Bytes::copy_from_slice(reader.bytes()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bodies() -> impl Strategy<Value = Body> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..6).prop_map(Bytes::from);
        let ttl = || (0..100_000_u64).prop_map(Ttl::from_millis);
        let write = (bytes(), bytes(), ttl(), any::<u64>())
            .prop_map(|(key, value, ttl, clock_millis)| Write { key, value, ttl, clock_millis });
        let row = (bytes(), prop::option::of(bytes()), any::<u64>(), 1..=u64::MAX, ttl()).prop_map(
            |(key, value, stamp, stamp_end, ttl)| {
                let writer = "#ec1-00001#a".parse().expect("a private name");
                Row { key, value, stamp, stamp_end, ttl, writer }
            },
        );
        prop_oneof![
            prop::collection::vec(write, 0..4).prop_map(Body::Writes),
            (any::<u64>(), prop::collection::vec(row, 0..4))
                .prop_map(|(round, rows)| Body::Part { round, rows }),
            any::<u64>().prop_map(|round| Body::Hello { round }),
            any::<u64>().prop_map(|round| Body::End { round }),
            (any::<u64>(), any::<u64>())
                .prop_map(|(configuration, number)| Body::Ask { configuration, number }),
        ]
    }

    proptest! {
        #[test]
        fn bodies_are_read_as_they_were_written(body in bodies()) {
            let bytes = write(&body);
            prop_assert_eq!(read(&bytes), Ok(body));
            for cut in 0..bytes.len() {
                prop_assert!(read(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn no_bytes_are_too_much(mut bytes in prop::collection::vec(any::<u8>(), 2..80), kind in 0..7_u8) {
            bytes[0] = VERSION;
            bytes[1] = kind;
            let _either = read(&bytes);
        }
    }

    #[test]
    fn later_builds_are_passed_over_or_refused_as_a_whole() {
        assert_eq!(read(&[2, 1, 0]), Err(BodyError::Version(2)));
        assert_eq!(read(&[1, 77, 1, 2, 3]), Ok(Body::Unknown));
        assert_eq!(read(&[1, 1, 0, 99]), Ok(Body::Writes(Vec::new())));
    }
}
