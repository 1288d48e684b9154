//! Redaction: what was redacted holds no more secrets, and a text within a limit stays so.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_bridge::model::redact::{redact, redact_within};

fuzz_target!(|text: &str| {
    let once = redact(text);
    assert_eq!(redact(&once.text).text, once.text);
    let limit = text.chars().count();
    assert!(redact_within(text, limit).text.chars().count() <= limit);
});
