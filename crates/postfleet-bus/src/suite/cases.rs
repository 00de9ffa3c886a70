//! The cases, by subject, and how they are run.

mod chaos;
mod crash;
mod field;
mod groups;
mod limits;
mod order;
mod partition;
mod refusal;
mod stop;
mod view;

use super::{Capability, Rig};
use crate::suite::std;
use crate::suite::std::eprintln;
use crate::suite::std::string::String;
pub(crate) use field::Field;

/// A case of the suite. The numbers are those of the bus documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names of the tests say what each shows")]
pub enum Case {
    T01,
    T02,
    T03,
    T04,
    T05,
    T06,
    T07,
    T08,
    T09,
    T10,
    T11,
    T12,
    T13,
    T14,
    T15,
    T16,
    T17,
    T18,
    T19,
    T20,
    T21,
    T22,
    T23,
    T24,
    T25,
    T26,
    T27,
    T28,
    T29,
    T30,
    T31,
    T32,
    T33,
    T34,
    T35,
    T36,
    T37,
    T38,
}

impl Case {
    /// Every case.
    pub const ALL: [Self; 38] = [
        Self::T01,
        Self::T02,
        Self::T03,
        Self::T04,
        Self::T05,
        Self::T06,
        Self::T07,
        Self::T08,
        Self::T09,
        Self::T10,
        Self::T11,
        Self::T12,
        Self::T13,
        Self::T14,
        Self::T15,
        Self::T16,
        Self::T17,
        Self::T18,
        Self::T19,
        Self::T20,
        Self::T21,
        Self::T22,
        Self::T23,
        Self::T24,
        Self::T25,
        Self::T26,
        Self::T27,
        Self::T28,
        Self::T29,
        Self::T30,
        Self::T31,
        Self::T32,
        Self::T33,
        Self::T34,
        Self::T35,
        Self::T36,
        Self::T37,
        Self::T38,
    ];

    /// What a rig must be able to do for it.
    #[must_use]
    pub const fn needs(self) -> &'static [Capability] {
        use Capability as C;
        match self {
            Self::T01 | Self::T06 | Self::T09 | Self::T29 | Self::T30 | Self::T35 | Self::T08 => &[],
            Self::T02
            | Self::T03
            | Self::T04
            | Self::T07
            | Self::T10
            | Self::T11
            | Self::T12
            | Self::T13
            | Self::T14
            | Self::T28
            | Self::T31
            | Self::T33
            | Self::T34
            | Self::T37 => &[C::Several],
            Self::T05 | Self::T15 | Self::T16 | Self::T26 | Self::T38 => &[C::Several, C::Crash],
            Self::T17 | Self::T18 | Self::T19 | Self::T20 => &[C::Several, C::Cut],
            Self::T21 | Self::T23 => &[C::Several, C::Stop],
            Self::T22 => &[C::Several, C::EngineStop],
            Self::T24 | Self::T36 => &[C::Several, C::Inject],
            Self::T25 => &[C::Several, C::Crash, C::Stop],
            Self::T27 => &[C::Several, C::Throttle],
            Self::T32 => &[C::Several, C::EngineRestart],
        }
    }

    /// How many random schedules are run unless something else is said.
    #[must_use]
    pub const fn schedules(self) -> u32 {
        match self {
            Self::T15 => 200,
            Self::T16 => 60,
            Self::T26 | Self::T36 | Self::T25 => 50,
            Self::T17 | Self::T18 | Self::T19 | Self::T20 | Self::T21 | Self::T22 | Self::T23 | Self::T24 => {
                40
            }
            Self::T01 | Self::T02 | Self::T03 | Self::T04 | Self::T05 | Self::T10 | Self::T14 => 10,
            Self::T06
            | Self::T07
            | Self::T08
            | Self::T09
            | Self::T11
            | Self::T12
            | Self::T13
            | Self::T27
            | Self::T28
            | Self::T29
            | Self::T30
            | Self::T31
            | Self::T32
            | Self::T33
            | Self::T34
            | Self::T35
            | Self::T37
            | Self::T38 => 1,
        }
    }

    fn play(self, field: &mut Field<'_>) {
        match self {
            Self::T01 => view::first_event_is_view(field),
            Self::T02 => view::join_view_agreement(field),
            Self::T03 => view::oldest_first(field),
            Self::T04 => view::leader_skips_managers(field),
            Self::T05 => crash::leader_moves(field),
            Self::T06 => order::self_delivery(field),
            Self::T07 => order::two_senders(field),
            Self::T08 => order::across_groups(field),
            Self::T09 => order::fifo_no_gap(field),
            Self::T10 => order::causal_chain(field),
            Self::T11 => groups::open_group_send(field),
            Self::T12 => groups::unicast(field),
            Self::T13 => groups::unknown_unicast(field),
            Self::T14 => groups::join_is_ordered(field),
            Self::T15 => crash::atomicity(field),
            Self::T16 => chaos::same_view(field),
            Self::T17 => partition::transitional_set(field),
            Self::T18 => partition::both_live(field),
            Self::T19 => partition::merge_one_view(field),
            Self::T20 => partition::no_cross_component_delivery(field),
            Self::T21 => stop::pause_resume(field),
            Self::T22 => stop::engine_pause_resume(field),
            Self::T23 => stop::silent_member_does_not_block(field),
            Self::T24 => stop::ghost_member(field),
            Self::T25 => crash::coordinator_dies(field),
            Self::T26 => chaos::view_bound(field),
            Self::T27 => limits::back_pressure(field),
            Self::T28 => limits::slow_receiver(field),
            Self::T29 => limits::too_large(field),
            Self::T30 => limits::not_admitted(field),
            Self::T31 => view::orderly_leave(field),
            Self::T32 => crash::reconnect_new_epoch(field),
            Self::T33 => refusal::duplicate_node_name(field),
            Self::T34 => refusal::version_skew(field),
            Self::T35 => refusal::safe_is_honest(field),
            Self::T36 => limits::own_gap(field),
            Self::T37 => chaos::flood_of_views(field),
            Self::T38 => chaos::soak(field),
        }
    }
}

