//! The Python SDK's client, which checks what it is answered.

use std::path::Path;
use std::process::Command;

use crate::common::Scratch;
use crate::python;

#[test]
fn the_python_sdk_s_client_calls_every_tool() {
    let Some(python) = python::made("mcp") else {
        return;
    };
    let scratch = Scratch::with_conversation();
    let mut command = Command::new(python);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/sdk.py"))
        .arg(env!("CARGO_BIN_EXE_mcp-bridge"))
        .args(["work.a", "work.b"].map(|name| scratch.credentials(name)))
        .env("MCP_BRIDGE_STORE", scratch.store())
        .env("HOME", scratch.dir())
        .current_dir(scratch.dir());
    scratch.outcome(command).ok();
}
