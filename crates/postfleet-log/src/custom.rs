//! Formats of one's own: literal text with macros.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use postfleet_types::WallTime;

use crate::bounce::class_name;
use crate::field::UNKNOWN_ID;
use crate::field::without_line_ends;
use crate::local::LocalTime;
use crate::mail::{seconds, stage_text};
use crate::sanitize::Sanitize;

/// A parsed format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Macro { name: String, argument: Option<String> },
}

/// Why a text is no format. Who wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// The macro.
    pub name: String,
    /// What is wrong.
    pub problem: &'static str,
}

/// Finds what is not here: name and argument in, text out.
pub type More<'a> = dyn Fn(&str, Option<&str>) -> Option<String> + 'a;

/// The values of one event; what is none is not known at its stage, and printed as nothing.
#[derive(Clone, Copy, Default)]
pub struct Macros<'a> {
    /// `%t`, `%us{N}`
    pub at: WallTime,
    /// The zone of `%t{FORMAT}`; none is universal time.
    pub local: Option<LocalTime<'a>>,
    /// `%b`
    pub binding: Option<&'a str>,
    /// `%g`
    pub binding_group: Option<&'a str>,
    /// `%B`
    pub octets: Option<u64>,
    /// `%i`
    pub message: Option<&'a str>,
    /// `%BI`
    pub batch: Option<&'a str>,
    /// `%CI`
    pub connection: Option<&'a str>,
    /// `%C`, `%c`
    pub class: Option<u8>,
    /// `%S`, `%s`
    pub stage: Option<u8>,
    /// `%d`
    pub domain: Option<&'a str>,
    /// `%H`
    pub host: Option<IpAddr>,
    /// `%m`, `%M`
    pub sender: Option<(&'a str, &'a str)>,
    /// `%r`, `%R`
    pub recipient: Option<(&'a str, &'a str)>,
    /// `%n`
    pub response: Option<&'a [u8]>,
    /// `%N`
    pub tries: Option<u32>,
    /// `%p`
    pub protocol: Option<&'a str>,
    /// `%P`
    pub pathway: Option<&'a str>,
    /// `%PG`
    pub pathway_group: Option<&'a str>,
    /// `%T`
    pub queued: Option<Duration>,
    /// `%U`
    pub user: Option<&'a str>,
    /// `%h{X}`, `%vctx_conn{KEY}`, `%vctx_mess{KEY}`, and names of other namespaces: name and argument.
    pub more: Option<&'a More<'a>>,
}

impl core::fmt::Debug for Macros<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Macros").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Format {
    /// Reads a format. The name of a macro is the longest run of letters and `_`; `{…}` behind it is its argument.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            let (before, behind) = rest.split_at(at);
            literal.push_str(before);
            let behind = behind.get(1..).unwrap_or_default();
            let length = name_length(behind);
            if length == 0 {
                literal.push('%');
                // `%%` is one `%`.
                rest = behind.strip_prefix('%').unwrap_or(behind);
                continue;
            }
            let (name, mut after) = behind.split_at(length);
            let mut argument = None;
            if let Some(inside) = after.strip_prefix('{') {
                let end = inside.find('}').ok_or_else(|| FormatError {
                    name: name.to_string(),
                    problem: "its argument has no closing brace",
                })?;
                argument = inside.get(..end).map(String::from);
                after = inside.get(end + 1..).unwrap_or_default();
            }
            if matches!(name, "us" | "custom_logger::us") && decimals(argument.as_deref(), 1).is_none() {
                return Err(FormatError { name: name.to_string(), problem: "it takes 1 to 6 decimals" });
            }
            if !literal.is_empty() {
                parts.push(Part::Text(core::mem::take(&mut literal)));
            }
            parts.push(Part::Macro { name: name.to_string(), argument });
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    /// Names that nothing stands for, unless others than this crate know them; each once.
    #[must_use]
    pub fn unknown(&self) -> Vec<&str> {
        let mut unknown = Vec::new();
        for part in &self.0 {
            let Part::Macro { name, .. } = part else { continue };
            let known = KNOWN.contains(&own(name)) || ELSEWHERE.contains(&name.as_str());
            if !known && !unknown.contains(&name.as_str()) {
                unknown.push(name.as_str());
            }
        }
        unknown
    }

    /// The line, without its end. It is one line whatever the values hold; `sanitize` is applied to replies.
    #[must_use]
    pub fn line(&self, macros: &Macros<'_>, sanitize: &Sanitize) -> Vec<u8> {
        let mut line = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => line.extend(text.as_bytes()),
                Part::Macro { name, .. } if own(name) == "n" => {
                    line.extend(macros.response.map(|response| sanitize.apply(response)).unwrap_or_default());
                }
                Part::Macro { name, argument } => {
                    line.extend(
                        macros.value(own(name), argument.as_deref()).unwrap_or_default().into_bytes(),
                    );
                }
            }
        }
        without_line_ends(&line)
    }
}

