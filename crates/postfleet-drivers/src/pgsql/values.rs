//! Values of a row, from the binary form that the server sends.
//!
//! What has no form of its own among our values becomes the text that the server would print with its default settings.

use std::error::Error;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use postfleet_datasource::Value;
use postgres::types::{FromSql, Kind, Type};

type Fault = Box<dyn Error + Sync + Send>;

/// A value that is not NULL.
pub(super) struct Column(pub(super) Value);

impl<'a> FromSql<'a> for Column {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Fault> {
        read(ty, raw).map(Self)
    }

    fn accepts(_ty: &Type) -> bool {
        true
    }
}

/// One element of an array, as text.
struct Element(String);

impl<'a> FromSql<'a> for Element {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Fault> {
        Ok(Self(match read(ty, raw)? {
            Value::Null => String::new(),
            Value::Integer(whole) => whole.to_string(),
            Value::Real(real) => real.to_string(),
            Value::Text(text) => text,
            Value::Blob(bytes) => {
                let mut text = String::from("\\x");
                for byte in bytes {
                    write!(text, "{byte:02x}")?;
                }
                text
            }
            Value::List(list) => list.join(","),
        }))
    }

    fn accepts(_ty: &Type) -> bool {
        true
    }
}

fn read(ty: &Type, raw: &[u8]) -> Result<Value, Fault> {
    let text = |text: String| Ok(Value::Text(text));
    if let Kind::Array(_) = ty.kind() {
        let elements = Vec::<Option<Element>>::from_sql(ty, raw)?;
        let texts = elements.into_iter().map(|element| element.map_or_else(String::new, |element| element.0));
        return Ok(Value::List(texts.collect()));
    }
    if let Kind::Domain(inner) = ty.kind() {
        return read(inner, raw);
    }
    if let Kind::Enum(_) = ty.kind() {
        return text(utf8(raw)?);
    }
    match *ty {
        Type::BOOL => text(if raw == [0] { "f" } else { "t" }.into()),
        Type::INT2 => Ok(Value::Integer(i16::from_be_bytes(raw.try_into()?).into())),
        Type::INT4 => Ok(Value::Integer(i32::from_be_bytes(raw.try_into()?).into())),
        Type::INT8 => Ok(Value::Integer(i64::from_be_bytes(raw.try_into()?))),
        Type::OID => Ok(Value::Integer(u32::from_be_bytes(raw.try_into()?).into())),
        Type::FLOAT4 => Ok(Value::Real(f32::from_be_bytes(raw.try_into()?).into())),
        Type::FLOAT8 => Ok(Value::Real(f64::from_be_bytes(raw.try_into()?))),
        Type::BYTEA => Ok(Value::Blob(Bytes::copy_from_slice(raw))),
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::UNKNOWN
        | Type::JSON
        | Type::XML
        | Type::CHAR => text(utf8(raw)?),
        Type::JSONB => match raw.split_first() {
            Some((1, json)) => text(utf8(json)?),
            _ => Err("a form of jsonb that is not known".into()),
        },
        Type::NUMERIC => text(numeric(raw)?),
        Type::UUID => text(uuid(raw)?),
        Type::DATE => text(date(i32::from_be_bytes(raw.try_into()?))),
        Type::TIME => text(time(i64::from_be_bytes(raw.try_into()?))),
        Type::TIMESTAMP => text(timestamp(i64::from_be_bytes(raw.try_into()?), "")),
        Type::TIMESTAMPTZ => text(timestamp(i64::from_be_bytes(raw.try_into()?), "+00")),
        Type::INET | Type::CIDR => text(address(raw)?),
        Type::VOID => Ok(Value::Null),
        _ => match ty.name() {
            // Types of extensions that are texts.
            "citext" => text(utf8(raw)?),
            name => {
                Err(format!("its type {name} is not read here; write it as (…)::text in the query").into())
            }
        },
    }
}

fn utf8(raw: &[u8]) -> Result<String, Fault> {
    Ok(std::str::from_utf8(raw)?.to_owned())
}

fn uuid(raw: &[u8]) -> Result<String, Fault> {
    let number = u128::from_be_bytes(raw.try_into()?);
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok(format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)))
}

/// Family, bits, whether it is a network, length, address.
fn address(raw: &[u8]) -> Result<String, Fault> {
    let (&[_, bits, network, _], address) = raw.split_first_chunk::<4>().ok_or("cut short")?;
    let (text, all) = if let Ok(v4) = <[u8; 4]>::try_from(address) {
        (Ipv4Addr::from(v4).to_string(), 32)
    } else {
        (Ipv6Addr::from(<[u8; 16]>::try_from(address)?).to_string(), 128)
    };
    Ok(if network == 0 && bits == all { text } else { format!("{text}/{bits}") })
}

