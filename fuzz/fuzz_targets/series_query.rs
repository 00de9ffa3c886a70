//! A question about files of series, or the name of one, and behind it the text of a file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_series::query::fuzz(bytes));
