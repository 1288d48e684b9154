//! Time in a store runs forwards: an older copy that is put in the place of the
//! database is refused, also where its log hides it.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot make its files has nothing to say; what was not tried, it prints"
)]

use crate::common::daemon as rig;
use std::process::{Command, Output};

use crate::common::daemon::{Pair, QUICK, Rig, full, session, wait_for};
use crate::common::scratch::{Running, Scratch};

/// Makes an older copy of the store, and sends on.
fn copied_and_sent_on() -> Scratch {
    let scratch = Scratch::with_conversation();
    scratch.run_as("work.a", &["send", "before"]).ok();
    std::fs::copy(scratch.store(), scratch.path("older.db")).expect("copied");
    for text in ["after", "the last"] {
        scratch.run_as("work.a", &["send", text]).ok();
    }
    scratch
}

/// Writes the older copy over the store as `.restore` does.
fn write_older_over(scratch: &Scratch) {
    let older = rusqlite::Connection::open(scratch.path("older.db")).expect("opened");
    let mut store = rusqlite::Connection::open(scratch.store()).expect("opened");
    let copy = rusqlite::backup::Backup::new(&older, &mut store).expect("begun");
    copy.run_to_completion(1_000, std::time::Duration::from_millis(5), None)
        .expect("copied");
}

#[test]
fn older_copy_over_the_store_is_refused_until_accepted() {
    let scratch = copied_and_sent_on();
    std::fs::copy(scratch.path("older.db"), scratch.store()).expect("copied");
    for (arguments, session) in [
        (&["send", "hello"][..], "work.a"),
        (&["check"], "work.b"),
        (&["status"], "work.a"),
        (&["conversation", "list"], "work.a"),
    ] {
        let ran = scratch.run_as(session, arguments);
        assert_eq!(ran.code, Some(69), "{arguments:?}: {ran:#?}");
        assert!(
            ran.err.contains("an older copy replaced it: it has "),
            "{arguments:?}: {ran:#?}"
        );
    }
    std::fs::remove_file(scratch.path("bridge.db-bell")).expect("removed");
    scratch.run_as("work.a", &["send", "hello"]).ok();
}

#[test]
fn watch_hears_of_an_older_copy_over_its_store() {
    let scratch = copied_and_sent_on();
    let mut watch = Running::lines(scratch.bridge_as("work.b", &["watch", "--json"]));
    for text in ["before", "after", "the last"] {
        assert_eq!(watch.json()["message"], text);
    }
    write_older_over(&scratch);
    assert_eq!(watch.end(), Some(69));
    let said = watch.complaint();
    assert!(said.contains("older copy"), "{said}");
}

#[test]
fn a_restored_backup_is_no_older_copy() {
    let scratch = Scratch::with_conversation();
    scratch.run_as("work.a", &["send", "before"]).ok();
    scratch.run(&["store", "backup", "copy.db"]).ok();
    scratch.run_as("work.a", &["send", "after"]).ok();
    scratch.run(&["store", "restore", "copy.db", "--yes"]).ok();
    let sent = scratch
        .run_as("work.a", &["send", "more", "--json"])
        .ok()
        .json();
    assert_eq!(sent["id"], 3, "numbers are not given twice: {sent}");
}

#[test]
fn an_older_copy_without_fewer_messages_is_refused() {
    let scratch = Scratch::with_conversation();
    scratch.run_as("work.a", &["send", "before"]).ok();
    std::fs::copy(scratch.store(), scratch.path("older.db")).expect("copied");
    let task = ["task", "add", "--role", "worker", "--title", "T"];
    scratch.run(&task).ok();
    std::fs::copy(scratch.path("older.db"), scratch.store()).expect("copied");
    let ran = scratch.run(&task);
    assert_eq!(ran.code, Some(69), "{ran:#?}");
    assert!(ran.err.contains("an older copy"), "{ran:#?}");
}

/// Writes all of the log into the database, and begins it anew.
fn fold(rig: &Rig) {
    let left: i64 = rig
        .foreign()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .expect("asked");
    assert_eq!(left, 0, "all is written");
}

/// What a daemon has noted of the file alone, if it has.
fn noted(rig: &Rig) -> Option<i64> {
    let bell = std::fs::read(rig.path("bridge.db-bell")).ok()?;
    let number = |at| Some(i64::from_le_bytes(*bell.get(at..)?.first_chunk()?));
    number(32).filter(|_| number(40) != Some(0))
}

