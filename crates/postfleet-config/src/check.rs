//! Checks across stanzas, on a configuration whose names and values are right.

mod delivery;
mod failover;
mod logging;
mod module;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::config::Config;
use crate::diagnostic::Finding;
use crate::identity;
use crate::resolve::{Facts, Origin};
use crate::schema::{Scope, Service, object_types};
use crate::settings::{
    ControlSettings, ListenSettings, ObjectKind, object_kind, object_name, parameter_words, replicate_stanzas,
};
use crate::source::Span;
use crate::tree::{Applies, Instance, InstanceId};
use crate::value::{Value, clip};

const METRIC_WORDS: [&str; 8] =
    ["connect", "delivery", "transfail", "permfail", "reception", "rejection", "audit_series", "gauge_cache"];

pub(crate) fn check(config: &Config, report: &mut dyn FnMut(Finding)) {
    replication(config, report);
    limits(config, report);
    listeners(config, report);
    fleet_key(config, report);
    cluster(config, report);
    global(config, report);
    delivery::check(config, report);
    failover::check(config, report);
    logging::check(config, report);
    module::check(config, report);
}

/// The place of an option in an instance, or of the instance.
fn span_of(instance: &Instance, option: &str) -> Option<Span> {
    instance.assigned(option).map(|assigned| assigned.span).or(instance.opened)
}

fn replication(config: &Config, report: &mut dyn FnMut(Finding)) {
    let mut names: BTreeMap<String, Span> = BTreeMap::new();
    for (_, stanza) in replicate_stanzas(config) {
        let Some(opened) = stanza.opened else {
            continue;
        };
        let Some(kind) = object_kind(stanza) else {
            let message = format!("'{}' names no type of object", clip(stanza.name.as_deref().unwrap_or("")));
            report(
                Finding::error(6111, opened, message)
                    .expected(format!("type = one of {}", object_types().join(", "))),
            );
            continue;
        };
        let name = object_name(stanza);
        if let Some(first) = names.insert(name.clone(), opened) {
            let message = format!("two replicated objects are called '{}'", clip(&name));
            report(Finding::error(6116, opened, message).see_also(first));
        }
        misplaced_options(stanza, kind, report);
        parameters(stanza, kind, opened, report);
        if let Some(group) = stanza.assigned("binding_group")
            && let Some(wanted) = group.value.as_text()
            && wanted != "default"
            && config.tree().child(InstanceId::GLOBAL, Scope::BindingGroup, wanted).is_none()
        {
            let message = format!("there is no binding group '{}'; nothing will be counted", clip(wanted));
            report(Finding::warning(6117, group.span, message));
        }
        if kind == ObjectKind::Cache
            && config.tree().child(InstanceId::GLOBAL, Scope::Datasource, &name).is_none()
        {
            let message =
                format!("there is no Datasource '{}'; the cache is a store for policy only", clip(&name));
            report(Finding::warning(6110, opened, message));
        }
        if kind == ObjectKind::Cache
            && let Some(source) = config.tree().child(InstanceId::GLOBAL, Scope::Datasource, &name)
            && let Some(source) = config.tree().instance(source)
            && let Some(serialized) = source.assigned("serialized")
            && serialized.value == Value::Bool(false)
        {
            let message = format!("Datasource '{}' is not serialized: nothing of it is shared", clip(&name));
            report(Finding::warning(6115, serialized.name, message).see_also(opened));
        }
    }
}

/// Whether objects of a kind have an option that not all have.
fn has_option(kind: ObjectKind, option: &str) -> bool {
    let throttles = matches!(
        kind,
        ObjectKind::OutboundThrottleMessages
            | ObjectKind::OutboundThrottleConnections
            | ObjectKind::SharedNamedThrottles
    );
    let counted = matches!(
        kind,
        ObjectKind::OutboundCidr | ObjectKind::OutboundDomains | ObjectKind::OutboundBindingDomains
    );
    match option {
        "max_size" | "replication_name" => kind == ObjectKind::Cache,
        "binding_group" => matches!(kind, ObjectKind::OutboundCidr | ObjectKind::OutboundDomains),
        "partition" => throttles || counted,
        _ => throttles,
    }
}

