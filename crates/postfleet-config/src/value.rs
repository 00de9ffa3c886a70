//! Values: from text to checked type.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use postfleet_types::Prefix;

use crate::address::{self, ListenAddress};
use crate::capability::capabilities;
use crate::route::Route;
use crate::schema::{Chain, Check, Default, Keys, Kind, Range, Row, Unit};
use crate::settings::RuleAction;
use crate::syntax::{Quote, Written};
use crate::text::{
    GATEWAY_FORM, ROUTE_FORM, limit_name, log_destination, log_template, macros, monitor, route,
};

/// At most so many events in so many seconds; none of either means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Events; 0: no limit.
    pub events: u64,
    /// The period in seconds, at least 1.
    pub seconds: u64,
}

/// A compiled regular expression, unanchored.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Arc<str>,
    regex: fancy_regex::Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Why a regular expression does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PatternError {
    pub(crate) text: String,
    pub(crate) offset: usize,
}

impl Pattern {
    /// Steps that one match may take before it counts as no match, so that no pattern can stop a node.
    const STEPS_MAX: usize = 100_000;
    /// Bytes that a compiled pattern may take.
    const BYTES_MAX: usize = 1 << 20;

    pub(crate) fn compile(text: &str, ignore_case: bool) -> Result<Self, PatternError> {
        fancy_regex::RegexBuilder::new(text)
            .case_insensitive(ignore_case)
            .backtrack_limit(Self::STEPS_MAX)
            .delegate_size_limit(Self::BYTES_MAX)
            .build()
            .map(|regex| Self { text: text.into(), regex })
            .map_err(|error| {
                let offset = if let fancy_regex::Error::ParseError(offset, _) = &error { *offset } else { 0 };
                PatternError { text: first_line(&error.to_string()), offset }
            })
    }

    /// The text it was compiled from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is found anywhere in the text. A match that takes too long counts as none.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text).unwrap_or(false)
    }
}

fn first_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A bool.
    Bool(bool),
    /// A whole number, a size, permissions.
    Int(i128),
    /// A decimal number.
    Float(f64),
    /// One of the words of the option, in its registered spelling.
    Word(&'static str),
    /// An address.
    Address(IpAddr),
    /// An address or a block.
    Cidr(Prefix),
    /// A throttle.
    Throttle(Throttle),
    /// A regular expression.
    Pattern(Pattern),
    /// A dictionary, in the order written.
    Dict(Vec<(String, String)>),
    /// A list.
    List(Vec<Self>),
}

impl Value {
    /// The text, or the word.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Word(word) => Some(word),
            Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Address(_)
            | Self::Cidr(_)
            | Self::Throttle(_)
            | Self::Pattern(_)
            | Self::Dict(_)
            | Self::List(_) => None,
        }
    }

    /// The bool.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The whole number.
    #[must_use]
    pub const fn as_int(&self) -> Option<i128> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }

    /// Whether it is a list that names an option, in any case of letters, or all of them with `*`.
    #[must_use]
    pub fn names_option(&self, option: &str) -> bool {
        let Self::List(names) = self else { return false };
        names.iter().filter_map(Self::as_text).any(|name| name == "*" || name.eq_ignore_ascii_case(option))
    }

    /// The decimal number.
    #[must_use]
    pub const fn as_float(&self) -> Option<f64> {
        if let Self::Float(value) = self { Some(*value) } else { None }
    }

    /// The dictionary.
    #[must_use]
    pub fn as_dict(&self) -> Option<&[(String, String)]> {
        if let Self::Dict(pairs) = self { Some(pairs) } else { None }
    }

    /// The values of a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(values) = self { Some(values) } else { None }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Bool(value) => write!(f, "{}", u8::from(*value)),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Word(word) => write!(f, "\"{word}\""),
            Self::Address(address) => write!(f, "\"{address}\""),
            Self::Cidr(prefix) => write!(f, "{prefix}"),
            Self::Throttle(throttle) => write!(f, "\"{}/{}\"", throttle.events, throttle.seconds),
            Self::Pattern(pattern) => write!(f, "\"{}\"", pattern.as_str()),
            Self::Dict(pairs) => {
                f.write_str("[ ")?;
                for (key, value) in pairs {
                    write!(f, "{key} = \"{value}\" ")?;
                }
                f.write_str("]")
            }
            Self::List(values) => {
                f.write_str("( ")?;
                for value in values {
                    write!(f, "{value} ")?;
                }
                f.write_str(")")
            }
        }
    }
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: u16,
    pub(crate) message: String,
    pub(crate) expected: Option<String>,
    pub(crate) hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: u16, message: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { code, message: message.into(), expected: Some(expected.into()), hint: None }
    }

    pub(crate) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

