//! The promises as functions over what members recorded. One promise a file.

mod p01_one_stream;
mod p02_first_view;
mod p03_view_agreement;
mod p04_view_growth;
mod p05_integrity;
mod p06_sender_inside;
mod p07_fifo;
mod p08_causal;
mod p09_total_order;
mod p10_self_delivery;
mod p11_same_view;
mod p12_virtual_synchrony;
mod p13_no_silent_change;
mod p14_transitional_set;
mod p15_view_bound;
mod p16_one_view;

pub use p01_one_stream::one_stream;
pub use p02_first_view::first_view;
pub use p03_view_agreement::view_agreement;
pub use p04_view_growth::view_growth;
pub use p05_integrity::integrity;
pub use p06_sender_inside::sender_inside;
pub use p07_fifo::fifo;
pub use p08_causal::causal;
pub use p09_total_order::total_order;
pub use p10_self_delivery::self_delivery;
pub use p11_same_view::same_view;
pub use p12_virtual_synchrony::virtual_synchrony;
pub use p13_no_silent_change::no_silent_change;
pub use p14_transitional_set::transitional_set;
pub use p15_view_bound::view_bound;
pub use p16_one_view::one_view;

use super::{MemberId, Record, Trace, What};
use crate::event::{Destination, GroupCause, Member};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use postfleet_types::{Epoch, GroupName, PrivateName, ViewId};

/// A violated promise, in words.
pub type Violation = String;

/// A message, wherever it shows up: its sender and the number in its payload.
pub type Key<'a> = (&'a PrivateName, u64);

/// One connection of one member, from its beginning to its end.
#[derive(Debug)]
pub struct Connection<'a> {
    /// Whose.
    pub member: MemberId,
    /// Its name.
    pub name: &'a PrivateName,
    /// Its epoch.
    pub epoch: Epoch,
    /// What was recorded from its beginning to its end.
    pub records: &'a [Record],
    /// Whether it has ended, or its process.
    pub ended: bool,
}

/// What a message's sender recorded about it.
#[derive(Debug)]
pub struct Sent<'a> {
    /// Where to.
    pub to: &'a [Destination],
    /// Bound to this view.
    pub only_in: Option<ViewId>,
    /// Its place among the sender's messages.
    pub index: usize,
    /// Length and digest.
    pub content: (usize, u64),
}

/// All that a run recorded.
#[derive(Debug, Default)]
pub struct History<'a> {
    /// Every connection of every member.
    pub connections: Vec<Connection<'a>>,
    /// Every message that was accepted and whose sender lived to say so.
    pub sent: BTreeMap<Key<'a>, Sent<'a>>,
    /// Members whose last records may be missing because they were killed.
    pub killed: BTreeSet<&'a PrivateName>,
    /// Records that lie outside of every connection.
    strays: Vec<&'a Record>,
}

/// The messages of one connection in one view, for comparing.
#[derive(Debug)]
pub(crate) struct Stay<'a> {
    pub(crate) view: ViewId,
    pub(crate) messages: Vec<Key<'a>>,
    /// Groups the connection was in from the beginning of the view to its end.
    pub(crate) groups: BTreeSet<&'a GroupName>,
    /// The view after it, if there was one.
    pub(crate) next: Option<ViewId>,
}

