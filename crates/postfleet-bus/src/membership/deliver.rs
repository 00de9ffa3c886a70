//! One delivered message: checked, numbered, taken or dropped.

use super::Membership;
use super::numbering::{Arrival, OwnArrival};
use crate::carrier::RawId;
use crate::envelope::{Body, EnvelopeError, Header};
use crate::event::{BusEvent, Destination, GroupCause, LostReason, SendId};
use crate::notice::Severity;
use alloc::format;
use alloc::string::{String, ToString};
use bytes::Bytes;
use postfleet_types::{GroupName, Monotonic, NodeType, PrivateName};

impl Membership {
    pub(super) fn deliver(&mut self, now: Monotonic, from: RawId, message: &Bytes) {
        if !self.raw.contains(&from) {
            // The carrier delivers only while the sender is in its last change.
            self.counters.dropped_sender += 1;
            return;
        }
        self.admission.has_spoken(from);
        let (header, at) = match Header::decode(message) {
            Ok(read) => read,
            Err(error) => return self.unreadable(from, error),
        };
        let mut send = None;
        if from == self.own {
            if header.epoch != self.epoch {
                self.counters.dropped_sender += 1;
                return;
            }
            match self.numbering.own(now, header.sequence) {
                OwnArrival::InOrder(took, id) => {
                    self.counters.own_delivered(took);
                    send = id;
                }
                OwnArrival::Gap => return self.end(LostReason::OwnGap),
            }
        } else {
            match self.numbering.other(from, header.epoch, header.sequence) {
                Arrival::InOrder => {}
                Arrival::Dropped => {
                    self.counters.dropped_sender += 1;
                    return;
                }
                Arrival::Gap { missing } => return self.gap(from, missing),
            }
        }
        let body = match Body::decode(&header, message, at) {
            Ok(body) => body,
            Err(error) => return self.not_understood(from, &header, error),
        };
        self.take(now, from, header, body, send);
    }

    fn take(&mut self, now: Monotonic, from: RawId, header: Header, body: Body, send: Option<SendId>) {
        let installed = self.view.as_ref().is_some_and(|view| view.has(from, header.epoch));
        if installed {
            self.last_delivery = Some(now);
        }
        match body {
            Body::Round(round) => self.on_round(now, from, round),
            Body::Install(install) => self.on_install(now, from, &install),
            // An answer to an earlier round says nothing to those who came after it.
            Body::Hello(hello) if self.admission.nonce() != Some(hello.nonce) => {}
            Body::Hello(hello) => {
                if from == self.own || self.numbering.complete_since(from, hello.delivered) {
                    self.on_hello(from, header.epoch, hello);
                } else {
                    self.gap(from, hello.delivered.saturating_add(1));
                }
            }
            Body::Join(group) => self.on_group(from, &header, installed, &group, true),
            Body::Leave(group) => self.on_group(from, &header, installed, &group, false),
            Body::Data(payload) if installed => self.on_data(from, header, payload, send),
            Body::Heartbeat(heartbeat) if installed => {
                self.heartbeats.delivered(now, from, header.epoch, &heartbeat);
                if from == self.own {
                    self.heartbeats.own_delivered(now, heartbeat.number);
                }
                self.check_clocks(now);
            }
            Body::Bye => {
                if let Some(view) = &mut self.view
                    && let Some(member) = view.members.get_mut(&from)
                    && member.member.epoch == header.epoch
                {
                    member.bye = true;
                }
            }
            Body::Data(_) | Body::Heartbeat(_) => self.counters.dropped_sender += 1,
        }
    }

    fn on_data(&mut self, from: RawId, header: Header, payload: Bytes, send: Option<SendId>) {
        let Some(view) = &self.view else { return };
        if header.view_bound && header.view != view.id {
            self.counters.dropped_view_bound += 1;
            return;
        }
        if from == self.own {
            let unknown = header.to.iter().filter(|destination| match destination {
                Destination::Member(name) => !view.has_name(name),
                Destination::Group(_) => false,
            });
            self.counters.unknown_unicast += u64::try_from(unknown.count()).unwrap_or(0);
        }
        let (Some(own), Some(sender)) = (view.member(self.own), view.member(from)) else { return };
        let addressed = header.to.iter().any(|destination| match destination {
            Destination::Group(group) => own.member.groups.contains(group),
            Destination::Member(name) => *name == self.info.private_name,
        });
        let barred = header.managers_only && self.info.node_type != NodeType::Manager;
        if !addressed || barred {
            self.counters.not_for_us += 1;
            return;
        }
        self.counters.messages_delivered += 1;
        self.counters.bytes_delivered += u64::try_from(payload.len()).unwrap_or(u64::MAX);
        self.inbox.push(BusEvent::Message {
            from: sender.member.info.private_name.clone(),
            to: header.to,
            kind: header.kind,
            payload,
            view: view.id,
            own: send,
        });
    }

