//! The installed view.

use crate::carrier::RawId;
use crate::event::Member;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use postfleet_types::{Epoch, GroupName, NodeType, PrivateName, ViewId};

#[derive(Debug)]
pub(super) struct Installed {
    pub(super) member: Member,
    /// It has announced an orderly leave.
    pub(super) bye: bool,
}

/// An installed view: its members by attachment, and their order.
#[derive(Debug)]
pub(super) struct View {
    pub(super) id: ViewId,
    pub(super) members: BTreeMap<RawId, Installed>,
    order: Vec<RawId>,
}

impl View {
    pub(super) fn new(id: ViewId, members: BTreeMap<RawId, Installed>) -> Self {
        let mut order: Vec<RawId> = members.keys().copied().collect();
        order.sort_by(|a, b| age(&members, *a).cmp(&age(&members, *b)));
        Self { id, members, order }
    }

    /// Members by age, then private name.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (RawId, &Installed)> {
        self.order.iter().filter_map(|raw| self.members.get(raw).map(|installed| (*raw, installed)))
    }

    pub(super) fn member(&self, raw: RawId) -> Option<&Installed> {
        self.members.get(&raw)
    }

    pub(super) fn has(&self, raw: RawId, epoch: Epoch) -> bool {
        self.members.get(&raw).is_some_and(|installed| installed.member.epoch == epoch)
    }

    pub(super) fn has_name(&self, name: &PrivateName) -> bool {
        self.members.values().any(|installed| installed.member.info.private_name == *name)
    }

    pub(super) fn snapshot(&self) -> Vec<Member> {
        self.in_order().map(|(_, installed)| installed.member.clone()).collect()
    }

    pub(super) fn leader(&self) -> Option<RawId> {
        self.in_order().find(|(_, i)| i.member.info.node_type == NodeType::Node).map(|(raw, _)| raw)
    }

    pub(super) fn group(&self, group: &GroupName) -> Vec<PrivateName> {
        self.in_order()
            .filter(|(_, installed)| installed.member.groups.contains(group))
            .map(|(_, installed)| installed.member.info.private_name.clone())
            .collect()
    }

    /// Every group with its members; epochs tell two connections of one name apart.
    pub(super) fn groups(&self) -> BTreeMap<GroupName, Vec<(PrivateName, Epoch)>> {
        let mut groups: BTreeMap<GroupName, Vec<(PrivateName, Epoch)>> = BTreeMap::new();
        for (_, installed) in self.in_order() {
            for group in &installed.member.groups {
                let entry = (installed.member.info.private_name.clone(), installed.member.epoch);
                groups.entry(group.clone()).or_default().push(entry);
            }
        }
        groups
    }

    /// The identity of the view that follows when `leavers` are gone: the same for all who saw the same, and
    /// different for those who saw something else. Needs no message.
    pub(super) fn id_without(&self, leavers: &[(RawId, Epoch)]) -> ViewId {
        let mut sorted = leavers.to_vec();
        sorted.sort_unstable();
        let mut tag = mixed(self.id.tag ^ self.id.counter);
        for (raw, epoch) in sorted {
            tag = mixed(tag ^ (u64::from(raw.major) << 32 | u64::from(raw.minor)));
            tag = mixed(tag ^ epoch.0);
        }
        ViewId { counter: self.id.counter.saturating_add(1), tag }
    }
}

fn age(members: &BTreeMap<RawId, Installed>, raw: RawId) -> Option<(u64, &PrivateName, RawId)> {
    members.get(&raw).map(|i| (i.member.age, &i.member.info.private_name, raw))
}

/// The finishing step of `SplitMix64`, a bijection that spreads every bit.
const fn mixed(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
