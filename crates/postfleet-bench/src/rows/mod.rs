//! One file a row of the table.

mod calls;
mod counts;
mod decision;
mod joining;
mod killed;
pub(crate) mod mail;
pub(crate) mod memory;
mod policy;
mod propagation;
mod receiving;
mod slots;
mod throughput;
mod tree;

use crate::rounds::Effort;
use crate::table::{Aim, Line, Unit};
use anyhow::Result;

/// A row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) number: u8,
    pub(crate) what: &'static str,
    /// Measures both sides.
    pub(crate) run: fn(Effort) -> Result<Vec<Line>>,
    /// What our side's workload results in; none where there is nothing to run yet.
    pub(crate) digest: Option<fn() -> Result<u64>>,
}

const fn row(
    number: u8,
    what: &'static str,
    run: fn(Effort) -> Result<Vec<Line>>,
    digest: Option<fn() -> Result<u64>>,
) -> Row {
    Row { number, what, run, digest }
}

/// All of them, in the order of the table.
pub(crate) const ROWS: &[Row] = &[
    row(1, "throttle decision, one caller", decision::run, Some(decision::digest)),
    row(2, "acquire and release a slot", slots::run, Some(slots::digest)),
    row(3, "decisions a second of one core, three nodes", throughput::run, Some(throughput::digest)),
    row(4, "policy request over a local socket", policy::run, None),
    row(5, "change readable on another node", propagation::run, Some(propagation::digest)),
    row(6, "processor time for each received change", receiving::run, Some(receiving::digest)),
    row(7, "joiner complete", joining::run, Some(joining::digest)),
    row(8, "bytes a key, sum and three columns", memory::run, Some(memory::digest)),
    row(9, "tree update and read of any prefix", tree::run, Some(tree::digest)),
    row(10, "three nodes hold 5 + 5 + 5 of one client", counts::run, Some(counts::digest)),
    row(11, "counts and slots of a killed node free", killed::run, Some(killed::digest)),
    row(12, "address takeover after kill -9", takeover, None),
    row(13, "messages accepted with policy on", mail::run, Some(mail::digest)),
    row(14, "policy that reads three objects", calls::run, Some(calls::digest)),
];

fn takeover(_: Effort) -> Result<Vec<Line>> {
    let line = Line::unbuilt("address takeover after kill -9, 200 addresses", "postfleet moves no addresses")
        .of_unit(Unit::Nanoseconds)
        .aim(Aim::AtMost(1e9))
        .missing("keepalived is not started");
    Ok(vec![line])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_numbered_in_order() {
        for (at, row) in (1..).zip(ROWS) {
            assert_eq!(row.number, at, "{}", row.what);
        }
    }
}
