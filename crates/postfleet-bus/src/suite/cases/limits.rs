//! Bounds and losses: T27 to T30, T36.

use super::Field;
use super::field::SOON;
use super::order::numbers;
use crate::event::LostReason;
use crate::suite::{Burst, Command, Fault, What};
use alloc::vec::Vec;
use core::time::Duration;

pub(super) fn back_pressure(field: &mut Field<'_>) {
    let mut spec = field.spec("a", &["g"]);
    spec.max_backlog = 500;
    let a = field.start_spec(&spec);
    field.wait_together();
    let b = field.join("b", &["g"]);
    field.fault(Fault::Throttle(a, Some(200)));
    field.send(a, Burst::to_group("g", 1, 3000));
    let full = |what: &What| matches!(what, What::NotSent { error, .. } if error.contains("full"));
    field.wait("the queue is full", SOON, |f| f.trace(a).has(full));
    field.run(Duration::from_secs(2));
    field.fault(Fault::Throttle(a, None));
    field.wait_messages(b, 3000);
    assert!(field.trace(a).has(|what| *what == What::SendReady));
    assert_eq!(numbers(field, b), (1..=3000).collect::<Vec<u64>>());
    let took = |record: &crate::suite::Record| match record.what {
        What::Sent { took_micros, .. } | What::NotSent { took_micros, .. } => Some(took_micros),
        _ => None,
    };
    let mut times: Vec<u64> = field.trace(a).records().iter().filter_map(took).collect();
    times.sort_unstable();
    let slow = times.get(times.len() * 99 / 100).copied().unwrap_or(0);
    assert!(slow < 1000, "99 % of the calls return within 1 ms; the slowest of these took {slow} us");
    field.check_at_rest();
}

pub(super) fn slow_receiver(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    let mut spec = field.spec("b", &["g"]);
    spec.events_max = 2000;
    let b = field.start_spec(&spec);
    field.wait_together();
    let c = field.join("c", &["g"]);
    field.command(b, Command::Read(false));
    field.set_away(b, true);
    field.send(a, Burst::to_group("g", 1, 5000));
    field.wait_messages(a, 5000);
    field.wait_messages(c, 5000);
    field.command(b, Command::Figures);
    field.wait("A and C are without B", SOON, |f| f.are_together(&[a, c]));
    let unread = |what: &What| match what {
        What::Figures { unread_bytes, .. } => *unread_bytes < 2_000_000,
        _ => false,
    };
    field.wait("what B has not read is bounded", SOON, |f| f.trace(b).has(unread));
    field.command(b, Command::Read(true));
    field.wait("B learns of it", SOON, |f| f.trace(b).has_lost(LostReason::Overrun));
    field.set_away(b, false);
    field.wait_together();
    field.check_at_rest();
}

pub(super) fn too_large(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    let mut burst = Burst::to_group("g", 1, 1);
    burst.bytes = 1_000_001;
    field.send(a, burst);
    let mut burst = Burst::to_group("g", 2, 20);
    burst.bytes = 1_000_000;
    field.send(a, burst);
    field.wait_messages(a, 20);
    let refused = |what: &What| match what {
        What::NotSent { number: 1, error, .. } => error.contains("1000001") && error.contains("1000000"),
        _ => false,
    };
    assert!(field.trace(a).has(refused));
    assert!(numbers(field, a).iter().copied().eq(2..=21));
    let whole = |what: &What| matches!(what, What::Message { number: 2, bytes: 1_000_000, .. });
    assert!(field.trace(a).has(whole));
    field.check_at_rest();
}

pub(super) fn not_admitted(field: &mut Field<'_>) {
    let mut spec = field.spec("a", &["g"]);
    spec.send_early = Some("g".parse().unwrap());
    let a = field.start_spec(&spec);
    field.wait_together();
    field.run(Duration::from_millis(500));
    let refused = |what: &What| matches!(what, What::NotSent { number: u64::MAX, error, .. } if error.contains("not yet admitted"));
    assert!(field.trace(a).has(refused));
    assert_eq!(field.trace(a).messages(), 0);
    field.check_at_rest();
}

pub(super) fn own_gap(field: &mut Field<'_>) {
    let members = [field.join("a", &["g"]), field.join("b", &["g"]), field.join("c", &["g"])];
    for member in members {
        let mut burst = Burst::to_group("g", 1, 100);
        burst.interval = Duration::from_millis(1);
        field.send(member, burst);
    }
    let moment = field.pick_millis(60);
    field.run(moment);
    if field.pick(3) == 0 {
        // A joiner has no number to compare the next one with.
        field.start("d", &["g"]);
    }
    let victim = members[field.pick(3)];
    field.fault(Fault::DropOwn(victim));
    field.wait("the sender notices", SOON, |f| f.trace(victim).has_lost(LostReason::OwnGap));
    field.wait_together();
    field.check_at_rest();
}
