//! Configuration commands at a console, and saving what they changed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_config::live::fuzz_entry(bytes));
