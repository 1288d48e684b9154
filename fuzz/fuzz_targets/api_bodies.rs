//! A request's body: what cannot be read is the client's fault, never ours, and the
//! answer does not repeat what it said.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for problem in mcp_bridge::api::server::fuzz_bodies(body) {
        assert!((400..500).contains(&problem.status), "{problem:?}");
    }
});
