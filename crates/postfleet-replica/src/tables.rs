//! Ordered objects: what arrives for them, when they send, what they are told.

use crate::ordered::{BodyError, Table, Waiting};
use crate::replica::{Outgoing, Replica, ReplicaOptions};
use crate::shared::Shared;
use crate::wire::{KIND_TABLES, MessageError, TablesWriter, block_overhead, read_tables};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use postfleet_bus::event::Destination;
use postfleet_throttle::{SharedThrottles, Slots};
use postfleet_types::{Monotonic, Notice, PrivateName};

/// A body is at most about this long. Parts of tables are shorter; what waits beyond it follows.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The least time between two messages of ordered objects where the option switches rule 1 off: they never wait for
/// `max_delay`.
const TABLE_DELAY: Duration = Duration::from_millis(10);

/// The least time between two messages of ordered objects.
pub(crate) fn table_delay(options: &ReplicaOptions) -> Duration {
    options.min_delay.unwrap_or(TABLE_DELAY)
}

/// Why an operator's word about a node was not taken. The caller is at fault; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgetError {
    /// The node is there.
    #[error("node {0} is present; only a node that is gone can be forgotten")]
    Present(String),
    /// It is not a node's name.
    #[error("'{0}' is not the name of a node")]
    BadName(String),
    /// No object divides a limit among nodes.
    #[error("no throttles and no connection limits are shared here; there is nothing to forget the node in")]
    Nothing,
}

impl Replica {
    // What the node and its consoles use.

    /// The throttles of an object of that name; `None` when there is none or it is something else.
    #[must_use]
    pub fn throttles(&self, name: &str) -> Option<&SharedThrottles> {
        match self.table(name)? {
            Table::Throttles(table) => Some(table),
            Table::Slots(_) | Table::Cache(_) => None,
        }
    }

    /// As [`Replica::throttles`], to use units. Poll the messages afterwards, as after every change.
    pub fn throttles_mut(&mut self, name: &str) -> Option<&mut SharedThrottles> {
        match self.objects.iter_mut().find(|object| object.spec.name == name)?.table.as_mut()? {
            Table::Throttles(table) => Some(table),
            Table::Slots(_) | Table::Cache(_) => None,
        }
    }

    /// The connection slots of the object of that name.
    #[must_use]
    pub fn slots(&self, name: &str) -> Option<&Slots> {
        match self.table(name)? {
            Table::Slots(table) => Some(table),
            Table::Throttles(_) | Table::Cache(_) => None,
        }
    }

    /// As [`Replica::slots`], to open connections.
    pub fn slots_mut(&mut self, name: &str) -> Option<&mut Slots> {
        match self.objects.iter_mut().find(|object| object.spec.name == name)?.table.as_mut()? {
            Table::Slots(table) => Some(table),
            Table::Throttles(_) | Table::Cache(_) => None,
        }
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.objects.iter().find(|object| object.spec.name == name)?.table.as_ref()
    }

    /// The operator says that a node is gone for good and uses nothing any more: what it owned is free, and the
    /// limits of this side rise by its part. In force when it has been delivered.
    ///
    /// # Errors
    /// [`ForgetError`].
    pub fn forget_node(&mut self, now: Monotonic, node: &str) -> Result<(), ForgetError> {
        if self.roster.has_node(node) {
            return Err(ForgetError::Present(String::from(node)));
        }
        if node.parse::<postfleet_types::NodeName>().is_err() {
            return Err(ForgetError::BadName(String::from(node)));
        }
        let mut any = false;
        for table in self.tables_mut() {
            table.ordered_mut().forget(now, node);
            any = true;
        }
        if any { Ok(()) } else { Err(ForgetError::Nothing) }
    }

    /// Something that this member sent at that time, such as a heartbeat, has come back. Say so as often as it
    /// happens: whoever has not heard of itself for a while uses nothing that others may have got since.
    pub fn heard(&mut self, now: Monotonic, sent: Monotonic) {
        for table in self.tables_mut() {
            table.ordered_mut().heard(now, sent);
        }
    }

    /// The process has just started and will join a fleet: limits wait for that, for ten seconds at most.
    pub fn start(&mut self, now: Monotonic) {
        for table in self.tables_mut() {
            table.ordered_mut().start(now);
        }
    }

    /// Whether this side is quorate, as the connection says now ([`postfleet_bus::BusStatus::quorum`]). Say so in every
    /// turn, before anything is polled: it holds until the next view.
    pub fn set_quorum(&mut self, now: Monotonic, held: Option<bool>) {
        for table in self.tables_mut() {
            table.ordered_mut().set_quorum(now, held);
        }
    }

