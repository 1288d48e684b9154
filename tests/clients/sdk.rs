//! Clients that are no agent's own: the Python SDK's, that of fastmcp, and the command
//! line of the MCP inspector, which is the TypeScript SDK's. Each checks what it is
//! answered.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::python;
use crate::common::scratch::Scratch;
use crate::installed;

/// What a driver in Python says at last.
fn drive(scratch: &Scratch, python: PathBuf, driver: &str) -> String {
    let mut command = Command::new(python);
    command
        .arg("-B")
        .arg(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/clients")
                .join(driver),
        )
        .arg(env!("CARGO_BIN_EXE_mcp-bridge"))
        .args(["work.a", "work.b"].map(|name| scratch.credentials(name)))
        .env("MCP_BRIDGE_STORE", scratch.store())
        .env("HOME", scratch.dir())
        .current_dir(scratch.dir());
    scratch.outcome(command).ok().out
}

#[test]
fn the_python_sdk_s_client_calls_every_tool() {
    let Some(python) = python::made("mcp") else {
        return;
    };
    drive(&Scratch::with_conversation(), python, "sdk.py");
}

#[test]
fn the_client_of_fastmcp_talks_and_works() {
    let Some(python) = python::of_fastmcp() else {
        return;
    };
    let scratch = Scratch::with_conversation();
    let version = drive(&scratch, python, "of_fastmcp.py");
    let _ = writeln!(std::io::stderr(), "fastmcp: {}", version.trim());
    assert_eq!(
        scratch.number("SELECT count(*) FROM messages WHERE message = 'hello'"),
        1
    );
}

/// Asks by the inspector's command line, as a session: once for each start of a server.
fn inspect(scratch: &Scratch, inspector: &Path, name: &str, words: &[&str]) -> Value {
    let mut command = scratch.program(&inspector.to_string_lossy());
    command
        .arg("--cli")
        .args([env!("CARGO_BIN_EXE_mcp-bridge"), "mcp", "--method"])
        .args(words)
        .env("MCP_BRIDGE_CREDENTIALS", scratch.credentials(name));
    let ran = scratch.outcome(command);
    assert_eq!(ran.code, Some(0), "{words:?}: {ran:?}");
    serde_json::from_str(&ran.out).expect("JSON")
}

#[test]
fn inspector_s_command_line_lists_sends_and_checks() {
    let Some(inspector) = installed("mcp-inspector") else {
        return;
    };
    let scratch = Scratch::with_conversation();
    let call = |name, words: &[&str]| {
        let words = [&["tools/call", "--tool-name"], words].concat();
        let answer = inspect(&scratch, &inspector, name, &words);
        assert_eq!(answer["isError"], false, "{answer}");
        answer["structuredContent"].clone()
    };
    // Its SDK refuses the list if one schema in it is not what it knows.
    let listed = inspect(&scratch, &inspector, "work.a", &["tools/list"]);
    let tools = listed["tools"].as_array().expect("a list");
    assert_eq!(tools.len(), 14, "{listed}");

    let sent = call(
        "work.a",
        &["send_to_partner", "--tool-arg", "message=hello"],
    );
    assert_eq!(sent["id"], 1, "{sent}");
    let read = call("work.b", &["check_messages"]);
    assert_eq!(read["messages"][0]["message"], "hello", "{read}");
    // The server before ended after its answer was written: that was the delivery.
    let again = call("work.b", &["check_messages"]);
    assert_eq!(again["messages"], Value::Array(Vec::new()), "{again}");
}
