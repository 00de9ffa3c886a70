//! The suite. T17 to T20, T24 and T36 need what one machine cannot have; T22, T27 and T32 need a daemon beside the
//! members (L1, L5 and the test of back-pressure stand for them).

use crate::rig::ProcessRig;

postfleet_bus::conformance_tests!(ProcessRig::new);
