//! The real clients of agents, and the plugin that is made for one of them.
//! A client that is not installed here skips its test; `tests/run` gets it.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

mod claude;
mod codex;
#[path = "../common/mod.rs"]
mod common;
mod opencode;
mod plugin;
mod sdk;
mod team;

use crate::common::scratch;
use std::path::PathBuf;

/// Whether the long forms are wanted.
fn full() -> bool {
    std::env::var_os("MCP_BRIDGE_TEST_FULL").is_some()
}

/// A client that `tests/run` installed, or `None` and a line that says so.
fn installed(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let program = target.join("clients/node_modules/.bin").join(name);
    if program.exists() {
        return Some(program);
    }
    scratch::not_tried(name, "it is not installed; tests/run gets it with npm");
    None
}
