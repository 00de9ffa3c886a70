//! The watch thread: quorum, the timeouts of the ring, and how large it is.

use super::{Class, RING_HOSTS_LIMIT, RING_HOSTS_SUPPORTED, Shared};
use crate::bound::{RingTimeouts, TOKEN_COEFFICIENT_MS_DEFAULT, TOKEN_MS_DEFAULT};
use crate::library::{Cmap, ConnectError, Quorum};
use core::sync::atomic::Ordering;
use core::time::Duration;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use postfleet_bus::notice::Severity;
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::PoisonError;

/// How often the timeouts are read without a reason; `corosync-cfgtool -R` may change them.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How often a quorum service that could not be opened is tried again.
const OPEN_AGAIN: Duration = Duration::from_secs(5);

/// What the daemon's map says of the ring.
pub(super) struct RingSettings {
    /// Hosts in the node list, or in the ring when there are more or the list cannot be read.
    pub(super) hosts: usize,
    pub(super) timeouts: RingTimeouts,
    /// Why the map cannot be read. The timeouts are Corosync's defaults then.
    pub(super) problem: Option<ConnectError>,
}

/// Reads the map. Without libcmap, or without the keys, the timeouts are computed from the defaults, for so many hosts
/// as are in the ring.
pub(super) fn ring(present: usize) -> RingSettings {
    let map = match Cmap::connect() {
        Ok(map) => map,
        Err(problem) => {
            let timeouts = RingTimeouts::computed(TOKEN_MS_DEFAULT, TOKEN_COEFFICIENT_MS_DEFAULT, present);
            return RingSettings { hosts: present, timeouts, problem: Some(problem) };
        }
    };
    let listed = hosts(map.keys("nodelist.node.").iter().map(String::as_str));
    let token = map.number("totem.token").unwrap_or(TOKEN_MS_DEFAULT);
    let coefficient = map.number("totem.token_coefficient").unwrap_or(TOKEN_COEFFICIENT_MS_DEFAULT);
    let computed = RingTimeouts::computed(token, coefficient, listed);
    let timeouts = RingTimeouts {
        token_ms: map.number("runtime.config.totem.token").unwrap_or(computed.token_ms),
        consensus_ms: map.number("runtime.config.totem.consensus").unwrap_or(computed.consensus_ms),
    };
    RingSettings { hosts: listed.max(present), timeouts, problem: None }
}

/// How many entries a node list has, by the keys that describe them.
fn hosts<'k>(keys: impl Iterator<Item = &'k str>) -> usize {
    let entries = keys.filter_map(|key| key.strip_prefix("nodelist.node.")?.split('.').next());
    entries.collect::<BTreeSet<_>>().len()
}

/// What is said of the size of the ring, once for each limit that it grows beyond.
fn judge(before: usize, hosts: usize, allow_large: bool, detection: Duration) -> Option<(Severity, String)> {
    let beyond = |limit: usize| before <= limit && hosts > limit;
    if beyond(RING_HOSTS_LIMIT) && !allow_large {
        let text = format!(
            "CFG-6226 The Corosync ring has {hosts} hosts; more than {RING_HOSTS_LIMIT} are not supported, because a \
             silent host is noticed only after {:.1} s. Who is connected stays; whoever connects is refused. Use several \
             rings, or set allow_large_ring = true in the cluster stanza",
            detection.as_secs_f64()
        );
        return Some((Severity::Error, text));
    }
    beyond(RING_HOSTS_SUPPORTED).then(|| (Severity::Warning, large(hosts, detection)))
}

/// What is logged about a ring that is larger than supported.
fn large(hosts: usize, detection: Duration) -> String {
    format!(
        "CFG-6225 The Corosync ring has {hosts} hosts; up to {RING_HOSTS_SUPPORTED} are supported. A silent host is noticed \
         after {:.1} s only; consider several rings",
        detection.as_secs_f64()
    )
}

/// Why something of Corosync's is not there, for the log.
fn reason(problem: &ConnectError) -> String {
    match problem {
        ConnectError::Load(error) => {
            format!("{} cannot be loaded; Debian package {}", error.file, error.package)
        }
        ConnectError::Status(call, status) => format!("{call}: {status}"),
    }
}

/// What has been said, so that it is said once. Both classes watch; the main one speaks.
struct Watch<'s> {
    shared: &'s Shared,
    speaks: bool,
    allow_large: bool,
    quorum: Option<Quorum>,
    without_quorum: bool,
    without_settings: bool,
    hosts: usize,
}

pub(super) fn watch(shared: &Shared, class: Class, allow_large: bool) {
    let mut watch = Watch {
        shared,
        speaks: class == Class::Main,
        allow_large,
        quorum: None,
        without_quorum: false,
        without_settings: false,
        hosts: 0,
    };
    watch.look_at_ring();
    while !shared.stop.load(Ordering::Acquire) {
        watch.open_quorum();
        let told = watch.wait();
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        if told {
            watch.take_quorum();
        }
        watch.look_at_ring();
    }
}

