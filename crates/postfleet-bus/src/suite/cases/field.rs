//! What cases have in hand: a rig, its members, patience.

use crate::suite::check::History;
use crate::suite::{Burst, Command, Fault, MemberId, MemberSpec, Rig, Trace, What};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::{PrivateName, Random};

/// Longer than anything takes that is to happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(15);

pub(crate) struct Field<'r> {
    pub(crate) rig: &'r mut dyn Rig,
    pub(crate) random: Random,
    pub(crate) members: Vec<MemberId>,
    pub(crate) specs: Vec<MemberSpec>,
    killed: BTreeSet<MemberId>,
    /// Members that are not expected to be connected: left, stopped for good, refused.
    away: BTreeSet<MemberId>,
    next_process: u32,
}

impl<'r> Field<'r> {
    pub(crate) fn new(rig: &'r mut dyn Rig, seed: u64) -> Self {
        Self {
            rig,
            random: Random::seeded(seed ^ 0xca5e),
            members: Vec::new(),
            specs: Vec::new(),
            killed: BTreeSet::new(),
            away: BTreeSet::new(),
            next_process: 100,
        }
    }

    /// A number of the random schedule.
    pub(crate) fn pick(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.below(u64::try_from(bound).unwrap_or(1))).unwrap_or(0)
    }

    pub(crate) fn pick_millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.random.below(most + 1))
    }

    pub(crate) fn spec(&mut self, node: &str, groups: &[&str]) -> MemberSpec {
        self.next_process += 1;
        MemberSpec::node(node, self.next_process, groups)
    }

    /// Starts a node and does not wait.
    pub(crate) fn start(&mut self, node: &str, groups: &[&str]) -> MemberId {
        let spec = self.spec(node, groups);
        self.start_spec(&spec)
    }

    pub(crate) fn start_spec(&mut self, spec: &MemberSpec) -> MemberId {
        let member = self.rig.start(spec);
        self.members.push(member);
        self.specs.push(spec.clone());
        member
    }

    /// Starts a node and waits until everybody is in one view with it.
    pub(crate) fn join(&mut self, node: &str, groups: &[&str]) -> MemberId {
        let member = self.start(node, groups);
        self.wait_together();
        member
    }

    pub(crate) fn name(&self, member: MemberId) -> PrivateName {
        let at = self.members.iter().position(|other| *other == member).expect("a member of this field");
        self.specs.get(at).expect("each member has a spec").private_name()
    }

    pub(crate) fn trace(&self, member: MemberId) -> &Trace {
        self.rig.trace(member)
    }

    pub(crate) fn crash(&mut self, member: MemberId) {
        self.killed.insert(member);
        self.rig.crash(member);
    }

    pub(crate) fn set_away(&mut self, member: MemberId, away: bool) {
        if away {
            self.away.insert(member);
        } else {
            self.away.remove(&member);
        }
    }

    /// Members that should be connected.
    pub(crate) fn present(&self) -> Vec<MemberId> {
        let gone = |member: &&MemberId| !self.killed.contains(*member) && !self.away.contains(*member);
        self.members.iter().filter(gone).copied().collect()
    }

    pub(crate) fn command(&mut self, member: MemberId, command: Command) {
        self.rig.command(member, command);
    }

    pub(crate) fn send(&mut self, member: MemberId, burst: Burst) {
        self.rig.command(member, Command::Send(burst));
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.rig.fault(fault);
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.rig.now() + time;
        while self.rig.now() < until {
            let rest = until.since(self.rig.now());
            self.rig.advance(rest);
        }
    }

    /// Lets things happen until something holds.
    ///
    /// # Panics
    /// When it does not hold in time.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, limit: Duration, holds: impl Fn(&Self) -> bool) {
        let limit = limit.saturating_mul(self.rig.patience());
        let until = self.rig.now() + limit;
        while !holds(self) {
            assert!(self.rig.now() < until, "after {limit:?} it is not so that {what}\n{}", self.summary());
            self.rig.advance(Duration::from_millis(5));
        }
    }

    /// Waits until all present members are in one view of just them.
    #[track_caller]
    pub(crate) fn wait_together(&mut self) {
        self.wait_together_within(SOON);
    }

    #[track_caller]
    pub(crate) fn wait_together_within(&mut self, limit: Duration) {
        let present = self.present();
        let what = format!("the {} present members are in one view", present.len());
        self.wait(&what, limit, |field| field.are_together(&present));
    }

    /// Whether these members are in one view and nobody else is.
    pub(crate) fn are_together(&self, members: &[MemberId]) -> bool {
        let mut ids = members.iter().map(|member| self.trace(*member).view().map(|(id, _)| id));
        let first = ids.next().flatten();
        first.is_some()
            && ids.all(|id| id == first)
            && members.iter().all(|member| self.trace(*member).view_size() == members.len())
    }

    #[track_caller]
    pub(crate) fn wait_messages(&mut self, member: MemberId, count: usize) {
        let limit = Duration::from_secs(120);
        self.wait(&format!("{member:?} has {count} messages"), limit, |f| {
            f.trace(member).messages() >= count
        });
    }

    fn history(&self) -> History<'_> {
        History::new(self.members.iter().map(|member| (*member, self.trace(*member))), &self.killed)
    }

    /// Checks the promises that hold at any moment.
    #[track_caller]
    pub(crate) fn check(&self) {
        if let Err(violation) = self.history().check() {
            panic!("{violation}\n{}", self.summary());
        }
    }

    /// Waits until everything has come to rest, and checks all promises.
    #[track_caller]
    pub(crate) fn check_at_rest(&mut self) {
        // Who stood still may have much to send now; on a busy machine it may also be slow to.
        let mut quiet = 0;
        for _ in 0..120 {
            let before = self.activity();
            self.run(Duration::from_millis(500));
            quiet = if self.activity() == before { quiet + 1 } else { 0 };
            if quiet == 3 {
                break;
            }
        }
        if let Err(violation) = self.history().check_at_rest() {
            panic!("{violation}\n{}", self.summary());
        }
    }

    /// Messages sent and delivered so far.
    fn activity(&self) -> usize {
        let of = |member: &MemberId| self.trace(*member).sent() + self.trace(*member).messages();
        self.members.iter().map(of).sum()
    }

    /// The end of every trace, for failures.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        for (member, spec) in self.members.iter().zip(&self.specs) {
            let trace = self.trace(*member);
            text += &format!(
                "{} ({}): {} messages, view {:?}{}\n",
                spec.node,
                spec.process,
                trace.messages(),
                trace.view().map(|(id, members)| (id.to_string(), members.len())),
                if self.killed.contains(member) { ", killed" } else { "" }
            );
            let interesting = trace.records().iter().rev().filter(|record| match record.what {
                What::Message { .. } | What::Sent { .. } => false,
                What::Connecting { .. }
                | What::View { .. }
                | What::GroupView { .. }
                | What::NotSent { .. }
                | What::SendReady
                | What::Lost { .. }
                | What::Notice { .. }
                | What::Figures { .. } => true,
            });
            let last: Vec<_> = interesting.take(12).collect();
            for record in last.into_iter().rev() {
                let line: String = format!("{:?}", record.what).chars().take(240).collect();
                text += &format!("    {:>10} us {line}\n", record.at.as_micros());
            }
        }
        text
    }
}
