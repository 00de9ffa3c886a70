//! A policy script in Lua, loaded, and everything called that it registers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postfleet_lua::fuzz::script(bytes));
