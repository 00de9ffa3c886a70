//! Steps 3 to 6 of a take-over: whose log counts, who goes on with it, and what each still lacks.

use super::{Hub, OWN, Over, Peer, Phase, Role, Stream, Surroundings, gone_reason};
use crate::frame::{FromHub, Gone, Resume};
use crate::log::{Body, Entry, Log};
use crate::member::{Mark, MemberId};
use postfleet_bus::carrier::RawReason;
use postfleet_types::Monotonic;
use std::collections::BTreeMap;

/// Turns after which a member that was asked for entries and sends none is done without.
const ANSWER_TURNS: u32 = 3;

/// The log that counts, while the hub gathers the part of it that somebody lacks.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) deadline: Monotonic,
    /// The members of the latest change.
    latest: Vec<MemberId>,
    /// The last entry that counts.
    end: Mark,
    /// Everybody who goes on has the entries up to here.
    low: Mark,
    entries: BTreeMap<u64, Entry>,
    /// Who was asked, and for which entries (both ends included) that have not come.
    asked: Option<(Stream, u64, u64)>,
    /// Turns since the question or the last answer.
    turns: u32,
}

impl Fetching {
    /// Takes entries from a stream. What was not asked for answers a question of an earlier attempt.
    pub(super) fn hold(&mut self, stream: Stream, entries: Vec<Entry>) {
        for entry in entries {
            if let Some((asked, from, to)) = self.asked
                && asked == stream
                && entry.mark.seq == from
            {
                self.asked = (from < to).then_some((stream, from + 1, to));
                self.turns = 0;
                self.entries.insert(from, entry);
            }
        }
    }

    /// One turn. Returns who has not answered for so long that the hub does without it.
    pub(super) fn turn(&mut self) -> Option<Stream> {
        let (stream, ..) = self.asked?;
        self.turns += 1;
        (self.turns >= ANSWER_TURNS).then_some(stream)
    }

    /// The highest number that is lacking.
    fn missing(&self) -> Option<u64> {
        (self.low.seq + 1..=self.end.seq).rev().find(|seq| !self.entries.contains_key(seq))
    }

    /// Whether the entry an attachment names as its last is the one of this log, as far as is known.
    fn agrees(&self, last: Mark) -> bool {
        if last.seq >= self.end.seq {
            return last == self.end;
        }
        self.entries.get(&last.seq).is_none_or(|entry| entry.mark == last)
    }
}

impl Hub {
    fn resuming(&self) -> impl Iterator<Item = (Stream, MemberId, &Resume)> {
        self.peers.iter().filter_map(|(stream, peer)| match &peer.role {
            Role::Resuming(resume) => Some((*stream, peer.id, resume)),
            Role::New | Role::Waiting | Role::Member | Role::Detaching | Role::Closed => None,
        })
    }

    /// Step 3. Returns whether there is more to do at once.
    pub(super) fn gather(
        &mut self,
        now: Monotonic,
        deadline: Monotonic,
        surroundings: &mut impl Surroundings,
    ) -> bool {
        let own_past = self.resuming().any(|(stream, ..)| stream == OWN);
        let best = self.resuming().max_by_key(|(_, _, resume)| resume.last);
        let latest = best.map(|(_, _, resume)| (resume.last, resume.members.clone()));
        let complete = match &latest {
            // Nobody has ever been on this bus.
            None => self.generation == 1,
            Some((_, members)) => {
                own_past
                    && members.iter().all(|id| {
                        self.resuming().any(|(_, resumed, _)| resumed == *id)
                            || !surroundings.process_exists(*id)
                    })
            }
        };
        if !complete && now < deadline {
            return false;
        }
        let Some((end, latest)) = latest else {
            self.phase = Phase::Running;
            return true;
        };
        let going = self.resuming().filter(|(_, id, _)| latest.contains(id));
        let low = going.map(|(_, _, resume)| resume.last).min_by_key(|last| last.seq).unwrap_or(end);
        self.phase = Phase::Fetching(Fetching {
            deadline,
            latest,
            end,
            low,
            entries: BTreeMap::new(),
            asked: None,
            turns: 0,
        });
        true
    }