fn misplaced_options(stanza: &Instance, kind: ObjectKind, report: &mut dyn FnMut(Finding)) {
    for option in ["max_size", "replication_name", "binding_group", "partition", "shadow"] {
        if let Some(assigned) = stanza.assigned(option).filter(|_| !has_option(kind, option)) {
            let message = format!("'{option}' has no meaning for objects of type {}", kind.word());
            let of: Vec<&str> = ObjectKind::ALL
                .into_iter()
                .filter(|kind| has_option(*kind, option))
                .map(ObjectKind::word)
                .collect();
            report(
                Finding::error(6112, assigned.name, message).expected(format!("type = {}", of.join(" or "))),
            );
        }
    }
}

fn parameters(stanza: &Instance, kind: ObjectKind, opened: Span, report: &mut dyn FnMut(Finding)) {
    let metrics = matches!(kind, ObjectKind::Metrics | ObjectKind::ManagerMetrics);
    let words = parameter_words(stanza, kind);
    for (word, span) in &words {
        let metric = METRIC_WORDS.contains(&word.as_str());
        if !metric && word != "snapshot" {
            report(
                Finding::error(6113, *span, format!("'{}' is not a word of `parameters`", clip(word)))
                    .expected(format!("snapshot, {}", METRIC_WORDS.join(", "))),
            );
        } else if (metric && !metrics) || (word == "snapshot" && !metrics && kind != ObjectKind::Cache) {
            let message = format!("'{word}' has no effect on objects of type {}", kind.word());
            report(Finding::warning(6114, *span, message));
        }
    }
    if metrics && !words.iter().any(|(word, _)| METRIC_WORDS.contains(&word.as_str())) {
        report(
            Finding::warning(6114, opened, format!("'{}' shares nothing", kind.word()))
                .hint(format!("parameters = \"{}\"", METRIC_WORDS.join(";"))),
        );
    }
}

/// The object that a cluster limit reads. `None`: it needs none.
fn needed(option: &str, scope: Scope) -> Option<ObjectKind> {
    match option {
        // The table of exchangers exists without being declared.
        "Cluster_Max_Outbound_Connections" if scope == Scope::Host => None,
        "Cluster_Max_Outbound_Connections" if matches!(scope, Scope::Global | Scope::Domain) => {
            Some(ObjectKind::OutboundDomains)
        }
        "Cluster_Max_Outbound_Connections" => Some(ObjectKind::OutboundBindingDomains),
        "Cluster_Server_Max_Outbound_Connections" => Some(ObjectKind::OutboundCidr),
        "Cluster_Scope_Max_Outbound_Connections" => Some(ObjectKind::OutboundBindingDomains),
        "Cluster_Outbound_Throttle_Messages" => Some(ObjectKind::OutboundThrottleMessages),
        "Cluster_Outbound_Throttle_Connections" => Some(ObjectKind::OutboundThrottleConnections),
        _ => None,
    }
}

fn limits(config: &Config, report: &mut dyn FnMut(Finding)) {
    let clustered = config.tree().anonymous(Scope::Cluster).is_some();
    let replicated: BTreeSet<ObjectKind> =
        replicate_stanzas(config).filter_map(|(_, stanza)| object_kind(stanza)).collect();
    for (_, instance) in config.tree().instances() {
        let parent = config.tree().instance(instance.parent).map_or(Scope::Global, |parent| parent.scope);
        // A domain inside a binding counts like the binding.
        let level =
            if instance.scope == Scope::Domain && parent == Scope::Binding { parent } else { instance.scope };
        for assigned in instance.options().filter(|assigned| assigned.row.name.starts_with("Cluster_")) {
            let name = assigned.row.name;
            if name == "Cluster_Key" {
                continue;
            }
            if !clustered {
                let message = format!("{name} without a `cluster` stanza is a limit of this node alone");
                report(Finding::warning(6131, assigned.name, message).hint("add: cluster { … }"));
            } else if let Some(kind) = needed(name, level)
                && !replicated.contains(&kind)
            {
                let message = format!("{name} needs the replicated object {}", kind.word());
                report(
                    Finding::warning(6130, assigned.name, message)
                        .hint(format!("add: Replicate \"{}\" {{}}", kind.word())),
                );
            }
        }
    }
}

