//! Opening: which file, which SQLite, and what an opening may change.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rusqlite::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection};

use super::confined::Confined;
use super::engine::AT_THE_DOOR;
use super::fault::Fault;
use super::file::{FileId, Files};
use super::history::{Migrates, RELEASED, newest_of};
use super::newest::Newest;
use super::{Durability, Opened, PATIENCE, SqliteStore, admission, beside, inspect, statements};
use crate::clock;
use crate::doorbell::Bell;
use crate::store::accepted::{Acceptance, Accepted};
use crate::store::writes;
use crate::store::{Result, Store, StoreError};

/// The first release without the bug that loses commits after a reset of the
/// write-ahead log.
const OLDEST_SQLITE: i32 = 3_051_003;

/// What an opening may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// A missing store is made: `store init`, `conversation new`, the demo.
    Yes,
    /// A missing store is an error: daemons and every other command that writes.
    /// A daemon must never put an empty store in the place of a lost one.
    No,
    /// Nothing: for a command that only looks. A database that was not adopted,
    /// or has an older schema, is refused as it is.
    Look,
}

/// What an opening did to a database that was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// The schema that it had; `None` for the Python bridge's own.
    pub from: Option<i64>,
    /// The copy of it as it was.
    pub copy: PathBuf,
}

/// What an opening that takes long is doing, for the caller that waits for it.
#[derive(Debug)]
pub struct Opening {
    pub(super) accepted: Option<String>,
    /// The migrations that this opening knows.
    pub(super) history: &'static [Migrates],
    migrating: AtomicI64,
    pub(super) brought: OnceLock<Brought>,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            accepted: None,
            history: RELEASED,
            migrating: AtomicI64::default(),
            brought: OnceLock::new(),
        }
    }
}

impl Opening {
    /// An opening for which the configuration accepts unknown definitions of
    /// this hash.
    #[must_use]
    pub fn accepting(hash: Option<String>) -> Self {
        Self {
            accepted: hash,
            ..Self::default()
        }
    }

    /// The schema that the store is being brought to, if it is.
    #[must_use]
    pub fn migrating(&self) -> Option<i64> {
        Some(self.migrating.load(Ordering::Relaxed)).filter(|&schema| schema != 0)
    }

    /// What it did to a database that was there before, if it did anything.
    #[must_use]
    pub fn brought(&self) -> Option<&Brought> {
        self.brought.get()
    }

    /// The schema that a store has after it.
    pub(super) fn newest_schema(&self) -> i64 {
        newest_of(self.history)
    }

    pub(super) fn at(&self, migrating: Option<i64>) {
        self.migrating
            .store(migrating.unwrap_or(0), Ordering::Relaxed);
    }
}

impl SqliteStore {
    /// Opens the store at `path`; adopts a database that the Python bridge
    /// made, and brings an older schema up to date, of which it keeps a copy.
    ///
    /// # Errors
    /// Everything that can be wrong with a file, an SQLite database or its
    /// version, each named.
    pub async fn open(path: &Path, create: Create) -> Result<Store> {
        Self::open_with_durability(path, create, Durability::Full).await
    }

    /// Like [`SqliteStore::open`], with messages as durable as said. For
    /// measuring what the fsync costs: a program that lets people's messages
    /// go with less than [`Durability::Full`] breaks what `send` promises.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn open_with_durability(
        path: &Path,
        create: Create,
        messages: Durability,
    ) -> Result<Store> {
        Self::open_telling(path, create, messages, &Opening::default()).await
    }

    /// Like [`SqliteStore::open_with_durability`], and tells what it is at.
    pub(crate) async fn open_telling(
        path: &Path,
        create: Create,
        messages: Durability,
        opening: &Opening,
    ) -> Result<Store> {
        refuse_old_sqlite(rusqlite::version_number())?;
        let path = std::path::absolute(path)
            .map_err(|error| StoreError::Io(path.into(), error.to_string()))?;
        if create == Create::Yes {
            admission::create(&path)?;
        }
        let file = match admission::examine_store(&path) {
            Err(StoreError::Empty(_)) if create == Create::Yes => {
                FileId::of(&path).ok_or_else(|| StoreError::Missing(path.clone()))?
            }
            other => other?,
        };
        let files = Arc::new(Files::new(path, file));
        let confined = Confined::for_database(&files.database)?;
        let accepted = Accepted::of(&files.named);
        let acceptance = Acceptance::new(opening.accepted.clone(), accepted);
        let accepts = |hash: &str| acceptance.accepts(hash);
        let is_current = create == Create::Look
            && confined
                .run(|| inspect::ensure_current(&files, opening.newest_schema(), accepts))??;
        let (full, normal) = (Arc::default(), Arc::default());
        for writes in [&full, &normal] {
            writes::register(&files.named.as_path().into(), writes);
        }
        let opened = Arc::new(Opened {
            name: files.named.as_path().into(),
            confined,
            full,
            normal,
            own_commits: Arc::default(),
            closing: Mutex::default(),
            committed_at: AtomicU64::new(0),
            acceptance,
            bell: Bell::new(files.beside("-bell")),
            newest: Newest::default(),
            tended: Arc::default(),
            files,
        });
        if !is_current {
            let first = opened.make_ready(create, opening, messages).await;
            let first = first.map_err(|error| corrupt_or(error, opened.path()))?;
            return Ok(Self::store(opened, messages, Some(first)));
        }
        // A command that only looks needs no connection that writes.
        let path = opened.path().to_owned();
        let store = Self::store(opened, messages, None);
        let looked = store.reads.read("opening it", |_| Ok(())).await;
        looked.map_err(|error| corrupt_or(error, &path))?;
        Ok(store)
    }
}

