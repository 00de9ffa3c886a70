//! Another member of the shared-data connection, as this one sees it.

use crate::counts::Origin;
use crate::session::Need;
use alloc::collections::BTreeSet;
use alloc::string::String;
use core::time::Duration;
use postfleet_types::Monotonic;

/// The least time between two questions to one member, so that a member that sends nonsense is not asked in a loop.
pub(crate) const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a marker or the next chunk may take before it is asked for (again).
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// The least time between two lines in the log about the same thing.
pub(crate) const NOTICE_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Peer {
    /// Its number while it is in the data group.
    pub(crate) origin: Option<Origin>,
    /// The stream that its columns continue.
    pub(crate) stream: u64,
    /// When something of it was last delivered.
    pub(crate) heard: Option<Monotonic>,
    /// What it has to be asked for.
    pub(crate) to_ask: Option<Need>,
    pub(crate) asked: Option<Monotonic>,
    pub(crate) malformed_noticed: Option<Monotonic>,
    pub(crate) version_noticed: bool,
    /// It is a manager.
    pub(crate) manager: bool,
    /// Until then its chunks come over the bus: its listener could not be reached.
    pub(crate) on_bus_until: Option<Monotonic>,
    pub(crate) unreachable_noticed: Option<Monotonic>,
    /// Objects of which it has another kind, already reported.
    pub(crate) kinds_noticed: BTreeSet<String>,
}

impl Peer {
    pub(crate) const fn new(manager: bool) -> Self {
        Self {
            origin: None,
            stream: 0,
            heard: None,
            to_ask: None,
            asked: None,
            malformed_noticed: None,
            version_noticed: false,
            manager,
            on_bus_until: None,
            unreachable_noticed: None,
            kinds_noticed: BTreeSet::new(),
        }
    }

    pub(crate) fn ask(&mut self, need: Need) {
        match &mut self.to_ask {
            Some(waiting) => waiting.join(need),
            None => self.to_ask = Some(need),
        }
    }

    /// When what it has to be asked for may be asked.
    pub(crate) fn ask_at(&self) -> Option<Monotonic> {
        self.to_ask.as_ref()?;
        Some(self.asked.map_or(Monotonic::ZERO, |asked| asked + ASK_INTERVAL))
    }
}
