//! Deliveries of a slot table: operations in the order of the bus, and the meeting of sides.

use crate::fleet::{Change, Departure, Exchanged, SideTable};
use crate::member::MemberId;
use crate::reference::Reference;
use crate::slot_locals::{Local, LocalId};
use crate::slot_pool::{Entry, SlotPool};
use crate::slots::Slots;
use crate::wire::{Body, MessageError, Op, Row, read};
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use postfleet_types::{Monotonic, Notice, PrivateName, Severity};

/// About how long a part of a table may be, in bytes.
const PART_BYTES: usize = 48 * 1024;

impl Slots {
    /// Takes the next message of the table, in the order of delivery, own ones included.
    ///
    /// # Errors
    /// [`MessageError`]: nothing of the message was applied, here or on any other member of this version.
    pub fn apply(&mut self, now: Monotonic, from: &PrivateName, payload: &[u8]) -> Result<(), MessageError> {
        let message = read(payload)?;
        let Some(member) = self.fleet.registry.known(from).filter(|id| self.fleet.order().contains(id))
        else {
            return Ok(());
        };
        if member == self.fleet.own {
            self.heard(now, message.sent);
        }
        match message.body {
            Body::Ops(ops) if self.fleet.is_merging() && ops.contains(&Op::Leave) => {
                let exchanged = self.fleet.take_withdrawal(now, member, message.scope);
                self.exchanged(now, exchanged);
            }
            Body::Ops(ops) => {
                let epoch = message.scope == self.fleet.epoch();
                if self.fleet.is_live() && epoch && self.fleet.takes_part(member) {
                    self.apply_ops(now, member, &ops);
                }
            }
            Body::Part(_) => self.fleet.take_part(member, message.scope, payload),
            Body::Hello { side, table } => {
                let exchanged = self.fleet.take_hello(now, member, message.scope, side, table);
                self.exchanged(now, exchanged);
            }
            Body::Exclude(members) => {
                if let Some(exchanged) = self.fleet.take_exclusion(now, message.scope, &members) {
                    let names: Vec<&str> = members.iter().map(PrivateName::as_str).collect();
                    self.notices.push_back(Notice {
                        severity: Severity::Notice,
                        text: format!(
                            "{} did not send slot data for {} s: limits go on without it, and it opens no connection \
                             under a cluster limit until it answers",
                            names.join(", "),
                            crate::fleet::EXCHANGE_PATIENCE.as_secs()
                        ),
                    });
                    self.exchanged(now, Some(exchanged));
                }
            }
            Body::Restart => {
                if let Some(change) = self.fleet.restart(now, member, message.scope, message.sent) {
                    self.take_change(now, &change);
                }
            }
        }
        self.settle(now);
        Ok(())
    }

    fn exchanged(&mut self, now: Monotonic, exchanged: Option<Exchanged>) {
        match exchanged {
            Some(Exchanged::Complete(sides)) => self.merge(now, &sides),
            Some(Exchanged::Again(change)) => self.take_change(now, &change),
            None => {}
        }
    }

