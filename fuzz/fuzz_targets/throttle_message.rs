//! Messages of throttle and slot tables, from two members that may send anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_throttle::fuzz(bytes));
