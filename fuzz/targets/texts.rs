#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(data, symbolon::directory::fuzzing::texts, 64, 8192 << 10);
});
