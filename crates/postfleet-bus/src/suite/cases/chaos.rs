//! Random schedules: T16, T26, T37, T38.

use super::Field;
use crate::suite::{Burst, Capability, Command, Fault, MemberId};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

const GROUPS: [&str; 3] = ["g", "h", "i"];

/// What a random schedule has done and must undo.
#[derive(Default)]
struct Chaos {
    next_number: BTreeMap<MemberId, u64>,
    stopped: Vec<MemberId>,
    engines_stopped: Vec<MemberId>,
    started: usize,
    rate: Duration,
}

impl Chaos {
    fn begin(field: &mut Field<'_>, members: usize, rate: Duration) -> Self {
        let mut chaos = Self { rate, ..Self::default() };
        for _ in 0..members {
            chaos.start(field);
        }
        chaos
    }

    fn start(&mut self, field: &mut Field<'_>) {
        self.started += 1;
        let extra = GROUPS[field.pick(3)];
        let groups: Vec<&str> = if extra == "g" { vec!["g"] } else { vec!["g", extra] };
        field.start(&format!("n{}", self.started), &groups);
    }

    fn send(&mut self, field: &mut Field<'_>, member: MemberId, count: u64, bound: bool) {
        let next = self.next_number.entry(member).or_insert(1);
        let mut burst = Burst::to_group(GROUPS[field.pick(3)], *next, count);
        *next += count;
        burst.interval = self.rate;
        if bound {
            burst.options.only_in = field.trace(member).view().map(|(id, _)| id);
        }
        field.send(member, burst);
    }

    /// Somebody who runs; never the only one.
    fn somebody(&self, field: &mut Field<'_>) -> Option<MemberId> {
        let running: Vec<MemberId> =
            field.present().into_iter().filter(|member| !self.stopped.contains(member)).collect();
        if running.len() < 2 {
            return None;
        }
        let at = field.pick(running.len());
        running.get(at).copied()
    }

    fn one_thing(&mut self, field: &mut Field<'_>, sends_bound: bool) {
        let Some(member) = self.somebody(field) else {
            self.start(field);
            return;
        };
        match field.pick(20) {
            0 | 1 if field.present().len() < 7 => self.start(field),
            2 => field.crash(member),
            3 if field.rig.can(Capability::Stop) => {
                field.rig.stop(member);
                self.stopped.push(member);
            }
            4 | 5 => {
                if let Some(member) = self.stopped.pop() {
                    field.rig.resume(member);
                }
            }
            6 if field.rig.can(Capability::Cut) => {
                let mut sets = vec![Vec::new(), Vec::new()];
                for member in field.members.clone() {
                    let side = field.pick(2);
                    sets[side].push(member);
                }
                field.fault(Fault::Cut(sets));
            }
            7 | 8 if field.rig.can(Capability::Cut) => field.fault(Fault::Heal),
            9 if field.rig.can(Capability::EngineStop) && self.engines_stopped.is_empty() => {
                field.fault(Fault::EngineStop(member));
                self.engines_stopped.push(member);
            }
            10 => {
                if let Some(member) = self.engines_stopped.pop() {
                    field.fault(Fault::EngineResume(member));
                }
            }
            11 => field.command(member, Command::Reset),
            12 => field.command(member, Command::Join("h".parse().unwrap())),
            13 => field.command(member, Command::Leave("i".parse().unwrap())),
            _ => {
                let count = field.random.below(30) + 1;
                let bound = sends_bound && field.pick(2) == 0;
                self.send(field, member, count, bound);
            }
        }
    }

    /// Ends all faults and waits until everybody is together.
    fn heal(&mut self, field: &mut Field<'_>) {
        for member in self.engines_stopped.drain(..) {
            field.fault(Fault::EngineResume(member));
        }
        if field.rig.can(Capability::Cut) {
            field.fault(Fault::Heal);
        }
        for member in self.stopped.drain(..) {
            field.rig.resume(member);
        }
        // A split that was healed before anybody noticed it is still noticed.
        field.run(field.rig.bound() + Duration::from_secs(1));
        field.wait_together_within(Duration::from_secs(60));
    }
}

fn schedule(field: &mut Field<'_>, steps: usize, sends_bound: bool) {
    let members = 2 + field.pick(4);
    let mut chaos = Chaos::begin(field, members, Duration::from_micros(300));
    let pause = field.pick_millis(50);
    field.run(pause);
    for _ in 0..steps {
        chaos.one_thing(field, sends_bound);
        let pause = match field.pick(10) {
            0 => field.pick_millis(4000),
            1..=4 => field.pick_millis(200),
            _ => field.pick_millis(12),
        };
        field.run(pause);
    }
    field.check();
    chaos.heal(field);
    field.check_at_rest();
}

pub(super) fn same_view(field: &mut Field<'_>) {
    schedule(field, 40, false);
}

pub(super) fn view_bound(field: &mut Field<'_>) {
    schedule(field, 25, true);
}

pub(super) fn flood_of_views(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    let b = field.join("b", &["g"]);
    let c = field.join("c", &["g"]);
    let d = field.join("d", &["g"]);
    // A minute, as the specification has it, is for those who have time.
    let seconds = if super::number("POSTFLEET_SOAK").is_some() { 60 } else { 10 };
    for member in [a, b] {
        let mut burst = Burst::to_group("g", 1, seconds * 100);
        burst.interval = Duration::from_millis(10);
        field.send(member, burst);
    }
    // Every other turn one of two members leaves and joins: fifty changes a second.
    for turn in 0..seconds * 25 {
        field.command(if turn % 2 == 0 { c } else { d }, Command::Reset);
        field.run(Duration::from_millis(40));
    }
    field.wait_together_within(Duration::from_secs(5));
    let total = usize::try_from(seconds * 200).unwrap();
    field.wait_messages(a, total);
    field.wait_messages(b, total);
    field.check_at_rest();
}

pub(super) fn soak(field: &mut Field<'_>) {
    let mut chaos = Chaos::begin(field, 5, Duration::from_millis(2));
    field.run(Duration::from_millis(500));
    for _ in 0..30 {
        for member in field.present() {
            chaos.send(field, member, 100, false);
        }
        chaos.one_thing(field, false);
        let pause = Duration::from_millis(1500) + field.pick_millis(1000);
        field.run(pause);
    }
    chaos.heal(field);
    field.check_at_rest();
}
