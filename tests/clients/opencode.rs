//! A real opencode, against a model of our own in a network of loopback alone.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::common::scratch::{self, Scratch};
use crate::installed;

fn drive(case: &str) {
    let Some(opencode) = installed("opencode") else {
        return;
    };
    if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
        scratch::not_tried("opencode", "a network of its own needs Linux, and root");
        return;
    }
    let scratch = Scratch::new();
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/opencode.py");
    let mut command = Command::new("unshare");
    command
        .args(["-npf", "--mount-proc", "--kill-child", "python3", "-B"])
        .arg(driver)
        .arg(env!("CARGO_BIN_EXE_mcp-bridge"))
        .arg(&opencode)
        .arg(scratch.dir())
        .arg(case);
    let ran = scratch.outcome(command).ok();
    let _ = writeln!(std::io::stderr(), "opencode, {case}: {}", ran.out.trim());
}

#[test]
fn opencode_works_with_the_tools_of_its_user() {
    drive("user");
}

#[test]
fn opencode_takes_the_same_from_a_project() {
    drive("project");
}

#[test]
fn an_idle_opencode_is_woken_through_its_server() {
    drive("screen");
}

#[test]
fn no_text_comes_into_a_turn_of_opencode() {
    drive("busy");
}

#[test]
fn opencode_that_asks_its_user_is_waiting() {
    drive("asks");
}

#[test]
fn opencode_that_is_not_woken_is_said_why() {
    drive("alone");
}

#[test]
fn end_of_opencode_is_seen_by_its_process() {
    drive("ends");
}