impl<'a> History<'a> {
    /// Arranges traces. `killed` are members whose process was ended without a word.
    #[must_use]
    pub fn new(traces: impl Iterator<Item = (MemberId, &'a Trace)>, killed: &BTreeSet<MemberId>) -> Self {
        let mut history = Self::default();
        for (member, trace) in traces {
            history.add(member, trace, killed.contains(&member));
        }
        history
    }

    fn add(&mut self, member: MemberId, trace: &'a Trace, killed: bool) {
        let mut open: Option<(usize, &PrivateName, Epoch)> = None;
        let mut name_of_member = None;
        let mut index = 0;
        for (at, record) in trace.records().iter().enumerate() {
            match &record.what {
                What::Connecting { name, epoch } => {
                    self.close(member, trace, open.take(), at, true);
                    open = Some((at, name, *epoch));
                    name_of_member = Some(name);
                }
                What::Lost { .. } => self.close(member, trace, open.take(), at + 1, true),
                What::Sent { number, bytes, digest, to, only_in, .. } => {
                    if let Some(name) = name_of_member {
                        index += 1;
                        let sent = Sent { to, only_in: *only_in, index, content: (*bytes, *digest) };
                        self.sent.insert((name, *number), sent);
                    }
                }
                What::View { .. } | What::GroupView { .. } | What::Message { .. } | What::SendReady => {
                    if open.is_none() {
                        self.strays.push(record);
                    }
                }
                What::NotSent { .. } | What::Notice { .. } | What::Figures { .. } => {}
            }
        }
        self.close(member, trace, open.take(), trace.records().len(), killed);
        if killed {
            self.killed.extend(name_of_member);
        }
    }

    fn close(
        &mut self,
        member: MemberId,
        trace: &'a Trace,
        open: Option<(usize, &'a PrivateName, Epoch)>,
        end: usize,
        ended: bool,
    ) {
        if let Some((start, name, epoch)) = open {
            let records = trace.records().get(start..end).unwrap_or_default();
            self.connections.push(Connection { member, name, epoch, records, ended });
        }
    }

    /// All promises that hold at any moment.
    ///
    /// # Errors
    /// The first violation found.
    pub fn check(&self) -> Result<(), Violation> {
        one_stream(self)?;
        first_view(self)?;
        view_agreement(self)?;
        view_growth(self)?;
        integrity(self)?;
        sender_inside(self)?;
        fifo(self)?;
        causal(self)?;
        total_order(self)?;
        same_view(self)?;
        virtual_synchrony(self)?;
        no_silent_change(self)?;
        transitional_set(self)?;
        view_bound(self)
    }

    /// These, and what holds when faults have ended and everything has come to rest.
    ///
    /// # Errors
    /// The first violation found.
    pub fn check_at_rest(&self) -> Result<(), Violation> {
        self.check()?;
        self_delivery(self)?;
        one_view(self)
    }
}

impl<'a> Connection<'a> {
    /// Every view of the connection, in order.
    pub fn views(&self) -> impl Iterator<Item = (ViewId, &'a [Member])> {
        self.records.iter().filter_map(|record| match &record.what {
            What::View { id, members, .. } => Some((*id, members.as_slice())),
            What::Connecting { .. }
            | What::GroupView { .. }
            | What::Message { .. }
            | What::Sent { .. }
            | What::NotSent { .. }
            | What::SendReady
            | What::Lost { .. }
            | What::Notice { .. }
            | What::Figures { .. } => None,
        })
    }

    /// Every message of the connection, in order, with the view it names.
    pub fn messages(&self) -> impl Iterator<Item = (Key<'a>, ViewId)> {
        self.records.iter().filter_map(|record| match &record.what {
            What::Message { from, number, view, .. } => Some(((from, *number), *view)),
            What::Connecting { .. }
            | What::View { .. }
            | What::GroupView { .. }
            | What::Sent { .. }
            | What::NotSent { .. }
            | What::SendReady
            | What::Lost { .. }
            | What::Notice { .. }
            | What::Figures { .. } => None,
        })
    }

    /// What the connection did in each of its views.
    pub(crate) fn stays(&self) -> Vec<Stay<'a>> {
        let mut stays: Vec<Stay<'a>> = Vec::new();
        for record in self.records {
            match &record.what {
                What::View { id, members, .. } => {
                    if let Some(last) = stays.last_mut() {
                        last.next = Some(*id);
                    }
                    let own = members.iter().find(|member| member.epoch == self.epoch);
                    let groups = own.map(|own| own.groups.iter().collect()).unwrap_or_default();
                    stays.push(Stay { view: *id, messages: Vec::new(), groups, next: None });
                }
                What::Message { from, number, .. } => {
                    if let Some(last) = stays.last_mut() {
                        last.messages.push((from, *number));
                    }
                }
                What::GroupView { group, members, cause: GroupCause::Joined | GroupCause::Left } => {
                    // A group that was left, or joined late, is not comparable. Changes with the cause `View`
                    // tell what the view's members say already.
                    if let Some(last) = stays.last_mut()
                        && last.groups.contains(group) != members.contains(self.name)
                    {
                        last.groups.remove(group);
                    }
                }
                What::GroupView { cause: GroupCause::View, .. }
                | What::Connecting { .. }
                | What::Sent { .. }
                | What::NotSent { .. }
                | What::SendReady
                | What::Lost { .. }
                | What::Notice { .. }
                | What::Figures { .. } => {}
            }
        }
        stays
    }
}

/// Whether the message was addressed to one of these groups, as its sender recorded.
pub(crate) fn addressed_to(sent: &Sent<'_>, groups: &BTreeSet<&GroupName>) -> bool {
    sent.to.iter().any(|destination| match destination {
        Destination::Group(group) => groups.contains(group),
        Destination::Member(_) => false,
    })
}

#[cfg(test)]
mod tests;
