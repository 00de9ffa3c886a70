//! Views come into force: by an INSTALL, or at once when members have left.

use super::Membership;
use super::view::{Installed, View};
use crate::carrier::{RawId, RawReason};
use crate::envelope::Install;
use crate::event::{BusEvent, GroupCause, LeaveReason, LostReason, Member};
use crate::notice::Severity;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use postfleet_types::{Epoch, GroupName, Monotonic, PrivateName, ViewId};

/// Attachments of departed members that are remembered.
const DEPARTED_MAX: usize = 64;

impl Membership {
    /// The attachment of a member that departed not long ago.
    pub(crate) fn departed(&self, name: &PrivateName) -> Option<RawId> {
        self.departed.iter().find(|(departed, _)| departed == name).map(|(_, raw)| *raw)
    }

    /// The set of attachments changed.
    pub(super) fn raw_change(
        &mut self,
        now: Monotonic,
        members: &[RawId],
        left: &[(RawId, RawReason)],
        joined: &[RawId],
    ) {
        self.raw = members.iter().copied().collect();
        if !self.raw.contains(&self.own) {
            return self.end(LostReason::Expelled);
        }
        self.attached = true;
        for raw in left.iter().map(|(raw, _)| raw).chain(joined).filter(|raw| **raw != self.own) {
            self.numbering.forget(*raw);
        }
        self.admission.forget_silence(joined);
        // Somebody who left and came back in one event is not the one we knew.
        let gone: BTreeMap<RawId, LeaveReason> = self
            .view
            .iter()
            .flat_map(|view| view.members.keys())
            .filter(|raw| **raw != self.own)
            .filter(|raw| {
                !self.raw.contains(raw)
                    || joined.contains(raw)
                    || left.iter().any(|(leaver, _)| leaver == *raw)
            })
            .map(|raw| (*raw, self.reason_of(*raw, left)))
            .collect();
        if !gone.is_empty() {
            self.install_without(now, &gone);
        }
        self.restart_admission(now);
    }

    fn reason_of(&self, raw: RawId, left: &[(RawId, RawReason)]) -> LeaveReason {
        let bye = self.view.as_ref().and_then(|view| view.member(raw)).is_some_and(|member| member.bye);
        match left.iter().find(|(leaver, _)| *leaver == raw) {
            _ if bye => LeaveReason::Left,
            Some((_, RawReason::ProcessDown)) => LeaveReason::ProcessDown,
            // Whoever detaches without a word was cut off, or gave up a connection that went wrong: it lives on.
            Some((_, RawReason::Left | RawReason::NodeDown)) | None => LeaveReason::NodeDown,
        }
    }

    /// A departure needs no message: everybody who saw it computes the same view.
    fn install_without(&mut self, now: Monotonic, gone: &BTreeMap<RawId, LeaveReason>) {
        let Some(old) = self.view.take() else { return };
        let leavers: Vec<(RawId, Epoch)> =
            gone.keys().filter_map(|raw| old.member(*raw).map(|i| (*raw, i.member.epoch))).collect();
        let id = old.id_without(&leavers);
        let members = old
            .members
            .iter()
            .filter(|(raw, _)| !gone.contains_key(raw))
            .map(|(raw, i)| (*raw, Installed { member: i.member.clone(), bye: i.bye }))
            .collect();
        self.counters.views_departure += 1;
        self.install(now, Some(&old), View::new(id, members), gone);
    }

