//! The store on SQLite: one file, shared with any process on this machine,
//! the Python bridge among them.
//!
//! Three kinds of connection, each opened when it is first needed: a writer at
//! `synchronous=FULL` for messages, one at `NORMAL` for heartbeats, and
//! readers. Nothing in this process ever closes a descriptor of its own on a
//! database file: that would drop the locks that SQLite holds on it.

mod conversations;
mod fault;
mod file;
mod heartbeats;
mod messages;
mod open;
mod reports;
mod shared;
mod tail;
mod upkeep;
mod wakes;

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use sqlx::sqlite::SqlitePool;
use sqlx::{Sqlite, SqliteConnection, Transaction};

use super::{Result, StoreError};
use crate::clock;
use crate::doorbell::Bell;
use fault::Fault;
use file::FileId;
pub use open::Create;

/// The schema that this program writes.
pub const SCHEMA_VERSION: i64 = 1;

/// A store in an SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// The file that was opened; another one at the same path is not ours.
    file: FileId,
    messages: SqlitePool,
    heartbeats: SqlitePool,
    readers: SqlitePool,
    bell: Bell,
    /// See [`SqliteStore::committed_at`].
    committed_at: AtomicU64,
}

/// How much a commit must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power failure: messages and whatever somebody was told is stored.
    Full,
    /// A crash of the process: heartbeats, activity, wakes.
    Normal,
}

/// Whether a commit may interest someone who waits for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ring {
    Yes,
    No,
}

/// A write transaction, begun with the lock it needs.
struct Write<'a> {
    store: &'a SqliteStore,
    transaction: Transaction<'static, Sqlite>,
}

impl Write<'_> {
    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// Commits, and says so only if the file is still the one at the path: a
    /// commit into a file that somebody renamed away is lost to everyone else.
    async fn commit(self, ring: Ring) -> std::result::Result<(), Fault> {
        let Self { store, transaction } = self;
        transaction.commit().await?;
        if ring == Ring::Yes {
            let now = clock::monotonic_nanos();
            store.committed_at.store(now, Ordering::Relaxed);
            store.bell.ring();
        }
        store.ensure_same_file()?;
        Ok(())
    }
}

impl SqliteStore {
    /// When the newest COMMIT of this process that rings had returned, by
    /// [`clock::monotonic_nanos`]: where the latency of a message begins.
    #[must_use]
    pub fn committed_at(&self) -> u64 {
        self.committed_at.load(Ordering::Relaxed)
    }

    fn ensure_same_file(&self) -> Result<()> {
        if FileId::of(&self.path) == Some(self.file) {
            Ok(())
        } else {
            Err(StoreError::Replaced(self.path.clone()))
        }
    }

    async fn write(&self, durability: Durability) -> std::result::Result<Write<'_>, Fault> {
        self.ensure_same_file()?;
        let pool = match durability {
            Durability::Full => &self.messages,
            Durability::Normal => &self.heartbeats,
        };
        Ok(Write {
            store: self,
            transaction: pool.begin_with("BEGIN IMMEDIATE").await?,
        })
    }

    /// Runs one call and puts its faults into words; `doing` says what it was.
    async fn run<T>(
        &self,
        doing: &'static str,
        call: impl Future<Output = std::result::Result<T, Fault>> + Send,
    ) -> Result<T> {
        call.await.map_err(|fault| match fault {
            // A file that vanished explains whatever SQLite said about it.
            Fault::Sql(_) if self.ensure_same_file().is_err() => {
                StoreError::Replaced(self.path.clone())
            }
            fault => fault.explain(&self.path, doing),
        })
    }
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}
