//! A real Codex, against a model of our own in a network of loopback alone.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::common::scratch::{self, Scratch};
use crate::installed;

fn drive(case: &str) {
    let Some(codex) = installed("codex") else {
        return;
    };
    if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
        scratch::not_tried("codex", "a network of its own needs Linux, and root");
        return;
    }
    let scratch = Scratch::new();
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/codex.py");
    let mut command = Command::new("unshare");
    command
        .args(["-npf", "--mount-proc", "--kill-child", "python3", "-B"])
        .arg(driver)
        .arg(env!("CARGO_BIN_EXE_mcp-bridge"))
        .arg(&codex)
        .arg(scratch.dir())
        .arg(case);
    let ran = scratch.outcome(command).ok();
    let _ = writeln!(std::io::stderr(), "codex, {case}: {}", ran.out.trim());
}

#[test]
fn codex_works_with_tools_and_hooks() {
    drive("user");
}

#[test]
fn codex_takes_the_same_from_a_project() {
    drive("project");
}

#[test]
fn an_idle_codex_is_woken_through_its_queue() {
    drive("screen");
}

#[test]
fn no_text_comes_into_a_turn_of_codex_or_late() {
    drive("busy");
}

#[test]
fn codex_says_that_its_session_lives_and_waits() {
    drive("asks");
}

#[test]
fn a_codex_without_a_first_prompt_is_woken() {
    drive("early");
}

#[test]
fn a_helper_of_codex_is_no_second_session() {
    drive("helper");
}

#[test]
fn a_codex_killed_in_a_turn_is_noticed() {
    drive("killed");
}

#[test]
fn an_archived_session_of_codex_is_noticed() {
    drive("archived");
}

#[test]
fn servers_end_with_their_codex_process() {
    drive("ends");
}
