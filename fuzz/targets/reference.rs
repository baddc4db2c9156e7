#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(data, symbolon::tokens::fuzzing::reference, 64, 1024 << 10);
});
