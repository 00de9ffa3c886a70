//! Power cuts at every call.

use postfleet_types::Random;

use super::crash_disk::{AllWays, CrashDisk, Moment};
use super::scenario::{SECOND, check, envelope, fresh, offers, receive, restart};
use crate::{Draft, MessageFile, Notice, Traits, commit, message_path, open};

/// How many interleavings a test tries; `POSTFLEET_CASES` raises it.
#[expect(clippy::disallowed_methods, reason = "a test may ask how long it should run")]
fn cases(few: u64) -> u64 {
    std::env::var("POSTFLEET_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

/// Ways a single power cut may turn out that are tried before chance picks among the rest.
const WAYS_MAX: usize = 32;

fn choose(random: &mut Random) -> impl FnMut(usize) -> usize + '_ {
    |ways| usize::try_from(random.below(ways as u64)).unwrap()
}

#[test]
fn mta_case_11_power_cut_at_every_call_of_a_reception() {
    let base = fresh();
    let offers = offers();
    let mut cuts = 0_u64;
    for seed in 0..cases(3) {
        let whole = base.after_kill();
        let outcome = receive(&whole, &offers, seed);
        assert_eq!(outcome.acknowledged.len(), 3, "nothing is refused by a healthy disk");
        for call in 0..whole.calls() {
            for moment in [Moment::Before, Moment::After] {
                let disk = base.after_kill();
                disk.cut_power(call, moment);
                let acknowledged = receive(&disk, &offers, seed).acknowledged;
                assert!(disk.is_off());
                check(&restart(&disk.after_kill()).unwrap(), &offers, &acknowledged);
                let mut ways = AllWays::default();
                for _ in 0..WAYS_MAX {
                    let after = disk.after_power_cut(&mut |count| ways.choose(count));
                    check(&restart(&after).unwrap(), &offers, &acknowledged);
                    cuts += 1;
                    if !ways.next_round() {
                        break;
                    }
                }
                let mut random = Random::seeded(seed ^ call);
                let after = disk.after_power_cut(&mut choose(&mut random));
                check(&restart(&after).unwrap(), &offers, &acknowledged);
            }
        }
    }
    assert!(cuts > 1000, "only {cuts} power cuts were tried");
}

#[test]
fn mta_4_4_power_cut_after_everything_was_acknowledged() {
    let base = fresh();
    let offers = offers();
    for seed in 0..cases(20) {
        let disk = base.after_kill();
        let acknowledged = receive(&disk, &offers, seed).acknowledged;
        let mut ways = AllWays::default();
        loop {
            let after = disk.after_power_cut(&mut |count| ways.choose(count));
            check(&restart(&after).unwrap(), &offers, &acknowledged);
            if !ways.next_round() {
                break;
            }
        }
    }
}

#[test]
fn mta_4_4_power_cut_at_every_call_of_the_restart() {
    let offers = offers();
    let mut random = Random::seeded(11);
    let disk = fresh();
    // Half way through a group commit, with leftovers and an unreadable file.
    disk.cut_power(24, Moment::Before);
    let acknowledged = receive(&disk, &offers, 1).acknowledged;
    let first = disk.after_kill();
    let bad = envelope(SECOND + 3, 5, 1).batch;
    first.plant(&message_path(bad), b"not what was written");
    let calls = {
        let whole = first.after_kill();
        let restarted = restart(&whole).unwrap();
        assert_eq!(restarted.notices.iter().filter(|notice| notice.critical()).count(), 1);
        whole.calls()
    };
    // Most calls list folders, which changes nothing: every call that may matter is near the start and the file.
    for call in 0..calls {
        let second = first.after_kill();
        second.cut_power(call, Moment::After);
        drop(restart(&second));
        let third = second.after_power_cut(&mut choose(&mut random));
        let mut restarted = restart(&third).unwrap();
        restarted.notices.retain(|notice| !notice.critical());
        check(&restarted, &offers, &acknowledged);
        let name = bad.file_name();
        let kept = third.names("corrupt").iter().any(|found| found.starts_with(&name));
        assert!(kept, "the unreadable file was lost at call {call}");
    }
}

#[test]
fn mta_4_4_power_cut_at_every_call_of_the_first_start() {
    let offers = offers();
    let mut random = Random::seeded(12);
    let whole = CrashDisk::new();
    drop(open(&whole).unwrap());
    for call in 0..whole.calls() {
        let disk = CrashDisk::new();
        disk.cut_power(call, Moment::After);
        assert!(open(&disk).is_err());
        let again = disk.after_power_cut(&mut choose(&mut random));
        drop(open(&again).unwrap());
        let acknowledged = receive(&again, &offers, call).acknowledged;
        assert_eq!(acknowledged.len(), 3);
        let after = again.after_power_cut(&mut choose(&mut random));
        check(&restart(&after).unwrap(), &offers, &acknowledged);
    }
}

#[test]
fn a_folder_that_somebody_removed_is_made_again_durably() {
    let disk = fresh();
    let one = envelope(SECOND, 0, 1);
    disk.remove_folder(&format!("msg/{:02X}", one.batch.folder()));
    let draft = Draft::new(one, 100).unwrap();
    let synced = draft.seal(&disk).unwrap().sync(&disk).unwrap();
    let report = commit(&disk, vec![synced]);
    assert!(report.outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
    assert_eq!(report.syncs, [Ok(()), Ok(()), Ok(())]);
    let after = disk.after_power_cut(&mut |_| 0);
    assert_eq!(restart(&after).unwrap().found.len(), 1);
}

#[test]
fn a_message_of_another_process_is_never_replaced() {
    let disk = fresh();
    let first = envelope(SECOND, 0, 1);
    let file = MessageFile { envelope: first.clone(), content: b"first", traits: Traits::default() };
    disk.plant(&message_path(first.batch), &file.encode().unwrap());
    let mut draft = Draft::new(first.clone(), 100).unwrap();
    draft.push(b"second");
    let synced = draft.seal(&disk).unwrap().sync(&disk).unwrap();
    let report = commit(&disk, vec![synced]);
    assert!(matches!(&report.outcomes[0].1, Err(crate::StoreError::IdInUse { .. })));
    assert_eq!(disk.names("tmp"), [""; 0]);
    let restarted = restart(&disk.after_kill()).unwrap();
    assert_eq!(restarted.found[&first.batch], b"first");
}

#[test]
fn the_start_says_what_it_did() {
    let disk = fresh();
    let good = envelope(SECOND, 0, 1);
    let file = MessageFile { envelope: good.clone(), content: b"x", traits: Traits::default() };
    let bytes = file.encode().unwrap();
    let folder = format!("msg/{:02X}", good.batch.folder());
    disk.plant("tmp/00-00-02001-C6DD1CA4", b"half");
    disk.plant(&format!("{folder}/00-00-02001-C6DD1CA4"), &bytes);
    disk.plant(&format!("{folder}/10-00-02001-C6DD1CA4"), &bytes);
    disk.plant(&format!("{folder}/notes.txt"), b"do not touch");
    disk.plant("corrupt/notes.txt", b"an older one");
    let mut newer = bytes.clone();
    newer[9] = 2;
    disk.plant(&format!("{folder}/20-00-02001-C6DD1CA4"), &newer);
    let restarted = restart(&disk).unwrap();
    let shown: Vec<String> = restarted.notices.iter().map(Notice::to_string).collect();
    assert_eq!(
        shown,
        [
            "spool: removed 1 unfinished receptions; none of them had been acknowledged",
            "spool: cannot use msg/C6/10-00-02001-C6DD1CA4: the envelope belongs to 00/00-02001-C6DD1CA4, not to \
             the name of the file; moved to corrupt/10-00-02001-C6DD1CA4, nothing was deleted",
            "spool: cannot use msg/C6/20-00-02001-C6DD1CA4: format version 2, but this program reads up to 1; \
             left where it is, tried again at the next start",
            "spool: cannot use msg/C6/notes.txt: the name of the file is no message id; moved to \
             corrupt/notes.txt.1, nothing was deleted",
        ]
    );
    assert_eq!(restarted.found.len(), 1);
    assert!(open(&disk).is_ok(), "the lock was released");
    let held = open(&disk).unwrap();
    assert_eq!(open(&disk).err(), Some(crate::OpenError::Locked));
    drop(held);
}
