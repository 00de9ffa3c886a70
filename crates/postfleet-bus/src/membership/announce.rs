//! What operators are told about names and addresses that clash, and about refusals.

use super::Membership;
use super::admission::is_same_name;
use crate::envelope::Install;
use crate::event::{LeaveReason, MemberInfo};
use crate::notice::Severity;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use postfleet_types::NodeType;

impl Membership {
    /// What the members of an INSTALL announced.
    fn admitted<'a>(&'a self, install: &'a Install) -> impl Iterator<Item = &'a MemberInfo> {
        let round = self.admission.round.as_ref();
        install.admitted.iter().filter_map(move |a| round?.hellos.get(&a.raw).map(|(_, hello)| &hello.info))
    }

    /// The refused member's own log.
    pub(super) fn announce_own_refusal(&mut self, install: &Install) {
        let holder = self.admitted(install).find(|info| is_same_name(info, &self.info));
        let text = if let Some(holder) = holder {
            format!("Node name {} is already in use by {}", self.info.node_name, holder.address.ip())
        } else {
            let (low, high) = self.info.protocol;
            let range = shared_range(self.admitted(install));
            format!(
                "This node speaks bus protocol {low} to {high}, the cluster {} to {}; it is not admitted. \
                 Install a release that shares a protocol with the cluster",
                range.0, range.1
            )
        };
        self.notices.push(Severity::Critical, text);
    }

    /// The log of those who are members.
    pub(super) fn announce_refusals(&mut self, install: &Install) {
        let mut lines = Vec::new();
        for (raw, _) in install.others.iter().filter(|(_, reason)| *reason == LeaveReason::Refused) {
            let Some(round) = &self.admission.round else { return };
            let Some((_, hello)) = round.hellos.get(raw) else { continue };
            let info = &hello.info;
            if let Some(holder) = self.admitted(install).find(|other| is_same_name(other, info)) {
                lines.push(format!(
                    "Refused {} at {}: node name {} is already in use by {}",
                    info.private_name,
                    info.address.ip(),
                    info.node_name,
                    holder.address.ip()
                ));
            } else {
                let range = shared_range(self.admitted(install));
                lines.push(format!(
                    "Refused {}: it speaks bus protocol {} to {}, the cluster {} to {}",
                    info.private_name, info.protocol.0, info.protocol.1, range.0, range.1
                ));
            }
        }
        for line in lines {
            self.notices.push(Severity::Error, line);
        }
    }

    /// Two nodes with one address are reported once, while both are there.
    pub(super) fn check_addresses(&mut self) {
        let Some(view) = &self.view else { return };
        let nodes: Vec<&MemberInfo> = view
            .in_order()
            .map(|(_, installed)| &installed.member.info)
            .filter(|info| info.node_type == NodeType::Node && !info.address.ip().is_unspecified())
            .collect();
        let mut pairs = BTreeSet::new();
        let mut lines = Vec::new();
        for (index, a) in nodes.iter().enumerate() {
            for b in nodes.iter().skip(index + 1).filter(|b| b.address.ip() == a.address.ip()) {
                let pair = (a.private_name.clone(), b.private_name.clone());
                if !self.same_address.contains(&pair) {
                    lines.push(format!(
                        "Critical cluster error! Nodes {} and {} have the same IP address {}",
                        a.node_name,
                        b.node_name,
                        a.address.ip()
                    ));
                }
                pairs.insert(pair);
            }
        }
        self.same_address = pairs;
        for line in lines {
            self.notices.push(Severity::Critical, line);
        }
    }
}

fn shared_range<'a>(members: impl Iterator<Item = &'a MemberInfo>) -> (u16, u16) {
    members.fold((0, u16::MAX), |(low, high), info| (low.max(info.protocol.0), high.min(info.protocol.1)))
}
