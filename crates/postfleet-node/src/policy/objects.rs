//! The node's objects as policy uses them: counts, series, caches, throttles, of this node and of the fleet.
//!
//! Nothing here waits: a call reads and changes memory. What has to wait is a [`postfleet_policy::Request`], see `ask`.

use super::live::{Policies, ThrottleSpace};
use crate::audit::{Definition, unshared, unshared_gauges};
use crate::clock;
use crate::counts;
use crate::fleet::{Fleet, LimitError, NAMED, SetError};
use crate::node::Node;
use crate::socket::Endpoint;
use bytes::Bytes;
use postfleet_cache::Ttl;
use postfleet_console::InboundService;
use postfleet_policy::{Change, Event, Events, Fault, Kind, Scope, SeriesRead, SeriesWrite, Spread, Windows};
use postfleet_replica::{
    CountError, GaugeLimits, Key, MetricWord, Mode, Monitor, Of, Query, Range, Reading, SeriesId, SeriesKind,
};
use postfleet_throttle::{Epsilon, Rate, ThrottleError};
use postfleet_types::{Prefix, normalised};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The object of open inbound connections.
pub(crate) const INBOUND_CIDR: &str = "inbound_cidr";

/// What policy of one session may use.
#[derive(Clone, Copy)]
pub(crate) struct Objects<'a> {
    pub(super) node: &'a Arc<Node>,
    /// Of the session; none where there is no connection.
    pub(super) client: Option<IpAddr>,
    /// The listener that accepted the session.
    pub(super) listener: Option<&'a Endpoint>,
}

pub(super) fn fault(error: impl std::fmt::Display) -> Fault {
    Fault::new(error.to_string())
}

/// The name of the IPv6 half of a series of Sieve: a series holds one family of addresses.
fn ipv6_half(name: &str) -> String {
    format!("{name}:ipv6")
}

fn word_of(event: Event) -> MetricWord {
    match event {
        Event::Connection => MetricWord::Connect,
        Event::Reception => MetricWord::Reception,
        Event::Rejection => MetricWord::Rejection,
    }
}

