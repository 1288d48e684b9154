//! A whole team of real clients, against models of our own in a network of loopback alone.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::common::scratch::{self, Scratch};
use crate::installed;

#[test]
fn claude_and_codex_do_six_tasks_through_a_kill() {
    let (Some(claude), Some(codex)) = (installed("claude"), installed("codex")) else {
        return;
    };
    if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
        scratch::not_tried("a team", "a network of its own needs Linux, and root");
        return;
    }
    let rounds = if crate::full() { 10 } else { 1 };
    for _ in 0..rounds {
        let scratch = Scratch::new();
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/team.py");
        let mut command = Command::new("unshare");
        command
            .args(["-npf", "--mount-proc", "--kill-child", "python3", "-B"])
            .arg(driver)
            .arg(env!("CARGO_BIN_EXE_mcp-bridge"))
            .args([&claude, &codex])
            .arg(scratch.dir());
        let ran = scratch.outcome(command).ok();
        let _ = writeln!(std::io::stderr(), "team: {}", ran.out.trim());
        assert_eq!(ran.json()["tasks"], 6);
    }
}
