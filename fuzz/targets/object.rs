#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(data, symbolon::directory::fuzzing::object, 4096, 8192 << 10);
});
