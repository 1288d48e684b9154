//! The demo: the main job on real processes, and nothing left behind.
#![expect(clippy::expect_used, reason = "without it a test has nothing to say")]

use std::path::Path;
use std::process::Command;

/// Processes that name `directory` in their arguments.
fn left_running(directory: &Path) -> Vec<String> {
    let wanted = directory.display().to_string();
    std::fs::read_dir("/proc")
        .expect("processes")
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&wanted))
        .collect()
}

fn demo(arguments: &[&str]) -> (std::process::Output, tempfile::TempDir) {
    let scratch = tempfile::tempdir().expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", scratch.path())
        .env("NO_COLOR", "1")
        // A store that somebody named in the environment is none of its.
        .env("MCP_BRIDGE_STORE", scratch.path().join("not-this-one.db"))
        .output()
        .expect("the demo");
    (output, scratch)
}

#[test]
fn it_loses_nothing_and_leaves_nothing_running() {
    let (output, scratch) = demo(&["--messages", "30", "--json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let summary = &told["summary"];
    for (field, wanted) in [
        ("sent", 30),
        ("read", 30),
        ("answered", 30),
        ("lost", 0),
        ("twice", 0),
    ] {
        assert_eq!(summary[field], wanted, "{field}: {told}");
    }
    assert!(
        summary["commit_to_line"]["p50"]
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
    let (output, _scratch) = demo(&["--messages", "12"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{text}");
    for words in [
        "1 orchestrator, 3 workers, 12 messages",
        "idle, each proven alive by its process",
        "daemon killed (SIGKILL)",
        "exited, noticed after",
        "messages 12 sent, 12 read, 12 answered · 0 lost, 0 twice",
        "mcp-bridge status --store",
    ] {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    assert!(
        !text.contains('\u{1b}'),
        "no colour where NO_COLOR is set:\n{text}"
    );
}
