//! A daemon's configuration: any file makes settings or an error in words.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;

thread_local! {
    static FILE: LazyCell<tempfile::NamedTempFile> =
        LazyCell::new(|| tempfile::Builder::new().suffix(".toml").tempfile().expect("a file"));
}

fuzz_target!(|text: &[u8]| {
    FILE.with(|file| {
        std::fs::write(file.path(), text).expect("written");
        if let Err(error) = mcp_bridge::config::load(file.path(), []) {
            assert!(!error.to_string().trim().is_empty());
        }
    });
});
