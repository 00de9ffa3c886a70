//! `binding …`: mail by binding.

use super::Outcome;
use super::queues::{figures, said};
use crate::clock;
use crate::node::Node;
use postfleet_console::{
    BindingCommand, BindingFigures, Code, DomainFigures, Failure, SummaryOf, binding_summary, domains_above,
};
use postfleet_queue::Assigned;
use postfleet_smtp::Address;
use postfleet_spool::{BindingName, QueueKey};
use std::sync::Arc;

pub(super) async fn execute(node: &Arc<Node>, command: &BindingCommand) -> Outcome {
    match command {
        BindingCommand::Summary(of) => summary(node, of),
        BindingCommand::Active { binding, threshold } => {
            let domains = domains(node, &named(node, binding)?);
            Ok(domains_above(&domains, |domain| domain.active > *threshold))
        }
        BindingCommand::Delayed { binding, threshold } => {
            let domains = domains(node, &named(node, binding)?);
            Ok(domains_above(&domains, |domain| domain.delayed > *threshold))
        }
        BindingCommand::Flush { binding, domain } => {
            let chosen = chosen(node, binding, domain.as_deref())?;
            let moved = node.delivery.operate(|scheduler, now| scheduler.flush(now, chosen));
            let first = domain.as_deref().unwrap_or("All domains");
            said(format!("{first} flushed.  {moved} messages requeued."))
        }
        BindingCommand::Rebind { binding, domain } => {
            let binding = binding.as_ref().map(|binding| named(node, binding)).transpose()?;
            if let Some(domain) = domain {
                super::queues::known(node, domain)?;
            }
            let chosen = |key: &QueueKey| {
                binding.as_ref().is_none_or(|binding| key.binding == *binding.binding())
                    && domain.as_ref().is_none_or(|domain| *key.domain == **domain)
            };
            let rebound = node.delivery.rebind(node, chosen).await;
            recorded(node, format!("Rebound {rebound} messages.")).await
        }
        BindingCommand::Reroute { from, to } => {
            super::queues::known(node, from)?;
            let address: Result<Address, _> = format!("x@{to}").parse();
            let to = address.map_err(|_| Failure::error(Code::Usage, format!("'{to}' is not a domain.")))?;
            let to = crate::edge::domain_of(&to.to_string());
            let moved = node.delivery.reroute(node, from, &to).await;
            recorded(node, format!("Moved {moved} messages from '{from}' to '{to}'")).await
        }
        BindingCommand::Fail { binding, domain, reply, quiet } => {
            let chosen = chosen(node, binding, domain.as_deref())?;
            let reply = reply.as_deref().unwrap_or("554 Message manually purged.");
            let failed = node.delivery.operate(|scheduler, _| scheduler.purge(reply, *quiet, chosen));
            said(match domain {
                Some(domain) => format!("{domain} purged, {failed} messages failed."),
                None => format!("All domains purged.  {failed} messages failed."),
            })
        }
    }
}

/// Says what was done, when it is on the disk.
async fn recorded(node: &Node, done: String) -> Outcome {
    match node.store.flush_finished().await {
        Ok(()) => said(done),
        Err(error) => Err(Failure::internal(format_args!(
            "{}. This cannot be recorded: {error}; after a restart they are where they were accepted.",
            done.trim_end_matches('.')
        ))),
    }
}

/// The binding of this name.
pub(super) fn named(node: &Node, binding: &str) -> Result<Assigned, Failure> {
    node.delivery.binding(binding).ok_or_else(|| Failure::no_such_binding(binding))
}

/// Whether a queue is meant, of one domain or of all; the domain has to be known.
fn chosen<'a>(
    node: &Node,
    binding: &str,
    domain: Option<&'a str>,
) -> Result<impl Fn(&QueueKey) -> bool + use<'a>, Failure> {
    let binding: BindingName = named(node, binding)?.binding().clone();
    if let Some(domain) = domain {
        super::queues::known(node, domain)?;
    }
    Ok(move |key: &QueueKey| key.binding == binding && domain.is_none_or(|domain| *key.domain == *domain))
}

/// The domains of a binding.
fn domains(node: &Node, binding: &Assigned) -> Vec<DomainFigures> {
    let queues = node.delivery.queues().into_iter().filter(|queue| queue.key.binding == *binding.binding());
    queues.map(|queue| figures(&queue, &queue.key.domain)).collect()
}

fn summary(node: &Node, of: &SummaryOf) -> Outcome {
    let (bindings, group): (Vec<Assigned>, Option<&str>) = match of {
        SummaryOf::All => (node.delivery.bindings(), None),
        SummaryOf::Binding(name) => {
            let by_place = || node.delivery.bindings().into_iter().nth(name.parse().ok()?);
            let found = node.delivery.binding(name).or_else(by_place);
            (vec![found.ok_or_else(|| Failure::no_such_binding(name))?], None)
        }
        SummaryOf::Group(group) => {
            let members = node.delivery.bindings_of(group);
            (members.ok_or_else(|| Failure::no_such_binding_group(group))?, Some(group))
        }
    };
    let queues = node.delivery.queues();
    let shown = bindings.into_iter().map(|assigned| {
        let mut sum = BindingFigures {
            name: assigned.binding().to_string(),
            group: (!assigned.group().is_default()).then(|| assigned.group().to_string()),
            ..BindingFigures::default()
        };
        for queue in queues.iter().filter(|queue| queue.key.binding == *assigned.binding()) {
            sum.connections += queue.connections;
            sum.active += queue.active;
            sum.total += queue.active + queue.delayed;
        }
        // Contents stay on disk, so none is resident.
        let tally = node.delivery.look(|scheduler| scheduler.tally(assigned.binding()));
        (sum.received, sum.delivered, sum.failed) = (tally.receptions, tally.deliveries, tally.failures);
        sum
    });
    let shown: Vec<BindingFigures> = shown.collect();
    let uptime = clock::monotonic().since(node.statistics.started).as_secs();
    Ok(binding_summary(&shown, group, uptime))
}
