//! Addresses that failed lately.

use alloc::collections::BTreeMap;
use core::net::SocketAddr;
use core::time::Duration;

use postfleet_types::Monotonic;

/// How long an address is remembered as one where STARTTLS fails.
const PLAIN_FOR: Duration = Duration::from_secs(120);
/// Addresses remembered at most. The one that failed longest ago makes room.
const ADDRESSES_MAX: usize = 65_536;

#[derive(Clone, Copy, Debug, Default)]
struct Host {
    failed_at: Option<Monotonic>,
    /// In a row.
    failures: u32,
    plain_since: Option<Monotonic>,
}

/// What is known about addresses.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    known: BTreeMap<SocketAddr, Host>,
}

impl Hosts {
    pub(crate) fn failed(&mut self, now: Monotonic, address: SocketAddr) {
        if self.known.len() >= ADDRESSES_MAX
            && !self.known.contains_key(&address)
            && let Some(oldest) =
                self.known.iter().min_by_key(|(_, host)| host.failed_at).map(|(address, _)| *address)
        {
            self.known.remove(&oldest);
        }
        let host = self.known.entry(address).or_default();
        host.failed_at = Some(now);
        host.failures = host.failures.saturating_add(1);
    }

    pub(crate) fn works(&mut self, address: SocketAddr) {
        if let Some(host) = self.known.get_mut(&address) {
            host.failed_at = None;
            host.failures = 0;
            if host.plain_since.is_none() {
                self.known.remove(&address);
            }
        }
    }

    /// It has taken a message. New connections keep their distance if it refused one lately.
    pub(crate) fn serves(&mut self, address: SocketAddr) {
        if let Some(host) = self.known.get_mut(&address) {
            host.failures = 0;
        }
    }

    pub(crate) fn handshake_failed(&mut self, now: Monotonic, address: SocketAddr) {
        self.known.entry(address).or_default().plain_since = Some(now);
    }

    /// Whether STARTTLS is to be left out.
    pub(crate) fn is_plain(&self, now: Monotonic, address: SocketAddr) -> bool {
        let since = self.known.get(&address).and_then(|host| host.plain_since);
        since.is_some_and(|since| now < since + PLAIN_FOR)
    }

    /// Since when it has been failing, when that is not so long ago that it may be tried again.
    pub(crate) fn failing_since(
        &self,
        now: Monotonic,
        address: SocketAddr,
        pause: Duration,
    ) -> Option<Monotonic> {
        self.known.get(&address).and_then(|host| host.failed_at).filter(|at| now < *at + pause)
    }

    /// Failures in a row.
    pub(crate) fn failures(&self, address: SocketAddr) -> u32 {
        self.known.get(&address).map_or(0, |host| host.failures)
    }

    /// When it failed last.
    pub(crate) fn failed_at(&self, address: SocketAddr) -> Option<Monotonic> {
        self.known.get(&address).and_then(|host| host.failed_at)
    }
}
