//! Who shares the table: configurations, the exchange of tables when sides meet, and the part that this side has.
//!
//! A table is live in an **epoch**. Operations carry the epoch in which they were made, and are void in any other. A
//! configuration to which members were added freezes the table on every member at the same point of the order. Each
//! member says hello, the first of each former side sends its side's table before that, and with the last hello all
//! members have the same tables, merge them in the same order, and a new epoch begins. What was under way in the old
//! one is void everywhere, and its sender takes it back. So nothing has to be kept and applied later, and a failure in
//! the middle simply starts another round.

use crate::member::{MemberId, Registry};
use crate::quorum::Quorum;
use crate::reference::{Partition, Reference};
use crate::why::Digest;
use crate::wire::{Body, Op, OpsWriter, Row, write};
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::{Monotonic, PrivateName};

/// How a member departed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// Its process is certainly gone: it left in good order, or its own host says that it ended.
    Certain,
    /// It is out of reach and may live on: its host is gone or cut off, or it does not answer.
    Uncertain,
}

/// A member of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present<'a> {
    /// Its shared-data connection.
    pub name: &'a PrivateName,
    /// It carries mail; managers do not, and have no part of a limit.
    pub relay: bool,
}

/// Who shares an object, from a point of the order on.
#[derive(Clone, Copy, Debug)]
pub struct Configuration<'a> {
    /// The same on all its members, and different from that of any other configuration.
    pub id: u64,
    /// Everybody, this member included, in the order that all members see.
    pub members: &'a [Present<'a>],
    /// Who was in the previous configuration and is not in this one. Whoever is missing here departed uncertainly.
    pub departed: &'a [(PrivateName, Departure)],
    /// Who is in this one and did not come along from the previous one, even if a member of that name was there.
    pub joined: &'a [PrivateName],
}

/// How long a member of a configuration may stay silent before the others go on without it.
pub const EXCHANGE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a process that has just started waits for its fleet before it takes itself for all that there is.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// What the owner of a table has to do after a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Members that departed, in the order of the previous configuration.
    pub(crate) departed: Vec<(MemberId, Departure)>,
    /// Operations that are under way will not be applied by anybody.
    pub(crate) void: bool,
    /// This member sends the table of its side, then [`Fleet::hello`].
    pub(crate) send_table: bool,
}

/// The table of one former side.
#[derive(Debug)]
pub(crate) struct SideTable {
    /// Who belonged to it and is present.
    pub(crate) members: BTreeSet<MemberId>,
    /// Its parts, as they came.
    pub(crate) parts: Vec<Vec<u8>>,
}

/// How an exchange went on.
#[derive(Debug)]
pub(crate) enum Exchanged {
    /// The tables of all sides are there.
    Complete(Vec<SideTable>),
    /// Whoever had to send the table of its side will not: another one does, in another round.
    Again(Change),
}

#[derive(Debug)]
enum Phase {
    /// Nobody else is there: what this member does is in force at once.
    Alone,
    Live,
    Merging(Exchange),
}

#[derive(Debug)]
struct Exchange {
    round: u64,
    since: Monotonic,
    /// The own side, as it is named in hellos.
    side: u64,
    /// Who belongs to it and has come along, this member included.
    mates: BTreeSet<MemberId>,
    hellos: BTreeMap<MemberId, u64>,
    parts: BTreeMap<MemberId, Vec<Vec<u8>>>,
    /// Whose table is complete, in the order of delivery.
    tables: Vec<MemberId>,
    /// Who is not waited for. Those of one side that are left out go on as a side of their own.
    excluded: BTreeSet<MemberId>,
    /// Who said since the round began that it shares the object no more.
    left: BTreeSet<MemberId>,
    /// How often the silent have been waited for.
    turns: usize,
    excluding: bool,
    /// This member was left out of a live table before.
    was_left_out: bool,
}

impl Exchange {
    /// Whether it goes on only when that member has said hello.
    fn awaits(&self, member: &MemberId) -> bool {
        !self.hellos.contains_key(member) && !self.left.contains(member) && !self.excluded.contains(member)
    }
}

