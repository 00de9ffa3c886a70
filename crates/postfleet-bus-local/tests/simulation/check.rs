//! The promises, looked up in what everybody delivered.

use crate::world::{Item, Life, World};
use postfleet_bus::carrier::{CarrierEvent, CarrierLost, RawId};
use postfleet_bus_local::member::Mark;
use std::collections::{BTreeMap, BTreeSet};

/// Names a message: whose life, which number.
type Message = (usize, u64);

fn message(item: &Item) -> Option<Message> {
    let CarrierEvent::Deliver { bytes, .. } = &item.event else { return None };
    let text = std::str::from_utf8(bytes).unwrap().trim_end();
    let (life, no) = text.split_once('/').unwrap();
    Some((life.parse().unwrap(), no.parse().unwrap()))
}

fn members(item: &Item) -> Option<&[RawId]> {
    let CarrierEvent::Change { members, .. } = &item.event else { return None };
    Some(members)
}

pub fn all(world: &World) -> Result<(), String> {
    for (index, life) in world.lives().iter().enumerate() {
        stream(world, life).map_err(|fault| format!("life {index} ({}): {fault}", life.id))?;
    }
    one_entry_for_each_mark(world)?;
    one_configuration_for_each_message(world)?;
    let keys: Vec<(Vec<Key>, BTreeSet<Key>)> = world.lives().iter().map(keys).collect();
    for (index, one) in world.lives().iter().enumerate() {
        for (other_index, other) in world.lives().iter().enumerate().take(index) {
            one_order(&keys[index], &keys[other_index])
                .map_err(|fault| format!("lives {index} and {other_index}: {fault}"))?;
            virtual_synchrony(one, other)
                .map_err(|fault| format!("lives {index} and {other_index}: {fault}"))?;
        }
    }
    progress(world)
}

/// P2, P5, P7, and the sender's membership (C1), in one stream.
fn stream(world: &World, life: &Life) -> Result<(), String> {
    let mut present: &[RawId] = &[];
    let mut last: BTreeMap<usize, u64> = BTreeMap::new();
    for (place, item) in life.delivered.iter().enumerate() {
        if let Some(members) = members(item) {
            if !members.contains(&life.id.raw) {
                return Err(format!("a change without it was delivered: {item:?}"));
            }
            let CarrierEvent::Change { left, joined, .. } = &item.event else { continue };
            let before: BTreeSet<RawId> = present.iter().copied().collect();
            let after: BTreeSet<RawId> = members.iter().copied().collect();
            if place > 0 {
                let gone: BTreeSet<RawId> = left.iter().map(|(id, _)| *id).collect();
                let new: BTreeSet<RawId> = joined.iter().copied().collect();
                if before.difference(&after).copied().collect::<BTreeSet<_>>() != gone
                    || after.difference(&before).copied().collect::<BTreeSet<_>>() != new
                {
                    return Err(format!("the change at {} does not say what changed: {item:?}", item.mark));
                }
            }
            present = members;
        } else if place == 0 {
            return Err("its first event is no change".to_owned());
        }
        let Some((sender, no)) = message(item) else { continue };
        let CarrierEvent::Deliver { from, .. } = &item.event else { continue };
        let sent = world.lives().get(sender).ok_or("a message of nobody")?;
        if sent.id.raw != *from || no > sent.accepted {
            return Err(format!("{item:?} was never sent by {from}"));
        }
        if !present.contains(from) {
            return Err(format!("message {no} of {from} at {} comes from outside", item.mark));
        }
        let expected = last.get(&sender).map_or(no, |last| last + 1);
        if no != expected || sender_is_new(life, place, *from) && no != 1 {
            return Err(format!("message {no} of {from} at {} where {expected} was due", item.mark));
        }
        last.insert(sender, no);
    }
    Ok(())
}

/// Whether this stream saw the sender come and nothing of it since, so its first message must be number 1.
fn sender_is_new(life: &Life, place: usize, from: RawId) -> bool {
    let before = life.delivered.get(..place).unwrap();
    for item in before.iter().rev() {
        match &item.event {
            CarrierEvent::Deliver { from: other, .. } if *other == from => return false,
            CarrierEvent::Change { joined, .. } if joined.contains(&from) => {
                return item.mark != life.delivered[0].mark || from == life.id.raw;
            }
            CarrierEvent::Deliver { .. }
            | CarrierEvent::Change { .. }
            | CarrierEvent::Ready
            | CarrierEvent::Lost(_) => {}
        }
    }
    false
}

fn one_entry_for_each_mark(world: &World) -> Result<(), String> {
    let mut seen: BTreeMap<Mark, &Item> = BTreeMap::new();
    for item in world.lives().iter().flat_map(|life| &life.delivered) {
        let known = seen.entry(item.mark).or_insert(item);
        if known.event != item.event {
            return Err(format!("two entries at {}: {:?} and {:?}", item.mark, known.event, item.event));
        }
    }
    Ok(())
}

