//! The connections of a store: one that writes for each durability, and readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};

use super::file::Files;
use super::turnstile::Turnstile;
use super::{Durability, PATIENCE, Writer};
use crate::store::writes::Writes;

/// How long SQLite itself waits for the write lock: whoever has the turn tries
/// again after a millisecond or two, and everybody else goes back to the queue.
pub(super) const AT_THE_DOOR: Duration = Duration::from_millis(5);

/// No count of changes.
pub(super) const UNCHECKED: i64 = i64::MIN;

impl Writer {
    pub(super) fn new(
        files: &Arc<Files>,
        durability: Durability,
        thread: &'static str,
        writes: Arc<Writes>,
    ) -> Self {
        let begun = Arc::new(AtomicBool::new(false));
        let check = Arc::clone(&begun);
        let checked = Arc::new(AtomicI64::new(UNCHECKED));
        let pool = pool(files, 1, Some(&checked))
            .after_release(move |connection, _| {
                let check = Arc::clone(&check);
                Box::pin(async move {
                    if !check.load(Ordering::Acquire) {
                        return Ok(true);
                    }
                    let rolled_back = sqlx::query("ROLLBACK").execute(connection).await;
                    check.store(false, Ordering::Release);
                    // SQLite may have done it by itself, and then says that
                    // there is none (a plain SQLITE_ERROR). On any other
                    // answer, the next caller gets a new connection.
                    Ok(match rolled_back {
                        Ok(_) => true,
                        Err(error) => error
                            .as_database_error()
                            .is_some_and(|error| error.code().as_deref() == Some("1")),
                    })
                })
            })
            .connect_lazy_with(options(files, durability, AT_THE_DOOR, thread));
        Self {
            pool,
            turnstile: Turnstile::new(files.beside("-bell")),
            begun,
            checked,
            writes,
        }
    }
}

pub(super) fn options(
    files: &Files,
    durability: Durability,
    busy: Duration,
    thread: &'static str,
) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(&files.database)
        .create_if_missing(false)
        .synchronous(match durability {
            Durability::Full => SqliteSynchronous::Full,
            Durability::Normal => SqliteSynchronous::Normal,
        })
        .busy_timeout(busy)
        .foreign_keys(true)
        // What stands in the schema runs nothing that is not harmless.
        .pragma("trusted_schema", "OFF")
        // Files of its own elsewhere are none of a confined thread's.
        .pragma("temp_store", "memory")
        .thread_name(move |n| format!("{thread}-{n}"))
}

pub(super) fn pool(
    files: &Arc<Files>,
    connections: u32,
    checked: Option<&Arc<AtomicI64>>,
) -> SqlitePoolOptions {
    let files = Arc::clone(files);
    let checked = checked.map(Arc::clone);
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE + Duration::from_secs(10))
        // The last connection of all processes takes the log with it when it
        // closes: keep what is open for the life of the process.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        // A connection that is opened late must not end up on another file.
        .after_connect(move |_, _| {
            if let Some(checked) = &checked {
                // What one connection has seen says nothing of another.
                checked.store(UNCHECKED, Ordering::Relaxed);
            }
            let same = files.ensure_usable();
            Box::pin(async move {
                same.map_err(|error| sqlx::Error::Configuration(error.headline().into()))
            })
        })
}
