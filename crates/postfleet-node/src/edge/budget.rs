//! Session limits: `Listener_Sessions` and `Service_Sessions`, each counted where its number is written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One limit that a session has to fit into.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cap {
    /// Which count it is: option and stanza.
    pub(crate) key: String,
    /// The most sessions; never 0.
    pub(crate) sessions_max: u64,
}

/// The sessions that are open under each limit.
#[derive(Debug, Default)]
pub(crate) struct Budgets(Mutex<BTreeMap<String, u64>>);

impl Budgets {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place under every limit, or none.
    pub(crate) fn take(self: &Arc<Self>, caps: &[Cap]) -> Option<Place> {
        if caps.is_empty() {
            return Some(Place { budgets: None, keys: Vec::new() });
        }
        let mut open = self.locked();
        if caps.iter().any(|cap| open.get(&cap.key).copied().unwrap_or(0) >= cap.sessions_max) {
            return None;
        }
        for cap in caps {
            *open.entry(cap.key.clone()).or_default() += 1;
        }
        drop(open);
        Some(Place {
            budgets: Some(Arc::clone(self)),
            keys: caps.iter().map(|cap| cap.key.clone()).collect(),
        })
    }
}

/// A session's place under its limits, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    budgets: Option<Arc<Budgets>>,
    keys: Vec<String>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(budgets) = &self.budgets else { return };
        let mut open = budgets.locked();
        for key in &self.keys {
            if let Some(count) = open.get_mut(key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    open.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cap(key: &str, sessions_max: u64) -> Cap {
        Cap { key: key.into(), sessions_max }
    }

    #[test]
    fn every_limit_holds_and_a_refusal_takes_nothing() {
        let budgets = Arc::new(Budgets::default());
        let outer = cap("service", 3);
        let inner = cap("peer", 1);
        let first = budgets.take(&[outer.clone(), inner.clone()]).unwrap();
        assert!(budgets.take(&[outer.clone(), inner.clone()]).is_none());
        let second = budgets.take(std::slice::from_ref(&outer)).unwrap();
        let _third = budgets.take(std::slice::from_ref(&outer)).unwrap();
        assert!(budgets.take(std::slice::from_ref(&outer)).is_none());
        drop(first);
        assert!(budgets.take(std::slice::from_ref(&inner)).is_some());
        drop(second);
        assert_eq!(budgets.locked().get("service"), Some(&1));
    }
}
