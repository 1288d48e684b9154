//! The copy that is kept before an opening changes a database that was there: the
//! Python bridge's, which becomes a store. Also when two processes open it at once,
//! while others write, and without room for it. What an upgrade of a store of ours
//! does with it, is tested beside the schema.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mcp_bridge::store::ErrorClass;
use mcp_bridge::store::sqlite::{Create, SCHEMA_VERSION};
use rusqlite::types::Value;
use rustix::fs::{FlockOperation, flock};

use crate::common::again::{child, report, reported, told};
use crate::common::store::{BRIDGE, Pair, Scratch, open, skipped, try_open, until};

/// A database of the Python bridge with one conversation and two messages.
fn foreign(scratch: &Scratch) -> Pair {
    let raw = scratch.raw();
    raw.execute_batch(BRIDGE).expect("made");
    raw.pragma_update(None, "journal_mode", "wal").expect("set");
    let pair = Pair::random();
    let (id, a, b) = (&pair.id, pair.a.token.expose(), pair.b.token.expose());
    raw.execute_batch(&format!(
        "INSERT INTO conversations VALUES ('{id}', 'orchestrator', 'worker', '{a}', '{b}',
             '2025-11-13T02:13:20.000000', '2025-11-13T05:13:20.000000');
         INSERT INTO messages (conversation_id, from_session, to_session, message, metadata,
                               timestamp, read)
         VALUES ('{id}', 'a', 'b', 'read', '{{}}', '2025-11-13T02:13:21.000000', 1),
                ('{id}', 'a', 'b', 'unread', NULL, '2025-11-13T02:13:22.000000', 0);
         INSERT INTO session_status VALUES ('{id}', 'b', 'working', '2025-11-13T02:13:30.000000');
         INSERT INTO audit_log (conversation_id, session_id, action, details, timestamp)
         VALUES ('{id}', 'a', 'send_message', '{{}}', '2025-11-13T02:13:21.000000');"
    ))
    .expect("filled");
    pair
}

/// Every row of every table that is named, by its columns.
fn rows(scratch: &Scratch, columns: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let raw = scratch.raw();
    let mut all = Vec::new();
    for (table, columns) in columns {
        let sql = format!("SELECT {} FROM {table}", columns.join(", "));
        let mut statement = raw.prepare(&sql).expect("its columns are there");
        let mut rows = statement.query([]).expect("it runs");
        while let Some(row) = rows.next().expect("a row") {
            let values: Vec<Value> = (0..columns.len())
                .map(|n| row.get(n).expect("a value"))
                .collect();
            all.push(format!("{table} {values:?}"));
        }
    }
    all.sort();
    all
}

/// The columns of every table.
fn columns(scratch: &Scratch) -> BTreeMap<String, Vec<String>> {
    let raw = scratch.raw();
    let mut statement = raw
        .prepare(
            "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'",
        )
        .expect("good SQL");
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut rows = statement.query([]).expect("it runs");
    while let Some(row) = rows.next().expect("a row") {
        let (table, column) = (row.get(0).expect("text"), row.get(1).expect("text"));
        columns.entry(table).or_default().push(column);
    }
    columns
}

/// The schema of a store of ours.
fn schema(path: &Path) -> Option<i64> {
    let raw = rusqlite::Connection::open(path).expect("opened");
    let question = "SELECT version FROM bridge_schema";
    raw.query_row(question, [], |row| row.get(0)).ok()
}

/// What the database is kept as, before it gets another schema.
fn kept(scratch: &Scratch) -> PathBuf {
    scratch.beside(&format!(".before-schema-{SCHEMA_VERSION}"))
}

