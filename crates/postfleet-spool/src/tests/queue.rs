//! The index against a plain model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::scenario::envelope;
use crate::{Counts, List, MessageId, Queue, QueueKey, Removed, Stored, Traits};

fn stored(counter: u16, recipients: u16) -> Stored {
    let envelope = Box::new(envelope(1000, counter, recipients));
    Stored { envelope, content_bytes: 7, traits: Traits::default() }
}

#[test]
fn mailq_shows_queues_and_messages() {
    let mut queue = Queue::new();
    let mut first = stored(0, 2);
    first.envelope.sender = String::new();
    first.envelope.copies[1].binding = "b1".into();
    assert_eq!(queue.insert(&first), 2);
    assert_eq!(queue.insert(&stored(10, 2)), 2);
    assert_eq!(queue.insert(&first), 0, "what the scan finds again is not new");
    let delayed = MessageId::from_parts(1000, 2001, 10);
    assert!(queue.set_list(delayed, List::Delayed));

    let key = |binding: &str, domain: &str| QueueKey {
        binding_group: "default".into(),
        binding: binding.into(),
        domain: domain.into(),
    };
    let shown: Vec<(QueueKey, Counts)> = queue.queues().map(|(key, counts)| (key.clone(), counts)).collect();
    assert_eq!(
        shown,
        [
            (key("b1", "b1.example"), Counts { active: 1, delayed: 0 }),
            (key("default", "b0.example"), Counts { active: 1, delayed: 1 }),
            (key("default", "b1.example"), Counts { active: 1, delayed: 0 }),
        ]
    );
    let message = queue.message(delayed).unwrap();
    assert_eq!((message.sender, message.recipient), ("sender10@a.example", "r0@b0.example"));
    assert_eq!((message.content_bytes, message.created.unix_seconds()), (7, 1000));
    assert_eq!((message.batch, message.list), (delayed, List::Delayed));
    assert_eq!(queue.messages().next().unwrap().sender, "");
    assert_eq!(queue.messages().count(), 4);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u16),
    Remove(u16),
    Move(u16, bool),
}

fn step() -> impl Strategy<Value = Step> {
    // Transactions are 4 ids apart and have up to 6 recipients, so some copies clash.
    prop_oneof![
        (0..8_u16, 1..7_u16).prop_map(|(batch, copies)| Step::Insert(batch * 4, copies)),
        (0..40_u16).prop_map(Step::Remove),
        (0..40_u16, any::<bool>()).prop_map(|(id, delayed)| Step::Move(id, delayed)),
    ]
}

proptest! {
    #[test]
    fn the_index_agrees_with_a_plain_model(steps in prop::collection::vec(step(), 0..60)) {
        let id = |counter| MessageId::from_parts(1000, 2001, counter);
        let mut queue = Queue::new();
        // Copy to transaction, domain and list.
        let mut model: BTreeMap<MessageId, (MessageId, String, List)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(batch, copies) => {
                    let stored = stored(batch, copies);
                    let before = model.len();
                    for copy in &stored.envelope.copies {
                        model.entry(copy.id).or_insert((id(batch), copy.domain.clone(), List::Active));
                    }
                    prop_assert_eq!(queue.insert(&stored), model.len() - before);
                }
                Step::Remove(counter) => {
                    let expected = model.remove(&id(counter)).map(|(batch, ..)| Removed {
                        batch,
                        last: !model.values().any(|(other, ..)| *other == batch),
                    });
                    prop_assert_eq!(queue.remove(id(counter)), expected);
                }
                Step::Move(counter, delayed) => {
                    let list = if delayed { List::Delayed } else { List::Active };
                    let known = model.get_mut(&id(counter)).map(|entry| entry.2 = list);
                    prop_assert_eq!(queue.set_list(id(counter), list), known.is_some());
                }
            }
            let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
            for (_, domain, list) in model.values() {
                let counts = counts.entry(domain.clone()).or_default();
                match list {
                    List::Active => counts.active += 1,
                    List::Delayed => counts.delayed += 1,
                }
            }
            let shown: BTreeMap<String, Counts> =
                queue.queues().map(|(key, counts)| (key.domain.to_string(), counts)).collect();
            prop_assert_eq!(shown, counts);
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.totals().total(), model.len() as u64);
            prop_assert_eq!(queue.is_empty(), model.is_empty());
            let ids: Vec<MessageId> = queue.messages().map(|message| message.id).collect();
            prop_assert_eq!(ids, model.keys().copied().collect::<Vec<_>>());
        }
    }
}
