//! What the owner of units does with them: use them, pass them on, give them back, claim more.

use crate::entry::{Entry, Say};
use crate::member::MemberId;
use crate::pool::Pool;
use crate::rate::Rate;
use crate::shared::{Granted, SharedThrottles, ThrottleId};
use crate::wire::{Op, OpsWriter};
use core::time::Duration;
use postfleet_types::Monotonic;

/// How many bytes of operations go into one message at most, unless the caller wants less.
const OPS_BYTES_MAX: usize = 900_000;

/// Who wants a unit here.
enum Demand {
    Line(u32, u64),
    Shadow(u64),
}

impl SharedThrottles {
    /// Runs the rules until nothing changes any more.
    pub(crate) fn settle(&mut self, now: Monotonic) {
        loop {
            while let Some(index) = self.dirty.pop() {
                self.run(now, index);
            }
            // With nobody else there, what is said is in force at once.
            if !self.fleet.is_alone() {
                return;
            }
            let Some(bytes) = self.write_ops(now, OPS_BYTES_MAX) else { return };
            self.apply_own(now, &bytes);
        }
    }

    /// The next message for the bus, of at most about `bytes_max` bytes; `None` when there is nothing to say.
    ///
    /// While a batch of this member is under way, wait with it: claims and gives of all throttles then share one
    /// message.
    pub fn drain_outbox(&mut self, now: Monotonic, bytes_max: usize) -> Option<alloc::vec::Vec<u8>> {
        self.settle(now);
        let message = match self.fleet.poll() {
            Some(message) => Some(message),
            None if self.fleet.is_live() => self.write_ops(now, bytes_max.min(OPS_BYTES_MAX)),
            None => None,
        };
        self.counters.messages_sent += u64::from(message.is_some());
        message
    }

    /// Whether [`SharedThrottles::drain_outbox`] has a message. Changed by every other call.
    #[must_use]
    pub fn wants_to_send(&self) -> bool {
        self.fleet.has_outgoing()
            || self.fleet.is_live()
                && (self.outgoing.iter().any(|index| self.has_ops(index))
                    || self.verdicts.is_unsent()
                    || self.fleet.has_quorum_to_say())
    }

    /// Applies the rules to one throttle.
    fn run(&mut self, now: Monotonic, index: u32) {
        let own = self.fleet.own;
        let shared = self.fleet.is_shared();
        let merging = self.fleet.is_merging();
        if let Some(entry) = self.entry_mut(index) {
            entry.harvest(now, shared);
            if let Some(rate) = entry.rate() {
                entry.wishes.pass(now, rate.period());
            }
        }
        loop {
            let Some(entry) = self.entry(index) else { return };
            if entry.idle == 0 {
                break;
            }
            let excess = entry.excess();
            let passes = !merging && entry.passes(now, own);
            let crowded = entry.others_wait(own);
            let (idle, idle_until) = (entry.idle, entry.idle_until());
            let demand = if self.leaving { None } else { self.demand(index) };
            let fresh = self.fleet.is_fresh(now);
            let leaving = self.leaving;
            let Some(entry) = self.entry_mut(index) else { return };
            if excess > 0 {
                if merging {
                    break;
                }
                entry.give(excess.min(idle));
                continue;
            }
            match demand {
                None => {
                    // Kept for those who were refused a moment ago, should they come again.
                    let kept = if leaving { 0 } else { entry.wishes.units().min(idle) };
                    if kept > 0 && passes {
                        entry.give(1);
                        continue;
                    }
                    if !merging && kept < idle {
                        if leaving || crowded {
                            entry.give(idle - kept);
                        } else if idle_until <= now {
                            entry.give_unused(now, idle - kept);
                        }
                    }
                    break;
                }
                Some(_) if !fresh => {
                    self.stale = true;
                    break;
                }
                Some(_) if passes => entry.give(1),
                Some(Demand::Line(line, wanted)) => {
                    // With others waiting every unit is a decision of its own.
                    let units = if crowded { 1 } else { idle.min(wanted) };
                    self.use_for_line(now, index, line, units);
                }
                Some(Demand::Shadow(wanted)) => {
                    let units = if crowded { 1 } else { idle.min(wanted) };
                    let tick = entry.rate().map_or(Duration::ZERO, Rate::tick);
                    entry.use_idle(now, units, tick);
                    entry.shadow_wanted -= units;
                }
            }
        }
        self.note_duties(now, index);
        self.schedule(now, index);
        self.outgoing.insert(index);
        self.forget_unused(index);
    }

