//! From the configuration to what holds for a queue, an exchanger and a connection.

use super::bindings::{self, Unassigned};
use postfleet_config::retry::RetrySchedule;
use postfleet_config::schema::Scope;
use postfleet_config::{Config, Facts, InstanceId, Origin, Value};
use postfleet_queue::{
    Bindings, Growth, HostSettings, LocalLimit, LocalRate, QueueSettings, RetryPolicy, RouteSettings,
    Settings,
};
use postfleet_smtp::client::{ClientSettings, EightBit, Timeouts, TlsPolicy};
use postfleet_spool::QueueKey;
use postfleet_throttle::{Limit, LimitKey, Through, To};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything that delivery is told by one generation of the configuration.
#[derive(Debug)]
pub(crate) struct DeliverySettings {
    config: Config,
    /// `Hostname`, or the machine's.
    pub(crate) hostname: String,
    /// Where this node takes mail; the unspecified address stands for all that the machine has.
    endpoints: Vec<SocketAddr>,
    /// Limits of the fleet are slots of the fleet; otherwise they are limits of this node.
    slots: bool,
    /// The fleet shares throttles of messages, of connections.
    rates: (bool, bool),
    /// `Resolv_Conf`.
    pub(crate) resolv_conf: Option<PathBuf>,
    pub(super) bindings: Bindings,
    pub(super) unassigned: Unassigned,
}

/// What a bounce looks like.
#[derive(Clone, Debug)]
pub(super) struct BounceSettings {
    pub(super) generate: bool,
    pub(super) from: String,
    pub(super) inline: Inline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inline {
    Nothing,
    Headers,
    All,
}

/// How connections of a queue are made and secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dialing {
    pub(super) bind: String,
    pub(super) verify: bool,
    pub(super) authorities: Option<PathBuf>,
    pub(super) connect: Duration,
}

/// Look-ups for one queue.
pub(super) struct Of<'a> {
    pub(super) config: &'a Config,
    pub(super) facts: Facts<'a>,
}

impl Of<'_> {
    fn value(&self, name: &str) -> Option<Value> {
        self.config.eval(name, &self.facts)?.value
    }
    fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Int(number)) => i64::try_from(number).unwrap_or(i64::MAX),
            _ => 0,
        }
    }
    fn u32(&self, name: &str) -> u32 {
        u32::try_from(self.int(name).max(0)).unwrap_or(u32::MAX)
    }
    fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs(u64::try_from(self.int(name)).unwrap_or(0))
    }
    pub(super) fn bool(&self, name: &str) -> bool {
        self.value(name) == Some(Value::Bool(true))
    }
    pub(super) fn word(&self, name: &str) -> &'static str {
        match self.value(name) {
            Some(Value::Word(word)) => word,
            _ => "",
        }
    }
    fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Some(Value::Text(text)) => Some(text).filter(|text| !text.is_empty()),
            // Displayed, it stands in quotes.
            Some(Value::Address(address)) => Some(address.to_string()),
            Some(value) => Some(value.to_string()).filter(|text| !text.is_empty()),
            None => None,
        }
    }
    fn origin(&self, name: &str) -> Option<(InstanceId, String)> {
        match self.config.eval(name, &self.facts)?.origin {
            Origin::Set { instance, path, .. } => Some((instance, path)),
            Origin::Default => None,
        }
    }
    /// Every place on the way where an option is set to a limit, widest first.
    fn all(&self, name: &str) -> Vec<(InstanceId, i64)> {
        let Some(resolved) = self.config.eval(name, &self.facts) else { return Vec::new() };
        let mut chain = self.config.chain(resolved.row, &self.facts);
        chain.reverse();
        let value = |id: InstanceId| {
            let Value::Int(limit) = self.config.tree().instance(id)?.assigned(name)?.value else {
                return None;
            };
            (limit > 0).then(|| (id, i64::try_from(limit).unwrap_or(i64::MAX)))
        };
        chain.into_iter().filter_map(value).collect()
    }
    fn rate(&self, name: &'static str) -> Option<LocalRate> {
        let Value::Throttle(throttle) = self.value(name)? else { return None };
        let rate = crate::settings::rate(throttle)?;
        let (_, scope) = self.origin(name)?;
        Some(LocalRate { option: name, scope, rate, shadow: self.is_shadow(name) })
    }
    /// The throttle of this node, and the one that was meant for the fleet where the fleet shares none.
    fn rates(&self, own: &'static str, fleet: Option<&'static str>) -> Vec<LocalRate> {
        [Some(own), fleet].into_iter().flatten().filter_map(|name| self.rate(name)).collect()
    }
    /// Whether limits of this name only watch, at the place where they stand.
    fn is_shadow(&self, name: &str) -> bool {
        crate::settings::is_shadow(self.config, &self.facts, name)
    }
}

