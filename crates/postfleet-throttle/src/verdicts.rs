//! What this member has to say of those who departed: this process is dead, that node is gone for good. Each is said
//! until it is in force, whatever becomes of the message that carries it.

use crate::entry::Say;
use crate::wire::{Op, OpsWriter};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use postfleet_types::PrivateName;

/// Verdicts that are not in force yet.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    dead: BTreeMap<PrivateName, Say>,
    forgotten: BTreeMap<String, Say>,
}

impl Verdicts {
    /// A process is known to be dead.
    pub(crate) fn dead(&mut self, member: &PrivateName) {
        self.dead.insert(member.clone(), Say::Unsent);
    }

    /// A node is gone for good.
    pub(crate) fn forgotten(&mut self, node: &str) {
        self.forgotten.insert(node.to_owned(), Say::Unsent);
    }

    /// It is in force that a process is dead, whoever said so.
    pub(crate) fn dead_is_in_force(&mut self, member: &PrivateName) {
        self.dead.remove(member);
    }

    /// It is in force that a node is gone, whoever said so.
    pub(crate) fn forgotten_is_in_force(&mut self, node: &str) {
        self.forgotten.remove(node);
    }

    /// A node that is there again has its part again, and keeps it should it go: nothing is said of its past any more.
    pub(crate) fn withdraw(&mut self, is_present: impl Fn(&str) -> bool) {
        self.dead.retain(|member, _| !is_present(member.node()));
        self.forgotten.retain(|node, _| !is_present(node));
    }

    /// Whether [`Verdicts::write`] has something to write.
    pub(crate) fn is_unsent(&self) -> bool {
        self.dead.values().chain(self.forgotten.values()).any(|say| *say == Say::Unsent)
    }

    /// What was under way will not arrive.
    pub(crate) fn void(&mut self) {
        self.dead.values_mut().chain(self.forgotten.values_mut()).for_each(Say::void);
    }

    /// Writes what has not been sent. All members come to know that a process is dead; the first one says so.
    pub(crate) fn write(&mut self, is_first: bool, writer: &mut OpsWriter) {
        for (member, say) in self.dead.iter_mut().filter(|(_, say)| **say == Say::Unsent) {
            if is_first {
                writer.push(&Op::Certain { member: member.clone() });
            }
            *say = Say::UnderWay;
        }
        for (node, say) in self.forgotten.iter_mut().filter(|(_, say)| **say == Say::Unsent) {
            writer.push(&Op::Forget { node });
            *say = Say::UnderWay;
        }
    }
}
