//! Frames of the local carrier, both directions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_bus_local::frame::fuzz(bytes));
