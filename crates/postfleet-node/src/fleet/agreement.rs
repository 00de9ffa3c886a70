//! How a member that has other values of options that must be equal on all members is found.

use crate::notices::{Severity, notice};
use postfleet_bus::Membership;
use postfleet_config::Agreement;
use postfleet_types::{NodeType, PrivateName};
use std::collections::BTreeSet;

/// What was told of each member; the same is told once a connection.
#[derive(Default)]
pub(super) struct Disagreements(BTreeSet<(PrivateName, u64, u64)>);

impl Disagreements {
    /// Compares what the members announced with what holds here.
    pub(super) fn look(&mut self, membership: &Membership) {
        let ours = membership.info().options_digest;
        for member in membership.members() {
            let info = &member.info;
            let theirs = info.options_digest;
            if info.node_type != NodeType::Node || info.private_name == *membership.name() || theirs == ours {
                continue;
            }
            if self.0.insert((info.private_name.clone(), ours, theirs)) {
                notice(
                    Severity::Warning,
                    format_args!(
                        "CFG-7021 node {} has other values of options that must be equal on all members: {}; make \
                         them equal. It stays a member",
                        info.node_name,
                        Agreement::differing(ours, theirs).join(", ")
                    ),
                );
            }
        }
    }
}