impl Objects<'_> {
    pub(super) fn policies(&self) -> &Arc<Policies> {
        &self.node.policies
    }

    fn fleet(&self) -> Option<&Arc<Fleet>> {
        self.node.fleet.as_ref()
    }

    pub(super) fn client(&self) -> Result<IpAddr, Fault> {
        self.client.map(normalised).ok_or_else(|| Fault::new("there is no connecting address here"))
    }

    /// The block of an address, the client's if none is named, with so many leading bits, all if none are named.
    fn block(&self, address: Option<&str>, mask: Option<u8>) -> Result<Prefix, Fault> {
        let address = address.map_or_else(|| self.client(), self::address)?;
        let bits = Prefix::bits(address);
        let mask = mask.unwrap_or(bits);
        Prefix::containing(address, mask)
            .map_err(|_| Fault::new(format!("mask {mask} is longer than an address of {bits} bits")))
    }

    /// A block in any form that scripts write: `192.0.2.0/24`, `192.0.2.7`, `/24` of the client, nothing for the client.
    pub(crate) fn cidr(&self, text: &str) -> Result<Prefix, Fault> {
        let wrong = || Fault::new(format!("'{text}' is not a block of addresses"));
        let (address, mask) = match text.trim().split_once('/') {
            None => (text.trim(), None),
            Some((address, mask)) => {
                let digits = !mask.is_empty() && mask.bytes().all(|digit| digit.is_ascii_digit());
                (address, Some(mask.parse::<u8>().ok().filter(|_| digits).ok_or_else(wrong)?))
            }
        };
        let address = address.trim_start_matches('[').trim_end_matches(']');
        self.block(Some(address).filter(|address| !address.is_empty()), mask)
    }

    fn monitors(&self) -> Result<Vec<Monitor>, Fault> {
        let monitors = self.node.audit.options().monitors;
        if monitors.is_empty() {
            return Err(Fault::new("inbound_audit is not configured; add the stanza with `monitors`"));
        }
        Ok(monitors)
    }

    /// Of which view a question is answered. Where nothing is shared that is this node's, and it is said once.
    fn reading(&self, events: Events) -> Reading {
        let word = word_of(events.event);
        if !events.cluster {
            return Reading::Own;
        }
        if !self.node.audit.shares(word) {
            let word = word.word();
            self.policies().warn_once(&format!("metrics {word}"), || {
                format!(
                    "policy reads {word} of the cluster, which is not replicated: it sees this node only; add \
                     Replicate \"metrics\" with the word {word} in its parameters"
                )
            });
        }
        Reading::Global
    }

    pub(crate) fn events_average(
        &self,
        events: Events,
        monitor: u32,
        mask: Option<u8>,
    ) -> Result<u64, Fault> {
        let monitors = self.monitors()?;
        let found = usize::try_from(monitor).ok().and_then(|at| monitors.get(at));
        let missing = || Fault::new(format!("no monitor {monitor}; {} are configured", monitors.len()));
        let monitor = *found.ok_or_else(missing)?;
        let block = self.block(None, mask)?;
        let name = word_of(events.event).word();
        Ok(self.node.audit.average(name, monitor, Query::Block(block), self.reading(events)))
    }

    pub(crate) fn events_sum(
        &self,
        events: Events,
        monitor: Option<&str>,
        windows: Windows,
        mask: Option<u8>,
    ) -> Result<u64, Fault> {
        self.events_sum_of(events, monitor, windows, self.block(None, mask)?)
    }

    /// As [`Self::events_sum`], of any block.
    pub(crate) fn events_sum_of(
        &self,
        events: Events,
        monitor: Option<&str>,
        windows: Windows,
        block: Prefix,
    ) -> Result<u64, Fault> {
        let monitors = self.monitors()?;
        let chosen = match monitor {
            None => monitors.first().copied(),
            Some(text) => {
                let wanted = self::monitor(text)?;
                monitors.into_iter().find(|monitor| *monitor == wanted)
            }
        };
        let missing = || {
            let named = monitor.map(|text| format!(" \"{text}\"")).unwrap_or_default();
            let known: Vec<String> =
                self.monitors().unwrap_or_default().iter().map(Monitor::to_string).collect();
            Fault::new(format!(
                "no monitor{named} in inbound_audit; it has {}",
                known.iter().map(|monitor| format!("\"{monitor}\"")).collect::<Vec<_>>().join(", ")
            ))
        };
        let monitor = chosen.ok_or_else(missing)?;
        let range = range(monitor, windows)?;
        let name = word_of(events.event).word();
        Ok(match self.reading(events) {
            Reading::Own => self.node.audit.own_count(name, monitor, Query::Block(block), range),
            Reading::Global => self.node.audit.count(name, monitor, Query::Block(block), range),
        })
    }

    pub(crate) fn series_sum(&self, read: SeriesRead<'_>) -> Result<u64, Fault> {
        let monitor = self::monitor(read.monitor)?;
        let range = range(monitor, read.windows)?;
        let block = self.block(read.address, read.mask)?;
        let query = Query::Block(block);
        let count = self.node.audit.count(read.series, monitor, query, range);
        if block.address().is_ipv4() {
            return Ok(count);
        }
        let half = self.node.audit.count(&ipv6_half(read.series), monitor, query, range);
        Ok(count.saturating_add(half))
    }

    pub(crate) fn series_add(&self, write: SeriesWrite<'_>) -> Result<(), Fault> {
        let monitor = self::monitor(write.monitor)?;
        let address = match write.address {
            Some(text) => address(text)?,
            None => self.client()?,
        };
        let audit = &self.node.audit;
        let half = ipv6_half(write.series);
        let (name, kind) = if address.is_ipv4() {
            (write.series, SeriesKind::Cidr)
        } else {
            // Whoever defined the series for IPv6 meant all of it.
            let whole = audit
                .definition(write.series, monitor)
                .is_some_and(|definition| definition.kind == SeriesKind::CidrIpv6);
            (if whole { write.series } else { half.as_str() }, SeriesKind::CidrIpv6)
        };
        let mode = match write.spread {
            Spread::None => None,
            Spread::Cluster => Some(Mode::Cluster),
            Spread::Managers => Some(Mode::Managers),
        };
        if write.serialize {
            let defined =
                audit.defined(name, monitor).unwrap_or(Definition { mode, ..Definition::plain(kind) });
            if !defined.serialize {
                let definition = Definition { serialize: true, ..defined };
                audit.define(name, monitor, definition).map_err(fault)?;
            }
        }
        self.warn_unshared(name, mode);
        let id = SeriesId { name, kind, monitor };
        audit.add(id, Key::Address(address), write.amount, mode).map_err(fault)
    }

    /// Says once that a series is not shared as it should be.
    pub(super) fn warn_unshared(&self, name: &str, mode: Option<Mode>) {
        if let Some(mode) = mode
            && !self.node.audit.shares_named(mode)
        {
            self.policies().warn_once(&format!("{mode:?} audit_series"), || unshared(name, mode));
        }
    }

    pub(crate) fn open_connections(&self, scope: Scope<'_>, cidr: &str) -> Result<u64, Fault> {
        self.open_in(scope, self.cidr(cidr)?)
    }

    /// As [`Self::open_connections`], of any block.
    pub(crate) fn open_in(&self, scope: Scope<'_>, block: Prefix) -> Result<u64, Fault> {
        let service = match scope {
            Scope::ThisListener => {
                let listener = self.listener.ok_or_else(|| Fault::new("there is no listener here"))?;
                return Ok(self.node.connections.listener_sum(listener, block));
            }
            Scope::Service(service) => service,
        };
        let unknown = || Fault::new(format!("unknown service '{service}'"));
        if service == INBOUND_CIDR {
            return self.cluster_connections(block).ok_or_else(unknown);
        }
        let known = InboundService::ALL.into_iter().find(|known| known.word() == service);
        let clustered = matches!(known, Some(InboundService::EcMmove2 | InboundService::EcCluster));
        let known = known.filter(|_| !clustered || self.node.fleet.is_some()).ok_or_else(unknown)?;
        self.node.connections.sum(known.word(), block).ok_or_else(unknown)
    }

    /// The sum over the fleet; none where `inbound_cidr` is not replicated.
    pub(crate) fn cluster_connections(&self, block: Prefix) -> Option<u64> {
        self.fleet()?.replica(|replica| replica.object(INBOUND_CIDR).ok()?.sum(Of::Global, block).ok())
    }

    /// What any other counting object of the fleet counts for a key; none where there is no such object.
    pub(super) fn open_of(&self, object: &str, key: &str) -> Option<u64> {
        let block = self.cidr(key).ok();
        self.fleet()?.replica(|replica| {
            let object = replica.object(object).ok()?;
            let by_block = block.and_then(|block| object.sum(Of::Global, block).ok());
            by_block.or_else(|| object.count(Of::Global, key).ok())
        })
    }

    /// Open SMTP connections of this node.
    pub(crate) fn own_connections(&self, block: Prefix) -> u64 {
        self.node.connections.sum(counts::SMTP, block).unwrap_or(0)
    }

    /// Whether the fleet shares the throttles that policy names. If not, they are this node's, and it is said once.
    pub(super) fn shared_throttles(&self) -> Option<&Arc<Fleet>> {
        let fleet = self.fleet().filter(|fleet| fleet.has_named_throttles());
        if fleet.is_none() {
            self.policies().warn_once("shared_named_throttles", || {
                "shared throttles count on this node alone: they are not replicated; add Replicate \
                 \"shared_named_throttles\" {} to the cluster stanza"
                    .to_owned()
            });
        }
        fleet
    }

    pub(crate) fn throttle_create(
        &self,
        kind: Kind,
        name: &str,
        rate: &str,
        epsilon: f64,
    ) -> Result<(), Fault> {
        let wrong = |error| Fault::new(format!("rate '{rate}': {error}"));
        let rate: Rate = rate.trim().parse().map_err(wrong)?;
        match kind {
            Kind::Local => self.policies().create(ThrottleSpace::Local, name, rate),
            Kind::Shared => self.create_shared(name, rate, epsilon_of(epsilon)?)?,
        }
        Ok(())
    }

    pub(super) fn create_shared(&self, name: &str, rate: Rate, epsilon: Epsilon) -> Result<(), Fault> {
        match self.shared_throttles() {
            Some(fleet) => fleet.create_throttle(name, rate, epsilon).map_err(limit_fault),
            None => {
                self.policies().create(ThrottleSpace::Shared, name, rate);
                Ok(())
            }
        }
    }

    pub(crate) fn throttle_change(&self, kind: Kind, name: &str, change: Change) -> Result<(), Fault> {
        match (kind, change) {
            (Kind::Local, Change::Increment) => {
                self.policies().inc(ThrottleSpace::Local, name).map_err(fault)
            }
            (Kind::Local, Change::Decrement) => {
                self.policies().dec(ThrottleSpace::Local, name).map_err(fault)
            }
            (Kind::Shared, Change::Increment) => match self.shared_throttles() {
                Some(fleet) => fleet.inc_throttle(name, 1).map_err(limit_fault),
                None => self.policies().inc(ThrottleSpace::Shared, name).map_err(fault),
            },
            (Kind::Shared, Change::Decrement) => {
                Err(Fault::new("units of a shared throttle are not given back"))
            }
        }
    }

    pub(crate) fn throttle_exceeded(&self, kind: Kind, name: &str) -> Result<bool, Fault> {
        match kind {
            Kind::Local => self.policies().check(ThrottleSpace::Local, name).map_err(fault),
            Kind::Shared => match self.shared_throttles() {
                Some(fleet) => fleet.check_throttle(name).map_err(limit_fault),
                None => self.policies().check(ThrottleSpace::Shared, name).map_err(fault),
            },
        }
    }

    /// Uses one unit of a shared throttle now; `false` when none is free.
    pub(super) async fn take_shared(&self, name: &str) -> Result<bool, Fault> {
        match self.shared_throttles() {
            Some(fleet) => fleet.throttle(NAMED, name, 1).await.map(|taken| taken > 0).map_err(limit_fault),
            None => self.policies().take(ThrottleSpace::Shared, name).map_err(fault),
        }
    }

    pub(crate) fn gauge_init(
        &self,
        name: &str,
        elements_max: u64,
        ttl_s: u64,
        replicated: bool,
    ) -> Result<(), Fault> {
        if elements_max == 0 {
            return Err(Fault::new(format!(
                "gauge cache '{name}' could hold nothing; expected 1 element or more"
            )));
        }
        let limits = GaugeLimits {
            keys_max: usize::try_from(elements_max).unwrap_or(usize::MAX),
            ttl: (ttl_s > 0).then(|| Duration::from_secs(ttl_s)),
        };
        let as_wanted = self.node.audit.init_gauges(name, limits, replicated).map_err(fault)?;
        // Before a configuration is in effect it is not known what is shared.
        if !as_wanted && self.client.is_some() {
            self.policies().warn_once("gauge_cache", || unshared_gauges(name));
        }
        Ok(())
    }

    /// The value after the change, in one step.
    pub(crate) fn gauge_change(&self, name: &str, key: &str, change: Change) -> Result<i64, Fault> {
        let delta = match change {
            Change::Increment => 1,
            Change::Decrement => -1,
        };
        self.node.audit.add_gauge(name, key, delta).map_err(|error| gauge_fault(name, error))
    }

    pub(crate) fn gauge(&self, name: &str, key: &str) -> Result<i64, Fault> {
        let value = self.node.audit.gauge(name, key).map_err(|error| gauge_fault(name, error))?;
        Ok(value.unwrap_or(0))
    }

    pub(super) fn gauge_remove(&self, name: &str, key: &str) -> Result<(), Fault> {
        let removed = self.node.audit.remove_gauge(name, key).map_err(|error| gauge_fault(name, error));
        removed.map(drop)
    }

    pub(crate) fn cache(&self, name: &str, key: &str) -> Result<Option<String>, Fault> {
        let pair = self.fleet().and_then(|fleet| fleet.cache_pair(name, key.as_bytes()));
        let pair = pair.ok_or_else(|| no_cache(name))?;
        Ok(pair.map(|pair| String::from_utf8_lossy(&pair.value).into_owned()))
    }

    pub(crate) fn cache_set(
        &self,
        name: &str,
        key: &str,
        value: &str,
        ttl_s: Option<u64>,
    ) -> Result<(), Fault> {
        let fleet = self.fleet().ok_or_else(|| no_cache(name))?;
        let ttl = ttl_s.map_or(Ttl::NEVER, Ttl::from_seconds);
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        fleet.cache_set(name, bytes(key), bytes(value), ttl).map_err(|error| match error {
            SetError::NoCache => no_cache(name),
            SetError::TooLong(error) => fault(error),
        })
    }
}

