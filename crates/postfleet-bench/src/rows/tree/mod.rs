//! Row 9: the CIDR tree beside the crate `prefix-trie` with all ancestors updated.

mod compare;

use crate::digest::Digest;
use crate::rounds::Effort;
use crate::table::{Aim, Line, Unit};
use anyhow::{Result, ensure};
use compare::{Compared, Measured, Size, Spread, Work};

const PEER: &str = "prefix-trie, ancestors updated";

fn compared(size: Size) -> Result<Compared> {
    let compared = compare::run(size);
    for (ours, peer) in &compared.digests {
        ensure!(ours == peer, "the two trees do not read the same sums");
    }
    Ok(compared)
}

const fn is_any_length(work: Work) -> bool {
    matches!(work, Work::Sum(8, 32 | 128))
}

fn line(measured: Measured) -> Line {
    let set = match measured.spread {
        Spread::Uniform => "IPv4 anywhere",
        Spread::Clumped => "IPv4 in clumps",
        Spread::Sixth => "IPv6",
    };
    let work = match measured.work {
        Work::Insert => "insert".into(),
        Work::Change => "update".into(),
        Work::Sum(low, high) if low == high => format!("read of a /{low}"),
        Work::Sum(low, high) => format!("read of a /{low} to /{high}"),
        Work::ChangeAndSum => "update and read".into(),
        Work::CloseAndOpen => "close and open (1, 0, 1)".into(),
        Work::Bytes => "bytes an address, one column".into(),
    };
    let unit = if measured.work == Work::Bytes { Unit::Bytes } else { Unit::Nanoseconds };
    let has_aim = matches!(measured.work, Work::Change | Work::ChangeAndSum) || is_any_length(measured.work);
    let line = Line::new(format!("tree, {} {set}: {work}", measured.addresses), unit, measured.ours);
    let line = if measured.peer.is_empty() {
        line.missing("the peer forgets at once")
    } else {
        line.beside(PEER, measured.peer)
    };
    if has_aim { line.aim(Aim::Times(3.0)) } else { line }
}

pub(super) fn run(effort: Effort) -> Result<Vec<Line>> {
    let addresses = usize::try_from(effort.size(1_000_000, 20_000))?;
    let size = Size { addresses, operations: 300_000.min(addresses), rounds: effort.rounds };
    let all = compared(size)?.measured.into_iter();
    let wanted = |measured: &Measured| {
        effort.detail
            || matches!(measured.work, Work::Change | Work::ChangeAndSum)
            || is_any_length(measured.work)
    };
    Ok(all.filter(wanted).map(line).collect())
}

/// Every sum that is read of 2000 addresses of each set.
pub(super) fn digest() -> Result<u64> {
    let compared = compared(Size { addresses: 2000, operations: 300, rounds: 1 })?;
    ensure!(compared.measured.len() > 20, "something was not measured");
    let mut digest = Digest::default();
    compared.digests.iter().for_each(|(ours, _)| digest.add(*ours));
    Ok(digest.value())
}
