//! Receptions as a driver runs them: several at once, committed in groups.

use std::collections::{BTreeMap, BTreeSet};

use postfleet_types::{Random, WallTime};

use super::crash_disk::CrashDisk;
use crate::{
    BindingGroupName, BindingName, Body, Draft, Envelope, Message, MessageId, Notice, RecipientCopy, Sealed,
    SyncHealth, Synced, commit, open,
};

pub(super) const SECOND: u32 = 1_254_219_116;

pub(super) fn envelope(second: u32, counter: u16, recipients: u16) -> Envelope {
    let id = |copy| MessageId::from_parts(second, 2001, counter + copy);
    Envelope {
        batch: id(0),
        created: WallTime::from_unix_seconds(second.into()),
        sender: format!("sender{counter}@a.example"),
        copies: (0..recipients)
            .map(|copy| RecipientCopy {
                id: id(copy),
                recipient: format!("r{copy}@b{copy}.example"),
                domain: format!("b{copy}.example"),
                orcpt: None,
                notify: None,
                binding: BindingName::default(),
                binding_group: BindingGroupName::default(),
            })
            .collect(),
        body: Body::SevenBit,
        smtputf8: false,
        ret: None,
        envid: None,
        client: None,
        helo: "client.example".to_string(),
        protocol: "ESMTP".to_string(),
        connection: None,
        context: Vec::new(),
    }
}

/// What a client hands in.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) envelope: Envelope,
    pub(super) chunks: Vec<Vec<u8>>,
    /// Given up after the last chunk.
    pub(super) given_up: bool,
}

impl Offer {
    pub(super) fn content(&self) -> Vec<u8> {
        self.chunks.concat()
    }
}

/// Content is written to the disk in pieces of this size at least.
const THRESHOLD: usize = 600;

/// Small and large, one and several recipients, two folders, one that is given up.
pub(super) fn offers() -> Vec<Offer> {
    let chunk = |byte: u8, length| vec![byte; length];
    let offer = |second, counter, recipients, chunks| Offer {
        envelope: envelope(second, counter, recipients),
        chunks,
        given_up: false,
    };
    vec![
        offer(SECOND, 0, 1, vec![b"Subject: small\r\n\r\nbody\r\n".to_vec()]),
        offer(SECOND, 1, 3, vec![chunk(b'b', 700), chunk(b'c', 700), chunk(0xc3, 10)]),
        offer(SECOND + 1, 0, 1, vec![Vec::new()]),
        Offer { given_up: true, ..offer(SECOND, 9, 1, vec![chunk(b'd', 700)]) },
    ]
}

/// A prepared, durable, empty spool.
pub(super) fn fresh() -> CrashDisk {
    let disk = CrashDisk::new();
    drop(open(&disk).unwrap());
    disk.settle();
    disk
}

enum Stage {
    Receiving(Draft<usize>, usize),
    Sealed(Sealed<usize>),
    Waiting(Synced),
    Over,
}

/// What a run came to.
pub(super) struct Outcome {
    /// Transactions that got 250.
    pub(super) acknowledged: BTreeSet<MessageId>,
    pub(super) health: SyncHealth,
}