/// What this crate knows.
const KNOWN: [&str; 27] = [
    "t", "us", "b", "g", "B", "i", "BI", "CI", "C", "c", "S", "s", "d", "H", "m", "M", "r", "R", "n", "N",
    "p", "P", "PG", "T", "U", "A", "h",
];

/// What is known of sessions.
const ELSEWHERE: [&str; 2] = ["vctx_conn", "vctx_mess"];

/// The name without our own namespace.
fn own(name: &str) -> &str {
    name.strip_prefix("custom_logger::").unwrap_or(name)
}

/// Letters and `_`; `ns::name` is one name.
fn name_length(text: &str) -> usize {
    let word = |text: &str| text.find(|c: char| !c.is_ascii_alphabetic() && c != '_').unwrap_or(text.len());
    let first = word(text);
    let behind = text.get(first..).and_then(|rest| rest.strip_prefix("::"));
    match behind.map(word) {
        Some(second) if first > 0 && second > 0 => first + 2 + second,
        _ => first,
    }
}

fn decimals(argument: Option<&str>, least: usize) -> Option<usize> {
    argument?.parse().ok().filter(|decimals| (least..=6).contains(decimals))
}

impl Macros<'_> {
    /// All but the reply.
    fn value(&self, name: &str, argument: Option<&str>) -> Option<String> {
        let id = |id: Option<&str>| Some(id.unwrap_or(UNKNOWN_ID).to_string());
        let text = |text: Option<&str>| text.map(String::from);
        match name {
            "t" => Some(match argument {
                None => self.at.unix_seconds().to_string(),
                Some(format) => self.local.unwrap_or(LocalTime::UTC).format(self.at, format),
            }),
            "us" => {
                let fraction = format!("{:03}000", self.at.unix_millis() % 1000);
                let digits = fraction.get(..decimals(argument, 1)?)?;
                Some(format!("{}.{digits}", self.at.unix_seconds()))
            }
            "b" => text(self.binding),
            "g" => text(self.binding_group),
            "B" => self.octets.map(|octets| octets.to_string()),
            "i" => id(self.message),
            "BI" => id(self.batch),
            "CI" => id(self.connection),
            "C" => self.class.map(|class| class.to_string()),
            "c" => self.class.map(|class| class_name(class).to_string()),
            "S" => Some(self.stage.unwrap_or(22).to_string()),
            "s" => self.stage.map(|stage| stage_text(stage).to_string()),
            "d" => text(self.domain),
            "H" => self.host.map(|host| host.to_string()),
            "m" => text(self.sender.map(|sender| sender.0)),
            "M" => text(self.sender.map(|sender| sender.1)),
            "r" => text(self.recipient.map(|recipient| recipient.0)),
            "R" => text(self.recipient.map(|recipient| recipient.1)),
            "N" => self.tries.map(|tries| tries.to_string()),
            "p" => Some(self.protocol.unwrap_or("unknown").to_string()),
            "P" => text(self.pathway),
            "PG" => text(self.pathway_group),
            "T" => Some(seconds(self.queued?, decimals(argument, 0).unwrap_or(2))),
            "U" => text(self.user),
            other => self.more.and_then(|more| more(other, argument)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(format: &Format, macros: &Macros<'_>) -> String {
        String::from_utf8(format.line(macros, &Sanitize::default())).unwrap()
    }

    fn delivery() -> Macros<'static> {
        Macros {
            at: WallTime::from_unix_seconds(1_700_000_103),
            batch: Some("30/00-04711-461F3556"),
            queued: Some(Duration::from_millis(1874)),
            recipient: Some(("carol", "mail.example")),
            tries: Some(1),
            ..Macros::default()
        }
    }

    #[test]
    fn logging_a38_a_rejection_at_connect() {
        let format =
            Format::parse("%t|%t{%Y-%m-%d}|%H|%p|%s|%S|%i|%BI|%n|%r@%R|%m@%M|%U|%h{Subject}|%mx").unwrap();
        let macros = Macros {
            at: WallTime::from_unix_seconds(1_700_000_600),
            host: Some([192, 0, 2, 77].into()),
            response: Some(b"connection refused by policy"),
            ..Macros::default()
        };
        assert_eq!(
            line(&format, &macros),
            "1700000600|2023-11-14|192.0.2.77|unknown||22|00/00-00000-00000000|00/00-00000-00000000|\
             connection refused by policy|@|@|||"
        );
    }

    #[test]
    fn logging_a39_an_unknown_macro_and_a_lone_percent_sign() {
        let format = Format::parse("%t{%Y-%m-%d}|%T{3}|%BI|%zz|100%").unwrap();
        assert_eq!(line(&format, &delivery()), "2023-11-14|1.874|30/00-04711-461F3556||100%");
        let line = |text: &str| line(&Format::parse(text).unwrap(), &delivery());
        assert_eq!(line("%t %r@%R %N"), "1700000103 carol@mail.example 1");
        assert_eq!(line("%H% @ %% %T %us{3}"), "% @ % 1.87 1700000103.000");
        assert!(Format::parse("%us{7}").is_err() && Format::parse("%t{x").is_err());
    }

    #[test]
    fn logging_15_4_a_permanent_failure_as_the_version_2_sample_has_it() {
        let format = Format::parse("%b %B %c %i %m@%M %H %N %p %r@%R %s %t %T %U %n").unwrap();
        let macros = Macros {
            at: WallTime::from_unix_seconds(1_700_000_110),
            binding: Some("bulk-1"),
            octets: Some(4821),
            class: Some(10),
            message: Some("20/00-04711-461F3556"),
            sender: Some(("news", "sender.example")),
            host: Some([198, 51, 100, 7].into()),
            tries: Some(2),
            protocol: Some("esmtp"),
            stage: Some(5),
            queued: Some(Duration::from_millis(9310)),
            response: Some(b"550 5.1.1 <carol@mail.example> unknown"),
            ..delivery()
        };
        assert_eq!(
            line(&format, &macros),
            "bulk-1 4821 Invalid Recipient 20/00-04711-461F3556 news@sender.example 198.51.100.7 2 esmtp \
             carol@mail.example after RCPT TO 1700000110 9.31  550 5.1.1 <carol@mail.example> unknown"
        );
    }

    #[test]
    fn local_time_and_names_that_nobody_knows() {
        let format = Format::parse("%t{%H:%M %Z} %custom_logger::b %zz %zz %sieve::x %vctx_conn{a}").unwrap();
        let local = Some(LocalTime { offset_seconds: 3600, name: "CET" });
        let line = line(&format, &Macros { local, binding: Some("b"), ..delivery() });
        assert_eq!(line, "23:15 CET b    ");
        assert_eq!(format.unknown(), ["zz", "sieve::x"]);
    }

    #[test]
    fn a_reply_keeps_its_octets_and_is_one_line() {
        let macros = Macros { response: Some(b"550-\xfcber\r\n550 no"), ..delivery() };
        let made = Format::parse("<%n>").unwrap().line(&macros, &Sanitize::default());
        assert_eq!(made, b"<550-\xfcber 550 no>");
    }

    #[test]
    fn values_from_elsewhere() {
        let more = |name: &str, argument: Option<&str>| {
            (name == "vctx_mess").then(|| format!("<{}>\r\nx", argument.unwrap_or_default()))
        };
        let macros = Macros { more: Some(&more), ..delivery() };
        let format = Format::parse("%vctx_mess{key}|%sieve::name|%t:").unwrap();
        assert_eq!(line(&format, &macros), "<key> x||1700000103:");
    }

    proptest! {
        #[test]
        fn any_format_is_read_or_refused(text in any::<String>()) {
            if let Ok(format) = Format::parse(&text) {
                prop_assert!(!line(&format, &delivery()).contains(['\r', '\n']));
            }
        }
    }
}