impl Opened {
    /// Brings the store up to date; returns a connection for what is then written.
    async fn make_ready(
        self: &Arc<Self>,
        create: Create,
        opening: &Opening,
        messages: Durability,
    ) -> Result<Connection> {
        let words = |fault| self.words(fault);
        let mut connection = self.connect_in_time().await?;
        let ready = async {
            self.prepare_in_turn(&mut connection, create, opening)
                .await?;
            let opened = Arc::clone(self);
            let first = async move { opened.open_another(messages) };
            self.confined.spawn(first).await?.map_err(words)
        };
        let ready = ready.await;
        // Behind the other one: the last one that closes takes the log along.
        let _ = connection.close().await;
        ready
    }

    /// The connection for what makes the schema, as soon as the file can be had: the
    /// last one that closes has it alone for a moment.
    async fn connect_in_time(&self) -> Result<SqliteConnection> {
        let deadline = clock::since_boot() + PATIENCE;
        loop {
            match self.connect().await.map_err(|fault| self.words(fault)) {
                Err(error) if error.is_held_up() && clock::since_boot() < deadline => {
                    pause().await;
                }
                connected => return connected,
            }
        }
    }

    /// A connection for what makes the schema; its thread is born confined.
    async fn connect(&self) -> std::result::Result<SqliteConnection, Fault> {
        let files = Arc::clone(&self.files);
        let connect = async move {
            files.ensure_usable()?;
            beside::ensure_fit(&files.database)?;
            let options = SqliteConnectOptions::new()
                .filename(&files.database)
                .create_if_missing(false)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(AT_THE_DOOR)
                .foreign_keys(true)
                // What stands in the schema runs nothing that is not harmless.
                .pragma("trusted_schema", "OFF")
                // Files of its own elsewhere are none of a confined thread's.
                .pragma("temp_store", "memory")
                .thread_name(|_| "store-schema".into());
            let connection = SqliteConnection::connect_with(&options).await?;
            // One that is opened late must not end up on another file.
            files.ensure_usable()?;
            Ok(connection)
        };
        self.confined.spawn(connect).await?
    }

    async fn prepare_in_turn(
        &self,
        connection: &mut SqliteConnection,
        create: Create,
        opening: &Opening,
    ) -> Result<()> {
        let deadline = clock::since_boot() + PATIENCE;
        loop {
            let prepared = self.prepare(&mut *connection, create, opening).await;
            opening.at(None);
            match prepared.map_err(|fault| self.words(fault)) {
                // Another process makes the store now, or changes it.
                Err(error) if error.is_held_up() && clock::since_boot() < deadline => {
                    pause().await;
                }
                prepared => return prepared,
            }
        }
    }

    /// Opens a connection, on a confined thread, and looks at the store by it.
    pub(super) fn open_another(
        &self,
        synchronous: Durability,
    ) -> std::result::Result<Connection, Fault> {
        // The last connection that closes has the file alone for a moment.
        let connection = statements::open(&self.files, synchronous, PATIENCE)?;
        self.newest.look(&connection, &self.files)?;
        // SQLite has the log open since it was asked something.
        self.files.note_log();
        self.files.ensure_usable()?;
        Ok(connection)
    }

    fn words(&self, fault: Fault) -> StoreError {
        // A file that vanished explains what SQLite said about it.
        match (&fault, self.files.ensure_usable()) {
            (Fault::Sql(_) | Fault::Lite(_), Err(replaced)) => replaced,
            _ => fault.explain(self.path(), "opening it"),
        }
    }
}

/// Between two tries of an opening.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(2..20))).await;
}

fn refuse_old_sqlite(linked: i32) -> Result<()> {
    if linked >= OLDEST_SQLITE {
        return Ok(());
    }
    let version = format!(
        "{}.{}.{}",
        linked / 1_000_000,
        linked / 1_000 % 1_000,
        linked % 1_000
    );
    Err(StoreError::OldSqlite(version))
}

fn corrupt_or(error: StoreError, path: &Path) -> StoreError {
    match error {
        // Damage in the schema shows as a plain SQL error.
        StoreError::Sql(_, _, text) if text.contains("malformed") => {
            StoreError::Corrupt(path.to_owned(), text)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlite_that_loses_commits_is_refused() {
        assert!(refuse_old_sqlite(rusqlite::version_number()).is_ok());
        let error = refuse_old_sqlite(3_051_002)
            .expect_err("too old")
            .to_string();
        assert!(
            error.contains("3.51.2") && error.contains("3.51.3"),
            "{error}"
        );
    }

    /// `.cargo/config.toml` reaches the compiler of the bundled SQLite.
    #[test]
    fn linked_sqlite_has_no_code_for_other_databases() {
        let connection = rusqlite::Connection::open_in_memory().expect("a database");
        let mut statement = connection
            .prepare("PRAGMA compile_options")
            .expect("options");
        let options = statement.query_map([], |row| row.get::<_, String>(0));
        let options: Vec<String> = options
            .and_then(Iterator::collect)
            .expect("a list of options");
        for unused in ["FTS3", "FTS5", "RTREE", "STAT4"] {
            assert!(
                !options.contains(&format!("ENABLE_{unused}")),
                "{options:?}"
            );
        }
    }
}
