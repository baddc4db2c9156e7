#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(data, symbolon::tokens::fuzzing::jwt, 64, 256 << 10);
});
