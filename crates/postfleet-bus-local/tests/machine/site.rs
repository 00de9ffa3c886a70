//! What the tests of the carrier have in hand: a rig, its members, patience.

use crate::rig::ProcessRig;
use postfleet_bus::suite::check::History;
use postfleet_bus::suite::{Burst, Command, MemberId, MemberSpec, Rig, Trace, What};
use postfleet_bus_local::Step;
use postfleet_types::{Monotonic, Random};
use std::collections::BTreeSet;
use std::time::Duration;

/// For anything that must happen, on a machine that may be slow.
pub const PATIENCE: Duration = Duration::from_secs(40);

pub struct Site {
    pub rig: ProcessRig,
    pub random: Random,
    pub members: Vec<MemberId>,
    killed: BTreeSet<MemberId>,
    next_number: u64,
}

impl Site {
    pub fn new(seed: u64) -> Self {
        Self {
            rig: ProcessRig::new(seed),
            random: Random::seeded(seed),
            members: Vec::new(),
            killed: BTreeSet::new(),
            next_number: 1,
        }
    }

    pub fn spec(&self) -> MemberSpec {
        let index = u32::try_from(self.members.len()).unwrap();
        let mut spec = MemberSpec::node(&format!("n{index}"), 100 + index, &["g"]);
        // These tests are about the carrier; a busy machine must not look like a hung member.
        spec.heartbeats_per_second = 1;
        spec.heartbeat_miss_limit = 30;
        spec
    }

    pub fn start(&mut self) -> MemberId {
        self.start_with(None, false)
    }

    pub fn start_with(&mut self, die: Option<(Step, u64)>, child: bool) -> MemberId {
        let spec = self.spec();
        let member = self.rig.start_with(&spec, die, child);
        self.members.push(member);
        member
    }

    /// Starts a member and waits until all are in one view with it.
    pub fn join(&mut self) -> MemberId {
        let member = self.start();
        self.wait_together();
        member
    }

    pub fn kill(&mut self, member: MemberId) -> Monotonic {
        self.killed.insert(member);
        let at = self.rig.now();
        self.rig.crash(member);
        at
    }

    /// A member that was told to die is waited for and counted among the killed.
    pub fn wait_dead(&mut self, member: MemberId) {
        self.wait_ended_or("it ends", member, |_| false);
        self.kill(member);
    }

    /// Waits until a member's process has ended, or something else holds.
    pub fn wait_ended_or(&mut self, what: &str, member: MemberId, holds: impl Fn(&Self) -> bool) {
        let until = self.rig.now() + PATIENCE;
        while !self.rig.has_ended(member) && !holds(self) {
            assert!(
                self.rig.now() < until,
                "{member:?}: after {PATIENCE:?} it is not so that {what}\n{}",
                self.summary()
            );
            self.rig.advance(Duration::from_millis(2));
        }
    }

    pub fn present(&self) -> Vec<MemberId> {
        self.members.iter().copied().filter(|member| !self.killed.contains(member)).collect()
    }

    pub fn trace(&self, member: MemberId) -> &Trace {
        self.rig.trace(member)
    }

    /// Everybody present sends for a long time.
    pub fn traffic(&mut self, interval: Duration) {
        for member in self.present() {
            let mut burst = Burst::to_group("g", self.next_number, 1_000_000);
            self.next_number += 1_000_000;
            burst.interval = interval;
            self.rig.command(member, Command::Send(burst));
        }
    }

    pub fn send(&mut self, member: MemberId, count: u64, bytes: usize) {
        let mut burst = Burst::to_group("g", self.next_number, count);
        self.next_number += count;
        burst.bytes = bytes;
        self.rig.command(member, Command::Send(burst));
    }

    pub fn quiet(&mut self) {
        for member in self.present() {
            self.rig.command(member, Command::Quiet);
        }
    }

    pub fn run(&mut self, time: Duration) {
        let until = self.rig.now() + time;
        while self.rig.now() < until {
            let rest = until.since(self.rig.now());
            self.rig.advance(rest);
        }
    }

    pub fn wait(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = self.rig.now() + PATIENCE;
        while !holds(self) {
            assert!(
                self.rig.now() < until,
                "after {PATIENCE:?} it is not so that {what}\n{}",
                self.summary()
            );
            self.rig.advance(Duration::from_millis(5));
        }
    }

    pub fn are_together(&self, members: &[MemberId]) -> bool {
        let mut ids = members.iter().map(|member| self.trace(*member).view().map(|(id, _)| id));
        let first = ids.next().flatten();
        first.is_some()
            && ids.all(|id| id == first)
            && members.iter().all(|member| self.trace(*member).view_size() == members.len())
    }

    pub fn wait_together(&mut self) {
        let present = self.present();
        self.wait("all present members are in one view", |site| site.are_together(&present));
    }

    /// When the last of the present members installed its present view.
    pub fn together_since(&self) -> Monotonic {
        self.together_since_of(&self.present())
    }

    pub fn together_since_of(&self, members: &[MemberId]) -> Monotonic {
        let view = |member: &MemberId| {
            let records = self.trace(*member).records().iter().rev();
            records.clone().find(|record| matches!(record.what, What::View { .. })).unwrap().at
        };
        members.iter().map(view).max().unwrap()
    }

    /// Ends all traffic, waits until everything is at rest, and checks every promise.
    pub fn check_at_rest(&mut self) {
        self.quiet();
        self.wait_together();
        let total = |site: &Self| -> usize {
            site.members.iter().map(|m| site.trace(*m).messages() + site.trace(*m).sent()).sum()
        };
        let until = self.rig.now() + PATIENCE;
        loop {
            let before = total(self);
            self.run(Duration::from_millis(400));
            if total(self) == before {
                break;
            }
            assert!(self.rig.now() < until, "no rest after {PATIENCE:?}\n{}", self.summary());
        }
        let traces = self.members.iter().map(|member| (*member, self.trace(*member)));
        if let Err(violation) = History::new(traces, &self.killed).check_at_rest() {
            panic!("{violation}\n{}", self.summary());
        }
    }

    fn summary(&self) -> String {
        let mut text = String::new();
        for member in &self.members {
            let trace = self.trace(*member);
            text += &format!(
                "{member:?}: {} messages, {} sent, view of {}, steps {:?}{}\n",
                trace.messages(),
                trace.sent(),
                trace.view_size(),
                self.rig.steps(*member),
                if self.killed.contains(member) { ", killed" } else { "" }
            );
            let others = trace.records().iter().rev().filter(|record| {
                !matches!(record.what, What::Message { .. } | What::Sent { .. } | What::GroupView { .. })
            });
            for record in others.take(8) {
                let line: String = format!("{:?}", record.what).chars().take(200).collect();
                text += &format!("    {:>10} us {line}\n", record.at.as_micros());
            }
        }
        text
    }
}