/// The fleet as one table sees it.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) registry: Registry,
    pub(crate) own: MemberId,
    own_name: PrivateName,
    pub(crate) partition: Partition,
    /// How long a member that is out of reach may go on.
    pub(crate) grace: Duration,
    reference: Reference,
    quorum: Quorum,
    /// Who withdrew during the exchange that is about to be merged.
    withdrawn: Vec<MemberId>,
    order: Vec<MemberId>,
    relays: BTreeSet<MemberId>,
    /// Who takes part in the live table.
    participants: BTreeSet<MemberId>,
    phase: Phase,
    epoch: u64,
    configuration: u64,
    alone: u64,
    /// When the latest of the own messages that came back was sent.
    heard: Monotonic,
    /// Until when this member, which has just started, lets others be there that it does not know of.
    starting: Option<Monotonic>,
    outbox: VecDeque<Vec<u8>>,
}

impl Fleet {
    pub(crate) fn new(own: &PrivateName, partition: Partition, grace: Duration) -> Self {
        let mut registry = Registry::default();
        let own_id = registry.id(own);
        let mut reference = Reference::default();
        reference.settle(&[own.node()]);
        Self {
            registry,
            own: own_id,
            own_name: own.clone(),
            partition,
            grace,
            reference,
            quorum: Quorum::default(),
            withdrawn: Vec::new(),
            order: alloc::vec![own_id],
            relays: BTreeSet::from([own_id]),
            participants: BTreeSet::from([own_id]),
            phase: Phase::Alone,
            epoch: 0,
            configuration: 0,
            alone: 0,
            heard: Monotonic::ZERO,
            starting: None,
            outbox: VecDeque::new(),
        }
    }

    pub(crate) const fn is_alone(&self) -> bool {
        matches!(self.phase, Phase::Alone)
    }

    /// Whether units that cool here may be used next by another clock, now or when the rest of the fleet is back.
    pub(crate) fn is_shared(&self) -> bool {
        // Asked with every decision; the part of a fleet is counted name by name.
        !self.is_alone() || {
            let (here, all) = self.part();
            here < all
        }
    }

    pub(crate) const fn is_merging(&self) -> bool {
        matches!(self.phase, Phase::Merging(_))
    }

    /// Whether the others go on without this member, which takes part again when they have heard that it asks to.
    fn is_left_out(&self) -> bool {
        matches!(&self.phase, Phase::Merging(exchange) if exchange.excluded.contains(&self.own))
    }

    /// Whether others may own by now what this member owns: it was left out, and the tables have not met since.
    fn is_suspended(&self) -> bool {
        matches!(&self.phase, Phase::Merging(exchange) if exchange.was_left_out) || self.is_left_out()
    }

    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What a message has to name to be about the state as it is.
    pub(crate) const fn scope(&self) -> u64 {
        match &self.phase {
            Phase::Merging(exchange) => exchange.round,
            Phase::Alone | Phase::Live => self.epoch,
        }
    }

    /// Whether a member of the configuration is silent, so that the live table goes on without it. What it has may
    /// be in use.
    pub(crate) fn is_silent(&self, member: MemberId) -> bool {
        self.order.contains(&member) && !self.takes_part(member) && !self.withdrawn.contains(&member)
    }

    /// Members in the order that all see.
    pub(crate) fn order(&self) -> &[MemberId] {
        &self.order
    }

    pub(crate) fn takes_part(&self, member: MemberId) -> bool {
        self.participants.contains(&member)
    }

    /// Whether this member is the one that speaks for all.
    pub(crate) fn is_first(&self) -> bool {
        !self.is_merging() && self.order.iter().find(|member| self.takes_part(**member)) == Some(&self.own)
    }

    /// Whether this member may act on what it owns: the others have not gone on without it, or not for long.
    pub(crate) fn is_fresh(&self, now: Monotonic) -> bool {
        match self.phase {
            Phase::Alone => self.starting.is_none_or(|until| until <= now),
            Phase::Live | Phase::Merging(_) => !self.is_suspended() && now.since(self.heard) < self.grace,
        }
    }

    /// The process has just started and will join a fleet: until it has, or for a while, it uses nothing that the
    /// others may be using.
    pub(crate) fn start(&mut self, now: Monotonic) {
        self.starting = Some(now + START_PATIENCE);
    }

    /// `true`: nobody has come while this member was starting, and it goes on alone from now on.
    pub(crate) fn ends_start(&mut self, now: Monotonic) -> bool {
        self.starting.take_if(|until| *until <= now).is_some()
    }

    pub(crate) const fn is_starting(&self) -> bool {
        self.starting.is_some()
    }

    /// A message of this member that was sent at that time has come back.
    pub(crate) fn heard(&mut self, sent: Monotonic) {
        self.heard = self.heard.max(sent);
    }

