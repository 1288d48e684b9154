//! `health`: one word for scripts, at once, even if a call hangs.

use std::time::{Duration, Instant};

use crate::common::scratch::{Ran, Scratch};

/// One line, and this exit code.
#[track_caller]
fn says(ran: &Ran, code: i32, words: &str) {
    let said = format!("{}{}", ran.out, ran.err);
    assert_eq!(ran.code, Some(code), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_store_alone_is_judged_by_itself() {
    let scratch = Scratch::with_conversation();
    says(&scratch.run(&["health"]), 0, "no daemon is configured");
    let json = scratch.run(&["health", "--json"]).ok().out;
    let said: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(said["health"], "well");
    assert_eq!(said["exit"], 0);
    std::fs::write(scratch.path("text.db"), "no database ".repeat(100)).expect("written");
    let other = scratch.path("text.db");
    let other = other.to_str().expect("text");
    says(
        &scratch.run(&["health", "--store", other]),
        69,
        "not an SQLite database",
    );
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(scratch.path(&format!("bridge.db{suffix}")));
    }
    says(&scratch.run(&["health"]), 69, "there was");
}

#[test]
fn a_daemon_that_was_named_must_run() {
    let scratch = Scratch::with_conversation();
    std::fs::write(scratch.path("worker.toml"), "role = \"worker\"\n").expect("written");
    let ran = scratch.run(&["health", "--config", "worker.toml"]);
    says(&ran, 1, "worker: this daemon does not run");
}

/// The state file and the store are what others can put there.
#[test]
fn nothing_that_hangs_holds_up_the_answer() {
    let scratch = Scratch::with_conversation();
    let run = scratch.path("mcp-bridge");
    std::fs::create_dir(&run).expect("made");
    let fifo = run.join("worker.json");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("made");
    let mut command = scratch.bridge(&["health"]);
    command.env("XDG_RUNTIME_DIR", scratch.dir());
    let begun = Instant::now();
    let ran = scratch.outcome(command);
    assert!(matches!(ran.code, Some(0 | 69)), "{}{}", ran.out, ran.err);
    // Far more than it may take, and far less than for ever.
    assert!(begun.elapsed() < Duration::from_secs(20));
    std::fs::remove_file(&fifo).expect("removed");
    let writer = rusqlite::Connection::open(scratch.store()).expect("opened");
    writer.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    let begun = Instant::now();
    scratch.run(&["health"]);
    assert!(begun.elapsed() < Duration::from_secs(20));
}
