//! A message that was fetched and not delivered is not lost.

use std::process::Stdio;

use insta::assert_snapshot;
use rustix::io::ioctl_fionread;
use rustix::process::Signal;

use crate::common::scratch::{Running, Scratch, wait_until};

/// More than a pipe holds.
const MANY: usize = 4;

fn with_much_mail() -> Scratch {
    let scratch = Scratch::with_conversation();
    for _ in 0..MANY {
        scratch
            .run_as("work.a", &["send", &"x".repeat(40_000)])
            .ok();
    }
    scratch
}

fn unread_then(scratch: &Scratch) -> usize {
    let read = scratch.run_as("work.b", &["check", "--json"]).ok().json();
    read["messages"].as_array().map_or(0, Vec::len)
}

#[test]
fn killed_between_the_commit_and_the_output() {
    let scratch = with_much_mail();
    let mut check = Running::unread(&mut scratch.bridge_as("work.b", &["check"]));
    wait_until("the fetch is committed", || {
        scratch.number("SELECT count(*) FROM messages WHERE read = 1") == 4
    });
    check.child.kill().expect("it hangs in its output");
    check.end();
    assert_eq!(unread_then(&scratch), MANY);
    assert_eq!(unread_then(&scratch), 0);
}

#[test]
fn the_reader_of_the_output_went_away() {
    let scratch = with_much_mail();
    let mut check = Running::unread(
        scratch
            .bridge_as("work.b", &["check"])
            .stderr(Stdio::piped()),
    );
    wait_until("the fetch is committed", || {
        scratch.number("SELECT count(*) FROM messages WHERE read = 1") == 4
    });
    drop(check.child.stdout.take());
    assert_eq!(check.end(), Some(1));
    assert_snapshot!(check.complaint(), @"error: the output could not be written (Broken pipe (os error 32)); the messages stay unread and will be shown again");
    assert_eq!(unread_then(&scratch), MANY);
}

#[test]
#[cfg(target_os = "linux")]
fn the_output_goes_to_a_full_disk() {
    let scratch = Scratch::with_conversation();
    scratch.run_as("work.a", &["send", "hi"]).ok();
    for args in [&["check"][..], &["check", "--json"]] {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("there");
        let mut command = scratch.bridge_as("work.b", args);
        let ended = command
            .stdout(full)
            .stderr(Stdio::null())
            .status()
            .expect("runs");
        assert_eq!(ended.code(), Some(1));
    }
    assert_eq!(unread_then(&scratch), 1);
}

#[test]
fn other_commands_do_not_mind_a_closed_pipe() {
    let scratch = Scratch::with_conversation();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ended = scratch
        .bridge(&["status"])
        .stdout(writer)
        .status()
        .expect("runs");
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn a_closed_output_confirms_nothing() {
    let scratch = Scratch::with_conversation();
    scratch.run_as("work.a", &["send", "hello"]).ok();
    for command in ["check", "check --json", "wait"] {
        let mut shell = scratch.program("sh");
        shell
            .args(["-c", &format!("\"$0\" {command} >&-")])
            .arg(env!("CARGO_BIN_EXE_mcp-bridge"))
            .env("MCP_BRIDGE_CREDENTIALS", scratch.credentials("work.b"));
        let refused = scratch.outcome(shell);
        assert_eq!(refused.code, Some(1), "{command}: {refused:?}");
        assert!(
            refused.err.contains("standard output is closed"),
            "{refused:?}"
        );
    }
    let read = scratch.run_as("work.b", &["check", "--json"]).ok().json();
    assert_eq!(read["messages"][0]["message"], "hello");
    // A reader that takes none of it is another thing.
    scratch.run_as("work.a", &["send", "again"]).ok();
    let mut nothing = scratch.bridge_as("work.b", &["check"]);
    nothing.stdout(Stdio::null());
    assert_eq!(nothing.status().expect("it starts").code(), Some(0));
}

#[test]
fn no_mail_is_shown_by_two_checks() {
    let scratch = Scratch::with_conversation();
    for _ in 0..3 {
        let long = "x".repeat(40_000);
        scratch.run_as("work.a", &["send", &long]).ok();
    }
    let mut first = Running::unread(&mut scratch.bridge_as("work.b", &["check"]));
    wait_until("the pipe is full", || {
        let pipe = first.child.stdout.as_ref().expect("a pipe");
        ioctl_fionread(pipe).is_ok_and(|bytes| bytes > 60_000)
    });
    let read = || scratch.run_as("work.b", &["check", "--json"]).ok().json();
    let count = |read: serde_json::Value| read["messages"].as_array().map(Vec::len);
    assert_eq!(count(read()), Some(0));
    scratch.run_as("work.a", &["send", "new"]).ok();
    assert_eq!(count(read()), Some(1));
    // It dies before it has shown them.
    first.signal(Signal::KILL);
    first.end();
    assert_eq!(count(read()), Some(3));
}
