//! How long a pair lives, as scripts write it.

use core::fmt;
use core::num::NonZeroU64;
use core::str::FromStr;
use core::time::Duration;

/// The longest time to live: ten years, in milliseconds.
const MILLIS_MAX: u64 = 10 * 365 * 86_400 * 1000;

/// A time to live. Written as seconds, or with a final `M` for minutes or `H` for hours in either case; `0` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(Option<NonZeroU64>);

/// Why a text is no time to live. The caller's input is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TtlError {
    /// Not digits with at most a final `M` or `H`.
    #[error("expected a number of seconds, or one with a final M (minutes) or H (hours); 0 never expires")]
    Form,
    /// Longer than ten years.
    #[error("longer than ten years; 0 never expires")]
    Long,
}

impl Ttl {
    /// For ever.
    pub const NEVER: Self = Self(None);

    /// That many milliseconds (at most ten years); 0 is for ever.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(NonZeroU64::new(if millis > MILLIS_MAX { MILLIS_MAX } else { millis }))
    }

    /// That many seconds (at most ten years); 0 is for ever.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds; 0 is for ever.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0.map_or(0, NonZeroU64::get)
    }

    /// As a duration; `None` is for ever.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        self.0.map(|millis| Duration::from_millis(millis.get()))
    }
}

impl FromStr for Ttl {
    type Err = TtlError;

    fn from_str(text: &str) -> Result<Self, TtlError> {
        let (digits, unit) = match text.as_bytes().last() {
            Some(b'M' | b'm') => (text.get(..text.len() - 1), 60),
            Some(b'H' | b'h') => (text.get(..text.len() - 1), 3600),
            _ => (Some(text), 1),
        };
        let digits = digits
            .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or(TtlError::Form)?;
        digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit)?.checked_mul(1000))
            .filter(|millis| *millis <= MILLIS_MAX)
            .map(Self::from_millis)
            .ok_or(TtlError::Long)
    }
}

impl fmt::Display for Ttl {
    /// Whole seconds, rounded up, or `never`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("never"),
            Some(millis) => write!(f, "{}", millis.get().div_ceil(1000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let check = |text: &str, expected| assert_eq!(text.parse::<Ttl>(), expected, "{text}");
        check("0", Ok(Ttl::NEVER));
        check("90", Ok(Ttl::from_seconds(90)));
        check("2M", Ok(Ttl::from_seconds(120)));
        check("3h", Ok(Ttl::from_seconds(10_800)));
        for text in ["", "M", "5s", "-1", "+1", "1.5", "1 M", "٣"] {
            check(text, Err(TtlError::Form));
        }
        for text in ["999999999999", "18446744073709551616", "99999999H"] {
            check(text, Err(TtlError::Long));
        }
        assert_eq!(Ttl::from_millis(1).to_string(), "1");
        assert_eq!(Ttl::NEVER.to_string(), "never");
    }
}
