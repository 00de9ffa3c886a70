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
