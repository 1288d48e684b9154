//! An upgrade to a migration that no release has yet: what the next one will do to a
//! store of today.

use std::path::{Path, PathBuf};

use super::*;
use crate::store::sqlite::history::RELEASED;
use crate::store::sqlite::{Durability, SqliteStore};

/// Today's history and one migration more.
fn next() -> Opening {
    let mut history = RELEASED.to_vec();
    let sql = "ALTER TABLE bridge_heartbeat ADD COLUMN later INTEGER NOT NULL DEFAULT 0";
    history.push((SCHEMA_VERSION + 1, "next", sql));
    let mut opening = Opening::default();
    opening.history = history.leak();
    opening
}

async fn open(path: &Path, create: Create, opening: &Opening) -> Result<()> {
    let opened = SqliteStore::open_telling(path, create, Durability::Full, opening).await;
    opened?.close().await;
    Ok(())
}

/// A store of today, in a directory of its own.
async fn today() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bridge.db");
    open(&path, Create::Yes, &Opening::default())
        .await
        .expect("made");
    let raw = Connection::open(&path).expect("opened");
    raw.execute_batch(
        "INSERT INTO bridge_heartbeat (conversation_id, session_id, seq, boot_id, pid_ns,
             beat_boot_ms, beat_ms, ttl_ms, proof)
         VALUES ('conv_0123456789abcdef', 'b', 7, 'x', 1, 5000, 1763000002000, 20000, 'process')",
    )
    .expect("filled");
    (directory, path)
}

/// What a question about one number answers.
fn ask(path: &Path, question: &str) -> i64 {
    let raw = Connection::open(path).expect("opened");
    raw.query_row(question, [], |row| row.get(0))
        .expect("an answer")
}

const SCHEMA: &str = "SELECT version FROM bridge_schema";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrade_keeps_a_copy_and_every_row() {
    let (_directory, path) = today().await;
    let opening = next();
    open(&path, Create::No, &opening).await.expect("upgraded");
    assert_eq!(ask(&path, SCHEMA), SCHEMA_VERSION + 1);
    assert_eq!(ask(&path, "SELECT seq FROM bridge_heartbeat"), 7);
    let columns = "SELECT count(*) FROM pragma_table_info('bridge_heartbeat') WHERE name = 'later'";
    assert_eq!(ask(&path, columns), 1);
    let brought = opening.brought().expect("it says what it did");
    assert_eq!(brought.from, Some(SCHEMA_VERSION));
    let name = format!("bridge.db.before-schema-{}", SCHEMA_VERSION + 1);
    assert!(brought.copy.ends_with(&name), "{}", brought.copy.display());
    assert_eq!(ask(&brought.copy, SCHEMA), SCHEMA_VERSION);
    assert_eq!(ask(&brought.copy, "SELECT seq FROM bridge_heartbeat"), 7);
    // Once.
    let again = next();
    open(&path, Create::No, &again).await.expect("opened");
    assert_eq!(again.brought(), None);
    // This program may go on with it, and leaves its schema as it is.
    let older = Opening::default();
    open(&path, Create::No, &older).await.expect("opened");
    assert_eq!(
        (older.brought(), ask(&path, SCHEMA)),
        (None, SCHEMA_VERSION + 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_openings_that_upgrade_at_once_both_succeed() {
    let (_directory, path) = today().await;
    let both = [next(), next()];
    let [one, other] = [&both[0], &both[1]].map(|opening| open(&path, Create::No, opening));
    let (one, other) = tokio::join!(one, other);
    one.expect("upgraded");
    other.expect("upgraded");
    assert_eq!(ask(&path, SCHEMA), SCHEMA_VERSION + 1);
    let changed = both.iter().filter(|opening| opening.brought().is_some());
    assert_eq!(changed.count(), 1, "one of them changed it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_that_only_looks_refuses_to_upgrade() {
    let (_directory, path) = today().await;
    let before = std::fs::read(&path).expect("read");
    let error = open(&path, Create::Look, &next())
        .await
        .expect_err("opened");
    assert!(
        matches!(&error, StoreError::OldSchema { found, .. } if *found == SCHEMA_VERSION),
        "{error}"
    );
    assert!(error.to_string().contains("mcp-bridge store init"));
    assert!(std::fs::read(&path).expect("read") == before);
}
