#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| mcp_bridge_fuzz::metadata(text));
