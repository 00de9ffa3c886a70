//! What the library's calls return (`cs_error_t` of `corotypes.h`).

use core::ffi::c_int;
use core::fmt;

/// The return code of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub c_int);

impl Status {
    /// It worked.
    pub const OK: Self = Self(1);
    /// The connection to the daemon is broken, or there is no daemon.
    pub const LIBRARY: Self = Self(2);
    /// The daemon cannot take it now (full queue, new configuration), or there is nothing to read.
    pub const TRY_AGAIN: Self = Self(6);
    /// The handle is not (any more) one.
    pub const BAD_HANDLE: Self = Self(9);
    /// The daemon does not let this user in.
    pub const ACCESS: Self = Self(11);
    /// There is no such key or group.
    pub const NOT_EXIST: Self = Self(12);
    /// This process is in the group already.
    pub const EXIST: Self = Self(14);
    /// The daemon does not let this user in.
    pub const SECURITY: Self = Self(100);

    /// Whether it worked.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        self.0 == Self::OK.0
    }

    /// `Ok` when it worked.
    ///
    /// # Errors
    /// The code itself when it did not.
    pub const fn check(self) -> Result<(), Self> {
        if self.is_ok() { Ok(()) } else { Err(self) }
    }

    /// Whether the daemon turned this user away.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        self.0 == Self::ACCESS.0 || self.0 == Self::SECURITY.0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.0 {
            1 => "OK",
            2 => "LIBRARY",
            3 => "VERSION",
            4 => "INIT",
            5 => "TIMEOUT",
            6 => "TRY_AGAIN",
            7 => "INVALID_PARAM",
            8 => "NO_MEMORY",
            9 => "BAD_HANDLE",
            10 => "BUSY",
            11 => "ACCESS",
            12 => "NOT_EXIST",
            13 => "NAME_TOO_LONG",
            14 => "EXIST",
            15 => "NO_SPACE",
            16 => "INTERRUPT",
            17 => "NAME_NOT_FOUND",
            18 => "NO_RESOURCES",
            19 => "NOT_SUPPORTED",
            20 => "BAD_OPERATION",
            21 => "FAILED_OPERATION",
            22 => "MESSAGE_ERROR",
            23 => "QUEUE_FULL",
            24 => "QUEUE_NOT_AVAILABLE",
            25 => "BAD_FLAGS",
            26 => "TOO_BIG",
            27 => "NO_SECTIONS",
            28 => "CONTEXT_NOT_FOUND",
            30 => "TOO_MANY_GROUPS",
            100 => "SECURITY",
            other => return write!(f, "error {other}"),
        };
        write!(f, "CS_ERR_{word}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_names_of_the_header() {
        assert_eq!(Status(6).to_string(), "CS_ERR_TRY_AGAIN");
        assert_eq!(Status(77).to_string(), "error 77");
        assert_eq!(Status::OK.check(), Ok(()));
        assert_eq!(Status::EXIST.check(), Err(Status(14)));
        assert!(
            Status::SECURITY.is_refusal() && Status::ACCESS.is_refusal() && !Status::LIBRARY.is_refusal()
        );
    }
}