    pub(super) fn on_install(&mut self, now: Monotonic, from: RawId, install: &Install) {
        let current = self.admission.round.as_ref().filter(|r| r.nonce == install.nonce && r.sender == from);
        let Some(round) = current else {
            self.counters.installs_ignored += 1;
            return;
        };
        let mut members = BTreeMap::new();
        for admitted in &install.admitted {
            // Everybody in the round has the same HELLOs; an INSTALL that names another member is broken.
            let hello = round.hellos.get(&admitted.raw).filter(|(epoch, _)| *epoch == admitted.epoch);
            let Some((epoch, hello)) = hello else {
                self.counters.installs_ignored += 1;
                let text =
                    format!("malformed cluster response: INSTALL names {} without its HELLO", admitted.raw);
                self.notices.push(Severity::Error, text);
                return;
            };
            let bye = self
                .view
                .as_ref()
                .and_then(|view| view.member(admitted.raw))
                .is_some_and(|old| old.member.epoch == *epoch && old.bye);
            let member = Member {
                info: hello.info.clone(),
                epoch: *epoch,
                age: admitted.age,
                groups: hello.groups.clone(),
            };
            members.insert(admitted.raw, Installed { member, bye });
        }
        let reasons: BTreeMap<RawId, LeaveReason> = install.others.iter().copied().collect();
        if members.get(&self.own).is_none_or(|own| own.member.epoch != self.epoch) {
            let reason = reasons.get(&self.own).copied().unwrap_or(LeaveReason::Silent);
            self.expelled(reason, install);
            return;
        }
        self.announce_refusals(install);
        let silent = |(raw, reason): &(RawId, LeaveReason)| (*reason == LeaveReason::Silent).then_some(*raw);
        self.admission.were_silent(install.others.iter().filter_map(silent));
        let old = self.view.take();
        let id = ViewId { counter: install.counter, tag: install.nonce };
        self.end_round();
        self.install(now, old.as_ref(), View::new(id, members), &reasons);
    }

    fn expelled(&mut self, reason: LeaveReason, install: &Install) {
        self.expulsion = Some(reason);
        if reason == LeaveReason::Refused {
            self.announce_own_refusal(install);
        }
        self.end(LostReason::Expelled);
    }

    fn install(
        &mut self,
        now: Monotonic,
        old: Option<&View>,
        new: View,
        reasons: &BTreeMap<RawId, LeaveReason>,
    ) {
        let was_in = |raw: RawId, epoch: Epoch| old.is_some_and(|view| view.has(raw, epoch));
        let mut joined = Vec::new();
        let mut transitional = Vec::new();
        for (raw, installed) in new.in_order() {
            let name = installed.member.info.private_name.clone();
            if was_in(raw, installed.member.epoch) {
                transitional.push(name);
            } else {
                joined.push(name);
            }
        }
        let left: Vec<(PrivateName, LeaveReason)> = old
            .iter()
            .flat_map(|view| view.in_order())
            .filter(|(raw, installed)| !new.has(*raw, installed.member.epoch))
            .map(|(raw, installed)| {
                let reason = reasons.get(&raw).copied().unwrap_or(LeaveReason::Silent);
                (installed.member.info.private_name.clone(), reason)
            })
            .collect();
        self.departed = old
            .iter()
            .flat_map(|view| view.in_order())
            .filter(|(raw, installed)| !new.has(*raw, installed.member.epoch))
            .map(|(raw, installed)| (installed.member.info.private_name.clone(), raw))
            .chain(core::mem::take(&mut self.departed))
            .take(DEPARTED_MAX)
            .collect();
        for (name, reason) in &left {
            if *reason == LeaveReason::Heartbeat {
                self.counters.expelled += 1;
                let node = name.node();
                let text = format!("Node {node} does not answer heartbeats; removed from the cluster view");
                self.notices.push(Severity::Error, text);
            }
        }
        let text = format!("Cluster view {} of {} members", new.id, new.members.len());
        self.notices.push(Severity::Info, text);
        let changed_groups = changed_groups(old, &new);
        let event = BusEvent::View { id: new.id, members: new.snapshot(), joined, left, transitional };
        self.heartbeats.installed(now, &new);
        self.counters.views += 1;
        self.view = Some(new);
        self.inbox.push(event);
        for group in changed_groups {
            let members = self.view.as_ref().map(|view| view.group(&group)).unwrap_or_default();
            self.inbox.push(BusEvent::GroupView { group, members, cause: GroupCause::View });
        }
        self.check_addresses();
    }
}

fn changed_groups(old: Option<&View>, new: &View) -> Vec<GroupName> {
    let before = old.map(View::groups).unwrap_or_default();
    let after = new.groups();
    let names: BTreeSet<&GroupName> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}
