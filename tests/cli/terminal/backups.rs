//! Backups that are taken while others write, and what is restored from them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use insta::assert_snapshot;

use crate::common::scratch::{Running, Scratch, can_run, is_root, not_tried};

fn mode(path: &Path) -> u32 {
    let meta = std::fs::metadata(path).expect("it is there");
    meta.permissions().mode() & 0o7777
}

/// Files of the directory whose name has this in it.
fn named(scratch: &Scratch, part: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(scratch.dir())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().contains(part))
        })
        .collect();
    found.sort();
    found
}

/// The one number that a query gives on a database file.
fn number(path: &Path, query: &str) -> i64 {
    let database = rusqlite::Connection::open(path).expect("a database");
    let answer = database.query_row(query, [], |row| row.get(0));
    answer.expect("valid SQL")
}

/// Messages that together take this many mebibytes.
fn fill(scratch: &Scratch, mebibytes: u32) {
    scratch.sql(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {mebibytes} * 256)
         INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp, read)
         SELECT (SELECT id FROM conversations), 'a', 'b', hex(zeroblob(2000)),
                '2025-11-13T02:13:21.000000', 1 FROM n"
    ));
}

/// Writes as the Python bridge does, a commit for each row, until `stop` is set;
/// returns how many there are.
fn writer(scratch: &Scratch, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<i64> {
    let (path, stop) = (scratch.store(), Arc::clone(stop));
    std::thread::spawn(move || {
        let bridge = rusqlite::Connection::open(path).expect("a database");
        bridge
            .busy_timeout(std::time::Duration::from_secs(30))
            .expect("set");
        while !stop.load(Ordering::Relaxed) {
            let sent = bridge.execute(
                "INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp)
                 SELECT id, 'a', 'b', 'steady', '2025-11-13T02:13:22.000000' FROM conversations",
                [],
            );
            sent.expect("a writer is never held up");
        }
        let all = bridge.query_row("SELECT count(*) FROM messages", [], |row| row.get(0));
        all.expect("counted")
    })
}

#[test]
fn backup_under_a_steady_writer_is_whole() {
    let scratch = Scratch::with_conversation();
    fill(&scratch, 24);
    let stop = Arc::new(AtomicBool::new(false));
    let writing = writer(&scratch, &stop);
    let made = scratch.run(&["store", "backup", "--json"]).ok().json();
    stop.store(true, Ordering::Relaxed);
    let written = writing.join().expect("it wrote");
    let file = PathBuf::from(made["file"].as_str().expect("a path"));
    assert_eq!(file.parent(), scratch.store().parent(), "beside the store");
    let messages = made["messages"].as_i64().expect("a number");
    assert!(
        messages >= 24 * 256 && messages <= written,
        "{messages} of {written}"
    );
    // A snapshot of one moment: all up to its newest message, and no later one.
    assert_eq!(number(&file, "SELECT max(id) FROM messages"), messages);
    assert_eq!(number(&file, "SELECT count(*) FROM messages"), messages);
    let name = file.to_string_lossy();
    let check = scratch.run(&["store", "check", "--store", &name]).ok();
    assert!(check.out.ends_with("ok: no problem found\n"), "{check:?}");
    scratch.run(&["store", "check"]).ok();
    assert_eq!(named(&scratch, ".partial"), [] as [PathBuf; 0]);
}

#[test]
fn backup_is_readable_only_for_the_stores_readers() {
    for (store, backup) in [(0o600, 0o600), (0o660, 0o660), (0o644, 0o640)] {
        let scratch = Scratch::with_conversation();
        let set = std::fs::Permissions::from_mode(store);
        std::fs::set_permissions(scratch.store(), set).expect("set");
        scratch.run(&["store", "backup", "copy.db"]).ok();
        assert_eq!(mode(&scratch.path("copy.db")), backup, "of {store:o}");
    }
}

#[test]
fn nothing_is_overwritten_unasked_and_the_store_never() {
    let scratch = Scratch::with_conversation();
    let shown = scratch.run(&["store", "backup", "copy.db"]).ok().shows();
    assert!(
        shown.starts_with("backed up <dir>/bridge.db\n  to <dir>/copy.db\n"),
        "{shown}"
    );
    assert!(
        shown.contains("1 conversation, 0 messages · no problem found"),
        "{shown}"
    );
    assert_snapshot!(scratch.run(&["store", "backup", "copy.db"]).says(), @r"
    65: error: <dir>/copy.db exists already; nothing was written
      name another file, or replace it with --force
    ");
    scratch.run_as("work.a", &["send", "later"]).ok();
    scratch.run(&["store", "backup", "copy.db", "--force"]).ok();
    assert_eq!(
        number(&scratch.path("copy.db"), "SELECT count(*) FROM messages"),
        1
    );
    for file in ["bridge.db", "bridge.db-wal", "bridge.db-bell"] {
        let refused = scratch.run(&["store", "backup", file, "--force"]);
        assert_eq!(refused.code, Some(69), "{refused:?}");
        assert!(
            refused.err.contains("the store itself, or belongs to it"),
            "{refused:?}"
        );
    }
    assert_snapshot!(scratch.run(&["store", "backup", "no/such/copy.db"]).says(), @r"
    69: error: <dir>/no/such/copy.db cannot be written: No such file or directory (os error 2); nothing is left there
      name a file in an existing directory that this user may write to
    ");
    assert_eq!(scratch.number("SELECT count(*) FROM messages"), 1);
}

#[test]
fn restore_brings_the_backup_and_keeps_the_old() {
    let scratch = Scratch::with_conversation();
    let send = |text: &str| scratch.run_as("work.a", &["send", text]).ok();
    send("one");
    scratch
        .run(&["task", "add", "--role", "worker", "--title", "x"])
        .ok();
    scratch.run_as("work.b", &["task", "claim"]).ok();
    scratch.run(&["store", "backup", "copy.db"]).ok();
    send("two");
    send("three");
    // It goes from hand to hand.
    scratch.sql("UPDATE bridge_task SET fence = fence + 3");
    let fence = scratch.number("SELECT fence FROM bridge_task");
    assert!(fence >= 4, "{fence}");
    assert_snapshot!(scratch.run(&["store", "restore", "copy.db"]).says(), @r"
    2: error: restoring replaces the store, and there is no terminal to ask you
      use --yes to confirm
    ");
    let restored = scratch.run(&["store", "restore", "copy.db", "--yes", "--json"]);
    let restored = restored.ok().json();
    let kept = PathBuf::from(restored["replaced"].as_str().expect("a path"));
    assert_eq!(restored["damaged"], serde_json::Value::Null);
    let highest = number(&kept, "SELECT max(id) FROM messages");
    assert_eq!(
        number(
            &kept,
            "SELECT count(*) FROM messages WHERE message IN ('two', 'three')"
        ),
        2
    );
    assert_eq!(named(&scratch, ".restoring"), [] as [PathBuf; 0]);
    assert_eq!(mode(&scratch.store()), 0o600);
    let texts = "SELECT count(*) FROM messages WHERE message IN ('one', 'two', 'three')";
    assert_eq!(scratch.number(texts), 1);
    // What an agent may still have in its hand is not given a second time.
    let sent = scratch
        .run_as("work.a", &["send", "four", "--json"])
        .ok()
        .json();
    assert!(
        sent["id"].as_i64() > Some(highest),
        "{sent} after {highest}"
    );
    assert_eq!(scratch.number("SELECT fence FROM bridge_task"), fence);
    let check = scratch.run(&["store", "check"]).ok();
    assert!(check.out.contains("no problem found"), "{check:?}");
    // And back: the kept one is a backup like any other.
    let kept = kept.to_string_lossy();
    scratch.run(&["store", "restore", &kept, "--yes"]).ok();
    assert_eq!(scratch.number(texts), 3);
}

#[test]
fn a_store_in_use_is_not_replaced() {
    let scratch = Scratch::with_conversation();
    scratch.run(&["store", "backup", "copy.db"]).ok();
    let refused = |by: &str| {
        let ran = scratch.run(&["store", "restore", "copy.db", "--yes"]);
        assert_eq!(ran.code, Some(75), "{ran:?}");
        assert!(
            ran.err.contains("it is in use by ") && ran.err.contains(by),
            "{ran:?}"
        );
        assert!(ran.err.contains("nothing was changed"), "{ran:?}");
        assert_eq!(
            named(&scratch, ".re"),
            [] as [PathBuf; 0],
            "nothing is left"
        );
    };
    // One that has read, and is idle.
    let store = rusqlite::Connection::open(scratch.store()).expect("opened");
    let own = format!("(pid {})", std::process::id());
    let count = "SELECT count(*) FROM messages";
    let _: i64 = store.query_row(count, [], |row| row.get(0)).expect("read");
    refused(&own);
    drop(store);
    // One that has opened it and done nothing yet: no lock tells of it.
    if cfg!(target_os = "linux") {
        let store = rusqlite::Connection::open(scratch.store()).expect("opened");
        refused(&own);
        drop(store);
    }
    let mut watch = Running::lines(scratch.bridge_as("work.b", &["watch"]));
    scratch.run_as("work.a", &["send", "it is there"]).ok();
    watch.line();
    refused("mcp-bridge");
    drop(watch);
    scratch.run(&["store", "restore", "copy.db", "--yes"]).ok();
}

#[test]
fn unsound_backup_replaces_nothing() {
    let scratch = Scratch::with_conversation();
    fill(&scratch, 1);
    scratch.run(&["store", "backup", "good.db"]).ok();
    let before = scratch.number("SELECT count(*) FROM messages");
    let mut bytes = std::fs::read(scratch.path("good.db")).expect("there");
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 8_192].fill(0xa5);
    std::fs::write(scratch.path("damaged.db"), &bytes).expect("written");
    std::fs::write(scratch.path("cut.db"), &bytes[..middle]).expect("written");
    std::fs::write(scratch.path("text.db"), "no database ".repeat(100)).expect("written");
    let foreign = rusqlite::Connection::open(scratch.path("foreign.db")).expect("made");
    foreign.execute_batch("CREATE TABLE x (y)").expect("made");
    drop(foreign);
    let mut newer = rusqlite::Connection::open(scratch.path("good.db")).expect("opened");
    let change = newer.transaction().expect("begun");
    change
        .execute(
            "UPDATE bridge_schema SET version = 99, min_compatible = 99",
            [],
        )
        .expect("set");
    change.commit().expect("set");
    drop(newer);
    for (file, why) in [
        ("damaged.db", "it is damaged"),
        ("cut.db", ""),
        ("text.db", "it is not an SQLite database"),
        ("foreign.db", "it is the database of another program"),
        ("good.db", "it has schema version 99"),
        ("none.db", "there is no such file"),
        ("bridge.db", "this is the store itself"),
    ] {
        let ran = scratch.run(&["store", "restore", file, "--yes"]);
        assert_eq!(ran.code, Some(78), "{file}: {ran:?}");
        let named = format!("backup {}: ", scratch.path(file).display());
        assert!(ran.err.contains(&named) && ran.err.contains(why), "{ran:?}");
    }
    assert_eq!(scratch.number("SELECT count(*) FROM messages"), before);
    assert_eq!(named(&scratch, ".re"), [] as [PathBuf; 0]);
}

#[test]
fn damaged_or_lost_store_is_restored() {
    let scratch = Scratch::with_conversation();
    fill(&scratch, 1);
    scratch.run_as("work.a", &["send", "one"]).ok();
    let first = scratch.number("SELECT max(id) FROM messages");
    scratch.run(&["store", "backup", "copy.db"]).ok();
    std::fs::write(scratch.store(), "not a database any more ".repeat(300)).expect("written");
    std::fs::write(scratch.path("bridge.db-wal"), "what is left of its log").expect("written");
    let ran = scratch
        .run(&["store", "restore", "copy.db", "--yes", "--json"])
        .ok()
        .json();
    assert_eq!(ran["damaged"], "this is not an SQLite database", "{ran}");
    let kept = ran["replaced"].as_str().expect("a path");
    let text = |path: &str| std::fs::read_to_string(path).expect("kept");
    assert!(text(kept).starts_with("not a database any more"));
    assert_eq!(text(&format!("{kept}-wal")), "what is left of its log");
    // How far the lost one had counted is not known.
    let sent = scratch
        .run_as("work.a", &["send", "two", "--json"])
        .ok()
        .json();
    assert!(sent["id"].as_i64() > Some(first + 999), "{sent}");
    std::fs::remove_file(scratch.store()).expect("removed");
    std::fs::remove_file(scratch.path("bridge.db-wal")).ok();
    scratch.run(&["store", "restore", "copy.db", "--yes"]).ok();
    scratch.run(&["store", "check"]).ok();
    assert_eq!(mode(&scratch.store()), 0o600);
}

#[test]
fn copy_with_its_log_is_restored_whole() {
    let scratch = Scratch::with_conversation();
    let hold = rusqlite::Connection::open(scratch.store()).expect("opened");
    let _: i64 = hold
        .query_row("SELECT count(*) FROM messages", [], |row| row.get(0))
        .expect("read");
    scratch.run_as("work.a", &["send", "in the log"]).ok();
    for suffix in ["", "-wal"] {
        let from = scratch.path(&format!("bridge.db{suffix}"));
        std::fs::copy(from, scratch.path(&format!("cp.db{suffix}"))).expect("copied");
    }
    drop(hold);
    scratch.sql("DELETE FROM messages");
    scratch.run(&["store", "restore", "cp.db", "--yes"]).ok();
    assert_eq!(scratch.number("SELECT count(*) FROM messages"), 1);
}

#[test]
fn a_full_disk_gets_no_half_backup() {
    if !is_root() || !can_run("unshare", &["--mount", "true"]) {
        return not_tried(
            "a full disk",
            "only root may mount a small file system for it",
        );
    }
    let scratch = Scratch::with_conversation();
    fill(&scratch, 3);
    let script = r#"
        mkdir small && mount -t tmpfs -o size=2m tmpfs small || exit 9
        "$0" store backup small/copy.db; echo "backup: $?"
        ls -A small
        cp bridge.db big.db
        export MCP_BRIDGE_STORE=$PWD/small/bridge.db
        "$0" store init >/dev/null
        "$0" store restore big.db --yes; echo "restore: $?"
        # A log that a program left when it failed is the store's own.
        ls small | grep -v -e -wal -e -shm
        "$0" store verify | tail -1
    "#;
    let mut command = scratch.program("unshare");
    let program = env!("CARGO_BIN_EXE_mcp-bridge");
    command.args(["--mount", "sh", "-c", script, program]);
    let ran = scratch.outcome(command);
    assert_snapshot!(ran.shows(), @r"
    backup: 69
    restore: 69
    bridge.db
    ok: no problem found
    ");
    let says = ran.says();
    assert!(
        says.contains("<dir>/small/copy.db: not enough space: 3."),
        "{says}"
    );
    assert!(
        says.contains("<dir>/small/bridge.db: not enough space: 3."),
        "{says}"
    );
}