/// Where mail for this node itself would go. The machine's addresses come and go: they are looked up each time.
fn expanded(endpoints: &[SocketAddr], machine: impl Fn() -> Vec<IpAddr>) -> Vec<SocketAddr> {
    let (mut own, mut all) = (Vec::new(), None);
    for endpoint in endpoints {
        if !endpoint.ip().is_unspecified() {
            own.push(*endpoint);
            continue;
        }
        // `[::]` takes connections to IPv4 addresses too, as systems are set up.
        let reaches = |ip: &IpAddr| endpoint.is_ipv6() || ip.is_ipv4();
        let all = all.get_or_insert_with(&machine);
        own.extend(all.iter().copied().filter(reaches).map(|ip| SocketAddr::new(ip, endpoint.port())));
    }
    own
}

impl DeliverySettings {
    /// `rates`: whether `OBTM` and `OBTC` are shared.
    pub(crate) fn new(
        config: &Config,
        hostname: String,
        endpoints: Vec<SocketAddr>,
        slots: bool,
        rates: (bool, bool),
    ) -> Self {
        let global = Of { config, facts: Facts::default() };
        let resolv_conf = global.text("Resolv_Conf").map(PathBuf::from);
        let unassigned = Unassigned::of(config);
        let bindings = bindings::read(config, unassigned);
        Self { config: config.clone(), hostname, endpoints, slots, rates, resolv_conf, bindings, unassigned }
    }

    fn of<'a>(&'a self, queue: &'a QueueKey) -> Of<'a> {
        let facts = Facts {
            binding_group: Some(queue.binding_group.as_str()),
            binding: Some(queue.binding.as_str()),
            domain: Some(&queue.domain),
            ..Facts::default()
        };
        Of { config: &self.config, facts }
    }

    /// What the instance at `id` counts, when it stands on the way of a queue.
    fn key_of(&self, id: InstanceId) -> Option<LimitKey> {
        let tree = self.config.tree();
        let instance = tree.instance(id)?;
        let name = || instance.name.clone().unwrap_or_default();
        let outer = || {
            let parent = tree.instance(instance.parent)?;
            let name = parent.name.clone().unwrap_or_default();
            Some(if parent.scope == Scope::Binding {
                Through::Binding(name)
            } else if parent.scope == Scope::BindingGroup {
                Through::Group(name)
            } else {
                Through::Any
            })
        };
        let scope = instance.scope;
        let (through, to) = if scope == Scope::Global {
            (Through::Any, To::Any)
        } else if scope == Scope::Binding {
            (Through::Binding(name()), To::Any)
        } else if scope == Scope::BindingGroup {
            (Through::Group(name()), To::Any)
        } else if scope == Scope::Domain {
            (outer()?, To::Domain(name()))
        } else if scope == Scope::Host {
            (outer()?, To::Host(name()))
        } else {
            return None;
        };
        Some(LimitKey { through, to })
    }

