//! Connections that count for other limits from now on.
//!
//! A slot of the new path is adopted and one of the old path given, in this order, next to each other in one message. No
//! rule runs between the two, so what both paths count stays as it is: nobody is dealt a slot that was never free.

use crate::slot_locals::LocalId;
use crate::slots::{Path, Slots};
use crate::wire::{Op, OpsWriter};
use postfleet_types::Monotonic;

/// Connections that go from one path to another, and that nobody has been told of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    from: LocalId,
    to: LocalId,
    units: u64,
}

impl Slots {
    /// An open connection counts for other limits, even if it is more than they allow: it ends between two messages then.
    pub fn moved(&mut self, now: Monotonic, from: &Path, to: &Path) {
        let source =
            self.locals.find(from).filter(|id| self.locals.get(*id).is_some_and(|path| path.used > 0));
        if from.names() == to.names() {
            // The limits may be others.
            if !to.is_free() {
                let (id, _) = self.locals.make(to);
                self.dirty.insert(id);
            }
            return self.settle(now);
        }
        let Some(source) = source else { return self.opened_without(now, to) };
        let coming = self.take_move(source);
        let Some(local) = self.locals.get_mut(source) else { return };
        local.used -= 1;
        // One of those that have been told to end goes with the others.
        let closing = u64::from(local.closing > 0);
        local.closing -= closing;
        let since = local.since.pop_front();
        local.told = false;
        // Where the slot is, for all that the others know; none while they know nothing of it.
        let origin = if coming.is_some() {
            local.adopts_under_way = local.adopts_under_way.saturating_sub(1);
            coming
        } else if local.adopts_unsent > 0 {
            local.adopts_unsent -= 1;
            None
        } else {
            local.gives_under_way += 1;
            Some(source)
        };
        self.dirty.insert(source);
        if to.is_free() {
            if let Some(local) = origin.and_then(|origin| self.locals.get_mut(origin)) {
                local.gives_under_way = local.gives_under_way.saturating_sub(1);
                local.gives_unsent += 1;
            }
            self.dirty.extend(origin);
            return self.settle(now);
        }
        let (target, local) = self.locals.make(to);
        local.used += 1;
        local.closing += closing;
        local.since.extend(since);
        match origin {
            None => local.adopts_unsent += 1,
            // It never left.
            Some(origin) if origin == target => {
                local.gives_under_way = local.gives_under_way.saturating_sub(1);
            }
            Some(origin) => {
                local.adopts_under_way += 1;
                match self.moves.back_mut() {
                    Some(last) if (last.from, last.to) == (origin, target) => last.units += 1,
                    Some(_) | None => self.moves.push_back(Move { from: origin, to: target, units: 1 }),
                }
            }
        }
        self.dirty.insert(target);
        self.settle(now);
    }

    /// Takes back the move of one slot to a path, and says where it comes from.
    fn take_move(&mut self, to: LocalId) -> Option<LocalId> {
        let at = self.moves.iter().position(|other| other.to == to)?;
        let found = self.moves.get_mut(at)?;
        found.units -= 1;
        let from = found.from;
        if found.units == 0 {
            self.moves.remove(at);
        }
        Some(from)
    }

    /// What was on its way is not applied: moves that nobody was told of are still to be told.
    pub(crate) fn keep_moves(&mut self) {
        for Move { from, to, units } in &self.moves {
            if let Some(local) = self.locals.get_mut(*from) {
                local.gives_under_way += units;
            }
            if let Some(local) = self.locals.get_mut(*to) {
                local.adopts_unsent = local.adopts_unsent.saturating_sub(*units);
                local.adopts_under_way += units;
            }
        }
    }

    pub(crate) fn write_moves(&mut self, writer: &mut OpsWriter, bytes_max: usize) {
        while writer.len() < bytes_max
            && let Some(Move { from, to, units }) = self.moves.pop_front()
        {
            let known = self.path(to).is_some();
            let (Some(from), Some(to)) = (self.locals.get(from), self.locals.get(to)) else { continue };
            to.write_limits(&self.pool, known, writer);
            writer.push(&Op::SlotAdopt { path: to.keys(), units });
            writer.push(&Op::SlotGive { path: from.keys(), units });
        }
    }
}
