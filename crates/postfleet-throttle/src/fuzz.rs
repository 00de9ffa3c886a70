//! The entry point for fuzzing: a member whose peers may say anything.

use crate::fleet::{Configuration, Departure, Present};
use crate::limits::{Basis, Limit, LimitKey, Limits, Open, Through, To, decide};
use crate::rate::Epsilon;
use crate::shared::{SharedThrottles, ThrottleOptions};
use crate::slots::{Path, SlotOptions, Slots};
use crate::wire::decode_any;
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::{Monotonic, NodeName, PrivateName};

/// Two tables of one member, and what its peers send.
struct Victim {
    throttles: SharedThrottles,
    slots: Slots,
    names: Vec<PrivateName>,
    now: Monotonic,
    views: u64,
}

impl Victim {
    fn new() -> Option<Self> {
        let names: Option<Vec<PrivateName>> = ["a", "b", "c"]
            .iter()
            .map(|node| Some(PrivateName::shared(&node.parse::<NodeName>().ok()?, 1)))
            .collect();
        let names = names?;
        let own = names.first()?.clone();
        let options = ThrottleOptions { capacity: Some(4), ..ThrottleOptions::default() };
        Some(Self {
            throttles: SharedThrottles::new(&own, options),
            slots: Slots::new(&own, SlotOptions::default()),
            names,
            now: Monotonic::from_millis(1_000_000),
            views: 0,
        })
    }

    /// Members of a view; `back` did not come along.
    fn view(&mut self, members: &[usize], back: &[usize]) {
        self.views += 1;
        let names: Vec<PrivateName> = members.iter().filter_map(|of| self.names.get(*of)).cloned().collect();
        let present: Vec<Present<'_>> = names.iter().map(|name| Present { name, relay: true }).collect();
        let joined: Vec<PrivateName> = back.iter().filter_map(|of| self.names.get(*of)).cloned().collect();
        let departed: Vec<(PrivateName, Departure)> =
            self.names.iter().skip(1).map(|name| (name.clone(), Departure::Certain)).collect();
        let next = Configuration { id: self.views, members: &present, departed: &departed, joined: &joined };
        self.throttles.reconfigure(self.now, &next);
        self.slots.reconfigure(self.now, &next);
    }

    fn message(&mut self, from: usize, bytes: &[u8]) {
        let Some(from) = self.names.get(from).cloned() else { return };
        let _ = self.throttles.apply(self.now, &from, bytes);
        let _ = self.slots.apply(self.now, &from, bytes);
    }

    /// Everything that this member says comes back.
    fn turn(&mut self) {
        // A peer cannot make a member talk for ever.
        for _ in 0..64 {
            let messages =
                [self.throttles.drain_outbox(self.now, 4096), self.slots.drain_outbox(self.now, 4096)];
            let own = self.names.first().cloned();
            let (Some(own), [throttles, slots]) = (own, messages) else { return };
            if throttles.is_none() && slots.is_none() {
                return;
            }
            if let Some(bytes) = throttles {
                assert!(self.throttles.apply(self.now, &own, &bytes).is_ok(), "own messages are understood");
            }
            if let Some(bytes) = slots {
                assert!(self.slots.apply(self.now, &own, &bytes).is_ok(), "own messages are understood");
            }
        }
    }
}

