//! What variables hold.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A hash of the run; several values may mean the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HashId(pub(crate) usize);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
    List(Vec<String>),
    Hash(HashId),
    Tag(String),
}

impl Value {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Number(_) => "number",
            Self::List(_) => "stringlist",
            Self::Hash(_) => "hash",
            Self::Tag(_) => "tag",
        }
    }

    /// As a string; the elements of a list with a blank between them. A hash has no such form.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) | Self::Tag(text) => Some(text.clone()),
            Self::Number(number) => Some(number.to_string()),
            Self::List(list) => Some(list.join(" ")),
            Self::Hash(_) => None,
        }
    }

    /// The strings of a list; anything else is a list of one.
    pub(crate) fn strings(&self) -> Option<Vec<String>> {
        if let Self::List(list) = self { Some(list.clone()) } else { Some(alloc::vec![self.text()?]) }
    }

    /// The bytes that it holds, for the bounds of a run.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Tag(text) => text.len(),
            Self::List(list) => {
                list.iter().fold(0, |sum: usize, text| sum.saturating_add(text.len()).saturating_add(24))
            }
            Self::Number(_) | Self::Hash(_) => 8,
        }
    }
}
