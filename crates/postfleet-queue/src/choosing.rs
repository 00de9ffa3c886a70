//! Which host and address a connection goes to.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use postfleet_throttle::{LimitKey, To};
use postfleet_types::Monotonic;

use crate::connection::Target;
use crate::queue::{Queue, RouteHost};
use crate::scheduler::{Open, Scheduler};
use crate::settings::{HostSettings, LocalLimit, Shared};
use crate::wait::{Limited, Wait};

/// Attempts at addresses that all failed lately keep this distance.
const LAST_RESORT: Duration = Duration::from_secs(1);

/// A choice, or why there is none.
pub(crate) enum Choice {
    Target(Target),
    /// With the key whose count has to fall, for a limit of this node.
    Wait(Wait, Option<LimitKey>),
}

/// Whether limits let one address be connected to.
enum Room {
    At(Target),
    None { wait: Wait, key: Option<LimitKey>, by_host: bool },
}

impl Scheduler {
    /// The limit that has no room.
    pub(crate) fn full<'a>(
        &self,
        limits: impl IntoIterator<Item = &'a LocalLimit>,
        reserve: bool,
    ) -> Option<&'a LocalLimit> {
        let mut limits = limits.into_iter().filter(|limit| !limit.shadow);
        limits.find(|limit| {
            let most = limit.most.saturating_add(if reserve { limit.reserve } else { 0 });
            self.open_for(&limit.key) >= most
        })
    }

    pub(crate) fn limited(&self, limit: &LocalLimit) -> Wait {
        Wait::Limit(Limited {
            option: limit.option,
            scope: limit.scope.clone(),
            count: self.open_for(&limit.key),
            limit: limit.most,
        })
    }

    /// What holds for the exchanger that a connection goes to.
    fn host_settings(&self, queue: &Queue, target: &Target) -> Option<Arc<HostSettings>> {
        let name = target.host.as_ref()?;
        let known = queue.route.hosts.iter().find(|host| host.host.name.as_ref() == Some(name));
        Some(match known {
            Some(host) => Arc::clone(&host.settings),
            None => self.settings.host(&queue.key, name),
        })
    }

    /// Every limit of this node that a connection counts for, with its key.
    pub(crate) fn each_limit(
        &self,
        queue: &Queue,
        target: &Target,
        mut visit: impl FnMut(&LimitKey, &LocalLimit),
    ) {
        queue.settings.limits.iter().for_each(|limit| visit(&limit.key, limit));
        if let Some(settings) = self.host_settings(queue, target) {
            settings.limits.iter().for_each(|limit| visit(&limit.key, limit));
            if let Some(limit) = &settings.address_limit {
                visit(&address_key(limit, target.address), limit);
            }
        }
    }

    /// Whether more connections stay than a limit of this node allows that this one counts for.
    pub(crate) fn is_over(&self, queue: &Queue, target: &Target) -> bool {
        let mut over = false;
        self.each_limit(queue, target, |key, limit| {
            let most = limit.most.saturating_add(limit.reserve);
            over |= !limit.shadow && self.open.get(key).map_or(0, Open::staying) > most;
        });
        over
    }

    /// Everything that a connection counts for.
    pub(crate) fn keys_of(&self, queue: &Queue, target: &Target) -> Vec<LimitKey> {
        let mut keys = Vec::new();
        self.each_limit(queue, target, |key, _| keys.push(key.clone()));
        keys.sort();
        keys.dedup();
        keys
    }

    /// The limit of a host, or of one of its addresses, that has no room.
    fn host_full(&self, host: &RouteHost, address: SocketAddr) -> Option<(Wait, LimitKey)> {
        if let Some(limit) = self.full(&host.settings.limits, false) {
            return Some((self.limited(limit), limit.key.clone()));
        }
        let limit = host.settings.address_limit.as_ref()?;
        let limit = LocalLimit { key: address_key(limit, address), ..limit.clone() };
        self.full([&limit], false).map(|limit| (self.limited(limit), limit.key.clone()))
    }

    /// The best address that has not failed lately and has room; else, when all have failed, the one that did so longest
    /// ago, now and then.
    pub(crate) fn choose(
        &mut self,
        now: Monotonic,
        number: u32,
        wanted: u64,
        shared: &mut dyn Shared,
    ) -> Choice {
        let shift = self.random.next_u64();
        let Some(queue) = self.queue(number) else { return Choice::Wait(Wait::Routing, None) };
        let (pause, from) = (queue.settings.host_failure_retry, &queue.key.binding);
        let mut order: Vec<&RouteHost> = queue.route.hosts.iter().collect();
        shuffle_equals(&mut order, shift);
        let mut blocked: Option<(Wait, Option<LimitKey>)> = None;
        let mut oldest: Option<(Monotonic, &RouteHost, SocketAddr)> = None;
        for host in &order {
            for address in &host.host.addresses {
                if self.hosts.failing_since(now, from, *address, pause).is_some() {
                    let at = self.hosts.failed_at(from, *address).unwrap_or(now);
                    if oldest.is_none_or(|(before, ..)| at < before) {
                        oldest = Some((at, host, *address));
                    }
                    continue;
                }
                match self.room(queue, host, *address, wanted, shared) {
                    Room::At(target) => return Choice::Target(target),
                    Room::None { wait, key, by_host } => {
                        if !by_host {
                            return Choice::Wait(wait, key);
                        }
                        blocked.get_or_insert((wait, key));
                    }
                }
            }
        }
        if let Some((wait, key)) = blocked {
            return Choice::Wait(wait, key);
        }
        let Some((failed_at, host, address)) = oldest else { return Choice::Wait(Wait::Routing, None) };
        let next = queue.last_attempt.map_or(now, |last| last + LAST_RESORT);
        if now < next || !queue.connections.is_empty() {
            let until =
                if queue.connections.is_empty() { next } else { (failed_at + pause).min(now + LAST_RESORT) };
            return Choice::Wait(Wait::Unreachable { until }, None);
        }
        match self.room(queue, host, address, wanted, shared) {
            Room::At(target) => Choice::Target(target),
            Room::None { wait, key, .. } => Choice::Wait(wait, key),
        }
    }

    fn room(
        &self,
        queue: &Queue,
        host: &RouteHost,
        address: SocketAddr,
        wanted: u64,
        shared: &mut dyn Shared,
    ) -> Room {
        if let Some((wait, key)) = self.host_full(host, address) {
            return Room::None { wait, key: Some(key), by_host: true };
        }
        match shared.may_connect(&queue.key, host.host.name.as_deref(), wanted) {
            Ok(()) => Room::At(Target { host: host.host.name.clone(), address }),
            Err(blocked) => {
                Room::None { wait: Wait::Limit(blocked.limited), key: None, by_host: blocked.by_host }
            }
        }
    }
}

/// Hosts of one preference in another order each time.
fn shuffle_equals(hosts: &mut [&RouteHost], seed: u64) {
    let mut random = postfleet_types::Random::seeded(seed);
    let mut start = 0;
    while let Some(first) = hosts.get(start) {
        let preference = first.host.preference;
        let count = hosts.iter().skip(start).take_while(|host| host.host.preference == preference).count();
        for at in (1..count).rev() {
            let other = usize::try_from(random.below(at as u64 + 1)).unwrap_or(0);
            hosts.swap(start + at, start + other);
        }
        start += count;
    }
}

fn address_key(limit: &LocalLimit, address: SocketAddr) -> LimitKey {
    let host = match &limit.key.to {
        To::Host(name) | To::Domain(name) => format!("{name} [{}]", address.ip()),
        To::Any => String::new(),
    };
    LimitKey { through: limit.key.through.clone(), to: To::Host(host) }
}
