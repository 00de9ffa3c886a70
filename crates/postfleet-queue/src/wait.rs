//! Why a queue waits.

use alloc::string::String;
use core::fmt;

use postfleet_types::Monotonic;

/// A limit that has no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The option.
    pub option: &'static str,
    /// Where it is written; empty for the global scope.
    pub scope: String,
    /// What it counts now.
    pub count: u64,
    /// What it allows.
    pub limit: u64,
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = if self.scope.is_empty() { "global" } else { self.scope.trim_end_matches(':') };
        write!(f, "{} at {scope}: {} of {}", self.option, self.count, self.limit)
    }
}

/// What a limit of the fleet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// It counts connections to one exchanger: another one may have room.
    pub by_host: bool,
    /// The limit.
    pub limited: Limited,
}

/// Why the active messages of a queue are not all on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// `Suspend_Delivery`.
    Suspended,
    /// The name service is being asked.
    Routing,
    /// The name service says that there is no such domain; it is asked again before that is believed.
    NoSuchDomain {
        /// Look-ups so far.
        lookups: u32,
        /// The next one.
        until: Monotonic,
    },
    /// The connections there are, or that are being opened, will take them.
    Connected,
    /// The number of connections grows step by step.
    Growing {
        /// The next step.
        until: Monotonic,
    },
    /// A limit has no room. Looked at again when room returns, at least once a second.
    Limit(Limited),
    /// A throttle has no unit.
    Throttle {
        /// The option.
        option: &'static str,
        /// Where it is written; empty for the global scope.
        scope: String,
        /// When it is looked at again.
        until: Monotonic,
    },
    /// The source address of the binding is not on this machine.
    NoSource {
        /// The next attempt.
        until: Monotonic,
    },
    /// No local port is left for connections from the source address to that exchanger.
    NoPort {
        /// The next attempt.
        until: Monotonic,
    },
    /// No exchanger could be reached lately.
    Unreachable {
        /// The next attempt.
        until: Monotonic,
    },
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspended => f.write_str("delivery is suspended (Suspend_Delivery)"),
            Self::Routing => f.write_str("the name service is being asked"),
            Self::NoSuchDomain { lookups, .. } => {
                write!(f, "the name service knows no such domain; it was asked {lookups} times of 3")
            }
            Self::Connected => f.write_str("open connections take them"),
            Self::Growing { .. } => f.write_str("connections are added step by step"),
            Self::Limit(limited) => write!(f, "{limited}"),
            Self::Throttle { option, scope, .. } => {
                let scope = if scope.is_empty() { "global" } else { scope.trim_end_matches(':') };
                write!(f, "{option} at {scope}: no unit is free")
            }
            Self::NoSource { .. } => f.write_str("the source address of the binding is not on this machine"),
            Self::NoPort { .. } => {
                f.write_str("no local port is free for another connection to the exchanger")
            }
            Self::Unreachable { .. } => f.write_str("no exchanger could be reached lately"),
        }
    }
}
