//! Rounds: how attachments become members. Bus documentation, "Admission".
//!
//! A raw event that leaves attachments without membership needs a round. The lowest attachment sends ROUND,
//! everybody answers HELLO, the sender of the ROUND decides and sends INSTALL. All of these have one order, so
//! all members of a component take the same step at the same place. Nonces keep answers to an earlier round out.
//!
//! From its HELLO to the INSTALL a member sends no data. So no message of a member lies between the last HELLO and the
//! INSTALL, where whoever is cut off just then has a hole: it would deliver its own messages in the old view while
//! others deliver them in the new. A round that somebody is silent in is therefore given up soon, followed by one that
//! only waits, and that by one that decides without waiting for the silent.

use super::Membership;
use super::queue::Control;
use crate::carrier::RawId;
use crate::envelope::{Admitted, Hello, Install, Round};
use crate::event::{LeaveReason, MemberInfo};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::{Epoch, Monotonic, NodeType};

/// How long a round that only waits does so for attachments that are not members.
pub(super) const NEW_PATIENCE: Duration = Duration::from_millis(1500);
/// How long a round that decides waits for anybody; members hold back their data meanwhile.
pub(super) const DECISION_PATIENCE: Duration = Duration::from_millis(500);
/// From one attachment's turn to send a ROUND to the next one's.
const TURN: Duration = Duration::from_secs(1);
/// From the end of a round's patience until others take over.
const OVERDUE: Duration = Duration::from_secs(2);

/// The round that is under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) nonce: u64,
    pub(super) sender: RawId,
    decides: bool,
    pub(super) excluded: Vec<Epoch>,
    pub(super) started: Monotonic,
    pub(super) hellos: BTreeMap<RawId, (Epoch, Hello)>,
    /// When the last HELLO that was waited for came.
    complete: Option<Monotonic>,
    /// Its sender has said what comes of it.
    over: bool,
}

impl Running {
    const fn least_patience(&self) -> Duration {
        if self.decides { DECISION_PATIENCE } else { NEW_PATIENCE }
    }
}

#[derive(Debug, Default)]
pub(super) struct Admission {
    /// The raw event that made a round necessary; none since an INSTALL.
    needed_since: Option<Monotonic>,
    /// A ROUND of ours waits or is under way.
    asked: bool,
    pub(super) round: Option<Running>,
    /// Attachments whose envelope cannot be read.
    pub(super) unreadable: BTreeSet<RawId>,
    /// Attachments that said nothing in a round that has ended. When they wake up they meet their expulsion and
    /// leave, so until they come anew nobody waits for them: ghosts, and processes that hang.
    silent: BTreeSet<RawId>,
}

impl Admission {
    pub(super) fn nonce(&self) -> Option<u64> {
        self.round.as_ref().map(|round| round.nonce)
    }

    pub(super) fn excludes(&self, epochs: &[Epoch]) -> bool {
        self.round.as_ref().is_some_and(|round| epochs.iter().all(|epoch| round.excluded.contains(epoch)))
    }

    pub(super) const fn is_asking(&self) -> bool {
        self.asked
    }

    /// Whether data must wait for the end of the round.
    pub(super) fn holds_data(&self) -> bool {
        self.round.as_ref().is_some_and(|round| round.decides)
    }

    /// A message of this attachment has come.
    pub(super) fn has_spoken(&mut self, raw: RawId) {
        self.silent.remove(&raw);
    }

    /// A round has ended without a word of these.
    pub(super) fn were_silent(&mut self, raws: impl Iterator<Item = RawId>) {
        self.silent.extend(raws);
    }

    /// These have come, or come anew.
    pub(super) fn forget_silence(&mut self, joined: &[RawId]) {
        self.silent.retain(|raw| !joined.contains(raw));
    }
}

impl Membership {
    /// A raw event ends any round, and may need one.
    pub(super) fn restart_admission(&mut self, now: Monotonic) {
        self.forget_round();
        self.admission.unreadable.retain(|raw| self.raw.contains(raw));
        self.admission.silent.retain(|raw| self.raw.contains(raw));
        let is_member = |raw: &RawId| self.view.as_ref().is_some_and(|view| view.members.contains_key(raw));
        let all_settled = self.raw.iter().all(|raw| is_member(raw) || self.admission.silent.contains(raw));
        self.admission.needed_since = (!all_settled).then_some(now);
    }

