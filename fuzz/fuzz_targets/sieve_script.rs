//! A policy script, compiled for a phase and run.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_sieve::fuzz::script(bytes));
