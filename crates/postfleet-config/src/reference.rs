//! The reference page, from the schema.

use alloc::string::String;

/// The page `docs/configuration/reference.md`.
#[must_use]
pub fn reference_markdown() -> String {
    String::new()
}