    fn forget_round(&mut self) {
        self.admission.round = None;
        self.admission.asked = false;
        self.queue.cancel(|control| match control {
            Control::Round(_) | Control::Hello | Control::Install(_) => true,
            Control::Heartbeat(_) => false,
        });
    }

    pub(super) fn end_round(&mut self) {
        self.forget_round();
        self.admission.needed_since = None;
    }

    /// Asks for a round that excludes these epochs.
    pub(super) fn ask_round(&mut self, excluded: Vec<Epoch>) {
        self.ask_round_that(true, excluded);
    }

    fn ask_round_that(&mut self, decides: bool, excluded: Vec<Epoch>) {
        let nonce = self.random.next_u64();
        self.queue.cancel(|control| matches!(control, Control::Round(_)));
        self.queue.control.push_back(Control::Round(Round { nonce, decides, excluded }));
        self.admission.asked = true;
        self.counters.rounds_sent += 1;
    }

    pub(super) fn on_round(&mut self, now: Monotonic, from: RawId, round: Round) {
        if from == self.own {
            self.admission.asked = false;
        } else if self.queue.control.iter().any(|control| matches!(control, Control::Round(_))) {
            // Ours has not been sent yet, and is not needed any more.
            self.queue.cancel(|control| matches!(control, Control::Round(_)));
            self.admission.asked = false;
        }
        self.queue.cancel(|control| match control {
            Control::Hello | Control::Install(_) => true,
            Control::Round(_) | Control::Heartbeat(_) => false,
        });
        self.admission.round = Some(Running {
            nonce: round.nonce,
            sender: from,
            decides: round.decides,
            excluded: round.excluded,
            started: now,
            hellos: BTreeMap::new(),
            complete: None,
            over: false,
        });
        self.queue.control.push_back(Control::Hello);
    }

    pub(super) fn on_hello(&mut self, from: RawId, epoch: Epoch, hello: Hello) {
        let Some(round) = &mut self.admission.round else { return };
        if hello.nonce == round.nonce && !round.excluded.contains(&epoch) {
            round.hellos.insert(from, (epoch, hello));
        }
    }

    /// Does what is due: sends a ROUND when it is our turn, an INSTALL when our round is ready.
    pub(super) fn admission_step(&mut self, now: Monotonic) {
        if self.has_ended() {
            return;
        }
        if self.admission.round.is_some() {
            self.round_step(now);
        } else if let Some(due) = self.round_due()
            && now >= due
        {
            self.ask_round(Vec::new());
        }
    }

    fn round_step(&mut self, now: Monotonic) {
        let missing = self.missing();
        let Some(round) = &mut self.admission.round else { return };
        if missing.is_empty() && round.complete.is_none() {
            round.complete = Some(now);
        }
        let has_ended = missing.values().all(|patience| now >= round.started + *patience);
        if round.sender == self.own && !round.over && has_ended && round.hellos.contains_key(&self.own) {
            round.over = true;
            let excluded = round.excluded.clone();
            match (round.decides, missing.is_empty()) {
                (true, true) => {
                    let install = self.decide();
                    self.queue.control.extend(install.map(Control::Install));
                }
                (true, false) => self.ask_round_that(false, excluded),
                (false, _) => {
                    self.admission.were_silent(missing.into_keys());
                    self.ask_round_that(true, excluded);
                }
            }
        } else if let Some(due) = self.round_due()
            && now >= due
        {
            self.ask_round(Vec::new());
        }
    }

    /// When it is our turn to send a ROUND, if there is one to send.
    fn round_due(&self) -> Option<Monotonic> {
        if self.admission.asked || !self.attached {
            return None;
        }
        match &self.admission.round {
            None => Some(self.admission.needed_since? + TURN.saturating_mul(self.rank(None))),
            Some(round) => {
                let end = round.complete.unwrap_or_else(|| {
                    let patience = self.missing().into_values().max().unwrap_or_default();
                    round.started + patience.max(round.least_patience())
                });
                let rank = self.rank((round.sender != self.own).then_some(round.sender));
                Some(end + OVERDUE + TURN.saturating_mul(rank))
            }
        }
    }

