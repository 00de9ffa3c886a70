//! Datasources: queries to databases and files, with answers that are remembered and shared.
//!
//! ```text
//!  policy, console ── query ──► Source (lock) ── miss ──► pool thread ──► driver ──► database
//!                        ▲         │ hit                      │
//!                        └─────────┴──── answer ◄─────────────┘──► replicated cache of the same name
//! ```
//!
//! A query never blocks a task: it waits for a thread of the pool, or for the one that is asking already. Connections are
//! opened, used and closed on these threads only, because drivers block in all three.

mod asking;
mod source;

pub(crate) use source::{Place, Source, SourceSettings};

use crate::clock;
use crate::fleet::Fleet;
use postfleet_datasource::Statistics;
use postfleet_drivers::{Pool, PoolOptions};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Everything that the configuration says of datasources.
#[derive(Clone, Debug, Default)]
pub(crate) struct DatasourceSettings {
    pub(crate) sources: Vec<SourceSettings>,
    /// The pools that are written down; others have the default size.
    pub(crate) pools: BTreeMap<String, PoolOptions>,
}

/// The datasources of the node.
pub(crate) struct Datasources {
    fleet: Option<Arc<Fleet>>,
    /// A plain lock: it is held for a look-up, and by a reload.
    held: RwLock<Held>,
}

#[derive(Default)]
struct Held {
    sources: BTreeMap<String, Arc<Source>>,
    pools: BTreeMap<String, Pool>,
}

impl Datasources {
    pub(crate) fn new(settings: &DatasourceSettings, fleet: Option<Arc<Fleet>>) -> Self {
        let this = Self { fleet, held: RwLock::default() };
        this.adopt(settings);
        this
    }

    /// Takes the datasources of a new configuration. One that answers as before keeps what it remembers.
    pub(crate) fn adopt(&self, settings: &DatasourceSettings) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        for (name, pool) in &held.pools {
            pool.set_options(settings.pools.get(name).copied().unwrap_or_default());
        }
        let mut before = std::mem::take(&mut held.sources);
        for wanted in &settings.sources {
            let options = settings.pools.get(&wanted.pool).copied().unwrap_or_default();
            let pool = held
                .pools
                .entry(wanted.pool.clone())
                .or_insert_with(|| Pool::new(&wanted.pool, options))
                .clone();
            let kept = before.remove(&wanted.name).filter(|kept| kept.tune(wanted, &pool));
            let source =
                kept.unwrap_or_else(|| Arc::new(Source::new(wanted.clone(), pool, self.fleet.clone())));
            held.sources.insert(wanted.name.clone(), source);
        }
    }

    /// The datasource of that name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Source>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).sources.get(name).cloned()
    }

    fn all(&self) -> Vec<Arc<Source>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).sources.values().cloned().collect()
    }

    /// The names, ascending.
    pub(crate) fn names(&self) -> Vec<String> {
        self.all().iter().map(|source| source.name().to_owned()).collect()
    }

    /// The figures of each, by name.
    pub(crate) fn statistics(&self) -> Vec<(String, Statistics)> {
        self.all().iter().map(|source| (source.name().to_owned(), source.statistics())).collect()
    }

    /// Drops what has expired and what is too much, and closes connections that have been idle for long.
    pub(crate) fn maintain(&self) {
        let now = clock::monotonic();
        for source in self.all() {
            source.maintain(now);
        }
    }
}

#[cfg(test)]
mod tests;
