//! Addresses that failed lately, as seen from a binding: who turns one source away may take mail from another.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use core::net::SocketAddr;
use core::time::Duration;

use postfleet_spool::BindingName;
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
    known: BTreeMap<BindingName, BTreeMap<SocketAddr, Host>>,
    /// Addresses in all of them.
    count: usize,
}

impl Hosts {
    fn get(&self, from: &BindingName, address: SocketAddr) -> Option<&Host> {
        self.known.get(from)?.get(&address)
    }

    fn get_mut(&mut self, from: &BindingName, address: SocketAddr) -> Option<&mut Host> {
        self.known.get_mut(from)?.get_mut(&address)
    }

    fn entry(&mut self, from: &BindingName, address: SocketAddr) -> &mut Host {
        if self.count >= ADDRESSES_MAX && self.get(from, address).is_none() {
            let all = self.known.iter().flat_map(|(from, hosts)| hosts.iter().map(move |host| (from, host)));
            let oldest = all.min_by_key(|(_, (_, host))| host.failed_at);
            if let Some((from, address)) = oldest.map(|(from, (address, _))| (from.clone(), *address)) {
                self.remove(&from, address);
            }
        }
        match self.known.entry(from.clone()).or_default().entry(address) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                self.count += 1;
                free.insert(Host::default())
            }
        }
    }

    fn remove(&mut self, from: &BindingName, address: SocketAddr) {
        let Some(hosts) = self.known.get_mut(from) else { return };
        if hosts.remove(&address).is_some() {
            self.count = self.count.saturating_sub(1);
        }
        if hosts.is_empty() {
            self.known.remove(from);
        }
    }

    pub(crate) fn failed(&mut self, now: Monotonic, from: &BindingName, address: SocketAddr) {
        let host = self.entry(from, address);
        host.failed_at = Some(now);
        host.failures = host.failures.saturating_add(1);
    }

    pub(crate) fn works(&mut self, from: &BindingName, address: SocketAddr) {
        let Some(host) = self.get_mut(from, address) else { return };
        host.failed_at = None;
        host.failures = 0;
        if host.plain_since.is_none() {
            self.remove(from, address);
        }
    }

    /// It has taken a message. New connections keep their distance if it refused one lately.
    pub(crate) fn serves(&mut self, from: &BindingName, address: SocketAddr) {
        if let Some(host) = self.get_mut(from, address) {
            host.failures = 0;
        }
    }

    pub(crate) fn handshake_failed(&mut self, now: Monotonic, from: &BindingName, address: SocketAddr) {
        self.entry(from, address).plain_since = Some(now);
    }

    /// Whether STARTTLS is to be left out.
    pub(crate) fn is_plain(&self, now: Monotonic, from: &BindingName, address: SocketAddr) -> bool {
        let since = self.get(from, address).and_then(|host| host.plain_since);
        since.is_some_and(|since| now < since + PLAIN_FOR)
    }

    /// Since when it has been failing, when that is not so long ago that it may be tried again.
    pub(crate) fn failing_since(
        &self,
        now: Monotonic,
        from: &BindingName,
        address: SocketAddr,
        pause: Duration,
    ) -> Option<Monotonic> {
        self.failed_at(from, address).filter(|at| now < *at + pause)
    }

    /// Failures in a row.
    pub(crate) fn failures(&self, from: &BindingName, address: SocketAddr) -> u32 {
        self.get(from, address).map_or(0, |host| host.failures)
    }

    /// When it failed last.
    pub(crate) fn failed_at(&self, from: &BindingName, address: SocketAddr) -> Option<Monotonic> {
        self.get(from, address).and_then(|host| host.failed_at)
    }
}
