//! Calls that fail on a machine that stays up.

use postfleet_types::{Random, WallTime};

use super::crash_disk::{AllWays, CrashDisk};
use super::scenario::{SECOND, check, envelope, fresh, offers, receive, restart};
use crate::{
    DiskErrorKind, DoneJournal, Draft, MessageFile, MessageId, MessageIds, PlaceJournal, Refusal, StoreError,
    Traits, commit, message_path, take_stock,
};

const KINDS: [DiskErrorKind; 4] =
    [DiskErrorKind::Io, DiskErrorKind::NoSpace, DiskErrorKind::ReadOnly, DiskErrorKind::NoResources];

#[test]
fn mta_4_4_any_call_may_fail_once() {
    let base = fresh();
    let offers = offers();
    let mut refused = 0;
    for seed in 0..2 {
        let whole = base.after_kill();
        receive(&whole, &offers, seed);
        for call in 0..whole.calls() {
            for kind in KINDS {
                let disk = base.after_kill();
                disk.fail(call, call, kind);
                let acknowledged = receive(&disk, &offers, seed).acknowledged;
                refused += 3 - acknowledged.len();
                check(&restart(&disk.after_kill()).unwrap(), &offers, &acknowledged);
                let mut ways = AllWays::default();
                for _ in 0..16 {
                    let after = disk.after_power_cut(&mut |count| ways.choose(count));
                    check(&restart(&after).unwrap(), &offers, &acknowledged);
                    if !ways.next_round() {
                        break;
                    }
                }
                let mut random = Random::seeded(call);
                let mut chance = |ways: usize| usize::try_from(random.below(ways as u64)).unwrap();
                check(&restart(&disk.after_power_cut(&mut chance)).unwrap(), &offers, &acknowledged);
            }
        }
    }
    assert!(refused > 0, "some fault must have cost a transaction");
}

#[test]
fn mta_4_4_the_disk_fills_or_turns_read_only() {
    let base = fresh();
    let offers = offers();
    let whole = base.after_kill();
    receive(&whole, &offers, 3);
    for kind in KINDS {
        for call in 0..whole.calls() {
            let disk = base.after_kill();
            disk.fail(call, u64::MAX, kind);
            let acknowledged = receive(&disk, &offers, 3).acknowledged;
            check(&restart(&disk.after_kill()).unwrap(), &offers, &acknowledged);
            check(&restart(&disk.after_power_cut(&mut |_| 0)).unwrap(), &offers, &acknowledged);
            check(&restart(&disk.after_power_cut(&mut |_| 1)).unwrap(), &offers, &acknowledged);
        }
    }
}

#[test]
fn what_is_given_up_or_fails_leaves_no_file() {
    let disk = fresh();
    let draft = |counter| {
        let mut draft = Draft::new(envelope(SECOND, counter, 1), 100).unwrap();
        assert!(draft.push(&[b'x'; 200]));
        draft.flush(&disk).unwrap();
        draft
    };
    draft(0).abandon(&disk);
    draft(1).seal(&disk).unwrap().abandon(&disk);
    draft(2).seal(&disk).unwrap().sync(&disk).unwrap().abandon(&disk);
    let mut full = draft(3);
    full.push(b"y");
    disk.fail(disk.calls(), disk.calls(), DiskErrorKind::NoSpace);
    let told = full.flush(&disk).unwrap_err();
    assert!(!full.push(b"z"), "nothing is kept for a transaction that has failed");
    assert_eq!(full.seal(&disk).unwrap_err(), told);
    assert_eq!(disk.names("tmp"), [""; 0]);

    let taken = draft(4);
    let mut second = Draft::<usize>::new(envelope(SECOND, 4, 1), 100).unwrap();
    assert!(matches!(second.flush(&disk), Err(StoreError::IdInUse { .. })));
    second.abandon(&disk);
    assert_eq!(disk.names("tmp").len(), 1, "the file of the other transaction stays");
    taken.abandon(&disk);
}

#[test]
fn mta_3_3_what_the_client_is_told() {
    let refusal = |kind| {
        let disk = fresh();
        disk.fail(0, 0, kind);
        let failure = Draft::new(envelope(SECOND, 0, 1), 100).unwrap().seal(&disk).unwrap_err();
        failure.refusal()
    };
    assert_eq!(refusal(DiskErrorKind::NoSpace), Refusal::InsufficientStorage);
    assert_eq!(refusal(DiskErrorKind::NoResources), Refusal::InsufficientStorage);
    assert_eq!(refusal(DiskErrorKind::Io), Refusal::Failed);
    assert_eq!(refusal(DiskErrorKind::ReadOnly), Refusal::Failed);
    let nobody = Draft::<usize>::new(envelope(SECOND, 0, 0), 100).unwrap_err();
    assert_eq!(nobody, StoreError::NoRecipient);
}

