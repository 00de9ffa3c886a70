//! A client against a server that says anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_smtp::fuzz::fuzz_client(bytes));