/// Runs one case under the name of its test. A case that the rig cannot play is left out, with a line that says so.
///
/// # Panics
/// When a promise is broken; the seed is printed.
pub fn run<R: Rig>(case: Case, name: &str, factory: &dyn Fn(u64) -> R) {
    let chosen = number("POSTFLEET_SEED");
    let first = chosen.unwrap_or(0x706f_7374);
    let mut rig = factory(first);
    let missing: std::vec::Vec<_> = case.needs().iter().filter(|need| !rig.can(**need)).collect();
    if !missing.is_empty() {
        eprintln!("{name}: LEFT OUT, this rig cannot do {missing:?}");
        return;
    }
    let schedules = match (number("POSTFLEET_CASES"), chosen) {
        (Some(wanted), _) => wanted,
        (None, Some(_)) => 1,
        (None, None) => u64::from(rig.cases(case.schedules())),
    };
    for index in 0..schedules {
        let seed = first.wrapping_add(index);
        if index > 0 {
            rig = factory(seed);
        }
        let told = TellSeed { name, seed };
        case.play(&mut Field::new(&mut rig, seed));
        drop(told);
    }
}

/// Runs every case, one after the other, and returns the names of those that were left out.
///
/// # Panics
/// As [`run`].
pub fn run_all<R: Rig>(factory: &dyn Fn(u64) -> R) -> std::vec::Vec<Case> {
    let rig = factory(0);
    let left_out =
        Case::ALL.into_iter().filter(|case| case.needs().iter().any(|need| !rig.can(*need))).collect();
    drop(rig);
    for case in Case::ALL {
        let name = std::format!("bus_{case:?}").to_lowercase();
        run(case, &name, factory);
    }
    left_out
}

/// Says how a failed schedule is repeated.
struct TellSeed<'a> {
    name: &'a str,
    seed: u64,
}

impl Drop for TellSeed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat it with: POSTFLEET_SEED={} cargo test {}", self.seed, self.name);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    #[allow(clippy::disallowed_methods, reason = "test equipment; nothing that decides reads it")]
    let text: String = std::env::var(variable).ok()?;
    text.parse().ok()
}
