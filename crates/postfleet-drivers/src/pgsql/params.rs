//! Parameters: sent as texts, so that the server reads them as whatever type the query wants there.

use std::error::Error;
use std::fmt::Write as _;

use bytes::BytesMut;
use postfleet_datasource::Value;
use postgres::types::{Format, IsNull, ToSql, Type};

/// A value for one placeholder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound<'a>(pub(super) &'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self, _ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::Integer(whole) => write!(out, "{whole}")?,
            Value::Real(real) => write!(out, "{real}")?,
            Value::Text(text) if text.contains('\0') => return Err("a text with a NUL character".into()),
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
            Value::Blob(bytes) => {
                out.extend_from_slice(b"\\x");
                for byte in bytes {
                    write!(out, "{byte:02x}")?;
                }
            }
            Value::List(list) => array(list, out),
        }
        Ok(IsNull::No)
    }

    fn accepts(_ty: &Type) -> bool {
        true
    }

    fn encode_format(&self, _ty: &Type) -> Format {
        Format::Text
    }

    postgres::types::to_sql_checked!();
}

/// The text form of an array.
fn array(list: &[String], out: &mut BytesMut) {
    out.extend_from_slice(b"{");
    for (at, text) in list.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b",");
        }
        out.extend_from_slice(b"\"");
        for byte in text.bytes() {
            if matches!(byte, b'"' | b'\\') {
                out.extend_from_slice(b"\\");
            }
            out.extend_from_slice(&[byte]);
        }
        out.extend_from_slice(b"\"");
    }
    out.extend_from_slice(b"}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_text_form_of_the_server() {
        let check = |value: Value, expected: &str| {
            let mut out = BytesMut::new();
            assert!(matches!(Bound(&value).to_sql(&Type::UNKNOWN, &mut out), Ok(IsNull::No)));
            assert_eq!(out, expected.as_bytes());
        };
        check(Value::Integer(-5), "-5");
        check(Value::Real(0.25), "0.25");
        check(Value::Real(f64::INFINITY), "inf");
        check(Value::Text("a'b".into()), "a'b");
        check(Value::Blob(vec![0, 255].into()), "\\x00ff");
        check(Value::List(vec![]), "{}");
        check(Value::List(vec!["a".into(), String::new(), "\"\\,}".into()]), r#"{"a","","\"\\,}"}"#);
        let mut out = BytesMut::new();
        assert!(matches!(Bound(&Value::Null).to_sql(&Type::UNKNOWN, &mut out), Ok(IsNull::Yes)));
        assert!(Bound(&Value::Text("\0".into())).to_sql(&Type::UNKNOWN, &mut out).is_err());
    }
}
