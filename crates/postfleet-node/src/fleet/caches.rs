//! Replicated caches, as datasources and consoles use them.

use super::Fleet;
use crate::clock;
use bytes::Bytes;
use postfleet_cache::Ttl;
use postfleet_datasource::{Rows, is_answer};
use postfleet_replica::{PairTooLong, Structure};
use postfleet_types::PrivateName;
use std::time::Duration;

/// A pair of a cache, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) value: Bytes,
    /// What is left of its time to live; none for ever.
    pub(crate) left: Option<Duration>,
    /// Who wrote it last; none while an own write is on its way.
    pub(crate) writer: Option<PrivateName>,
}

/// Why a pair was not written. The caller is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SetError {
    /// There is no such cache.
    #[error("no such cache")]
    NoCache,
    /// It cannot be shared.
    #[error(transparent)]
    TooLong(#[from] PairTooLong),
}

impl Fleet {
    /// The names of the caches, in the order of the configuration.
    pub(crate) fn cache_names(&self) -> Vec<String> {
        let cache = |row: postfleet_replica::ListRow| (row.structure == Structure::Cache).then_some(row.name);
        self.replica(|replica| replica.list().into_iter().filter_map(cache).collect())
    }

    /// The value of a key, as this node reads it.
    pub(crate) fn cache_value(&self, cache: &str, key: &[u8]) -> Option<Bytes> {
        let now = clock::monotonic();
        self.replica(|replica| replica.cache(cache)?.value(key, now).cloned())
    }

    /// A pair with its time to live and writer; the outer `None` when there is no such cache.
    pub(crate) fn cache_pair(&self, cache: &str, key: &[u8]) -> Option<Option<Pair>> {
        let now = clock::monotonic();
        self.replica(|replica| {
            let cache = replica.cache(cache)?;
            let Some(value) = cache.value(key, now).cloned() else { return Some(None) };
            // What the order made; an own write that is on its way shows its value and nothing else.
            let made = cache.pair(key, now).filter(|(made, ..)| **made == value);
            Some(Some(match made {
                Some((_, left, writer)) => {
                    Pair { value, left: left.duration(), writer: Some(writer.clone()) }
                }
                None => Pair { value, left: None, writer: None },
            }))
        })
    }

    /// Writes a pair: this node reads it at once, the others when it is delivered.
    pub(crate) fn cache_set(&self, cache: &str, key: Bytes, value: Bytes, ttl: Ttl) -> Result<(), SetError> {
        let (now, wall) = (clock::monotonic(), clock::wall());
        self.locked().cache_mut(cache).ok_or(SetError::NoCache)?.set(now, wall, key, value, ttl)?;
        self.changed.notify_one();
        Ok(())
    }

    /// Whether there is such a cache.
    pub(crate) fn has_cache(&self, cache: &str) -> bool {
        self.replica(|replica| replica.cache(cache).is_some())
    }

    /// Removes a pair: this node at once, the others when they hear of it.
    pub(crate) fn cache_remove(&self, cache: &str, key: Bytes) -> Result<(), SetError> {
        let (now, wall) = (clock::monotonic(), clock::wall());
        self.locked().cache_mut(cache).ok_or(SetError::NoCache)?.remove(now, wall, key)?;
        self.changed.notify_one();
        Ok(())
    }

    /// Publishes the answer to a query, where a cache has the name of the datasource. One that is too large stays here.
    pub(crate) fn cache_publish_answer(&self, cache: &str, key: Bytes, rows: &Rows, life: Duration) {
        let ttl = Ttl::from_millis(u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1));
        let _stays_here = self.cache_set(cache, key, rows.encode(), ttl);
    }

    /// Drops what this node holds of the answers that members published. Returns how many there were.
    pub(crate) fn cache_forget_answers(&self, cache: &str) -> usize {
        let now = clock::monotonic();
        let mut replica = self.locked();
        replica.cache_mut(cache).map_or(0, |cache| cache.forget(now, is_answer))
    }
}
