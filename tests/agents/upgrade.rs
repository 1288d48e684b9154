//! An upgrade of our program, and of the daemon, while servers and waiters run.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::common::client::{Client, words};
use crate::common::daemon::{LOCAL, Rig, wait_for};
use crate::turns::{Waiter, bridge, door, file};

/// The program at a place of its own, as it was installed before.
fn installed(rig: &Rig) -> PathBuf {
    let program = rig.path("mcp-bridge");
    std::fs::copy(env!("CARGO_BIN_EXE_mcp-bridge"), &program).expect("copied");
    program
}

/// Puts another one in its place, by renaming, which notes each of its starts.
fn replace(rig: &Rig) {
    let old = env!("CARGO_BIN_EXE_mcp-bridge");
    let noted = rig.path("started").display().to_string();
    rig.script("new", &format!("echo \"$*\" >> {noted}\nexec {old} \"$@\""));
    std::fs::rename(rig.path("new"), rig.path("mcp-bridge")).expect("renamed");
}

/// What was started of the new program.
fn started(rig: &Rig) -> Vec<String> {
    let noted = std::fs::read_to_string(rig.path("started")).unwrap_or_default();
    noted.lines().map(str::to_owned).collect()
}

fn by(program: &PathBuf, mut like: Command) -> Command {
    let mut command = Command::new(program);
    command.args(like.get_args()).env_clear();
    for (name, value) in like.get_envs() {
        command.env(name, value.expect("set"));
    }
    command.current_dir(like.get_current_dir().expect("set"));
    like.env_clear();
    command
}

fn upgraded(rig: &Rig, store: &str) {
    let pair = rig.pair("one");
    let program = installed(rig);
    let mut client = Client::start(by(&program, bridge(rig, "one", store, &["mcp"])));
    client.greet("2025-11-25", "test");
    client.text("my_status", json!({}));
    let arm = || {
        let mut command = by(&program, bridge(rig, "one", store, &["hook", "wait"]));
        command.stdin(std::process::Stdio::null());
        command.stderr(std::process::Stdio::piped());
        Waiter(command.spawn().expect("a waiter"))
    };
    let mut waiter = arm();
    replace(rig);
    // What runs goes on.
    rig.send(&pair.a, "over the upgrade");
    assert_eq!(waiter.end(), Some(2));
    let read = client.text("check_messages", json!({}));
    assert!(read.contains("| over the upgrade"), "{read}");
    assert_eq!(started(rig), Vec::<String>::new());
    // What starts is new.
    let mut hook = by(&program, bridge(rig, "one", store, &["hook", "Stop"]));
    assert!(hook.status().expect("a hook").success());
    let mut waiter = arm();
    rig.send(&pair.a, "after it");
    assert_eq!(waiter.end(), Some(2));
    assert_eq!(started(rig), ["hook Stop", "hook wait"]);
    let mut again = Client::start(by(&program, bridge(rig, "one", store, &["mcp"])));
    again.greet("2025-11-25", "test");
    assert!(
        again
            .text("check_messages", json!({}))
            .contains("| after it")
    );
    // The old server does not hand out again what the new one did, also while that is not
    // yet noted as written.
    wait_for("the note that it was written", || {
        let text = client.text("check_messages", json!({}));
        assert!(text.starts_with("No unread messages"), "{text}");
        (text == "No unread messages.").then_some(())
    });
}

#[test]
fn servers_and_waiters_outlive_an_upgrade_of_the_program() {
    let rig = Rig::new();
    upgraded(&rig, &file(&rig));
}

#[test]
fn the_same_holds_through_a_daemon() {
    let rig = Rig::new();
    let _worker = rig.worker(LOCAL);
    upgraded(&rig, &door(&rig));
}

#[test]
fn servers_and_waiters_go_on_with_the_next_daemon() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let worker = rig.worker(LOCAL);
    let mut client = Client::start(bridge(&rig, "one", &door(&rig), &["mcp"]));
    client.greet("2025-11-25", "claude-code");
    client.text("my_status", json!({}));
    let mut waiter = Waiter::arm(&rig, "one", &door(&rig));
    let call = json!({ "name": "wait_for_messages", "arguments": { "timeout": 50 } });
    let waits = client.begin("tools/call", call);
    assert_eq!(worker.stop(), Some(0));
    // Between the two, another host's agent writes.
    rig.send(&pair.a, "between");
    let _next = rig.worker(LOCAL);
    let read = words(&client.answer(waits)["result"]);
    assert!(read.contains("| between"), "{read}");
    rig.send(&pair.a, "afterwards");
    assert_eq!(waiter.end(), Some(2));
    let read = client.text("check_messages", json!({}));
    assert!(read.contains("| afterwards"), "{read}");
}