/// A value and, where it was taken with a remark, the remark.
pub(crate) type Checked = (Value, Option<Problem>);

/// Whether the value, an empty string, takes back what a wider scope of a listener sets: nothing else could, for an
/// option without a default.
pub(crate) fn unsets(row: &Row, written: &Written) -> bool {
    let empty = match written {
        Written::Atom(word) => word.text.is_empty() && word.quote != Quote::Bare,
        Written::Dict(pairs, _) => pairs.is_empty() && matches!(row.kind, Kind::Dict(_)),
        Written::List(..) => false,
    };
    empty && row.chain == Chain::L && !row.array && matches!(row.default, Default::Unset | Default::From(_))
}

/// Reads one word as a value of the option.
pub(crate) fn atom(row: &Row, text: &str) -> Result<Checked, Problem> {
    let plain = |value| Ok((value, None));
    match row.kind {
        Kind::Text(check) => match checked_text(check, text) {
            Ok(()) => plain(Value::Text(text.to_string())),
            // Known and not read, or read in a way to be remarked on: the value stands.
            Err(problem) if matches!(problem.code, 3008 | 3009) => {
                Ok((Value::Text(text.to_string()), Some(problem)))
            }
            Err(problem) => Err(problem),
        },
        Kind::Bool => boolean(text).map_or_else(|| Err(not_bool(text)), |value| plain(Value::Bool(value))),
        Kind::Int => {
            let value = whole(row, text, i128::from(i32::MIN), i128::from(i32::MAX))?;
            plain(Value::Int(value))
        }
        Kind::Uint64 | Kind::Size => plain(Value::Int(whole(row, text, 0, i128::from(u64::MAX))?)),
        Kind::Float => plain(Value::Float(decimal(row, text)?)),
        Kind::Perms => permissions(text).map(|value| (Value::Int(value), None)),
        Kind::Words(words) => word(row, words, text).map_or_else(
            || {
                if row.known.iter().any(|word| text.eq_ignore_ascii_case(word)) {
                    let message = format!("'{}' is known and not read; the default holds", clip(text));
                    return Err(Problem {
                        code: 3008,
                        message,
                        expected: Some(words.join(", ")),
                        hint: None,
                    });
                }
                let hint = crate::schema::nearest_of(text, words.iter().copied());
                let hint = hint.map(|word| format!("did you mean '{word}'?"));
                Err(Problem::new(4007, format!("'{}' is not one of the words", clip(text)), words.join(", "))
                    .hint(hint))
            },
            |word| plain(Value::Word(word)),
        ),
        Kind::WordsOrBool(words) => match (word(row, words, text), boolean(text)) {
            (Some(word), _) => plain(Value::Word(word)),
            (None, Some(value)) => plain(Value::Bool(value)),
            (None, None) => {
                let expected = format!("true, false, {}", words.join(", "));
                Err(Problem::new(4007, format!("'{}' is not one of the words", clip(text)), expected))
            }
        },
        Kind::WordsOrInt(words) => match word(row, words, text) {
            Some(word) => plain(Value::Word(word)),
            None => whole(row, text, i128::from(i32::MIN), i128::from(i32::MAX)).map_or_else(
                |mut problem| {
                    if problem.code == 4002 {
                        problem.code = 4007;
                        problem.expected = Some(format!("{} or a number", words.join(", ")));
                    }
                    Err(problem)
                },
                |value| plain(Value::Int(value)),
            ),
        },
        Kind::Address => match address::ip(text) {
            Some(address) => plain(Value::Address(address)),
            None => Err(Problem::new(
                4005,
                format!("'{}' is not an address", clip(text)),
                "an IPv4 or IPv6 address",
            )),
        },
        Kind::AddressOrHost => match address::ip(text) {
            Some(address) => plain(Value::Address(address)),
            None if text == "*" || address::is_host_name(text) => plain(Value::Text(text.to_string())),
            None => Err(Problem::new(
                4005,
                format!("'{}' is not an address", clip(text)),
                "an address, a host name or *",
            )),
        },
        Kind::Cidr => cidr(text).map(|(prefix, remark)| (Value::Cidr(prefix), remark)),
        Kind::Throttle => throttle(text).map(|value| (Value::Throttle(value), None)),
        Kind::Regex => match Pattern::compile(text, false) {
            Ok(pattern) => plain(Value::Pattern(pattern)),
            Err(error) => Err(Problem {
                code: 4011,
                message: format!(
                    "error compiling regex for {}: {} (offset {})",
                    row.name, error.text, error.offset
                ),
                expected: None,
                hint: None,
            }),
        },
        Kind::Dict(_) => {
            Err(Problem::new(4009, "a dictionary is missing", format!("{} = [ key = value … ]", row.name)))
        }
    }
}

