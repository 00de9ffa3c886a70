//! What can be shared: the kinds of objects and how one is configured.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use postfleet_series::{Monitor, SeriesKind};
use postfleet_throttle::Partition;

/// The kind of a shared object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// Open inbound SMTP connections by client address.
    InboundCidr,
    /// Open outbound SMTP connections by remote address, a tree per binding.
    OutboundCidr,
    /// Open outbound SMTP connections by destination domain; each count knows its binding.
    OutboundDomains,
    /// Open outbound SMTP connections by binding and domain, group and domain, and the totals of both.
    OutboundBindingDomains,
    /// Open outbound SMTP connections by MX host name; each count knows its binding.
    OutboundHosts,
    /// Outbound message rate limits.
    Obtm,
    /// Outbound connection rate limits.
    Obtc,
    /// Named throttles that policy creates.
    SharedNamedThrottles,
    /// Connection slots.
    OutboundSlots,
    /// Events over time, for every member.
    Metrics,
    /// Events over time, for managers.
    EccmgrMetrics,
    /// Key/value pairs.
    Cache,
}

/// What an object is made of, in the words of `cluster shared list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Counts by address.
    CidrTree,
    /// Counts by name.
    GaugeTable,
    /// Rates.
    ThrottleTable,
    /// Connection slots.
    SlotTable,
    /// Series.
    Metrics,
    /// Key/value pairs.
    Cache,
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CidrTree => "cidrtree",
            Self::GaugeTable => "gauge table",
            Self::ThrottleTable => "throttle table",
            Self::SlotTable => "slot table",
            Self::Metrics => "metrics",
            Self::Cache => "cache",
        })
    }
}

impl ObjectKind {
    /// All kinds, in the order of their codes on the wire.
    pub const ALL: [Self; 12] = [
        Self::InboundCidr,
        Self::OutboundCidr,
        Self::OutboundDomains,
        Self::OutboundBindingDomains,
        Self::OutboundHosts,
        Self::Obtm,
        Self::Obtc,
        Self::SharedNamedThrottles,
        Self::OutboundSlots,
        Self::Metrics,
        Self::EccmgrMetrics,
        Self::Cache,
    ];

    /// The word that `type` and `class` of a `Replicate` stanza use; implicit kinds have one too.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::InboundCidr => "inbound_cidr",
            Self::OutboundCidr => "outbound_cidr",
            Self::OutboundDomains => "outbound_domains",
            Self::OutboundBindingDomains => "outbound_binding_domains",
            Self::OutboundHosts => "outbound_hosts",
            Self::Obtm => "OBTM",
            Self::Obtc => "OBTC",
            Self::SharedNamedThrottles => "shared_named_throttles",
            Self::OutboundSlots => "outbound_slots",
            Self::Metrics => "metrics",
            Self::EccmgrMetrics => "eccmgr_metrics",
            Self::Cache => "cache",
        }
    }

    /// The kind of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// What objects of this kind are made of.
    #[must_use]
    pub const fn structure(self) -> Structure {
        match self {
            Self::InboundCidr | Self::OutboundCidr => Structure::CidrTree,
            Self::OutboundDomains | Self::OutboundBindingDomains | Self::OutboundHosts => {
                Structure::GaugeTable
            }
            Self::Obtm | Self::Obtc | Self::SharedNamedThrottles => Structure::ThrottleTable,
            Self::OutboundSlots => Structure::SlotTable,
            Self::Metrics | Self::EccmgrMetrics => Structure::Metrics,
            Self::Cache => Structure::Cache,
        }
    }

    /// Whether joiners get a snapshot whatever the `parameters` say.
    #[must_use]
    pub const fn always_snapped(self) -> bool {
        !matches!(self, Self::Metrics | Self::EccmgrMetrics | Self::Cache)
    }

    /// Whether it counts open connections.
    #[must_use]
    pub const fn counts_connections(self) -> bool {
        matches!(
            self,
            Self::InboundCidr
                | Self::OutboundCidr
                | Self::OutboundDomains
                | Self::OutboundBindingDomains
                | Self::OutboundHosts
        )
    }

    /// Whether members have columns of it: this crate keeps and shares it so.
    #[must_use]
    pub const fn has_columns(self) -> bool {
        self.counts_connections() || matches!(self, Self::Metrics | Self::EccmgrMetrics)
    }

    /// Whether what a member counted stays when it departs.
    #[must_use]
    pub const fn keeps_what_happened(self) -> bool {
        matches!(self, Self::Metrics | Self::EccmgrMetrics)
    }

    /// The code on the wire. Never reused for another kind.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::InboundCidr => 1,
            Self::OutboundCidr => 2,
            Self::OutboundDomains => 3,
            Self::OutboundBindingDomains => 4,
            Self::OutboundHosts => 5,
            Self::Obtm => 6,
            Self::Obtc => 7,
            Self::SharedNamedThrottles => 8,
            Self::OutboundSlots => 9,
            Self::Metrics => 10,
            Self::EccmgrMetrics => 11,
            Self::Cache => 12,
        }
    }
}

