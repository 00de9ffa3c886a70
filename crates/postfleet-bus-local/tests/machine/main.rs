//! Members as processes of their own, which are killed, stopped and resumed: the conformance suite on `local`, and
//! L1 to L8 of its own.
//!
//! Bounds are waited for with patience, because a test machine may be slow; where a time is promised it is measured
//! and printed, and the median is asserted.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and asks about one kind of record"
)]

mod conformance;
mod member;
mod rig;
mod site;
mod takeover;

/// The body of a member's process when the rig has started it; nothing in an ordinary run.
#[test]
fn member_process() {
    if postfleet_testbed::member::Control::is_member() {
        member::run();
    }
}