/// Runs bytes as a row of steps: what happens, two bytes of length, that many bytes.
///
/// # Panics
/// When something is wrong.
pub fn fuzz(bytes: &[u8]) {
    let _ = decode_any(bytes);
    let Some(mut victim) = Victim::new() else { return };
    victim.view(&[0, 1, 2], &[1, 2]);
    let rate = crate::rate::Rate::new(3, 10);
    let path = Path::new([("domain:a", 3), ("global", 5)]).unwrap_or_default();
    let mut rest = bytes;
    while let [step, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (payload, next) = behind.split_at(length);
        rest = next;
        match step % 12 {
            0 => victim.message(1, payload),
            1 => victim.message(2, payload),
            2 | 3 => {
                // The same, as of now: nobody guesses an epoch.
                let mut bytes = payload.to_vec();
                let scope = victim.throttles.fleet.scope().to_be_bytes();
                if let Some(place) = bytes.get_mut(2..10) {
                    place.copy_from_slice(&scope);
                }
                victim.message(usize::from(step % 2) + 1, &bytes);
            }
            4 => victim.now = victim.now + Duration::from_millis(length as u64),
            5 => victim.view(&[0, 1], &[]),
            6 => victim.view(&[0, 1, 2], &[2]),
            7 => {
                if let Ok(rate) = rate
                    && let Ok(id) = victim.throttles.create(victim.now, "t", rate, Epsilon::default())
                {
                    let _ = victim.throttles.inc(victim.now, id);
                    let _ = victim.throttles.check(id);
                    let _ = victim.throttles.take(victim.now, &[id], 2);
                    let _ = victim.throttles.request(victim.now, &[id], 5);
                }
            }
            8 => {
                victim.slots.want(victim.now, &path, length as u64);
                while victim.slots.open(victim.now, &path) {}
            }
            9 => {
                let ends = victim.slots.at_boundary(victim.now, &path);
                if ends {
                    victim.slots.closed(victim.now, &path);
                }
            }
            10 => {
                victim.throttles.lost(victim.now);
                victim.slots.lost(victim.now);
            }
            _ => {
                let limit = Limit::of_option(
                    LimitKey { through: Through::Any, to: To::Domain("a".into()) },
                    3,
                    "option",
                    "scope",
                    false,
                );
                let limits = Limits::new(limit.into_iter().collect()).unwrap_or_default();
                let _ = decide(victim.now, &limits, Basis::Slots, &victim.slots, |_| Open::default());
            }
        }
        victim.throttles.heard(victim.now, victim.now);
        victim.slots.heard(victim.now, victim.now);
        victim.throttles.handle_timeout(victim.now);
        victim.slots.handle_timeout(victim.now);
        victim.turn();
        while victim.throttles.poll_granted().is_some() {}
        while victim.slots.poll_ready().is_some() {}
        while victim.throttles.poll_notice().is_some() || victim.slots.poll_notice().is_some() {}
        victim.throttles.assert_sound();
        victim.slots.pool().assert_sound();
        for row in victim.throttles.rows() {
            assert!(victim.throttles.why(victim.now, row.name).is_some());
        }
    }
    // Alone again, and time passes: nothing is left of the others.
    victim.view(&[0], &[]);
    for _ in 0..8 {
        while let Some(due) = victim.throttles.poll_deadline() {
            if due <= victim.now {
                break;
            }
            // Periods of peers may be years.
            victim.now = due;
            victim.throttles.handle_timeout(victim.now);
            victim.throttles.assert_sound();
            if victim.now.as_micros() > 1 << 60 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Body, Op, write};
    use proptest::prelude::*;

    fn step(step: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&[step][..], &length, payload].concat()
    }

    fn steps() -> impl Strategy<Value = Vec<u8>> {
        let name = prop_oneof![Just("t"), Just("u"), Just("v")];
        let op = (name, any::<u64>(), 0u64..20, 0u8..9).prop_map(|(name, large, small, kind)| {
            let units = if large % 5 == 0 { large } else { small };
            let rate = crate::rate::Rate::new(
                1 + u32::try_from(small).unwrap(),
                1 + u32::try_from(large % 20).unwrap(),
            );
            let op = match kind {
                0 => Op::Create { name, rate: rate.unwrap(), epsilon: Epsilon::default() },
                1 => Op::Rate { name, rate: rate.unwrap() },
                2 => Op::Claim { name, units, ahead: large % 7 },
                3 => Op::Give { name, units },
                4 => Op::Force { name, units },
                5 => Op::SlotClaim { path: vec!["domain:a", "global"], units },
                6 => Op::SlotGive { path: vec!["domain:a"], units },
                7 => Op::Limit { key: "domain:a", units },
                _ => Op::SlotAdopt { path: vec!["global"], units },
            };
            write(0, Monotonic::ZERO, &Body::Ops(vec![op]))
        });
        let hello = (any::<u64>(), any::<bool>())
            .prop_map(|(side, table)| write(0, Monotonic::ZERO, &Body::Hello { side, table }));
        let message = prop_oneof![4 => op, 1 => hello];
        let step = prop_oneof![
            6 => (2u8..4, message).prop_map(|(kind, bytes)| step(kind, &bytes)),
            3 => (0u8..12, proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(kind, bytes)| step(kind, &bytes)),
        ];
        proptest::collection::vec(step, 0..40).prop_map(|steps| steps.concat())
    }

    proptest! {
        #[test]
        fn peers_may_say_anything(bytes in steps()) {
            // Both peers are there at first, so that the table is live.
            let hello = |of: u8| {
                let bytes = write(0, Monotonic::ZERO, &Body::Hello { side: u64::from(of), table: true });
                step(of, &bytes)
            };
            fuzz(&[hello(2), hello(3), bytes].concat());
        }

        #[test]
        fn any_bytes_do_no_harm(bytes: Vec<u8>) {
            fuzz(&bytes);
        }
    }
}
