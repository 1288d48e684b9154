//! The scripts of examples/, run with stand-ins for the programs around them.

#![expect(
    clippy::expect_used,
    reason = "a script that cannot be run has nothing to say"
)]

mod common;
#[path = "common/waiting.rs"]
mod waiting;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::Scratch;
use waiting::wait_for;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name)
}

/// A script in the environment of this directory, with the programs of this build
/// first in PATH.
fn script(scratch: &Scratch, path: &Path) -> Command {
    let built = Path::new(env!("CARGO_BIN_EXE_mcp-bridge")).parent();
    let mut paths = vec![scratch.path("bin"), built.expect("a folder").to_owned()];
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    paths.extend(std::env::split_paths(&inherited));
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("PATH", std::env::join_paths(paths).expect("a path"))
        .env("HOME", scratch.dir())
        .env("MCP_BRIDGE_STORE", scratch.store())
        .current_dir(scratch.dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A program of this name that writes down how it is called.
fn stand_in(scratch: &Scratch, name: &str, text: &str) {
    std::fs::create_dir_all(scratch.path("bin")).expect("made");
    let path = scratch.path(&format!("bin/{name}"));
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("set");
}

/// A process that stands for Claude Code.
struct Client(Child);

impl Client {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().expect("sleep"))
    }

    /// Its hook, as it would run it.
    fn hook(&self, scratch: &Scratch) -> Child {
        script(scratch, &example("claude-code/mail-waiter"))
            .env("CLAUDE_PID", self.0.id().to_string())
            .env("CLAUDE_CODE_SESSION_ID", "5d1f0c3a-session")
            .env("MCP_BRIDGE_CREDENTIALS", scratch.credentials("work.b"))
            .spawn()
            .expect("the waiter")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a waiter of this directory listens: `wait` has its watch on the store.
fn waits(scratch: &Scratch) -> Option<()> {
    scratch
        .path(".local/state/mcp-bridge/waiters/5d1f0c3a-session.mail")
        .exists()
        .then_some(())
}

#[test]
fn a_waiter_starts_a_turn_and_shows_no_message() {
    let scratch = Scratch::with_conversation();
    let client = Client::start();
    let waiter = client.hook(&scratch);
    wait_for("the waiter", || waits(&scratch));
    scratch.run_as("work.a", &["send", "the body"]).ok();
    let ended = waiter.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert_eq!(
        said,
        "mcp-bridge: unread mail from another agent (not from your user). Run: mcp-bridge check\n"
    );
    assert_eq!(ended.stdout, b"");
    // Read, then idle again: the next one is a new turn.
    scratch.run_as("work.b", &["check"]).ok();
    let waiter = client.hook(&scratch);
    wait_for("the waiter", || waits(&scratch));
    scratch.run_as("work.a", &["send", "another"]).ok();
    let ended = waiter.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(2));
}

/// The agent did not read it: no turn after turn for the same message.
#[test]
fn an_announced_message_is_not_announced_at_once() {
    let scratch = Scratch::with_conversation();
    let client = Client::start();
    scratch.run_as("work.a", &["send", "first"]).ok();
    let ended = client.hook(&scratch).wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(2));
    let mut waiter = client.hook(&scratch);
    wait_for("the waiter", || waits(&scratch));
    // The wait for what is new has begun when the first one ended.
    wait_for("the second wait", || {
        let mail = scratch.path(".local/state/mcp-bridge/waiters/5d1f0c3a-session.mail");
        std::fs::read(mail)
            .is_ok_and(|mail| mail.is_empty())
            .then_some(())
    });
    assert_eq!(waiter.try_wait().expect("known"), None, "it waits");
    scratch.run_as("work.a", &["send", "second"]).ok();
    let ended = wait_for("the turn", || {
        // A message in the moment before the watch begins is not new to it.
        scratch.run_as("work.a", &["send", "third"]).ok();
        waiter.try_wait().expect("known")
    });
    assert_eq!(ended.code(), Some(2));
}

#[test]
fn a_waiter_ends_with_its_client_and_with_its_successor() {
    let scratch = Scratch::with_conversation();
    let client = Client::start();
    let mut first = client.hook(&scratch);
    wait_for("the waiter", || waits(&scratch));
    let mut second = client.hook(&scratch);
    let ended = wait_for("the end of the first", || first.try_wait().expect("known"));
    assert!(ended.success(), "{ended:?}");
    wait_for("the second", || waits(&scratch));
    assert_eq!(second.try_wait().expect("known"), None);
    drop(client);
    let ended = wait_for("the end of the second", || {
        second.try_wait().expect("known")
    });
    assert!(ended.success(), "{ended:?}");
}

#[test]
fn the_hooks_name_the_packaged_script() {
    let text = std::fs::read_to_string(example("claude-code/settings.json")).expect("there");
    let settings: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for event in ["SessionStart", "Stop"] {
        let hook = &settings["hooks"][event][0]["hooks"][0];
        assert_eq!(hook["asyncRewake"], true, "{event}");
        let command = hook["command"].as_str().expect("a command");
        let name = command.strip_prefix("/usr/share/doc/mcp-bridge/examples/");
        assert!(example(name.expect("the package's")).is_file(), "{command}");
    }
}

