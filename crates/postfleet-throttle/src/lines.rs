//! Who waits on this node, and for what.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// Somebody who waits for units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    wanted: u64,
}

/// Those who wait for the same throttles, first come first served.
///
/// Units are taken throttle by throttle, in one order that all nodes follow (the slowest rate first), and kept until
/// the last one has one. So nobody who has a unit waits for somebody who waits for that unit, and the scarcest units
/// are the ones that are kept.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) path: Vec<u32>,
    waiters: VecDeque<Waiter>,
    wanted: u64,
    /// Units taken of all but the last throttle; never ascending.
    taken: Vec<u64>,
}

impl Line {
    fn new(path: Vec<u32>) -> Self {
        let taken = alloc::vec![0; path.len().saturating_sub(1)];
        Self { path, waiters: VecDeque::new(), wanted: 0, taken }
    }

    /// The ticket that is served next.
    pub(crate) fn head(&self) -> Option<Ticket> {
        self.waiters.front().map(|waiter| waiter.ticket)
    }

    /// Units that are wanted in all.
    pub(crate) const fn wanted(&self) -> u64 {
        self.wanted
    }

    fn place(&self, throttle: u32) -> Option<usize> {
        self.path.iter().position(|of| *of == throttle)
    }

    /// Units wanted of one throttle now.
    pub(crate) fn demand(&self, throttle: u32) -> u64 {
        let Some(place) = self.place(throttle) else { return 0 };
        let before = match place.checked_sub(1) {
            Some(before) => self.taken.get(before).copied().unwrap_or(0),
            None => self.wanted,
        };
        before.saturating_sub(self.taken.get(place).copied().unwrap_or(0))
    }

    /// Takes units of a throttle. `true` when it was the last one: then they are used, of every throttle.
    pub(crate) fn take(&mut self, throttle: u32, units: u64) -> bool {
        match self.place(throttle).and_then(|place| self.taken.get_mut(place)) {
            Some(taken) => {
                *taken += units;
                false
            }
            None => {
                for taken in &mut self.taken {
                    *taken = taken.saturating_sub(units);
                }
                true
            }
        }
    }

    /// The throttle that wants units next, after some were taken of this one.
    pub(crate) fn next(&self, throttle: u32) -> Option<u32> {
        self.path.get(self.place(throttle)? + 1).copied()
    }

    /// Hands used units to those in front. Every receiver is reported.
    pub(crate) fn serve(&mut self, mut units: u64, mut each: impl FnMut(Ticket, u64)) {
        while units > 0
            && let Some(first) = self.waiters.front_mut()
        {
            let got = first.wanted.min(units);
            first.wanted -= got;
            self.wanted -= got;
            units -= got;
            each(first.ticket, got);
            if first.wanted == 0 {
                self.waiters.pop_front();
            }
        }
    }

    /// Gives all units back that were taken for the line: throttle and number.
    pub(crate) fn return_all(&mut self) -> Vec<(u32, u64)> {
        let taken = self.taken.iter_mut().map(core::mem::take);
        self.path.iter().copied().zip(taken).filter(|(_, units)| *units > 0).collect()
    }

    /// Units that were taken and that nobody wants any more: throttle and number.
    pub(crate) fn surplus(&mut self) -> Vec<(u32, u64)> {
        let mut surplus = Vec::new();
        let mut wanted = self.wanted;
        for (taken, throttle) in self.taken.iter_mut().zip(&self.path) {
            if *taken > wanted {
                surplus.push((*throttle, *taken - wanted));
                *taken = wanted;
            }
            wanted = *taken;
        }
        surplus
    }
}

/// All lines of a node.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: BTreeMap<u32, Line>,
    by_path: BTreeMap<Vec<u32>, u32>,
    by_ticket: BTreeMap<Ticket, u32>,
    tickets: u64,
    numbers: u32,
}

impl Lines {
    pub(crate) fn get(&self, line: u32) -> Option<&Line> {
        self.lines.get(&line)
    }

    pub(crate) fn get_mut(&mut self, line: u32) -> Option<&mut Line> {
        self.lines.get_mut(&line)
    }

    /// Somebody waits from now on. The path has the order in which units are taken. Returns the line and the ticket.
    pub(crate) fn wait(&mut self, path: &[u32], wanted: u64) -> (u32, Ticket) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let number = match self.by_path.get(path) {
            Some(number) => *number,
            None => {
                while self.lines.contains_key(&self.numbers) {
                    self.numbers = self.numbers.wrapping_add(1);
                }
                let number = self.numbers;
                self.numbers = self.numbers.wrapping_add(1);
                self.by_path.insert(path.to_vec(), number);
                self.lines.insert(number, Line::new(path.to_vec()));
                number
            }
        };
        if let Some(line) = self.lines.get_mut(&number) {
            line.waiters.push_back(Waiter { ticket, wanted });
            line.wanted += wanted;
        }
        self.by_ticket.insert(ticket, number);
        (number, ticket)
    }

    /// Somebody stops to wait. Returns the line and how many units it still wanted.
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> Option<(u32, u64)> {
        let number = self.by_ticket.remove(&ticket)?;
        let line = self.lines.get_mut(&number)?;
        let at = line.waiters.iter().position(|waiter| waiter.ticket == ticket)?;
        let wanted = line.waiters.remove(at)?.wanted;
        line.wanted -= wanted;
        Some((number, wanted))
    }

    /// A ticket has got everything.
    pub(crate) fn served(&mut self, ticket: Ticket) {
        self.by_ticket.remove(&ticket);
    }

    /// Forgets a line in which nobody waits. Returns its path.
    pub(crate) fn forget_empty(&mut self, number: u32) -> Option<Vec<u32>> {
        if self.lines.get(&number).is_some_and(|line| line.waiters.is_empty()) {
            let line = self.lines.remove(&number)?;
            self.by_path.remove(&line.path);
            return Some(line.path);
        }
        None
    }
}
