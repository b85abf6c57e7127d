//! See `targets::frames`.
#![no_main]

#[path = "../targets.rs"]
#[expect(dead_code, reason = "the other targets have binaries of their own")]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::frames(input));