fn listeners(config: &Config, report: &mut dyn FnMut(Finding)) {
    let tree = config.tree();
    let mut taken: BTreeMap<String, (Service, Span)> = BTreeMap::new();
    let consoles: BTreeMap<String, ListenSettings<ControlSettings>> =
        config.control_listeners().into_iter().map(|listen| (listen.address.to_string(), listen)).collect();
    for service in Service::ALL {
        let Some(listener) = tree.anonymous(service.scope()) else {
            continue;
        };
        let peers_of_all = tree.children(listener, Scope::Peer).count();
        for (id, listen) in tree.children(listener, Scope::Listen) {
            let (Applies::Listen(address), Some(opened)) = (&listen.applies, listen.opened) else {
                continue;
            };
            let key = address.to_string();
            if let Some((other, first)) = taken.get(&key) {
                let message = format!("{key} is a socket of {} already", other.scope().name());
                report(
                    Finding::error(6160, opened, message).expected("an address of its own").see_also(*first),
                );
            } else {
                taken.insert(key.clone(), (service, opened));
            }
            let adapter =
                matches!(service, Service::Policy | Service::Milter | Service::Api | Service::Metrics);
            let peers = || peers_of_all + tree.children(id, Scope::Peer).count();
            if adapter && !address.is_local() && peers() == 0 {
                report(
                    Finding::error(6171, opened, format!("everybody can reach {key}"))
                        .expected("a Peer stanza that says who may")
                        .hint("Peer \"192.0.2.0/24\" {}"),
                );
            }
            if service == Service::Control
                && address.port().is_some()
                && let Some(listen) = consoles.get(&key)
            {
                control(config, listen, opened, report);
            }
        }
    }
    if tree.anonymous(Scope::ControlListener).is_none()
        && let Some((other, first)) = taken.get("/tmp/2025")
    {
        let message = format!("{} takes the socket that consoles use", other.scope().name());
        report(
            Finding::error(6160, *first, message).expected("another address, or a Control_Listener stanza"),
        );
    }
    if tree.anonymous(Scope::Cluster).is_some()
        && tree.anonymous(Scope::EcclusterListener).is_none()
        && let Some((other, first)) = taken.get("*:4802")
    {
        let message = format!("{} takes the socket that other nodes use", other.scope().name());
        report(
            Finding::error(6160, *first, message)
                .expected("another address, or an ECCluster_Listener stanza"),
        );
    }
}

fn control(
    config: &Config,
    listen: &ListenSettings<ControlSettings>,
    opened: Span,
    report: &mut dyn FnMut(Finding),
) {
    let key = listen.address.to_string();
    let facts = Facts { service: Some(Service::Control), listen: Some(&key), ..Facts::default() };
    if let Some(resolved) = config.eval("AuthLoginParameters", &facts)
        && let Origin::Set { instance, .. } = resolved.origin
        && let Some(span) = config.tree().instance(instance).and_then(|i| span_of(i, "AuthLoginParameters"))
    {
        let message = format!("passwords cross the network in clear on {key}");
        report(Finding::warning(6170, span, message).hint("use AuthDigestMD5Parameters"));
    }
    if !listen.is_unprotected() || !listen.socket.enable {
        return;
    }
    let hint = "AuthDigestMD5Parameters = [ uri = \"digest:///etc/postfleet/console_passwd\" ]";
    let message = format!("{key} would open the console to everybody who can reach it");
    let finding = if listen.address.is_local() {
        Finding::warning(6172, opened, format!("{message}; it is not opened"))
    } else {
        Finding::error(6172, opened, message).expected("credentials, or Always_Allow = true")
    };
    report(finding.hint(hint));
}

