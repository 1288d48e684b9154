//! `wait`: one message, or a time limit, or the end of its caller.

use insta::assert_snapshot;
use rustix::process::Signal;

use crate::common::scratch::{Running, Scratch, all_say};

#[test]
fn unread_mail_ends_it_at_once() {
    let scratch = Scratch::with_conversation();
    scratch.run_as("work.a", &["send", "first"]).ok();
    scratch.run_as("work.a", &["send", "second"]).ok();
    // The same again: waiting marks nothing read.
    for _ in 0..2 {
        let waited = scratch.run_as("work.b", &["wait", "--for", "10m"]).ok();
        assert_eq!(waited.out.lines().count(), 1, "{waited:?}");
        assert_eq!(waited.json()["message"], "first");
        assert_eq!(waited.json()["label"], "work");
    }
    let text = scratch.run_as("work.b", &["wait", "--text"]).ok();
    assert!(text.out.ends_with("| first\n\n"), "{text:?}");
    assert_eq!(
        scratch.number("SELECT count(*) FROM messages WHERE read = 1"),
        0
    );
}

#[test]
fn a_message_that_comes_ends_it() {
    let scratch = Scratch::with_conversation();
    let mut wait = Running::lines(scratch.bridge_as("work.b", &["wait"]));
    scratch.run_as("work.a", &["send", "hello"]).ok();
    assert_eq!(wait.json()["message"], "hello");
    assert_eq!(wait.end(), Some(0));
    assert!(wait.rest().is_empty());
    assert_eq!(wait.complaint(), "");
}

#[test]
fn a_time_limit_ends_it_with_124() {
    let scratch = Scratch::with_conversation();
    for limit in ["0s", "50ms"] {
        let waited = scratch.run_as("work.b", &["wait", "--for", limit]);
        assert_eq!(
            (waited.code, &*waited.out, &*waited.err),
            (Some(124), "", "")
        );
    }
    // The shortest limit still looks once; old mail does not count with --new.
    scratch.run_as("work.a", &["send", "old"]).ok();
    scratch.run_as("work.b", &["wait", "--for", "0s"]).ok();
    let new = scratch.run_as("work.b", &["wait", "--for", "50ms", "--new"]);
    assert_eq!((new.code, &*new.out), (Some(124), ""));
}

#[test]
fn a_reader_that_goes_ends_it() {
    let scratch = Scratch::with_conversation();
    let mut wait = Running::unread(&mut scratch.bridge_as("work.b", &["wait"]));
    drop(wait.child.stdout.take());
    // Not 0: no message was shown.
    assert_eq!(wait.end(), Some(1));
}

#[test]
fn the_end_of_a_named_process_ends_it() {
    let scratch = Scratch::with_conversation();
    let agent = Running::start(scratch.program("sleep").arg("1000"));
    let pid = agent.child.id().to_string();
    let mut wait = Running::lines(scratch.bridge_as("work.b", &["wait", "--while-pid", &pid]));
    agent.signal(Signal::KILL);
    assert_eq!(wait.end(), Some(1));
    let said = wait.complaint();
    assert!(said.contains(&pid), "{said}");
    drop(agent);
    let gone = scratch.run_as("work.b", &["wait", "--while-pid", &pid]);
    assert_eq!(gone.code, Some(1));
    assert!(gone.err.contains("cannot be watched"), "{gone:?}");
}

#[test]
fn a_signal_ends_it_as_any_program() {
    let scratch = Scratch::with_conversation();
    let mut wait = Running::lines(scratch.bridge_as("work.b", &["wait"]));
    wait.signal(Signal::TERM);
    assert_eq!(wait.end(), None);
}

#[test]
fn a_token_in_the_environment_is_refused() {
    let scratch = Scratch::with_conversation();
    let text = std::fs::read_to_string(scratch.credentials("work.b")).expect("there");
    let value = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split('"').nth(1));
        value.expect("a value").to_owned()
    };
    let refused = ["wait", "watch"].map(|command| {
        let mut command = scratch.bridge(&[command]);
        command
            .env("MCP_BRIDGE_CONVERSATION", value("conversation"))
            .env("MCP_BRIDGE_SESSION", value("session"))
            .env("MCP_BRIDGE_TOKEN", value("token"));
        scratch.outcome(command)
    });
    assert_snapshot!(all_say(&refused), @r"
    77: error: MCP_BRIDGE_TOKEN is only for commands that end at once: while this command runs, other processes can read its environment
      put the credentials in a file and name it: --credentials FILE
    ");
}

#[test]
fn a_store_that_is_missing_is_named() {
    let scratch = Scratch::with_conversation();
    std::fs::remove_file(scratch.store()).expect("removed");
    assert_eq!(scratch.run_as("work.b", &["wait"]).code, Some(69));
}
