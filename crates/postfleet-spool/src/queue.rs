//! What is queued: an index in memory, rebuilt from the disk at every start.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use postfleet_types::WallTime;

use crate::binding::{BindingGroupName, BindingName};
use crate::id::MessageId;
use crate::message::Stored;

/// Names one queue. Ordered as displays are: group, binding, domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueKey {
    /// The binding group.
    pub binding_group: BindingGroupName,
    /// The binding.
    pub binding: BindingName,
    /// The routing domain.
    pub domain: Box<str>,
}

/// Which list of its queue a message is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// To be delivered now.
    Active,
    /// To be delivered later.
    Delayed,
}

/// How many messages a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// On the active list.
    pub active: u64,
    /// On the delayed list.
    pub delayed: u64,
}

impl Counts {
    /// Both lists.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.active.saturating_add(self.delayed)
    }

    const fn list(&mut self, list: List) -> &mut u64 {
        match list {
            List::Active => &mut self.active,
            List::Delayed => &mut self.delayed,
        }
    }
}

/// What copies of one transaction share.
#[derive(Debug)]
struct Batch {
    sender: Box<str>,
    created: WallTime,
    content_bytes: u64,
    copies: u32,
    connection: Option<MessageId>,
}

#[derive(Debug)]
struct Copy {
    batch: MessageId,
    recipient: Box<str>,
    queue: Arc<QueueKey>,
    list: List,
}

/// One queued message, as a display needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuedMessage<'a> {
    /// Its id.
    pub id: MessageId,
    /// The transaction it came in with, which names its file.
    pub batch: MessageId,
    /// The reverse-path; empty for the null reverse-path.
    pub sender: &'a str,
    /// The forward-path.
    pub recipient: &'a str,
    /// Bytes of content.
    pub content_bytes: u64,
    /// When it was accepted.
    pub created: WallTime,
    /// The queue it is on.
    pub queue: &'a QueueKey,
    /// Which list of that queue.
    pub list: List,
    /// The connection that it came in on.
    pub connection: Option<MessageId>,
}

/// A message that left the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The transaction it came in with.
    pub batch: MessageId,
    /// Whether no copy of the transaction is left, so that its file can go.
    pub last: bool,
}

/// The index of all queued messages.
///
/// A message costs a tree entry of about 60 bytes, its recipient, and its share of the transaction's entry and
/// sender; names of queues are shared. Contents and other parts of the envelope stay on disk.
#[derive(Debug, Default)]
pub struct Queue {
    queues: BTreeMap<Arc<QueueKey>, Counts>,
    batches: BTreeMap<MessageId, Batch>,
    copies: BTreeMap<MessageId, Copy>,
}

impl Queue {
    /// An empty index.
    #[must_use]
    pub const fn new() -> Self {
        Self { queues: BTreeMap::new(), batches: BTreeMap::new(), copies: BTreeMap::new() }
    }

    /// Puts the copies of a transaction on their active lists and says how many were new. A copy that is there
    /// already stays as it is: the scan at start may find what was committed meanwhile.
    pub fn insert(&mut self, stored: &Stored) -> usize {
        let envelope = &stored.envelope;
        let mut new: u32 = 0;
        for copy in &envelope.copies {
            if self.copies.contains_key(&copy.id) {
                continue;
            }
            let key = QueueKey {
                binding_group: copy.binding_group.clone(),
                binding: copy.binding.clone(),
                domain: copy.domain.as_str().into(),
            };
            let queue = match self.queues.get_key_value(&key) {
                Some((shared, _)) => Arc::clone(shared),
                None => Arc::new(key),
            };
            self.queues.entry(Arc::clone(&queue)).or_default().active += 1;
            let recipient = copy.recipient.as_str().into();
            let entry = Copy { batch: envelope.batch, recipient, queue, list: List::Active };
            self.copies.insert(copy.id, entry);
            new += 1;
        }
        if new > 0 {
            let batch = self.batches.entry(envelope.batch).or_insert_with(|| Batch {
                sender: envelope.sender.as_str().into(),
                created: envelope.created,
                content_bytes: stored.content_bytes,
                copies: 0,
                connection: envelope.connection,
            });
            batch.copies += new;
        }
        usize::try_from(new).unwrap_or(usize::MAX)
    }

    /// Moves a message to a list of its queue. False when there is no such message.
    pub fn set_list(&mut self, id: MessageId, list: List) -> bool {
        let Some(copy) = self.copies.get_mut(&id) else { return false };
        if let Some(counts) = self.queues.get_mut(&copy.queue) {
            *counts.list(copy.list) -= 1;
            *counts.list(list) += 1;
        }
        copy.list = list;
        true
    }

    /// Takes a message out of the index.
    pub fn remove(&mut self, id: MessageId) -> Option<Removed> {
        let copy = self.copies.remove(&id)?;
        if let Some(counts) = self.queues.get_mut(&copy.queue) {
            *counts.list(copy.list) -= 1;
            if counts.total() == 0 {
                self.queues.remove(&copy.queue);
            }
        }
        let left = self.batches.get_mut(&copy.batch).map_or(0, |batch| {
            batch.copies -= 1;
            batch.copies
        });
        if left == 0 {
            self.batches.remove(&copy.batch);
        }
        Some(Removed { batch: copy.batch, last: left == 0 })
    }

    /// The queues that hold messages, in the order of displays.
    pub fn queues(&self) -> impl Iterator<Item = (&QueueKey, Counts)> {
        self.queues.iter().map(|(key, &counts)| (&**key, counts))
    }

    /// All queues together.
    #[must_use]
    pub fn totals(&self) -> Counts {
        self.queues.values().fold(Counts::default(), |sum, counts| Counts {
            active: sum.active + counts.active,
            delayed: sum.delayed + counts.delayed,
        })
    }

    /// Every message, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = QueuedMessage<'_>> {
        self.copies.iter().filter_map(|(&id, copy)| self.shown(id, copy))
    }

    /// One message.
    #[must_use]
    pub fn message(&self, id: MessageId) -> Option<QueuedMessage<'_>> {
        self.shown(id, self.copies.get(&id)?)
    }

    fn shown<'a>(&'a self, id: MessageId, copy: &'a Copy) -> Option<QueuedMessage<'a>> {
        let batch = self.batches.get(&copy.batch)?;
        Some(QueuedMessage {
            id,
            batch: copy.batch,
            sender: &batch.sender,
            recipient: &copy.recipient,
            content_bytes: batch.content_bytes,
            created: batch.created,
            queue: &copy.queue,
            list: copy.list,
            connection: batch.connection,
        })
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.copies.len()
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }
}
