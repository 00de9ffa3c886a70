//! What console commands about limits read and do.

use super::Outcome;
use crate::fleet::{Fleet, LimitError, NAMED, SLOTS, TrialState};
use crate::node::Node;
use crate::notices::{Severity, notice};
use postfleet_config::{Config, Origin, Value};
use postfleet_config::{Facts, Resolved};
use postfleet_console::{
    Answer, Code, Failure, SharedWhy, SlotCommand, SlotReply, ThrottleCommand, ThrottleReply,
};
use postfleet_replica::ForgetError;
use postfleet_throttle::{Epsilon, Rate, ThrottleError};
use std::sync::Arc;

fn fleet(node: &Node) -> Result<&Arc<Fleet>, Failure> {
    node.fleet.as_ref().ok_or_else(Failure::not_connected)
}

/// `cluster shared why`
pub(super) fn why(node: &Node, typed: &str, key: &str) -> Outcome {
    let fleet = fleet(node)?;
    let mut why = fleet.shared_why(typed, key)?;
    let config = node.configuration.running().configured().clone();
    if let Some(slots) = slot_key(&why.object, key)
        && let Ok(slots) = fleet.shared_why(SLOTS, &slots)
    {
        add_slots(&mut why, slots);
    }
    let held = |option: &str, scope: &str| {
        node.delivery.look(|scheduler| {
            scheduler
                .shadows()
                .filter(|(of, at, _)| *of == option && *at == scope)
                .map(|(.., count)| count)
                .sum()
        })
    };
    say_limit(&config, held, &mut why);
    Ok(Answer::SharedWhy(why))
}

/// The key of the slots that limit what an object counts.
fn slot_key(object: &str, key: &str) -> Option<String> {
    match object {
        "outbound_domains" => Some(format!("domain:{key}")),
        "outbound_hosts" => Some(format!("host:{key}")),
        _ => None,
    }
}

/// A count is of open connections; who holds and wants slots for more, and who got some, the table of slots knows.
fn add_slots(why: &mut SharedWhy, slots: SharedWhy) {
    for member in &mut why.members {
        if let Some(part) = slots.members.iter().find(|part| part.node == member.node) {
            (member.held, member.wanted, member.waiting) = (part.held, part.wanted, part.waiting);
        }
    }
    why.limit = slots.limit;
    why.in_force = slots.in_force;
    why.part = slots.part;
    why.gone = slots.gone;
    why.grants = slots.grants;
    why.awaited.extend(slots.awaited);
    why.awaited.sort_unstable();
    why.awaited.dedup();
    why.cut_off |= slots.cut_off;
}

/// Adds the limit that the configuration sets for a key, and where. Of counts by domain and by host the limit is the
/// option's; tables know theirs, and only where it is written is added.
/// `held` says how much an option that only watches, at a place, would have held back.
fn say_limit(config: &Config, held: impl Fn(&str, &str) -> u64, why: &mut SharedWhy) {
    const MAX: &str = "Cluster_Max_Outbound_Connections";
    const SERVER: &str = "Cluster_Server_Max_Outbound_Connections";
    const SCOPE: &str = "Cluster_Scope_Max_Outbound_Connections";
    let key = why.key.clone();
    let knows_limit = why.limit;
    let (options, facts): (&[&str], Facts<'_>) = match why.object.as_str() {
        "outbound_domains" => (&[MAX], Facts { domain: Some(&key), ..Facts::default() }),
        "outbound_hosts" => (&[MAX, SCOPE], Facts { host: Some(&key), ..Facts::default() }),
        SLOTS => (&[MAX, SERVER, SCOPE], slot_facts(&key)),
        "OBTM" => (&["Cluster_Outbound_Throttle_Messages"], throttle_facts(&key)),
        "OBTC" => (&["Cluster_Outbound_Throttle_Connections"], throttle_facts(&key)),
        _ => return,
    };
    for option in options {
        let Some(Resolved { row, value, origin: Origin::Set { path, .. } }) = config.eval(option, &facts)
        else {
            continue;
        };
        let limit = match value {
            Some(Value::Int(limit)) if limit > 0 => u64::try_from(limit).ok(),
            Some(Value::Throttle(_)) => knows_limit,
            Some(_) | None => continue,
        };
        // Of several options the one is meant whose value the table has.
        if knows_limit.is_none_or(|known| limit == Some(known)) {
            why.limit = limit;
            if why.shadow.is_none() && crate::settings::is_shadow(config, &facts, option) {
                why.shadow = Some(held(option, &path));
            }
            why.source = Some((row.name.to_owned(), path));
            return;
        }
    }
}

