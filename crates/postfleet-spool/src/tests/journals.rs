//! What the tests of the journals share: twelve records, one after the other, on a disk that forgets.

use super::crash_disk::{CrashDisk, Moment};
use crate::{DiskError, MessageId};

pub(super) fn id(number: u32) -> MessageId {
    MessageId::from_parts(1_900_000_000, number, 0)
}

/// The transaction of a copy: four copies each.
pub(super) fn batch_of(copy: u32) -> MessageId {
    id(copy / 4 * 4)
}

/// Records one copy after the other; says which were recorded before the disk went away.
pub(super) fn fill(mut record: impl FnMut(u32) -> Result<(), DiskError>) -> Vec<u32> {
    (0..12).filter(|copy| record(*copy).is_ok()).collect()
}

/// `fill` says what it has recorded, `held` what a journal that is opened later knows.
pub(super) fn what_was_recorded_survives_a_power_cut_at_any_call(
    fill: impl Fn(&CrashDisk) -> Vec<u32>,
    held: impl Fn(&CrashDisk) -> Vec<u32>,
) {
    let calls = {
        let disk = CrashDisk::new();
        assert_eq!(fill(&disk).len(), 12);
        assert_eq!(held(&disk.after_kill()), (0..12).collect::<Vec<_>>());
        disk.calls()
    };
    for call in 0..calls {
        for moment in [Moment::Before, Moment::After] {
            for way in 0..4 {
                let disk = CrashDisk::new();
                disk.cut_power(call, moment);
                let recorded = fill(&disk);
                assert!(disk.is_off(), "{call}");
                let held = held(&disk.after_power_cut(&mut |ways| way % ways));
                assert!(recorded.iter().all(|copy| held.contains(copy)), "{call}: {recorded:?} {held:?}");
                // A record under way may have made it; nothing else is there.
                assert!(held.len() <= recorded.len() + 1, "{call}: {recorded:?} {held:?}");
            }
        }
    }
}