    /// The host of a departed member has left as well: that its process ended is not certain.
    pub fn host_left(&mut self, member: &PrivateName) {
        self.suspects.remove(member);
    }

    /// Departed members whose process ended and of which it has not been said yet that this is certain.
    pub fn suspected(&self) -> impl Iterator<Item = &PrivateName> {
        self.suspects.keys()
    }

    /// This member will leave in good order and not come back: gives what it does not use, and sends what waits.
    /// Poll and submit the messages, then leave the data group and, after it, the connection. Whoever leaves the
    /// connection without leaving the group is taken for one that lives on, and keeps its part of shared limits.
    pub fn leave(&mut self, now: Monotonic) {
        for table in self.tables_mut() {
            table.ordered_mut().leave(now);
        }
        self.flush(now);
    }

    /// Takes other settings of throttles and slots at once.
    pub fn set_table_options(&mut self, now: Monotonic, options: crate::ordered::TableOptions) {
        if self.options.tables != options {
            self.options.tables = options;
            for Shared { spec, table, .. } in &mut self.objects {
                if let Some(table) = table {
                    table.ordered_mut().set_options(now, &options.of(spec));
                }
            }
        }
    }

    /// Members whose table of this object is awaited, while sides exchange what they hold.
    #[must_use]
    pub fn awaited(&self, name: &str) -> Vec<PrivateName> {
        self.table(name)
            .map(|table| table.ordered().awaited())
            .unwrap_or_default()
            .into_iter()
            .cloned()
            .collect()
    }

    /// A digest of an ordered object, equal on all members at the same point of the order; `None` while sides
    /// exchange what they hold, and for other objects.
    #[must_use]
    pub fn fingerprint(&self, name: &str) -> Option<u64> {
        let table = self.table(name)?.ordered();
        table.awaited().is_empty().then(|| table.fingerprint())
    }

    // The frame.

    fn tables_mut(&mut self) -> impl Iterator<Item = &mut Table> {
        self.objects.iter_mut().filter_map(|object| object.table.as_mut())
    }

    /// The connection is gone, or this member left the group.
    pub(crate) fn lose_tables(&mut self, now: Monotonic) {
        for table in self.tables_mut() {
            table.ordered_mut().lost(now);
        }
    }

    /// Bodies of a member, this one included, at their place in the order.
    ///
    /// Every member has to apply the same. So a message is taken or refused as a whole by what it says, and by
    /// nothing that only this member knows; the objects themselves pass over what is not of their members.
    pub(crate) fn receive_tables(&mut self, now: Monotonic, from: &PrivateName, payload: &Bytes) {
        if *from == self.options.own {
            self.table_pacing.under_way = self.table_pacing.under_way.saturating_sub(1);
        }
        if let Some(peer) = self.peers.get_mut(from) {
            peer.heard = Some(now);
        }
        self.counters.table_messages_received += 1;
        let bodies = match read_tables(payload) {
            Ok(bodies) => bodies,
            Err(error) => return self.refuse_tables(now, from, None, error),
        };
        for body in bodies {
            let Some(object) = self.objects.iter_mut().find(|object| object.spec.name == body.name) else {
                continue;
            };
            let own_kind = object.spec.kind;
            let Some(table) = &mut object.table else { continue };
            if own_kind.code() != body.kind {
                self.notice_kind(from, body.name, own_kind);
                continue;
            }
            match table.ordered_mut().deliver(now, from, body.body) {
                Ok(()) => self.counters.table_bodies_applied += 1,
                Err(BodyError::Version(version)) => {
                    self.refuse_tables(now, from, Some(body.name), MessageError::Version(version));
                }
                Err(BodyError::Malformed(error)) => {
                    self.refuse_tables(now, from, Some(body.name), MessageError::Malformed(error));
                }
            }
        }
    }

    fn refuse_tables(&mut self, now: Monotonic, from: &PrivateName, name: Option<&str>, error: MessageError) {
        match error {
            MessageError::Version(version) => self.notice_version(from, version),
            MessageError::Malformed(error) => {
                self.counters.malformed += 1;
                let name = name.unwrap_or("shared tables");
                let text = format!(
                    "{name}: {from} sent operations that do not follow the format: {error}; no member applies them"
                );
                self.distrust(now, from, text);
            }
        }
    }

