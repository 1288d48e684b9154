//! `watch`: pushed, in order, each once, until a signal ends it.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use rustix::io::ioctl_fionread;
use rustix::process::Signal;

use crate::common::scratch::{Running, Scratch, can_run, not_tried, wait_until};

fn watch(scratch: &Scratch, name: &str, args: &[&str]) -> Running {
    let args: Vec<&str> = ["watch"].into_iter().chain(args.iter().copied()).collect();
    Running::lines(scratch.bridge_as(name, &args))
}

#[test]
fn backlog_first_and_then_what_another_process_sends() {
    let scratch = Scratch::with_conversation();
    scratch.run_as("work.a", &["send", "before"]).ok();
    let mut watch = watch(&scratch, "work.b", &[]);
    let first = watch.json();
    assert_eq!(
        (&first["message"], &first["label"]),
        (&"before".into(), &"work".into())
    );
    for number in 0..10 {
        scratch
            .run_as("work.a", &["send", &number.to_string()])
            .ok();
        assert_eq!(watch.json()["message"], number.to_string());
    }
    // Pushing marks nothing read.
    assert_eq!(
        scratch.number("SELECT count(*) FROM messages WHERE read = 1"),
        0
    );
    watch.signal(Signal::INT);
    assert_eq!(watch.end(), Some(0));
    assert!(watch.rest().is_empty());
    assert_eq!(watch.complaint(), "");
}

#[test]
fn only_what_is_new_and_mine() {
    let scratch = Scratch::with_conversation();
    scratch.conversation(&["--label", "other"]);
    scratch.run_as("work.a", &["send", "old"]).ok();
    let mut watch = watch(&scratch, "work.b", &["--new", "--poll"]);
    let mut marker = 0;
    // It says nothing when it is ready, so it is asked until it answers.
    wait_until("the watch is mounted", || {
        marker += 1;
        scratch.run(&["store", "limits", "--off"]).ok();
        scratch.run_as("other.a", &["send", "not for us"]).ok();
        scratch
            .run_as("work.a", &["send", &format!("new {marker}")])
            .ok();
        watch.try_line().is_some_and(|line| {
            assert!(line.contains("\"message\":\"new "), "{line}");
            true
        })
    });
    watch.signal(Signal::TERM);
    assert_eq!(watch.end(), Some(0));
}

#[test]
fn people_get_text() {
    let scratch = Scratch::with_conversation();
    scratch
        .run_as("work.a", &["send", "hi", "--action", "info"])
        .ok();
    let mut watch = watch(&scratch, "work.b", &["--text"]);
    assert!(
        watch
            .line()
            .starts_with("message 1 from orchestrator (work/a) · info")
    );
    assert_eq!(watch.line(), "| hi");
}

#[test]
fn foreign_writer_rings_no_bell_and_is_heard() {
    if !can_run("python3", &["-c", "import sqlite3"]) {
        return not_tried("a foreign writer", "python3 with sqlite3 is missing");
    }
    let scratch = Scratch::with_conversation();
    let mut watch = watch(&scratch, "work.b", &["--full-look", "10m"]);
    scratch.run_as("work.a", &["send", "ready?"]).ok();
    assert_eq!(watch.json()["message"], "ready?");
    // The statement of the Python bridge, with sqlite3's own transactions.
    let writer = r#"
import datetime, json, sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30)
conversation = db.execute("SELECT id FROM conversations").fetchone()[0]
for number in range(50):
    db.execute(
        "INSERT INTO messages (conversation_id, from_session, to_session, message, metadata, timestamp) VALUES (?, ?, ?, ?, ?, ?)",
        (conversation, "a", "b", str(number), json.dumps({"action_type": "info"}), datetime.datetime.utcnow().isoformat()),
    )
    db.commit()
"#;
    let mut python = scratch.program("python3");
    python
        .args(["-W", "ignore", "-c", writer])
        .arg(scratch.store());
    scratch.outcome(python).ok();
    for number in 0..50 {
        let message = watch.json();
        assert_eq!(message["message"], number.to_string());
        assert_eq!(message["metadata"]["action_type"], "info");
    }
}

#[test]
fn no_token_stands_where_ps_shows_it() {
    let scratch = Scratch::with_conversation();
    scratch.run_as("work.a", &["send", "hi"]).ok();
    let mut watch = watch(&scratch, "work.b", &[]);
    watch.line();
    let text = std::fs::read_to_string(scratch.credentials("work.b")).expect("there");
    let token = text
        .split('"')
        .find_map(|part| part.strip_prefix("mcpb_"))
        .expect("a token");
    let pid = watch.child.id();
    if let Ok(shown) = std::fs::read_to_string(format!("/proc/{pid}/cmdline")) {
        assert!(shown.contains("watch") && !shown.contains(token), "{shown}");
    }
    let help = scratch.run(&["send", "--help"]).ok();
    assert!(!help.out.contains("--token"), "{help:?}");
}

