//! Limits that only watch: what they would have held back is counted, and told now and then.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use core::time::Duration;

use postfleet_types::Monotonic;

/// How often one limit is told of at most.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What one limit would have held back.
#[derive(Debug, Default)]
struct Held {
    count: u64,
    untold: u64,
    told: Option<Monotonic>,
}

/// A limit that is to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// The option.
    pub option: &'static str,
    /// Where it is written; empty for the global scope.
    pub scope: String,
    /// Connections or messages that it would have held back since it was told last.
    pub count: u64,
}

/// What limits in shadow mode would have held back since the start, by option and scope.
#[derive(Debug, Default)]
pub struct Shadows(BTreeMap<(&'static str, String), Held>);

impl Shadows {
    /// A limit would have held back so many. What is to be told now, if it is time.
    pub fn note(
        &mut self,
        now: Monotonic,
        option: &'static str,
        scope: &str,
        count: u64,
    ) -> Option<Shadowed> {
        if count == 0 {
            return None;
        }
        let held = self.0.entry((option, scope.to_string())).or_default();
        held.count = held.count.saturating_add(count);
        held.untold = held.untold.saturating_add(count);
        if held.told.is_some_and(|told| now.since(told) < TOLD_EVERY) {
            return None;
        }
        held.told = Some(now);
        let count = core::mem::take(&mut held.untold);
        Some(Shadowed { option, scope: scope.to_string(), count })
    }

    /// Option, scope, and how many, ascending.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, &str, u64)> {
        self.0.iter().map(|((option, scope), held)| (*option, scope.as_str(), held.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_of_once_a_minute_with_what_came_meanwhile() {
        let mut shadows = Shadows::default();
        let at = |seconds: u64| Monotonic::from_millis(seconds * 1000);
        let mut note =
            |seconds, count| shadows.note(at(seconds), "Max", "Domain:a:", count).map(|told| told.count);
        assert_eq!(note(5, 0), None);
        assert_eq!(
            [note(5, 1), note(6, 2), note(64, 3), note(65, 4), note(66, 1)],
            [Some(1), None, None, Some(9), None]
        );
        assert_eq!(shadows.counts().collect::<alloc::vec::Vec<_>>(), [("Max", "Domain:a:", 11)]);
    }
}
