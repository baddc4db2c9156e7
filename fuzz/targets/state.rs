#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    symbolon_fuzz::bounded(data, symbolon::reconcile::files::fuzzing::state, 4096, 65536 << 10);
});
