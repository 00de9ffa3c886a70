//! (crate header)
fn main() {}
