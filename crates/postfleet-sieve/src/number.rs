//! Decimal numbers as scripts write them.

use alloc::format;
use alloc::string::{String, ToString};

use postfleet_policy::Fault;

/// Digits kept after the point, and the unit that they make.
const DIGITS: usize = 9;
const UNIT: i128 = 1_000_000_000;

/// A number with nine decimals, and whether it was written with a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) scaled: i128,
    fraction: bool,
}

impl Decimal {
    /// The first number in a text; 0 if there is none. A sign counts at the start of a word only: `10-3` begins with 10.
    pub(crate) fn first_in(text: &str) -> Self {
        let Some(start) = text.find(|c: char| c.is_ascii_digit()) else {
            return Self { scaled: 0, fraction: false };
        };
        let (before, number) = text.split_at(start);
        let mut before = before.chars().rev();
        let negative = before.next() == Some('-') && before.next().is_none_or(char::is_whitespace);
        Self::unsigned(number, negative).0
    }

    /// Without its fraction.
    pub(crate) fn integer(self) -> i128 {
        self.scaled / UNIT
    }

    /// A text that is a number and nothing else.
    pub(crate) fn whole(text: &str) -> Result<Self, Fault> {
        let trimmed = text.trim();
        let (negative, digits) = match trimmed.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, trimmed),
        };
        let (decimal, rest) = Self::unsigned(digits, negative);
        if !digits.starts_with(|c: char| c.is_ascii_digit()) || !rest.is_empty() {
            return Err(Fault::new(format!("'{text}' is not a number")));
        }
        Ok(decimal)
    }

    fn unsigned(text: &str, negative: bool) -> (Self, &str) {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (integer, mut rest) = text.split_at(end);
        let mut scaled = integer.bytes().fold(0_i128, |sum, digit| {
            sum.saturating_mul(10).saturating_add(i128::from(digit.saturating_sub(b'0')))
        });
        scaled = scaled.saturating_mul(UNIT);
        let decimals = rest.strip_prefix('.').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if let Some(decimals) = decimals {
            let end = decimals.find(|c: char| !c.is_ascii_digit()).unwrap_or(decimals.len());
            let (digits, after) = decimals.split_at(end);
            rest = after;
            let mut unit = UNIT;
            for digit in digits.bytes().take(DIGITS) {
                unit /= 10;
                scaled = scaled.saturating_add(i128::from(digit.saturating_sub(b'0')).saturating_mul(unit));
            }
        }
        let scaled = if negative { scaled.saturating_neg() } else { scaled };
        (Self { scaled, fraction: decimals.is_some() }, rest)
    }

    pub(crate) fn apply(self, operator: Operator, other: Self) -> Result<String, Fault> {
        let fraction = self.fraction || other.fraction;
        let (a, b) = (self.scaled, other.scaled);
        if b == 0 && matches!(operator, Operator::Divide | Operator::Remainder) {
            return Err(Fault::new("division by zero"));
        }
        let scaled = match operator {
            Operator::Add => a.checked_add(b),
            Operator::Subtract => a.checked_sub(b),
            Operator::Multiply => a.checked_mul(b).map(|product| product / UNIT),
            Operator::Divide => a.checked_mul(UNIT).and_then(|a| a.checked_div(b)),
            Operator::Remainder => a.checked_rem(b),
        };
        let scaled = scaled.ok_or_else(|| Fault::new("the result is too large"))?;
        let integer = scaled / UNIT;
        if !fraction {
            return Ok(integer.to_string());
        }
        let sign = if scaled < 0 { "-" } else { "" };
        let micros = (scaled % UNIT).unsigned_abs() / 1000;
        Ok(format!("{sign}{}.{micros:06}", integer.unsigned_abs()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[cfg(test)]
mod tests {
    use super::{Decimal, Operator};

    #[test]
    fn arithmetic_keeps_integers_and_gives_six_decimals_otherwise() {
        let check = |a: &str, operator, b: &str| {
            Decimal::whole(a).and_then(|a| a.apply(operator, Decimal::whole(b)?)).map_err(|fault| fault.0)
        };
        assert_eq!(check("55.54", Operator::Add, "0").as_deref(), Ok("55.540000"));
        assert_eq!(check("7", Operator::Divide, "2").as_deref(), Ok("3"));
        assert_eq!(check("7.0", Operator::Divide, "2").as_deref(), Ok("3.500000"));
        assert_eq!(check("1", Operator::Subtract, "1.5").as_deref(), Ok("-0.500000"));
        assert_eq!(check("7", Operator::Remainder, "4").as_deref(), Ok("3"));
        assert_eq!(check("6", Operator::Multiply, "7").as_deref(), Ok("42"));
        assert_eq!(check("6", Operator::Divide, "0"), Err("division by zero".into()));
        assert_eq!(check("6x", Operator::Add, "0"), Err("'6x' is not a number".into()));
        let huge = "9".repeat(60);
        assert!(check(&huge, Operator::Multiply, &huge).is_err());
    }

    #[test]
    fn the_first_number_counts() {
        let check =
            |text, whole: i128| assert_eq!(Decimal::first_in(text).scaled, whole * 1_000_000_000, "{text}");
        check("12 items", 12);
        check("", 0);
        check("about -3", -3);
        check("10-3", 10);
    }
}