impl Objects<'_> {
    pub(super) fn cache_delete(&self, name: &str, key: &str) -> Result<(), Fault> {
        let fleet = self.fleet().ok_or_else(|| no_cache(name))?;
        let removed = fleet.cache_remove(name, Bytes::copy_from_slice(key.as_bytes()));
        removed.map_err(|error| match error {
            SetError::NoCache => no_cache(name),
            SetError::TooLong(error) => fault(error),
        })
    }
}

fn no_cache(name: &str) -> Fault {
    Fault::new(format!(
        "no replicated cache '{name}'; add Replicate \"{name}\" {{ type = cache }} to the cluster stanza"
    ))
}

fn gauge_fault(name: &str, error: CountError) -> Fault {
    match error {
        CountError::NoSuchCache => Fault::new(format!("gauge cache '{name}' is not defined")),
        CountError::Name
        | CountError::Key
        | CountError::Kind(_)
        | CountError::Full
        | CountError::Reserved => fault(error),
    }
}

pub(super) fn limit_fault(error: LimitError) -> Fault {
    match error {
        LimitError::Throttle(ThrottleError::Unknown(name)) => {
            Fault::new(format!("no such throttle '{name}'"))
        }
        error @ (LimitError::NoObject(_) | LimitError::Throttle(_)) => fault(error),
    }
}

