use alloc::string::String;

/// Something of the fleet that a script wants, as far as its text says so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The kind of object, or the name of a replicated cache.
    pub object: Wanted,
    /// The first line of the script that says so, counted from 1.
    pub line: u32,
}

/// What has to be replicated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// An object that has the name of its kind.
    Object(&'static str),
    /// An object with a word among its parameters.
    Word(&'static str, &'static str),
    /// A cache.
    Cache(String),
}
