//! The conformance suite on real Corosync daemons, and what only real daemons can show.
//!
//! Every host is a network namespace with a daemon, every member a process. One ring serves all cases; each case has
//! a bus of its own on it. Arguments choose cases by parts of their names: `make test-corosync ARGS=t17`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test fails by panicking, and tells what it does on standard error"
)]

mod engine;
mod member;
mod rig;

use postfleet_bus::suite::{Capability, Case, run};
use postfleet_testbed::enclosure;
use postfleet_testbed::member::Control;
use postfleet_testbed::ring::Ring;
use rig::{RingRig, Shared};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

/// Hosts of the ring. Random cases have at most seven members at a time, and some that stand still.
const HOSTS: usize = 8;

fn hosts() -> usize {
    std::env::var("POSTFLEET_HOSTS").ok().and_then(|text| text.parse().ok()).unwrap_or(HOSTS)
}

const CASES: [(Case, &str); 38] = [
    (Case::T01, "bus_t01_first_event_is_view"),
    (Case::T02, "bus_t02_join_view_agreement"),
    (Case::T03, "bus_t03_oldest_first"),
    (Case::T04, "bus_t04_leader_skips_managers"),
    (Case::T05, "bus_t05_leader_moves_on_crash"),
    (Case::T06, "bus_t06_self_delivery"),
    (Case::T07, "bus_t07_total_order_two_senders"),
    (Case::T08, "bus_t08_total_order_across_groups"),
    (Case::T09, "bus_t09_fifo_no_gap"),
    (Case::T10, "bus_t10_causal_chain"),
    (Case::T11, "bus_t11_open_group_send"),
    (Case::T12, "bus_t12_unicast"),
    (Case::T13, "bus_t13_unknown_unicast"),
    (Case::T14, "bus_t14_group_join_is_ordered"),
    (Case::T15, "bus_t15_crash_atomicity"),
    (Case::T16, "bus_t16_same_view"),
    (Case::T17, "bus_t17_transitional_set"),
    (Case::T18, "bus_t18_partition_both_live"),
    (Case::T19, "bus_t19_merge_one_view"),
    (Case::T20, "bus_t20_no_cross_component_delivery"),
    (Case::T21, "bus_t21_pause_resume"),
    (Case::T22, "bus_t22_daemon_pause_resume"),
    (Case::T23, "bus_t23_silent_member_does_not_block"),
    (Case::T24, "bus_t24_ghost_member"),
    (Case::T25, "bus_t25_coordinator_dies_in_round"),
    (Case::T26, "bus_t26_view_bound_send"),
    (Case::T27, "bus_t27_back_pressure"),
    (Case::T28, "bus_t28_slow_receiver"),
    (Case::T29, "bus_t29_too_large"),
    (Case::T30, "bus_t30_not_admitted"),
    (Case::T31, "bus_t31_orderly_leave"),
    (Case::T32, "bus_t32_reconnect_new_epoch"),
    (Case::T33, "bus_t33_duplicate_node_name"),
    (Case::T34, "bus_t34_version_skew"),
    (Case::T35, "bus_t35_safe_is_honest"),
    (Case::T36, "bus_t36_own_gap"),
    (Case::T37, "bus_t37_flood_of_views"),
    (Case::T38, "bus_t38_soak"),
];

fn main() -> ExitCode {
    if Control::is_member() {
        member::run();
    }
    if let Ok(order) = std::env::var(engine::BLAST) {
        engine::blast(&order);
    }
    if std::env::var_os("POSTFLEET_RINGS").is_none() {
        eprintln!("rings: LEFT OUT of the ordinary run; `make test-corosync` plays them");
        return ExitCode::SUCCESS;
    }
    if let Some(obstacle) = enclosure::obstacle() {
        eprintln!("rings: LEFT OUT: {obstacle}. THE COROSYNC CARRIER HAS NOT BEEN TESTED.");
        return ExitCode::SUCCESS;
    }
    let prefix = match enclosure::enter() {
        Ok(prefix) => prefix,
        Err(code) => return code,
    };
    play_all(&prefix)
}

fn play_all(prefix: &str) -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let started = Instant::now();
    let ring = Ring::new(prefix, hosts(), |plan| {
        // Short, so that the run is; real rings have more patience. Daemons run in real time, so a busy machine
        // does not matter much.
        plan.token_ms = 1000;
        plan.token_coefficient_ms = 0;
    });
    let site: Shared = Rc::new(RefCell::new(ring));
    site.borrow_mut().form();
    eprintln!("ring of {} hosts formed after {:.1?}", hosts(), started.elapsed());
    // What takes long is played when it is asked for, or in a soak.
    let left_out = |name: &str| {
        let left_out = wanted.is_empty() && std::env::var_os("POSTFLEET_SOAK").is_none();
        if left_out {
            eprintln!("{name}: LEFT OUT of the short run; name it, or set POSTFLEET_SOAK=1");
        }
        left_out
    };
    let mut failed = Vec::new();
    let mut play = |name: &'static str, body: &dyn Fn()| {
        if !chosen(name) {
            return;
        }
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(body));
        let took = begun.elapsed();
        if outcome.is_ok() {
            eprintln!("{name} ... ok ({took:.1?})");
        } else {
            failed.push(name);
            eprintln!("{name} ... FAILED ({took:.1?})\n{}", site.borrow().logs());
        }
        let mut ring = site.borrow_mut();
        ring.heal();
        ring.form();
    };
    for (case, name) in CASES {
        if case.needs().contains(&Capability::Inject) {
            if chosen(name) {
                eprintln!("{name}: LEFT OUT, real daemons lose nothing and make no ghosts on demand");
            }
            continue;
        }
        play(name, &|| run(case, name, &|_seed| RingRig::new(&site)));
    }
    for (name, body) in engine::TESTS {
        if left_out(name) {
            continue;
        }
        play(name, &|| body(&site));
    }
    drop(site);
    if failed.is_empty() {
        eprintln!("all passed in {:.0?}", started.elapsed());
        ExitCode::SUCCESS
    } else {
        eprintln!("FAILED: {}", failed.join(", "));
        ExitCode::FAILURE
    }
}
