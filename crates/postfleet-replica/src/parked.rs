//! Columns of members that went away, kept as they would be cut. When a member comes back with the same column, as
//! after a restart of the bus engine or a short partition, its marker says so by its digest, and nothing is sent.

use crate::shared::Data;
use crate::wire::{DIGEST_START, digest};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use postfleet_types::{Monotonic, PrivateName};

/// How long a column is kept. A fleet that changes at all has another one sooner.
const KEPT: Duration = Duration::from_secs(600);

/// What all of them may take, in bytes: the columns of fifteen million IPv4 keys.
const PARKED_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug)]
struct Parked {
    bodies: Vec<Bytes>,
    digest: u64,
    until: Monotonic,
}

/// The columns kept, by member and object.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    columns: BTreeMap<(PrivateName, String), Parked>,
    bytes: usize,
}

impl Parking {
    /// Keeps a column; small ones, which a marker carries itself, are not worth it.
    pub(crate) fn keep(
        &mut self,
        now: Monotonic,
        key: (PrivateName, String),
        bodies: Vec<Vec<u8>>,
        bytes_min: usize,
    ) {
        let bytes: usize = bodies.iter().map(Vec::len).sum();
        if bytes <= bytes_min || self.bytes.saturating_add(bytes) > PARKED_BYTES_MAX {
            return;
        }
        self.take(&key);
        self.bytes += bytes;
        let digest = bodies.iter().fold(DIGEST_START, |sum, body| digest(sum, body));
        let bodies = bodies.into_iter().map(Bytes::from).collect();
        self.columns.insert(key, Parked { bodies, digest, until: now + KEPT });
    }

    fn take(&mut self, key: &(PrivateName, String)) -> Option<Parked> {
        let parked = self.columns.remove(key)?;
        self.bytes = self.bytes.saturating_sub(parked.bodies.iter().map(Bytes::len).sum());
        Some(parked)
    }

    /// The column with that digest; another one of the same member is of no use any more.
    pub(crate) fn find(
        &mut self,
        key: &(PrivateName, String),
        chunks: usize,
        digest: u64,
    ) -> Option<Vec<Bytes>> {
        let parked = self.take(key)?;
        (parked.digest == digest && parked.bodies.len() == chunks).then_some(parked.bodies)
    }

    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        self.columns.values().map(|parked| parked.until).min()
    }

    pub(crate) fn expire(&mut self, now: Monotonic) {
        let old: Vec<_> =
            self.columns.iter().filter(|(_, kept)| kept.until <= now).map(|(key, _)| key.clone()).collect();
        for key in old {
            self.take(&key);
        }
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Data {
    /// The cut of a live column, as its owner would make it.
    pub(crate) fn cut_of(&self, origin: crate::counts::Origin, limit: usize) -> Option<Vec<Vec<u8>>> {
        matches!(self.remote.get(&origin), Some(crate::shared::Column::Live { .. }))
            .then(|| self.counts.encode(origin, limit))
    }
}