    fn is_scope(&self, id: InstanceId, scope: Scope) -> bool {
        self.config.tree().instance(id).is_some_and(|instance| instance.scope == scope)
    }

    fn local(&self, of: &Of<'_>, id: InstanceId, most: i64, option: &'static str) -> Option<LocalLimit> {
        Some(LocalLimit {
            key: self.key_of(id)?,
            most: u64::try_from(most).ok()?,
            reserve: 0,
            option,
            scope: self.config.tree().path(id),
            shadow: of.is_shadow(option),
        })
    }

    /// The limits of the fleet that govern a connection, in the order in which they are tested.
    pub(super) fn cluster_limits(&self, queue: &QueueKey, host: Option<&str>) -> Vec<Limit> {
        const SERVER: &str = "Cluster_Server_Max_Outbound_Connections";
        const SCOPE: &str = "Cluster_Scope_Max_Outbound_Connections";
        const MAX: &str = "Cluster_Max_Outbound_Connections";
        let of = self.of(queue);
        let global = Of { config: &self.config, facts: Facts::default() };
        let pair = |through: Through| LimitKey { through, to: To::Domain(queue.domain.to_string()) };
        let mut limits = Vec::new();
        let mut add = |key: LimitKey, value: i64, option: &'static str, scope: &str, shadow: bool| {
            limits.extend(Limit::of_option(key, value, option, scope, shadow));
        };
        if global.origin(SERVER).is_some() {
            let key = LimitKey { through: Through::Any, to: To::Any };
            add(key, global.int(SERVER), SERVER, "", global.is_shadow(SERVER));
        }
        if let Some((id, scope)) = of.origin(SERVER).filter(|(id, _)| *id != InstanceId::GLOBAL) {
            let _place = id;
            let key = LimitKey { through: Through::Binding(queue.binding.to_string()), to: To::Any };
            add(key, of.int(SERVER), SERVER, &scope, of.is_shadow(SERVER));
        }
        for (id, value) in of.all(SCOPE) {
            if let Some(key) = self.key_of(id) {
                add(key, value, SCOPE, &self.config.tree().path(id), of.is_shadow(SCOPE));
            }
        }
        if let Some((id, scope)) = of.origin(MAX) {
            let wide =
                self.is_scope(id, Scope::Global)
                    || self.config.tree().instance(id).is_some_and(|found| {
                        found.scope == Scope::Domain && found.parent == InstanceId::GLOBAL
                    });
            let through = if wide { Through::Any } else { Through::Binding(queue.binding.to_string()) };
            add(pair(through), of.int(MAX), MAX, &scope, of.is_shadow(MAX));
        }
        if let Some(host) = host {
            let at = Of { config: &self.config, facts: Facts { host: Some(host), ..of.facts } };
            for (id, value) in at.all(SCOPE) {
                if self.is_scope(id, Scope::Host)
                    && let Some(key) = self.key_of(id)
                {
                    add(key, value, SCOPE, &self.config.tree().path(id), at.is_shadow(SCOPE));
                }
            }
            if let Some((id, scope)) = at.origin(MAX).filter(|(id, _)| self.is_scope(*id, Scope::Host)) {
                let through = self.key_of(id).map_or(Through::Any, |key| key.through);
                let key = LimitKey { through, to: To::Host(host.to_owned()) };
                add(key, at.int(MAX), MAX, &scope, at.is_shadow(MAX));
            }
        }
        limits
    }

    /// The name of the throttle of the fleet that a queue uses.
    pub(super) fn cluster_throttle(&self, queue: &QueueKey, option: &str) -> Option<String> {
        let of = self.of(queue);
        let Value::Throttle(throttle) = of.value(option)? else { return None };
        if throttle.events == 0 {
            return None;
        }
        let (id, _) = of.origin(option)?;
        crate::settings::throttle_name(&self.config, id)
    }

    /// Where mail of a queue goes.
    pub(super) fn route(&self, queue: &QueueKey) -> RouteSettings {
        let of = self.of(queue);
        let routing = self.config.routing(Some(queue.binding.as_str()), Some(&queue.domain));
        let routes =
            if routing.routes.is_empty() { routing.gateway.into_iter().collect() } else { routing.routes };
        let block = |value: &Value| value.to_string().trim_matches('"').parse().ok();
        let blocks = |name: &str| match of.value(name) {
            Some(Value::List(values)) => values.iter().filter_map(block).collect(),
            Some(value) => block(&value).into_iter().collect(),
            None => Vec::new(),
        };
        let long = |name: &str| match of.value(name) {
            Some(Value::Int(number)) => Duration::from_secs(u64::try_from(number).unwrap_or(0)),
            Some(value) => Duration::from_secs(value.to_string().parse().unwrap_or(0)),
            None => Duration::ZERO,
        };
        RouteSettings {
            routes,
            port: u16::try_from(of.int("Remote_SMTP_Port")).unwrap_or(25),
            prohibited: blocks("Prohibited_Hosts"),
            skip: blocks("Skip_Hosts"),
            own_names: vec![self.hostname.clone()],
            own_addresses: expanded(&self.endpoints, crate::system::addresses),
            // As far as the source has addresses of these families.
            ipv4: true,
            ipv6: of.bool("Use_IPv6"),
            // Which domains are relay domains is the listeners' matter so far.
            best_only: false,
            fallback_after: of.u32("MX_Failures_Fallback_To_A"),
            ttl: (long("Min_DNS_TTL"), long("Max_DNS_TTL")),
        }
    }

    /// What a connection of a queue is told.
    pub(super) fn client(&self, queue: &QueueKey, plain: bool) -> ClientSettings {
        let of = self.of(queue);
        let tls_fallback = of.bool("TLS_Ifavailable_Fallback");
        let ehlo = of.text("EHLO_Hostname").filter(|name| !name.starts_with("__"));
        ClientSettings {
            ehlo_hostname: ehlo.unwrap_or_else(|| self.hostname.clone()),
            tls: match of.word("TLS") {
                "required" => TlsPolicy::Required,
                // The handshake may have failed for a queue that may fall back; not every queue that uses the address may.
                "ifavailable" if !(plain && tls_fallback) => TlsPolicy::IfAvailable,
                _ => TlsPolicy::None,
            },
            tls_fallback,
            send_eight_bit_mime: of.word("Send_8BitMIME") == "ifavailable"
                || matches!(of.word("Transform_8BitMIME_Content"), "ifneeded" | "strict"),
            eight_bit: match of.word("Transform_8BitMIME_Content") {
                "no" => EightBit::AsIs,
                "strip" => EightBit::Strip,
                _ => EightBit::Refuse,
            },
            chunking: false,
            timeouts: Timeouts {
                connect: of.seconds("Connect_Timeout"),
                ehlo: of.seconds("EHLO_Timeout"),
                mail: of.seconds("Mailfrom_Timeout"),
                recipient: of.seconds("Rcptto_Timeout"),
                body: of.seconds("Body_Timeout"),
                reset: of.seconds("RSET_Timeout"),
                idle: of.seconds("Idle_Timeout"),
            },
        }
    }

    pub(super) fn dialing(&self, queue: &QueueKey) -> Dialing {
        let of = self.of(queue);
        Dialing {
            bind: of.text("Bind_Address").unwrap_or_else(|| String::from("*")),
            verify: matches!(of.word("TLS_Verify"), "ca" | "host"),
            authorities: of.text("TLS_CA").filter(|path| path != "none").map(PathBuf::from),
            connect: of.seconds("Connect_Timeout"),
        }
    }

    /// Whether senders hear of copies that policy refused when others of the message were accepted.
    pub(super) fn tells_of_refused(&self) -> bool {
        let global = Of { config: &self.config, facts: Facts::default() };
        global.bool("Generate_Bounces_For_Multi_Recipient_Policy_Rejections")
    }

    pub(super) fn bounces(&self, queue: &QueueKey) -> BounceSettings {
        let of = self.of(queue);
        BounceSettings {
            generate: of.bool("Generate_Bounces"),
            from: of.text("Mailerdaemon").unwrap_or_else(|| format!("MAILER-DAEMON@{}", self.hostname)),
            inline: match of.word("Bounces_Inline_Original") {
                "none" => Inline::Nothing,
                "all" => Inline::All,
                _ => Inline::Headers,
            },
        }
    }
}

