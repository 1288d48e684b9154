//! A file of credentials: what is wrong with it is said without its token.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use mcp_bridge::credentials::Credentials;

const TOKEN: &str = "bt1_thistokenisasecretofthefuzzer";

thread_local! {
    // Its mode is 0600.
    static FILE: LazyCell<tempfile::NamedTempFile> =
        LazyCell::new(|| tempfile::NamedTempFile::new().expect("a file"));
}

fuzz_target!(|text: &[u8]| {
    FILE.with(|file| {
        let mut bytes = text.to_vec();
        bytes.extend_from_slice(format!("\ntoken = \"{TOKEN}\"\n").as_bytes());
        for bytes in [text, &bytes] {
            std::fs::write(file.path(), bytes).expect("written");
            let said = match Credentials::read(file.path()) {
                Ok(read) => format!("{read:?}"),
                Err(error) => error.to_string(),
            };
            assert!(!said.contains(TOKEN), "{said}");
        }
    });
});