    /// Who is served next: who has waited for longest.
    fn demand(&self, index: u32) -> Option<Demand> {
        let entry = self.entry(index)?;
        let lines = entry.lines.iter().filter_map(|number| Some((*number, self.lines.get(*number)?)));
        let wanting = lines.map(|(number, line)| (line.head(), number, line.demand(index)));
        match wanting.filter(|(_, _, wanted)| *wanted > 0).min() {
            Some((_, number, wanted)) => Some(Demand::Line(number, wanted)),
            None if entry.shadow_wanted > 0 => Some(Demand::Shadow(entry.shadow_wanted)),
            None => None,
        }
    }

    /// Units of a throttle that are wanted here.
    pub(crate) fn wanted(&self, index: u32) -> u64 {
        self.awaited_units(index) + self.entry(index).map_or(0, |entry| entry.wishes.units())
    }

    /// Units that will be used here as soon as they come.
    fn awaited_units(&self, index: u32) -> u64 {
        let Some(entry) = self.entry(index) else { return 0 };
        let lines = entry.lines.iter().filter_map(|number| self.lines.get(*number));
        lines.map(|line| line.demand(index)).sum::<u64>() + entry.shadow_wanted
    }

    /// Units to claim: none while this member leaves. It would give back what it got, alone without end.
    fn claimable(&self, index: u32) -> u64 {
        if self.leaving || self.fleet.is_starting() { 0 } else { self.wanted(index) }
    }

    /// Idle units that may be used without pushing in before anybody.
    pub(crate) fn at_hand(&mut self, now: Monotonic, index: u32) -> u64 {
        let fresh = self.fleet.is_fresh(now);
        let waiting = self.awaited_units(index) > 0;
        let Some(entry) = self.entry(index) else { return 0 };
        if entry.idle == 0 || waiting || entry.excess() > 0 {
            return 0;
        }
        if !fresh {
            self.stale = true;
            return 0;
        }
        // What is left here after the rules have run is this member's to use.
        entry.idle
    }

    /// The decision that is made most often under load: one throttle of which nothing is idle, and nothing has cooled or
    /// come since the rules were run.
    #[inline]
    pub(crate) fn has_nothing(&self, now: Monotonic, id: ThrottleId) -> bool {
        let place = usize::try_from(id.index).ok().and_then(|index| self.entries.get(index));
        let Some((generation, Some(entry))) = place else { return false };
        *generation == id.generation
            && entry.idle == 0
            && !entry.shadow
            && entry.due.is_none_or(|due| due > now)
    }

    /// The decision that is made most often: one throttle, a unit at hand, nobody waiting here or elsewhere.
    #[inline]
    pub(crate) fn take_at_hand(&mut self, now: Monotonic, id: ThrottleId, units: u64) -> Option<u64> {
        if !self.fleet.is_fresh(now) {
            return None;
        }
        let own = self.fleet.own;
        let shared = self.fleet.is_shared();
        let (generation, entry) = self.entries.get_mut(usize::try_from(id.index).ok()?)?;
        let entry = entry.as_mut().filter(|_| *generation == id.generation)?;
        if !entry.lines.is_empty() || entry.shadow || entry.others_wait(own) {
            return None;
        }
        let pool = entry.pool.as_ref()?;
        let (rate, limit) = (pool.rate, pool.limit());
        // Own gives that are under way only make it less: the plain test is on the safe side.
        if pool.owned() > limit {
            return None;
        }
        if entry.idle < units {
            entry.harvest(now, shared);
        }
        let taken = entry.idle.min(units);
        if taken == 0 || entry.due.is_none() {
            return None;
        }
        entry.use_idle(now, taken, rate.tick());
        Some(taken)
    }

    pub(crate) fn use_units(&mut self, now: Monotonic, index: u32, units: u64) {
        if let Some(entry) = self.entry_mut(index) {
            let tick = entry.rate().map_or(Duration::ZERO, Rate::tick);
            entry.use_idle(now, units.min(entry.idle), tick);
        }
        self.changed(index);
    }

    fn use_for_line(&mut self, now: Monotonic, index: u32, number: u32, units: u64) {
        let Some(line) = self.lines.get_mut(number) else { return };
        if !line.take(index, units) {
            let next = line.next(index);
            if let Some(entry) = self.entry_mut(index) {
                entry.hold(units);
            }
            self.dirty.extend(next);
            return;
        }
        let path = line.path.clone();
        for throttle in path {
            if let Some(entry) = self.entry_mut(throttle) {
                let tick = entry.rate().map_or(Duration::ZERO, Rate::tick);
                if throttle != index {
                    entry.held = entry.held.saturating_sub(units);
                    entry.add_idle(now, units);
                }
                entry.use_idle(now, units, tick);
            }
            if throttle != index {
                self.changed(throttle);
            }
        }
        self.serve(number, units);
        self.release_surplus(now, number);
    }

