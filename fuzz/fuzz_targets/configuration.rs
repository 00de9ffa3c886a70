//! Configuration files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_config::fuzz_entry(bytes));
