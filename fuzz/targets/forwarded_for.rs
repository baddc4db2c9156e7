#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(data, symbolon::server::fuzzing::forwarded_for, 256, 64 << 10);
});
