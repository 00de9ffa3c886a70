//! Configuration files written anew: the 2.x form, `mbus.conf`, indentation.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_config::fuzz_migrate(bytes));
