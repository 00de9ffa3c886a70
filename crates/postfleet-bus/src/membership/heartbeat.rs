//! Signs of life, and what is done about members that give none. Bus documentation, "Heartbeats".
//!
//! The carrier sees hosts and processes. A process that is there but stands still stays a member for it;
//! only its missing heartbeats tell.

use super::Membership;
use super::admission::heartbeat_limit;
use super::view::View;
use crate::carrier::RawId;
use crate::envelope::{Heartbeat, Load};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::{Epoch, Monotonic, NodeType, WallTime};

/// An expulsion that did not come about is asked for again after this time.
const AGAIN: Duration = Duration::from_secs(3);

/// Own heartbeats leave every second at least; one that is older than this means that the process stood still.
const IN_TIME: Duration = Duration::from_secs(2);
/// An own heartbeat that took longer from here to here says that those of others were late as well.
const ORDERED_IN_TIME: Duration = Duration::from_secs(1);

/// What one member's heartbeats told.
#[derive(Debug)]
pub(super) struct Pulse {
    pub(super) epoch: Epoch,
    pub(super) seen_since: Monotonic,
    pub(super) last: Option<Monotonic>,
    pub(super) load: Load,
    /// Digest of its options that must agree, as of the last one.
    pub(super) options_digest: Option<u64>,
    /// What its clock said; none when it was not read in time to compare.
    pub(super) wall: Option<WallTime>,
    /// Its clock has been reported.
    pub(super) clock_reported: bool,
}

#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    pub(super) pulses: BTreeMap<RawId, Pulse>,
    /// Own heartbeats: number, when sent, whether delivered back.
    own: VecDeque<(u64, Monotonic, bool)>,
    number: u64,
    /// Our two clocks read at one moment, to compare others' wall clocks with.
    pub(super) clocks: Option<(Monotonic, WallTime)>,
    /// From when on others' clocks may be compared.
    clocks_from: Monotonic,
    expelled_at: Option<Monotonic>,
    looked_at: Monotonic,
    /// Since when this process has run without standing still.
    running_since: Monotonic,
}

impl Heartbeats {
    pub(super) fn installed(&mut self, now: Monotonic, view: &View) {
        self.pulses.retain(|raw, pulse| view.has(*raw, pulse.epoch));
        for (raw, installed) in &view.members {
            self.pulses.entry(*raw).or_insert(Pulse {
                epoch: installed.member.epoch,
                seen_since: now,
                last: None,
                load: Load::default(),
                options_digest: None,
                wall: None,
                clock_reported: false,
            });
        }
    }

    /// Notes an own heartbeat and gives it a number.
    pub(super) fn sent(&mut self, now: Monotonic, wall: WallTime) -> u64 {
        if self.clocks.is_some_and(|(before, _)| now.since(before) >= IN_TIME) {
            // This process stood still; what it reads next was sent long ago.
            self.clocks_from = now + IN_TIME;
        }
        self.number += 1;
        self.own.push_back((self.number, now, false));
        if self.own.len() > 1024 {
            self.own.pop_front();
        }
        self.clocks = Some((now, wall));
        self.number
    }

    pub(super) fn own_delivered(&mut self, now: Monotonic, number: u64) {
        let Some(entry) = self.own.iter_mut().rev().find(|(own, _, _)| *own == number) else { return };
        entry.2 = true;
        if now.since(entry.1) >= ORDERED_IN_TIME {
            // The bus stood still, as while a ring is formed anew; what others sent meanwhile was late by as much.
            self.clocks_from = now + IN_TIME;
            self.pulses.values_mut().for_each(|pulse| pulse.wall = None);
        }
    }

    /// Whether own heartbeats have not come back for so long. They come back in order; what is missing before one
    /// that came back never will.
    fn is_under_way_for(&self, now: Monotonic, limit: Duration) -> bool {
        let under_way = self.own.iter().rev().take_while(|(_, _, back)| !back);
        under_way.last().is_some_and(|(_, sent, _)| now.since(*sent) >= limit)
    }

    pub(super) fn delivered(&mut self, now: Monotonic, from: RawId, epoch: Epoch, heartbeat: &Heartbeat) {
        // What comes after this process or the bus stood still was sent long ago: that says nothing about clocks.
        let in_time = now >= self.clocks_from
            && self.clocks.is_some_and(|(own_sent, _)| now.since(own_sent) < IN_TIME)
            && !self.is_under_way_for(now, ORDERED_IN_TIME);
        if let Some(pulse) = self.pulses.get_mut(&from)
            && pulse.epoch == epoch
        {
            pulse.last = Some(now);
            pulse.load = heartbeat.load;
            pulse.options_digest = heartbeat.options_digest;
            pulse.wall = in_time.then_some(heartbeat.wall);
        }
    }

