//! Turns that end without a word, agents that do not move, and a machine that sleeps.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mcp_bridge::liveness;
use mcp_bridge::model::health::Turn;
use mcp_bridge::model::session::Life;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::common::client::Client;
use crate::common::daemon::{LOCAL, Pair, Rig, wait_for};

const WATCHDOG: &str = "[watchdog]\nidle_after = \"1s\"\nstalled_after = \"2s\"\n";

/// Our program for a session, as its client starts it.
pub(crate) fn bridge(rig: &Rig, name: &str, store: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"));
    command
        .args(words)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", rig.path(""))
        .env("MCP_BRIDGE_STORE", store)
        .env("MCP_BRIDGE_CREDENTIALS", rig.path(&format!("{name}.toml")))
        .env("MCP_BRIDGE_HOOK_PATIENCE", "30s")
        .env("MCP_BRIDGE_WAKES_PER_HOUR", "1000000")
        .env("CLAUDE_PID", std::process::id().to_string())
        .current_dir(rig.path(""));
    command
}

pub(crate) fn door(rig: &Rig) -> String {
    format!("unix:{}", rig.path("worker.state/api.sock").display())
}

pub(crate) fn file(rig: &Rig) -> String {
    rig.path("bridge.db").display().to_string()
}

pub(crate) fn hook(rig: &Rig, name: &str, store: &str, event: &str) {
    let mut hook = bridge(rig, name, store, &["hook", event]);
    let done = hook.stdin(Stdio::null()).status().expect("a hook");
    assert!(done.success(), "{done}");
}

/// A waiter; killed, and waited for, when it is dropped.
pub(crate) struct Waiter(pub(crate) Child);

impl Waiter {
    pub(crate) fn arm(rig: &Rig, name: &str, store: &str) -> Self {
        let mut command = bridge(rig, name, store, &["hook", "wait"]);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        Self(command.spawn().expect("a waiter"))
    }

    /// Its exit code, once it has ended.
    pub(crate) fn end(&mut self) -> Option<i32> {
        wait_for("the end of the waiter", || {
            self.0.try_wait().expect("our child")
        })
        .code()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Makes this process look like a Claude Code with this status.
pub(crate) fn looks_like_claude(rig: &Rig, status: &str) {
    let own = liveness::own().expect("a process");
    let sessions = rig.path(".claude/sessions");
    std::fs::create_dir_all(&sessions).expect("a directory");
    let note = json!({ "sessionId": "s", "procStart": own.start.to_string(), "status": status,
                       "peerProtocol": 1, "messagingSocketPath": rig.path("inbox") });
    let new = rig.path("note.new");
    std::fs::write(&new, note.to_string()).expect("written");
    std::fs::rename(new, sessions.join(format!("{}.json", own.pid))).expect("renamed");
}

fn is_in(rig: &Rig, pair: &Pair, turn: Turn) -> bool {
    rig.view(&pair.b.session).turn == turn
}

#[test]
fn turn_that_its_user_breaks_off_is_over() {
    let rig = Rig::new();
    let (pair, other) = (rig.pair("one"), rig.pair("two"));
    looks_like_claude(&rig, "busy");
    let mut client = Client::start(bridge(&rig, "one", &file(&rig), &["mcp"]));
    client.greet("2025-11-25", "claude-code");
    hook(&rig, "one", &file(&rig), "UserPromptSubmit");
    // The server looks there every 3 seconds, and twice.
    std::thread::park_timeout(Duration::from_secs(8));
    assert!(is_in(&rig, &pair, Turn::Inside), "it is at work");
    looks_like_claude(&rig, "idle");
    wait_for("the end of the turn", || {
        is_in(&rig, &pair, Turn::Outside).then_some(())
    });
    // And another agent's turn does not concern it.
    assert!(is_in(&rig, &other, Turn::Unknown));
    hook(&rig, "one", &file(&rig), "UserPromptSubmit");
    looks_like_claude(&rig, "waiting");
    // It looks after 12 seconds where the client sat idle, and 3 seconds later.
    std::thread::park_timeout(Duration::from_secs(17));
    assert!(is_in(&rig, &pair, Turn::Inside), "it waits for its user");
}

#[test]
fn wedged_agent_under_a_stream_of_mail_is_stalled() {
    let rig = Rig::new();
    rig.without_limits();
    let pair = rig.pair("one");
    let _worker = rig.worker(LOCAL);
    let mut orchestrator = rig.daemon(&rig.config_of("orchestrator", "watchdog", WATCHDOG));
    orchestrator.ready();
    let mut client = Client::start(bridge(&rig, "one", &door(&rig), &["mcp"]));
    client.greet("2025-11-25", "claude-code");
    hook(&rig, "one", &door(&rig), "SessionStart");
    hook(&rig, "one", &door(&rig), "Stop");
    rig.becomes(&pair.b.session, Life::Alive);
    // Its client takes every wake, and nothing follows.
    let is_over = AtomicBool::default();
    std::thread::scope(|threads| {
        let stream = threads.spawn(|| {
            let mut waiter = Waiter::arm(&rig, "one", &door(&rig));
            let (mut sent, mut woken) = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                rig.send(&pair.a, "more");
                sent += 1;
                if let Some(status) = waiter.0.try_wait().expect("our child") {
                    assert_eq!(status.code(), Some(2));
                    woken += 1;
                    waiter = Waiter::arm(&rig, "one", &door(&rig));
                }
                std::thread::park_timeout(Duration::from_millis(100));
            }
            (sent, woken)
        });
        orchestrator.says("one/b (backend) is stalled");
        is_over.store(true, Ordering::Relaxed);
        let (sent, woken) = stream.join().expect("it went on");
        assert!(sent > 10 && woken > 0, "{sent} messages, {woken} wakes");
    });
}

#[test]
fn sleeping_machine_loses_no_agent_and_no_mail() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let quick = "[heartbeat]\ninterval = \"100ms\"\nttl = \"1500ms\"\n";
    let worker = rig.worker(&format!("{LOCAL}{quick}"));
    let mut orchestrator = rig.daemon(&rig.config_of("orchestrator", "watchdog", ""));
    orchestrator.ready();
    // Its client has a session that ended with the last sleep: it does not count.
    let mut client = Client::start(bridge(&rig, "one", &door(&rig), &["mcp"]));
    client.greet("2025-11-25", "claude-code");
    let mut waiter = Waiter::arm(&rig, "one", &door(&rig));
    rig.becomes(&pair.b.session, Life::Alive);
    rig.goes_on(&pair.b.session);

    let server = Pid::from_child(&client.server.child);
    worker.pause(&rig);
    orchestrator.pause(&rig);
    waiter.signal(Signal::STOP);
    kill_process(server, Signal::STOP).expect("it runs");
    // Meanwhile another machine's agent writes.
    rig.send(&pair.a, "while it slept");
    std::thread::park_timeout(Duration::from_secs(4));
    kill_process(server, Signal::CONT).expect("it runs");
    waiter.signal(Signal::CONT);
    orchestrator.signal(Signal::CONT);
    worker.signal(Signal::CONT);

    assert_eq!(waiter.end(), Some(2));
    let read = client.text("check_messages", json!({}));
    assert!(read.contains("| while it slept"), "{read}");
    rig.goes_on(&pair.b.session);
    rig.becomes(&pair.b.session, Life::Alive);
    let said = orchestrator.finish().1;
    for word in ["is lost", "has exited", "is stalled"] {
        said.never(word);
    }
}
