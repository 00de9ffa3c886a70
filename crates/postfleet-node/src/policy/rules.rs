//! The rules of the configuration that need no script: a count above a limit, or no unit of a rate, and what follows.

use super::objects::{INBOUND_CIDR, Objects};
use super::visit::Visit;
use super::{Finding, Verdict};
use crate::notices::{Severity, notice};
use postfleet_replica::{Query, Range};
use postfleet_sieve::{Class, Fault, Phase};
use postfleet_smtp::Reply;
use postfleet_throttle::{Epsilon, Rate};
use postfleet_types::{Prefix, normalised};
use std::time::Duration;

/// What makes a rule fire.
#[derive(Clone, Debug)]
pub(crate) enum Trigger {
    /// More than this many of the object.
    Limit(u64),
    /// No unit of the rate is free.
    Rate(Rate),
}

/// What a rule does when it fires.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Reply(Reply),
    Tarpit(Duration),
    Discard,
}

/// One `Policy_Rule` that is enabled.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) phase: Phase,
    /// With macros.
    pub(crate) key: String,
    pub(crate) object: String,
    pub(crate) trigger: Trigger,
    pub(crate) action: Action,
    pub(crate) exempt: Vec<Prefix>,
    pub(crate) shadow: bool,
}

impl Rule {
    pub(crate) const fn phase(&self) -> Phase {
        self.phase
    }

    /// How its statistics are kept.
    pub(crate) fn counters(&self) -> String {
        format!("rule:{}", self.name)
    }

    /// The key of a session.
    fn key_of(&self, visit: &Visit) -> String {
        let mut key = String::new();
        let mut rest = self.key.as_str();
        while let Some((before, from)) = rest.split_once("%{") {
            key.push_str(before);
            let Some((name, after)) = from.split_once('}') else { break };
            key.push_str(&visit.rule_macro(name));
            rest = after;
        }
        key.push_str(rest);
        key
    }

    /// Whether it fires for a key; with the words that say why.
    async fn fires(&self, objects: Objects<'_>, key: &str) -> Result<Option<String>, Fault> {
        match &self.trigger {
            Trigger::Limit(limit) => {
                let count = self.count(objects, key)?;
                Ok((count > *limit).then(|| format!("{count} of {limit} in {}", self.object)))
            }
            Trigger::Rate(rate) => {
                let name = format!("rule:{}:{key}", self.name);
                objects.create_shared(&name, *rate, Epsilon::default())?;
                Ok((!objects.take_shared(&name).await?).then(|| format!("no unit of {rate} is free")))
            }
        }
    }

    /// What the object counts for a key. Where it is not shared this node's part is all there is.
    fn count(&self, objects: Objects<'_>, key: &str) -> Result<u64, Fault> {
        if self.object.eq_ignore_ascii_case(INBOUND_CIDR) {
            let block = objects.cidr(key)?;
            return Ok(objects.cluster_connections(block).unwrap_or_else(|| objects.own_connections(block)));
        }
        if let Some(count) = objects.open_of(&self.object, key) {
            return Ok(count);
        }
        let monitors = objects.node.audit.monitors_of(&self.object);
        let Some(monitor) = monitors.first().copied() else { return Ok(0) };
        let query = objects.cidr(key).map_or(Query::Text(key), Query::Block);
        Ok(objects.node.audit.count(&self.object, monitor, query, Range::window(0)))
    }
}

impl Visit {
    /// What a macro of a rule stands for; empty where nothing is known yet.
    fn rule_macro(&self, name: &str) -> String {
        let message = |key: &str| self.context.value(key).unwrap_or_default().to_owned();
        match name {
            "client_addr" => normalised(self.client.ip()).to_string(),
            "sender" => self.sender.clone().unwrap_or_default(),
            "sender_domain" => message("mailfrom_domain"),
            "recipient" => self.recipient.clone().unwrap_or_default(),
            "recipient_domain" => message("rcptto_domain"),
            "helo" => self.helo.clone(),
            "auth_user" | "pathway" => self.connection.value(name).unwrap_or_default().to_owned(),
            _ => String::new(),
        }
    }
}

/// What the first rule that fires in a phase wants.
pub(super) async fn first(visit: &mut Visit, phase: Phase) -> Option<Finding> {
    let policy = std::sync::Arc::clone(visit.policy());
    let client = normalised(visit.client.ip());
    for rule in policy.rules.iter().filter(|rule| rule.phase == phase) {
        if rule.exempt.iter().any(|block| block.contains(client)) {
            continue;
        }
        let key = rule.key_of(visit);
        let why = match rule.fires(visit.objects(), &key).await {
            Ok(Some(why)) => why,
            Ok(None) => continue,
            Err(error) => {
                notice(Severity::Error, format_args!("Policy_Rule \"{}\": {key}: {error}", rule.name));
                continue;
            }
        };
        let class = match &rule.action {
            Action::Reply(reply) if reply.code() < 500 => Class::Temporary,
            Action::Reply(_) => Class::Permanent,
            Action::Tarpit(_) | Action::Discard => Class::Informational,
        };
        let counter = if rule.shadow { "shadowed" } else { "fired" };
        visit.node.policies.count(&rule.counters(), counter, class);
        let said = if rule.shadow { "would fire" } else { "fires" };
        notice(
            Severity::Info,
            format_args!("Policy_Rule \"{}\" {said} for {client}: key {key}, {why}", rule.name),
        );
        if rule.shadow {
            continue;
        }
        let (verdict, hold) = match &rule.action {
            Action::Reply(reply) => (Some(Verdict::Reply(reply.clone())), Duration::ZERO),
            Action::Tarpit(time) => (None, *time),
            Action::Discard => (Some(Verdict::Discard(None)), Duration::ZERO),
        };
        return Some(Finding { verdict, ends_phase: false, hold });
    }
    None
}