/// At most 40 characters, for a message.
pub(crate) fn clip(text: &str) -> String {
    crate::diagnostic::shown(text)
}

fn not_bool(text: &str) -> Problem {
    Problem::new(
        4001,
        format!("'{}' is not a bool", clip(text)),
        "true/false, yes/no, on/off, enabled/disabled or 1/0",
    )
}

/// Reads one of the ten bool words.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    const YES: [&str; 5] = ["true", "yes", "on", "enabled", "1"];
    const NO: [&str; 5] = ["false", "no", "off", "disabled", "0"];
    let among = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if among(YES) {
        Some(true)
    } else if among(NO) {
        Some(false)
    } else {
        None
    }
}

fn word(row: &Row, words: &'static [&'static str], text: &str) -> Option<&'static str> {
    let alias = row.aliases.iter().find(|(alias, _)| text.eq_ignore_ascii_case(alias)).map(|(_, word)| *word);
    alias.or_else(|| words.iter().copied().find(|word| text.eq_ignore_ascii_case(word)))
}

/// The row's range as text, for messages and the reference page.
pub(crate) fn range_text(row: &Row) -> Option<String> {
    let whole = |min: i64, max: i64| {
        if max == i64::MAX { format!("{min} or more") } else { format!("{min} to {max}") }
    };
    match row.range {
        Range::Any => None,
        Range::Whole(min, max) => Some(whole(min, max)),
        Range::WholeOr(special, min, max) => Some(format!("{special}, or {}", whole(min, max))),
        Range::Real(min, max) if max >= 1e9 => Some(format!("{min} or more")),
        Range::Real(min, max) => Some(format!("{min} to {max}")),
        Range::RealOr(special, min, max) => Some(format!("{special}, or {min} to {max}")),
    }
}

fn in_range(row: &Row, value: i128) -> bool {
    match row.range {
        Range::Any | Range::Real(..) | Range::RealOr(..) => true,
        Range::Whole(min, max) => value >= i128::from(min) && (max == i64::MAX || value <= i128::from(max)),
        Range::WholeOr(special, min, max) => {
            value == i128::from(special)
                || (value >= i128::from(min) && (max == i64::MAX || value <= i128::from(max)))
        }
    }
}

fn whole(row: &Row, text: &str, min: i128, max: i128) -> Result<i128, Problem> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(unit_suffix(row, text).unwrap_or_else(|| {
            Problem::new(4002, format!("'{}' is not an integer", clip(text)), "a whole number")
        }));
    }
    let out_of_range =
        |expected: String| Problem::new(4003, format!("'{}' is out of range", clip(text)), expected);
    let limits = || range_text(row).unwrap_or_else(|| format!("{min} to {max}"));
    let significant = digits.trim_start_matches('0');
    let value: i128 = if significant.is_empty() {
        0
    } else if significant.len() > 20 {
        return Err(out_of_range(limits()));
    } else {
        significant.parse().map_err(|_| out_of_range(limits()))?
    };
    let value = if text.starts_with('-') { -value } else { value };
    if value < min || value > max {
        return Err(out_of_range(format!("{min} to {max}")));
    }
    if in_range(row, value) { Ok(value) } else { Err(out_of_range(limits())) }
}