impl Watch<'_> {
    fn say(&self, severity: Severity, text: String) {
        if self.speaks {
            self.shared.notice(severity, text);
        }
    }

    fn open_quorum(&mut self) {
        if self.quorum.is_some() {
            return;
        }
        match Quorum::connect() {
            Ok(quorum) => {
                self.quorum = Some(quorum);
                if core::mem::take(&mut self.without_quorum) {
                    self.say(Severity::Notice, "Corosync's quorum is watched again".into());
                }
            }
            // The ring works without.
            Err(problem) => {
                if !core::mem::replace(&mut self.without_quorum, true) {
                    let text = format!(
                        "Corosync's quorum cannot be watched ({}); until it can, a side with more than half of the \
                         nodes counts as quorate for limits with partition = \"quorum\"",
                        reason(&problem)
                    );
                    self.say(Severity::Warning, text);
                }
            }
        }
    }

    /// `true`: the quorum service has something to say.
    fn wait(&self) -> bool {
        let fd = self.quorum.as_ref().and_then(|quorum| quorum.fd().ok());
        let mut fds = vec![PollFd::new(self.shared.wake_watch.as_fd(), PollFlags::POLLIN)];
        fds.extend(fd.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let timeout = if fd.is_some() { LOOK_AGAIN } else { OPEN_AGAIN };
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        if poll(&mut fds, timeout).is_err() {
            return false;
        }
        let ready =
            |number: usize| fds.get(number).and_then(PollFd::revents).is_some_and(|flags| !flags.is_empty());
        if ready(0) {
            let _ = self.shared.wake_watch.read();
        }
        ready(1)
    }

    fn take_quorum(&mut self) {
        let Some(watched) = &self.quorum else { return };
        let told = match watched.dispatch() {
            Ok(None) => return,
            Ok(told) => told,
            // The daemon is gone; the carrier's thread finds it too and ends everything. If not, it is tried again.
            Err(_) => {
                self.quorum = None;
                None
            }
        };
        let mut known = self.shared.quorum.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = core::mem::replace(&mut *known, told) != told;
        drop(known);
        if changed {
            self.shared.nudge();
        }
    }

    fn look_at_ring(&mut self) {
        let present = self.shared.hosts.lock().unwrap_or_else(PoisonError::into_inner).len();
        let RingSettings { hosts, timeouts, problem } = ring(present);
        self.shared.set_timeouts(timeouts);
        // Before the first event of the ring nobody knows how many hosts the defaults are for.
        if let Some(problem) = problem
            && present > 0
            && !core::mem::replace(&mut self.without_settings, true)
        {
            let text = format!(
                "Corosync's settings cannot be read ({}); a silent host is taken to be noticed after {:.1} s, as with \
                 Corosync's default timeouts and {present} hosts",
                reason(&problem),
                timeouts.detection().as_secs_f64()
            );
            self.say(Severity::Warning, text);
        }
        if let Some((severity, text)) = judge(self.hosts, hosts, self.allow_large, timeouts.detection()) {
            self.say(severity, text);
        }
        self.hosts = hosts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_counted_by_their_keys() {
        let keys = [
            "nodelist.node.0.name",
            "nodelist.node.0.nodeid",
            "nodelist.node.0.ring0_addr",
            "nodelist.node.1.nodeid",
            "nodelist.node.10.nodeid",
            "nodelist.local_node_pos",
        ];
        assert_eq!(hosts(keys.into_iter()), 3);
        assert_eq!(hosts([].into_iter()), 0);
    }

    #[test]
    fn bus_case_20_a_ring_of_seventeen_hosts_is_warned_of() {
        let text = large(17, Duration::from_millis(8_690));
        assert_eq!(
            text,
            "CFG-6225 The Corosync ring has 17 hosts; up to 16 are supported. A silent host is noticed after 8.7 s only; \
             consider several rings"
        );
    }

    /// Once for each limit, whenever it is passed.
    #[test]
    fn a_ring_is_judged_whenever_it_grows() {
        let code = |before, hosts, allow| {
            judge(before, hosts, allow, Duration::from_secs(9))
                .map(|(severity, text)| (severity, text[..8].to_owned()))
        };
        let warning = Some((Severity::Warning, "CFG-6225".to_owned()));
        assert_eq!(code(0, 16, false), None);
        assert_eq!(code(16, 17, false), warning);
        assert_eq!(code(17, 18, false), None);
        assert_eq!(code(18, 33, false), Some((Severity::Error, "CFG-6226".to_owned())));
        assert_eq!(code(33, 34, false), None);
        assert_eq!(code(18, 33, true), None);
        assert_eq!(code(0, 33, true), warning);
    }

    #[test]
    fn what_fails_is_named() {
        let refused = ConnectError::Status("cmap_initialize", crate::status::Status(2));
        assert_eq!(reason(&refused), "cmap_initialize: CS_ERR_LIBRARY");
    }
}
