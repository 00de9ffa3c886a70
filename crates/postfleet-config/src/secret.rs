//! Values that nobody may see on a screen or in a log: those of options and keys named like a password, and what opens
//! a data source.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::syntax::{Item, Word, Written};
use crate::value::Value;

/// What stands in the place of a secret.
pub(crate) const MASK: &str = "***";

/// Whether a name is that of a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("password") || name.contains("pwd")
}

/// Whether displays show a value. What is written to files is always whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrets {
    /// As it is.
    Shown,
    /// With `***` for what opens something.
    Hidden,
}

/// What of the values of an option is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    /// Nothing but values of keys that say so.
    Keys,
    /// The credentials in an address.
    Credentials,
    /// Everything.
    All,
}

impl Secret {
    /// Of an option or a key, by its name.
    pub(crate) fn of(name: &str) -> Self {
        if is_secret(name) {
            Self::All
        } else if name.to_ascii_lowercase().starts_with("uri") {
            Self::Credentials
        } else {
            Self::Keys
        }
    }

    fn text(self, text: &str) -> String {
        match self {
            Self::Keys => text.to_string(),
            Self::Credentials => without_credentials(text),
            Self::All => MASK.to_string(),
        }
    }

    fn word(self, word: &Word) -> Word {
        Word { text: self.text(&word.text), ..word.clone() }
    }

    /// For the value of a key of a dictionary.
    fn key(self, key: &str) -> Self {
        match self {
            Self::Keys => Self::of(key),
            Self::Credentials | Self::All => self,
        }
    }

    /// A value as displays write it.
    pub(crate) fn written(self, value: &Written) -> Written {
        match value {
            Written::Atom(word) => Written::Atom(self.word(word)),
            Written::List(words, span) => {
                Written::List(words.iter().map(|word| self.word(word)).collect(), *span)
            }
            Written::Dict(pairs, span) => {
                let pair = |(key, value): &(Word, Word)| (key.clone(), self.key(&key.text).word(value));
                Written::Dict(pairs.iter().map(pair).collect(), *span)
            }
        }
    }

    /// A value as data.
    pub(crate) fn value(self, value: &Value) -> Value {
        match value {
            // Whatever its type.
            _ if self == Self::All => Value::Text(MASK.to_string()),
            Value::Text(text) => Value::Text(self.text(text)),
            Value::List(values) => Value::List(values.iter().map(|value| self.value(value)).collect()),
            Value::Dict(pairs) => {
                let pair = |(key, value): &(String, String)| (key.clone(), self.key(key).text(value));
                Value::Dict(pairs.iter().map(pair).collect())
            }
            Value::Word(_)
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Address(_)
            | Value::Cidr(_)
            | Value::Throttle(_)
            | Value::Pattern(_) => value.clone(),
        }
    }
}

/// Items that are kept and not read, by the names alone.
pub(crate) fn hidden(items: &[Item]) -> Vec<Item> {
    let hide = |item: &Item| match item {
        Item::Include { .. } => item.clone(),
        Item::Assignment { name, value } => {
            Item::Assignment { name: name.clone(), value: Secret::of(&name.text).written(value) }
        }
        Item::Stanza { scope, name, body } => {
            Item::Stanza { scope: scope.clone(), name: name.clone(), body: hidden(body) }
        }
    };
    items.iter().map(hide).collect()
}

/// The address of a data source without what opens it: `key=value` parts with the name of a secret, and the password
/// in `user:password@host`.
fn without_credentials(uri: &str) -> String {
    let mut out = String::new();
    let mut rest = uri;
    while !rest.is_empty() {
        let end = rest.find(SEPARATORS).unwrap_or(rest.len());
        let (body, behind) = rest.split_at(end);
        rest = behind;
        match body.split_once('=') {
            Some((key, value)) if is_secret(key) || key.to_ascii_lowercase().ends_with("pass") => {
                out.push_str(key);
                out.push('=');
                out.push_str(MASK);
                // A value in braces may have separators inside.
                if value.starts_with('{') && !value.contains('}') {
                    rest = rest.split_once('}').map_or("", |(_, behind)| behind);
                }
            }
            _ => {
                match body.rsplit_once('@').and_then(|(login, host)| Some((login.rsplit_once(':')?.0, host)))
                {
                    Some((user, host)) if user.contains("//") => {
                        out.push_str(user);
                        out.push(':');
                        out.push_str(MASK);
                        out.push('@');
                        out.push_str(host);
                    }
                    _ => out.push_str(body),
                }
            }
        }
        let mut characters = rest.chars();
        if let Some(separator) = characters.next().filter(|character| SEPARATORS.contains(character)) {
            out.push(separator);
            rest = characters.as_str();
        }
    }
    out
}

/// What ends a part of an address.
const SEPARATORS: [char; 4] = [';', '&', '?', ' '];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_data_sources_are_not_shown() {
        let check = |uri: &str, shown: &str| assert_eq!(without_credentials(uri), shown);
        check("odbc:DSN=x;UID=user;PWD=secret", "odbc:DSN=x;UID=user;PWD=***");
        check("mysql://user:secret@host/db?password=x", "mysql://user:***@host/db?password=***");
        check("odbc:PWD={a;b};UID=u", "odbc:PWD=***;UID=u");
        check("odbc:PWD={a;b", "odbc:PWD=***");
        check("odbc:PWD={a}x;UID=u", "odbc:PWD=***;UID=u");
        check("null:", "null:");
        check("ldap:host=a;bindpass=x", "ldap:host=a;bindpass=***");
    }
}