fn decimal(row: &Row, text: &str) -> Result<f64, Problem> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (before, after) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.len() <= 18 && part.bytes().all(|b| b.is_ascii_digit());
    if !plain(before) || !plain(after) {
        return Err(unit_suffix(row, text).unwrap_or_else(|| {
            Problem::new(4002, format!("'{}' is not a number", clip(text)), "a number such as 1, 1.0 or 0.25")
        }));
    }
    let value: f64 = text.parse().map_err(|_| {
        Problem::new(4002, format!("'{}' is not a number", clip(text)), "a number such as 0.25")
    })?;
    #[expect(clippy::float_cmp, reason = "the special value is written, not computed")]
    let fits = match row.range {
        Range::Any | Range::Whole(..) | Range::WholeOr(..) => true,
        Range::Real(min, max) => (min..=max).contains(&value),
        Range::RealOr(special, min, max) => value == special || (min..=max).contains(&value),
    };
    if fits {
        Ok(value)
    } else {
        let expected = range_text(row).unwrap_or_default();
        Err(Problem::new(4003, format!("'{}' is out of range", clip(text)), expected))
    }
}

/// A number with a unit behind it is refused: older tools would read `5m` as 5.
fn unit_suffix(row: &Row, text: &str) -> Option<Problem> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, suffix) = (text.get(..split)?, text.get(split..)?.to_ascii_lowercase());
    let number: f64 = number.parse().ok()?;
    let seconds = match suffix.as_str() {
        "ms" => Some(0.001),
        "s" | "sec" | "secs" | "second" | "seconds" => Some(1.0),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(60.0),
        "h" | "hour" | "hours" => Some(3600.0),
        "d" | "day" | "days" => Some(86_400.0),
        "w" | "week" | "weeks" => Some(604_800.0),
        _ => None,
    };
    let amount = match suffix.as_str() {
        "b" => Some(1.0),
        "k" | "kb" | "kib" => Some(1024.0),
        "m" | "mb" | "mib" => Some(1_048_576.0),
        "g" | "gb" | "gib" => Some(1_073_741_824.0),
        "t" | "tb" | "tib" => Some(1_099_511_627_776.0),
        "%" => Some(1.0),
        _ => None,
    };
    let (unit, factor) = match row.unit {
        Unit::Seconds => ("seconds", seconds),
        Unit::Bytes => ("bytes", amount),
        Unit::Percent => ("per cent", amount),
        Unit::Bits => ("bits", None),
        Unit::Entries => ("entries", amount),
        Unit::None => ("", amount),
    };
    if seconds.is_none() && amount.is_none() {
        return None;
    }
    let of = if unit.is_empty() { String::new() } else { format!(" of {unit}") };
    let expected = match factor.map(|factor| number * factor).filter(|plain| *plain < 1e15) {
        Some(plain) if row.kind == Kind::Float => format!("a plain number{of}, e.g. {plain}"),
        #[expect(clippy::cast_possible_truncation, reason = "checked to be below 1e15")]
        Some(plain) => format!("a plain number{of}, e.g. {}", ((plain + 0.5) as i64).max(1)),
        None => format!("a plain number{of}"),
    };
    Some(Problem::new(4012, format!("'{}' has a unit behind it", clip(text)), expected))
}

fn permissions(text: &str) -> Result<i128, Problem> {
    let digits = if text.len() == 5 { text.strip_prefix('0').unwrap_or(text) } else { text };
    let octal = matches!(digits.len(), 1..=4) && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let value = octal.then(|| i128::from_str_radix(digits, 8).ok()).flatten();
    value.ok_or_else(|| {
        Problem::new(
            4004,
            format!("'{}' is not octal permissions", clip(text)),
            "one to four digits 0 to 7, such as 0640",
        )
    })
}

/// Reads an address or a block; host bits below the mask are cleared with a remark.
pub(crate) fn cidr(text: &str) -> Result<(Prefix, Option<Problem>), Problem> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let joined = bare.map(|(inner, behind)| format!("{inner}{behind}"));
    match Prefix::parse_lenient(joined.as_deref().unwrap_or(text)) {
        Ok((prefix, cleared)) => {
            let remark = cleared.then(|| Problem {
                code: 4013,
                message: format!("bits behind the mask are cleared: {prefix}"),
                expected: None,
                hint: None,
            });
            Ok((prefix, remark))
        }
        Err(error) => Err(Problem {
            code: 4010,
            message: format!("'{}' is not an address or block", clip(text)),
            expected: Some("A.B.C.D, A.B.C.D/0-32, IPv6 or IPv6/0-128".to_string()),
            hint: matches!(error, postfleet_types::PrefixError::Length { .. }).then(|| error.to_string()),
        }),
    }
}

