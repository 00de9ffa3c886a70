//! How many connections a queue wants.

/// `Connection_Allocation_Aggressiveness`: connections wanted for A active messages, and how fast they may grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Growth {
    /// A to the power of 0.3, at most doubling each second.
    #[default]
    Normal,
    /// A to the power of 0.75, at once.
    High,
}

impl Growth {
    /// Connections wanted for so many messages: the power, rounded up. Exact, in integers.
    #[must_use]
    pub fn wanted(self, messages: u64) -> u64 {
        // W is the least number with W^10 >= A^3, or W^4 >= A^3.
        let power = match self {
            Self::Normal => 10,
            Self::High => 4,
        };
        let cube = u128::from(messages).saturating_pow(3);
        let reaches = |wanted: u64| u128::from(wanted).checked_pow(power).is_none_or(|value| value >= cube);
        let (mut low, mut high) = (0, messages);
        while low < high {
            let middle = low + (high - low) / 2;
            if reaches(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// Whether growth is bounded to a doubling each second.
    pub(crate) const fn is_gradual(self) -> bool {
        matches!(self, Self::Normal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mta_7_5_wanted_connections() {
        let normal: Vec<u64> = [0, 1, 2, 10, 100, 1000, 100_000].map(|a| Growth::Normal.wanted(a)).into();
        assert_eq!(normal, [0, 1, 2, 2, 4, 8, 32]);
        let high: Vec<u64> = [0, 1, 2, 16, 100, 10_000].map(|a| Growth::High.wanted(a)).into();
        assert_eq!(high, [0, 1, 2, 8, 32, 1000]);
        assert!(Growth::High.wanted(u64::MAX) > 0);
    }

    proptest! {
        #[test]
        fn it_is_the_power_rounded_up(messages in 0_u64..1_000_000_000) {
            for (growth, power) in [(Growth::Normal, 0.3), (Growth::High, 0.75)] {
                #[expect(clippy::cast_precision_loss, reason = "the model is a float")]
                let model = (messages as f64).powf(power);
                #[expect(clippy::cast_precision_loss, reason = "the model is a float")]
                let wanted = growth.wanted(messages) as f64;
                prop_assert!(wanted >= model - 1e-6 && wanted < model + 1.0 + 1e-6, "{messages}: {wanted} {model}");
            }
        }
    }
}
