//! Queued messages that go to other queues because an operator wants it: their binding is chosen again, or their mail is to
//! go to another domain's hosts. Where they are then is remembered beside the spool.

use super::Delivery;
use crate::lock::locked;
use crate::node::Node;
use crate::notices::{Severity, notice};
use crate::policy::{Visit, ask};
use postfleet_policy::{Message, Phase};
use postfleet_queue::Assigned;
use postfleet_spool::{MessageId, Placed, QueueKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Messages in a slice of a rebind, and the pause behind it: 2000 a second at most.
const SLICE: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);
/// Octets of a message that are read at once.
const PIECE_OCTETS: usize = 64 << 10;

/// Messages by transaction.
type ByBatch = BTreeMap<MessageId, Vec<(MessageId, Arc<QueueKey>)>>;

impl Delivery {
    /// The messages of some queues that no connection has.
    fn waiting(&self, chosen: impl Fn(&QueueKey) -> bool) -> ByBatch {
        let mut found = ByBatch::new();
        let state = locked(&self.state);
        let keys: Vec<Arc<QueueKey>> =
            state.scheduler.states().map(|queue| queue.key).filter(|key| chosen(key)).collect();
        for key in keys {
            for (message, _) in state.scheduler.listed(&key) {
                if let Some(known) = state.scheduler.message(message) {
                    found.entry(known.batch).or_default().push((message, Arc::clone(&key)));
                }
            }
        }
        found
    }

    /// Puts a message on a queue, and remembers it. Whether it went.
    fn put(&self, node: &Node, batch: MessageId, copy: MessageId, queue: QueueKey) -> bool {
        let went = self.operate(|scheduler, _| scheduler.move_to(copy, &queue));
        if went {
            node.store.place(vec![Placed { batch, copy, queue }]);
        }
        went
    }

    /// Has the binding of the messages of some queues chosen again. Says how many there were. One that policy assigns to no
    /// binding goes to `default`, unless such mail is refused: then it stays.
    pub(crate) async fn rebind(&self, node: &Arc<Node>, chosen: impl Fn(&QueueKey) -> bool) -> usize {
        let mut rebound = 0;
        for (batch, copies) in self.waiting(chosen) {
            let assigned = match self.assigned_again(node, batch, &copies).await {
                Ok(assigned) => assigned,
                Err(error) => {
                    notice(
                        Severity::Error,
                        format_args!("message {batch} keeps its binding, as it cannot be read: {error}"),
                    );
                    continue;
                }
            };
            for ((copy, key), assigned) in copies.into_iter().zip(assigned) {
                let unassigned = || (!self.refuses_unassigned()).then(Assigned::default);
                if let Some(assigned) = assigned.or_else(unassigned) {
                    let home = self.settings().bindings.home(assigned.binding());
                    self.put(node, batch, copy, home.queue(&key.domain));
                }
                rebound += 1;
                if rebound % SLICE == 0 {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        rebound
    }

    /// Who policy assigns some copies of a transaction to.
    async fn assigned_again(
        &self,
        node: &Arc<Node>,
        batch: MessageId,
        copies: &[(MessageId, Arc<QueueKey>)],
    ) -> Result<Vec<Option<Assigned>>, String> {
        let policy = Arc::clone(&node.configuration.serving().policy);
        if !policy.listens(Phase::SetBinding) {
            return Ok(vec![None; copies.len()]);
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
        let mut assigned = Vec::new();
        for (id, _) in copies {
            let copy = envelope.copies.iter().find(|copy| copy.id == *id);
            visit.about(copy.map(|copy| copy.recipient.clone()));
            // What else it says is too late: the message has been accepted.
            let _ruling = ask(&mut visit, Phase::SetBinding).await;
            assigned.push(visit.take_assigned());
        }
        Ok(assigned)
    }

    /// Gives the messages of a domain another routing domain. Says how many went.
    pub(crate) fn reroute(&self, node: &Node, from: &str, to: &str) -> usize {
        let mut moved = 0;
        for (batch, copies) in self.waiting(|key| *key.domain == *from) {
            for (copy, key) in copies {
                let queue = QueueKey { domain: to.into(), ..QueueKey::clone(&key) };
                moved += usize::from(self.put(node, batch, copy, queue));
            }
        }
        moved
    }
}
