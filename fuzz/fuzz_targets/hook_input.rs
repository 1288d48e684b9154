//! What a client says to a hook: no input is an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| mcp_bridge::hook::fuzz_input(input));
