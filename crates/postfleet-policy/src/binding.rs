//! Which binding a copy of a message leaves through.

use alloc::string::String;

/// A binding, and the group it is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// The name of its group.
    pub group: String,
}

/// Who a copy is assigned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assign<'a> {
    /// The binding of this name.
    Binding(&'a str),
    /// One of the bindings of the group of this name.
    Group(&'a str),
}
