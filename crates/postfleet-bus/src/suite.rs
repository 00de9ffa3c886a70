//! The conformance suite: what every backend must show, written once.
//!
//! A backend supplies a [`Rig`], which starts members and does things to them; the suite never assumes that
//! members share memory. A member is an [`Agent`]: it takes [`Command`]s and yields [`Record`]s, and both have a
//! wire form, so that a member may be a process of its own. [`crate::conformance_tests!`] makes one test of every
//! [`Case`]. A case that needs what a rig cannot do is left out and says so on standard error.
//!
//! Random cases print the seed when they fail. `POSTFLEET_SEED` repeats one, `POSTFLEET_CASES` sets how many are
//! run. This module uses the standard library for these two and for printing, and for nothing else.

#[cfg(any(test, feature = "suite"))]
extern crate std;

#[cfg(any(test, feature = "suite"))]
mod agent;
#[cfg(any(test, feature = "suite"))]
#[allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "test equipment: names are literals, and cases ask about one kind of record"
)]
mod cases;
pub mod check;
mod record;
#[cfg(any(test, feature = "suite"))]
mod script;
#[cfg(any(test, feature = "suite"))]
mod spec;
mod trace;
mod wire;

#[cfg(any(test, feature = "suite"))]
pub use agent::Agent;
#[cfg(any(test, feature = "suite"))]
pub use cases::{Case, run, run_all};
pub use record::{Record, What};
#[cfg(any(test, feature = "suite"))]
pub use script::ScriptedRig;
#[cfg(any(test, feature = "suite"))]
pub use spec::{Burst, Command, MemberSpec};
pub use trace::Trace;

#[cfg(any(test, feature = "suite"))]
use core::time::Duration;
#[cfg(any(test, feature = "suite"))]
use postfleet_types::Monotonic;

/// A member of a rig, for as long as the rig lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub usize);

/// What a rig may be able to do beside starting members and taking commands.
#[cfg(any(test, feature = "suite"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// More than one member.
    Several,
    /// [`Rig::crash`].
    Crash,
    /// [`Rig::stop`] and [`Rig::resume`].
    Stop,
    /// [`Fault::Cut`] and [`Fault::Heal`].
    Cut,
    /// [`Fault::EngineStop`] and [`Fault::EngineResume`].
    EngineStop,
    /// [`Fault::EngineRestart`].
    EngineRestart,
    /// [`Fault::Throttle`].
    Throttle,
    /// [`Fault::Ghost`] and [`Fault::DropOwn`]: things that only a simulated carrier does.
    Inject,
}

/// What is done to the bus below the members.
#[cfg(any(test, feature = "suite"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The network splits: members of different sets do not hear each other. Every member is in one set.
    Cut(alloc::vec::Vec<alloc::vec::Vec<MemberId>>),
    /// The network is whole again.
    Heal,
    /// The engine (daemon, hub) of this member stands still.
    EngineStop(MemberId),
    /// It goes on.
    EngineResume(MemberId),
    /// It is killed and comes back.
    EngineRestart(MemberId),
    /// The engine takes at most so many messages a second of this member; `None` lifts the limit.
    Throttle(MemberId, Option<u32>),
    /// An attachment appears that never speaks and never leaves.
    Ghost,
    /// The next message that the carrier accepts from this member vanishes.
    DropOwn(MemberId),
}

/// What the suite drives.
#[cfg(any(test, feature = "suite"))]
pub trait Rig {
    /// Whether the rig can do this.
    fn can(&self, capability: Capability) -> bool;

    /// The rig's clock; the times in records are comparable with it to within a few milliseconds.
    fn now(&self) -> Monotonic;

    /// Starts a member (a process of its own where members are processes) and lets it connect.
    fn start(&mut self, spec: &MemberSpec) -> MemberId;

    /// Gives a running member a command.
    fn command(&mut self, member: MemberId, command: Command);

    /// Ends the member without a word (SIGKILL). It records nothing more.
    fn crash(&mut self, member: MemberId);

    /// The member stands still (SIGSTOP); its engine goes on.
    fn stop(&mut self, member: MemberId);

    /// It goes on (SIGCONT).
    fn resume(&mut self, member: MemberId);

    /// Does something to the bus. Only called when [`Rig::can`] says so.
    fn fault(&mut self, fault: Fault);

    /// Lets things happen for about this long (a rig in real time may return earlier, when records have come),
    /// and takes in what the members recorded.
    fn advance(&mut self, time: Duration);

    /// What a member has recorded so far.
    fn trace(&self, member: MemberId) -> &Trace;

    /// How many random schedules this rig can afford where the suite would like `wanted`.
    fn cases(&self, wanted: u32) -> u32 {
        wanted
    }

    /// How many times as long as the suite thinks is enough it may wait for something. Where time is real, a busy machine
    /// takes longer, and that breaks no promise; what is measured in time is measured elsewhere.
    fn patience(&self) -> u32 {
        1
    }

    /// Worst time from a silent crash of a process to the view without it.
    fn bound(&self) -> Duration;
}

/// Makes one test of every case, named `bus_t01_first_event_is_view` and so on. The argument is a function from a
/// seed to a [`Rig`].
#[macro_export]
macro_rules! conformance_tests {
    ($factory:expr) => {
        $crate::conformance_tests! { @each $factory;
            bus_t01_first_event_is_view T01, bus_t02_join_view_agreement T02, bus_t03_oldest_first T03,
            bus_t04_leader_skips_managers T04, bus_t05_leader_moves_on_crash T05, bus_t06_self_delivery T06,
            bus_t07_total_order_two_senders T07, bus_t08_total_order_across_groups T08,
            bus_t09_fifo_no_gap T09, bus_t10_causal_chain T10, bus_t11_open_group_send T11,
            bus_t12_unicast T12, bus_t13_unknown_unicast T13, bus_t14_group_join_is_ordered T14,
            bus_t15_crash_atomicity T15, bus_t16_same_view T16, bus_t17_transitional_set T17,
            bus_t18_partition_both_live T18, bus_t19_merge_one_view T19,
            bus_t20_no_cross_component_delivery T20, bus_t21_pause_resume T21,
            bus_t22_daemon_pause_resume T22, bus_t23_silent_member_does_not_block T23,
            bus_t24_ghost_member T24, bus_t25_coordinator_dies_in_round T25, bus_t26_view_bound_send T26,
            bus_t27_back_pressure T27, bus_t28_slow_receiver T28, bus_t29_too_large T29,
            bus_t30_not_admitted T30, bus_t31_orderly_leave T31, bus_t32_reconnect_new_epoch T32,
            bus_t33_duplicate_node_name T33, bus_t34_version_skew T34, bus_t35_safe_is_honest T35,
            bus_t36_own_gap T36, bus_t37_flood_of_views T37, bus_t38_soak T38,
        }
    };
    (@each $factory:expr; $($name:ident $case:ident,)*) => {
        $(
            #[test]
            fn $name() {
                $crate::suite::run($crate::suite::Case::$case, stringify!($name), &$factory);
            }
        )*
    };
}

#[cfg(test)]
mod tests;