#[test]
fn mta_4_4_three_failed_syncs_in_a_row_stop_the_intake() {
    let disk = fresh();
    let mut health = crate::SyncHealth::new();
    let sync = |health: &mut crate::SyncHealth, counter, fails| {
        let sealed = Draft::new(envelope(SECOND, counter, 1), 100).unwrap().seal(&disk).unwrap();
        if fails {
            disk.fail(disk.calls(), disk.calls(), DiskErrorKind::Io);
        }
        let outcome = sealed.sync(&disk);
        assert_eq!(outcome.is_err(), fails);
        health.data_sync(&outcome);
    };
    sync(&mut health, 0, true);
    sync(&mut health, 1, true);
    sync(&mut health, 2, false);
    sync(&mut health, 3, true);
    sync(&mut health, 4, true);
    assert!(health.accepting());
    sync(&mut health, 5, true);
    assert!(!health.accepting());
    sync(&mut health, 6, false);
    assert!(!health.accepting(), "a later success does not make the device good");
}

#[test]
fn a_failed_folder_sync_counts_once_for_its_group() {
    let disk = fresh();
    let synced = |counter| {
        let draft = Draft::new(envelope(SECOND, counter, 1), 100).unwrap();
        draft.seal(&disk).unwrap().sync(&disk).unwrap()
    };
    let group: Vec<_> = (0..5).map(synced).collect();
    disk.fail(disk.calls() + 5, disk.calls() + 5, DiskErrorKind::Io);
    let report = commit(&disk, group);
    assert_eq!(report.syncs, [Err(DiskErrorKind::Io)]);
    assert!(report.outcomes.iter().all(|(_, outcome)| outcome.is_err()));
    let mut health = crate::SyncHealth::new();
    health.folder_syncs(&report.syncs);
    assert!(health.accepting());
    assert!(restart(&disk.after_kill()).unwrap().found.is_empty());
}

#[test]
fn a_group_shares_its_folder_syncs() {
    let disk = fresh();
    let synced = |counter| {
        let draft = Draft::new(envelope(SECOND + u32::from(counter % 2), counter, 1), 100).unwrap();
        draft.seal(&disk).unwrap().sync(&disk).unwrap()
    };
    let group: Vec<_> = (0..100).map(synced).collect();
    let before = disk.calls();
    let report = commit(&disk, group);
    assert_eq!(report.outcomes.len(), 100);
    assert_eq!(report.syncs.len(), 3, "two folders and tmp/");
    assert_eq!(disk.calls() - before, 103);
}

fn plant(disk: &CrashDisk, second: u32, counter: u16) -> MessageId {
    let envelope = envelope(second, counter, 1);
    let batch = envelope.batch;
    let file = MessageFile { envelope, content: b"", traits: Traits::default() };
    disk.plant(&message_path(batch), &file.encode().unwrap());
    batch
}

fn stock(disk: &CrashDisk, process: u32, now: u32) -> u32 {
    let mut done = DoneJournal::open(disk).unwrap();
    let mut places = PlaceJournal::open(disk).unwrap();
    take_stock(disk, &mut done, &mut places, process, WallTime::from_unix_seconds(now.into()))
}

#[test]
fn mta_4_1_a_restart_with_the_same_process_id_repeats_no_id() {
    let disk = fresh();
    assert_eq!(stock(&disk, 2001, SECOND), SECOND);
    for second in [SECOND, SECOND + 1] {
        plant(&disk, second, 0);
    }
    assert_eq!(stock(&disk, 2001, SECOND), SECOND + 2);
    assert_eq!(stock(&disk, 2002, SECOND), SECOND);
    // The clock has gone back.
    assert_eq!(stock(&disk, 2001, SECOND - 100), SECOND + 2);
    assert_eq!(stock(&disk, 2001, SECOND + 100), SECOND + 100);
    let mut ids = MessageIds::new(2001, SECOND + 2);
    let now = WallTime::from_unix_seconds(SECOND.into());
    assert_eq!(ids.draw(now), MessageId::from_parts(SECOND + 2, 2001, 0));
}

#[test]
fn what_is_done_of_a_transaction_that_is_gone_is_not_held_against_a_new_one() {
    let disk = fresh();
    let (gone, queued) = (MessageId::from_parts(SECOND + 5, 2001, 0), plant(&disk, SECOND, 3));
    let mut done = DoneJournal::open(&disk).unwrap();
    done.record(&disk, &[(gone, gone), (queued, queued)]).unwrap();
    // The record was there when the ids of this start began, and is not there at the next.
    assert_eq!(stock(&disk, 2001, SECOND), SECOND + 6);
    let done = DoneJournal::open(&disk).unwrap();
    assert!(!done.contains(gone, gone) && done.contains(queued, queued));
    assert_eq!(stock(&disk, 2001, SECOND), SECOND + 1);
}

#[test]
fn a_file_that_cannot_be_read_now_keeps_what_is_done_of_it() {
    let disk = fresh();
    let batch = plant(&disk, SECOND, 0);
    DoneJournal::open(&disk).unwrap().record(&disk, &[(batch, batch)]).unwrap();
    let calls = {
        let disk = disk.after_kill();
        stock(&disk, 2001, SECOND);
        disk.calls()
    };
    // Neither list nor anything else fails for good: the record is there at the next start.
    for call in 0..calls {
        let disk = disk.after_kill();
        disk.fail(call, call, DiskErrorKind::NoResources);
        if let (Ok(mut done), Ok(mut places)) = (DoneJournal::open(&disk), PlaceJournal::open(&disk)) {
            take_stock(&disk, &mut done, &mut places, 2001, WallTime::from_unix_seconds(SECOND.into()));
        }
        assert!(DoneJournal::open(&disk.after_kill()).unwrap().contains(batch, batch), "{call}");
    }
}