fn mode(path: &Path) -> u32 {
    let meta = std::fs::metadata(path).expect("it is there");
    meta.permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_is_kept_as_it_was() {
    for before in [0o600, 0o660] {
        let scratch = Scratch::new();
        foreign(&scratch);
        std::fs::set_permissions(scratch.path(), Permissions::from_mode(before)).expect("set");
        // What one that was killed left stands in no one's way.
        let partial = scratch.beside(&format!(".before-schema-{SCHEMA_VERSION}.partial"));
        std::fs::write(&partial, "half of it").expect("written");
        let columns = columns(&scratch);
        let rows_before = rows(&scratch, &columns);
        scratch.open().await.close().await;
        let copy = kept(&scratch);
        assert_eq!(mode(&copy), before);
        assert!(!partial.exists(), "nothing half done stays");
        assert_eq!(rows(&scratch, &columns), rows_before);
        // A database in one file: it opens anywhere, as it was.
        let other = Scratch::new();
        std::fs::copy(&copy, other.path()).expect("copied");
        assert_eq!(schema(&other.path()), None);
        assert_eq!(rows(&other, &columns), rows_before);
        // Not again: a copy that is there is the copy.
        std::fs::rename(other.path(), scratch.path()).expect("put back");
        std::fs::write(&copy, "as it is").expect("written");
        scratch.open().await.close().await;
        assert_eq!(std::fs::read_to_string(&copy).expect("there"), "as it is");
    }
}

/// Adopt, go back, work on, adopt again: the work of that time is kept, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_of_another_state_is_not_the_copy() {
    let scratch = Scratch::new();
    foreign(&scratch);
    scratch.open().await.close().await;
    let first = kept(&scratch);
    let before = std::fs::read(&first).expect("a copy");
    let further = scratch.beside(&format!(".before-schema-{SCHEMA_VERSION}.2"));
    // Back to the Python bridge alone, a while later.
    let go_back = || {
        for suffix in ["-wal", "-shm"] {
            // Gone with the last who had it open.
            let _ = std::fs::remove_file(scratch.beside(suffix));
        }
        std::fs::copy(&first, scratch.path()).expect("copied");
        let raw = scratch.raw();
        raw.pragma_update(None, "journal_mode", "wal").expect("set");
        let file = std::fs::File::options().append(true).open(&first);
        let hour = std::time::Duration::from_secs(3600);
        let then = before_now(hour);
        file.and_then(|file| file.set_modified(then)).expect("set");
        raw
    };
    drop(go_back());
    scratch.open().await.close().await;
    assert!(!further.exists(), "nothing was done meanwhile");

    go_back()
        .execute(
            "UPDATE messages SET message = 'of that week' WHERE id = 2",
            [],
        )
        .expect("worked");
    scratch.open().await.close().await;
    assert_eq!(schema(&scratch.path()), Some(SCHEMA_VERSION));
    let copy = rusqlite::Connection::open(&further).expect("a copy");
    let said: String = copy
        .query_row("SELECT message FROM messages WHERE id = 2", [], |row| {
            row.get(0)
        })
        .expect("whole");
    assert_eq!(said, "of that week");
    assert_eq!(std::fs::read(&first).expect("still there"), before);
}

