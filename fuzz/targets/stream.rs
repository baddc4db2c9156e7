#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(data, symbolon::json_stream::fuzzing::stream, 1024, 512 << 10);
});
