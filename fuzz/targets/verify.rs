#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(data, symbolon::keys::fuzzing::verify, 64, 256 << 10);
});
