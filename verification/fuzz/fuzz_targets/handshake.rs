//! libFuzzer's entry into the target of the same name.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pmd_fuzz::handshake::run(data));
