//! Series that scripts define once and then name without their windows.

use super::objects::{Objects, fault, range};
use crate::audit::Definition;
use postfleet_policy::{Fault, Item, NamedSeries, SeriesKey, SeriesKind, Spread, Windows};
use postfleet_replica::{Key, Mode, Monitor, Query, SeriesId};
use postfleet_types::normalised;

const fn kept_as(kind: SeriesKind) -> postfleet_replica::SeriesKind {
    match kind {
        SeriesKind::Cidr => postfleet_replica::SeriesKind::Cidr,
        SeriesKind::CidrIpv6 => postfleet_replica::SeriesKind::CidrIpv6,
        SeriesKind::Text => postfleet_replica::SeriesKind::Text,
    }
}

/// None for the series that the node keeps by client: they have functions of their own.
const fn shown_as(kind: postfleet_replica::SeriesKind) -> Option<SeriesKind> {
    Some(match kind {
        postfleet_replica::SeriesKind::Cidr => SeriesKind::Cidr,
        postfleet_replica::SeriesKind::CidrIpv6 => SeriesKind::CidrIpv6,
        postfleet_replica::SeriesKind::Text => SeriesKind::Text,
        postfleet_replica::SeriesKind::Clients => return None,
    })
}

fn undefined(name: &str) -> Fault {
    Fault::new(format!("audit series '{name}' is not defined"))
}

impl Objects<'_> {
    pub(super) fn define_series(&self, series: NamedSeries<'_>) -> Result<(), Fault> {
        let windows = u16::try_from(series.windows).map_err(fault)?;
        let monitor = Monitor::new(series.interval_s, windows).map_err(fault)?;
        let definition = Definition {
            kind: kept_as(series.kind),
            mode: match series.spread {
                Spread::None => None,
                Spread::Cluster => Some(Mode::Cluster),
                Spread::Managers => Some(Mode::Managers),
            },
            persist: series.persist,
            serialize: series.serialize,
        };
        let audit = &self.node.audit;
        let first = audit.defined(series.name, monitor).is_none();
        if let Some(before) = self.policies().named_series(series.name).filter(|before| *before != monitor) {
            audit.undefine(series.name, before);
        }
        audit.keep(series.name, monitor, definition).map_err(fault)?;
        self.policies().name_series(series.name, monitor);
        if first && definition.persist {
            let (node, name) = (std::sync::Arc::clone(self.node), series.name.to_owned());
            tokio::spawn(async move {
                if let Err(error) = node.audit.restore(&name, monitor, definition).await {
                    crate::notices::notice(
                        crate::notices::Severity::Error,
                        format_args!("series '{name}': what was kept of it is not loaded: {error:#}"),
                    );
                }
            });
        }
        Ok(())
    }

    /// The windows and the definition of a series: as a script defined it, else as somebody else did.
    fn series(&self, name: &str) -> Result<(Monitor, Definition, SeriesKind), Fault> {
        let audit = &self.node.audit;
        let named = self.policies().named_series(name);
        let found = named.or_else(|| audit.monitors_of(name).first().copied());
        found
            .and_then(|monitor| {
                let definition = audit.definition(name, monitor)?;
                Some((monitor, definition, shown_as(definition.kind)?))
            })
            .ok_or_else(|| undefined(name))
    }

    pub(super) fn series_kind(&self, name: &str) -> Result<SeriesKind, Fault> {
        Ok(self.series(name)?.2)
    }

    /// None for an address of the family that is not counted.
    fn key<'k>(&self, name: &str, kind: SeriesKind, key: SeriesKey<'k>) -> Result<Option<Key<'k>>, Fault> {
        let address = match (kind, key) {
            (SeriesKind::Text, SeriesKey::Text(text)) => return Ok(Some(Key::Text(text))),
            (SeriesKind::Text, _) => {
                return Err(Fault::new(format!("audit series '{name}' is counted by text")));
            }
            (_, SeriesKey::Text(_)) => {
                return Err(Fault::new(format!("audit series '{name}' is counted by address")));
            }
            (_, SeriesKey::Client) => self.client()?,
            (_, SeriesKey::Address(address)) => normalised(address),
        };
        Ok(((kind == SeriesKind::Cidr) == address.is_ipv4()).then_some(Key::Address(address)))
    }

    pub(super) fn named_series_add(&self, name: &str, key: SeriesKey<'_>, amount: i64) -> Result<(), Fault> {
        let (monitor, definition, kind) = self.series(name)?;
        let Some(key) = self.key(name, kind, key)? else { return Ok(()) };
        self.warn_unshared(name, definition.mode);
        let id = SeriesId { name, kind: definition.kind, monitor };
        self.node.audit.add(id, key, amount, definition.mode).map_err(fault)
    }

    pub(super) fn named_series_sum(
        &self,
        name: &str,
        item: Item<'_>,
        windows: Windows,
    ) -> Result<u64, Fault> {
        let (monitor, definition, kind) = self.series(name)?;
        let range = range(monitor, windows)?;
        let query = match (kind, item) {
            (SeriesKind::Text, Item::Text(text)) => Query::Text(text),
            (SeriesKind::Cidr, Item::Block(block)) if block.address().is_ipv4() => Query::Block(block),
            (SeriesKind::CidrIpv6, Item::Block(block)) if block.address().is_ipv6() => Query::Block(block),
            (SeriesKind::Cidr | SeriesKind::CidrIpv6, Item::Block(_)) => return Ok(0),
            (kind, _) => {
                let by = if kind == SeriesKind::Text { "text" } else { "address" };
                return Err(Fault::new(format!("audit series '{name}' is counted by {by}")));
            }
        };
        // What is not to be shared is not read from others either.
        let audit = &self.node.audit;
        Ok(match definition.mode {
            Some(_) => audit.count(name, monitor, query, range),
            None => audit.own_count(name, monitor, query, range),
        })
    }

    pub(super) fn named_series_remove(&self, name: &str, key: SeriesKey<'_>) -> Result<(), Fault> {
        let (monitor, definition, kind) = self.series(name)?;
        let Some(key) = self.key(name, kind, key)? else { return Ok(()) };
        self.node.audit.remove(SeriesId { name, kind: definition.kind, monitor }, key);
        Ok(())
    }
}
