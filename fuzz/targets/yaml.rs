#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(data, symbolon::source::fuzzing::yaml, 4096, 131072 << 10);
});
