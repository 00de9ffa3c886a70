//! Reports to senders of mail that failed.

use super::Delivery;
use super::settings::{BounceSettings, Inline};
use crate::clock;
use crate::lock::locked;
use crate::node::Node;
use crate::notices::{Severity, notice};
use postfleet_queue::{Report, Verdict};
use postfleet_smtp::bounce::{Bounce, Failed, Returned};
use postfleet_spool::{
    BindingGroupName, BindingName, Body, Envelope, MessageId, QueueKey, RecipientCopy, Ret,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Recipients of one transaction that fail within this are put into one report.
const TOGETHER: Duration = Duration::from_secs(1);
/// A report that could not be stored is tried again after the first, then twice as long each time up to the second.
const AGAIN: Duration = Duration::from_secs(2);
const AGAIN_MAX: Duration = Duration::from_secs(300);
/// Reports that are written at a time. Each has a file open, and holds what is returned of a message.
const REPORTS_MAX: usize = 32;
/// The most that is returned of a message.
const RETURNED_OCTETS_MAX: u64 = 1 << 20;
/// The most that a header section is looked for in.
const HEADER_OCTETS_MAX: usize = 64 << 10;

type Failure = (Report, Option<String>);

/// Messages that failed and are still in the spool, by transaction.
pub(super) struct Failures {
    waiting: Mutex<BTreeMap<MessageId, Vec<Failure>>>,
    turns: Semaphore,
}

impl Default for Failures {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turns: Semaphore::new(REPORTS_MAX) }
    }
}

impl Failures {
    pub(super) fn add(&self, delivery: &Arc<Delivery>, report: Report, remote: Option<String>) {
        let batch = report.batch;
        if self.put(batch, vec![(report, remote)]) {
            tokio::spawn(tell(Arc::clone(delivery), batch));
        }
    }

    /// Whether they are the first of their transaction, so that nobody tells of it yet.
    fn put(&self, batch: MessageId, failed: Vec<Failure>) -> bool {
        let mut waiting = locked(&self.waiting);
        let together = waiting.entry(batch).or_default();
        let first = together.is_empty();
        together.extend(failed);
        first
    }
}

/// Stores the report, then takes the messages out of the spool. As long as it cannot be stored they stay there; what
/// became of them is settled, so only the report is repeated.
async fn tell(delivery: Arc<Delivery>, batch: MessageId) {
    let failures = &delivery.failures;
    tokio::time::sleep(TOGETHER).await;
    let mut pause = AGAIN;
    loop {
        let turn = failures.turns.acquire().await;
        let Some(node) = delivery.node() else { return };
        let failed = locked(&failures.waiting).remove(&batch).unwrap_or_default();
        let Err(error) = bounce(&delivery, &node, batch, &failed).await else {
            let messages = failed.iter().map(|(report, _)| report.message).collect();
            node.store.finish(batch, messages);
            return;
        };
        drop((turn, node));
        notice(
            Severity::Error,
            format_args!(
                "the report that message {batch} failed cannot be stored: {error}; it is tried again in {} s",
                pause.as_secs()
            ),
        );
        // More of them failed meanwhile: who waits for those tells of all.
        if !failures.put(batch, failed) {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN_MAX);
    }
}

async fn bounce(
    delivery: &Arc<Delivery>,
    node: &Arc<Node>,
    batch: MessageId,
    failed: &[Failure],
) -> Result<(), String> {
    let settings = delivery.settings();
    // The recipients of a transaction may be on queues that are set up differently.
    let told =
        failed.iter().filter(|(report, _)| !matches!(report.verdict, Verdict::Failed { quiet: true, .. }));
    let told = told.map(|failure| (settings.bounces(&failure.0.queue), failure));
    let told: Vec<(BounceSettings, &Failure)> = told.filter(|(options, _)| options.generate).collect();
    let Some((options, _)) = told.first() else { return Ok(()) };
    let mut reading = match node.store.open_message(batch).await {
        Ok(reading) => reading,
        // Without its file nobody knows whom to tell; opening it was tried before, and told.
        Err(error) => return Err(error),
    };
    let envelope = reading.stored().envelope.clone();
    // A report is never answered (RFC 5321, section 6.1).
    if envelope.sender.is_empty() {
        return Ok(());
    }
    let copy_of = |report: &Report| envelope.copies.iter().find(|copy| copy.id == report.message);
    let failures: Vec<(&RecipientCopy, String, Option<&str>)> = told
        .iter()
        .filter_map(|(_, (report, remote))| {
            let copy = copy_of(report)?;
            // NOTIFY=NEVER, and NOTIFY without FAILURE (RFC 3461).
            if copy.notify.is_some_and(|notify| !notify.failure) {
                return None;
            }
            let Verdict::Failed { reply, last, .. } = &report.verdict else { return None };
            let remote = remote.as_deref();
            Some(match (last, remote) {
                (None, _) => (copy, reply.to_string(), remote),
                // That it was the last attempt is what this node says.
                (Some(last), None) => (copy, format!("{reply} (the last attempt: {last})"), None),
                (Some(last), Some(host)) => {
                    (copy, format!("{reply} (the last attempt: {host} said: {last})"), None)
                }
            })
        })
        .collect();
    if failures.is_empty() {
        return Ok(());
    }
    let whole = match (envelope.ret, options.inline) {
        (Some(Ret::Full), _) | (None, Inline::All) => reading.stored().content_bytes <= RETURNED_OCTETS_MAX,
        (Some(Ret::Headers), _) | (None, Inline::Headers | Inline::Nothing) => false,
    };
    let nothing = options.inline == Inline::Nothing && envelope.ret.is_none();
    let wanted = if whole { usize::try_from(RETURNED_OCTETS_MAX).unwrap_or(0) } else { HEADER_OCTETS_MAX };
    let eight_bit = reading.eight_bit_header() || (whole && reading.eight_bit_body());
    let mut content = Vec::new();
    while content.len() < wanted && !nothing {
        let read = node.store.read(reading, content.len() as u64, wanted - content.len()).await;
        let (again, piece) = read.ok_or("the node is stopping")?;
        reading = again;
        let piece = piece.map_err(|error| crate::store::chain(&error))?;
        if piece.is_empty() {
            break;
        }
        content.extend(piece);
    }
    let header =
        content.windows(4).position(|window| window == b"\r\n\r\n").map_or(content.len(), |at| at + 2);
    let returned = if nothing {
        Returned::Nothing
    } else if whole {
        Returned::All(&content)
    } else {
        Returned::Headers(content.get(..header).unwrap_or_default())
    };
    let report = Told { envelope: &envelope, failures: &failures, returned, eight_bit };
    report.store(node, &settings.hostname, &options.from).await
}

