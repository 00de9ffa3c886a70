//! Session limits: `Listener_Sessions` and `Service_Sessions`, each counted where its number is written.

use crate::clock;
use crate::notices;
use crate::socket::Endpoint;
use postfleet_throttle::Shadows;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One limit that a session has to fit into.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cap {
    /// Which count it is: option and stanza.
    pub(crate) key: String,
    /// The most sessions; never 0.
    pub(crate) sessions_max: u64,
    /// The option, and the path of the stanza.
    pub(crate) option: &'static str,
    pub(crate) scope: String,
    /// It only watches.
    pub(crate) shadow: bool,
}

/// The sessions that are open, and how many there are under each limit.
#[derive(Debug, Default)]
pub(crate) struct Budgets(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    counts: BTreeMap<String, u64>,
    sessions: BTreeMap<u64, Seated>,
    next: u64,
    shadows: Shadows,
}

/// An open session. Sessions without a limit are known too: the next configuration may have one for them.
#[derive(Debug)]
struct Seated {
    endpoint: Endpoint,
    client: IpAddr,
    caps: Arc<[Cap]>,
}

impl Open {
    fn count(&mut self, caps: &[Cap]) {
        for cap in caps {
            *self.counts.entry(cap.key.clone()).or_default() += 1;
        }
    }
}

impl Budgets {
    fn locked(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place under every limit, or none.
    pub(crate) fn take(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        client: IpAddr,
        caps: &Arc<[Cap]>,
    ) -> Option<Place> {
        let mut open = self.locked();
        let full: Vec<&Cap> = caps
            .iter()
            .filter(|cap| open.counts.get(&cap.key).copied().unwrap_or(0) >= cap.sessions_max)
            .collect();
        if full.iter().any(|cap| !cap.shadow) {
            return None;
        }
        for cap in full {
            if let Some(told) = open.shadows.note(clock::monotonic(), cap.option, &cap.scope, 1) {
                notices::shadowed(&told);
            }
        }
        open.count(caps);
        let id = open.next;
        open.next = id.wrapping_add(1);
        open.sessions.insert(id, Seated { endpoint: endpoint.clone(), client, caps: Arc::clone(caps) });
        Some(Place { budgets: Arc::clone(self), id })
    }

    /// What limits that only watch would have turned away since the start: option, scope, sessions.
    pub(crate) fn shadows(&self) -> Vec<(&'static str, String, u64)> {
        let open = self.locked();
        open.shadows.counts().map(|(option, scope, count)| (option, scope.to_owned(), count)).collect()
    }

    /// Counts the open sessions anew, under the limits of a new configuration. A session whose listener is gone stays
    /// under the limits it has. Nobody is put out: where there are more than a new limit allows, no more come in.
    pub(crate) fn recount(&self, caps_of: impl Fn(&Endpoint, IpAddr) -> Option<Arc<[Cap]>>) {
        let mut open = self.locked();
        let shadows = std::mem::take(&mut open.shadows);
        let mut counted = Open { next: open.next, shadows, ..Open::default() };
        for (id, mut session) in std::mem::take(&mut open.sessions) {
            if let Some(caps) = caps_of(&session.endpoint, session.client) {
                session.caps = caps;
            }
            counted.count(&session.caps);
            counted.sessions.insert(id, session);
        }
        *open = counted;
    }
}

/// A session's place under its limits, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    budgets: Arc<Budgets>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.budgets.locked();
        let Some(session) = open.sessions.remove(&self.id) else { return };
        for cap in session.caps.iter() {
            if let Some(count) = open.counts.get_mut(&cap.key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    open.counts.remove(&cap.key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn cap(key: &str, sessions_max: u64) -> Cap {
        Cap { key: key.into(), sessions_max, option: "Service_Sessions", scope: String::new(), shadow: false }
    }

    fn at(path: &str) -> Endpoint {
        Endpoint::Unix(path.into())
    }

    fn take(budgets: &Arc<Budgets>, path: &str, caps: &[Cap]) -> Option<Place> {
        budgets.take(&at(path), CLIENT, &caps.to_vec().into())
    }

    #[test]
    fn a_limit_that_only_watches_turns_nobody_away_and_counts() {
        let budgets = Arc::new(Budgets::default());
        let caps = [Cap { shadow: true, ..cap("peer", 1) }, cap("service", 3)];
        let taken: Vec<Place> = std::iter::from_fn(|| take(&budgets, "/a", &caps)).collect();
        assert_eq!(taken.len(), 3);
        // The fourth is turned away by the other one.
        assert_eq!(budgets.shadows(), [("Service_Sessions", String::new(), 2)]);
    }

    #[test]
    fn every_limit_holds_and_a_refusal_takes_nothing() {
        let budgets = Arc::new(Budgets::default());
        let outer = cap("service", 3);
        let inner = cap("peer", 1);
        let first = take(&budgets, "/a", &[outer.clone(), inner.clone()]).unwrap();
        assert!(take(&budgets, "/a", &[outer.clone(), inner.clone()]).is_none());
        let second = take(&budgets, "/a", std::slice::from_ref(&outer)).unwrap();
        let _third = take(&budgets, "/a", std::slice::from_ref(&outer)).unwrap();
        assert!(take(&budgets, "/a", std::slice::from_ref(&outer)).is_none());
        drop(first);
        assert!(take(&budgets, "/a", std::slice::from_ref(&inner)).is_some());
        drop(second);
        assert_eq!(budgets.locked().counts.get("service"), Some(&1));
    }

    #[test]
    fn a_new_limit_counts_the_sessions_that_are_open() {
        let budgets = Arc::new(Budgets::default());
        let without = take(&budgets, "/a", &[]).unwrap();
        let with = take(&budgets, "/b", &[cap("old", 5)]).unwrap();
        let gone = take(&budgets, "/c", &[cap("service", 5)]).unwrap();
        let limits = |endpoint: &Endpoint, _: IpAddr| -> Option<Arc<[Cap]>> {
            let caps = |keys: &[&str]| keys.iter().map(|key| cap(key, 2)).collect();
            match endpoint.to_string().as_str() {
                "/a" => Some(caps(&["service", "new"])),
                "/b" => Some(caps(&["service"])),
                _ => None,
            }
        };
        budgets.recount(limits);
        assert_eq!(budgets.locked().counts, [("new".to_owned(), 1), ("service".to_owned(), 3)].into());
        // Again and again, and nothing is counted twice.
        budgets.recount(limits);
        assert!(take(&budgets, "/a", &[cap("service", 2)]).is_none());
        drop((with, gone));
        let another = take(&budgets, "/a", &[cap("service", 2)]).unwrap();
        assert!(take(&budgets, "/a", &[cap("service", 2)]).is_none());
        drop((without, another));
        assert_eq!(budgets.locked().counts, BTreeMap::new());
        assert!(budgets.locked().sessions.is_empty());
    }
}