/// A store with a daemon that has seen it, an older copy of its file, and a log that
/// has the newest message.
fn seen_and_copied(text: &str) -> (Rig, Pair, rig::Daemon) {
    let rig = Rig::new();
    let pair = rig.pair("one");
    rig.send(&pair.a, "before");
    fold(&rig);
    std::fs::copy(rig.path("bridge.db"), rig.path("older.db")).expect("copied");
    let messages = 10;
    for _ in 0..messages {
        rig.send(&pair.a, "after");
    }
    fold(&rig);
    let daemon = rig.worker(text);
    wait_for("a note", || noted(&rig).filter(|&count| count > messages));
    rig.send(&pair.a, "the last");
    (rig, pair, daemon)
}

fn bridge(rig: &Rig, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .args(arguments)
        .env("MCP_BRIDGE_STORE", rig.path("bridge.db"))
        .env("MCP_BRIDGE_CREDENTIALS", rig.path("one.toml"))
        .env("HOME", rig.path(""))
        .current_dir(rig.path(""))
        .output()
        .expect("it starts")
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}

#[test]
fn a_log_beside_an_older_copy_is_refused() {
    let (rig, _pair, daemon) = seen_and_copied("");
    let backup = bridge(&rig, &["store", "backup", "copy.db"]);
    assert_eq!(backup.status.code(), Some(0), "{}", said(&backup));
    daemon.kill();
    let (log, kept) = (rig.path("bridge.db-wal"), rig.path("kept-wal"));
    std::fs::copy(&log, &kept).expect("copied");
    rig.block_on(rig.store.close());
    std::fs::copy(rig.path("older.db"), rig.path("bridge.db")).expect("copied");
    std::fs::copy(&kept, &log).expect("copied");
    let _ = std::fs::remove_file(rig.path("bridge.db-shm"));
    for arguments in [
        &["send", "hello"][..],
        &["check"],
        &["status"],
        &["store", "check"],
        &["store", "backup", "more.db"],
    ] {
        let ran = bridge(&rig, arguments);
        let said = said(&ran);
        assert_eq!(ran.status.code(), Some(69), "{arguments:?}: {said}");
        assert!(
            said.contains("an older copy replaced it, but ") && said.contains("-wal"),
            "{arguments:?}: {said}"
        );
    }
    let kept = std::fs::read(&kept).expect("read");
    assert_eq!(
        std::fs::read(&log).expect("read"),
        kept,
        "nothing was done to it"
    );
    let mut daemon = rig.daemon(&rig.config("late", ""));
    daemon.says("an older copy replaced it, but ");
    assert_eq!(daemon.stop(), Some(0));
    let restored = bridge(&rig, &["store", "restore", "copy.db", "--yes"]);
    assert_eq!(restored.status.code(), Some(0), "{}", said(&restored));
    let sent = bridge(&rig, &["send", "hello"]);
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
}

#[test]
fn daemon_finds_an_older_copy_under_its_log() {
    let (rig, _pair, mut daemon) = seen_and_copied(&session("one", "\"none\""));
    std::fs::copy(rig.path("older.db"), rig.path("bridge.db")).expect("copied");
    daemon.says("an older copy replaced it, but ");
    // Also when the daemon's connections have put both together.
    rig.block_on(rig.store.close());
    assert_eq!(daemon.stop(), Some(0));
    let status = bridge(&rig, &["status"]);
    assert_eq!(status.status.code(), Some(69), "{}", said(&status));
}

#[test]
fn a_killed_daemon_leaves_no_older_copy() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    rig.without_limits();
    let rounds = if full() { 60 } else { 3 };
    for round in 0..rounds {
        let daemon = rig.worker(&format!("{QUICK}{}", session("one", "\"none\"")));
        let before = noted(&rig);
        wait_for("a note", || {
            rig.send(&pair.a, "more");
            // Between the steps of a note and of a checkpoint, too.
            let passive = "PRAGMA wal_checkpoint(PASSIVE)";
            let foreign = rig.foreign();
            foreign.query_row(passive, [], |_| Ok(())).expect("asked");
            std::thread::park_timeout(std::time::Duration::from_millis(fastrand::u64(..1_500)));
            let moved = noted(&rig) != before || round > 0 && fastrand::u8(..3) == 0;
            moved.then_some(())
        });
        daemon.kill();
        let status = bridge(&rig, &["status"]);
        assert_eq!(
            status.status.code(),
            Some(0),
            "round {round}: {}",
            said(&status)
        );
    }
}
