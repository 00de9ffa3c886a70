//! How a member that has other values of options that must be equal on all members is found.

use crate::notices::{Severity, notice};
use postfleet_bus::Membership;
use postfleet_config::Agreement;
use postfleet_types::{Monotonic, NodeName, NodeType, PrivateName};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long values may differ before it is said: nodes are reloaded one after the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// A member, our digest and its.
type Difference = (PrivateName, u64, u64);

/// Differences that there are, and since when; the same one is told once a connection.
#[derive(Default)]
pub(super) struct Disagreements {
    since: BTreeMap<Difference, Monotonic>,
    told: std::collections::BTreeSet<Difference>,
}

impl Disagreements {
    /// Compares what the members said last, when they came or with a heartbeat, with what holds here.
    pub(super) fn look(&mut self, now: Monotonic, membership: &Membership) {
        let ours = membership.info().options_digest;
        let health = membership.health(now);
        let others = membership
            .members()
            .map(|member| &member.info)
            .filter(|info| info.node_type == NodeType::Node && info.private_name != *membership.name());
        let members: Vec<(&PrivateName, &NodeName, u64)> = others
            .map(|info| {
                let health = health.iter().find(|health| health.name == info.private_name);
                let theirs = health.and_then(|health| health.options_digest).unwrap_or(info.options_digest);
                (&info.private_name, &info.node_name, theirs)
            })
            .collect();
        for (node, theirs) in self.found(now, ours, &members) {
            notice(
                Severity::Warning,
                format_args!(
                    "CFG-7021 node {node} has other values of options that must be equal on all members: {}; make \
                     them equal. It stays a member",
                    Agreement::differing(ours, theirs).join(", ")
                ),
            );
        }
    }

    /// Who is to be told of now.
    fn found<'m>(
        &mut self,
        now: Monotonic,
        ours: u64,
        members: &[(&PrivateName, &'m NodeName, u64)],
    ) -> Vec<(&'m NodeName, u64)> {
        let differing = members.iter().filter(|(_, _, theirs)| *theirs != ours);
        let mut since = BTreeMap::new();
        let mut found = Vec::new();
        for (name, node, theirs) in differing {
            let difference = ((*name).clone(), ours, *theirs);
            let first = self.since.get(&difference).copied().unwrap_or(now);
            if now.since(first) >= PATIENCE && self.told.insert(difference.clone()) {
                found.push((*node, *theirs));
            }
            since.insert(difference, first);
        }
        self.since = since;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_that_lasts_is_told_once() {
        let node: NodeName = "relay-2".parse().unwrap();
        let name = PrivateName::main(&node, 7);
        let mut disagreements = Disagreements::default();
        let mut at = |second: u64, ours: u64, theirs: u64| {
            let now = Monotonic::from_millis(second * 1000);
            disagreements.found(now, ours, &[(&name, &node, theirs)]).len()
        };
        // Two nodes that are reloaded one after the other.
        assert_eq!([at(0, 1, 1), at(1, 2, 1), at(4, 2, 1), at(5, 2, 2), at(30, 2, 2)], [0; 5]);
        assert_eq!([at(31, 3, 2), at(35, 3, 2), at(36, 3, 2), at(60, 3, 2)], [0, 0, 1, 0]);
        assert_eq!([at(61, 2, 2), at(62, 4, 2), at(67, 4, 2)], [0, 0, 1]);
    }
}
