//! An answer: named columns and rows of values, and its form on the wire.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use postfleet_types::{Reader, WireError, Writer};

/// The version of the encoded form. A reader that meets a later one treats the answer as missing.
const VERSION: u8 = 1;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// A number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes that are no text.
    Blob(Bytes),
    /// Several texts.
    List(Vec<String>),
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The names of the columns; empty when the driver gives none.
    pub columns: Vec<String>,
    /// As many values in each as there are columns, where these have names.
    pub rows: Vec<Vec<Value>>,
}

/// Why bytes are no answer. Whoever wrote them is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They were written by a later version.
    #[error("version {0} of the form of answers is not known here")]
    Version(u8),
    /// They end early, go on for too long, or hold something impossible.
    #[error("damaged")]
    Wire(#[from] WireError),
}

impl Rows {
    /// The bytes that members share: version, names of the columns, then the rows, each a count and its values.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.u8(VERSION).count(self.columns.len());
        for column in &self.columns {
            writer.text(column);
        }
        writer.count(self.rows.len());
        for row in &self.rows {
            writer.count(row.len());
            for value in row {
                encode(&mut writer, value);
            }
        }
        Bytes::from(writer.finish())
    }

    /// Reads [`Rows::encode`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let columns = texts(&mut reader)?;
        let mut rows = Vec::new();
        for _ in 0..reader.count(1)? {
            let row = (0..reader.count(1)?).map(|_| decode(&mut reader)).collect::<Result<_, _>>()?;
            rows.push(row);
        }
        reader.finish()?;
        Ok(Self { columns, rows })
    }
}

/// One value: its kind, then what it is.
pub(crate) fn encode(writer: &mut Writer, value: &Value) {
    match value {
        Value::Null => writer.u8(0),
        Value::Integer(integer) => writer.u8(1).signed_varint(*integer),
        Value::Real(real) => writer.u8(2).u64(real.to_bits()),
        Value::Text(text) => writer.u8(3).text(text),
        Value::Blob(bytes) => writer.u8(4).bytes(bytes),
        Value::List(list) => {
            writer.u8(5).count(list.len());
            list.iter().fold(writer, |writer, text| writer.text(text))
        }
    };
}

pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Value, WireError> {
    Ok(match reader.u8()? {
        0 => Value::Null,
        1 => Value::Integer(reader.signed_varint()?),
        2 => Value::Real(f64::from_bits(reader.u64()?)),
        3 => Value::Text(reader.text()?.into()),
        4 => Value::Blob(Bytes::copy_from_slice(reader.bytes()?)),
        5 => Value::List(texts(reader)?),
        _ => return Err(reader.invalid("kind of value")),
    })
}

fn texts(reader: &mut Reader<'_>) -> Result<Vec<String>, WireError> {
    (0..reader.count(1)?).map(|_| reader.text().map(String::from)).collect()
}