fn epsilon_of(epsilon: f64) -> Result<Epsilon, Fault> {
    format!("{epsilon:.6}").parse().map_err(fault)
}

fn monitor(text: &str) -> Result<Monitor, Fault> {
    let parts =
        text.split_once(',').map(|(interval, number)| format!("{},{}", interval.trim(), number.trim()));
    let monitor = parts.as_deref().unwrap_or(text).parse::<Monitor>();
    monitor.map_err(|error| Fault::new(format!("'{text}': {error}")))
}

pub(super) fn range(monitor: Monitor, windows: Windows) -> Result<Range, Fault> {
    let number = |window: u32| {
        let outside = || {
            Fault::new(format!(
                "window {window} is outside of 0 to {}, which the monitor has",
                monitor.number()
            ))
        };
        u16::try_from(window).ok().filter(|window| *window <= monitor.number()).ok_or_else(outside)
    };
    Ok(Range::new(number(windows.start)?, number(windows.end)?))
}

fn address(text: &str) -> Result<IpAddr, Fault> {
    let plain = text.trim().trim_start_matches('[').trim_end_matches(']');
    plain.parse().map(normalised).map_err(|_| Fault::new(format!("'{text}' is not an address")))
}

/// Now, for whoever compares with what a hold says.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    // Rounded up: a hold that ends early would let the unit through before its time.
    let micros = duration.as_micros().div_ceil(1000);
    u64::try_from(micros).unwrap_or(u64::MAX)
}

/// The time of day as messages write it.
pub(super) fn date() -> String {
    clock::wall().civil().rfc5322().to_string()
}