    fn on_group(&mut self, from: RawId, header: &Header, installed: bool, group: &GroupName, joins: bool) {
        let change = |groups: &mut alloc::vec::Vec<GroupName>| {
            let is_in = groups.contains(group);
            if joins && !is_in {
                groups.push(group.clone());
            } else if !joins && is_in {
                groups.retain(|joined| joined != group);
            }
            joins != is_in
        };
        // A round that is under way must not install what the sender said before.
        if let Some(round) = &mut self.admission.round
            && let Some((epoch, hello)) = round.hellos.get_mut(&from)
            && *epoch == header.epoch
        {
            change(&mut hello.groups);
        }
        if !installed {
            return;
        }
        let Some(view) = &mut self.view else { return };
        let changed = view.members.get_mut(&from).is_some_and(|member| change(&mut member.member.groups));
        if changed {
            let members = view.group(group);
            let cause = if joins { GroupCause::Joined } else { GroupCause::Left };
            self.inbox.push(BusEvent::GroupView { group: group.clone(), members, cause });
        }
    }

    fn gap(&mut self, from: RawId, missing: u64) {
        self.counters.gaps += 1;
        let name = self.name_of(from);
        self.notices.push(
            Severity::Error,
            format!(
                "Error on messaging bus: message {missing} of {name} is missing; dropping what it sends until \
                 it has connected anew"
            ),
        );
    }

    /// Not even the header can be read.
    fn unreadable(&mut self, from: RawId, error: EnvelopeError) {
        if let EnvelopeError::Version(version) = error {
            self.counters.unknown_version += 1;
            if self.admission.unreadable.insert(from) {
                let name = self.name_of(from);
                self.notices.push(
                    Severity::Error,
                    format!(
                        "{name} speaks bus envelope version {version}, this node version {}; it cannot be \
                         admitted. Run releases that share a version",
                        crate::envelope::VERSION
                    ),
                );
            }
            return;
        }
        self.counters.malformed += 1;
        self.complain(from, self.counters.malformed, &error.to_string());
    }

    fn not_understood(&mut self, from: RawId, header: &Header, error: EnvelopeError) {
        match error {
            EnvelopeError::UnknownType(code) => {
                self.counters.unknown_type += 1;
                let text = format!("ec_cluster: unknown message type {code}");
                self.complain(from, self.counters.unknown_type, &text);
            }
            EnvelopeError::Flags(_) => {
                self.counters.unsupported_flags += 1;
                self.complain(from, self.counters.unsupported_flags, &error.to_string());
            }
            EnvelopeError::Magic
            | EnvelopeError::Version(_)
            | EnvelopeError::TooLong
            | EnvelopeError::Wire(_) => {
                self.counters.malformed += 1;
                let what = match header.type_code {
                    8 => "malformed cluster solicitation",
                    1 | 2 => "malformed cluster response",
                    _ => "malformed message",
                };
                self.complain(from, self.counters.malformed, &format!("{what}: {error}"));
            }
        }
    }

    /// Logs the 1st, 2nd, 4th, 8th … of a kind, so that a broken peer cannot fill the log.
    fn complain(&mut self, from: RawId, count: u64, text: &str) {
        if count.is_power_of_two() {
            let name = self.name_of(from);
            self.notices.push(Severity::Error, format!("{text} (from {name}, number {count} of its kind)"));
        }
    }

    pub(super) fn name_of(&self, raw: RawId) -> String {
        let installed = self.view.as_ref().and_then(|view| view.member(raw));
        let hello = || self.admission.round.as_ref().and_then(|round| round.hellos.get(&raw));
        let name: Option<&PrivateName> = installed
            .map(|installed| &installed.member.info.private_name)
            .or_else(|| hello().map(|(_, hello)| &hello.info.private_name));
        name.map_or_else(|| format!("attachment {raw}"), PrivateName::to_string)
    }
}