    /// Step 4. Returns whether there is more to do at once.
    pub(super) fn fetch(&mut self, surroundings: &mut impl Surroundings) -> bool {
        let Phase::Fetching(fetching) = &self.phase else { return true };
        if fetching.asked.is_some() {
            return false;
        }
        let Some(missing) = fetching.missing() else {
            if surroundings.superseded(self.generation) {
                self.over(Over::Superseded);
                return false;
            }
            return self.begin(surroundings);
        };
        let holds = |resume: &Resume| {
            resume.last.seq >= missing && resume.held_from <= missing && fetching.agrees(resume.last)
        };
        let holder = self
            .resuming()
            .filter(|(_, id, resume)| fetching.latest.contains(id) && holds(resume))
            // The own member first: its answer costs nothing. Then whoever keeps most.
            .min_by_key(|(stream, _, resume)| (*stream != OWN, resume.held_from))
            .map(|(stream, _, resume)| (stream, resume.held_from));
        let Phase::Fetching(fetching) = &mut self.phase else { return true };
        match holder {
            Some((stream, held_from)) => {
                let from = held_from.max(fetching.low.seq + 1);
                fetching.asked = Some((stream, from, missing));
                fetching.turns = 0;
                self.send(stream, &FromHub::Fetch { from, to: missing });
                false
            }
            None => {
                // Nobody has it: who would need it cannot go on with the others.
                let generation =
                    fetching.entries.get(&(missing + 1)).map_or(0, |entry| entry.mark.generation);
                fetching.low = Mark { generation, seq: missing };
                true
            }
        }
    }

    /// The end of step 4, and step 5 for those who have come: everybody gets what he lacks, then the change.
    fn begin(&mut self, surroundings: &mut impl Surroundings) -> bool {
        let Phase::Fetching(fetching) = core::mem::replace(&mut self.phase, Phase::Running) else {
            return true;
        };
        let mut log = Log::after(fetching.low);
        for entry in fetching.entries.values().filter(|entry| entry.mark.seq > fetching.low.seq) {
            log.push(entry.clone());
        }
        self.log = log;
        let resumed: Vec<(Stream, MemberId, Resume)> =
            self.resuming().map(|(stream, id, resume)| (stream, id, resume.clone())).collect();
        let mut going = Vec::new();
        for (stream, id, resume) in resumed {
            let fits = fetching.latest.contains(&id)
                && resume.last.seq >= fetching.low.seq
                && fetching.agrees(resume.last);
            if fits {
                going.push(id);
                self.catch_up(stream, &resume);
            } else {
                self.refuse(stream, Gone::Expelled);
            }
        }
        if self.peers.get(&OWN).is_some_and(|peer| peer.role == Role::Closed) {
            self.over(Over::Expelled);
            return false;
        }
        let left: Vec<(MemberId, RawReason)> = fetching
            .latest
            .iter()
            .filter(|id| !going.contains(id))
            .map(|id| (*id, gone_reason(*id, surroundings)))
            .collect();
        going.sort_unstable();
        self.members = going;
        self.log_change(left, &[]);
        true
    }

    fn catch_up(&mut self, stream: Stream, resume: &Resume) {
        let stable = self.log.first_seq().saturating_sub(1);
        let lacking: Vec<Entry> = self.log.range(resume.last.seq + 1, u64::MAX).cloned().collect();
        let Some(peer) = self.peers.get_mut(&stream) else { return };
        let Peer { id, .. } = *peer;
        peer.role = Role::Member;
        peer.acked = resume.last.seq;
        peer.last_no = resume.own_no;
        for entry in lacking {
            if let Body::Message { from, no, .. } = &entry.body
                && *from == id.raw
                && let Some(peer) = self.peers.get_mut(&stream)
            {
                peer.last_no = *no;
            }
            self.send(stream, &FromHub::Entry { stable, entry });
        }
    }
}
