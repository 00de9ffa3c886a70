//! `Datasource` and `ThreadPool` stanzas.

use crate::datasource::{DatasourceSettings, Place, SourceSettings};
use anyhow::Context as _;
use postfleet_config::Config;
use postfleet_datasource::{CacheOptions, Uri, UriError};
use postfleet_drivers::{PoolOptions, is_built};

pub(super) fn read(config: &Config) -> anyhow::Result<DatasourceSettings> {
    let default = PoolOptions::default();
    let pools = config.thread_pools().into_iter().map(|pool| {
        let size = |number: Option<u32>, default: usize| {
            number.map_or(default, |number| usize::try_from(number).unwrap_or(default).max(1))
        };
        let options = PoolOptions {
            threads_max: size(pool.concurrency, default.threads_max),
            waiting_max: size(pool.backlog, default.waiting_max),
        };
        (pool.name, options)
    });
    let sources = config
        .datasources()
        .into_iter()
        .map(|stanza| {
            let place = |uri: &String| match Uri::parse(uri) {
                Ok(uri) if is_built(uri.driver) => Place::At(uri),
                Ok(uri) => Place::Missing(uri.driver.word().into()),
                // The check has let it pass with a warning: a driver that is known and not there.
                Err(UriError::Driver(driver)) => Place::Missing(driver),
                Err(UriError::Syntax(_)) => Place::Missing("".into()),
            };
            let charset = stanza.assume_charset.parse();
            Ok(SourceSettings {
                places: stanza.uris.iter().filter(|uri| !uri.is_empty()).map(place).collect(),
                cache: CacheOptions {
                    life: stanza.cache_life,
                    answers_max: usize::try_from(stanza.cache_size).unwrap_or(usize::MAX),
                },
                rows_max: stanza.max_rows,
                no_cache: stanza.no_cache,
                pool: stanza.pool,
                serialized: stanza.serialized,
                charset: charset
                    .with_context(|| format!("Datasource \"{}\": assume_charset", stanza.name))?,
                name: stanza.name,
            })
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(DatasourceSettings { sources, pools: pools.collect() })
}
