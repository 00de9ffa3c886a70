//! Messages that go from one queue to another: their binding is gone, or another one was chosen for them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use postfleet_spool::{MessageId, QueueKey};

use crate::queue::Stage;
use crate::scheduler::Scheduler;

/// A way through all messages that there are at its beginning, in the order of their ids.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    after: Option<MessageId>,
    last: Option<MessageId>,
}

/// A message that no connection has.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The message.
    pub message: MessageId,
    /// The transaction it came in with.
    pub batch: MessageId,
    /// Its queue.
    pub key: Arc<QueueKey>,
}

impl Scheduler {
    /// A way through all messages.
    #[must_use]
    pub fn walk(&self) -> Walk {
        Walk { after: None, last: self.messages.last_key_value().map(|(id, _)| *id) }
    }

    /// Goes on by `most` messages at most: those of them that are on chosen queues, and that no connection has. None at the
    /// end. Messages that change their queue meanwhile are met once all the same.
    pub fn step(
        &self,
        walk: &mut Walk,
        most: usize,
        chosen: impl Fn(&QueueKey) -> bool,
    ) -> Option<Vec<Waiting>> {
        let last = walk.last?;
        let from = walk.after.map_or(Bound::Unbounded, Bound::Excluded);
        if walk.after.is_some_and(|after| after >= last) {
            return None;
        }
        let mut found = Vec::new();
        let mut next = last;
        for (place, (id, entry)) in self.messages.range((from, Bound::Included(last))).enumerate() {
            if place == most {
                break;
            }
            next = *id;
            let key = self.queue(entry.queue).map(|queue| &queue.key);
            if let Some(key) = key.filter(|key| entry.stage != Stage::Sending && chosen(key)) {
                found.push(Waiting { message: *id, batch: entry.batch, key: Arc::clone(key) });
            }
        }
        walk.after = Some(next);
        Some(found)
    }

    /// Puts a message on another queue, with its failures and the time when it is due. `false` when it is not here, is
    /// there already, or a connection has it.
    pub fn move_to(&mut self, message: MessageId, key: &QueueKey) -> bool {
        let Some(entry) = self.messages.get(&message).copied() else { return false };
        let stays = self.queue(entry.queue).is_some_and(|queue| *queue.key == *key);
        if stays || entry.stage == Stage::Sending {
            return false;
        }
        let place = (entry.due, message);
        if let Some(queue) = self.queue_mut(entry.queue) {
            queue.active.remove(&place);
            queue.delayed.remove(&place);
        }
        let number = self.queue_number(key);
        if let Some(entry) = self.messages.get_mut(&message) {
            entry.queue = number;
        }
        if let Some(queue) = self.queue_mut(number) {
            match entry.stage {
                Stage::Active => queue.active.insert(place),
                Stage::Delayed | Stage::Sending => queue.delayed.insert(place),
            };
        }
        self.await_due(number);
        self.look_at(number);
        self.wake(number);
        self.look_at(entry.queue);
        true
    }

    /// The messages that no connection has, of queues that the configuration has elsewhere, go there. Those in
    /// transmission follow when they are not delivered. Says how many went.
    pub(crate) fn move_home(&mut self) -> usize {
        let all: Vec<(Arc<QueueKey>, u32)> =
            self.by_key.iter().map(|(key, number)| (Arc::clone(key), *number)).collect();
        let mut moved = 0;
        for (key, number) in all {
            let home = self.settings.home(&key).map(Arc::new);
            let Some(queue) = self.queue_mut(number) else { continue };
            queue.home.clone_from(&home);
            let Some(home) = home else { continue };
            let waiting: Vec<MessageId> =
                queue.active.iter().chain(&queue.delayed).map(|(_, message)| *message).collect();
            moved += waiting.into_iter().filter(|message| self.move_to(*message, &home)).count();
        }
        moved
    }

    /// A message that came back from a connection goes where its queue has gone meanwhile.
    pub(crate) fn follow(&mut self, message: MessageId) {
        let home = self.messages.get(&message).and_then(|entry| self.queue(entry.queue)?.home.clone());
        if let Some(home) = home {
            self.move_to(message, &home);
        }
    }
}
