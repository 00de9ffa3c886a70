//! What must hold: one invariant a file, each with its source.
//!
//! Safety is checked while faults happen: after every turn of a process, at every view, and in samples. When the
//! faults have ended, what must come to hold has to hold within [`crate::Plan::rest_bound`]. At the end the promises of
//! the bus are checked over everything that every member recorded.

mod bus;
mod caches_agree;
mod clocks_are_told;
mod complete;
mod copies_agree_at_views;
mod copy_is_a_past_state;
mod departed_is_gone;
mod global_is_sum;
mod global_is_what_is_open;
mod nobody_is_refused;
mod nothing_is_broken;
mod nothing_waits;
mod one_fleet;
mod own_is_truth;
mod rates_in_one_fleet;
mod rates_of_all_sides;
mod slots_are_kept;
mod slots_are_owned;
mod slots_of_a_table;
mod tables_agree;
mod the_living_stay;

use crate::process::Process;
use crate::truth::Fingerprint;
use crate::world::World;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use postfleet_bus::LeaveReason;
use postfleet_bus::suite::check::History;
use postfleet_types::{Monotonic, ViewId};

/// Holds, or what is wrong.
pub(crate) type Verdict = Result<(), String>;

/// What checkers remember between calls.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// How far a copy has come: receiver, origin, object to a place in the origin's history.
    copies: BTreeMap<(usize, usize, usize), usize>,
    /// What the first member that installed a view held of a column there: view, origin, object.
    at_views: BTreeMap<(ViewId, usize, usize), (Fingerprint, usize)>,
    /// Slots that a table had given out when it was looked at last, and in which view.
    slots: BTreeMap<usize, (ViewId, u64)>,
    /// Since when all nodes that run know of each other, with the number of processes that there have been.
    whole: Option<(usize, Monotonic)>,
}

/// When and on what an invariant is checked.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    /// After every turn of a process.
    Turn(fn(&World<'_>, &Process) -> Verdict),
    /// When a process has installed a view on its shared connection and handled nothing after it.
    View(fn(&World<'_>, &mut Book, &Process) -> Verdict),
    /// When a process has learnt that a member is out.
    Departure(fn(&World<'_>, &str, LeaveReason) -> Verdict),
    /// From time to time, on all of it.
    Sample(fn(&World<'_>, &mut Book) -> Verdict),
    /// Has to come to hold after the faults.
    Rest(fn(&World<'_>) -> Verdict),
    /// At the end, over the records of one class of connections.
    Records(fn(&History<'_>) -> Verdict),
}

/// Something that must hold.
#[derive(Clone, Copy)]
pub struct Invariant {
    /// Its name, as a violation gives it.
    pub name: &'static str,
    /// Where it is promised.
    pub source: &'static str,
    /// What it says.
    pub says: &'static str,
    pub(crate) check: Check,
}

impl fmt::Debug for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invariant").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Invariant {
    /// When it is checked, in words.
    #[must_use]
    pub const fn when(&self) -> &'static str {
        match self.check {
            Check::Turn(_) => "after every turn of a process",
            Check::View(_) => "at every view",
            Check::Departure(_) => "when a member is out",
            Check::Sample(_) => "five times a second",
            Check::Rest(_) => "after the faults, within the bound",
            Check::Records(_) => "at the end, over all records",
        }
    }
}

/// All invariants, in the order in which they are checked.
#[must_use]
pub fn all() -> Vec<Invariant> {
    let own = [
        nothing_is_broken::INVARIANT,
        global_is_sum::INVARIANT,
        departed_is_gone::INVARIANT,
        copies_agree_at_views::INVARIANT,
        nobody_is_refused::INVARIANT,
        the_living_stay::INVARIANT,
        slots_are_owned::INVARIANT,
        slots_of_a_table::INVARIANT,
        rates_in_one_fleet::INVARIANT,
        rates_of_all_sides::INVARIANT,
        own_is_truth::INVARIANT,
        copy_is_a_past_state::INVARIANT,
        one_fleet::INVARIANT,
        complete::INVARIANT,
        nothing_waits::INVARIANT,
        global_is_what_is_open::INVARIANT,
        tables_agree::INVARIANT,
        slots_are_kept::INVARIANT,
        caches_agree::INVARIANT,
        clocks_are_told::INVARIANT,
    ];
    own.into_iter().chain(bus::INVARIANTS).collect()
}

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// Where it is promised.
    pub source: &'static str,
    /// What was seen.
    pub text: String,
    /// When.
    pub at: Monotonic,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.at.as_micros() / 1_000_000, self.at.as_micros() / 1000 % 1000);
        write!(f, "{} ({}) at {seconds}.{millis:03} s: {}", self.invariant, self.source, self.text)
    }
}
