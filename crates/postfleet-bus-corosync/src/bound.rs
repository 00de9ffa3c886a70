//! How long a silent host is waited for: `token` and `consensus` of the ring protocol.
//!
//! A ring notices that the token is lost after `token`, and gives up hosts that do not answer after `consensus`
//! more. The daemon publishes both as they are in force; without them they are computed from what the
//! configuration file says, as the daemon does.

use core::time::Duration;

/// `token` when the configuration says nothing, in milliseconds. Source: corosync.conf(5), Corosync 3.
pub const TOKEN_MS_DEFAULT: u32 = 3000;

/// `token_coefficient` when the configuration says nothing, in milliseconds.
pub const TOKEN_COEFFICIENT_MS_DEFAULT: u32 = 650;

/// Timeouts of a ring, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingTimeouts {
    /// Without the token for so long, the ring is broken.
    pub token_ms: u32,
    /// So long is then waited for hosts to agree on a new one.
    pub consensus_ms: u32,
}

impl RingTimeouts {
    /// What the daemon makes of `token` and `token_coefficient` with so many hosts in its node list.
    #[must_use]
    pub fn computed(token_ms: u32, coefficient_ms: u32, hosts: usize) -> Self {
        let beyond = u32::try_from(hosts.saturating_sub(2)).unwrap_or(u32::MAX);
        let token_ms = token_ms.saturating_add(coefficient_ms.saturating_mul(beyond));
        Self { token_ms, consensus_ms: token_ms.saturating_add(token_ms / 5) }
    }

    /// From the silent crash of a host until the others give it up. Forming a ring without it and telling their processes
    /// comes on top: some hundred milliseconds at most.
    #[must_use]
    pub fn detection(self) -> Duration {
        Duration::from_millis(u64::from(self.token_ms) + u64::from(self.consensus_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the manual: defaults, and what is recommended.
    #[test]
    fn detection_times_of_the_manual() {
        let hosts = [2, 3, 5, 8, 12, 16, 24, 32];
        let row = |token, coefficient| {
            hosts.map(|hosts| {
                let ms = RingTimeouts::computed(token, coefficient, hosts).detection().as_millis();
                (ms + 50) / 100
            })
        };
        assert_eq!(
            row(TOKEN_MS_DEFAULT, TOKEN_COEFFICIENT_MS_DEFAULT),
            [66, 80, 109, 152, 209, 266, 381, 495]
        );
        assert_eq!(row(2000, 150), [44, 47, 54, 64, 77, 90, 117, 143]);
    }

    #[test]
    fn a_lone_host_counts_like_two() {
        assert_eq!(RingTimeouts::computed(1000, 650, 1), RingTimeouts { token_ms: 1000, consensus_ms: 1200 });
        assert_eq!(RingTimeouts::computed(u32::MAX, u32::MAX, usize::MAX).token_ms, u32::MAX);
    }
}