#[test]
fn a_store_that_is_replaced_ends_it() {
    let scratch = Scratch::with_conversation();
    scratch.run_as("work.a", &["send", "hi"]).ok();
    let mut watch = watch(&scratch, "work.b", &[]);
    watch.line();
    std::fs::rename(scratch.store(), scratch.path("away.db")).expect("moved");
    assert_eq!(watch.end(), Some(69));
    let said = watch
        .complaint()
        .replace(&*scratch.dir().to_string_lossy(), "<dir>");
    assert_snapshot!(said, @r"
    error: store <dir>/bridge.db: the file was deleted or replaced while it was open; nothing was stored in it
      put the old file back, or restart programs to use the new one; daemons switch to it automatically
    ");
}

#[test]
fn a_store_that_is_missing_is_named() {
    let scratch = Scratch::with_conversation();
    std::fs::remove_file(scratch.store()).expect("removed");
    assert_snapshot!(scratch.run_as("work.b", &["watch"]).says(), @r"
    69: error: store <dir>/bridge.db: there is no such file, but there was: <dir>/bridge.db-bell is still there
      put the file back
      or start with a new, empty store: mcp-bridge store init --store <dir>/bridge.db
    ");
}

#[test]
fn a_conversation_that_ends_ends_it() {
    let scratch = Scratch::with_conversation();
    scratch.run_as("work.a", &["send", "hi"]).ok();
    // The end is noticed long before a full look.
    let mut watch = watch(&scratch, "work.b", &["--full-look", "10m"]);
    watch.line();
    scratch.run(&["conversation", "close", "work"]).ok();
    assert_eq!(watch.end(), Some(77));
}

#[test]
fn a_conversation_that_expires_ends_it() {
    let scratch = Scratch::with_conversation();
    scratch.expire_conversations(-2);
    let mut watch = watch(&scratch, "work.b", &["--full-look", "10m"]);
    assert_eq!(watch.end(), Some(77));
    let said = watch.complaint();
    assert!(said.contains("expired"), "{said}");
}

#[test]
fn a_count_of_messages_ends_it() {
    let scratch = Scratch::with_conversation();
    for text in ["one", "two", "three"] {
        scratch.run_as("work.a", &["send", text]).ok();
    }
    let counted = scratch.run_as("work.b", &["watch", "--count", "2"]).ok();
    assert_eq!(counted.out.lines().count(), 2, "{counted:?}");
    // Part of the backlog, and part of what comes.
    let mut watch = watch(&scratch, "work.b", &["--count", "4"]);
    for text in ["one", "two", "three"] {
        assert_eq!(watch.json()["message"], text);
    }
    scratch.run_as("work.a", &["send", "four"]).ok();
    assert_eq!(watch.json()["message"], "four");
    assert_eq!(watch.end(), Some(0));
    assert!(watch.rest().is_empty());
}

#[test]
fn a_redirected_warning_has_no_colour() {
    const WITHOUT_EVENTS: &str = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$@\"";
    let unshare = ["--user", "--map-root-user", "sh", "-c", WITHOUT_EVENTS];
    if !can_run("unshare", &[&unshare[..], &["sh", "true"]].concat()) {
        return not_tried("a warning of watch", "no user namespace is to be had");
    }
    let scratch = Scratch::with_conversation();
    scratch.run_as("work.a", &["send", "hi"]).ok();
    let mut command = scratch.program("unshare");
    command
        .args(unshare)
        .args(["sh", env!("CARGO_BIN_EXE_mcp-bridge"), "watch"])
        .env("MCP_BRIDGE_CREDENTIALS", scratch.credentials("work.b"));
    let mut watch = Running::lines(command);
    watch.line();
    scratch.run(&["conversation", "close", "work"]).ok();
    watch.end();
    let said = watch.complaint();
    assert!(said.contains("no file events"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn end_of_one_conversation_does_not_end_watching() {
    let scratch = Scratch::new();
    scratch.conversation(&["--label", "team", "--count", "2"]);
    scratch.run_as("team-1.b", &["send", "hi"]).ok();
    let mut watch = watch(&scratch, "team.orchestrator", &["--full-look", "10m"]);
    watch.line();
    scratch.run(&["conversation", "close", "team-1"]).ok();
    scratch.run_as("team-2.b", &["send", "still there"]).ok();
    assert_eq!(watch.json()["message"], "still there");
    scratch.run(&["conversation", "close", "team-2"]).ok();
    assert_eq!(watch.end(), Some(1));
    let said = watch.complaint();
    assert!(said.contains("no session is left"), "{said}");
}

#[test]
fn a_reader_that_hangs_cannot_hold_it() {
    let scratch = Scratch::with_conversation();
    for _ in 0..4 {
        scratch
            .run_as("work.a", &["send", &"x".repeat(40_000)])
            .ok();
    }
    let mut watch = Running::unread(&mut scratch.bridge_as("work.b", &["watch"]));
    wait_until("the pipe is full", || {
        let pipe = watch.child.stdout.as_ref().expect("a pipe");
        ioctl_fionread(pipe).is_ok_and(|bytes| bytes > 60_000)
    });
    watch.signal(Signal::TERM);
    assert_eq!(watch.end(), Some(0));
}

#[test]
fn reader_that_went_away_ends_it_at_once() {
    let scratch = Scratch::with_conversation();
    scratch.run_as("work.a", &["send", "hi"]).ok();
    // The fastest of several, since this machine may have other work.
    let soonest = (0..3).map(|_| {
        let mut watch = Running::unread(&mut scratch.bridge_as("work.b", &["watch"]));
        let pipe = watch.child.stdout.take().expect("a pipe");
        let mut line = String::new();
        let read = BufReader::new(pipe).read_line(&mut line);
        assert!(read.is_ok_and(|bytes| bytes > 0));
        let went = Instant::now();
        assert_eq!(watch.end(), Some(0));
        went.elapsed()
    });
    let soonest = soonest.min().expect("several");
    assert!(soonest < Duration::from_millis(500), "{soonest:?}");
}

#[test]
fn reader_at_a_socket_that_went_away_ends_it() {
    let scratch = Scratch::with_conversation();
    // Some clients give their children one end of a socket pair.
    let (ours, its) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut watch = scratch.bridge_as("work.b", &["watch"]);
    watch.stdout(std::os::fd::OwnedFd::from(its));
    let mut watch = Running::start(&mut watch);
    drop(ours);
    assert_eq!(watch.end(), Some(0));
}
