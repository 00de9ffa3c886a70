//! Messages of the membership layer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_bus::envelope::fuzz(bytes));