    /// Hands units to those who wait in a line.
    pub(crate) fn serve(&mut self, number: u32, units: u64) {
        let Self { lines, granted, .. } = self;
        let Some(line) = lines.get_mut(number) else { return };
        let mut served = alloc::vec::Vec::new();
        line.serve(units, |ticket, units| served.push((ticket, units)));
        let head = line.head();
        for (ticket, units) in served {
            let last = head != Some(ticket);
            if last {
                lines.served(ticket);
            }
            granted.push_back(Granted { ticket, units, last });
        }
    }

    /// Frees what nobody in a line wants any more, and forgets the line when nobody waits in it.
    pub(crate) fn release_surplus(&mut self, now: Monotonic, number: u32) {
        let surplus = self.lines.get_mut(number).map(crate::lines::Line::surplus).unwrap_or_default();
        for (throttle, units) in surplus {
            if let Some(entry) = self.entry_mut(throttle) {
                entry.held = entry.held.saturating_sub(units);
                entry.add_idle(now, units);
            }
        }
        if let Some(line) = self.lines.get(number) {
            let path = line.path.clone();
            let empty = self.lines.forget_empty(number).is_some();
            for throttle in path {
                if empty && let Some(entry) = self.entry_mut(throttle) {
                    entry.lines.remove(&number);
                }
                self.changed(throttle);
            }
        }
    }

    /// What the first member does for all: units of departed members expire, empty throttles are dropped.
    fn note_duties(&mut self, now: Monotonic, index: u32) {
        let first = self.fleet.is_first();
        let grace = self.fleet.grace;
        let Some(entry) = self.entry(index) else { return };
        if !first && entry.pool.is_some() {
            return;
        }
        let wanted = self.wanted(index) > 0;
        let Some(entry) = self.entry_mut(index) else { return };
        let Some(pool) = &entry.pool else {
            // It was dropped, or is not there yet, and is wanted again.
            if (wanted || entry.forces() > 0)
                && entry.create == Say::Nothing
                && entry.announce == Say::Nothing
            {
                if entry.configured.is_some() {
                    entry.announce = Say::Unsent;
                } else if entry.created.is_some() {
                    entry.create = Say::Unsent;
                }
            }
            return;
        };
        for (member, gone) in pool.gone() {
            if gone_until(pool, gone, grace) <= now {
                entry.expiring.entry(member).or_insert(Say::Unsent);
            }
        }
        if entry.dropping == Say::Nothing && pool.is_empty() && drop_at(pool) <= now && !wanted {
            entry.dropping = Say::Unsent;
        }
    }

    /// Sets when the rules have to be run next.
    fn schedule(&mut self, now: Monotonic, index: u32) {
        let shared = self.fleet.is_shared();
        let (first, merging, grace) = (self.fleet.is_first(), self.fleet.is_merging(), self.fleet.grace);
        let awaited = self.awaited_units(index) > 0;
        let Some(entry) = self.entry(index) else { return };
        let wanted = awaited || !entry.wishes.is_empty();
        let cooling = entry.rate().map(|rate| crate::pool::cooling(rate, shared)).unwrap_or_default();
        let mut due = [entry.cooling.next(cooling), entry.forced.next(cooling), None, None, None, None];
        due[5] = entry.rate().and_then(|rate| entry.wishes.due(rate.period()));
        if entry.idle > 0 && !awaited && !merging {
            due[2] = Some(entry.idle_until());
        }
        if first && let Some(pool) = &entry.pool {
            let waiting = pool.gone().filter(|(member, _)| !entry.expiring.contains_key(member));
            due[3] = waiting.map(|(_, gone)| gone_until(pool, gone, grace)).min();
            if pool.is_empty() && entry.dropping == Say::Nothing && !wanted {
                due[4] = Some(drop_at(pool));
            }
        }
        // Nothing that is overdue waits for time: other events bring it on.
        let due = due.into_iter().flatten().filter(|due| *due > now).min();
        let before = entry.due;
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, index));
        }
        if let Some(due) = due {
            self.due.insert((due, index));
        }
        if let Some(entry) = self.entry_mut(index) {
            entry.due = due;
        }
    }

    /// Checks what always holds.
    pub(crate) fn assert_sound(&self) {
        for entry in self.names.values().filter_map(|index| self.entry(*index)) {
            if let Some(pool) = &entry.pool {
                pool.assert_sound();
                let here = entry.idle + entry.busy() + entry.gives();
                let agreed = pool.share(self.fleet.own).own + entry.forces();
                assert_eq!(here, agreed, "units of {} here and as agreed", entry.name);
            }
        }
    }

    fn has_ops(&self, index: u32) -> bool {
        let Some(entry) = self.entry(index) else { return false };
        entry.create == Say::Unsent
            || entry.announce == Say::Unsent
            || entry.forces_unsent > 0
            || entry.gives_unsent > 0
            || entry.dropping == Say::Unsent
            || entry.expiring.values().any(|say| *say == Say::Unsent)
            || claim(entry, self.fleet.own, self.claimable(index)).is_some()
    }

    /// Operations that are due, as a message.
    pub(crate) fn write_ops(&mut self, now: Monotonic, bytes_max: usize) -> Option<alloc::vec::Vec<u8>> {
        let mut writer = OpsWriter::new(self.fleet.epoch(), now);
        self.verdicts.write(self.fleet.is_first(), &mut writer);
        self.fleet.write_quorum(&mut writer);
        while writer.len() < bytes_max
            && let Some(index) = self.outgoing.pop()
        {
            let wanted = self.claimable(index);
            let (own, registry) = (self.fleet.own, &self.fleet.registry);
            let place = usize::try_from(index).ok().and_then(|index| self.entries.get_mut(index));
            if let Some((_, Some(entry))) = place {
                say_all(entry, own, wanted, &mut writer, |member| registry.name(member).cloned());
            }
        }
        writer.finish()
    }
}