    pub(crate) fn apply_ops(&mut self, now: Monotonic, from: MemberId, ops: &[Op<'_>]) {
        let own = from == self.fleet.own;
        for op in ops {
            match op {
                Op::Limit { key, units } => self.pool.set_limit(now, key, *units, self.fleet.limit(*units)),
                Op::SlotClaim { path, units } => {
                    self.pool.claim(now, from, path, *units);
                    self.returned(own, path, |local| local.claiming = false);
                }
                Op::SlotGive { path, units } => {
                    self.returned(own, path, |local| {
                        local.gives_under_way = local.gives_under_way.saturating_sub(*units);
                    });
                    self.pool.give(now, from, path, *units);
                }
                Op::SlotAdopt { path, units } => {
                    self.returned(own, path, |local| {
                        local.adopts_under_way = local.adopts_under_way.saturating_sub(*units);
                    });
                    self.pool.adopt(from, path, *units);
                }
                Op::Forget { node } => {
                    self.verdicts.forgotten_is_in_force(node);
                    self.fleet.release_node(node);
                    self.set_limits(now);
                }
                Op::Certain { member } => {
                    self.verdicts.dead_is_in_force(member);
                    let present = self.fleet.registry.known(member);
                    if present.is_none_or(|id| !self.fleet.order().contains(&id)) {
                        self.fleet.release_node(member.node());
                        self.set_limits(now);
                    }
                }
                Op::Leave => {
                    self.pool.depart(now, from);
                    self.fleet.leave(from);
                    self.set_limits(now);
                }
                Op::Quorum { configuration, held } => {
                    if self.fleet.take_quorum(from, *configuration, *held) {
                        self.set_limits(now);
                    }
                }
                Op::Create { .. }
                | Op::Rate { .. }
                | Op::Claim { .. }
                | Op::Give { .. }
                | Op::Force { .. }
                | Op::Expire { .. }
                | Op::Drop { .. } => {}
            }
        }
        self.pool.forget_unused_keys();
        let mut touched: BTreeSet<&str> = BTreeSet::new();
        for op in ops {
            match op {
                Op::Limit { key, .. } => drop(touched.insert(*key)),
                Op::SlotClaim { path, .. } | Op::SlotGive { path, .. } | Op::SlotAdopt { path, .. } => {
                    touched.extend(path.iter().copied());
                }
                Op::Forget { .. }
                | Op::Certain { .. }
                | Op::Leave
                | Op::Quorum { .. }
                | Op::Create { .. }
                | Op::Rate { .. }
                | Op::Claim { .. }
                | Op::Give { .. }
                | Op::Force { .. }
                | Op::Expire { .. }
                | Op::Drop { .. } => return self.look_at_all(),
            }
        }
        let paths: BTreeSet<LocalId> = touched.into_iter().flat_map(|name| self.locals.on(name)).collect();
        self.look_at(paths);
    }

    fn returned(&mut self, own: bool, path: &[&str], change: impl FnOnce(&mut Local)) {
        if own
            && let Some(id) = self.locals.find_names(path)
            && let Some(local) = self.locals.get_mut(id)
        {
            change(local);
        }
    }

    pub(crate) fn look_at_all(&mut self) {
        self.look_at(self.locals.ids().collect());
    }

    /// Runs the rules for paths, and forgets those on which this member has nothing.
    fn look_at(&mut self, paths: BTreeSet<LocalId>) {
        for path in paths {
            if !self.forget_if_unused(path) {
                self.dirty.insert(path);
            }
        }
    }

    pub(crate) fn set_limits(&mut self, now: Monotonic) {
        let Self { pool, fleet, .. } = self;
        pool.set_limits(now, |whole| fleet.limit(whole));
    }

    pub(crate) fn take_change(&mut self, now: Monotonic, change: &Change) {
        for (member, how) in &change.departed {
            // Slots of whoever departs are free at once: its connections are gone, or count for its own side.
            let (Departure::Certain | Departure::Uncertain) = how;
            self.pool.depart(now, *member);
        }
        if change.void {
            for local in self.locals.values_mut() {
                local.gives_unsent = 0;
                local.gives_under_way = 0;
                local.adopts_unsent += core::mem::take(&mut local.adopts_under_way);
                local.claiming = false;
            }
            self.keep_moves();
            self.verdicts.void();
        }
        self.verdicts.withdraw(|node| self.fleet.is_present(node));
        if self.fleet.is_merging() {
            let Self { pool, fleet, .. } = self;
            pool.restrain(|whole| fleet.limit(whole));
        } else {
            self.set_limits(now);
        }
        if change.send_table {
            self.send_table(now);
        }
        self.look_at_all();
        self.settle(now);
    }

    fn send_table(&mut self, now: Monotonic) {
        let Self { fleet, pool, .. } = self;
        let mut rows = alloc::vec![fleet.reference_row()];
        rows.extend(pool.keys().map(|key| Row::Limit { key: &key.name, units: key.whole }));
        for (member, path, entry) in pool.in_order() {
            if let Some(name) = fleet.registry.name(member) {
                rows.push(Row::Slots {
                    member: name.clone(),
                    path: pool.path_names(path),
                    own: entry.own,
                    want: entry.want,
                    skipped: entry.skipped,
                });
            }
        }
        let mut parts = Vec::new();
        let mut part = Vec::new();
        let mut bytes = 0;
        for row in rows {
            bytes += match &row {
                Row::Slots { path, .. } => 48 + path.iter().map(|name| name.len() + 2).sum::<usize>(),
                Row::Limit { key, .. } => 16 + key.len(),
                Row::Reference { .. } | Row::Throttle(_) => 0,
            };
            part.push(row);
            if bytes > PART_BYTES {
                parts.extend(fleet.write_part(now, core::mem::take(&mut part)));
                bytes = 0;
            }
        }
        parts.extend(fleet.write_part(now, part));
        self.fleet.send_parts(parts);
        self.fleet.hello(now, true);
    }

    fn merge(&mut self, now: Monotonic, sides: &[SideTable]) {
        let mut pool = SlotPool::default();
        let mut references = Vec::new();
        let mut entries: Vec<(MemberId, Vec<String>, Entry)> = Vec::new();
        let mut silent: BTreeMap<(MemberId, Vec<String>), u64> = BTreeMap::new();
        let mut limits: BTreeMap<String, u64> = BTreeMap::new();
        for side in sides {
            let mut reference = Reference::default();
            for part in &side.parts {
                let Ok(message) = read(part) else { continue };
                let Body::Part(rows) = message.body else { continue };
                for row in rows {
                    match row {
                        Row::Reference { seats, released } => {
                            reference.seats = seats.into_iter().map(ToOwned::to_owned).collect();
                            reference.released = released.into_iter().map(ToOwned::to_owned).collect();
                        }
                        Row::Limit { key, units } => {
                            limits.entry(key.to_owned()).or_insert(units);
                        }
                        Row::Slots { member, path, own, want, skipped } => {
                            let id = self.fleet.registry.id(&member);
                            let names = path.into_iter().map(ToOwned::to_owned).collect();
                            if side.members.contains(&id) {
                                entries.push((id, names, Entry { own, want, skipped, ..Entry::default() }));
                            } else if self.fleet.is_silent(id) {
                                // Its connections are open, for all that anybody knows.
                                let most = silent.entry((id, names)).or_default();
                                *most = own.max(*most);
                            }
                        }
                        Row::Throttle(_) => {}
                    }
                }
            }
            references.push(reference);
        }
        self.fleet.merge_references(references);
        // Limits first and closed, so that nothing is dealt before everything is there.
        for (key, whole) in &limits {
            pool.set_limit(now, key, *whole, 0);
        }
        for (member, names, entry) in entries {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            pool.insert(now, member, &names, entry);
        }
        // By name: ids have another order on each member.
        let registry = &self.fleet.registry;
        let mut silent: Vec<_> = silent.into_iter().filter(|(_, own)| *own > 0).collect();
        silent.sort_unstable_by(|((left, left_path), _), ((right, right_path), _)| {
            registry.name(*left).cmp(&registry.name(*right)).then_with(|| left_path.cmp(right_path))
        });
        for ((member, names), own) in silent {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            pool.insert(now, member, &names, Entry { own, ..Entry::default() });
        }
        pool.forget_unused_keys();
        self.pool = pool;
        // Numbers of the old pool mean nothing in this one.
        self.locals.values_mut().for_each(|local| local.path = None);
        self.set_limits(now);
        self.look_at_all();
    }
}