    /// When the tables may send something, were nothing of this member under way; `None` when they have nothing to say.
    fn tables_due(&self) -> Option<Monotonic> {
        let due = |object: &Shared| match object.table.as_ref()?.ordered().waiting() {
            Waiting::Nothing => None,
            Waiting::Soon => Some(Monotonic::ZERO),
            // Sent at once, unless the option says that nothing is.
            Waiting::Lazily { .. } if self.options.min_delay.is_some() => Some(Monotonic::ZERO),
            Waiting::Lazily { changes, .. } if changes >= object.spec.max_pending => Some(Monotonic::ZERO),
            Waiting::Lazily { since, .. } => Some(since + object.spec.max_delay),
        };
        self.objects.iter().filter_map(due).min()
    }

    /// Puts the next message of the tables into the outbox when it is due: none of this member's is under way, and
    /// the last one was sent long enough ago.
    pub(crate) fn produce_tables(&mut self, now: Monotonic) -> bool {
        self.table_pacing.idle(now)
            && self.tables_due().is_some_and(|due| due <= now)
            && self.send_tables(now)
    }

    /// One message with what all tables have to say, as far as it fits.
    pub(crate) fn send_tables(&mut self, now: Monotonic) -> bool {
        let mut message = TablesWriter::new();
        let limit = self.options.batch_bytes_max;
        for Shared { spec, table, .. } in &mut self.objects {
            let Some(table) = table else { continue };
            let overhead = block_overhead(&spec.name);
            loop {
                let room = limit.saturating_sub(message.len() + overhead);
                // What is polled has to go, so there has to be room for it before.
                if !message.is_empty() && room < BODY_BYTES_MAX {
                    break;
                }
                let Some(body) = table.ordered_mut().poll_message(now, room.min(BODY_BYTES_MAX / 2)) else {
                    break;
                };
                message.push(spec.kind, &spec.name, &body);
            }
        }
        if message.is_empty() {
            return false;
        }
        self.submit_tables(now, message);
        true
    }

    fn submit_tables(&mut self, now: Monotonic, message: TablesWriter) {
        let payload = Bytes::from(message.finish());
        self.table_pacing.under_way = self.table_pacing.under_way.saturating_add(1);
        self.table_pacing.last_sent = Some(now);
        self.counters.table_messages_sent += 1;
        self.counters.table_bytes_sent += payload.len() as u64;
        let to = vec![Destination::Group(self.options.group.clone())];
        self.outbox.push_back(Outgoing { to, kind: KIND_TABLES, payload });
    }

    /// When the next message of the tables is due, if nothing else happens.
    pub(crate) fn tables_send_deadline(&self) -> Option<Monotonic> {
        Some(self.table_pacing.idle_from()?.max(self.tables_due()?))
    }

    /// When a table or a suspicion has something to do.
    pub(crate) fn tables_deadline(&self) -> Option<Monotonic> {
        let tables =
            self.objects.iter().filter_map(|object| object.table.as_ref()?.ordered().poll_deadline());
        tables.chain(self.suspects.values().copied()).min()
    }

    pub(crate) fn handle_tables_timeout(&mut self, now: Monotonic) {
        let dead: Vec<PrivateName> =
            self.suspects.iter().filter(|(_, due)| **due <= now).map(|(name, _)| name.clone()).collect();
        for name in &dead {
            self.suspects.remove(name);
        }
        for table in self.tables_mut().map(Table::ordered_mut) {
            for name in &dead {
                table.confirm_dead(now, name);
            }
            if table.poll_deadline().is_some_and(|due| due <= now) {
                table.handle_timeout(now);
            }
        }
    }

    /// The next line for the log of a table.
    pub(crate) fn poll_table_notice(&mut self) -> Option<Notice> {
        self.tables_mut().find_map(|table| table.ordered_mut().poll_notice())
    }

    /// Objects that are gone from the configuration: the others are told that this member shares them no more.
    pub(crate) fn withdraw_tables(&mut self, now: Monotonic, gone: Vec<Shared>) {
        if !self.sharing() {
            return;
        }
        for Shared { spec, table, .. } in gone {
            let Some(mut table) = table else { continue };
            let mut message = TablesWriter::new();
            while let Some(body) = table.ordered_mut().poll_message(now, BODY_BYTES_MAX / 2) {
                message.push(spec.kind, &spec.name, &body);
                if message.len() + BODY_BYTES_MAX > self.options.batch_bytes_max {
                    self.submit_tables(now, core::mem::replace(&mut message, TablesWriter::new()));
                }
            }
            if let Some(body) = table.ordered().withdraw(now) {
                message.push(spec.kind, &spec.name, &body);
            }
            if !message.is_empty() {
                self.submit_tables(now, message);
            }
        }
    }
}
