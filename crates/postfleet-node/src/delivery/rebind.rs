//! Queued messages that go to other queues because an operator wants it: their binding is chosen again, or their mail is to
//! go to another domain's hosts. Where they are then is remembered beside the spool.

use super::Delivery;
use crate::node::Node;
use crate::notices::{Severity, notice};
use crate::policy::{Ruling, Visit, ask};
use postfleet_policy::{Message, Phase};
use postfleet_queue::{Assigned, Scheduler, Waiting};
use postfleet_spool::{MessageId, Placed, QueueKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Messages in a slice of a rebind, and the pause behind it: 2000 a second at most.
const SLICE: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);
/// Octets of a message that are read at once.
const PIECE_OCTETS: usize = 64 << 10;

/// Messages that are looked at, or moved, while nobody else gets at the queues.
const AT_ONCE: usize = 256;

/// What policy says of a message that it assigns again.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Again {
    /// It refuses, or puts off: nothing changes.
    Stays,
    /// To this binding, or to none.
    Goes(Option<Assigned>),
}

impl Delivery {
    /// Has the binding of the messages of some queues chosen again. Says how many there were. One that policy assigns to no
    /// binding goes to `default`, unless such mail is refused: then it stays.
    pub(crate) async fn rebind(&self, node: &Arc<Node>, chosen: impl Fn(&QueueKey) -> bool) -> usize {
        let mut rebound = 0;
        let mut walk = self.look(Scheduler::walk);
        while let Some(found) = self.look(|scheduler| scheduler.step(&mut walk, AT_ONCE, &chosen)) {
            let mut batches: BTreeMap<MessageId, Vec<MessageId>> = BTreeMap::new();
            for one in found {
                batches.entry(one.batch).or_default().push(one.message);
            }
            for (batch, copies) in batches {
                let again = match self.assigned_again(node, batch, &copies).await {
                    Ok(again) => again,
                    Err(error) => {
                        notice(
                            Severity::Error,
                            format_args!("message {batch} keeps its binding, as it cannot be read: {error}"),
                        );
                        continue;
                    }
                };
                for (copy, again) in copies.into_iter().zip(again) {
                    let Again::Goes(assigned) = again else { continue };
                    let unassigned = || (!self.refuses_unassigned()).then(Assigned::default);
                    if let Some(assigned) = assigned.or_else(unassigned) {
                        self.assign(node, batch, copy, &assigned);
                    }
                    rebound += 1;
                    if rebound % SLICE == 0 {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        rebound
    }

    /// Puts a message on the queue of a binding, for the domain that it has by now, and remembers it.
    fn assign(&self, node: &Node, batch: MessageId, copy: MessageId, assigned: &Assigned) {
        self.operate(|scheduler, _| {
            let Some(state) = scheduler.message(copy) else { return };
            let queue = self.settings().bindings.home(assigned.binding()).queue(&state.key.domain);
            if scheduler.move_to(copy, &queue) {
                // Here, so that records of one message have the order of its moves.
                node.store.place(vec![Placed { batch, copy, queue }]);
            }
        });
    }

    /// Who policy assigns some copies of a transaction to.
    async fn assigned_again(
        &self,
        node: &Arc<Node>,
        batch: MessageId,
        copies: &[MessageId],
    ) -> Result<Vec<Again>, String> {
        let policy = Arc::clone(&node.configuration.serving().policy);
        if !policy.listens(Phase::SetBinding) {
            return Ok(vec![Again::Goes(None); copies.len()]);
        }
        let mut reading = node.store.open_message(batch).await?;
        let envelope = reading.stored().envelope.clone();
        let mut visit = Visit::of_queued(node, policy, &envelope);
        let (mut message, mut at) = (Message::default(), 0);
        let mut header = None;
        loop {
            let (again, piece) =
                node.store.read(reading, at, PIECE_OCTETS).await.ok_or("the node is stopping")?;
            reading = again;
            let piece = piece.map_err(|error| crate::store::chain(&error))?;
            if piece.is_empty() {
                break;
            }
            // A header section that is longer than a piece ends with it.
            header.get_or_insert_with(|| {
                piece.windows(4).position(|window| window == b"\r\n\r\n").map_or(piece.len(), |end| end + 4)
            });
            at += piece.len() as u64;
            message.push(&piece);
        }
        message.complete(header.unwrap_or(0) as u64);
        visit.holds(message);
        let mut again = Vec::new();
        for id in copies {
            let copy = envelope.copies.iter().find(|copy| copy.id == *id);
            visit.about(copy.map(|copy| copy.recipient.clone()));
            let _before = visit.take_assigned();
            // The message has been accepted: what a refusal leaves undone is the assignment.
            again.push(match ask(&mut visit, Phase::SetBinding).await {
                Ruling::Continue | Ruling::Accept(_) | Ruling::Redirect(_) => {
                    Again::Goes(visit.take_assigned())
                }
                Ruling::Refuse(_) | Ruling::Disconnect(_) | Ruling::Discard(_) => Again::Stays,
            });
        }
        Ok(again)
    }

    /// Gives the messages of a domain another routing domain. Says how many went.
    pub(crate) async fn reroute(&self, node: &Node, from: &str, to: &str) -> usize {
        let mut moved = 0;
        let mut walk = self.look(Scheduler::walk);
        let mut more = || {
            self.operate(|scheduler, _| {
                let found = scheduler.step(&mut walk, AT_ONCE, |key| *key.domain == *from)?;
                let placed = found.into_iter().filter_map(|found| {
                    let queue = QueueKey { domain: to.into(), ..QueueKey::clone(&found.key) };
                    let Waiting { message, batch, .. } = found;
                    scheduler.move_to(message, &queue).then_some(Placed { batch, copy: message, queue })
                });
                let placed: Vec<Placed> = placed.collect();
                let count = placed.len();
                if count > 0 {
                    node.store.place(placed);
                }
                Some(count)
            })
        };
        while let Some(count) = more() {
            moved += count;
            tokio::task::yield_now().await;
        }
        moved
    }
}
