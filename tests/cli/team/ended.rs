//! A `team new` that is ended: what it made is taken back, at once or by `team remove`.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::{BACKEND, command, conversations, scratch, tree};
use crate::common::scratch::{PATIENCE, Running, Scratch, wait_until};

/// Files below, but for the store's.
fn files(scratch: &Scratch) -> Vec<String> {
    let all = tree(scratch.dir()).into_iter();
    all.filter(|path| std::path::Path::new(path).is_file())
        .collect()
}

fn start(scratch: &Scratch) -> Running {
    let mut command = command(scratch, &["team", "new"]);
    command
        .args(BACKEND)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped());
    Running::start(&mut command)
}

fn status(running: &mut Running) -> ExitStatus {
    let mut status = None;
    wait_until("it ends", || {
        status = running.child.try_wait().expect("our child");
        status.is_some()
    });
    status.expect("its end")
}

#[test]
fn team_is_taken_back_while_its_store_is_locked() {
    for signal in [Signal::INT, Signal::TERM] {
        let scratch = scratch();
        scratch.run(&["store", "init"]).ok();
        let lock = rusqlite::Connection::open(scratch.store()).expect("opened");
        lock.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let mut team = start(&scratch);
        let note = scratch.path(".local/state/mcp-bridge/teams/backend.toml");
        wait_until("it has begun", || note.exists());
        team.signal(signal);
        // It waits to close what it may have made; and then no longer.
        drop(lock);
        let status = status(&mut team);
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status:?}");
        let said = team.complaint();
        assert!(said.contains("team backend was not created"), "{said}");
        assert_eq!(conversations(&scratch), 0);
        assert_eq!(files(&scratch), Vec::<String>::new(), "{said}");
    }
}

#[test]
fn a_second_signal_is_not_kept_waiting() {
    let scratch = scratch();
    scratch.run(&["store", "init"]).ok();
    let lock = rusqlite::Connection::open(scratch.store()).expect("opened");
    lock.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let mut team = start(&scratch);
    let note = scratch.path(".local/state/mcp-bridge/teams/backend.toml");
    wait_until("it has begun", || note.exists());
    let mut status = None;
    wait_until("it ends", || {
        let _ = kill_process(Pid::from_child(&team.child), Signal::INT);
        status = team.child.try_wait().expect("our child");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.signal()), Some(2));
    let said = team.complaint();
    assert!(said.contains("mcp-bridge team remove backend"), "{said}");
    drop(lock);
    scratch.run(&["team", "remove", "backend"]).ok();
    assert_eq!(conversations(&scratch), 0);
    assert_eq!(files(&scratch), Vec::<String>::new());
}

/// What stands there after each step, in their order.
const STEPS: [&str; 8] = [
    ".local/state/mcp-bridge/teams/backend.toml",
    ".local/state/mcp-bridge/credentials/backend-1.toml",
    ".local/state/mcp-bridge/credentials/backend.orchestrator.toml",
    ".config/mcp-bridge/worker.toml",
    ".config/mcp-bridge/orchestrator.toml",
    ".local/state/mcp-bridge/joined",
    "tree/.mcp.json",
    "tree/.claude/settings.local.json",
];

/// Begins to make a team, and sends a signal at the moment at which `step` is there.
fn ended_at(step: &str, signal: Signal) -> (Scratch, ExitStatus, String) {
    let scratch = scratch();
    scratch.run(&["store", "init"]).ok();
    let mut team = start(&scratch);
    let (step, begun) = (scratch.path(step), Instant::now());
    while !step.exists() && begun.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    // It may have ended with that.
    let _ = kill_process(Pid::from_child(&team.child), signal);
    let status = status(&mut team);
    let said = team.complaint();
    (scratch, status, said)
}

#[test]
fn team_is_made_in_whole_or_not_at_all() {
    for step in STEPS {
        for signal in [Signal::INT, Signal::TERM] {
            let (scratch, status, said) = ended_at(step, signal);
            if status.success() {
                assert_eq!(conversations(&scratch), 2, "{step}");
                assert!(scratch.path(STEPS[7]).exists(), "{step}");
                continue;
            }
            assert_eq!(status.signal(), Some(signal.as_raw()), "{step}: {status:?}");
            assert_eq!(conversations(&scratch), 0, "{step}: {said}");
            assert_eq!(files(&scratch), Vec::<String>::new(), "{step}: {said}");
        }
    }
}

#[test]
fn half_made_team_is_removed() {
    for step in STEPS {
        let (scratch, ..) = ended_at(step, Signal::KILL);
        let removed = scratch.run(&["team", "remove", "backend"]).ok();
        assert_eq!(conversations(&scratch), 0, "{step}: {removed:?}");
        let mut left = files(&scratch);
        // What was to take a file's place.
        left.retain(|path| !path.contains("/.tmp"));
        assert_eq!(left, Vec::<String>::new(), "{step}: {removed:?}");
    }
}
