//! Deliveries: operations in the order of the bus, and the meeting of sides.

use crate::entry::Say;
use crate::fleet::{Exchanged, SideTable};
use crate::member::MemberId;
use crate::pool::{Departed, Gone, Pool};
use crate::rate::{Epsilon, Rate};
use crate::reference::Reference;
use crate::shared::SharedThrottles;
use crate::wire::{Body, GoneRow, MessageError, Op, Row, ThrottleRow, read};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use postfleet_types::{Monotonic, Notice, PrivateName, Severity};

/// About how long a part of a table may be, in bytes.
const PART_BYTES: usize = 48 * 1024;

/// Lines for the log that wait; more would mean that nobody reads them.
const NOTICES_MAX: usize = 100;

impl SharedThrottles {
    /// Takes the next message of the object, in the order of delivery, own ones included.
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
                let valid = self.fleet.is_live()
                    && message.scope == self.fleet.epoch()
                    && self.fleet.takes_part(member);
                if valid {
                    for op in &ops {
                        self.apply_op(now, member, op);
                    }
                } else {
                    self.counters.operations_void += ops.len() as u64;
                }
            }
            Body::Part(_) => self.fleet.take_part(member, message.scope, payload),
            Body::Hello { side, table } => {
                let exchanged = self.fleet.take_hello(now, member, message.scope, side, table);
                self.exchanged(now, exchanged);
            }
            Body::Exclude(members) => {
                if let Some(exchanged) = self.fleet.take_exclusion(now, message.scope, &members) {
                    self.notice_excluded(&members);
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
            Some(Exchanged::Complete(sides)) => self.merge(now, sides),
            Some(Exchanged::Again(change)) => self.take_change(now, &change),
            None => {}
        }
    }

    /// Applies operations of this member while nobody else is there.
    pub(crate) fn apply_own(&mut self, now: Monotonic, bytes: &[u8]) {
        let Ok(message) = read(bytes) else { return };
        if let Body::Ops(ops) = &message.body {
            for op in ops {
                self.apply_op(now, self.fleet.own, op);
            }
        }
    }

    fn apply_op(&mut self, now: Monotonic, from: MemberId, op: &Op<'_>) {
        self.counters.operations_applied += 1;
        let own = from == self.fleet.own;
        match op {
            Op::Create { name, rate, epsilon } => {
                let Ok(index) = self.entry_of(name) else { return };
                self.exist(now, index, *rate, *epsilon, false);
                let Some(entry) = self.entry_mut(index) else { return };
                let live = entry.pool.as_ref().map(|pool| pool.rate);
                if own {
                    let asked = entry.created.take().map(|(rate, _)| rate);
                    entry.create = Say::Nothing;
                    if let (Some(live), Some(asked)) = (live, asked)
                        && live != asked
                    {
                        self.notice(format!(
                            "throttle '{name}' stays at {live}; a script asked for {asked}, which will take effect \
                             when it has been idle for {} s",
                            u64::from(live.seconds()) + 1
                        ));
                    }
                }
                self.changed(index);
            }
            Op::Rate { name, rate } => {
                let Ok(index) = self.entry_of(name) else { return };
                self.exist(now, index, *rate, Epsilon::default(), true);
                if own && let Some(entry) = self.entry_mut(index) {
                    entry.announce = if entry.configured.is_none_or(|configured| configured == *rate) {
                        Say::Nothing
                    } else {
                        Say::Unsent
                    };
                }
                self.changed(index);
            }
            Op::Claim { name, units, ahead } => {
                self.change(now, name, true, |pool| pool.claim(now, from, *units, *ahead));
                if own {
                    self.returned(name, |entry| entry.claiming = false);
                }
            }
            Op::Give { name, units } => {
                if own {
                    self.returned(name, |entry| {
                        entry.gives_under_way = entry.gives_under_way.saturating_sub(*units);
                    });
                }
                self.change(now, name, false, |pool| pool.give(now, from, *units));
            }
            Op::Force { name, units } => {
                if own {
                    self.returned(name, |entry| {
                        entry.forces_under_way = entry.forces_under_way.saturating_sub(*units);
                    });
                }
                self.change(now, name, true, |pool| pool.force(now, from, *units));
            }
            Op::Expire { name, member } => {
                let Some(member) = self.fleet.registry.known(member) else { return };
                self.change(now, name, false, |pool| pool.expire(now, member));
                self.returned(name, |entry| {
                    entry.expiring.remove(&member);
                });
            }
            Op::Drop { name, touched } => self.drop_empty(name, *touched, own),
            Op::Forget { node } => self.forget_node(now, node),
            Op::Certain { member } => self.make_certain(now, member),
            Op::Leave => self.member_left(now, from),
            Op::Quorum { configuration, held } => {
                if self.fleet.take_quorum(from, *configuration, *held) {
                    self.look_at_limits(now);
                }
            }
            Op::Limit { .. } | Op::SlotClaim { .. } | Op::SlotGive { .. } | Op::SlotAdopt { .. } => {}
        }
    }

    /// Changes an existing pool and brings the own units in line.
    fn change(&mut self, now: Monotonic, name: &str, used: bool, change: impl FnOnce(&mut Pool)) {
        let Some(index) = self.names.get(name).copied() else { return };
        let own = self.fleet.own;
        let Some(entry) = self.entry_mut(index) else { return };
        let Some(pool) = &mut entry.pool else { return };
        change(pool);
        entry.reconcile(now, own);
        if used {
            self.stamp(index);
        }
        self.changed(index);
    }

    fn returned(&mut self, name: &str, change: impl FnOnce(&mut crate::entry::Entry)) {
        if let Some(index) = self.names.get(name).copied()
            && let Some(entry) = self.entry_mut(index)
        {
            change(entry);
            self.changed(index);
        }
    }

    /// A throttle exists from here on; one that did already takes the rate when `set`.
    fn exist(&mut self, now: Monotonic, index: u32, rate: Rate, epsilon: Epsilon, set: bool) {
        let limit = self.fleet.limit(rate.units());
        if self.entry(index).is_some_and(|entry| entry.pool.is_none()) {
            self.make_room(now);
        }
        let own = self.fleet.own;
        let Some(entry) = self.entry_mut(index) else { return };
        match &mut entry.pool {
            Some(pool) if set && pool.rate != rate => pool.set_rate(now, rate, limit),
            Some(pool) => pool.touch(now),
            None => {
                let mut pool = Pool::new(rate, epsilon, limit, now);
                pool.touch(now);
                entry.pool = Some(pool);
            }
        }
        entry.reconcile(now, own);
        self.stamp(index);
    }

    /// It was used, in the order that all members share.
    fn stamp(&mut self, index: u32) {
        self.stamps += 1;
        let stamp = self.stamps;
        if let Some(entry) = self.entry_mut(index) {
            let before = core::mem::replace(&mut entry.stamp, stamp);
            self.order.remove(&before);
            self.order.insert(stamp, index);
        }
    }

    fn make_room(&mut self, now: Monotonic) {
        let Some(capacity) = self.options.capacity else { return };
        while self.order.len() >= capacity.max(1)
            && let Some((_, index)) = self.order.first_key_value()
        {
            self.evict(now, *index);
        }
    }

    /// The table is full. Whoever waits for the throttle is let through: there is nothing left to wait for, and to
    /// make it anew would only push out the next one.
    fn evict(&mut self, now: Monotonic, index: u32) {
        self.counters.evicted += 1;
        let lines: Vec<u32> =
            self.entry(index).map(|entry| entry.lines.iter().copied().collect()).unwrap_or_default();
        for line in lines {
            let wanted = self.lines.get(line).map_or(0, crate::lines::Line::wanted);
            self.serve(line, wanted);
            self.release_surplus(now, line);
        }
        if let Some(entry) = self.entry_mut(index) {
            entry.forces_unsent = 0;
            entry.forces_under_way = 0;
        }
        self.remove_pool(now, index);
    }

    /// A throttle exists no more, on all members.
    fn remove_pool(&mut self, now: Monotonic, index: u32) {
        let Some(entry) = self.entry_mut(index) else { return };
        let stamp = core::mem::take(&mut entry.stamp);
        let lines: Vec<u32> = entry.lines.iter().copied().collect();
        if let Some(pool) = entry.pool.take() {
            // Who waits here still needs it.
            if entry.configured.is_none()
                && entry.created.is_none()
                && (entry.forces() > 0 || !lines.is_empty())
            {
                entry.created = Some((pool.rate, pool.epsilon));
            }
        }
        entry.forget_units();
        self.order.remove(&stamp);
        for line in lines {
            let taken = self.lines.get_mut(line).map(crate::lines::Line::return_all).unwrap_or_default();
            for (throttle, units) in taken {
                if throttle != index
                    && let Some(entry) = self.entry_mut(throttle)
                {
                    entry.held = entry.held.saturating_sub(units);
                    entry.add_idle(now, units);
                }
                self.changed(throttle);
            }
        }
        self.changed(index);
    }

    fn drop_empty(&mut self, name: &str, touched: u64, own: bool) {
        let Some(index) = self.names.get(name).copied() else { return };
        let Some(entry) = self.entry_mut(index) else { return };
        if own {
            entry.dropping = Say::Nothing;
        }
        if entry.pool.as_ref().is_some_and(|pool| pool.is_empty() && pool.touched == touched) {
            self.remove_pool(Monotonic::ZERO, index);
        }
        self.changed(index);
    }

    fn forget_node(&mut self, now: Monotonic, node: &str) {
        self.verdicts.forgotten_is_in_force(node);
        self.fleet.release_node(node);
        let order = self.fleet.order();
        let dead: Vec<MemberId> =
            self.fleet.registry.of_node(node).filter(|member| !order.contains(member)).collect();
        for index in self.indexes() {
            if let Some(entry) = self.entry_mut(index)
                && let Some(pool) = &mut entry.pool
            {
                dead.iter().for_each(|member| pool.expire(now, *member));
            }
            self.changed(index);
        }
        self.set_limits(now);
    }

    fn make_certain(&mut self, now: Monotonic, member: &PrivateName) {
        self.verdicts.dead_is_in_force(member);
        // Whoever joined later may never have heard of it, and awaits its node all the same.
        let id = self.fleet.registry.known(member);
        if id.is_some_and(|id| self.fleet.order().contains(&id)) {
            return;
        }
        self.fleet.release_node(member.node());
        for index in self.indexes() {
            if let (Some(id), Some(entry)) = (id, self.entry_mut(index))
                && let Some(pool) = &mut entry.pool
            {
                pool.certain(id);
            }
            self.changed(index);
        }
        self.set_limits(now);
    }

    fn member_left(&mut self, now: Monotonic, member: MemberId) {
        for index in self.indexes() {
            if let Some(entry) = self.entry_mut(index)
                && let Some(pool) = &mut entry.pool
            {
                pool.depart(now, &[Departed { member, certain: true, seated: false }], None);
            }
            self.changed(index);
        }
        self.fleet.leave(member);
        self.set_limits(now);
    }

    /// Sends the table of this member's side, as it was frozen.
    pub(crate) fn send_table(&mut self, now: Monotonic) {
        let Self { fleet, entries, order, .. } = self;
        let mut parts: Vec<Vec<Row<'_>>> = alloc::vec![alloc::vec![fleet.reference_row()]];
        let mut bytes = 0;
        for index in order.values() {
            let entry = usize::try_from(*index).ok().and_then(|index| entries.get(index)?.1.as_ref());
            let Some((entry, pool)) = entry.and_then(|entry| Some((entry, entry.pool.as_ref()?))) else {
                continue;
            };
            let name_of = |member: MemberId| fleet.registry.name(member).cloned();
            let mut shares: Vec<(u64, MemberId)> =
                pool.shares().map(|(member, share)| (share.place, member)).collect();
            shares.sort_unstable_by_key(|(place, _)| *place);
            let share = |member: MemberId| {
                let share = pool.share(member);
                Some((name_of(member)?, share.own, share.want))
            };
            let row = ThrottleRow {
                name: &entry.name,
                rate: pool.rate,
                epsilon: pool.epsilon,
                touched: pool.touched,
                shares: shares.into_iter().filter_map(|(_, member)| share(member)).collect(),
                gone: pool
                    .gone()
                    .filter_map(|(member, gone)| {
                        Some(GoneRow {
                            member: name_of(member)?,
                            units: gone.units,
                            certain: gone.certain,
                            cap: gone.cap,
                            turn: gone.turn,
                        })
                    })
                    .collect(),
            };
            bytes += 48 + row.name.len() + 48 * (row.shares.len() + row.gone.len());
            if bytes > PART_BYTES {
                parts.push(Vec::new());
                bytes = 0;
            }
            if let Some(part) = parts.last_mut() {
                part.push(Row::Throttle(row));
            }
        }
        let written: Vec<Vec<u8>> =
            parts.into_iter().filter_map(|rows| fleet.write_part(now, rows)).collect();
        self.fleet.send_parts(written);
        self.fleet.hello(now, true);
    }

    /// All tables have come: every member computes the same one from them.
    fn merge(&mut self, now: Monotonic, sides: Vec<SideTable>) {
        self.counters.merges += 1;
        let mut references = Vec::new();
        let mut pools: BTreeMap<String, Pool> = BTreeMap::new();
        let mut order: Vec<String> = Vec::new();
        // For each throttle what is gone on which side, and what members of which side own.
        let mut gone: BTreeMap<String, Vec<(usize, MemberId, Gone)>> = BTreeMap::new();
        let mut owns: BTreeMap<String, Vec<(usize, MemberId, u64)>> = BTreeMap::new();
        for (number, side) in sides.iter().enumerate() {
            let mut reference = Reference::default();
            for part in &side.parts {
                let Ok(message) = read(part) else { continue };
                let Body::Part(rows) = message.body else { continue };
                for row in rows {
                    let row = match row {
                        Row::Reference { seats, released } => {
                            reference.seats = seats.into_iter().map(ToOwned::to_owned).collect();
                            reference.released = released.into_iter().map(ToOwned::to_owned).collect();
                            continue;
                        }
                        Row::Throttle(row) => row,
                        Row::Limit { .. } | Row::Slots { .. } => continue,
                    };
                    let pool = pools.entry(row.name.to_owned()).or_insert_with(|| {
                        order.push(row.name.to_owned());
                        Pool::new(row.rate, row.epsilon, row.rate.units(), now)
                    });
                    pool.touched = pool.touched.max(row.touched);
                    let all = row.shares.iter().fold(0, |all: u64, (_, own, _)| all.saturating_add(*own));
                    let gone = gone.entry(row.name.to_owned()).or_default();
                    let owns = owns.entry(row.name.to_owned()).or_default();
                    for (member, own, want) in &row.shares {
                        let id = self.fleet.registry.id(member);
                        if side.members.contains(&id) {
                            pool.adopt_share(now, id, *own, *want);
                            owns.push((number, id, *own));
                        } else if *own > 0 {
                            // It belonged to this side and was left out: it may use what it has.
                            let turn =
                                row.gone.iter().map(|gone| gone.turn).max().unwrap_or(0).saturating_add(1);
                            let left = Gone { units: *own, certain: false, cap: all, turn, since: now };
                            gone.push((number, id, left));
                        }
                    }
                    for row in &row.gone {
                        let id = self.fleet.registry.id(&row.member);
                        let GoneRow { units, certain, cap, turn, .. } = *row;
                        gone.push((number, id, Gone { units, certain, cap, turn, since: now }));
                    }
                }
            }
            references.push(reference);
        }
        for (name, gone) in gone {
            let Some(pool) = pools.get_mut(&name) else { continue };
            let owns = owns.remove(&name).unwrap_or_default();
            let mut before = 0;
            let mut last = 0;
            for (number, id, mut one) in gone.iter().copied() {
                if number != last {
                    before = pool.turns();
                    last = number;
                }
                if one.units == 0 || self.fleet.takes_part(id) {
                    continue;
                }
                // The others bring along what they own, unless the limit was in force for them too: they departed then
                // or later.
                let counted = |member: &MemberId| {
                    let here = gone.iter().filter(|(of, _, _)| *of == number);
                    here.into_iter().any(|(_, id, gone)| id == member && gone.turn >= one.turn)
                };
                let others = owns.iter().filter(|(of, member, _)| *of != number && !counted(member));
                one.cap = others.map(|(_, _, own)| *own).fold(one.cap, u64::saturating_add);
                one.turn = one.turn.saturating_add(before).min(u64::MAX / 2);
                pool.adopt_gone(id, one);
            }
        }
        self.fleet.merge_references(references);
        self.adopt(now, pools, &order);
    }

    /// Puts a merged table in the place of the own one.
    fn adopt(&mut self, now: Monotonic, mut pools: BTreeMap<String, Pool>, order: &[String]) {
        for index in self.indexes() {
            if let Some(entry) = self.entry_mut(index) {
                entry.pool = None;
                entry.stamp = 0;
            }
        }
        self.order.clear();
        self.stamps = 0;
        for name in order {
            if let (Some(pool), Ok(index)) = (pools.remove(name), self.entry_of(name)) {
                if let Some(entry) = self.entry_mut(index) {
                    entry.pool = Some(pool);
                }
                self.stamp(index);
            }
        }
        let own = self.fleet.own;
        for index in self.indexes() {
            if let Some(entry) = self.entry_mut(index) {
                if entry.pool.is_none() && entry.stamp == 0 && entry.idle + entry.busy() > 0 {
                    // Its table was lost with the member that had to send it. What was used is counted again.
                    entry.forces_unsent += entry.busy().saturating_sub(entry.forces());
                    entry.idle = 0;
                    entry.new = 0;
                }
                if let (Some(configured), Some(pool)) = (entry.configured, &entry.pool)
                    && configured != pool.rate
                {
                    entry.announce = Say::Unsent;
                }
                entry.reconcile(now, own);
            }
            self.changed(index);
        }
        self.set_limits(now);
        while self.options.capacity.is_some_and(|capacity| self.order.len() > capacity.max(1))
            && let Some((_, index)) = self.order.first_key_value()
        {
            self.evict(now, *index);
        }
    }

    fn notice_excluded(&mut self, members: &[PrivateName]) {
        let names: Vec<&str> = members.iter().map(PrivateName::as_str).collect();
        self.notice(format!(
            "{} did not send throttle data for {} s: limits go on without it, and it gets no part of them until it \
             answers",
            names.join(", "),
            crate::fleet::EXCHANGE_PATIENCE.as_secs()
        ));
    }

    fn notice(&mut self, text: String) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push_back(Notice { severity: Severity::Notice, text });
        }
    }
}