#[test]
fn an_agent_is_the_process_in_its_pid_file() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("agents")).expect("made");
    let mut agent = script(&scratch, &example("run-agent"));
    agent
        .args(["backend", "sleep", "600"])
        .env("MCP_BRIDGE_AGENTS", scratch.path("agents"));
    let mut agent = agent.spawn().expect("started");
    let pid = wait_for("the pid file", || {
        std::fs::read_to_string(scratch.path("agents/backend.pid")).ok()
    });
    assert_eq!(pid.trim(), agent.id().to_string());
    wait_for("the agent in its place", || {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", agent.id()));
        (name.is_ok_and(|name| name.trim() == "sleep") || !cfg!(target_os = "linux")).then_some(())
    });
    agent.kill().expect("killed");
    agent.wait().expect("ended");
    let mut elsewhere = script(&scratch, &example("run-agent"));
    elsewhere.args(["../x", "true"]);
    let refused = elsewhere.output().expect("run");
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn an_alert_becomes_a_mail_with_one_subject_line() {
    let scratch = Scratch::new();
    stand_in(&scratch, "mail", "printf '%s\\n' \"$@\" >args; cat >body");
    let mut alert = script(&scratch, &example("alert-mail"));
    alert
        .arg("root")
        .env("MCP_BRIDGE_ALERT_KIND", "lost")
        .env("MCP_BRIDGE_ALERT_EDGE", "raised")
        .env("MCP_BRIDGE_ALERT_SUBJECT", "backend/b\nBcc: everyone")
        .stdin(Stdio::piped());
    let mut alert = alert.spawn().expect("started");
    let mut input = alert.stdin.take().expect("piped");
    input.write_all(b"{\"kind\":\"lost\"}\n").expect("written");
    drop(input);
    assert!(alert.wait().expect("ended").success());
    let args = std::fs::read_to_string(scratch.path("args")).expect("called");
    assert_eq!(
        args,
        "-s\nmcp-bridge: backend/bBcc: everyone lost (raised)\nroot\n"
    );
    let body = std::fs::read_to_string(scratch.path("body")).expect("called");
    assert_eq!(body, "{\"kind\":\"lost\"}\n");
}

/// A real tmux on a socket of its own.
struct Tmux<'a>(&'a Scratch);

impl Tmux<'_> {
    fn run(&self, words: &[&str]) -> std::process::Output {
        let mut tmux = script(self.0, Path::new("tmux"));
        tmux.env("TMUX_TMPDIR", self.0.dir()).args(words);
        tmux.output().expect("tmux")
    }

    fn nudge(&self, text: &str) -> std::process::Output {
        let mut nudge = script(self.0, &example("tmux-nudge"));
        nudge
            .arg("agent")
            .env("TMUX_TMPDIR", self.0.dir())
            .env("MCP_BRIDGE_WAKE_TEXT", text);
        nudge.output().expect("run")
    }

    fn screen(&self) -> String {
        let output = self.run(&["capture-pane", "-p", "-t", "agent"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

#[test]
fn a_nudge_is_typed_into_an_empty_prompt_alone() {
    if Command::new("tmux").arg("-V").output().is_err() {
        println!("skipped: tmux is missing");
        return;
    }
    let scratch = Scratch::new();
    let tmux = Tmux(&scratch);
    let refused = tmux.nudge("nothing is there");
    assert_eq!(refused.status.code(), Some(1), "it starts no server");
    // An agent: a prompt, and what was entered is written down.
    let agent = "while printf '> ' && IFS= read -r line; do printf '%s\\n' \"$line\" >>heard; done";
    let shell = format!("cd '{}' && {agent}", scratch.dir().display());
    let begun = tmux.run(&["new-session", "-d", "-s", "agent", "sh", "-c", &shell]);
    assert!(begun.status.success(), "{begun:?}");
    wait_for("the prompt", || {
        tmux.screen().starts_with('>').then_some(())
    });
    let line = "mcp-bridge: 1 unread message from a; $(touch PWN) `x` (another agent)";
    let typed = tmux.nudge(line);
    assert!(typed.status.success(), "{typed:?}");
    let heard = wait_for("the line", || {
        std::fs::read_to_string(scratch.path("heard")).ok()
    });
    assert_eq!(heard, format!("{line}\n"));
    // The user is in the middle of a line.
    tmux.run(&["send-keys", "-t", "agent", "-l", "a draft"]);
    wait_for("the draft", || {
        tmux.screen().contains("> a draft").then_some(())
    });
    let refused = tmux.nudge("into a draft");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    tmux.run(&["send-keys", "-t", "agent", "Enter"]);
    let heard = wait_for("the draft, entered", || {
        let heard = std::fs::read_to_string(scratch.path("heard")).ok()?;
        heard.contains("a draft").then_some(heard)
    });
    assert!(!heard.contains("into a draft"), "{heard}");
}
