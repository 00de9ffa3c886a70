//! The journal of copies that are done, on a disk that forgets.

use super::crash_disk::CrashDisk;
use super::journals::{self, batch_of, id};
use crate::disk::{Disk as _, DiskErrorKind};
use crate::{DiskError, DoneJournal};

fn held(disk: &CrashDisk) -> Vec<u32> {
    let journal = DoneJournal::open(disk).unwrap();
    (0..40).filter(|copy| journal.contains(batch_of(*copy), id(*copy))).collect()
}

fn sync(
    disk: &CrashDisk,
    journal: &mut DoneJournal<<CrashDisk as crate::Disk>::File>,
) -> Result<(), DiskError> {
    let Some(path) = journal.take_unsynced() else { return Ok(()) };
    let synced = disk.open(&path).and_then(|mut file| disk.sync_data(&mut file));
    synced.inspect_err(|_| journal.not_synced())
}

fn fill(disk: &CrashDisk) -> Vec<u32> {
    let Ok(mut journal) = DoneJournal::open(disk) else { return Vec::new() };
    journals::fill(|copy| {
        journal.record(disk, &[(batch_of(copy), id(copy))])?;
        sync(disk, &mut journal)
    })
}

#[test]
fn what_was_recorded_survives_a_power_cut_at_any_call() {
    journals::what_was_recorded_survives_a_power_cut_at_any_call(fill, held);
}

#[test]
fn what_was_recorded_survives_a_kill_before_its_sync() {
    let disk = CrashDisk::new();
    let mut journal = DoneJournal::open(&disk).unwrap();
    journals::fill(|copy| journal.record(&disk, &[(batch_of(copy), id(copy))]));
    assert_eq!(held(&disk.after_kill()), (0..12).collect::<Vec<_>>());
    assert!(journal.take_unsynced().is_some());
    assert_eq!(journal.take_unsynced(), None, "it is named once");
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
