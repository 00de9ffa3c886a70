//! Values as displays write them.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::config::Config;
use crate::resolve::{Resolved, default_value};
use crate::schema::{Default, Kind, Row};
use crate::secret::{Secret, Secrets};
use crate::settings::{object_kind, parameter_words};
use crate::syntax::{Quote, Word, Written, print_quoted, print_word};
use crate::tree::{Assigned, InstanceId};
use crate::value::Value;

/// A value as lines: the first behind `NAME = `, the last closes what it opened.
pub(super) struct Shown {
    opener: String,
    elements: Vec<String>,
    closer: Option<char>,
}

impl Shown {
    fn line(text: String) -> Self {
        Self { opener: text, elements: Vec::new(), closer: None }
    }

    fn many(elements: Vec<String>, open: char, close: char) -> Self {
        if elements.is_empty() {
            return Self::line(format!("{open}{close}"));
        }
        Self { opener: open.to_string(), elements, closer: Some(close) }
    }

    /// `NAME = VALUE`, two blanks before each element of a list. `set` puts the closing bracket under the elements.
    pub(super) fn lines(&self, name: &str, closer_indented: bool) -> Vec<String> {
        let mut lines = alloc::vec![format!("{name} = {}", self.opener)];
        lines.extend(self.elements.iter().map(|element| format!("  {element}")));
        lines
            .extend(self.closer.map(|closer| format!("{}{closer}", if closer_indented { "  " } else { "" })));
        lines
    }

    /// The value on one line, for messages and commands.
    pub(super) fn one_line(&self) -> String {
        match self.closer {
            None => self.opener.clone(),
            Some(closer) => format!("{} {} {closer}", self.opener, self.elements.join(" ")),
        }
    }
}

fn word(word: &Word) -> String {
    let mut text = String::new();
    print_word(&mut text, word);
    text
}

pub(super) fn quoted(content: &str) -> String {
    let mut text = String::new();
    print_quoted(&mut text, content);
    text
}

/// A value as written.
pub(super) fn written(value: &Written) -> Shown {
    match value {
        Written::Atom(atom) => Shown::line(word(atom)),
        Written::List(words, _) => Shown::many(words.iter().map(word).collect(), '(', ')'),
        Written::Dict(pairs, _) => Shown::many(
            pairs.iter().map(|(key, value)| format!("{} = {}", word(key), word(value))).collect(),
            '[',
            ']',
        ),
    }
}

/// A value as set in an instance.
pub(super) fn assigned(config: &Config, id: InstanceId, assigned: &Assigned, secrets: Secrets) -> Shown {
    if let Some(words) = parameters(config, id, assigned) {
        return Shown::line(quoted(&words));
    }
    match secrets {
        Secrets::Shown => written(&assigned.written),
        Secrets::Hidden => written(&Secret::of(assigned.row.name).written(&assigned.written)),
    }
}

/// `parameters` of one object in several stanzas add up.
pub(super) fn parameters(config: &Config, id: InstanceId, assigned: &Assigned) -> Option<String> {
    if assigned.row.name != "parameters" || assigned.shadowed.is_empty() {
        return None;
    }
    let stanza = config.tree().instance(id)?;
    let words = parameter_words(stanza, object_kind(stanza)?);
    Some(words.into_iter().map(|(word, _)| word).collect::<Vec<_>>().join(";"))
}

/// The default of an option: numbers, permissions and bools bare, texts quoted, nothing as `""`.
pub(super) fn default(config: &Config, row: &'static Row) -> Shown {
    let value = default_value(row, config.compatible());
    match (value, row.default) {
        (None, _) if row.array => Shown::many(Vec::new(), '(', ')'),
        (None, _) if matches!(row.kind, Kind::Dict(_)) => Shown::many(Vec::new(), '[', ']'),
        (None, _) => Shown::line("\"\"".into()),
        // As registered, for `0640` is not the number 640 or 416.
        (Some(Value::Int(_) | Value::Throttle(_)), Default::Is(text)) if is_number(text) => {
            Shown::line(text.to_string())
        }
        (Some(Value::List(values)), _) => Shown::many(values.iter().map(plain).collect(), '(', ')'),
        (Some(Value::Dict(pairs)), _) => {
            let pairs = pairs.iter().map(|(key, value)| format!("{key} = {}", quoted(value)));
            Shown::many(pairs.collect(), '[', ']')
        }
        (Some(value), _) => Shown::line(plain(&value)),
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Word(word) => quoted(word),
        Value::Pattern(pattern) => quoted(pattern.as_str()),
        Value::Cidr(prefix) => quoted(&prefix.to_string()),
        Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Address(_)
        | Value::Throttle(_)
        | Value::Dict(_)
        | Value::List(_) => value.to_string(),
    }
}

/// The answer of a look-up: as written where it is set, else the default.
pub(super) fn resolved(config: &Config, resolved: &Resolved) -> Shown {
    match set_in(config, resolved) {
        Some((id, found)) => assigned(config, id, found, Secrets::Hidden),
        None => match &resolved.value {
            Some(value) if Some(value) != default_value(resolved.row, config.compatible()).as_ref() => {
                Shown::line(plain(value))
            }
            Some(_) | None => default(config, resolved.row),
        },
    }
}

/// Where the answer of a look-up is set.
pub(super) fn set_in<'a>(config: &'a Config, resolved: &Resolved) -> Option<(InstanceId, &'a Assigned)> {
    let crate::resolve::Origin::Set { instance, .. } = resolved.origin else { return None };
    Some((instance, config.assigned(instance, resolved.row)?))
}

/// The name of an instance behind its scope, in double quotes.
pub(super) fn heading(scope: &str, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{scope} {}", quoted(name)),
        None => scope.to_string(),
    }
}

/// A word for a command line: bare where that can be read again.
pub(super) fn argument(text: &str) -> String {
    let plain = !text.is_empty()
        && !text.contains("/*")
        && !text.starts_with(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}'])
        && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"#\"'={}[]()<>".contains(c));
    let bare = Word {
        text: text.into(),
        quote: if plain { Quote::Bare } else { Quote::Double },
        span: crate::source::Span::at(crate::source::SourceId(0), 0, 0),
    };
    word(&bare)
}
