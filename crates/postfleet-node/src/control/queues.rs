//! `active`, `domain …`, `flush domain …`, `showqueue`, `message …` and their kin.

use super::Outcome;
use crate::clock;
use crate::node::Node;
use crate::store::Reading;
use postfleet_console::{
    Answer, DomainFigures, Failure, MessageDetails, MessagePart, QueueCommand, QueuedRow, all_domains,
    domains_above, one_domain, queue_rows,
};
use postfleet_queue::{MessageState, QueueState};
use postfleet_spool::{MessageId, QueueKey};
use postfleet_types::WallTime;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) async fn execute(node: &Arc<Node>, command: &QueueCommand) -> Outcome {
    match command {
        QueueCommand::Active(threshold) => {
            Ok(domains_above(&domains(node), |domain| domain.active > *threshold))
        }
        QueueCommand::Delayed(threshold) => {
            Ok(domains_above(&domains(node), |domain| domain.delayed > *threshold))
        }
        QueueCommand::Domains => Ok(all_domains(&domains(node))),
        QueueCommand::Domain(domain) => {
            let queues = node.delivery.queues().into_iter().filter(|queue| *queue.key.domain == **domain);
            let bindings: Vec<DomainFigures> =
                queues.map(|queue| figures(&queue, queue.key.binding.as_str())).collect();
            if bindings.is_empty() { Err(Failure::no_such_domain(domain)) } else { Ok(one_domain(&bindings)) }
        }
        QueueCommand::Flush(domain) => {
            if let Some(domain) = domain {
                known(node, domain)?;
            }
            let moved = node.delivery.operate(|scheduler, now| {
                scheduler.flush(now, |key| domain.as_ref().is_none_or(|domain| *key.domain == **domain))
            });
            let first = domain.as_ref().map_or_else(|| String::from("All domains"), Clone::clone);
            said(format!("{first} flushed.  {moved} messages requeued."))
        }
        QueueCommand::Fail { domain, quiet } => {
            known(node, domain)?;
            let reply = "554 Message manually purged.";
            let failed = node
                .delivery
                .operate(|scheduler, _| scheduler.purge(reply, *quiet, |key| *key.domain == **domain));
            said(format!("{domain} purged, {failed} messages failed."))
        }
        QueueCommand::Refresh(domain) => {
            if domain != "all" {
                known(node, domain)?;
            }
            let domains = domains(node).into_iter().filter(|known| domain == "all" || known.name == *domain);
            for known in domains {
                node.delivery.operate(|scheduler, _| scheduler.refresh(&known.name));
            }
            said("submitted")
        }
        QueueCommand::Show { binding, domain, limit, offset } => {
            known(node, domain)?;
            Ok(queue_rows(&rows(node, binding.as_deref(), domain, *limit, *offset)))
        }
        QueueCommand::Dig(domain) => {
            node.delivery.operate(|scheduler, _| scheduler.dig(domain));
            said("submitted")
        }
        QueueCommand::Details { id, part } => details(node, id, *part).await,
        QueueCommand::Retry(id) => {
            let found =
                node.delivery.operate(|scheduler, now| scheduler.retry_now(now, message(id)?).then_some(()));
            found.ok_or_else(|| Failure::no_such_message(id))?;
            said("Message requeued for delivery")
        }
        QueueCommand::FailMessage { id, quiet } => {
            let (number, _) = state(node, id)?;
            let failed = node
                .delivery
                .operate(|scheduler, _| scheduler.fail_now(number, "554 manually failed.", *quiet));
            if failed { said("Message failed") } else { Err(Failure::message_in_transmission()) }
        }
    }
}

pub(super) fn said(text: impl Into<String>) -> Outcome {
    Ok(Answer::Lines(vec![text.into()]))
}

fn message(id: &str) -> Option<MessageId> {
    id.parse().ok()
}

pub(super) fn known(node: &Node, domain: &str) -> Result<(), Failure> {
    let known = node.delivery.queues().iter().any(|queue| *queue.key.domain == *domain);
    if known { Ok(()) } else { Err(Failure::no_such_domain(domain)) }
}

pub(super) fn figures(queue: &QueueState, name: &str) -> DomainFigures {
    DomainFigures {
        name: name.to_owned(),
        connections: queue.connections,
        active: queue.active,
        delayed: queue.delayed,
        receptions: queue.receptions,
        deliveries: queue.deliveries,
        failures: queue.failures,
        transient: queue.transient,
        wait: queue.wait.as_ref().map(ToString::to_string),
    }
}