/// How one object is shared: a `Replicate` stanza, or an implicit object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSpec {
    /// Its name; with the kind, what the members match it by. 1 to 255 bytes.
    pub name: String,
    /// Its kind.
    pub kind: ObjectKind,
    /// The longest time a change waits to be sent. Default 1 s.
    pub max_delay: Duration,
    /// The most changes that wait, each counted before merging, at least 1. Default 100.
    pub max_pending: u32,
    /// Count only connections made from bindings of this group. `outbound_cidr` and `outbound_domains` only.
    pub binding_group: Option<String>,
    /// The word `snapshot` stands in `parameters`. Without meaning for kinds that are always snapped.
    pub snapshot: bool,
    /// The most pairs; `None` for no bound. Caches only.
    pub max_size: Option<u64>,
    /// What a side of a split fleet gets of the object's limits; `None`: what [`crate::TableOptions`] says.
    pub partition: Option<Partition>,
    /// The other words of `parameters`: what a `metrics` or `eccmgr_metrics` object counts, in the order of displays.
    pub words: Vec<MetricWord>,
    /// The windows of the series by client (`connect`, `reception`, `rejection`).
    pub client_monitors: Vec<Monitor>,
    /// The windows of the series by domain (`delivery`, `transfail`, `permfail`).
    pub domain_monitors: Vec<Monitor>,
}

/// What a `metrics` object counts: a word of its `parameters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetricWord {
    /// Connections accepted, by client.
    Connect,
    /// Recipients delivered to somebody, by domain.
    Delivery,
    /// Recipients put off, by domain.
    Transfail,
    /// Recipients given up, by domain.
    Permfail,
    /// Recipients received, by client.
    Reception,
    /// Refusals, by client.
    Rejection,
    /// Series that policies name.
    AuditSeries,
    /// Gauge caches.
    GaugeCache,
}

impl MetricWord {
    /// Every word.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Delivery,
        Self::Transfail,
        Self::Permfail,
        Self::Reception,
        Self::Rejection,
        Self::AuditSeries,
        Self::GaugeCache,
    ];

    /// The word in `parameters`, and the name of a built-in series.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Delivery => "delivery",
            Self::Transfail => "transfail",
            Self::Permfail => "permfail",
            Self::Reception => "reception",
            Self::Rejection => "rejection",
            Self::AuditSeries => "audit_series",
            Self::GaugeCache => "gauge_cache",
        }
    }

    /// The metric of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.word() == word)
    }

    /// What the built-in series of the word counts by; `None` for words that name none.
    #[must_use]
    pub const fn counts_by(self) -> Option<SeriesKind> {
        match self {
            Self::Connect | Self::Reception | Self::Rejection => Some(SeriesKind::Clients),
            Self::Delivery | Self::Transfail | Self::Permfail => Some(SeriesKind::Text),
            Self::AuditSeries | Self::GaugeCache => None,
        }
    }

    /// Whether that is the name of a built-in series.
    #[must_use]
    pub fn names_series(name: &str) -> bool {
        Self::from_word(name).is_some_and(|word| word.counts_by().is_some())
    }
}

impl ObjectSpec {
    /// An object of that name and kind with the defaults of every option.
    #[must_use]
    pub fn new(name: &str, kind: ObjectKind) -> Self {
        Self {
            name: String::from(name),
            kind,
            max_delay: Duration::from_secs(1),
            max_pending: 100,
            binding_group: None,
            snapshot: false,
            max_size: None,
            partition: None,
            words: Vec::new(),
            client_monitors: Vec::new(),
            domain_monitors: Vec::new(),
        }
    }

    /// The object named like its kind.
    #[must_use]
    pub fn of(kind: ObjectKind) -> Self {
        Self::new(kind.word(), kind)
    }

    /// The windows of the built-in series of a word.
    #[must_use]
    pub fn monitors(&self, word: MetricWord) -> &[Monitor] {
        match word.counts_by() {
            Some(SeriesKind::Text) => &self.domain_monitors,
            Some(SeriesKind::Clients | SeriesKind::Cidr | SeriesKind::CidrIpv6) => &self.client_monitors,
            None => &[],
        }
    }

    /// Whether members that join get what exists already.
    #[must_use]
    pub const fn snapped(&self) -> bool {
        self.kind.always_snapped() || self.snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_codes_are_unique_and_come_back() {
        for (index, kind) in ObjectKind::ALL.into_iter().enumerate() {
            assert_eq!(ObjectKind::from_word(kind.word()), Some(kind));
            assert_eq!(usize::from(kind.code()), index + 1);
        }
        assert_eq!(ObjectKind::from_word("Inbound_Cidr"), None);
    }
}
