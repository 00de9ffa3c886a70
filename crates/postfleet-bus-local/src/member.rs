//! Who takes part: one attachment of one process.

use core::fmt;
use postfleet_bus::carrier::RawId;

/// One attachment, and which of all processes that ever had its number it belongs to.
///
/// Process numbers are used again; the start time tells a process from a later one with the same number, so
/// that a hub never takes a stranger for a member that is still alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    /// Process number and serial number of the attachment in its process.
    pub raw: RawId,
    /// When the process started, in clock ticks since the host booted (zero where the system does not tell).
    pub started: u64,
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

/// A place in the log: generations compare first, then sequence numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The generation of the hub that logged the entry.
    pub generation: u64,
    /// The number of the entry, 1 and up, without holes.
    pub seq: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.generation, self.seq)
    }
}
