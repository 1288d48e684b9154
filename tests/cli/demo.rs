//! The demo: the main job on real processes, and nothing left behind.
#![expect(clippy::expect_used, reason = "without it a test has nothing to say")]

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::common::processes::{end_with, left_running};

fn command(scratch: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"));
    command
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", scratch)
        .env("NO_COLOR", "1")
        // The demo must not use a store that the environment names.
        .env("MCP_BRIDGE_STORE", scratch.join("not-this-one.db"));
    command
}

fn demo(arguments: &[&str]) -> (std::process::Output, tempfile::TempDir) {
    let scratch = tempfile::tempdir().expect("a directory");
    let output = command(scratch.path(), arguments).output();
    (output.expect("the demo"), scratch)
}

#[test]
fn nothing_outlives_it_however_it_ends() {
    for signal in [Signal::KILL, Signal::HUP] {
        let scratch = tempfile::tempdir().expect("a directory");
        let mut demo = command(scratch.path(), &["--tasks", "100"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the demo");
        // Five daemons, four agents, and the orchestrator's.
        let ended = end_with(&mut demo, signal, scratch.path(), 10);
        // It was heard, and ended in order.
        assert_eq!(ended.code(), (signal == Signal::HUP).then_some(1));
    }
}

#[test]
fn demo_loses_nothing_and_leaves_nothing_running() {
    let (output, scratch) = demo(&["--tasks", "8", "--json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stderr}{stdout}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let summary = &told["summary"];
    for (field, wanted) in [
        ("tasks", 8),
        ("done_once", 8),
        ("done_twice", 0),
        ("lost", 0),
        ("twice", 0),
    ] {
        assert_eq!(summary[field], wanted, "{field}: {told}");
    }
    let count = |field: &str| summary[field].as_u64().expect(field);
    assert_eq!(
        count("read") + count("handed_on"),
        count("messages"),
        "{told}"
    );
    // At least one into each hand, a word in the middle, and the end.
    assert!(count("read") >= 3 * 8, "{told}");
    assert!(summary["refused"].as_u64() > Some(0), "{told}");
    let each = summary["each"].as_array().expect("the tasks");
    let why: Vec<String> = each.iter().map(|task| task["why"].to_string()).collect();
    for cause in ["exited", "lost", "stalled"] {
        assert!(
            why.iter().any(|why| why.contains(cause)),
            "{cause}: {why:?}"
        );
    }
    assert!(
        summary["commit_to_reader"]["p50"]
            .as_f64()
            .is_some_and(|ms| ms >= 0.0),
        "{told}"
    );
    let store = Path::new(told["store"].as_str().expect("a path"));
    assert!(store.starts_with(scratch.path()) && store.exists());
    assert!(!scratch.path().join("not-this-one.db").exists());
    let left = left_running(scratch.path());
    assert!(left.is_empty(), "left running: {left:?}");
}

#[test]
fn people_see_what_happened_when() {
    let (output, _scratch) = demo(&[]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{text}");
    for words in [
        "1 orchestrator, 4 workers, 12 tasks",
        "each proven alive by its process",
        "exited, noticed after",
        "daemon and agent killed",
        "lost after",
        "alive, but stalled",
        "refused: STALE_LEASE (is now with",
        "tasks 12 of 12 done, each once",
        "mcp-bridge status --store",
        "scripts: what polling scripts",
        "remove it:    rm -r /",
    ] {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    assert!(
        !text.contains('\u{1b}'),
        "no colour where NO_COLOR is set:\n{text}"
    );
}