fn throttle(text: &str) -> Result<Throttle, Problem> {
    let digits = |part: &str| {
        (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse::<u64>().ok())
            .flatten()
    };
    let (events, seconds) = text.split_once('/').unwrap_or((text, "1"));
    match (digits(events), digits(seconds)) {
        (Some(events), Some(seconds)) if seconds >= 1 => Ok(Throttle { events, seconds }),
        _ => Err(Problem::new(
            4006,
            format!("'{}' is not a throttle", clip(text)),
            "N or N/S, N events in S seconds",
        )),
    }
}

fn checked_text(check: Check, text: &str) -> Result<(), Problem> {
    let among = |min: usize, max: usize, allowed: fn(u8) -> bool| {
        (min..=max).contains(&text.len()) && text.bytes().all(allowed)
    };
    let (fits, code, what, expected) = match check {
        Check::Any => (true, 0, "", ""),
        Check::Path => (text.starts_with('/'), 4005, "an absolute path", "a path that begins with /"),
        Check::HostName => {
            (text.is_empty() || address::is_host_name(text), 4005, "a host name", "a DNS name")
        }
        Check::DomainPattern => {
            let rest = text.strip_prefix('*').unwrap_or(text);
            let rest = rest.strip_prefix('.').unwrap_or(rest);
            let fits = text == "*" || address::is_host_name(rest) || address::ip(rest).is_some();
            (fits, 4005, "a domain", "a domain, with * only as first character")
        }
        Check::GroupName => {
            let fits = among(1, 31, |b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            (fits, 4003, "a group name", "1 to 31 characters A-Z a-z 0-9 _ -")
        }
        Check::NodeName => {
            let fits = among(1, 63, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            (fits, 4003, "a node name", "1 to 63 characters a-z 0-9 -")
        }
        Check::Label => (
            among(1, 32, |b| b.is_ascii_graphic()),
            4003,
            "a label",
            "1 to 32 printable characters without blank",
        ),
        Check::Banner => (text.starts_with("220"), 4003, "a greeting", "a text that begins with 220"),
        Check::Extension => (is_extension(text), 4007, "an SMTP extension", EXTENSIONS),
        Check::BusAddress => {
            let host = text
                .rsplit_once(':')
                .filter(|(host, digits)| !host.is_empty() && address::port(digits).is_some());
            let fits = text.starts_with('/') || address::port(text).is_some() || host.is_some();
            (fits, 4005, "a bus address", "a port, HOST:PORT or an absolute path")
        }
        Check::SocketAddress => {
            let named = text
                .rsplit_once(':')
                .is_some_and(|(host, digits)| address::is_host_name(host) && address::port(digits).is_some());
            (
                named || ListenAddress::parse(text).is_ok(),
                4005,
                "an address with port",
                "ADDRESS:PORT or [IPv6]:PORT",
            )
        }
        Check::Monitor => return monitor(text),
        Check::Destination => return log_destination(text),
        Check::LogTemplate => return log_template(text),
        Check::Gateway => return route(text, Route::gateway(text), GATEWAY_FORM),
        Check::Route => return route(text, Route::parse(text), ROUTE_FORM),
        Check::Capabilities => {
            return capabilities(text).map(|_| ()).map_err(|word| {
                Problem::new(
                    4007,
                    format!("'{}' is not a capability", clip(&word)),
                    "cap_NAME+ep, with blanks between",
                )
            });
        }
        Check::Action => (
            RuleAction::parse(text).is_some(),
            6180,
            "an action",
            "`CODE TEXT` with a code 400 to 599, `tarpit SECONDS` or `discard`",
        ),
        Check::Macros => return macros(text),
        Check::LimitName => return limit_name(text),
        Check::DebugWord => {
            let mask = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let word = DEBUG_WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
            (
                mask || word,
                4007,
                "a subsystem",
                "ERROR, TIME, FD, SMTP, LOG1, DNS, DNSDS, NET, SIG, MEM, DB, LIC, SSL, MOD, START, CLUSTER, BUS, REPL, VIP, CONF or ALL",
            )
        }
    };
    if fits { Ok(()) } else { Err(Problem::new(code, format!("'{}' is not {what}", clip(text)), expected)) }
}

const DEBUG_WORDS: [&str; 21] = [
    "ALL", "ERROR", "TIME", "FD", "SMTP", "LOG1", "DNS", "DNSDS", "NET", "SIG", "MEM", "DB", "LIC", "SSL",
    "MOD", "START", "CLUSTER", "BUS", "REPL", "VIP", "CONF",
];

const EXTENSIONS: &str = "ENHANCEDSTATUSCODES, STARTTLS, DSN, CHUNKING, SMTPUTF8, AUTH with LOGIN, PLAIN, \
                          CRAM-MD5 or DIGEST-MD5, XCLIENT, XREMOTEIP, XDUMPCONTEXT or XSETCONTEXT";

fn is_extension(text: &str) -> bool {
    const PLAIN: [&str; 12] = [
        "ENHANCEDSTATUSCODES",
        "STARTTLS",
        "DSN",
        "CHUNKING",
        "SMTPUTF8",
        "XCLIENT",
        "XREMOTEIP",
        "XDUMPCONTEXT",
        "XSETCONTEXT",
        "PIPELINING",
        "8BITMIME",
        "SIZE",
    ];
    const MECHANISMS: [&str; 4] = ["LOGIN", "PLAIN", "CRAM-MD5", "DIGEST-MD5"];
    if PLAIN.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return true;
    }
    let mut words = text.split_ascii_whitespace();
    words.next().is_some_and(|word| word.eq_ignore_ascii_case("AUTH"))
        && words.clone().next().is_some()
        && words.all(|word| MECHANISMS.iter().any(|mechanism| word.eq_ignore_ascii_case(mechanism)))
}

/// Checks the keys of a dictionary. The number says which pair is at fault.
pub(crate) fn dict(keys: Keys, pairs: &[(String, String)]) -> Result<(), (Option<usize>, Problem)> {
    let lower: BTreeMap<String, usize> =
        pairs.iter().enumerate().map(|(at, (key, _))| (key.to_ascii_lowercase(), at)).collect();
    let among = |allowed: &[&str]| {
        let stranger =
            pairs.iter().position(|(key, _)| !allowed.iter().any(|name| key.eq_ignore_ascii_case(name)));
        if let Some(at) = stranger {
            let key = pairs.get(at).map_or("", |(key, _)| key);
            let hint = allowed.join(", ");
            return Err((
                Some(at),
                Problem::new(4007, format!("'{}' is not a key of this dictionary", clip(key)), hint),
            ));
        }
        if lower.contains_key("uri") {
            return Ok(());
        }
        Err((None, Problem::new(4009, "the key 'uri' is missing", "uri = \"SCHEME://PLACE\"")))
    };
    match keys {
        Keys::Any => Ok(()),
        Keys::Authentication => among(&["uri", "realm", "log_authentication", "stored_cleartext"]),
        Keys::Authorization => among(&["uri"]),
        Keys::Logs => {
            let bad = pairs.iter().position(|(key, _)| {
                key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            });
            match bad {
                Some(at) => {
                    Err((Some(at), Problem::new(4007, "not the name of a log", "characters A-Z a-z 0-9 _ -")))
                }
                None => Ok(()),
            }
        }
        Keys::Peers => {
            for (at, (key, value)) in pairs.iter().enumerate() {
                if key.bytes().any(|b| b.is_ascii_uppercase()) {
                    let expected = format!("'{}'", key.to_ascii_lowercase());
                    return Err((
                        Some(at),
                        Problem::new(6221, format!("peer '{}' has upper-case letters", clip(key)), expected),
                    ));
                }
                if address::ip(value).is_none() {
                    let message = format!("'{}' is not an address", clip(value));
                    return Err((Some(at), Problem::new(4005, message, "an IPv4 or IPv6 address")));
                }
            }
            Ok(())
        }
    }
}
