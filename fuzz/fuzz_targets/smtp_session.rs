//! A whole SMTP session of one client.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_smtp::fuzz::fuzz_session(bytes));
