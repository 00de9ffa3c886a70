//! The tree of one file with everything the 2.x form adds, before its translation.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::source::Span;
use crate::syntax::Word;

/// What stands behind a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RawValue {
    /// Nothing: a property that is given or not, such as `continue`.
    Nothing,
    Atom(Word),
    /// `( … )`.
    List(Vec<Word>, Span),
    /// `[ … ]`: in the 4.x form its entries are words only, each key once.
    Section(Vec<Entry>, Span),
}

/// `key`, `key = value`, `key [ … ]` or `key ( … )`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Word,
    pub(crate) value: RawValue,
}

/// `<name=value …>`.
pub(crate) type Attributes = Vec<(Word, Word)>;

/// One rule of an access list: `CIDR = ( property … )`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) block: Word,
    pub(crate) properties: Vec<Entry>,
}

/// One socket of a listener list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host and port, or a path.
    pub(crate) address: Word,
    pub(crate) backlog: Option<Word>,
    pub(crate) concurrency: Option<Word>,
    pub(crate) attributes: Attributes,
    pub(crate) rules: Vec<Rule>,
}

/// One item of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Raw {
    Include {
        read_only: bool,
        path: Word,
    },
    Assignment(Entry),
    /// `scope name <…> { … }`; the attributes are 2.x.
    Stanza {
        scope: Word,
        name: Option<Word>,
        attributes: Attributes,
        body: Vec<Self>,
    },
    /// `Class dir/MODULE symbol modifier <…> { … }`.
    Module {
        class: Word,
        path: Word,
        symbol: Word,
        modifier: Option<Word>,
        attributes: Attributes,
        body: Vec<Self>,
    },
    /// `X_Listener = ( … )`.
    Listeners {
        name: Word,
        endpoints: Vec<Endpoint>,
    },
}

/// A parsed file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) items: Vec<Raw>,
    /// Where bodies end: the closing bracket, by the word that the translated stanza is named after.
    pub(crate) closers: BTreeMap<Span, Span>,
}