/// The scheduler's view of it.
#[derive(Debug)]
pub(super) struct QueueOptions(pub(super) Arc<DeliverySettings>);

impl Settings for QueueOptions {
    fn queue(&self, queue: &QueueKey) -> Arc<QueueSettings> {
        let settings = &self.0;
        let of = settings.of(queue);
        let global = Of { config: &settings.config, facts: Facts::default() };
        const SERVER: &str = "Server_Max_Outbound_Connections";
        const SCOPE: &str = "Scope_Max_Outbound_Connections";
        const MAX: &str = "Max_Outbound_Connections";
        let mut limits = Vec::new();
        let limit = |key: LimitKey, most: i64, option: &'static str, scope: String, of: &Of<'_>| {
            let most = u64::try_from(most).ok()?;
            Some(LocalLimit { key, most, reserve: 0, option, scope, shadow: of.is_shadow(option) })
        };
        let everything = LimitKey { through: Through::Any, to: To::Any };
        if let Some(mut all) = limit(everything, global.int(SERVER), SERVER, String::new(), &global) {
            all.reserve = u64::from(global.u32("Server_Reserve_Outbound_Connections"));
            limits.push(all);
        }
        let binding = LimitKey { through: Through::Binding(queue.binding.to_string()), to: To::Any };
        if let Some((_, scope)) = of.origin(SERVER).filter(|(id, _)| *id != InstanceId::GLOBAL) {
            limits.extend(limit(binding, of.int(SERVER), SERVER, scope, &of));
        }
        let scoped = of.all(SCOPE);
        limits.extend(scoped.iter().filter_map(|(id, most)| settings.local(&of, *id, *most, SCOPE)));
        // A limit for the domain itself stands in for the built-in one of the pair.
        let by_domain = scoped.iter().any(|(id, _)| settings.is_scope(*id, Scope::Domain));
        let written = of.origin(MAX);
        let most =
            (written.is_some() || !by_domain).then(|| of.int(MAX)).and_then(|most| u64::try_from(most).ok());
        if let Some(most) = most {
            let key = LimitKey {
                through: Through::Binding(queue.binding.to_string()),
                to: To::Domain(queue.domain.to_string()),
            };
            let scope = written.map(|(_, path)| path).unwrap_or_default();
            limits.push(LocalLimit { key, most, reserve: 0, option: MAX, scope, shadow: of.is_shadow(MAX) });
        }
        if !settings.slots {
            limits.extend(settings.cluster_limits(queue, None).into_iter().map(as_local));
        }
        let retry = settings.config.routing(Some(queue.binding.as_str()), Some(&queue.domain)).retry;
        Arc::new(QueueSettings {
            retry: RetryPolicy {
                schedule: RetrySchedule { ..retry },
                never_retry: of.bool("Never_Retry"),
                never_attempt_expired: of.bool("Never_Attempt_Expired_Messages"),
            },
            // What this version cannot do is not done in another way: the mail stays.
            suspended: of.bool("Suspend_Delivery")
                || (queue.binding.is_default() && settings.unassigned == Unassigned::Suspended)
                || !matches!(of.word("Delivery_Method"), "ESMTP" | "SMTP")
                || !matches!(of.value("Blackhole"), None | Some(Value::Bool(false) | Value::Word("false"))),
            limits,
            connections_max: most.filter(|_| !of.is_shadow(MAX)),
            growth: if of.word("Connection_Allocation_Aggressiveness") == "high" {
                Growth::High
            } else {
                Growth::Normal
            },
            deliveries_max: of.u32("Max_Deliveries_Per_Connection"),
            recipients_max: of.u32("Max_Recipients_Per_Connection"),
            batch_max: of.u32("Max_Recipients_Per_Batch").max(1),
            host_failure_retry: of.seconds("Host_Failure_Retry"),
            source_retry: global.seconds("Binding_Auto_Replumb_Interval"),
            failures_to_delay: of.u32("MX_Failures_To_Delay"),
            silence_to_delay: of.seconds("Connect_Timeout_To_Delay"),
            delay_fuzz: of.seconds("Delayed_Binding_Domain_Fuzz"),
            idle_timeout: of.seconds("Idle_Timeout"),
            message_rates: of.rates(
                "Outbound_Throttle_Messages",
                (!settings.rates.0).then_some("Cluster_Outbound_Throttle_Messages"),
            ),
            connection_rates: of.rates(
                "Outbound_Throttle_Connections",
                (!settings.rates.1).then_some("Cluster_Outbound_Throttle_Connections"),
            ),
            lookup_failures_to_purge: of.u32("DNS_Failures_To_Purge"),
        })
    }

