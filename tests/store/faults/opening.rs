//! What is no store, or not one for this program.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use mcp_bridge::store::sqlite::Create;
use mcp_bridge::store::{ErrorClass, StoreError};

use crate::common::again::{child, report, reported, told};
use crate::common::store as common;
use crate::common::store::{Scratch, at, pair, receive, say, try_open};

/// What opening says, with and without the right to make one; both must agree.
async fn refused(scratch: &Scratch) -> StoreError {
    let daemon = try_open(&scratch.path(), Create::No).await;
    let maker = try_open(&scratch.path(), Create::Yes).await;
    let (daemon, maker) = (daemon.expect_err("opened"), maker.expect_err("made"));
    assert_eq!(daemon.to_string(), maker.to_string());
    let name = scratch.path().display().to_string();
    assert!(daemon.to_string().contains(&name), "{daemon}");
    assert!(daemon.to_string().contains("\n  "), "no remedy: {daemon}");
    daemon
}

#[tokio::test]
async fn path_that_is_no_file() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path()).expect("made");
    let error = refused(&scratch).await;
    assert!(matches!(error, StoreError::NotAFile(_, ref kind) if kind == "directory"));
    std::fs::remove_dir(scratch.path()).expect("removed");
    let _listener = std::os::unix::net::UnixListener::bind(scratch.path()).expect("bound");
    let error = refused(&scratch).await;
    assert!(matches!(error, StoreError::NotAFile(_, ref kind) if kind == "socket"));
    assert_eq!(error.class(), ErrorClass::Unusable);
}

#[tokio::test]
async fn missing_or_empty_file_is_made_only_on_request() {
    let scratch = Scratch::new();
    let error = try_open(&scratch.path(), Create::No).await;
    assert!(matches!(error, Err(StoreError::Missing(_))));
    assert!(!scratch.path().exists());
    std::fs::write(scratch.path(), "").expect("written");
    let error = try_open(&scratch.path(), Create::No).await;
    assert!(matches!(error, Err(StoreError::Empty(_))));
    assert_eq!(std::fs::metadata(scratch.path()).expect("there").len(), 0);
    // An SQLite database without a table is as empty.
    let raw = scratch.raw();
    raw.pragma_update(None, "user_version", 3).expect("set");
    drop(raw);
    let error = try_open(&scratch.path(), Create::No).await;
    assert!(matches!(error, Err(StoreError::Empty(_))), "{error:?}");
    scratch.make().await.close().await;
    scratch.open().await.close().await;
}

#[tokio::test]
async fn store_that_was_emptied_is_not_made_anew() {
    let scratch = Scratch::new();
    let store = scratch.make().await;
    std::fs::write(scratch.path(), "").expect("emptied");
    let error = try_open(&scratch.path(), Create::No).await;
    assert!(matches!(error, Err(StoreError::Empty(_))), "{error:?}");
    let error = try_open(&scratch.path(), Create::Yes).await;
    assert!(matches!(error, Err(StoreError::Remains(..))), "{error:?}");
    assert_eq!(std::fs::metadata(scratch.path()).expect("there").len(), 0);
    drop(store);
}

#[tokio::test]
async fn a_database_of_another_program_is_left_alone() {
    for tables in [
        "CREATE TABLE invoices (id INTEGER PRIMARY KEY, total INTEGER)",
        // Common names, but not the bridge's tables.
        "CREATE TABLE conversations (id INTEGER PRIMARY KEY, title TEXT);
         CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT, timestamp TEXT, read INTEGER);",
        "CREATE TABLE session_status (conversation_id TEXT PRIMARY KEY)",
    ] {
        let scratch = Scratch::new();
        let raw = scratch.raw();
        raw.execute_batch(tables).expect("made");
        drop(raw);
        let error = refused(&scratch).await;
        assert!(matches!(error, StoreError::Foreign(_)), "{tables}: {error}");
        let left: i64 = scratch
            .raw()
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%bridge%'",
                [],
                |row| row.get(0),
            )
            .expect("counted");
        assert_eq!(left, 0, "something was put into it");
    }
}

#[tokio::test]
async fn a_newer_version_says_who_may_use_it() {
    let scratch = Scratch::new();
    let store = scratch.make().await;
    let pair = pair(&store, at(0)).await;
    store.close().await;
    let set = |version: i64, needed: i64| {
        scratch
            .raw()
            .execute(
                "UPDATE bridge_schema SET version = ?1, min_compatible = ?2",
                [version, needed],
            )
            .expect("set")
    };
    set(99, 1);
    let newer = scratch.make().await;
    say(&newer, &pair.a, "still understood", at(1)).await;
    assert_eq!(receive(&newer, &pair.b, at(2)).await.len(), 1);
    assert_eq!(newer.check().await.expect("checked").schema, 99, "put back");
    newer.close().await;
    set(99, 99);
    let error = refused(&scratch).await;
    assert!(matches!(error, StoreError::TooNew { found: 99, .. }));
    assert!(error.to_string().contains("version 99"), "{error}");
}