/// By domain, over all bindings.
fn domains(node: &Node) -> Vec<DomainFigures> {
    let mut domains: BTreeMap<String, DomainFigures> = BTreeMap::new();
    for queue in node.delivery.queues() {
        let domain = queue.key.domain.to_string();
        let sum = domains.entry(domain.clone()).or_default();
        sum.add(&figures(&queue, &domain));
        sum.name = domain;
    }
    domains.into_values().collect()
}

fn rows(node: &Node, binding: Option<&str>, domain: &str, limit: usize, offset: usize) -> Vec<QueuedRow> {
    let keys: Vec<Arc<QueueKey>> = node
        .delivery
        .queues()
        .into_iter()
        .map(|queue| queue.key)
        .filter(|key| *key.domain == *domain && binding.is_none_or(|binding| key.binding == *binding))
        .collect();
    let mut listed: Vec<(MessageId, bool, Arc<QueueKey>)> = Vec::new();
    for key in keys {
        let messages: Vec<(MessageId, bool)> = node
            .delivery
            .look(|scheduler| scheduler.listed(&key).take(offset.saturating_add(limit)).collect());
        listed.extend(messages.into_iter().map(|(id, active)| (id, active, Arc::clone(&key))));
    }
    // Active before delayed; each in the order of its queue.
    listed.sort_by_key(|(_, active, _)| !*active);
    let shown = listed.into_iter().skip(offset).take(limit);
    shown
        .filter_map(|(id, active, key)| {
            let (created, sender, recipient) = node.store.addresses(id)?;
            let binding = key.binding.to_string();
            Some(QueuedRow { active, binding, id: id.to_string(), created, sender, recipient })
        })
        .collect()
}

fn state(node: &Node, id: &str) -> Result<(MessageId, MessageState), Failure> {
    let number = message(id).ok_or_else(|| Failure::no_such_message(id))?;
    let state = node.delivery.look(|scheduler| scheduler.message(number));
    Ok((number, state.ok_or_else(|| Failure::no_such_message(id))?))
}

async fn details(node: &Arc<Node>, id: &str, part: MessagePart) -> Outcome {
    let (number, state) = state(node, id)?;
    if state.sending {
        return Err(Failure::message_in_transmission());
    }
    let reading = node.store.open_message(state.batch).await.map_err(Failure::internal)?;
    if part == MessagePart::Body {
        let content = content(node, reading).await?;
        return Ok(Answer::Lines(content.lines().map(String::from).collect()));
    }
    let envelope = &reading.stored().envelope;
    let copy = envelope.copies.iter().find(|copy| copy.id == number);
    let copy = copy.ok_or_else(|| Failure::no_such_message(id))?;
    let via = match envelope.client {
        Some(client) => {
            let family = if client.is_ipv4() { "IPv4" } else { "IPv6" };
            format!("SMTP {} ({family})", client.ip())
        }
        None => envelope.protocol.clone(),
    };
    let now = clock::wall();
    let later = state.delayed_until.map(|until| until.since(clock::monotonic())).unwrap_or_default();
    let later = u64::try_from(later.as_millis()).unwrap_or(u64::MAX);
    let details = MessageDetails {
        id: id.to_owned(),
        created: envelope.created,
        next: WallTime::from_unix_millis(now.unix_millis().saturating_add(later)),
        retries: state.failures,
        via,
        sender: envelope.sender.clone(),
        recipient: copy.recipient.clone(),
        reply: state.reply.as_deref().unwrap_or_default().to_owned(),
        octets: reading.stored().content_bytes,
    };
    Ok(match part {
        MessagePart::Full => details.full(&content(node, reading).await?),
        MessagePart::Details | MessagePart::Body => details.answer(),
    })
}

/// The most of a message that is shown.
const SHOWN_OCTETS_MAX: usize = 1 << 20;

/// Header and body as stored; of a large message the beginning, and a line that says so.
async fn content(node: &Arc<Node>, reading: Reading) -> Result<String, Failure> {
    let stopping = || Failure::internal("the node is stopping");
    let (mut open, mut content) = (reading, Vec::new());
    let octets = open.stored().content_bytes;
    while content.len() < SHOWN_OCTETS_MAX {
        let wanted = SHOWN_OCTETS_MAX - content.len();
        let (again, piece) =
            node.store.read(open, content.len() as u64, wanted).await.ok_or_else(stopping)?;
        open = again;
        let piece = piece.map_err(Failure::internal)?;
        if piece.is_empty() {
            break;
        }
        content.extend(piece);
    }
    let left = octets.saturating_sub(content.len() as u64);
    let mut text = String::from_utf8_lossy(&content).into_owned();
    if left > 0 {
        text.push_str(&format!("\n[{left} octets more are not shown]\n"));
    }
    Ok(text)
}
