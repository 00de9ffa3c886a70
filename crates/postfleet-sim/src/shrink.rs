//! Makes a failing run smaller: as few faults as still break the same invariant.

use crate::invariant::Violation;
use crate::log::Log;
use crate::plan::Plan;
use crate::run::run_plan;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// What is left of a failing run.
#[derive(Clone, Debug)]
pub struct Shrunken {
    /// The places of the faults that are needed, in the plan of the seed.
    pub keep: Vec<usize>,
    /// How it fails now.
    pub violation: Violation,
    /// Runs that this took.
    pub runs: u32,
}

/// Leaves out faults, many at a time and then fewer, as long as the same invariant breaks. At most `runs_max` runs.
#[must_use]
pub fn shrink(plan: &Plan, violation: &Violation, runs_max: u32) -> Shrunken {
    let mut best = Shrunken { keep: (0..plan.faults.len()).collect(), violation: violation.clone(), runs: 0 };
    let mut size = best.keep.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < best.keep.len() && best.runs < runs_max {
            let end = (at + size).min(best.keep.len());
            let kept = best.keep.iter().enumerate().filter(|(place, _)| *place < at || *place >= end);
            let kept: Vec<usize> = kept.map(|(_, fault)| *fault).collect();
            best.runs += 1;
            let outcome = run_plan(plan.keeping(&kept), Log::none());
            match outcome.violation.filter(|found| found.invariant == violation.invariant) {
                Some(found) => {
                    best.keep = kept;
                    best.violation = found;
                }
                None => at = end,
            }
        }
        size = if size == 1 || best.runs >= runs_max { 0 } else { size.div_ceil(2) };
    }
    best
}

impl Plan {
    /// The same run with some of its faults only, by their places.
    #[must_use]
    pub fn keeping(&self, keep: &[usize]) -> Self {
        let keep: BTreeSet<usize> = keep.iter().copied().collect();
        let kept = self.faults.iter().enumerate().filter(|(place, _)| keep.contains(place));
        Self { faults: kept.map(|(_, fault)| fault.clone()).collect(), ..self.clone() }
    }
}
