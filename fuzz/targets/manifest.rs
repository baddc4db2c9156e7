#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(data, symbolon::source::fuzzing::manifest, 4096, 131072 << 10);
});