/// When a file was written that is so old.
fn before_now(age: std::time::Duration) -> std::time::SystemTime {
    let now = mcp_bridge::clock::now();
    std::time::SystemTime::from(now.checked_sub(age).expect("a time"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_of_this_schema_is_not_copied() {
    let scratch = Scratch::new();
    scratch.make().await.close().await;
    scratch.open().await.close().await;
    assert!(!kept(&scratch).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_continue_while_the_copy_is_made() {
    let scratch = Scratch::new();
    let pair = foreign(&scratch);
    scratch
        .raw()
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8192)
             INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp, read)
             SELECT ?1, 'a', 'b', hex(zeroblob(2000)), '2025-11-13T02:13:21.000000', 1 FROM n",
            [pair.id.as_str()],
        )
        .expect("filled");
    // The Python bridge, which knows nothing of what comes.
    let stop = Arc::new(AtomicBool::new(false));
    let (asked, raw, id) = (Arc::clone(&stop), scratch.raw(), pair.id.clone());
    let writer = std::thread::spawn(move || {
        let mut written = 0_i64;
        while !asked.load(Ordering::Relaxed) {
            raw.execute(
                "INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp)
                 VALUES (?1, 'a', 'b', 'on it goes', '2025-11-13T02:13:22.000000')",
                [id.as_str()],
            )
            .expect("written");
            written += 1;
        }
        written
    });
    let store = scratch.open().await;
    stop.store(true, Ordering::Relaxed);
    let written = writer.join().expect("it wrote");
    store.close().await;
    let count = |path: &Path| -> i64 {
        let raw = rusqlite::Connection::open(path).expect("opened");
        let sql = "SELECT count(*) FROM messages WHERE message = 'on it goes'";
        raw.query_row(sql, [], |row| row.get(0)).expect("counted")
    };
    assert_eq!(count(&scratch.path()), written, "nothing is lost");
    assert!(count(&kept(&scratch)) <= written);
    assert_eq!(schema(&scratch.path()), Some(SCHEMA_VERSION));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_of_the_schema_queues_as_any_writer() {
    let scratch = Scratch::new();
    foreign(&scratch);
    let writer = scratch.raw();
    writer.execute_batch("BEGIN IMMEDIATE").expect("begun");
    let path = scratch.path();
    let opening = tokio::spawn(async move { open(&path, Create::No).await });
    // Its copy is made, and it is the first in the queue.
    until("its turn", async || {
        let queue = std::fs::File::open(scratch.beside("-bell")).ok()?;
        flock(&queue, FlockOperation::NonBlockingLockExclusive).err()
    })
    .await;
    assert!(kept(&scratch).exists());
    writer.execute_batch("COMMIT").expect("ended");
    opening.await.expect("it ends").close().await;
    assert_eq!(schema(&scratch.path()), Some(SCHEMA_VERSION));
}

/// A child, alone with its mounts: a database on a disk that is too small for
/// two of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_on_a_small_disk() {
    let Some(directory) = told() else { return };
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs", &directory])
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return;
    }
    let made = Scratch::new();
    let pair = foreign(&made);
    // So much that the room for a copy is more than what SQLite needs beside it.
    made.raw()
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30)
             INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp)
             SELECT ?1, 'a', 'b', hex(zeroblob(1000)), '2025-11-13T02:13:21.000000' FROM n",
            [pair.id.as_str()],
        )
        .expect("filled");
    let path = Path::new(&directory).join("bridge.db");
    std::fs::copy(made.path(), &path).expect("copied");
    for suffix in ["-wal", "-shm"] {
        assert!(!made.beside(suffix).exists(), "all of it is in one file");
    }
    let filler = Path::new(&directory).join("filler");
    let bytes = std::fs::metadata(&path).expect("there").len();
    let room = (1_048_576 - 2 * bytes + 16_384) & !4_095;
    std::fs::write(&filler, vec![0; usize::try_from(room).expect("small")]).expect("filled");
    let error = try_open(&path, Create::No).await.expect_err("adopted");
    assert_eq!(error.class(), ErrorClass::Unavailable);
    report(
        &error
            .to_string()
            .replace('\n', " |")
            .replace(&directory, "<dir>"),
    );
    let left = std::fs::read_dir(&directory).expect("listed");
    let mut left: Vec<String> = left
        .map(|entry| {
            entry
                .expect("one")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
        .collect();
    left.sort();
    report(&left.join(" "));
    std::fs::remove_file(filler).expect("freed");
    open(&path, Create::No).await.close().await;
    report("adopted");
}

#[test]
fn store_stays_unchanged_without_room_for_the_copy() {
    if !rustix::process::geteuid().is_root() {
        return skipped("a full disk: only root can mount a small one");
    }
    let scratch = Scratch::new();
    let directory = scratch.directory().display().to_string();
    let out = child(
        &["unshare", "-m"],
        module_path!(),
        "child_on_a_small_disk",
        &directory,
    )
    .output();
    let Ok(out) = out else {
        return skipped("a full disk: unshare cannot be run");
    };
    let text = String::from_utf8_lossy(&out.stdout);
    let said: Vec<&str> = text.lines().filter_map(reported).collect();
    if said.is_empty() && out.status.success() {
        return skipped("a full disk: it cannot be mounted");
    }
    assert_eq!(
        said.len(),
        3,
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let error = said[0];
    assert!(
        error.starts_with("store <dir>/bridge.db: an upgrade to schema")
            && error.contains("<dir>/bridge.db.before-schema-")
            && error.contains(" KiB free; the store was not changed |  free some space"),
        "{error}"
    );
    assert_eq!(said[1..], ["bridge.db filler", "adopted"]);
}

/// A child: opens the database it was given when its parent says so.
#[tokio::test]
async fn child_that_opens() {
    let Some(path) = told() else { return };
    report("ready");
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .expect("the parent speaks");
    let store = open(path.as_ref(), Create::No).await;
    let conversations = store.conversations().await.expect("listed");
    report(&format!("opened {}", conversations.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_adopt_at_once_both_succeed() {
    for round in 0..5 {
        let scratch = Scratch::new();
        foreign(&scratch);
        let path = scratch.path().display().to_string();
        let mut children: Vec<_> = (0..2)
            .map(|_| {
                let mut process = child(&[], module_path!(), "child_that_opens", &path)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("started");
                let out = BufReader::new(process.stdout.take().expect("piped")).lines();
                (process, out)
            })
            .collect();
        let mut next = |of: usize| {
            let lines = children[of].1.by_ref().map_while(Result::ok);
            let mut said = lines.filter_map(|line| reported(&line).map(str::to_owned));
            said.next()
        };
        assert_eq!(
            [next(0), next(1)],
            [(); 2].map(|()| Some("ready".to_owned()))
        );
        for (process, _) in &mut children {
            let mut stdin = process.stdin.take().expect("piped");
            stdin.write_all(b"go\n").expect("it listens");
        }
        for (mut process, out) in children {
            let said: Vec<String> = out
                .map_while(Result::ok)
                .filter_map(|line| reported(&line).map(str::to_owned))
                .collect();
            assert_eq!(said, ["opened 1"], "round {round}");
            assert!(process.wait().expect("it ended").success());
        }
        assert_eq!(schema(&scratch.path()), Some(SCHEMA_VERSION));
        assert_eq!(schema(&kept(&scratch)), None, "the copy is as it was");
        assert!(
            !scratch
                .beside(&format!(".before-schema-{SCHEMA_VERSION}.2"))
                .exists()
        );
    }
}
