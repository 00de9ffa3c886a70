//! The configuration as the daemon reads it: plain values, defaults filled in.

mod agree;
mod cluster;
mod failover;
mod listen;
mod logging;
mod manager;
mod module;
mod node;
mod outbound;
mod policy;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

pub use cluster::{Bus, ClusterSettings, ObjectKind, Partition, ReplicateSettings};
pub use failover::{FailoverAddress, FailoverSettings, Follower};
pub use listen::{
    AdapterSettings, ClientCertificates, ControlSettings, EcclusterSettings, EsmtpSettings, ListenSettings,
    OnError, SessionCap, SessionCapKind, SocketSettings, StarttlsInjection,
};
pub use logging::{
    BounceLoggerSettings, CustomLoggerSettings, CustomStage, DebugFlags, EcLoggerSettings, LogDestination,
    LogFile, LogFormat, LogStage, LogSwitches,
};
pub use manager::{AsLoggerSettings, LogTemplate, LogsSettings};
pub use module::{
    AuditSettings, DatasourceSettings, Monitor, RuleAction, RulePhase, RuleSettings, RuleTrigger,
    ThreadPoolSettings,
};
pub use node::{
    DateHeader, LineLength, LoneLf, LongLines, MailRules, MissingHeaders, NodeSettings, SecuritySettings,
};
pub use outbound::RoutingSettings;
pub use policy::{PolicyModule, ScriptFinding, ScriptSlot, ScriptUse, ScriptletSettings, SieveSettings};

pub use agree::{Agreed, Agreement};
pub(crate) use failover::{Candidate, Moving};
pub(crate) use logging::destination;
pub(crate) use manager::TemplateError;
pub(crate) use module::MonitorError;

pub(crate) use cluster::{object_kind, object_name, parameter_words, replicate_stanzas};

use postfleet_types::Prefix;

use crate::config::Config;
use crate::resolve::{Facts, choose};
use crate::schema::{Chain, Row};
use crate::tree::{Assigned, InstanceId};
use crate::value::{Pattern, Value};

/// Look-ups for one set of facts.
pub(crate) struct Lookup<'a> {
    config: &'a Config,
    facts: Facts<'a>,
    /// The way through the listener: found once, for it is the same for every option.
    listener: Vec<InstanceId>,
}

impl<'a> Lookup<'a> {
    pub(crate) fn new(config: &'a Config, facts: Facts<'a>) -> Self {
        Self { config, facts, listener: config.listener_chain(&facts) }
    }

    /// The option and the instances that set it, most specific first.
    pub(crate) fn owners(
        &self,
        name: &str,
    ) -> Option<(&'static Row, impl Iterator<Item = (InstanceId, &'a Assigned)>)> {
        let row = choose(name, &self.facts, self.config)?;
        let path = if row.chain == Chain::L {
            let global = row.ends_at_global().then_some(InstanceId::GLOBAL);
            self.listener.iter().copied().chain(global).collect()
        } else {
            self.config.chain(row, &self.facts)
        };
        let config = self.config;
        Some((row, path.into_iter().filter_map(move |id| Some((id, config.assigned(id, row)?)))))
    }

    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        let (row, mut owners) = self.owners(name)?;
        owners.next().map(|(_, assigned)| assigned.value.clone()).or_else(|| self.config.default(row))
    }

    /// The value when somebody set it.
    pub(crate) fn set(&self, name: &str) -> Option<Value> {
        self.owners(name)?.1.next().map(|(_, assigned)| assigned.value.clone())
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.value(name).as_ref().and_then(Value::as_text).map(ToString::to_string)
    }

    /// A text that is not empty: an empty one means unset.
    pub(crate) fn filled(&self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.is_empty())
    }

    pub(crate) fn word(&self, name: &str) -> &'static str {
        if let Some(Value::Word(word)) = self.value(name) { word } else { "" }
    }

    pub(crate) fn bool(&self, name: &str) -> bool {
        self.value(name).as_ref().and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn u64(&self, name: &str) -> u64 {
        self.value(name).as_ref().and_then(Value::as_int).and_then(|value| value.try_into().ok()).unwrap_or(0)
    }

    pub(crate) fn u32(&self, name: &str) -> u32 {
        u32::try_from(self.u64(name)).unwrap_or(u32::MAX)
    }

    /// A number where 0 means that there is no limit.
    pub(crate) fn limit(&self, name: &str) -> Option<u32> {
        Some(self.u32(name)).filter(|value| *value != 0)
    }

    pub(crate) fn seconds(&self, name: &str) -> Duration {
        match self.value(name) {
            Some(Value::Float(seconds)) => Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO),
            _ => Duration::from_secs(self.u64(name)),
        }
    }

    /// A time where 0 means never.
    pub(crate) fn time(&self, name: &str) -> Option<Duration> {
        Some(self.seconds(name)).filter(|time| !time.is_zero())
    }

    /// A dictionary that is not empty: an empty one means unset.
    pub(crate) fn dict(&self, name: &str) -> Option<Vec<(String, String)>> {
        let pairs = self.value(name).as_ref().and_then(Value::as_dict).map(<[(String, String)]>::to_vec);
        pairs.filter(|pairs| !pairs.is_empty())
    }

    fn list(&self, name: &str) -> Vec<Value> {
        match self.value(name) {
            Some(Value::List(values)) => values,
            Some(_) | None => Vec::new(),
        }
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.list(name)
            .iter()
            .filter_map(Value::as_text)
            .filter(|text| !text.is_empty())
            .map(ToString::to_string)
            .collect()
    }

    pub(crate) fn patterns(&self, name: &str) -> Vec<Pattern> {
        self.list(name)
            .into_iter()
            .filter_map(|value| if let Value::Pattern(pattern) = value { Some(pattern) } else { None })
            .collect()
    }

    pub(crate) fn prefixes(&self, name: &str) -> Vec<Prefix> {
        self.list(name)
            .into_iter()
            .filter_map(|value| if let Value::Cidr(prefix) = value { Some(prefix) } else { None })
            .collect()
    }
}
