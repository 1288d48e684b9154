//! Programs that run on and opened the store's file themselves, and a daemon that is started
//! afterwards.

use std::process::Stdio;

use serde_json::{Value, json};

use super::Daemon;
use crate::common::client::{Client, words};
use crate::common::scratch::{Running, Scratch, wait_until};

fn way(client: &mut Client) -> Value {
    client.call("my_status", json!({}))["structuredContent"]["way"].clone()
}

/// Whether the process has the database open.
fn has_open(process: &Running, scratch: &Scratch) -> bool {
    let descriptors = format!("/proc/{}/fd", process.child.id());
    let entries = std::fs::read_dir(descriptors).expect("a process");
    let store = scratch.store().canonicalize().expect("a path");
    let mut targets = entries
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.any(|target| target == store)
}

fn server(scratch: &Scratch, is_named: bool) -> Client {
    let mut command = scratch.bridge_as("work.b", &["mcp"]);
    command.env("XDG_RUNTIME_DIR", scratch.path("run"));
    if !is_named {
        command.env_remove("MCP_BRIDGE_STORE");
    }
    let mut client = Client::start(command);
    client.shake_hands("2025-11-25");
    client
}

#[test]
fn embedded_server_moves_to_a_daemon_that_starts() {
    let scratch = Scratch::with_conversation();
    let mut client = server(&scratch, false);
    assert_eq!(way(&mut client), "embedded");
    let add = ["task", "add", "--title", "Port", "--role", "worker"];
    scratch.run_as("work.a", &add).ok();
    let claimed = client.call("claim_task", json!({}));
    let fence = claimed["structuredContent"]["task"]["fence"].clone();
    assert_eq!(fence, 1);
    let wait = json!({ "name": "wait_for_messages", "arguments": { "timeout": 50 } });
    let waits = client.begin("tools/call", wait);

    let mut daemon = Daemon::start(&scratch);
    wait_until("it moves", || way(&mut client) == "daemon");
    // What waited goes on, and what it reads is read once.
    scratch.run_as("work.a", &["send", "hello"]).ok();
    let read = words(&client.answer(waits)["result"]);
    assert!(read.contains("| hello"), "{read}");
    assert_eq!(
        client.text("check_messages", json!({})),
        "No unread messages."
    );
    let end = json!({ "task_id": 1, "fence": fence, "result": "done" });
    assert_eq!(client.text("complete_task", end), "Task 1: done.");
    if cfg!(target_os = "linux") {
        wait_until("the file is closed", || !has_open(&client.server, &scratch));
    }
    // Without the daemon it opens the file again.
    daemon.kill();
    wait_until("it opens the file", || way(&mut client) == "embedded");
    scratch.run_as("work.a", &["send", "again"]).ok();
    let read = client.text("check_messages", json!({}));
    assert!(read.contains("| again"), "{read}");
}

#[test]
#[cfg(target_os = "linux")]
fn waiting_hook_moves_to_a_daemon_that_starts() {
    let scratch = Scratch::with_conversation();
    let mut command = scratch.bridge_as("work.b", &["hook", "wait"]);
    command
        .env("CLAUDE_PID", std::process::id().to_string())
        .env("XDG_RUNTIME_DIR", scratch.path("run"))
        .env_remove("MCP_BRIDGE_STORE")
        .stderr(Stdio::piped());
    let mut waiter = Running::unread(&mut command);
    wait_until("it opens the file", || has_open(&waiter, &scratch));
    let mut daemon = Daemon::start(&scratch);
    wait_until("it moves", || !has_open(&waiter, &scratch));
    // It waits on, also without that daemon.
    daemon.kill();
    scratch.run_as("work.a", &["send", "hello"]).ok();
    assert_eq!(waiter.end(), Some(2));
    let said = waiter.complaint();
    assert!(said.contains("1 unread message"), "{said}");
}

#[test]
fn server_of_a_named_file_keeps_to_it() {
    let scratch = Scratch::with_conversation();
    let mut client = server(&scratch, true);
    assert_eq!(way(&mut client), "embedded");
    let _daemon = Daemon::start(&scratch);
    assert_eq!(way(&mut client), "embedded");
}

#[test]
fn a_server_does_not_move_to_another_store() {
    let (scratch, other) = (Scratch::with_conversation(), Scratch::with_conversation());
    let mut command = scratch.bridge_as("work.b", &["mcp"]);
    command
        .env_remove("MCP_BRIDGE_STORE")
        .env("XDG_RUNTIME_DIR", other.path("run"));
    let mut client = Client::start(command);
    client.shake_hands("2025-11-25");
    assert_eq!(way(&mut client), "embedded");
    let _daemon = Daemon::start(&other);
    assert_eq!(way(&mut client), "embedded");
    other.run_as("work.a", &["send", "of another store"]).ok();
    assert_eq!(
        client.text("check_messages", json!({})),
        "No unread messages."
    );
}