    fn home(&self, queue: &QueueKey) -> Option<QueueKey> {
        let home = self.0.bindings.home(&queue.binding).queue(&queue.domain);
        (home != *queue).then_some(home)
    }

    fn host(&self, queue: &QueueKey, host: &str) -> Arc<HostSettings> {
        let settings = &self.0;
        let inner = settings.of(queue);
        let of = Of { config: inner.config, facts: Facts { host: Some(host), ..inner.facts } };
        const SCOPE: &str = "Scope_Max_Outbound_Connections";
        const MAX: &str = "Max_Outbound_Connections";
        let here = |id: InstanceId| settings.is_scope(id, Scope::Host);
        let scoped = of.all(SCOPE).into_iter().filter(|(id, _)| here(*id));
        let mut limits: Vec<LocalLimit> =
            scoped.filter_map(|(id, most)| settings.local(&of, id, most, SCOPE)).collect();
        if !settings.slots {
            let all = settings.cluster_limits(queue, Some(host));
            limits.extend(all.into_iter().filter(|limit| matches!(limit.key.to, To::Host(_))).map(as_local));
        }
        let address_limit = of.origin(MAX).filter(|(id, _)| here(*id)).and_then(|(id, _)| {
            let mut limit = settings.local(&of, id, of.int(MAX), MAX)?;
            // Of a regular expression, each exchanger counts for itself.
            limit.key.to = To::Host(host.to_owned());
            Some(limit)
        });
        Arc::new(HostSettings { address_limit, limits })
    }
}

fn as_local(limit: Limit) -> LocalLimit {
    LocalLimit {
        key: limit.key,
        most: limit.most,
        reserve: 0,
        option: limit.option,
        scope: limit.scope,
        shadow: limit.shadow,
    }
}

/// How many retries of the schedule have passed for a message of this age; what a message from before a restart has
/// behind it, as far as that can be known.
pub(super) fn retries_passed(policy: &RetryPolicy, age: Duration) -> u32 {
    let most = policy.schedule.retries_max().unwrap_or(64);
    (1..=most).take_while(|retry| policy.schedule.elapsed(*retry) <= age).last().unwrap_or(0)
}

impl DeliverySettings {
    pub(super) fn retry(&self, queue: &QueueKey) -> RetryPolicy {
        let schedule = self.config.routing(Some(queue.binding.as_str()), Some(&queue.domain)).retry;
        RetryPolicy { schedule, never_retry: false, never_attempt_expired: false }
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
