//! Row 4: a policy request over a local socket. There is no policy socket yet; the peer's figure stands alone.

use crate::peers::anvil::Anvil;
use crate::rounds::{Effort, alternate, nanoseconds_each};
use crate::table::{Line, Unit};
use anyhow::{Result, ensure};

pub(super) fn run(effort: Effort) -> Result<Vec<Line>> {
    let work = "policy request over a local socket";
    let note = "postfleet has no policy socket";
    let mut anvil = match Anvil::start()? {
        Ok(anvil) => anvil,
        Err(why) => return Ok(vec![Line::unbuilt(work, note).missing(why)]),
    };
    let count = effort.size(20_000, 500);
    let mut peer = || {
        nanoseconds_each(count, || {
            for at in 0..count {
                // A thousand clients; anvil counts what is not given back.
                let client = format!("192.0.{}.{}", at / 250 % 4, at % 250);
                ensure!(anvil.connect(&client)? > 0, "anvil has not counted");
            }
            Ok(())
        })
    };
    let [peer] = alternate(effort, [&mut peer])?;
    Ok(vec![Line::unbuilt(work, note).of_unit(Unit::Nanoseconds).beside("Postfix anvil, connect", peer)])
}
