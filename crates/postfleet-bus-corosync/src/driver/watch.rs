//! The watch thread: quorum, and the timeouts of the ring.

use super::Shared;
use crate::bound::{RingTimeouts, TOKEN_COEFFICIENT_MS_DEFAULT, TOKEN_MS_DEFAULT};
use crate::library::{Cmap, ConnectError, Quorum};
use core::sync::atomic::Ordering;
use core::time::Duration;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use postfleet_bus::notice::Severity;
use std::collections::BTreeSet;
use std::os::fd::AsFd;

/// How often the timeouts are read without a reason; `corosync-cfgtool -R` may change them.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What the daemon's map says of the ring.
pub(super) struct RingSettings {
    /// Hosts in the node list.
    pub(super) hosts: usize,
    pub(super) timeouts: RingTimeouts,
}

/// Reads the map. Without libcmap, or without the keys, the timeouts are computed from the defaults.
pub(super) fn ring() -> RingSettings {
    let Ok(map) = Cmap::connect() else {
        let timeouts = RingTimeouts::computed(TOKEN_MS_DEFAULT, TOKEN_COEFFICIENT_MS_DEFAULT, 0);
        return RingSettings { hosts: 0, timeouts };
    };
    let hosts = hosts(map.keys("nodelist.node.").iter().map(String::as_str));
    let token = map.number("totem.token").unwrap_or(TOKEN_MS_DEFAULT);
    let coefficient = map.number("totem.token_coefficient").unwrap_or(TOKEN_COEFFICIENT_MS_DEFAULT);
    let computed = RingTimeouts::computed(token, coefficient, hosts);
    let timeouts = RingTimeouts {
        token_ms: map.number("runtime.config.totem.token").unwrap_or(computed.token_ms),
        consensus_ms: map.number("runtime.config.totem.consensus").unwrap_or(computed.consensus_ms),
    };
    RingSettings { hosts, timeouts }
}

/// How many entries a node list has, by the keys that describe them.
fn hosts<'k>(keys: impl Iterator<Item = &'k str>) -> usize {
    let entries = keys.filter_map(|key| key.strip_prefix("nodelist.node.")?.split('.').next());
    entries.collect::<BTreeSet<_>>().len()
}

pub(super) fn watch(shared: &Shared) {
    let quorum = match Quorum::connect() {
        Ok(quorum) => Some(quorum),
        // The ring works without: every side of a split counts as quorate then, and the log says so.
        Err(error) => {
            let text = match error {
                ConnectError::Load(error) => format!(
                    "{} cannot be loaded (Debian package {}); this node counts as quorate always",
                    error.file, error.package
                ),
                ConnectError::Status(call, status) => {
                    format!(
                        "Corosync's quorum is not watched ({call}: {status}); this node counts as quorate always"
                    )
                }
            };
            shared.notice(Severity::Warning, text);
            None
        }
    };
    let mut quorum = quorum;
    while !shared.stop.load(Ordering::Acquire) {
        let told = wait(shared, quorum.as_ref());
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        if told && let Some(watched) = &quorum {
            match watched.dispatch() {
                Ok(Some(quorate)) => {
                    if shared.quorate.swap(quorate, Ordering::Relaxed) != quorate {
                        shared.nudge();
                    }
                }
                Ok(None) => {}
                // The daemon is gone; the carrier's thread finds it too and ends everything.
                Err(_) => quorum = None,
            }
        }
        shared.set_timeouts(ring().timeouts);
    }
}

/// `true`: the quorum service has something to say.
fn wait(shared: &Shared, quorum: Option<&Quorum>) -> bool {
    let fd = quorum.and_then(|quorum| quorum.fd().ok());
    let mut fds = vec![PollFd::new(shared.wake_watch.as_fd(), PollFlags::POLLIN)];
    fds.extend(fd.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    let timeout = PollTimeout::try_from(LOOK_AGAIN).unwrap_or(PollTimeout::MAX);
    if poll(&mut fds, timeout).is_err() {
        return false;
    }
    fds.get(1).and_then(PollFd::revents).is_some_and(|flags| !flags.is_empty())
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
}
