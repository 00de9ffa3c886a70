//! PROXY headers, both versions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_smtp::fuzz::fuzz_proxy(bytes));
