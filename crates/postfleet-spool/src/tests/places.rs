//! The journal of places, on a disk that forgets.

use std::collections::BTreeMap;

use super::crash_disk::CrashDisk;
use super::journals::{self, batch_of, id};
use super::scenario::envelope;
use crate::journal::Record as _;
use crate::{PlaceJournal, Placed, QueueKey, Stored, Traits};

fn placed(copy: u32, binding: &str) -> Placed {
    let queue = QueueKey {
        binding_group: "g".into(),
        binding: binding.into(),
        domain: format!("d{copy}.example").into(),
    };
    Placed { batch: batch_of(copy), copy: id(copy), queue }
}

/// Where copies are that the message file has at `default`.
fn held(disk: &CrashDisk) -> BTreeMap<u32, String> {
    let journal = PlaceJournal::open(disk).unwrap();
    let mut found = BTreeMap::new();
    for copy in 0..12 {
        let mut envelope = envelope(1_900_000_000, 0, 1);
        envelope.batch = batch_of(copy);
        envelope.copies[0].id = id(copy);
        let mut stored = Stored { envelope: Box::new(envelope), content_bytes: 0, traits: Traits::default() };
        journal.apply(&mut stored);
        let at = &stored.envelope.copies[0];
        if !at.binding.is_default() {
            assert_eq!((at.binding_group.as_str(), &*at.domain), ("g", &*format!("d{copy}.example")));
            found.insert(copy, at.binding.to_string());
        }
    }
    found
}

fn fill(disk: &CrashDisk) -> Vec<u32> {
    let Ok(mut journal) = PlaceJournal::open(disk) else { return Vec::new() };
    journals::fill(|copy| journal.record(disk, vec![placed(copy, "b")]))
}

#[test]
fn what_was_recorded_survives_a_power_cut_at_any_call() {
    journals::what_was_recorded_survives_a_power_cut_at_any_call(fill, |disk| {
        held(disk).into_keys().collect()
    });
}

#[test]
fn the_last_place_counts_and_what_is_gone_is_forgotten() {
    let disk = CrashDisk::new();
    fill(&disk);
    let mut journal = PlaceJournal::open(&disk).unwrap();
    journal.record(&disk, vec![placed(3, "c"), placed(3, "e")]).unwrap();
    // Names that nobody can have are left out, and what follows is read.
    journal.record(&disk, vec![placed(2, &"x".repeat(70_000)), placed(1, "f")]).unwrap();
    drop(journal);
    let found = held(&disk);
    assert_eq!((found[&3].as_str(), found[&2].as_str(), found[&1].as_str()), ("e", "b", "f"));
    let mut journal = PlaceJournal::open(&disk).unwrap();
    journal.forget(id(8));
    journal.retain(&disk, |batch| batch != id(4));
    journal.record(&disk, Vec::new()).unwrap();
    assert_eq!(held(&disk).into_keys().collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(crate::Disk::list(&disk, "state").unwrap().len(), 1);
}

#[test]
fn a_torn_or_damaged_record_ends_the_file_and_panics_nowhere() {
    let mut bytes = Vec::new();
    placed(1, "b").encode(&mut bytes);
    let whole = bytes.len();
    placed(2, "c").encode(&mut bytes);
    for end in 0..bytes.len() {
        let first = Placed::decode(&bytes[..end]);
        assert_eq!(first.is_some(), end >= whole, "{end}");
        if let Some((first, behind)) = first {
            assert_eq!(first, placed(1, "b"));
            assert!(Placed::decode(behind).is_none(), "{end}");
        }
    }
    for at in 0..whole {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        assert!(Placed::decode(&damaged).is_none_or(|(found, _)| found != placed(1, "b")), "{at}");
    }
}