/// One recipient's failure: the copy, why, and the host that said so.
type FailedCopy<'a> = (&'a RecipientCopy, String, Option<&'a str>);

/// What is told to the sender.
struct Told<'a> {
    envelope: &'a Envelope,
    failures: &'a [FailedCopy<'a>],
    returned: Returned<'a>,
    eight_bit: bool,
}

impl Told<'_> {
    /// Makes the report durable.
    async fn store(self, node: &Arc<Node>, hostname: &str, from: &str) -> Result<(), String> {
        let Told { envelope, failures, returned, eight_bit } = self;
        let list: Vec<Failed<'_>> = failures
            .iter()
            .map(|(copy, reply, remote)| Failed {
                recipient: &copy.recipient,
                original: copy.orcpt.as_deref(),
                reply,
                remote: *remote,
            })
            .collect();
        let ids = node.store.draw_ids(1);
        let id = *ids.first().ok_or("no id")?;
        let at = clock::wall();
        let text = Bounce {
            hostname,
            from,
            to: &envelope.sender,
            id: &id.to_string(),
            at,
            arrived: envelope.created,
            envelope_id: envelope.envid.as_deref(),
            failed: &list,
            returned,
            eight_bit,
        }
        .write();
        let stored = Envelope {
            batch: id,
            created: at,
            sender: String::new(),
            copies: vec![RecipientCopy {
                id,
                recipient: envelope.sender.clone(),
                domain: crate::edge::domain_of(&envelope.sender),
                orcpt: None,
                notify: None,
                binding: BindingName::default(),
                binding_group: BindingGroupName::default(),
            }],
            body: if eight_bit { Body::EightBitMime } else { Body::SevenBit },
            smtputf8: envelope.smtputf8,
            ret: None,
            envid: None,
            client: None,
            helo: String::new(),
            protocol: String::from("internal"),
            connection: None,
            context: Vec::new(),
        };
        let mut draft = node.store.draft(stored).map_err(|error| crate::store::chain(&error))?;
        for piece in text.chunks(16 << 10) {
            if draft.push(piece) {
                draft = node.store.flush(draft).await.ok_or("the node is stopping")?;
            }
        }
        node.store.store(draft).await.map_err(|error| crate::store::chain(&error))
    }
}

/// A copy that policy refused while others of the message were accepted.
pub(crate) struct RefusedCopy {
    /// Its place in the envelope; none for one that policy had added.
    pub(crate) copy: Option<usize>,
    pub(crate) address: String,
    pub(crate) reply: String,
}

/// Tells the sender of copies that policy refused, before the client is told that its message was accepted. The header
/// section is all that is returned.
pub(super) async fn tell_refused(
    delivery: &Delivery,
    node: &Arc<Node>,
    envelope: &Envelope,
    refused: &[RefusedCopy],
    header: &[u8],
) -> Result<(), String> {
    let settings = delivery.settings();
    if envelope.sender.is_empty() || !settings.tells_of_refused() {
        return Ok(());
    }
    let mut options = None;
    let copies: Vec<(RecipientCopy, String)> = refused
        .iter()
        .filter_map(|one| {
            let known = one.copy.and_then(|at| envelope.copies.get(at));
            let mut copy = known.or_else(|| envelope.copies.first())?.clone();
            if known.is_none() {
                copy.orcpt = None;
                copy.notify = None;
            }
            copy.recipient.clone_from(&one.address);
            copy.domain = crate::edge::domain_of(&one.address);
            let queue = QueueKey {
                binding_group: copy.binding_group.clone(),
                binding: copy.binding.clone(),
                domain: copy.domain.clone().into(),
            };
            let bounces = settings.bounces(&queue);
            if !bounces.generate || copy.notify.is_some_and(|notify| !notify.failure) {
                return None;
            }
            options.get_or_insert(bounces);
            Some((copy, one.reply.clone()))
        })
        .collect();
    let Some(options) = options else { return Ok(()) };
    let failures: Vec<FailedCopy<'_>> =
        copies.iter().map(|(copy, reply)| (copy, reply.clone(), None)).collect();
    let nothing = options.inline == Inline::Nothing && envelope.ret.is_none();
    let returned = if nothing { Returned::Nothing } else { Returned::Headers(header) };
    let eight_bit = !nothing && !header.is_ascii();
    let report = Told { envelope, failures: &failures, returned, eight_bit };
    report.store(node, &settings.hostname, &options.from).await
}
