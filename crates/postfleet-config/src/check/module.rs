//! Data sources, audit series, policy rules, the old bus.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::span_of;
use crate::config::Config;
use crate::diagnostic::Finding;
use crate::schema::{Scope, Service};
use crate::settings::{Monitor, object_kind, object_name, replicate_stanzas};
use crate::source::Span;
use crate::tree::{Applies, Instance, InstanceId};
use crate::value::{Value, clip};

/// Drivers that there are.
const DRIVERS: &[&str] = if cfg!(feature = "odbc") {
    &["csv", "null", "odbc", "pgsql", "sqlite"]
} else {
    &["csv", "null", "pgsql", "sqlite"]
};
/// Drivers of the vendor that a build may lack; queries fail, and a replicated cache works.
const KNOWN_DRIVERS: &[&str] = &["http", "https", "ldap", "ldaps", "mysql", "odbc", "oracle", "riak"];

pub(super) fn check(config: &Config, report: &mut dyn FnMut(Finding)) {
    for (_, stanza) in config.tree().children(InstanceId::GLOBAL, Scope::Datasource) {
        datasource(config, stanza, report);
    }
    audit(config, report);
    let objects = replicate_stanzas(config).filter(|(_, stanza)| object_kind(stanza).is_some());
    let shared: BTreeSet<String> = objects.map(|(_, stanza)| object_name(stanza)).collect();
    for (_, stanza) in config.tree().children(InstanceId::GLOBAL, Scope::PolicyRule) {
        rule(&shared, stanza, report);
    }
    old_bus(config, report);
}

fn datasource(config: &Config, stanza: &Instance, report: &mut dyn FnMut(Finding)) {
    let name = clip(stanza.name.as_deref().unwrap_or(""));
    let Some(opened) = stanza.opened else {
        return;
    };
    let uris: Vec<&str> = match stanza.assigned("uri").map(|assigned| &assigned.value) {
        Some(Value::List(uris)) => uris.iter().filter_map(Value::as_text).collect(),
        Some(_) | None => Vec::new(),
    };
    let span = span_of(stanza, "uri").unwrap_or(opened);
    if uris.iter().all(|uri| uri.is_empty()) {
        let message = format!("ds_core: cache {name} has no datasource uri configured");
        report(Finding::error(6401, span, message).expected("uri = ( \"DRIVER:REST\" )"));
    }
    for uri in uris.into_iter().filter(|uri| !uri.is_empty()) {
        let Some((driver, _)) = uri.split_once(':') else {
            let message = format!("ds_core: cache {name} URI has bogus syntax: {}", clip(uri));
            report(Finding::error(6402, span, message).expected("DRIVER:REST").secret(true));
            continue;
        };
        let among = |list: &[&str]| list.iter().any(|known| known.eq_ignore_ascii_case(driver));
        if among(DRIVERS) {
            continue;
        }
        if among(KNOWN_DRIVERS) {
            let message =
                format!("the driver '{driver}' is known and not there; queries of {name} will fail");
            report(Finding::warning(3008, span, message).secret(true));
        } else {
            let message = format!("ds_core: cache {name} unable to find driver \"{}\"", clip(driver));
            report(Finding::error(6403, span, message).expected(DRIVERS.join(", ")).secret(true));
        }
    }
    let number = |name: &str| stanza.assigned(name).and_then(|assigned| assigned.value.as_int());
    let serialized = stanza.assigned("serialized").and_then(|assigned| assigned.value.as_bool());
    if serialized.unwrap_or(true) && number("cache_life") == Some(0) {
        let message =
            format!("ds_core: {name}: serialized cache with 0 lifetime is an invalid configuration");
        let span = span_of(stanza, "cache_life").unwrap_or(opened);
        report(
            Finding::error(6404, span, message).expected("cache_life of 1 or more, or serialized = false"),
        );
    }
    if let Some(pool) = stanza.assigned("pool")
        && let Some(wanted) = pool.value.as_text()
        && config.tree().child(InstanceId::GLOBAL, Scope::ThreadPool, wanted).is_none()
    {
        let declared = config.tree().children(InstanceId::GLOBAL, Scope::ThreadPool);
        let names: Vec<&str> = declared.filter_map(|(_, pool)| pool.name.as_deref()).collect();
        let near = crate::schema::nearest_name(wanted, names.iter().copied());
        report(
            Finding::error(4007, pool.span, format!("there is no ThreadPool '{}'", clip(wanted)))
                .expected(names.join(", "))
                .maybe_hint(near.map(|near| format!("did you mean '{near}'?"))),
        );
    }
}

fn audit(config: &Config, report: &mut dyn FnMut(Finding)) {
    let Some(stanza) = config.tree().anonymous(Scope::InboundAudit).and_then(|id| config.tree().instance(id))
    else {
        return;
    };
    let Some(monitors) = stanza.assigned("monitors") else {
        return;
    };
    let texts = monitors.value.as_list().unwrap_or(&[]).iter().filter_map(Value::as_text);
    let mut seen: BTreeSet<Monitor> = BTreeSet::new();
    for text in texts {
        let Some(monitor) = Monitor::parse(text) else {
            continue;
        };
        if !seen.insert(monitor) {
            let message = format!("the monitor '{}' is given twice; it is kept once", clip(text));
            report(Finding::warning(3010, monitors.span, message));
        }
    }
}

