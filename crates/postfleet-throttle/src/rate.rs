//! How much in how long: `X/Y`, and the part of what is left that one claim may take.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

/// At most `units` in any `seconds` seconds; written `X/Y`, or `X` for `X/1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    units: u32,
    seconds: u32,
}

/// Why a text or a pair of numbers is no rate. The caller's input is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Not the written form.
    #[error("expected units/seconds such as 30/60, or units a second such as 30")]
    Form,
    /// A zero.
    #[error(
        "a rate of 0 admits nothing and a period of 0 has no length; write 1 or more, or no throttle at all"
    )]
    Zero,
    /// A number that is too large.
    #[error("a rate has at most {SECONDS_MAX} seconds and {} units", u32::MAX)]
    TooLarge,
}

/// The longest period: ten years. What lasts longer is a quota, and is kept in a database.
pub const SECONDS_MAX: u32 = 315_360_000;

impl Rate {
    /// That many units in that many seconds.
    ///
    /// # Errors
    /// [`RateError::Zero`], [`RateError::TooLarge`].
    pub const fn new(units: u32, seconds: u32) -> Result<Self, RateError> {
        if units == 0 || seconds == 0 {
            Err(RateError::Zero)
        } else if seconds > SECONDS_MAX {
            Err(RateError::TooLarge)
        } else {
            Ok(Self { units, seconds })
        }
    }

    /// X.
    #[must_use]
    pub const fn units(self) -> u64 {
        self.units as u64
    }

    /// Y.
    #[must_use]
    pub const fn period(self) -> Duration {
        Duration::from_secs(self.seconds as u64)
    }

    /// Y in seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.seconds
    }

    /// Y/1000: how exactly times are kept.
    #[must_use]
    pub const fn tick(self) -> Duration {
        Duration::from_millis(self.seconds as u64)
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (units, seconds) = text.split_once('/').unwrap_or((text, "1"));
        let number = |text: &str| {
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(RateError::Form);
            }
            text.parse().map_err(|_| RateError::TooLarge)
        };
        Self::new(number(units)?, number(seconds)?)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.units, self.seconds)
    }
}

/// The part of what is left of a shared throttle that one claim may take, in parts per million.
///
/// Higher: it is used up faster, and one member is likelier to take nearly all of it. Default 0.95.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epsilon(u32);

/// Why a number is no epsilon. The caller's input is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("epsilon lies between 0 and 1, both excluded, with at most six decimals; the usual value is 0.95")]
pub struct EpsilonError;

impl Epsilon {
    /// That many parts per million, 1 to 999,999.
    ///
    /// # Errors
    /// [`EpsilonError`].
    pub const fn from_millionths(millionths: u32) -> Result<Self, EpsilonError> {
        if millionths == 0 || millionths >= 1_000_000 { Err(EpsilonError) } else { Ok(Self(millionths)) }
    }

    /// Parts per million.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// What one claim may take of `free` units: at least one.
    #[must_use]
    pub fn of(self, free: u64) -> u64 {
        let part = u128::from(free) * u128::from(self.0) / 1_000_000;
        u64::try_from(part).unwrap_or(free).max(1)
    }
}

impl Default for Epsilon {
    fn default() -> Self {
        Self(950_000)
    }
}

impl FromStr for Epsilon {
    type Err = EpsilonError;

    /// Reads a decimal such as `0.95` or `.5`.
    fn from_str(text: &str) -> Result<Self, EpsilonError> {
        let (whole, decimals) = text.split_once('.').ok_or(EpsilonError)?;
        let digits = decimals.as_bytes();
        if !whole.bytes().all(|digit| digit == b'0')
            || digits.is_empty()
            || !digits.iter().all(u8::is_ascii_digit)
        {
            return Err(EpsilonError);
        }
        let (kept, rest) = digits.split_at(digits.len().min(6));
        if rest.iter().any(|digit| *digit != b'0') {
            return Err(EpsilonError);
        }
        let kept = kept.iter().copied().chain(core::iter::repeat(b'0')).take(6);
        Self::from_millionths(kept.fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_documented() {
        let rate = |text: &str| text.parse::<Rate>();
        assert_eq!(rate("30/60"), Rate::new(30, 60));
        assert_eq!(rate("10"), Rate::new(10, 1));
        assert_eq!(rate("60/3").map(|rate| rate.to_string()), Ok("60/3".to_string()));
        for text in ["", "/", "1/", "/1", "1 / 2", " 1", "+1", "1/2/3", "a", "-1", "1.5"] {
            assert_eq!(rate(text), Err(RateError::Form), "{text}");
        }
        assert_eq!(rate("0"), Err(RateError::Zero));
        assert_eq!(rate("1/0"), Err(RateError::Zero));
        assert_eq!(rate("4294967296"), Err(RateError::TooLarge));
        assert_eq!(rate("1/315360001"), Err(RateError::TooLarge));
    }

    #[test]
    fn epsilons_are_read_as_documented() {
        let epsilon = |text: &str| text.parse::<Epsilon>().map(Epsilon::millionths);
        assert_eq!(epsilon("0.95"), Ok(950_000));
        assert_eq!(epsilon(".5"), Ok(500_000));
        assert_eq!(epsilon("0.0000010"), Ok(1));
        for text in ["0", "1", "1.0", "0.0", "0.", "-0.5", "0.0000001", "0,5", "00x.5", ""] {
            assert_eq!(epsilon(text), Err(EpsilonError), "{text}");
        }
        assert_eq!(Epsilon::default().of(30), 28);
        assert_eq!(Epsilon::default().of(1), 1);
        assert_eq!(Epsilon::default().of(u64::MAX), 17_524_406_870_024_074_034);
    }
}
