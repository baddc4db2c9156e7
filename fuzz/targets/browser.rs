#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(data, symbolon::server::browser::fuzzing::browser, 1024, 256 << 10);
});
