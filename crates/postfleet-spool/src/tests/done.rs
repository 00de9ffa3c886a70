//! The journal of copies that are done, on a disk that forgets.

use super::crash_disk::{CrashDisk, Moment};
use crate::disk::DiskErrorKind;
use crate::{DoneJournal, MessageId};

fn id(number: u32) -> MessageId {
    MessageId::from_parts(1_900_000_000, number, 0)
}

fn held(disk: &CrashDisk) -> Vec<u32> {
    let journal = DoneJournal::open(disk).unwrap();
    (0..40).filter(|copy| journal.contains(id(copy / 4 * 4), id(*copy))).collect()
}

/// Records one copy after the other; says which were recorded before the disk went away.
fn fill(disk: &CrashDisk) -> Vec<u32> {
    let Ok(mut journal) = DoneJournal::open(disk) else { return Vec::new() };
    let mut recorded = Vec::new();
    for copy in 0..12 {
        if journal.record(disk, &[(id(copy / 4 * 4), id(copy))]).is_ok() {
            recorded.push(copy);
        }
    }
    recorded
}

#[test]
fn what_was_recorded_survives_a_power_cut_at_any_call() {
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
                let after = disk.after_power_cut(&mut |ways| way % ways);
                let held = held(&after);
                assert!(recorded.iter().all(|copy| held.contains(copy)), "{call}: {recorded:?} {held:?}");
                // A record under way may have made it; nothing else is there.
                assert!(held.len() <= recorded.len() + 1, "{call}: {recorded:?} {held:?}");
            }
        }
    }
}

#[test]
fn a_failed_sync_is_followed_by_a_file_with_everything() {
    let calls = {
        let disk = CrashDisk::new();
        fill(&disk);
        disk.calls()
    };
    for call in 2..calls {
        let disk = CrashDisk::new();
        disk.fail(call, call, DiskErrorKind::Io);
        let recorded = fill(&disk);
        if recorded.last() == Some(&11) {
            // The last success repeated what had failed.
            let held = held(&disk.after_power_cut(&mut |_| 0));
            assert_eq!(held, (0..12).collect::<Vec<_>>(), "{call}: {recorded:?}");
        }
    }
}

#[test]
fn files_that_are_replaced_go_and_what_is_gone_is_forgotten() {
    let disk = CrashDisk::new();
    fill(&disk);
    let mut journal = DoneJournal::open(&disk).unwrap();
    journal.forget(id(8));
    journal.retain(&disk, |batch| batch != id(4));
    journal.record(&disk, &[(id(20), id(21))]).unwrap();
    assert_eq!(held(&disk), [0, 1, 2, 3, 21]);
    assert_eq!(crate::Disk::list(&disk, "state").unwrap().len(), 1);
}
