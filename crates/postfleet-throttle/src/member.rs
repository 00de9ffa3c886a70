//! Short ids for members, so that tables with thousands of throttles do not repeat names.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use postfleet_types::PrivateName;

/// A member, known by a number that only this process uses. Never decides an order that another member can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(u32);

/// Every member that this process has met. A name takes some 100 bytes and is never forgotten; members get new names
/// only when their processes are restarted.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    ids: BTreeMap<PrivateName, MemberId>,
    names: Vec<PrivateName>,
}

impl Registry {
    /// The id of a name.
    pub(crate) fn id(&mut self, name: &PrivateName) -> MemberId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = MemberId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.names.push(name.clone());
        self.ids.insert(name.clone(), id);
        id
    }

    /// The id of a name that was met before.
    pub(crate) fn known(&self, name: &PrivateName) -> Option<MemberId> {
        self.ids.get(name).copied()
    }

    /// Every member of a node that was met.
    pub(crate) fn of_node(&self, node: &str) -> impl Iterator<Item = MemberId> {
        self.ids.iter().filter(move |(name, _)| name.node() == node).map(|(_, id)| *id)
    }

    /// The name of an id.
    pub(crate) fn name(&self, id: MemberId) -> Option<&PrivateName> {
        self.names.get(usize::try_from(id.0).ok()?)
    }
}
