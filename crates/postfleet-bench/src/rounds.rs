//! Two sides, measured in turns.

use anyhow::Result;
use std::time::Instant;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Measurements of each side.
    pub(crate) rounds: usize,
    /// Small workloads.
    pub(crate) quick: bool,
    /// Also what no aim is about.
    pub(crate) detail: bool,
}

impl Effort {
    /// One of two sizes.
    pub(crate) const fn size(self, full: u32, quick: u32) -> u32 {
        if self.quick { quick } else { full }
    }
}

/// The least, the middle and the greatest of what the rounds gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    /// Of these values; `None` of nothing.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            *sorted.get(middle)?
        } else {
            (sorted.get(middle.checked_sub(1)?)? + sorted.get(middle)?) / 2.0
        };
        Some(Self { least: *sorted.first()?, median, greatest: *sorted.last()? })
    }
}

/// The value below which `part` (0 to 1) of them lie.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    let at = (part * sorted.len() as f64) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// A side's measurement of one round.
pub(crate) type Side<'a> = &'a mut dyn FnMut() -> Result<f64>;

/// Measures the sides in turns: A B A B, with more sides A B C A B C.
pub(crate) fn alternate<const SIDES: usize>(
    effort: Effort,
    mut sides: [Side<'_>; SIDES],
) -> Result<[Vec<f64>; SIDES]> {
    let mut measured = [const { Vec::new() }; SIDES];
    for _ in 0..effort.rounds {
        for (side, values) in sides.iter_mut().zip(&mut measured) {
            values.push(side()?);
        }
    }
    Ok(measured)
}

/// Nanoseconds of one of `count` operations.
pub(crate) fn nanoseconds_each(count: u32, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed().as_secs_f64() * 1e9 / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_lies_between() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.least, spread.median, spread.greatest), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of(&[5.0]).unwrap().median, 5.0);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn sides_take_turns() {
        let order = std::cell::RefCell::new(String::new());
        let say = |side| {
            order.borrow_mut().push(side);
            Ok(1.0)
        };
        let effort = Effort { rounds: 3, quick: true, detail: false };
        let measured = alternate(effort, [&mut || say('a'), &mut || say('b')]).unwrap();
        assert_eq!(measured.map(|values| values.len()), [3, 3]);
        assert_eq!(*order.borrow(), "ababab");
    }

    #[test]
    fn quantiles() {
        let values: Vec<f64> = (0..200).map(f64::from).collect();
        assert_eq!(
            (quantile(&values, 0.5), quantile(&values, 0.99), quantile(&values, 1.0)),
            (100.0, 198.0, 199.0)
        );
    }
}
