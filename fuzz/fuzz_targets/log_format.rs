//! Formats of custom loggers, and what is done to the values of log lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_log::fuzz_entry(bytes));