/// P11.
fn one_configuration_for_each_message(world: &World) -> Result<(), String> {
    let mut seen: BTreeMap<Message, Mark> = BTreeMap::new();
    for life in world.lives() {
        let mut configuration = Mark::default();
        for item in &life.delivered {
            if members(item).is_some() {
                configuration = item.mark;
            }
            let Some(message) = message(item) else { continue };
            let known = *seen.entry(message).or_insert(configuration);
            if known != configuration {
                return Err(format!(
                    "P11: message {message:?} in the configurations {known} and {configuration} (life {})",
                    life.id
                ));
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Message(Message),
    Change(Mark),
}

fn keys(life: &Life) -> (Vec<Key>, BTreeSet<Key>) {
    let key = |item| message(item).map_or(Key::Change(item.mark), Key::Message);
    let keys: Vec<Key> = life.delivered.iter().map(key).collect();
    let set = keys.iter().copied().collect();
    (keys, set)
}

/// P5 and P9: no event twice, common events in one order.
fn one_order(
    (one, in_one): &(Vec<Key>, BTreeSet<Key>),
    (other, in_other): &(Vec<Key>, BTreeSet<Key>),
) -> Result<(), String> {
    if in_one.len() != one.len() || in_other.len() != other.len() {
        return Err("P5: an event was delivered twice".to_owned());
    }
    let common = one.iter().filter(|key| in_other.contains(key));
    let as_other = other.iter().filter(|key| in_one.contains(key));
    match common.zip(as_other).find(|(one, other)| one != other) {
        Some((one, other)) => Err(format!("P9: {one:?} and {other:?} in different orders")),
        None => Ok(()),
    }
}

/// P12 (C2).
fn virtual_synchrony(one: &Life, other: &Life) -> Result<(), String> {
    let spans = |life: &Life| {
        let mut spans: BTreeMap<(Mark, Mark), Vec<Message>> = BTreeMap::new();
        let mut open: Option<(Mark, Vec<Message>)> = None;
        for item in &life.delivered {
            match message(item) {
                Some(message) => open.as_mut().unwrap().1.push(message),
                None => {
                    if let Some((from, messages)) = open.replace((item.mark, Vec::new())) {
                        spans.insert((from, item.mark), messages);
                    }
                }
            }
        }
        spans
    };
    let other = spans(other);
    for (span, messages) in spans(one) {
        if other.get(&span).is_some_and(|others| *others != messages) {
            return Err(format!(
                "P12: between {} and {}: {messages:?} and {:?}",
                span.0, span.1, other[&span]
            ));
        }
    }
    Ok(())
}

/// P10 and P17: nobody is lost without a reason, all accepted messages of survivors are out, all are together.
fn progress(world: &World) -> Result<(), String> {
    let survivors: Vec<&Life> = world.survivors().collect();
    let last =
        |life: &Life| life.delivered.iter().rev().find(|item| members(item).is_some()).map(|item| item.mark);
    for life in &survivors {
        let raws: BTreeSet<RawId> = survivors.iter().map(|life| life.id.raw).collect();
        let present = life.delivered.iter().rev().find_map(members).unwrap_or_default();
        if present.iter().copied().collect::<BTreeSet<_>>() != raws {
            return Err(format!("{} is with {present:?} in the end, and not with {raws:?}", life.id));
        }
        if last(life) != last(survivors[0]) {
            return Err(format!("{} and {} end in different configurations", life.id, survivors[0].id));
        }
        let own = life.delivered.iter().filter_map(message);
        let own = own.filter(|(sender, _)| world.lives()[*sender].id == life.id).count();
        if own as u64 != life.accepted {
            return Err(format!("P10: {} of {} messages of {} came back", own, life.accepted, life.id));
        }
    }
    for life in world.lives() {
        if life.lost == Some(CarrierLost::Protocol) {
            return Err(format!("{} ended because the hub broke the protocol", life.id));
        }
        // A newcomer of whose admission only a dead hub and other newcomers knew begins again, because the next hub
        // does not know whom to wait for; nobody else is left behind.
        let admission = life.delivered.first().map(|item| item.mark);
        let known = world.lives().iter().any(|other| {
            other.id != life.id
                && !other.killed
                && !matches!(other.lost, Some(CarrierLost::Expelled | CarrierLost::Daemon))
                && other.delivered.iter().any(|item| Some(item.mark) == admission)
        });
        let left_behind = matches!(life.lost, Some(CarrierLost::Expelled | CarrierLost::Daemon));
        if world.is_gentle() && known && left_behind {
            return Err(format!("{} was left behind ({:?}) for no reason", life.id, life.lost));
        }
        // Who left in an orderly way has got all its messages out.
        let own = life.delivered.iter().filter_map(message);
        let own = own.filter(|(sender, _)| world.lives()[*sender].id == life.id).count();
        if life.lost == Some(CarrierLost::Detached) && !life.killed && own as u64 != life.accepted {
            return Err(format!("P28: {} of {} messages of {} came back", own, life.accepted, life.id));
        }
    }
    Ok(())
}