    /// Whether a node has a member in the configuration.
    pub(crate) fn is_present(&self, node: &str) -> bool {
        let names = self.order.iter().filter_map(|member| self.registry.name(*member));
        names.map(PrivateName::node).any(|name| name == node)
    }

    /// Nodes that take part, by name.
    fn nodes(&self) -> Vec<&str> {
        let nodes =
            self.order.iter().filter(|member| self.takes_part(**member) && self.relays.contains(member));
        nodes.filter_map(|member| self.registry.name(*member)).map(PrivateName::node).collect()
    }

    /// What this side may own of a limit.
    pub(crate) fn limit(&self, whole: u64) -> u64 {
        let quorate = if self.is_alone() { self.quorum.told() } else { self.quorum.in_force() };
        match (self.partition, quorate) {
            (Partition::Quorum, Some(true)) => whole,
            (Partition::Quorum, Some(false)) => 0,
            (Partition::Quorum, None) | (Partition::Share | Partition::Full, _) => {
                self.reference.limit(self.partition, whole, &self.nodes())
            }
        }
    }

    /// The bus says whether this side is quorate; `None`: nothing counts votes, or not yet for the configuration that
    /// stands. `true`: limits have changed.
    pub(crate) fn set_quorum(&mut self, held: Option<bool>) -> bool {
        self.quorum.tell(held) && self.is_alone() && self.partition == Partition::Quorum
    }

    /// What this member has to say of quorum for all.
    fn unsaid_quorum(&self) -> Option<bool> {
        let speaks = self.partition == Partition::Quorum && self.is_live() && self.is_first();
        self.quorum.unsaid().filter(|_| speaks)
    }

    pub(crate) fn has_quorum_to_say(&self) -> bool {
        self.unsaid_quorum().is_some()
    }

    pub(crate) fn write_quorum(&mut self, writer: &mut OpsWriter) {
        if let Some(held) = self.unsaid_quorum() {
            writer.push(&Op::Quorum { configuration: self.configuration, held });
            self.quorum.said(held);
        }
    }

    /// A member's word on quorum is delivered; one about another configuration says nothing. `true`: limits have changed.
    pub(crate) fn take_quorum(&mut self, from: MemberId, configuration: u64, held: bool) -> bool {
        if configuration != self.configuration {
            return false;
        }
        let before = self.quorum.in_force();
        self.quorum.deliver(from == self.own, held);
        before != Some(held)
    }

    /// Adds what members have to agree on beside the table.
    pub(crate) fn fingerprint(&self, digest: &mut Digest) {
        let Reference { seats, released } = &self.reference;
        seats.iter().chain(released).for_each(|node| _ = digest.text(node));
        digest.number(seats.len() as u64);
    }

    /// Whether the node of a member has a part of the limit, present or not.
    pub(crate) fn has_seat(&self, member: MemberId) -> bool {
        self.registry.name(member).is_some_and(|name| self.reference.seats.contains(name.node()))
    }

    /// The part of the fleet that is here: so many of so many.
    pub(crate) fn part(&self) -> (u64, u64) {
        self.reference.part(&self.nodes())
    }

    /// Takes the next configuration. The caller removes the departed from its table before anything else.
    pub(crate) fn reconfigure(&mut self, now: Monotonic, next: &Configuration<'_>) -> Change {
        self.starting = None;
        let mut change = Change::default();
        let members: Vec<MemberId> =
            next.members.iter().map(|present| self.registry.id(present.name)).collect();
        let joined: BTreeSet<MemberId> = next.joined.iter().map(|name| self.registry.id(name)).collect();
        for member in self.order.iter().filter(|member| **member != self.own) {
            if !members.contains(member) || joined.contains(member) {
                let name = self.registry.name(*member);
                let told = next.departed.iter().find(|(departed, _)| Some(departed) == name);
                change.departed.push((*member, told.map_or(Departure::Uncertain, |(_, how)| *how)));
            }
        }
        self.order = members;
        self.relays = next
            .members
            .iter()
            .filter(|present| present.relay)
            .map(|present| self.registry.id(present.name))
            .collect();
        for (member, _) in &change.departed {
            self.participants.remove(member);
        }
        for (member, how) in &change.departed {
            if *how == Departure::Certain {
                self.release(*member);
            }
        }
        self.configuration = next.id;
        self.quorum.reconfigured();
        if self.order.iter().all(|member| *member == self.own) {
            change.void = !self.is_alone();
            self.go_alone();
        } else if joined.is_empty() && self.is_left_out() {
            // The others may be live and begin no round by themselves. Asked in the old configuration, they may
            // never have been.
            self.outbox.clear();
            self.ask_restart(now);
        } else if !joined.is_empty() || !self.is_live() {
            change.void = true;
            change.send_table = self.start_round(now, next.id);
        } else {
            self.settle();
        }
        change
    }

