//! The scripts of examples/, run with stand-ins for the programs around them.

#![expect(
    clippy::expect_used,
    reason = "a script that cannot be run has nothing to say"
)]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::scratch::Scratch;
use crate::common::waiting::wait_for;

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

#[test]
fn agent_is_the_process_in_its_pid_file() {
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
fn alert_becomes_a_mail_with_one_subject_line() {
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
fn nudge_is_typed_into_an_empty_prompt_alone() {
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
    // The shell makes the file before it writes into it.
    let heard = wait_for("the line", || {
        let heard = std::fs::read_to_string(scratch.path("heard")).ok()?;
        heard.ends_with('\n').then_some(heard)
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