    /// How many attachments come before us, of those that can be expected to do something.
    fn rank(&self, without: Option<RawId>) -> u32 {
        let counts = |raw: &&RawId| Some(**raw) != without && !self.admission.silent.contains(raw);
        let lower = self.raw.range(..self.own).filter(counts).count();
        u32::try_from(lower).unwrap_or(u32::MAX)
    }

    /// Whom the round still waits for, and for how long after its start.
    fn missing(&self) -> BTreeMap<RawId, Duration> {
        let Some(round) = &self.admission.round else { return BTreeMap::new() };
        let mut missing = BTreeMap::new();
        for raw in &self.raw {
            let installed = self.view.as_ref().and_then(|view| view.member(*raw));
            let settled = round.hellos.contains_key(raw)
                || installed.is_some_and(|installed| round.excluded.contains(&installed.member.epoch))
                || self.admission.unreadable.contains(raw)
                || self.admission.silent.contains(raw)
                || self.numbering.is_gapped(*raw);
            if !settled {
                let patience = match installed {
                    _ if round.decides => DECISION_PATIENCE,
                    Some(installed) => heartbeat_limit(&installed.member.info),
                    None => NEW_PATIENCE,
                };
                missing.insert(*raw, patience);
            }
        }
        missing
    }

    pub(super) fn admission_deadline(&self) -> Option<Monotonic> {
        let due = self.round_due();
        let Some(round) = &self.admission.round else { return due };
        if round.sender == self.own && !round.over && round.hellos.contains_key(&self.own) {
            let patience = self.missing().into_values().max().unwrap_or_default();
            return due.into_iter().chain([round.started + patience]).min();
        }
        due
    }

    /// The content of INSTALL: whom the HELLOs admit.
    fn decide(&self) -> Option<Install> {
        let round = self.admission.round.as_ref()?;
        let counter = round.hellos.values().map(|(_, hello)| hello.counter).max()?.saturating_add(1);
        // The older first: who was installed before, by age, then who was not; the lower attachment between equals.
        let mut candidates: Vec<(RawId, Epoch, &Hello)> =
            round.hellos.iter().map(|(raw, (epoch, hello))| (*raw, *epoch, hello)).collect();
        candidates.sort_by_key(|(raw, _, hello)| (hello.age == 0, hello.age, *raw));
        let mut protocol = (0, u16::MAX);
        let mut accepted: Vec<&MemberInfo> = Vec::new();
        let mut admitted = Vec::new();
        let mut others = Vec::new();
        for (raw, epoch, hello) in candidates {
            let (low, high) = hello.info.protocol;
            let shared = (protocol.0.max(low), protocol.1.min(high));
            let taken = accepted.iter().any(|info| is_same_name(info, &hello.info));
            if taken || shared.0 > shared.1 {
                others.push((raw, LeaveReason::Refused));
                continue;
            }
            protocol = shared;
            accepted.push(&hello.info);
            admitted.push(Admitted { raw, epoch, age: if hello.age == 0 { counter } else { hello.age } });
        }
        for raw in self.raw.iter().filter(|raw| !round.hellos.contains_key(raw)) {
            let installed = self.view.as_ref().and_then(|view| view.member(*raw));
            let reason = if self.admission.unreadable.contains(raw) {
                LeaveReason::Refused
            } else if installed.is_some_and(|i| round.excluded.contains(&i.member.epoch)) {
                LeaveReason::Heartbeat
            } else {
                LeaveReason::Silent
            };
            others.push((*raw, reason));
        }
        Some(Install { nonce: round.nonce, counter, protocol: protocol.1, admitted, others })
    }
}

/// Two connections that may not both be members.
pub(super) fn is_same_name(a: &MemberInfo, b: &MemberInfo) -> bool {
    let both_nodes = a.node_type == NodeType::Node && b.node_type == NodeType::Node;
    a.private_name == b.private_name || both_nodes && a.node_name == b.node_name
}

/// How long a member may be silent, by its own announcement.
pub(super) fn heartbeat_limit(info: &MemberInfo) -> Duration {
    let millis = u64::from(info.heartbeat_miss_limit) * 1000 / u64::from(info.heartbeats_per_second.max(1));
    Duration::from_millis(millis)
}