    /// The bus is gone: everybody else is out of reach.
    pub(crate) fn lost(&mut self) -> Change {
        let departed = self.order.iter().filter(|member| **member != self.own);
        let departed: Vec<(MemberId, Departure)> =
            departed.map(|member| (*member, Departure::Uncertain)).collect();
        self.order = alloc::vec![self.own];
        self.participants = BTreeSet::from([self.own]);
        self.relays = BTreeSet::from([self.own]);
        let change = Change { departed, void: !self.is_alone(), send_table: false };
        // Without the bus nobody says anything of quorum.
        self.quorum = Quorum::default();
        self.go_alone();
        change
    }

    fn go_alone(&mut self) {
        self.phase = Phase::Alone;
        self.participants = BTreeSet::from([self.own]);
        self.alone += 1;
        self.epoch = Digest::new().text(self.own_name.as_str()).number(self.alone).value();
        self.outbox.clear();
        self.settle();
    }

    fn settle(&mut self) {
        let mut reference = core::mem::take(&mut self.reference);
        reference.settle(&self.nodes());
        self.reference = reference;
    }

    /// A node has no part any more.
    fn release(&mut self, member: MemberId) {
        if let Some(node) = self.registry.name(member).map(|name| name.node().to_owned()) {
            self.release_node(&node);
        }
    }

    /// A node has no part any more; one of that name that is present keeps it.
    pub(crate) fn release_node(&mut self, node: &str) {
        if self.nodes().contains(&node) {
            return;
        }
        let mut reference = core::mem::take(&mut self.reference);
        reference.release(node, &self.nodes());
        self.reference = reference;
        if !self.is_merging() {
            self.settle();
        }
    }

    /// A member stops sharing the object and stays in the configuration.
    pub(crate) fn leave(&mut self, member: MemberId) {
        self.participants.remove(&member);
        self.release(member);
    }

    fn start_round(&mut self, now: Monotonic, round: u64) -> bool {
        let mut mates = self.participants.clone();
        if let Phase::Merging(exchange) = &self.phase {
            // Whoever was left out and the rest may have gone on apart.
            let out = exchange.excluded.contains(&self.own);
            mates.retain(|member| {
                exchange.mates.contains(member)
                    && exchange.excluded.contains(member) == out
                    && !exchange.left.contains(member)
            });
        }
        mates.insert(self.own);
        let was_left_out = self.is_suspended();
        let side = self.side(&mates);
        self.participants.clone_from(&mates);
        self.outbox.clear();
        let exchange = Exchange {
            round,
            since: now,
            side,
            mates,
            hellos: BTreeMap::new(),
            parts: BTreeMap::new(),
            tables: Vec::new(),
            excluded: BTreeSet::new(),
            left: BTreeSet::new(),
            turns: 0,
            excluding: false,
            was_left_out,
        };
        self.exchange(now, exchange)
    }

    /// The name of a former side: who belongs to it. Nobody belongs to two. What it did before does not tell sides apart:
    /// those of a split have the same past, and go on together when the exchange in which they met did not end.
    fn side(&self, mates: &BTreeSet<MemberId>) -> u64 {
        let mut names: Vec<&PrivateName> =
            mates.iter().filter_map(|mate| self.registry.name(*mate)).collect();
        names.sort_unstable();
        let mut digest = Digest::new();
        names.into_iter().for_each(|name| _ = digest.text(name.as_str()));
        digest.value()
    }

    /// Begins an exchange. `true` when this member sends the table of its side.
    fn exchange(&mut self, now: Monotonic, exchange: Exchange) -> bool {
        let sends = |member: &&MemberId| exchange.mates.contains(member) && !exchange.left.contains(member);
        let first = self.order.iter().find(sends) == Some(&self.own);
        self.phase = Phase::Merging(exchange);
        if !first {
            self.hello(now, false);
        }
        first
    }

    /// Asks everybody to exchange tables anew: this member began to share the object while the configuration stood,
    /// or was left out.
    pub(crate) fn ask_restart(&mut self, now: Monotonic) {
        self.outbox.push_back(write(self.configuration, now, &Body::Restart));
    }