fn rule(shared: &BTreeSet<String>, stanza: &Instance, report: &mut dyn FnMut(Finding)) {
    let Some(opened) = stanza.opened else {
        return;
    };
    let filled = |name: &str| {
        stanza.assigned(name).filter(|assigned| assigned.value.as_text().is_none_or(|text| !text.is_empty()))
    };
    for (option, form) in
        [("key", "key = \"%{client_addr}\""), ("action", "action = \"421 4.7.0 too many connections\"")]
    {
        if filled(option).is_none() {
            report(Finding::error(6180, opened, format!("the rule has no `{option}`")).expected(form));
        }
    }
    match (stanza.assigned("limit"), stanza.assigned("rate")) {
        (None, None) => {
            let finding = Finding::error(6180, opened, "the rule has neither `limit` nor `rate`");
            report(finding.expected("one of them"));
        }
        (Some(limit), Some(rate)) => {
            let finding = Finding::error(6180, rate.name, "the rule has both `limit` and `rate`");
            report(finding.expected("one of them").see_also(limit.name));
        }
        (Some(_), None) => compared(shared, stanza, opened, report),
        (None, Some(_)) => {}
    }
}

/// The object of a limit should be one that members share.
fn compared(shared: &BTreeSet<String>, stanza: &Instance, opened: Span, report: &mut dyn FnMut(Finding)) {
    let object =
        stanza.assigned("object").and_then(|assigned| assigned.value.as_text()).unwrap_or("inbound_cidr");
    let kinds = ["inbound_cidr", "outbound_cidr", "outbound_domains", "outbound_binding_domains"];
    let kind = kinds.into_iter().find(|kind| kind.eq_ignore_ascii_case(object));
    if shared.contains(kind.unwrap_or(object)) {
        return;
    }
    let span = span_of(stanza, "object").unwrap_or(opened);
    let message = format!("'{}' is not replicated; the rule sees this node only", clip(object));
    report(
        Finding::warning(6181, span, message)
            .hint(format!("add: cluster {{ Replicate \"{}\" {{}} }}", clip(object))),
    );
}

fn old_bus(config: &Config, report: &mut dyn FnMut(Finding)) {
    let tree = config.tree();
    for scope in [Scope::MsgcServer, Scope::MsgcClient] {
        let Some(stanza) = tree.anonymous(scope).and_then(|id| tree.instance(id)) else {
            continue;
        };
        let number = |name: &str, default: i128| {
            stanza.assigned(name).and_then(|assigned| assigned.value.as_int()).unwrap_or(default)
        };
        let (idle, alive) = (number("idle_timeout", 30), number("keepalive_interval", 5));
        if idle <= alive
            && let Some(span) = stanza
                .assigned("idle_timeout")
                .or_else(|| stanza.assigned("keepalive_interval"))
                .map(|assigned| assigned.span)
        {
            let message = format!("idle_timeout {idle} is not above keepalive_interval {alive}");
            report(Finding::error(6222, span, message).expected(format!("{} or more", alive + 1)));
        }
    }
    let Some(server) = tree.anonymous(Scope::MsgcServer).and_then(|id| tree.instance(id)) else {
        return;
    };
    let port = server.assigned("port").and_then(|assigned| assigned.value.as_int()).unwrap_or(4809);
    if let Some(listener) = tree.anonymous(Service::Msgcserver.scope()) {
        let listens: Vec<(Option<u16>, Option<Span>)> = tree
            .children(listener, Scope::Listen)
            .map(|(_, listen)| match &listen.applies {
                Applies::Listen(address) => (address.port(), listen.opened),
                Applies::Name | Applies::Pattern(_) | Applies::Cidr(_) => (None, listen.opened),
            })
            .collect();
        if !listens.is_empty()
            && !listens.iter().any(|(found, _)| found.map(i128::from) == Some(port))
            && let Some(span) = span_of(server, "port")
        {
            let message = format!("msgcserver_listener does not listen on port {port}");
            let ports: Vec<String> =
                listens.iter().filter_map(|(port, _)| port.map(|port| port.to_string())).collect();
            let mut finding = Finding::error(6220, span, message).expected(ports.join(", "));
            if let Some((_, Some(place))) = listens.first() {
                finding = finding.see_also(*place);
            }
            report(finding);
        }
    }
    own_peer(config, server, report);
}

fn own_peer(config: &Config, server: &Instance, report: &mut dyn FnMut(Finding)) {
    let configured = config.cluster().and_then(|cluster| cluster.nodename);
    let name: Option<String> = configured.or_else(|| config.search_name().map(ToString::to_string));
    if let (Some(name), Some(peers)) = (name, server.assigned("peers"))
        && let Some(pairs) = peers.value.as_dict()
        && !pairs.iter().any(|(peer, _)| *peer == name)
    {
        let message = format!("this node, '{}', is not among the peers", clip(&name));
        report(Finding::warning(6223, peers.name, message));
    }
}