/// Digits to the base of 10 000, the place of the first, a sign, and how many decimals are shown.
fn numeric(raw: &[u8]) -> Result<String, Fault> {
    let mut words = raw.chunks_exact(2).filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)));
    let mut word = || words.next().ok_or("cut short");
    let (count, weight, sign, decimals) = (word()?, word()?.cast_signed(), word()?, word()?);
    let digits: Vec<u16> = words.collect();
    if digits.len() != usize::from(count) || digits.iter().any(|digit| *digit > 9999) {
        return Err("damaged".into());
    }
    let mut text = String::new();
    match sign {
        0xC000 => return Ok("NaN".into()),
        0xD000 => return Ok("Infinity".into()),
        0xF000 => return Ok("-Infinity".into()),
        0x4000 => text.push('-'),
        _ => {}
    }
    let digit = |place: i32| {
        usize::try_from(i32::from(weight) - place).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0)
    };
    write!(text, "{}", digit(i32::from(weight.max(0))))?;
    for place in (0..i32::from(weight)).rev() {
        write!(text, "{:04}", digit(place))?;
    }
    if decimals > 0 {
        let mut fraction = String::new();
        let mut place = -1;
        while fraction.len() < usize::from(decimals) {
            write!(fraction, "{:04}", digit(place))?;
            place -= 1;
        }
        fraction.truncate(usize::from(decimals));
        write!(text, ".{fraction}")?;
    }
    Ok(text)
}

const DAY_MICROS: i64 = 86_400_000_000;

/// Days since 2000-01-01.
fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".into(),
        i32::MIN => "-infinity".into(),
        days => {
            let (text, era) = civil(i64::from(days));
            format!("{text}{era}")
        }
    }
}

/// Microseconds since midnight.
fn time(micros: i64) -> String {
    let seconds = micros.div_euclid(1_000_000);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = format!("{:06}", micros.rem_euclid(1_000_000));
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// Microseconds since 2000-01-01.
fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => "infinity".into(),
        i64::MIN => "-infinity".into(),
        micros => {
            let (day, era) = civil(micros.div_euclid(DAY_MICROS));
            format!("{day} {}{zone}{era}", time(micros.rem_euclid(DAY_MICROS)))
        }
    }
}

/// The date of a day, counted from 2000-01-01, and what stands behind it before the first year.
fn civil(days: i64) -> (String, &'static str) {
    // Counted from 0000-03-01, in eras of 400 years: leap days are at the end of a year then.
    let days = days + 730_425;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // There is no year 0: the one before 1 is 1 BC.
    if year > 0 {
        (format!("{year:04}-{month:02}-{day:02}"), "")
    } else {
        (format!("{:04}-{month:02}-{day:02}", 1 - year), " BC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let check = |days: i32, expected: &str| assert_eq!(date(days), expected);
        check(0, "2000-01-01");
        check(-1, "1999-12-31");
        check(59, "2000-02-29");
        check(60, "2000-03-01");
        check(9463, "2025-11-28");
        check(-10_957, "1970-01-01");
        check(-730_119, "0001-01-01");
        check(-730_120, "0001-12-31 BC");
        check(i32::MAX, "infinity");
        assert_eq!(timestamp(-1, ""), "1999-12-31 23:59:59.999999");
        assert_eq!(timestamp(DAY_MICROS + 500_000, "+00"), "2000-01-02 00:00:00.5+00");
    }

    #[test]
    fn numbers_are_exact() {
        let raw = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let check = |words: &[u16], expected: &str| assert_eq!(numeric(&raw(words)).unwrap(), expected);
        check(&[0, 0, 0, 0], "0");
        check(&[0, 0, 0, 2], "0.00");
        check(&[2, 1, 0, 0, 1, 2345], "12345");
        check(&[1, 1, 0, 0, 1], "10000");
        check(&[3, 0, 0x4000, 5, 3, 1415, 9000], "-3.14159");
        check(&[1, (-2_i16).cast_unsigned(), 0, 8, 25], "0.00000025");
        check(&[0, 0, 0xC000, 0], "NaN");
        for damaged in [&[][..], &[1, 0, 0, 0], &[1, 0, 0, 0, 10_000]] {
            assert!(numeric(&raw(damaged)).is_err());
        }
    }

    #[test]
    fn nothing_that_a_server_sends_is_too_much() {
        for ty in [
            Type::BOOL,
            Type::INT4,
            Type::NUMERIC,
            Type::UUID,
            Type::INET,
            Type::JSONB,
            Type::TEXT_ARRAY,
            Type::TIMESTAMP,
        ] {
            for length in 0..24 {
                for byte in [0, 1, 127, 255] {
                    let _either = read(&ty, &vec![byte; length]);
                }
            }
        }
    }
}
