//! Tests.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::address::{Part, addresses, is_ip, is_literal};
use crate::compare::{Comparison, Subjects};
use crate::compile::Condition;
use crate::functions::Test;
use crate::number::Decimal;
use crate::run::{Execution, Raised, either_context};
use crate::value::Value;
use postfleet_policy::Fault;
use postfleet_policy::{Host, Path};

/// What a test compares and where it looks.
struct How {
    comparison: Comparison,
    part: Part,
    over: bool,
}

impl Execution {
    /// Whether a condition holds. Its depth is bounded by the parser.
    pub(crate) fn holds(&mut self, host: &mut dyn Host, condition: &Condition) -> Result<bool, Raised> {
        match condition {
            Condition::Constant(value) => Ok(*value),
            Condition::Not(inner) => Ok(!self.holds(host, inner)?),
            Condition::All(inner) => {
                for condition in inner {
                    if !self.holds(host, condition)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Any(inner) => {
                for condition in inner {
                    if self.holds(host, condition)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::Test { test, comparison, part, over, arguments } => {
                let how = How { comparison: *comparison, part: *part, over: *over };
                let mut values = Vec::new();
                for argument in arguments {
                    values.push(self.evaluate(host, argument)?);
                }
                self.test(host, *test, &how, &values)
            }
        }
    }

    fn test(
        &mut self,
        host: &mut dyn Host,
        test: Test,
        how: &How,
        values: &[Option<Value>],
    ) -> Result<bool, Raised> {
        let first = values.first().and_then(Option::as_ref);
        let second = values.get(1).and_then(Option::as_ref);
        let subjects = match test {
            Test::Compare => {
                let set = first.is_some();
                Subjects { strings: strings(first)?, set }
            }
            Test::Context(context) => {
                let mut found = Subjects::default();
                for key in strings(first)? {
                    let value = match context {
                        Some(context) => host.context(context, &key),
                        None => either_context(host, &key),
                    };
                    found.set |= value.is_some();
                    found.strings.extend(value);
                }
                // Keys that are not set read as one empty string.
                if !found.set {
                    found.strings.push(String::new());
                }
                found
            }
            Test::Type => {
                let name = first.map_or("string", Value::type_name);
                Subjects { strings: alloc::vec![name.into()], set: true }
            }
            Test::Header | Test::Address => {
                let mut found = Vec::new();
                for name in strings(first)? {
                    let fields = host.headers(&name)?;
                    if test == Test::Header {
                        found.extend(fields.iter().map(|field| field.trim().into()));
                    } else {
                        let all = fields.iter().flat_map(|field| addresses(field));
                        found.extend(all.map(|address| String::from(how.part.of(&address))));
                    }
                }
                Subjects { set: !found.is_empty(), strings: found }
            }
            Test::Envelope => {
                let mut found = Vec::new();
                for name in strings(first)? {
                    let all = host.envelope(path(&name)?);
                    found.extend(all.iter().map(|address| String::from(how.part.of(address))));
                }
                Subjects { set: !found.is_empty(), strings: found }
            }
            Test::IsSet => {
                let key = second.and_then(Value::text).unwrap_or_default();
                return Ok(match first {
                    Some(Value::List(list)) => key.parse::<usize>().is_ok_and(|at| at < list.len()),
                    Some(Value::Hash(id)) => {
                        self.hashes.get(id.0).is_some_and(|hash| hash.contains_key(&key))
                    }
                    Some(Value::Text(_) | Value::Number(_) | Value::Tag(_)) | None => false,
                });
            }
            Test::IsTrue => return Ok(is_true(&text(first)?)),
            Test::Exists => {
                for name in strings(first)? {
                    if host.headers(&name)?.is_empty() {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            Test::Size => {
                let limit = Decimal::whole(&text(first)?)?.integer();
                let size = i128::from(host.message_bytes()?);
                return Ok(if how.over { size > limit } else { size < limit });
            }
            Test::ValidIp => return Ok(is_ip(&text(first)?)),
            Test::Literal => return Ok(is_literal(&text(first)?)),
        };
        // A key that is a variable without a value is an empty string, as everywhere.
        let keys = strings(second)?;
        let single = u64::try_from(subjects.strings.len().saturating_mul(keys.len())).unwrap_or(u64::MAX);
        self.spend_instructions(single)?;
        Ok(how.comparison.any(&subjects, &keys)?)
    }
}

fn no_text() -> Raised {
    Fault::new("a hash cannot be compared; name an element of it").into()
}

fn text(value: Option<&Value>) -> Result<String, Raised> {
    value.map_or(Ok(String::new()), |value| value.text().ok_or_else(no_text))
}

fn strings(value: Option<&Value>) -> Result<Vec<String>, Raised> {
    value.map_or_else(|| Ok(alloc::vec![String::new()]), |value| value.strings().ok_or_else(no_text))
}

/// The path that a script names.
pub(crate) fn path(name: &str) -> Result<Path, Fault> {
    if name.eq_ignore_ascii_case("from") {
        Ok(Path::From)
    } else if name.eq_ignore_ascii_case("to") {
        Ok(Path::To)
    } else {
        Err(Fault::new(format!("the envelope has no '{name}'; expected \"from\" or \"to\"")))
    }
}

/// `true`, `yes`, `on` and numbers other than 0.
pub(crate) fn is_true(text: &str) -> bool {
    let text = text.trim();
    let word = ["true", "yes", "on"].iter().any(|word| text.eq_ignore_ascii_case(word));
    word || Decimal::whole(text).is_ok_and(|number| number.scaled != 0)
}
