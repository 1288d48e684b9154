//! The Python that stands for agents of the Python bridge.

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
