#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(data, symbolon::oauth::fuzzing::hint, 256, 64 << 10);
});
