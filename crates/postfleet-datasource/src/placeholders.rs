//! Placeholders of a query: `?` by position, `:name` by name.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use crate::rows::Value;

/// What the placeholders stand for.
#[derive(Clone, Debug, PartialEq)]
pub enum Params {
    /// For the first `?`, the second, and so on.
    Positional(Vec<Value>),
    /// For each `:name`.
    Named(BTreeMap<String, Value>),
}

impl Default for Params {
    fn default() -> Self {
        Self::Positional(Vec::new())
    }
}

/// How a driver wants its placeholders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `?` for each in turn: ODBC, SQLite.
    Question,
    /// `$1`, `$2`: PostgreSQL.
    Dollar,
}

/// A query as a driver gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The text, with placeholders in the driver's style.
    pub text: String,
    /// One value for each of them, in their order.
    pub values: Vec<Value>,
}

/// Why a query and its parameters do not fit. The script is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderError {
    /// More or fewer `?` than values.
    #[error("the query has {found} placeholders, {given} values were given")]
    Count {
        /// In the query.
        found: usize,
        /// By the caller.
        given: usize,
    },
    /// A `:name` without a value.
    #[error("no value was given for :{0}")]
    Missing(String),
    /// Both kinds, or values by name for `?`, or the other way round.
    #[error("placeholders are either all ? with values by position or all :name with values by name")]
    Mixed,
    /// A quotation or comment that does not end.
    #[error("a quotation or comment in the query does not end")]
    Open,
}

impl Statement {
    /// Puts the placeholders of `query` into the style of a driver. What stands in quotes or comments is left alone, and so
    /// is `::`, a type conversion in PostgreSQL.
    ///
    /// # Errors
    /// [`PlaceholderError`].
    pub fn prepare(query: &str, params: &Params, style: Style) -> Result<Self, PlaceholderError> {
        let mut statement = Self { text: String::with_capacity(query.len()), values: Vec::new() };
        let mut rest = query;
        let mut questions = 0;
        let mut names = 0;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '\'' | '"' | '`' => quoted(rest, first)?,
                '-' if rest.starts_with("--") => rest.find('\n').map_or(rest.len(), |end| end + 1),
                '/' if rest.starts_with("/*") => {
                    rest.find("*/").map(|end| end + 2).ok_or(PlaceholderError::Open)?
                }
                '$' => dollar_quoted(rest)?,
                ':' if rest.starts_with("::") => 2,
                '?' => {
                    let value = match params {
                        Params::Positional(values) => values.get(questions),
                        Params::Named(_) => return Err(PlaceholderError::Mixed),
                    };
                    questions += 1;
                    statement.put(style, value.cloned().unwrap_or(Value::Null));
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                ':' if name_length(rest) > 0 => {
                    let length = name_length(rest);
                    let name = rest.get(1..=length).unwrap_or_default();
                    let Params::Named(values) = params else { return Err(PlaceholderError::Mixed) };
                    let value = values.get(name).ok_or_else(|| PlaceholderError::Missing(name.into()))?;
                    names += 1;
                    statement.put(style, value.clone());
                    rest = rest.get(1 + length..).unwrap_or_default();
                    continue;
                }
                other => other.len_utf8(),
            };
            let (taken, left) = rest.split_at(length.min(rest.len()));
            statement.text.push_str(taken);
            rest = left;
        }
        if questions > 0 && names > 0 {
            return Err(PlaceholderError::Mixed);
        }
        match params {
            Params::Positional(values) if values.len() != questions => {
                Err(PlaceholderError::Count { found: questions, given: values.len() })
            }
            Params::Positional(_) | Params::Named(_) => Ok(statement),
        }
    }

    fn put(&mut self, style: Style, value: Value) {
        self.values.push(value);
        match style {
            Style::Question => self.text.push('?'),
            Style::Dollar => {
                let _ = write!(self.text, "${}", self.values.len());
            }
        }
    }
}

/// The length of a quotation with both its quotes; a doubled quote is part of it.
fn quoted(text: &str, quote: char) -> Result<usize, PlaceholderError> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return Ok(at + 1);
        }
    }
    Err(PlaceholderError::Open)
}

/// The length of a PostgreSQL quotation `$tag$ … $tag$`, or of the dollar alone.
fn dollar_quoted(text: &str) -> Result<usize, PlaceholderError> {
    let tag_end =
        text.char_indices().skip(1).find(|(_, character)| !character.is_alphanumeric() && *character != '_');
    match tag_end {
        Some((end, '$'))
            if !text.get(1..end).unwrap_or_default().starts_with(|c: char| c.is_ascii_digit()) =>
        {
            let (tag, body) = text.split_at(end + 1);
            body.find(tag).map(|close| tag.len() + close + tag.len()).ok_or(PlaceholderError::Open)
        }
        _ => Ok(1),
    }
}

/// How many bytes of a name stand behind the colon: a letter or `_`, then letters, digits and `_`.
fn name_length(text: &str) -> usize {
    let bytes = text.as_bytes().get(1..).unwrap_or_default();
    if !bytes.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_') {
        return 0;
    }
    bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
}
