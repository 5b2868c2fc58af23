#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = hubward_tests::fuzz::run("assignment_caches", bytes);
});
