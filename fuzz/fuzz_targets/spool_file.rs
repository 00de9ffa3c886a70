//! Message files of the spool.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_spool::fuzz_spool_file(bytes));
