//! The key under which an answer is remembered and shared.

use bytes::Bytes;
use postfleet_types::Writer;

use crate::placeholders::Params;
use crate::rows::encode;

/// Distinguishes answers from what policies set under the same cache name: their keys are text and never begin so.
const MARK: &[u8] = b"\0q1";

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
