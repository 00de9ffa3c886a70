//! `cache get`, `set` and `show`.

use super::Outcome;
use crate::fleet::{SetError, bytes_text};
use crate::node::Node;
use bytes::Bytes;
use postfleet_cache::Ttl;
use postfleet_console::{Answer, CachePair, Code, Failure};

pub(super) fn show(node: &Node, cache: &str, key: &str, full: bool) -> Outcome {
    let fleet = node.fleet.as_ref().ok_or_else(|| Failure::no_such_cache(cache))?;
    let pair = fleet.cache_pair(cache, key.as_bytes()).ok_or_else(|| Failure::no_such_cache(cache))?;
    let pair = pair.ok_or_else(|| Failure::no_such_key(key))?;
    Ok(Answer::CachePair(CachePair {
        cache: cache.to_owned(),
        key: key.to_owned(),
        value: bytes_text(&pair.value),
        left: pair.left.map(|left| u64::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)),
        writer: pair.writer.map(|writer| writer.to_string()),
        full,
    }))
}

/// Prints nothing when it is done.
pub(super) fn set(node: &Node, cache: &str, key: &str, value: &str, ttl: Option<&str>) -> Outcome {
    let fleet = node.fleet.as_ref().ok_or_else(|| Failure::no_such_cache(cache))?;
    let ttl = ttl.map_or(Ok(Ttl::NEVER), str::parse::<Ttl>);
    let ttl =
        ttl.map_err(|error| Failure::error(Code::InvalidValue, format_args!("time to live: {error}")))?;
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    match fleet.cache_set(cache, bytes(key), bytes(value), ttl) {
        Ok(()) => Ok(Answer::Lines(Vec::new())),
        Err(SetError::NoCache) => Err(Failure::no_such_cache(cache)),
        Err(error @ SetError::TooLong(_)) => Err(Failure::error(Code::InvalidValue, error)),
    }
}