    /// Tables are exchanged anew. `None` when the message speaks about another configuration.
    pub(crate) fn restart(
        &mut self,
        now: Monotonic,
        from: MemberId,
        scope: u64,
        sent: Monotonic,
    ) -> Option<Change> {
        if scope != self.configuration || self.is_alone() {
            return None;
        }
        let name = self.registry.name(from).map_or("", PrivateName::as_str);
        let round = Digest::new().number(scope).text(name).number(sent.as_micros()).value();
        let send_table = self.start_round(now, round);
        Some(Change { departed: Vec::new(), void: true, send_table })
    }

    /// A part of the table of the own side, as a message.
    pub(crate) fn write_part(&self, now: Monotonic, rows: Vec<Row<'_>>) -> Option<Vec<u8>> {
        match &self.phase {
            Phase::Merging(exchange) => Some(write(exchange.round, now, &Body::Part(rows))),
            Phase::Alone | Phase::Live => None,
        }
    }

    pub(crate) fn send_parts(&mut self, parts: Vec<Vec<u8>>) {
        self.outbox.extend(parts);
    }

    /// Says hello; with `table` the parts that were sent before are the whole table.
    pub(crate) fn hello(&mut self, now: Monotonic, table: bool) {
        if let Phase::Merging(exchange) = &self.phase {
            let body = Body::Hello { side: exchange.side, table };
            self.outbox.push_back(write(exchange.round, now, &body));
        }
    }

