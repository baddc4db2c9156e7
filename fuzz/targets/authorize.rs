#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(
        data,
        symbolon::oauth::authorize::fuzzing::authorize,
        64,
        64 << 10,
    );
});
