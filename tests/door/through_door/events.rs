//! `events`: what was done, and as it happens.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::{Daemon, command, through};
use crate::common::scratch::{Running, Scratch, wait_until};

/// Every row of the audit log, by number.
fn numbers(scratch: &Scratch) -> Vec<i64> {
    let all = scratch.run(&["events", "-n", "10000", "--json"]).ok();
    ids(all.json().as_array().expect("a list"))
}

fn ids(rows: &[Value]) -> Vec<i64> {
    let id = |row: &Value| row["id"].as_i64().expect("a number");
    rows.iter().map(id).collect()
}

fn send(scratch: &Scratch, count: usize) {
    for _ in 0..count {
        scratch.run_as("work.a", &["send", "the-secret-body"]).ok();
    }
}

/// A row as the Python bridge writes one.
fn foreign(scratch: &Scratch) {
    let program = "import sqlite3, sys
from datetime import datetime
c = sqlite3.connect(sys.argv[1], timeout=30)
c.execute('INSERT INTO audit_log (conversation_id, session_id, action, details, timestamp) VALUES (?, ?, ?, ?, ?)',
    ('conv_0123456789abcdef', 'session_a', 'foreign_action', '{\"n\": 1}', datetime.utcnow().isoformat()))
c.commit()";
    let mut python = Command::new("python3");
    python
        .args(["-W", "ignore", "-c", program])
        .arg(scratch.store());
    assert!(python.status().expect("python3 runs").success());
}

/// Reads until these rows are there, and not one more.
fn read_to(follower: &mut Running, rows: &mut Vec<Value>, last: i64) {
    while rows
        .last()
        .is_none_or(|row| row["id"].as_i64() < Some(last))
    {
        rows.push(follower.json());
    }
}

#[test]
fn follower_sees_each_row_once_over_a_kill() {
    let scratch = Scratch::with_conversation();
    let mut daemon = Daemon::start(&scratch);
    send(&scratch, 2);
    let follow = &["events", "--follow", "--json", "-n", "10000"];
    let mut follower = Running::lines(command(&scratch, None, follow));
    let mut rows = Vec::new();
    let newest = || *numbers(&scratch).last().expect("some");
    read_to(&mut follower, &mut rows, newest());
    for _ in 0..3 {
        send(&scratch, 3);
        foreign(&scratch);
        read_to(&mut follower, &mut rows, newest());
        daemon.kill();
        // By the file, while there is no daemon.
        foreign(&scratch);
        daemon = Daemon::start(&scratch);
    }
    send(&scratch, 1);
    read_to(&mut follower, &mut rows, newest());
    assert_eq!(ids(&rows), numbers(&scratch));
    let foreign = rows.iter().filter(|row| row["action"] == "foreign_action");
    assert_eq!(foreign.count(), 6);
    assert!(rows.iter().any(|row| row["label"] == "work"));
    let all = format!("{rows:?}");
    assert!(
        !all.contains("the-secret-body") && !all.contains("mcpb_"),
        "{all}"
    );
    follower.signal(Signal::TERM);
    assert_eq!(follower.end(), Some(0));
}

#[test]
fn follower_with_the_file_open_sees_the_same() {
    let scratch = Scratch::with_conversation();
    send(&scratch, 2);
    let mut follower = Running::lines(scratch.bridge(&["events", "-f", "--json", "-n", "1"]));
    let first = follower.json();
    assert_eq!(first["action"], "send_message");
    send(&scratch, 9);
    // More than a page in one commit.
    scratch.sql(
        "INSERT INTO audit_log (action, timestamp) WITH RECURSIVE n(n) AS
             (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 240)
         SELECT 'many', '2026-01-31T12:00:00' FROM n",
    );
    foreign(&scratch);
    let mut rows = vec![first];
    let all = numbers(&scratch);
    read_to(&mut follower, &mut rows, *all.last().expect("some"));
    assert_eq!(ids(&rows), all[all.len() - rows.len()..]);
    assert_eq!(rows.len(), 251);
}

#[test]
fn both_ways_filter_events_alike() {
    let scratch = Scratch::with_conversation();
    scratch.conversation(&["--label", "other"]);
    send(&scratch, 2);
    scratch.run_as("other.b", &["send", "hello"]).ok();
    scratch
        .run(&[
            "task",
            "add",
            "--role",
            "worker",
            "--title",
            "the-secret-title",
        ])
        .ok();
    scratch.run_as("work.b", &["task", "claim"]).ok();
    scratch.run(&["hold", "on", "--for", "1h"]).ok();
    let _daemon = Daemon::start(&scratch);
    let shown = |args: &[&str]| {
        let args = [&["events", "--json"], args].concat();
        let by_file = scratch.run(&args).ok().json();
        assert_eq!(
            through(&scratch, None, &args).ok().json(),
            by_file,
            "{args:?}"
        );
        let rows = by_file.as_array().expect("a list").clone();
        let word = |row: &Value| row["action"].as_str().expect("a word").to_owned();
        rows.iter().map(word).collect::<Vec<_>>()
    };
    let sends = ["send_message", "send_message"];
    assert_eq!(shown(&["work/a", "--action", "send_message"]), sends);
    assert_eq!(shown(&["other/b"]), ["send_message"]);
    let of_task = shown(&["--task", "1"]);
    assert_eq!(of_task.first().map(String::as_str), Some("task_added"));
    assert!(of_task.len() == 2, "{of_task:?}");
    assert_eq!(shown(&["-n", "1"]).len(), 1);
    let all = shown(&[]);
    assert!(all.contains(&"hold_on".to_owned()), "{all:?}");
    assert_eq!(shown(&["--since", "1h"]), all);
    assert_eq!(shown(&["--since", "2100-01-01T00:00:00Z"]), [""; 0]);
    let texts = scratch.run(&["events"]).ok().out;
    assert!(!texts.contains("the-secret"), "{texts}");
}

#[test]
fn a_follower_s_lines_move_no_cursor() {
    let scratch = Scratch::with_conversation();
    let mut follower = Running::lines(scratch.bridge(&["events", "-f", "-n", "0"]));
    let insert = "INSERT INTO audit_log (action, details, timestamp)
        VALUES ('wipe' || char(27) || '[2J', '{\"a\": \"x\\u001b[2J\\ny\"}', '2026-01-31T12:00:00')";
    // It does not show what was there; its first row shows that it follows.
    let mut line = None;
    wait_until("it follows", || {
        scratch.sql(insert);
        line = follower.try_line();
        line.is_some()
    });
    let line = line.expect("it follows");
    assert!(line.starts_with("2026-01-31T12:00:00Z - wipe"), "{line:?}");
    assert!(!line.contains('\u{1b}') && line.contains('y'), "{line:?}");
}