/// A child that opens each store that its parent names, and reports the result.
#[test]
fn child_that_opens() {
    let Some(_) = told() else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for path in std::io::stdin().lines() {
        let path = path.expect("the parent speaks");
        let opened = runtime.block_on(async {
            let store = try_open(path.as_ref(), Create::Yes).await?;
            let pair = common::Pair::random();
            let made = store
                .create_conversations(&[pair.wanted(at(60))], at(0))
                .await;
            store.close().await;
            made
        });
        report(&opened.map_or_else(|error| error.to_string(), |_| "ok".into()));
    }
}

#[test]
fn processes_that_make_a_store_at_once_make_one() {
    let rounds = if common::full() { 400 } else { 40 };
    let scratch = Scratch::fast();
    let mut children: Vec<_> = (0..3)
        .map(|_| {
            let mut child = child(&[], module_path!(), "child_that_opens", "open")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("a child");
            let input = child.stdin.take().expect("piped");
            let output = BufReader::new(child.stdout.take().expect("piped")).lines();
            (child, input, output)
        })
        .collect();
    for round in 0..rounds {
        let path = scratch.directory().join(format!("{round}.db"));
        if round % 2 == 1 {
            // One of the Python bridge, with its older status table.
            let raw = rusqlite::Connection::open(&path).expect("made");
            raw.execute_batch(common::OLD_BRIDGE).expect("made");
            raw.execute(
                "INSERT INTO session_status
                 VALUES ('conv_0123456789abcdef', 'session_b', '2025-11-13', NULL)",
                [],
            )
            .expect("filled");
        }
        for (_, input, _) in &mut children {
            writeln!(input, "{}", path.display()).expect("it listens");
        }
        for (_, _, output) in &mut children {
            let said = output
                .map_while(Result::ok)
                .find_map(|line| reported(&line).map(str::to_owned));
            assert_eq!(said.as_deref(), Some("ok"), "round {round}");
        }
        let raw = rusqlite::Connection::open(&path).expect("opened");
        let count = |sql: &str| -> i64 { raw.query_row(sql, [], |row| row.get(0)).expect("one") };
        assert_eq!(count("SELECT count(*) FROM bridge_schema"), 1);
        assert_eq!(count("SELECT count(*) FROM conversations"), 3);
        assert_eq!(count("SELECT count(*) FROM session_status"), round % 2);
    }
    for (mut child, input, _) in children {
        drop(input);
        assert!(child.wait().expect("it ends").success());
    }
}

#[tokio::test]
async fn first_opener_sets_the_stores_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let store = scratch.make().await;
    let pair = pair(&store, at(0)).await;
    say(&store, &pair.a, "hello", at(1)).await;
    for suffix in ["", "-wal", "-shm", "-bell"] {
        let meta = std::fs::metadata(scratch.beside(suffix)).expect("there");
        let mode = meta.permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "bridge.db{suffix}");
    }
    let shared = Scratch::new();
    if rustix::process::geteuid().is_root() {
        // One of root's that a group shares is refused.
        std::os::unix::fs::chown(shared.directory(), Some(65_534), Some(65_534)).expect("root may");
    }
    std::fs::set_permissions(shared.directory(), std::fs::Permissions::from_mode(0o2770))
        .expect("set");
    let store = shared.make().await;
    let pair = common::pair(&store, at(0)).await;
    say(&store, &pair.a, "hello", at(1)).await;
    for suffix in ["", "-wal", "-shm", "-bell"] {
        let meta = std::fs::metadata(shared.beside(suffix)).expect("there");
        let mode = meta.permissions().mode() & 0o777;
        assert_eq!(mode, 0o660, "bridge.db{suffix} in a group's directory");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_waits_for_one_that_has_the_file_alone() {
    for create in [Create::No, Create::Look] {
        let scratch = Scratch::new();
        scratch.make().await.close().await;
        // As the last connection of all programs has it while it closes.
        let alone = rusqlite::Connection::open(scratch.path()).expect("opened");
        alone
            .execute_batch("PRAGMA locking_mode = exclusive; BEGIN IMMEDIATE;")
            .expect("alone");
        let path = scratch.path();
        let mut opening = tokio::spawn(async move { try_open(&path, create).await });
        // Far longer than SQLite's own patience with a writer.
        let early = tokio::time::timeout(Duration::from_millis(200), &mut opening).await;
        assert!(early.is_err(), "{create:?}: {early:?}");
        drop(alone);
        let store = opening.await.expect("ran").expect("opened");
        store.close().await;
    }
}