    /// The reference as a row of the own table.
    pub(crate) fn reference_row(&self) -> Row<'_> {
        Row::Reference {
            seats: self.reference.seats.iter().map(String::as_str).collect(),
            released: self.reference.released.iter().map(String::as_str).collect(),
        }
    }

    /// A part of a member's table came.
    pub(crate) fn take_part(&mut self, from: MemberId, scope: u64, bytes: &[u8]) {
        if let Phase::Merging(exchange) = &mut self.phase
            && exchange.round == scope
            && !exchange.hellos.contains_key(&from)
        {
            exchange.parts.entry(from).or_default().push(bytes.to_vec());
        }
    }

    /// A member said hello. With the last one the tables of all sides are there.
    pub(crate) fn take_hello(
        &mut self,
        now: Monotonic,
        from: MemberId,
        scope: u64,
        side: u64,
        table: bool,
    ) -> Option<Exchanged> {
        let Phase::Merging(exchange) = &mut self.phase else { return None };
        if exchange.round != scope || !self.order.contains(&from) || exchange.excluded.contains(&from) {
            return None;
        }
        exchange.hellos.insert(from, side);
        if table {
            exchange.tables.push(from);
        }
        self.complete(now)
    }

    /// Members are left out because they did not say hello.
    pub(crate) fn take_exclusion(
        &mut self,
        now: Monotonic,
        scope: u64,
        members: &[PrivateName],
    ) -> Option<Exchanged> {
        let Phase::Merging(exchange) = &mut self.phase else { return None };
        if exchange.round != scope {
            return None;
        }
        for name in members {
            let Some(member) = self.registry.known(name) else { continue };
            if !exchange.hellos.contains_key(&member) {
                exchange.excluded.insert(member);
            }
        }
        if exchange.excluded.contains(&self.own) {
            self.ask_restart(now);
            return None;
        }
        self.complete(now)
    }

    /// A member shares the object no more, while tables are exchanged. What it sent for its side stays in force.
    pub(crate) fn take_withdrawal(
        &mut self,
        now: Monotonic,
        from: MemberId,
        scope: u64,
    ) -> Option<Exchanged> {
        let Phase::Merging(exchange) = &mut self.phase else { return None };
        if exchange.round != scope {
            return None;
        }
        exchange.left.insert(from);
        self.complete(now)
    }

    fn complete(&mut self, now: Monotonic) -> Option<Exchanged> {
        let Phase::Merging(exchange) = &mut self.phase else { return None };
        if exchange.excluded.contains(&self.own) || self.order.iter().any(|member| exchange.awaits(member)) {
            return None;
        }
        let told: BTreeSet<u64> =
            exchange.tables.iter().filter_map(|sender| exchange.hellos.get(sender)).copied().collect();
        let here = exchange.hellos.iter().filter(|(member, _)| !exchange.left.contains(member));
        if here.into_iter().any(|(_, side)| !told.contains(side)) {
            return Some(Exchanged::Again(self.exchange_again(now)));
        }
        let mut tables = Vec::new();
        let mut sides = BTreeSet::new();
        for sender in &exchange.tables {
            let Some(side) = exchange.hellos.get(sender) else { continue };
            if sides.insert(*side) {
                let members = exchange.hellos.iter().filter(|(_, of)| *of == side).map(|(member, _)| *member);
                let members = members.filter(|member| !exchange.left.contains(member));
                let parts = exchange.parts.remove(sender).unwrap_or_default();
                tables.push(SideTable { members: members.collect(), parts });
            }
        }
        let hellos = exchange.hellos.keys();
        self.participants = hellos.filter(|member| !exchange.left.contains(member)).copied().collect();
        self.withdrawn = exchange.left.iter().copied().collect();
        self.epoch = exchange.round;
        self.phase = Phase::Live;
        self.quorum.merged();
        Some(Exchanged::Complete(tables))
    }

    /// The next round among those who have answered in this one.
    fn exchange_again(&mut self, now: Monotonic) -> Change {
        let phase = core::mem::replace(&mut self.phase, Phase::Live);
        let Phase::Merging(mut exchange) = phase else { return Change::default() };
        let Exchange { mates, side, hellos, left, .. } = &mut exchange;
        // Whoever began anew, without the others' hearing that it had stopped, brings a table of its own.
        mates.retain(|mate| hellos.get(mate) == Some(side) && !left.contains(mate));
        self.participants.clone_from(&exchange.mates);
        self.outbox.clear();
        let again = Exchange {
            round: Digest::new().number(exchange.round).text("again").value(),
            since: now,
            hellos: BTreeMap::new(),
            parts: BTreeMap::new(),
            tables: Vec::new(),
            turns: 0,
            excluding: false,
            ..exchange
        };
        Change { departed: Vec::new(), void: true, send_table: self.exchange(now, again) }
    }

    /// After the tables have come: the references of all sides, in the order of the tables.
    pub(crate) fn merge_references(&mut self, sides: Vec<Reference>) {
        let mut merged: Option<Reference> = None;
        for side in sides {
            match &mut merged {
                None => merged = Some(side),
                Some(merged) => merged.merge(&side),
            }
        }
        self.reference = merged.unwrap_or_default();
        let mut withdrawn: Vec<String> = core::mem::take(&mut self.withdrawn)
            .into_iter()
            .filter_map(|member| self.registry.name(member))
            .map(|name| name.node().to_owned())
            .collect();
        // Ids have another order on each member.
        withdrawn.sort_unstable();
        for node in withdrawn {
            self.release_node(&node);
        }
        self.settle();
    }

    /// When this member may have to leave the silent out.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        match &self.phase {
            Phase::Merging(exchange) if !exchange.excluding => Some(exchange.since + EXCHANGE_PATIENCE),
            Phase::Alone => self.starting,
            Phase::Merging(_) | Phase::Live => None,
        }
    }

    /// Leaves the silent out when it is this member's turn. Every member that has said hello may be the one: a second
    /// exclusion changes nothing.
    pub(crate) fn handle_timeout(&mut self, now: Monotonic) {
        let Phase::Merging(exchange) = &mut self.phase else { return };
        if exchange.excluding || now.since(exchange.since) < EXCHANGE_PATIENCE {
            return;
        }
        // The first one that is ready does it. It may be slow as well, so each time it is one more's turn.
        exchange.turns += 1;
        let ready =
            |member: &&MemberId| exchange.hellos.contains_key(member) && !exchange.left.contains(member);
        if !self.order.iter().filter(ready).take(exchange.turns).any(|member| *member == self.own) {
            exchange.since = now;
            return;
        }
        exchange.excluding = true;
        let silent = self.order.iter().filter(|member| exchange.awaits(member));
        let silent: Vec<PrivateName> =
            silent.filter_map(|member| self.registry.name(*member)).cloned().collect();
        let bytes = write(exchange.round, now, &Body::Exclude(silent));
        self.outbox.push_back(bytes);
    }

    /// Members that have not said hello, while tables are exchanged.
    pub(crate) fn awaited(&self) -> Vec<&PrivateName> {
        let Phase::Merging(exchange) = &self.phase else { return Vec::new() };
        let silent = self.order.iter().filter(|member| exchange.awaits(member));
        silent.filter_map(|member| self.registry.name(*member)).collect()
    }

    /// The next message of the exchange.
    pub(crate) fn poll(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    pub(crate) fn has_outgoing(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// That this member shares the object no more, for the state as it is or will be after the exchange.
    pub(crate) fn write_withdrawal(&self, now: Monotonic) -> Vec<u8> {
        write(self.scope(), now, &Body::Ops(alloc::vec![Op::Leave]))
    }
}
