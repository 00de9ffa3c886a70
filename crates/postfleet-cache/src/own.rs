//! What this member wrote and the order has not yet brought back: it reads these first.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use postfleet_types::Monotonic;

use crate::pairs::Write;
use crate::ttl::Ttl;

/// The own writes of a key on their way.
#[derive(Clone, Debug)]
struct Own {
    value: Bytes,
    ttl: Ttl,
    written: Monotonic,
    /// The last of them waits to be sent.
    waits: bool,
    /// How many were sent and not delivered.
    in_flight: u32,
}

/// All own writes on their way.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnWrites {
    by_key: BTreeMap<Bytes, Own>,
    /// Keys that wait to be sent, in the order of their first write since the last sending.
    waiting: Vec<Bytes>,
}

impl OwnWrites {
    /// Notes a write. One that waits is superseded. `true` when a write was added to those that wait.
    pub(crate) fn note(&mut self, key: Bytes, value: Bytes, ttl: Ttl, now: Monotonic) -> bool {
        let own = self.by_key.entry(key.clone()).or_insert_with(|| Own {
            value: Bytes::new(),
            ttl,
            written: now,
            waits: false,
            in_flight: 0,
        });
        own.value = value;
        own.ttl = ttl;
        own.written = now;
        let added = !own.waits;
        if added {
            own.waits = true;
            self.waiting.push(key);
        }
        added
    }

    /// What waits, to be sent now. A write that expired while it waited is sent all the same: it ends what was there.
    pub(crate) fn send(&mut self, now: Monotonic, clock_millis: u64) -> Vec<Write> {
        let mut writes = Vec::with_capacity(self.waiting.len());
        for key in core::mem::take(&mut self.waiting) {
            let Some(own) = self.by_key.get_mut(&key) else { continue };
            own.waits = false;
            own.in_flight = own.in_flight.saturating_add(1);
            writes.push(Write {
                key,
                value: own.value.clone(),
                ttl: remaining(own.ttl, own.written, now),
                clock_millis,
            });
        }
        writes
    }

    /// One of the own writes of a key came back.
    pub(crate) fn delivered(&mut self, key: &[u8]) {
        if let Some(own) = self.by_key.get_mut(key) {
            own.in_flight = own.in_flight.saturating_sub(1);
            if own.in_flight == 0 && !own.waits {
                self.by_key.remove(key);
            }
        }
    }

    /// Writes that were sent will not come back: the bus was lost. They wait to be sent again.
    pub(crate) fn lost(&mut self) {
        for (key, own) in &mut self.by_key {
            own.in_flight = 0;
            if !own.waits {
                own.waits = true;
                self.waiting.push(key.clone());
            }
        }
    }

    /// The last own write of a key, if it is on its way: its value, or `None` when it has expired.
    pub(crate) fn value(&self, key: &[u8], now: Monotonic) -> Option<Option<&Bytes>> {
        let own = self.by_key.get(key)?;
        let alive = own.ttl.duration().is_none_or(|ttl| now < own.written + ttl);
        Some(alive.then_some(&own.value))
    }

    /// How many keys wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// What is left of a time to live; a millisecond at least, since 0 means for ever.
pub(crate) fn remaining(ttl: Ttl, from: Monotonic, now: Monotonic) -> Ttl {
    match ttl.duration() {
        None => Ttl::NEVER,
        Some(whole) => {
            let left = whole.saturating_sub(now.since(from)).as_millis();
            Ttl::from_millis(u64::try_from(left).unwrap_or(u64::MAX).max(1))
        }
    }
}
