//! What displays show about members: ages of heartbeats, load, clocks.

use super::Membership;
use crate::envelope::Load;
use crate::notice::Severity;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::{Monotonic, PrivateName};

/// A clock further from the members' median than this is reported: windows of series depend on it.
const CLOCK_OFFSET_MILLIS_MAX: i64 = 2000;

/// One member, as its heartbeats describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberHealth {
    /// Who.
    pub name: PrivateName,
    /// Counter of the view of its admission.
    pub admitted: u64,
    /// Time since its last heartbeat was delivered here; none has been yet.
    pub heartbeat_age: Option<Duration>,
    /// What its last heartbeat said of its load.
    pub load: Load,
    /// Digest of its options that must agree, as of its last heartbeat.
    pub options_digest: Option<u64>,
    /// Its wall clock against the median of the members', in milliseconds; transit time included.
    pub clock_offset_millis: Option<i64>,
}

impl Membership {
    /// All members in membership order.
    #[must_use]
    pub fn health(&self, now: Monotonic) -> Vec<MemberHealth> {
        let Some(view) = &self.view else { return Vec::new() };
        let against_own = self.clocks_against_own();
        let median = median(against_own.iter().map(|(_, offset)| *offset).collect());
        view.in_order()
            .map(|(raw, installed)| {
                let pulse = self.heartbeats.pulses.get(&raw);
                let offset = against_own.iter().find(|(of, _)| *of == raw).map(|(_, offset)| *offset);
                MemberHealth {
                    name: installed.member.info.private_name.clone(),
                    admitted: installed.member.age,
                    heartbeat_age: pulse.and_then(|pulse| pulse.last).map(|last| now.since(last)),
                    load: pulse.map(|pulse| pulse.load).unwrap_or_default(),
                    options_digest: pulse.and_then(|pulse| pulse.options_digest),
                    clock_offset_millis: offset.zip(median).map(|(offset, median)| offset - median),
                }
            })
            .collect()
    }

    /// Each member's wall clock minus ours at the delivery of its last heartbeat.
    fn clocks_against_own(&self) -> Vec<(crate::carrier::RawId, i64)> {
        let Some((at, wall)) = self.heartbeats.clocks else { return Vec::new() };
        let signed = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
        self.heartbeats
            .pulses
            .iter()
            .filter_map(|(raw, pulse)| {
                let (last, theirs) = (pulse.last?, pulse.wall?);
                let since = |a: Monotonic, b: Monotonic| {
                    signed(u64::try_from(a.since(b).as_millis()).unwrap_or(u64::MAX))
                };
                let ours = signed(wall.unix_millis())
                    .saturating_add(since(last, at))
                    .saturating_sub(since(at, last));
                Some((*raw, signed(theirs.unix_millis()).saturating_sub(ours)))
            })
            .collect()
    }

    /// Reports a clock that has gone too far, once until it is right again.
    pub(super) fn check_clocks(&mut self, now: Monotonic) {
        if self.heartbeats.pulses.len() < 2 {
            return;
        }
        for health in self.health(now) {
            let Some(offset) = health.clock_offset_millis else { continue };
            let is_wrong = offset.saturating_abs() > CLOCK_OFFSET_MILLIS_MAX;
            let Some(view) = &self.view else { return };
            let raw = view.in_order().find(|(_, i)| i.member.info.private_name == health.name);
            let Some(raw) = raw.map(|(raw, _)| raw) else { continue };
            let Some(pulse) = self.heartbeats.pulses.get_mut(&raw) else { continue };
            if is_wrong && !pulse.clock_reported {
                let direction = if offset > 0 { "ahead of" } else { "behind" };
                let text = format!(
                    "The clock of node {} is {} ms {direction} the median of the members; series windows depend \
                     on it. Check its time synchronisation",
                    health.name.node(),
                    offset.saturating_abs()
                );
                self.notices.push(Severity::Warning, text);
            }
            pulse.clock_reported = is_wrong;
        }
    }
}

fn median(mut offsets: Vec<i64>) -> Option<i64> {
    offsets.sort_unstable();
    offsets.get(offsets.len().checked_sub(1)? / 2).copied()
}
