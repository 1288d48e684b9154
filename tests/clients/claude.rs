//! A real Claude Code, against a model of our own in a network of loopback alone.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::common::scratch::{self, Scratch};
use crate::installed;

fn drive(plugin: &str) {
    let Some(claude) = installed("claude") else {
        return;
    };
    if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
        scratch::not_tried("claude", "a network of its own needs Linux, and root");
        return;
    }
    let scratch = Scratch::new();
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/claude.py");
    let mut command = Command::new("unshare");
    command
        .args(["-n", "python3", "-B"])
        .arg(driver)
        .arg(env!("CARGO_BIN_EXE_mcp-bridge"))
        .arg(&claude)
        .arg(scratch.dir())
        .arg(plugin);
    let ran = scratch.outcome(command).ok();
    let _ = writeln!(std::io::stderr(), "claude: {}", ran.out.trim());
    let json = ran.json();
    assert!(json["hook"]["wakes"].as_u64() >= Some(3), "{json}");
    assert!(json["server"]["wakes"].as_u64() >= Some(1), "{json}");
}

#[test]
fn an_idle_claude_is_woken_and_reads_its_mail() {
    drive("-");
}

#[test]
fn the_plugin_alone_does_the_same() {
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/claude-code");
    drive(plugin.to_str().expect("UTF-8"));
}
