//! The Python that stands for agents of the Python bridge.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether this Python has `module`. Says what is skipped where it has not.
#[allow(clippy::print_stdout, reason = "what is skipped is said")]
pub(crate) fn has(mut python: Command, module: &str) -> bool {
    let probe = python.args(["-c", &format!("import {module}")]).output();
    let there = probe.is_ok_and(|probe| probe.status.success());
    if !there {
        println!("skipped: there is no Python with the module {module} here; tests/run has one");
    }
    there
}

/// The Python that `tests/run` made, if it is there and has `module`.
#[allow(dead_code, reason = "each test program uses its own part of this")]
pub(crate) fn made(module: &str) -> Option<PathBuf> {
    let python = match std::env::var_os("MCP_BRIDGE_TEST_PYTHON") {
        Some(python) => PathBuf::from(python),
        None => made_at("python")?,
    };
    has(Command::new(&python), module).then_some(python)
}

/// The one that `tests/run` made for fastmcp, which needs another SDK than the others.
#[allow(dead_code, reason = "each test program uses its own part of this")]
pub(crate) fn of_fastmcp() -> Option<PathBuf> {
    let python = made_at("fastmcp")?;
    has(Command::new(&python), "fastmcp").then_some(python)
}

fn made_at(name: &str) -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_mcp-bridge"));
    let target = program.parent()?.parent()?;
    Some(target.join(name).join("bin/python"))
}
