#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(data, symbolon::keys::fuzzing::key_set_file, 256, 256 << 10);
});