/// The place of the option behind a key of slots.
fn slot_facts(key: &str) -> Facts<'_> {
    let mut facts = Facts::default();
    for part in key.split("::") {
        match part.split_once(':') {
            Some(("domain", name)) => facts.domain = Some(name),
            Some(("host", name)) => facts.host = Some(name),
            Some(("binding", name)) => facts.binding = Some(name),
            Some(("group", name)) => facts.binding_group = Some(name),
            _ => {}
        }
    }
    facts
}

/// The place of the option behind the name of a throttle.
fn throttle_facts(name: &str) -> Facts<'_> {
    let (group, domain) = match name.split_once("::") {
        Some((group, domain)) => (Some(group), Some(domain)),
        None if name.starts_with("domain:") => (None, Some(name)),
        None => (Some(name), None),
    };
    Facts {
        binding_group: group.and_then(|group| group.strip_prefix("binding_group:")),
        domain: domain.and_then(|domain| domain.strip_prefix("domain:")),
        ..Facts::default()
    }
}

/// `cluster forget`
pub(super) fn forget(node: &Node, gone: &str) -> Outcome {
    let name = gone.to_ascii_lowercase();
    fleet(node)?.forget_node(&name).map_err(|error| match &error {
        ForgetError::Present(_) => Failure::error(Code::NodePresent, &error),
        ForgetError::BadName(_) => Failure::error(Code::NoSuchNode, &error),
        ForgetError::Nothing => Failure::error(Code::NoSuchObject, &error),
    })?;
    notice(
        Severity::Notice,
        format_args!("node {name} is declared gone for good; limits are shared out without it"),
    );
    Ok(Answer::line(format_args!("{name} is forgotten: limits are shared out without it.")))
}

fn failure(error: &LimitError) -> Failure {
    let code = match error {
        LimitError::NoObject(_) => Code::NoSuchObject,
        LimitError::Throttle(ThrottleError::Unknown(_) | ThrottleError::Stale) => Code::NoSuchThrottle,
        LimitError::Throttle(ThrottleError::BadPath | ThrottleError::BadName | ThrottleError::Present(_)) => {
            Code::InvalidValue
        }
    };
    Failure::error(code, error)
}

/// `throttle …`
pub(super) async fn throttle(node: &Node, command: &ThrottleCommand) -> Outcome {
    let fleet = fleet(node)?;
    let invalid = |error: &dyn std::error::Error| Failure::error(Code::InvalidValue, error);
    let (name, asked, taken) = match command {
        ThrottleCommand::Create { name, rate, epsilon } => {
            let rate: Rate = rate.parse().map_err(|error| invalid(&error))?;
            let epsilon = match epsilon {
                Some(epsilon) => epsilon.parse::<Epsilon>().map_err(|error| invalid(&error))?,
                None => Epsilon::default(),
            };
            fleet.create_throttle(name, rate, epsilon).map_err(|error| failure(&error))?;
            let taken = "one that lives already is left as it is";
            return Ok(Answer::line(format_args!("{name}: created with {rate}; {taken}.")));
        }
        ThrottleCommand::Check { name } => (name, 0, 0),
        ThrottleCommand::Inc { name, units } => {
            fleet.inc_throttle(name, u64::from(*units)).map_err(|error| failure(&error))?;
            (name, *units, u64::from(*units))
        }
        ThrottleCommand::Take { name, units } => {
            let taken =
                fleet.throttle(NAMED, name, u64::from(*units)).await.map_err(|error| failure(&error))?;
            (name, *units, taken)
        }
    };
    let exceeded = fleet.check_throttle(name).map_err(|error| failure(&error))?;
    let why = fleet.shared_why(NAMED, name);
    Ok(Answer::Throttle(ThrottleReply {
        name: name.clone(),
        asked: u64::from(asked),
        taken,
        exceeded,
        used: why.as_ref().map_or(taken, |why| why.value),
        // Until its creation has been delivered a throttle has no row.
        rate: why.ok().and_then(|why| why.rate).unwrap_or_else(|| String::from("its rate")),
    }))
}

/// `slot …`
pub(super) fn slot(node: &Node, command: &SlotCommand) -> Outcome {
    let fleet = fleet(node)?;
    let (key, state) = match command {
        SlotCommand::Open { key, limit, connections } => {
            (key, fleet.open_trial(key, u64::from(*limit), u64::from(*connections)))
        }
        SlotCommand::Close { key, connections } => (key, fleet.close_trial(key, u64::from(*connections))),
    };
    let TrialState { open, wanted } = state.map_err(|error| failure(&error))?;
    Ok(Answer::Slot(SlotReply { key: key.clone(), open, wanted }))
}