fn cluster(config: &Config, report: &mut dyn FnMut(Finding)) {
    let Some((_, stanza)) =
        config.tree().anonymous(Scope::Cluster).and_then(|id| Some((id, config.tree().instance(id)?)))
    else {
        return;
    };
    if let Some(assigned) = stanza.assigned("nodeaddr")
        && let Value::Address(address) = assigned.value
        && identity::is_refused(address)
    {
        report(
            Finding::error(6201, assigned.span, format!("{address} is invalid for clustering"))
                .expected("an address that the other members can reach"),
        );
    }
    let local = stanza.assigned("bus").is_some_and(|assigned| assigned.value == Value::Word("local"));
    if local
        && let Err(error) = config.bus_socket()
        && let Some(span) = span_of(stanza, "mbus_daemon")
    {
        let message =
            format!("bus \"local\" serves one machine; use bus = \"corosync\" for {}", clip(&error.host));
        report(Finding::error(6224, span, message));
    }
    if let Some(assigned) = stanza.assigned("duravip_lease") {
        let number = |name: &str, default: i128| {
            stanza.assigned(name).and_then(|assigned| assigned.value.as_int()).unwrap_or(default)
        };
        let lease = number("duravip_lease", 8);
        if lease != 0 && lease * number("heartbeats_per_sec", 1) >= number("heartbeat_miss_limit", 10) {
            let message = "the lease is not below heartbeat_miss_limit ÷ heartbeats_per_sec";
            report(Finding::warning(6321, assigned.span, message));
        }
    }
}

fn fleet_key(config: &Config, report: &mut dyn FnMut(Finding)) {
    let global = config.tree().instance(InstanceId::GLOBAL);
    let key = global.and_then(|global| global.assigned("Cluster_Key")).is_some();
    for (_, instance) in config.tree().instances() {
        if instance.service == Some(Service::Eccluster)
            && let Some(assigned) = instance.assigned("TLS")
            && assigned.value == Value::Word("required")
            && !key
        {
            report(
                Finding::error(6227, assigned.span, "TLS between nodes needs the fleet's key")
                    .expected("the global option Cluster_Key with the path of a file"),
            );
        }
    }
}

fn global(config: &Config, report: &mut dyn FnMut(Finding)) {
    let Some(global) = config.tree().instance(InstanceId::GLOBAL) else {
        return;
    };
    let number = |name: &str| {
        config
            .eval(name, &Facts::default())
            .and_then(|resolved| resolved.value)
            .and_then(|value| value.as_int())
    };
    if let (Some(files), Some(connections)) =
        (number("Server_Max_File_Descriptors"), number("Server_Max_Outbound_Connections"))
        && files < connections * 4
        && let Some(span) = span_of(global, "Server_Max_File_Descriptors")
            .or_else(|| span_of(global, "Server_Max_Outbound_Connections"))
    {
        let message = format!("{files} descriptors are few for {connections} outbound connections");
        report(Finding::warning(6121, span, message).hint(format!("{} or more", connections * 4)));
    }
    if let (Some(least), Some(most)) = (number("Min_DNS_TTL"), number("Max_DNS_TTL"))
        && least > most
        && let Some(span) = span_of(global, "Min_DNS_TTL").or_else(|| span_of(global, "Max_DNS_TTL"))
    {
        let message = "Min_DNS_TTL is above Max_DNS_TTL";
        report(Finding::error(4003, span, message).expected(format!("0 to {most}").to_string()));
    }
}
