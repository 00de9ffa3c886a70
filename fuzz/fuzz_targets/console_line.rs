//! Lines typed at the console.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_console::fuzz::fuzz_line(bytes));