/// Runs all receptions, interleaved as the seed says, until they are over or the power is cut.
pub(super) fn receive(disk: &CrashDisk, offers: &[Offer], seed: u64) -> Outcome {
    let mut random = Random::seeded(seed);
    let mut outcome = Outcome { acknowledged: BTreeSet::new(), health: SyncHealth::new() };
    let mut stages: Vec<Stage> = offers
        .iter()
        .map(|offer| Stage::Receiving(Draft::new(offer.envelope.clone(), THRESHOLD).unwrap(), 0))
        .collect();
    loop {
        let movable: Vec<usize> = (0..stages.len())
            .filter(|&index| matches!(stages[index], Stage::Receiving(..) | Stage::Sealed(_)))
            .collect();
        let waiting = stages.iter().filter(|stage| matches!(stage, Stage::Waiting(_))).count();
        if movable.is_empty() && waiting == 0 {
            return outcome;
        }
        if movable.is_empty() || waiting > 0 && random.below(4) == 0 {
            let group = stages.iter_mut().filter(|stage| matches!(stage, Stage::Waiting(_)));
            let group = group.filter_map(|stage| match std::mem::replace(stage, Stage::Over) {
                Stage::Waiting(synced) => Some(synced),
                Stage::Receiving(..) | Stage::Sealed(_) | Stage::Over => None,
            });
            let report = commit(disk, group.collect());
            outcome.health.folder_syncs(&report.syncs);
            let stored = report.outcomes.into_iter().filter(|(_, result)| result.is_ok());
            outcome.acknowledged.extend(stored.map(|(batch, _)| batch));
        } else {
            let pick = random.below(movable.len() as u64);
            let index = movable[usize::try_from(pick).unwrap()];
            let stage = std::mem::replace(&mut stages[index], Stage::Over);
            stages[index] = advance(disk, &offers[index], stage, &mut outcome);
        }
        if disk.is_off() {
            return outcome;
        }
    }
}

fn advance(disk: &CrashDisk, offer: &Offer, stage: Stage, outcome: &mut Outcome) -> Stage {
    match stage {
        Stage::Receiving(mut draft, next) => match offer.chunks.get(next) {
            Some(chunk) => {
                if draft.push(chunk) {
                    let _told_by_seal = draft.flush(disk);
                }
                Stage::Receiving(draft, next + 1)
            }
            None if offer.given_up => {
                draft.abandon(disk);
                Stage::Over
            }
            None => draft.seal(disk).map_or(Stage::Over, Stage::Sealed),
        },
        Stage::Sealed(sealed) => {
            let synced = sealed.sync(disk);
            outcome.health.data_sync(&synced);
            synced.map_or(Stage::Over, Stage::Waiting)
        }
        Stage::Waiting(_) | Stage::Over => stage,
    }
}

/// What a restarted node finds.
pub(super) struct Restarted {
    pub(super) found: BTreeMap<MessageId, Vec<u8>>,
    pub(super) notices: Vec<Notice>,
}

/// Restarts on a disk, scans everything, and reads every message to its end. None when the power was cut.
pub(super) fn restart(disk: &CrashDisk) -> Option<Restarted> {
    let opened = open(disk).ok()?;
    let (mut recovery, mut notices) = (opened.recovery, opened.notices);
    let mut found = BTreeMap::new();
    loop {
        let step = recovery.step(disk, 3);
        notices.extend(step.notices);
        for stored in step.stored {
            let message = Message::open(disk, stored.envelope.batch).ok()?;
            message.verify(disk).ok()?;
            let mut content = vec![0; usize::try_from(stored.content_bytes).unwrap()];
            assert_eq!(message.read_content(disk, 0, &mut content).ok()?, content.len());
            assert_eq!(found.insert(stored.envelope.batch, content), None, "twice in the spool");
        }
        if disk.is_off() {
            return None;
        }
        if step.finished {
            assert_eq!(disk.names("tmp"), [""; 0], "leftovers stay");
            return Some(Restarted { found, notices });
        }
    }
}

/// Each acknowledged message is there once and intact, and nothing is there that was not offered as it is.
pub(super) fn check(restarted: &Restarted, offers: &[Offer], acknowledged: &BTreeSet<MessageId>) {
    for batch in acknowledged {
        assert!(restarted.found.contains_key(batch), "{batch} was acknowledged and is lost");
    }
    for (batch, content) in &restarted.found {
        let offer = offers.iter().find(|offer| offer.envelope.batch == *batch);
        let offer = offer.expect("only what was offered is found");
        assert!(!offer.given_up, "{batch} was given up");
        assert_eq!(*content, offer.content(), "{batch} is not what was offered");
    }
    for notice in &restarted.notices {
        assert!(!notice.critical(), "{notice}");
    }
}
