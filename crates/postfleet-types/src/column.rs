//! Columns and views of counting objects: every count has one owner.

/// One column of a counting object, by its number on this member. Numbers are local and never cross the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnId(pub u32);

/// What a read looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// The sum of all columns held.
    Global,
    /// One column.
    Column(ColumnId),
}

/// What a change of one count did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The count of the key in the column afterwards.
    pub count: u64,
    /// The change could not be applied in full: it would have led below 0 or above what a count can hold, or the
    /// column does not exist. A defect of whoever counts; worth a line in the log.
    pub clamped: bool,
}
