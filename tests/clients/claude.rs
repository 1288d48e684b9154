//! A real Claude Code, against a model of our own in a network of loopback alone.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::common::scratch::{self, Ran, Scratch};
use crate::installed;

/// What a driver says at last; nothing where it cannot be tried.
fn driven(driver: &str, argument: &str) -> Option<Ran> {
    let claude = installed("claude")?;
    if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
        scratch::not_tried("claude", "a network of its own needs Linux, and root");
        return None;
    }
    let scratch = Scratch::new();
    let driver = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(driver);
    let mut command = Command::new("unshare");
    command
        .args(["-n", "python3", "-B"])
        .arg(driver)
        .arg(env!("CARGO_BIN_EXE_mcp-bridge"))
        .arg(&claude)
        .arg(scratch.dir())
        .arg(argument);
    Some(scratch.outcome(command).ok())
}

fn drive(plugin: &str) {
    let Some(ran) = driven("claude.py", plugin) else {
        return;
    };
    let _ = writeln!(std::io::stderr(), "claude: {}", ran.out.trim());
    let json = ran.json();
    assert!(json["hook"]["wakes"].as_u64() >= Some(3), "{json}");
    assert!(json["server"]["wakes"].as_u64() >= Some(1), "{json}");
}

#[test]
fn idle_claude_is_woken_and_reads_its_mail() {
    drive("-");
}

#[test]
fn the_plugin_alone_does_the_same() {
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/claude-code");
    drive(plugin.to_str().expect("UTF-8"));
}

#[test]
fn background_helper_is_no_turn_of_its_agent() {
    driven("claude_cases.py", "helper");
}

#[test]
fn mail_held_back_by_a_client_is_reported() {
    driven("claude_cases.py", "held");
}

#[test]
fn client_that_bypasses_permissions_is_said_to_be_held() {
    driven("claude_cases.py", "bypasses");
}

#[test]
fn client_that_asks_its_user_counts_as_held() {
    driven("claude_cases.py", "asks");
}
