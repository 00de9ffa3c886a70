//! The records of one member, in order, with what cases ask for most.

use super::{Record, What};
use crate::event::{LostReason, Member};
use alloc::vec::Vec;
use postfleet_types::{Epoch, PrivateName, ViewId};

/// All that a member has recorded, over all its connections.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    records: Vec<Record>,
    messages: usize,
    sent: usize,
    connected: bool,
    view: Option<usize>,
}

impl Trace {
    /// A trace without records.
    #[must_use]
    pub const fn empty() -> Self {
        Self { records: Vec::new(), messages: 0, sent: 0, connected: false, view: None }
    }

    /// Appends a record.
    pub fn push(&mut self, record: Record) {
        match &record.what {
            What::View { .. } => {
                self.view = Some(self.records.len());
                self.connected = true;
            }
            What::Lost { .. } | What::Connecting { .. } => self.connected = false,
            What::Message { .. } => self.messages += 1,
            What::Sent { .. } => self.sent += 1,
            What::GroupView { .. }
            | What::NotSent { .. }
            | What::SendReady
            | What::Notice { .. }
            | What::Figures { .. } => {}
        }
        self.records.push(record);
    }

    /// All records.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The records of each connection: from its beginning to its end.
    pub fn connections(&self) -> impl Iterator<Item = &[Record]> {
        self.records
            .split_inclusive(|record| matches!(record.what, What::Lost { .. }))
            .filter(|records| records.iter().any(|r| matches!(r.what, What::Connecting { .. })))
    }

    /// Messages read so far.
    #[must_use]
    pub const fn messages(&self) -> usize {
        self.messages
    }

    /// Messages accepted so far.
    #[must_use]
    pub const fn sent(&self) -> usize {
        self.sent
    }

    /// The view that is installed now.
    #[must_use]
    pub fn view(&self) -> Option<(ViewId, &[Member])> {
        match &self.records.get(self.view.filter(|_| self.connected)?)?.what {
            What::View { id, members, .. } => Some((*id, members)),
            What::Connecting { .. }
            | What::GroupView { .. }
            | What::Message { .. }
            | What::Sent { .. }
            | What::NotSent { .. }
            | What::SendReady
            | What::Lost { .. }
            | What::Notice { .. }
            | What::Figures { .. } => None,
        }
    }

    /// How many members the installed view has; zero while there is none.
    #[must_use]
    pub fn view_size(&self) -> usize {
        self.view().map_or(0, |(_, members)| members.len())
    }

    /// The numbers of all messages read, with their senders.
    #[must_use]
    pub fn delivered(&self) -> Vec<(&PrivateName, u64)> {
        self.records
            .iter()
            .filter_map(|record| match &record.what {
                What::Message { from, number, .. } => Some((from, *number)),
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
            .collect()
    }

    /// Whether a record is there.
    #[must_use]
    pub fn has(&self, wanted: impl Fn(&What) -> bool) -> bool {
        self.records.iter().any(|record| wanted(&record.what))
    }

    /// Whether a connection ended for this reason.
    #[must_use]
    pub fn has_lost(&self, reason: LostReason) -> bool {
        self.has(|what| *what == What::Lost { reason })
    }

    /// Whether the log has a line with this in it.
    #[must_use]
    pub fn has_logged(&self, text: &str) -> bool {
        self.has(|what| matches!(what, What::Notice { text: line, .. } if line.contains(text)))
    }

    /// The epochs of its connections.
    #[must_use]
    pub fn epochs(&self) -> Vec<Epoch> {
        self.records
            .iter()
            .filter_map(
                |record| {
                    if let What::Connecting { epoch, .. } = record.what { Some(epoch) } else { None }
                },
            )
            .collect()
    }
}