/// When units of a departed member may be used by others.
fn gone_until(pool: &Pool, gone: &crate::pool::Gone, grace: Duration) -> Monotonic {
    let wait = if gone.certain { Duration::ZERO } else { grace };
    gone.since + pool.cooling(true) + wait
}

/// When an empty throttle may be dropped: a second after its window.
fn drop_at(pool: &Pool) -> Monotonic {
    pool.used_at + pool.rate.period() + Duration::from_secs(1)
}

/// A claim that is due: the units wanted here that nobody has been asked for, and those to get ahead of them.
fn claim(entry: &Entry, own: MemberId, wanted: u64) -> Option<(u64, u64)> {
    if entry.claiming {
        return None;
    }
    let rate = entry.rate()?;
    // More than the rate is never of use; a claim of all can be repeated as units become free.
    let wanted = wanted.saturating_sub(entry.idle).min(rate.units());
    let (asked, free) = match &entry.pool {
        Some(pool) => (pool.share(own).want, pool.free()),
        None if entry.create != Say::Nothing || entry.announce != Say::Nothing => (0, rate.units()),
        None => return None,
    };
    let due = if wanted > 0 { asked == 0 || free > 0 || wanted > asked.saturating_mul(2) } else { asked > 0 };
    // Demand that grows asks with every quarter more, not with every unit.
    let ahead = if wanted > 0 && free > wanted { entry.cooling.units() / 4 } else { 0 };
    due.then_some((wanted, ahead.min(free.saturating_sub(wanted))))
}

/// Writes everything that one throttle has to say.
fn say_all(
    entry: &mut Entry,
    own: MemberId,
    wanted: u64,
    writer: &mut OpsWriter,
    name_of: impl Fn(MemberId) -> Option<postfleet_types::PrivateName>,
) {
    let name = core::mem::take(&mut entry.name);
    if entry.create == Say::Unsent
        && let Some((rate, epsilon)) = entry.created
    {
        writer.push(&Op::Create { name: &name, rate, epsilon });
        entry.create = Say::UnderWay;
    }
    if entry.announce == Say::Unsent
        && let Some(rate) = entry.configured
    {
        if entry.pool.as_ref().is_some_and(|pool| pool.rate == rate) {
            entry.announce = Say::Nothing;
        } else {
            writer.push(&Op::Rate { name: &name, rate });
            entry.announce = Say::UnderWay;
        }
    }
    if entry.forces_unsent > 0 {
        writer.push(&Op::Force { name: &name, units: entry.forces_unsent });
        entry.forces_under_way += core::mem::take(&mut entry.forces_unsent);
    }
    if entry.gives_unsent > 0 {
        writer.push(&Op::Give { name: &name, units: entry.gives_unsent });
        entry.gives_under_way += core::mem::take(&mut entry.gives_unsent);
    }
    if let Some((units, ahead)) = claim(entry, own, wanted) {
        writer.push(&Op::Claim { name: &name, units, ahead });
        entry.claiming = true;
    }
    for (member, say) in entry.expiring.iter_mut().filter(|(_, say)| **say == Say::Unsent) {
        if let Some(member) = name_of(*member) {
            writer.push(&Op::Expire { name: &name, member });
        }
        *say = Say::UnderWay;
    }
    if entry.dropping == Say::Unsent
        && let Some(pool) = &entry.pool
    {
        writer.push(&Op::Drop { name: &name, touched: pool.touched });
        entry.dropping = Say::UnderWay;
    }
    entry.name = name;
}
