//! What configuration commands answer: lines for people, and the same as data.

use alloc::string::String;
use alloc::vec::Vec;

use crate::settings::Agreement;
use crate::source::Position;
use crate::value::Value;

/// The answer to a configuration command.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// What people read.
    pub lines: Vec<String>,
    /// What machines read.
    pub data: Data,
}

/// The answer as data.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Nothing but the lines.
    Lines,
    /// `get`, `eval`, `set`, `unset`, `where`.
    Option(OptionData),
    /// `show`, `showrecurse`.
    Scope(ScopeData),
    /// `locate`.
    Places(Vec<PlaceData>),
    /// `diff`.
    Edits(Vec<EditData>),
    /// `digest`.
    Agreement(Agreement),
}

/// An option with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct OptionData {
    /// The scope asked about: scope names and instance names in turn, anonymous scopes without instance.
    pub scope: Vec<String>,
    /// The option.
    pub option: &'static str,
    /// The value; `None` when it is unset and has no default.
    pub value: Option<Value>,
    /// Where it is set, like `scope`; `None`: nowhere.
    pub set_in: Option<Vec<String>>,
    /// The place in a file; `None` when it was set from a console or nowhere.
    pub position: Option<Position>,
    /// What counts beside the value: further limits that hold too, or parts that unite. Only `where` tells.
    pub beside: Vec<OtherData>,
    /// What the value hides, the nearest first. Only `where` tells.
    pub hidden: Vec<OtherData>,
}

/// A value that a look-up comes by and that is not its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct OtherData {
    /// The value.
    pub value: Value,
    /// Where it is set.
    pub set_in: Vec<String>,
    /// The place; `console` as file for a command.
    pub position: Option<Position>,
}

/// An instance with what is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeData {
    /// The scope; `Global` for the outermost.
    pub name: &'static str,
    /// The instance, where it has a name.
    pub instance: Option<String>,
    /// What is set in it.
    pub options: Vec<(&'static str, Value)>,
    /// The instances inside.
    pub scopes: Vec<Self>,
}

/// An instance and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceData {
    /// The scope.
    pub scope: &'static str,
    /// The instance, where it has a name.
    pub instance: Option<String>,
    /// Its path.
    pub path: String,
    /// Where it is written first.
    pub position: Option<Position>,
    /// Nobody wrote it: it always exists.
    pub implied: bool,
}

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub struct EditData {
    /// The command that makes it.
    pub command: String,
    /// The scope.
    pub scope: Vec<String>,
    /// The option; `None` for a whole instance.
    pub option: Option<&'static str>,
}

impl Reply {
    pub(super) const fn silent() -> Self {
        Self { lines: Vec::new(), data: Data::Lines }
    }

    pub(super) const fn lines(lines: Vec<String>) -> Self {
        Self { lines, data: Data::Lines }
    }
}
