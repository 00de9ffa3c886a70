//! Options of delivery that get into each other's way, and rights that make no sense.

use crate::config::Config;
use crate::diagnostic::Finding;
use crate::resolve::Facts;
use crate::schema::Scope;
use crate::tree::{Applies, Instance, InstanceId};
use crate::value::Value;

pub(super) fn check(config: &Config, report: &mut dyn FnMut(Finding)) {
    for (id, instance) in config.tree().instances() {
        gateway(config, id, instance, report);
        retries(config, id, instance, report);
    }
    root(config, report);
}

fn filled(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Text(text)) => !text.is_empty(),
        Some(Value::List(values)) => values.iter().any(|value| filled(Some(value))),
        Some(_) | None => false,
    }
}

/// What is known where an instance is the narrowest one: its own name and those around it. Names are the instances'
/// own, so a pattern stands for itself alone.
fn facts_at<'a>(config: &'a Config, id: InstanceId) -> Facts<'a> {
    let mut facts = Facts::default();
    let mut at = id;
    while at != InstanceId::GLOBAL
        && let Some(instance) = config.tree().instance(at)
    {
        let name = instance.name.as_deref();
        if instance.scope == Scope::Domain {
            facts.domain = name;
        } else if instance.scope == Scope::Binding {
            facts.binding = name;
        } else if instance.scope == Scope::BindingGroup {
            facts.binding_group = name;
        }
        at = instance.parent;
    }
    facts
}

/// `Routes` is looked up by domain, so a gateway meets it in the same stanza, or in the global scope.
fn gateway(config: &Config, id: InstanceId, instance: &Instance, report: &mut dyn FnMut(Finding)) {
    let Some(gateway) = instance.assigned("Gateway").filter(|assigned| filled(Some(&assigned.value))) else {
        return;
    };
    let tree = config.tree();
    let routes = |id: InstanceId| {
        tree.instance(id)?.assigned("Routes").filter(|assigned| filled(Some(&assigned.value)))
    };
    let domain = facts_at(config, id).domain;
    let here = (instance.parent == InstanceId::GLOBAL).then_some(id);
    let exact =
        domain.and_then(|name| tree.child(InstanceId::GLOBAL, Scope::Domain, &crate::tree::domain_key(name)));
    let found = here.into_iter().chain(exact).chain([InstanceId::GLOBAL]).find_map(routes);
    if let Some(routes) = found {
        let message = "Gateway has no effect where Routes is set";
        report(Finding::warning(6140, gateway.name, message).see_also(routes.name));
    }
}

fn retries(config: &Config, id: InstanceId, instance: &Instance, report: &mut dyn FnMut(Finding)) {
    let Some(cap) = instance.assigned("Max_Retry_Interval") else {
        return;
    };
    // A pattern is no name that other patterns could match.
    let pattern = matches!(instance.applies, Applies::Pattern(_));
    let facts = facts_at(config, id);
    let around = if pattern { Facts { domain: None, ..facts } } else { facts };
    let own = instance.assigned("Max_Retries").map(|assigned| assigned.value.clone());
    let value = own.or_else(|| config.eval("Max_Retries", &around).and_then(|resolved| resolved.value));
    if value == Some(Value::Word("auto")) {
        let message = "Max_Retry_Interval is set while Max_Retries is auto, which does not look at it: \
                       messages may fail before they expire";
        report(Finding::warning(6150, cap.name, message).hint("Max_Retries = none"));
    }
}

fn root(config: &Config, report: &mut dyn FnMut(Finding)) {
    let Some(security) = config.tree().anonymous(Scope::Security).and_then(|id| config.tree().instance(id))
    else {
        return;
    };
    let user = security.assigned("user").and_then(|assigned| assigned.value.as_text());
    if matches!(user, Some("root" | "0"))
        && let Some(kept) = security.assigned("Capabilities").filter(|assigned| filled(Some(&assigned.value)))
    {
        report(Finding::warning(6122, kept.name, "root has every capability; the list has no effect"));
    }
}