    pub(super) const fn stalled(&mut self, now: Monotonic) {
        self.running_since = now;
    }

    /// From when on the member's silence counts, and how long it may last.
    fn silent_since(&self, raw: RawId, start_delay: Duration) -> Option<Monotonic> {
        let pulse = self.pulses.get(&raw)?;
        let expected = pulse.seen_since + start_delay;
        Some(pulse.last.map_or(expected, |last| last.max(expected)))
    }

    /// Whether the bus and this process worked during the last `limit`: enough own heartbeats were sent, and at
    /// least half of these came back.
    fn is_witness(&self, now: Monotonic, limit: Duration, interval: Duration) -> bool {
        if now.since(self.running_since) < limit / 2 {
            return false;
        }
        let from = now - limit;
        let in_window = self.own.iter().filter(|(_, at, _)| *at >= from);
        let (sent, back) =
            in_window.fold((0u128, 0u128), |(sent, back), (_, _, d)| (sent + 1, back + u128::from(*d)));
        let expected = limit.as_micros() / interval.as_micros().max(1);
        sent >= 1 && sent * 2 >= expected.min(1024) && back * 2 >= sent
    }
}

impl Membership {
    /// When the latest of the own heartbeats that came back was sent. Until then this member was certainly not left
    /// behind, however long it stood still since.
    #[must_use]
    pub fn heard(&self) -> Option<Monotonic> {
        let back = self.heartbeats.own.iter().rev().find(|(_, _, back)| *back);
        back.map(|(_, sent, _)| *sent)
    }

    /// The time between two own heartbeats.
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        Duration::from_secs(1) / u32::from(self.info.heartbeats_per_second.max(1))
    }

    /// Members that should have been heard and were not.
    fn suspects(&self, now: Monotonic) -> Vec<RawId> {
        let Some(view) = &self.view else { return Vec::new() };
        let interval = self.heartbeat_interval();
        view.in_order()
            .filter(|(raw, i)| *raw != self.own && i.member.info.node_type == NodeType::Node)
            .filter(|(raw, i)| {
                let limit = heartbeat_limit(&i.member.info);
                self.heartbeats
                    .silent_since(*raw, self.options.heartbeat_start_delay)
                    .is_some_and(|since| now >= since + limit)
                    && self.heartbeats.is_witness(now, limit, interval)
            })
            .map(|(raw, _)| raw)
            .collect()
    }

    /// The oldest node that is not itself suspected puts the suspects out.
    pub(super) fn suspicion_step(&mut self, now: Monotonic) {
        self.heartbeats.looked_at = now;
        let suspects = self.suspects(now);
        let Some(view) = self.view.as_ref().filter(|_| !suspects.is_empty()) else { return };
        let responsible = view
            .in_order()
            .find(|(raw, i)| i.member.info.node_type == NodeType::Node && !suspects.contains(raw))
            .map(|(raw, _)| raw);
        if responsible != Some(self.own) {
            return;
        }
        let epochs: Vec<Epoch> =
            suspects.iter().filter_map(|raw| view.member(*raw)).map(|i| i.member.epoch).collect();
        let waits = self.heartbeats.expelled_at.is_some_and(|at| now.since(at) < AGAIN);
        if waits || self.admission.is_asking() || self.admission.excludes(&epochs) {
            return;
        }
        self.heartbeats.expelled_at = Some(now);
        self.ask_round(epochs);
    }

    pub(super) fn suspicion_deadline(&self) -> Option<Monotonic> {
        let view = self.view.as_ref()?;
        let again = self.heartbeats.expelled_at.map_or(Monotonic::ZERO, |at| at + AGAIN);
        view.in_order()
            .filter(|(raw, i)| *raw != self.own && i.member.info.node_type == NodeType::Node)
            .filter_map(|(raw, i)| {
                let limit = heartbeat_limit(&i.member.info);
                let due = self.heartbeats.silent_since(raw, self.options.heartbeat_start_delay)? + limit;
                // What is overdue is looked at again at the pace of heartbeats.
                Some(due.max(self.heartbeats.looked_at + self.heartbeat_interval()).max(again))
            })
            .min()
    }
}
