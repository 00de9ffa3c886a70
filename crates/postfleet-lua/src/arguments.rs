//! The arguments of a call, checked as they are taken.

use core::net::IpAddr;

use mlua::{Table, Value};
use postfleet_policy::LuaHost;
use postfleet_types::{Prefix, normalised};

use crate::functions::Function;

/// What is wrong with a call; the script's line is put before it.
pub(crate) type Outcome<T> = Result<T, String>;

pub(crate) struct Arguments<'a> {
    pub(crate) function: &'static Function,
    pub(crate) values: &'a [Value],
    /// The object that stands for the connection.
    pub(crate) accept: &'a Table,
}

/// A number as Lua prints it: whole ones without a point.
fn shown(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 { format!("{number:.0}") } else { number.to_string() }
}

/// A string, or a number as one.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_string_lossy()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Number(number) => Some(shown(*number)),
        _ => None,
    }
}

/// A number, or a string that is one.
fn number_of(value: &Value) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "numbers of this dialect have no more precision")]
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::String(text) => text.to_string_lossy().trim().parse::<f64>().ok(),
        _ => None,
    }
}

/// A whole number; what follows the point is dropped.
#[allow(clippy::cast_possible_truncation, reason = "saturates")]
fn whole(number: f64) -> i64 {
    number.trunc() as i64
}

impl Arguments<'_> {
    pub(crate) fn get(&self, at: usize) -> Option<&Value> {
        self.values.get(at).filter(|value| !value.is_nil())
    }

    pub(crate) fn wrong(&self, at: usize, expected: &str) -> String {
        let found = self.get(at).map_or("no value", Value::type_name);
        let position = at.saturating_add(1);
        format!("bad argument #{position} to '{}' ({expected} expected, got {found})", self.function.name)
    }

    /// What is wrong with an argument of the right type.
    pub(crate) fn bad(&self, at: usize, problem: &str) -> String {
        format!("bad argument #{} to '{}': {problem}", at.saturating_add(1), self.function.name)
    }

    pub(crate) fn text(&self, at: usize) -> Outcome<String> {
        self.get(at).and_then(text_of).ok_or_else(|| self.wrong(at, "string"))
    }

    pub(crate) fn optional_text(&self, at: usize) -> Outcome<Option<String>> {
        if self.get(at).is_some() { self.text(at).map(Some) } else { Ok(None) }
    }

    pub(crate) fn number(&self, at: usize) -> Outcome<f64> {
        let number = self.get(at).and_then(number_of).filter(|number| number.is_finite());
        number.ok_or_else(|| self.wrong(at, "number"))
    }

    /// A whole number within bounds.
    pub(crate) fn count<N: TryFrom<i64>>(&self, at: usize, least: i64) -> Outcome<N> {
        let number = whole(self.number(at)?);
        let found = (number >= least).then(|| N::try_from(number).ok()).flatten();
        found.ok_or_else(|| self.bad(at, &format!("{number} is out of range")))
    }

    pub(crate) fn optional_boolean(&self, at: usize) -> Outcome<Option<bool>> {
        match self.get(at) {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(*value)),
            Some(_) => Err(self.wrong(at, "boolean")),
        }
    }

    /// One address, or several in a table.
    pub(crate) fn addresses(&self, at: usize) -> Outcome<Vec<String>> {
        match self.get(at) {
            Some(Value::Table(table)) => {
                let items = table.sequence_values::<Value>();
                items
                    .map(|item| {
                        item.ok().as_ref().and_then(text_of).ok_or_else(|| self.wrong(at, "addresses"))
                    })
                    .collect()
            }
            Some(_) => Ok(vec![self.text(at)?]),
            None => Err(self.wrong(at, "string or table")),
        }
    }

    /// The options in the place of an argument, if it is a table and not the connection.
    pub(crate) fn options(&self, at: usize, known: &'static [&'static str]) -> Outcome<Option<Options<'_>>> {
        let Some(Value::Table(table)) = self.get(at) else { return Ok(None) };
        if table == self.accept {
            return Ok(None);
        }
        for pair in table.pairs::<Value, Value>() {
            let key = pair.ok().and_then(|(key, _)| text_of(&key)).unwrap_or_default();
            if !known.contains(&key.as_str()) {
                let all = known.join(", ");
                return Err(format!("'{}' has no option '{key}'; it has {all}", self.function.name));
            }
        }
        Ok(Some(Options { table: table.clone(), arguments: self }))
    }

    pub(crate) fn is_accept(&self, value: &Value) -> bool {
        matches!(value, Value::Table(table) if table == self.accept)
    }

    /// The connecting address.
    pub(crate) fn client(&self, host: &mut dyn LuaHost) -> Outcome<IpAddr> {
        let none = || {
            format!("'{}' needs a connecting address, and there is none here; name one", self.function.name)
        };
        host.client().map(normalised).ok_or_else(none)
    }

    /// A block in any form that scripts write; the client's address if there is none.
    pub(crate) fn block(&self, host: &mut dyn LuaHost, value: Option<&Value>) -> Outcome<Prefix> {
        let value = match value {
            None => return Ok(Prefix::host(self.client(host)?)),
            Some(value) if self.is_accept(value) => return Ok(Prefix::host(self.client(host)?)),
            Some(value) => value,
        };
        let expected = "expected an address, a block as 192.0.2.0/24, a mask as /24, or the connection";
        let Value::String(text) = value else {
            return Err(format!(
                "a {} is no block for '{}'; {expected}",
                value.type_name(),
                self.function.name
            ));
        };
        let text = text.to_string_lossy();
        let wrong = || format!("'{text}' is no block for '{}'; {expected}", self.function.name);
        let (address, bits) = match text.trim().split_once('/') {
            None => (text.trim(), None),
            Some((address, bits)) => {
                let digits = bits.bytes().all(|digit| digit.is_ascii_digit());
                (address, Some(bits.parse::<u8>().ok().filter(|_| digits).ok_or_else(wrong)?))
            }
        };
        let address = if address.is_empty() && bits.is_some() {
            self.client(host)?
        } else {
            address_of(address).ok_or_else(wrong)?
        };
        let longest = Prefix::bits(address);
        let bits = bits.unwrap_or(longest);
        let long = |_| {
            format!("mask {bits} is longer than an address of {longest} bits in '{}'", self.function.name)
        };
        Prefix::containing(address, bits).map_err(long)
    }
}

