//! The key under which an answer is remembered and shared.

use alloc::string::String;
use core::fmt::Write as _;

use bytes::Bytes;
use postfleet_types::{Reader, Writer};

use crate::placeholders::Params;
use crate::rows::{Value, decode, encode};

/// Distinguishes answers from what policies set under the same cache name: their keys are text and never begin so.
const MARK: &[u8] = b"\0q1";

/// Whether a key is that of an answer.
#[must_use]
pub fn is_answer(key: &[u8]) -> bool {
    key.starts_with(MARK)
}

/// What was asked under a key, for people: the query, then its parameters. `None` for a key that is not that of an answer.
#[must_use]
pub fn asked(key: &[u8]) -> Option<String> {
    let mut reader = Reader::new(key.strip_prefix(MARK)?);
    let mut text = String::from(reader.text().ok()?);
    let named = reader.u8().ok()? == 1;
    let count = reader.count(1).ok()?;
    for at in 0..count {
        text.push_str(if at == 0 { " [" } else { ", " });
        if named {
            let _ = write!(text, ":{}=", reader.text().ok()?);
        }
        let _ = match decode(&mut reader).ok()? {
            Value::Null => write!(text, "NULL"),
            Value::Integer(whole) => write!(text, "{whole}"),
            Value::Real(real) => write!(text, "{real}"),
            Value::Text(value) => write!(text, "{value}"),
            Value::Blob(bytes) => write!(text, "{} bytes", bytes.len()),
            Value::List(list) => write!(text, "{}", list.join(" ")),
        };
    }
    if count > 0 {
        text.push(']');
    }
    Some(text)
}

/// The key of a query with its parameters. Two queries have one key only when text and parameters are the same.
#[must_use]
pub fn key(query: &str, params: &Params) -> Bytes {
    let mut writer = Writer::new();
    writer.raw(MARK).text(query);
    match params {
        Params::Positional(values) => {
            writer.u8(0).count(values.len());
            for value in values {
                encode(&mut writer, value);
            }
        }
        Params::Named(values) => {
            writer.u8(1).count(values.len());
            for (name, value) in values {
                encode(writer.text(name), value);
            }
        }
    }
    Bytes::from(writer.finish())
}