/// An address, with or without brackets.
pub(crate) fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(normalised)
}

/// Named arguments.
pub(crate) struct Options<'a> {
    table: Table,
    arguments: &'a Arguments<'a>,
}

impl Options<'_> {
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        self.table.raw_get::<Value>(name).ok().filter(|value| !value.is_nil())
    }

    fn wrong(&self, name: &str, expected: &str, found: &Value) -> String {
        let (function, found) = (self.arguments.function.name, found.type_name());
        format!("bad option '{name}' of '{function}' ({expected} expected, got {found})")
    }

    pub(crate) fn text(&self, name: &str) -> Outcome<Option<String>> {
        let text = |value: Value| text_of(&value).ok_or_else(|| self.wrong(name, "string", &value));
        self.get(name).map(text).transpose()
    }

    pub(crate) fn boolean(&self, name: &str) -> Outcome<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Boolean(value)) => Ok(value),
            Some(other) => Err(self.wrong(name, "boolean", &other)),
        }
    }

    /// Whether a boolean is missing or as given.
    pub(crate) fn boolean_or(&self, name: &str, default: bool) -> Outcome<bool> {
        if self.get(name).is_some() { self.boolean(name) } else { Ok(default) }
    }

    pub(crate) fn integer(&self, name: &str) -> Outcome<Option<i64>> {
        let number = |value: Value| {
            let number = number_of(&value).filter(|number| number.is_finite()).map(whole);
            number.ok_or_else(|| self.wrong(name, "number", &value))
        };
        self.get(name).map(number).transpose()
    }
}
