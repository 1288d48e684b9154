//! Opening: which file, which SQLite, which schema.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Row, SqliteConnection};

use super::backup::Kept;
use super::confined::Confined;
use super::definitions::{self, Object};
use super::fault::{self, Fault};
use super::file::{self, FileId, Files};
use super::newest::Newest;
use super::postponed::Postponed;
use super::turnstile::{Place, Turnstile};
use super::{
    Durability, PATIENCE, SCHEMA_VERSION, SqliteStore, Writer, backup, inspect, shared, writes,
};
use crate::clock;
use crate::doorbell::{self, Bell};
use crate::model::token::TokenStorage;
use crate::store::{Result, StoreError};

/// Programs older than this must not write a store of [`SCHEMA_VERSION`].
const MIN_COMPATIBLE: i64 = 1;

/// The first release without the bug that loses commits after a reset of the
/// write-ahead log.
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long SQLite itself waits for the write lock: whoever has the turn tries
/// again after a millisecond or two, and everybody else goes back to the queue.
const AT_THE_DOOR: Duration = Duration::from_millis(5);

/// Between two looks whether another process has finished its copy.
const ANOTHER_COPIES: Duration = Duration::from_millis(20);

/// The schema's history, oldest first; what has been released never changes.
const STEPS: [(i64, &str, &str); 4] = [
    (
        1,
        "bridge",
        include_str!("../../../migrations/sqlite/0001_bridge.sql"),
    ),
    (
        2,
        "work",
        include_str!("../../../migrations/sqlite/0002_work.sql"),
    ),
    (
        3,
        "roles",
        include_str!("../../../migrations/sqlite/0003_roles.sql"),
    ),
    (
        4,
        "safe and truthful",
        include_str!("../../../migrations/sqlite/0004_safe_and_truthful.sql"),
    ),
];

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let step = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        let kind = MigrationType::Simple;
        Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(STEPS.iter().map(step).collect())
});

/// No count of changes.
const UNCHECKED: i64 = i64::MIN;

/// The checksums of migrations as they were before the first release, when our
/// tables were STRICT, and the same but for that: a store of then is brought up
/// to date as any other.
const STRICT_ONES: [(i64, &str); 2] = [
    (
        1,
        "B419E618B1905F8C90916B81D46D013A246E52ACB8439C09FCE1161B711631DF36324E0C47866B4823AFEB65AE88C4E2",
    ),
    (
        2,
        "14D2C9FD2EA02EADA3FAE3130C16DA221E063BE4762F7C937D00C58DD54D99D84682A7D50CBCDC545F6421F9CDCEEC29",
    ),
];

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

/// What an opening that takes long is at, for whoever waits for it.
#[derive(Debug, Default)]
pub struct Opening {
    accepted: Option<String>,
    migrating: AtomicI64,
    brought: OnceLock<Brought>,
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

    fn at(&self, migrating: Option<i64>) {
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
    pub async fn open(path: &Path, create: Create) -> Result<Self> {
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
    ) -> Result<Self> {
        Self::open_telling(path, create, messages, &Opening::default()).await
    }

    /// Like [`SqliteStore::open_with_durability`], and tells what it is at.
    pub(crate) async fn open_telling(
        path: &Path,
        create: Create,
        messages: Durability,
        opening: &Opening,
    ) -> Result<Self> {
        refuse_old_sqlite(rusqlite::version_number())?;
        let path = std::path::absolute(path)
            .map_err(|error| StoreError::Io(path.to_owned(), error.to_string()))?;
        if create == Create::Yes {
            file::create(&path)?;
        }
        let file = match file::examine_store(&path) {
            Err(StoreError::Empty(_)) if create == Create::Yes => {
                FileId::of(&path).ok_or_else(|| StoreError::Missing(path.clone()))?
            }
            other => other?,
        };
        let files = Arc::new(Files::new(path, file));
        let confined = Confined::for_database(&files.database)?;
        let is_current = create == Create::Look
            && confined.run(|| inspect::ensure_current(&files, opening.accepted.as_deref()))??;
        let store = Self {
            confined,
            messages: Writer::new(&files, messages, "store-messages"),
            heartbeats: Writer::new(&files, Durability::Normal, "store-beats"),
            readers: pool(&files, 2, None).connect_lazy_with(options(
                &files,
                Durability::Normal,
                PATIENCE,
                "store-reader",
            )),
            committed_at: AtomicU64::new(0),
            accepted: opening.accepted.clone(),
            bell: Bell::new(files.beside("-bell")),
            newest: Newest::default(),
            tended: Arc::default(),
            postponed: Postponed::default(),
            files,
        };
        for writer in [&store.messages, &store.heartbeats] {
            writes::register(store.path(), &writer.writes);
        }
        let deadline = clock::since_boot() + PATIENCE;
        while !is_current {
            let prepared = store
                .run("opening it", store.prepare(create, opening))
                .await;
            opening.at(None);
            match prepared {
                Ok(()) => break,
                // Somebody else is making the store now, or changing it.
                Err(error) if error.is_held_up() && clock::since_boot() < deadline => {
                    let pause = Duration::from_millis(fastrand::u64(2..20));
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(corrupt_or(error, store.path())),
            }
        }
        // A command that only looks needs no connection that writes.
        let first = match is_current {
            true => &store.readers,
            false => &store.messages.pool,
        };
        let look = async {
            let mut connection = store.connection(first).await?;
            store.newest.look(&mut connection, &store.files).await?;
            // SQLite has the log open since it was asked something.
            store.files.note_log();
            Ok(store.files.ensure_usable()?)
        };
        let looked = store.run("opening it", look).await;
        looked.map_err(|error| corrupt_or(error, store.path()))?;
        Ok(store)
    }

    /// Brings the schema up to date, one process at a time.
    async fn prepare(&self, create: Create, opening: &Opening) -> std::result::Result<(), Fault> {
        let mut connection = self.connection(&self.messages.pool).await?;
        let found = self.schema(&mut connection, create).await?;
        let there = match found {
            Found::Own(SCHEMA_VERSION) => {
                if create != Create::Look {
                    write_ahead(&mut connection).await?;
                }
                return Ok(());
            }
            Found::Own(schema) if create == Create::Look => {
                return Err(StoreError::OldSchema {
                    path: self.path().to_owned(),
                    found: schema,
                }
                .into());
            }
            Found::Bridge if create == Create::Look => {
                return Err(StoreError::NotAdopted(self.path().to_owned()).into());
            }
            Found::Own(_) | Found::Bridge => true,
            Found::Nothing => false,
        };
        drop(connection);
        let mut copy = None;
        if there {
            opening.at(Some(SCHEMA_VERSION));
            copy = self.keep_a_copy().await?;
            // A writer that has the lock now is another matter.
            opening.at(None);
        }
        let mut connection = self.connection(&self.messages.pool).await?;
        write_ahead(&mut connection).await?;
        // As any writer: behind those that wait already, and as patient, however
        // long the copy took. Where there was no store there is no queue.
        let deadline = clock::since_boot() + PATIENCE;
        let mut place = match there {
            true => self.messages.turnstile.line_up(),
            false => Place::Nowhere(0),
        };
        let mut write = loop {
            place.wait().await;
            // One of sqlx's transactions, because its migrations count theirs.
            match connection.begin_with("BEGIN IMMEDIATE").await {
                Err(error) if fault::is_busy(&error) && clock::since_boot() < deadline => {}
                begun => break begun?,
            }
        };
        // Another process may have done it while this one waited for the lock.
        let found = self.schema(&mut write, create).await?;
        let changed = found != Found::Own(SCHEMA_VERSION);
        if changed {
            opening.at(Some(SCHEMA_VERSION));
            migrate(&mut write, &found).await?;
        }
        write.commit().await?;
        if matches!(found, Found::Nothing | Found::Bridge) {
            // Of another store that was here.
            doorbell::forget_marks(&self.files.beside("-bell"))
                .map_err(|error| StoreError::Io(self.path().to_owned(), error.to_string()))?;
        }
        if let (true, Some(copy)) = (changed, copy) {
            let from = match found {
                Found::Own(schema) => Some(schema),
                Found::Bridge | Found::Nothing => None,
            };
            let _ = opening.brought.set(Brought { from, copy });
        }
        drop(place);
        // From the log into the file: whatever becomes of the log, the file
        // says by itself that it is a store. Who is reading may prevent it.
        let _ = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
            .fetch_one(&mut *connection)
            .await?;
        Ok(())
    }

    /// Keeps a copy of a store that is about to get another schema, before the
    /// write lock is taken: nobody waits for it but us. A caller that loses
    /// patience leaves it to be finished, and finds it the next time.
    async fn keep_a_copy(&self) -> Result<Option<PathBuf>> {
        loop {
            let files = Arc::clone(&self.files);
            let copied = tokio::task::spawn_blocking(move || {
                backup::before_migration(&files, SCHEMA_VERSION)
            });
            let copied = copied
                .await
                .map_err(|died| StoreError::Io(self.path().to_owned(), died.to_string()))?;
            match copied? {
                Kept::At(copy) => return Ok(Some(copy)),
                Kept::NotNeeded => return Ok(None),
                Kept::ByAnother => {}
            }
            tokio::time::sleep(ANOTHER_COPIES).await;
        }
    }

    /// Whose database it is, and of which schema.
    async fn schema(
        &self,
        connection: &mut SqliteConnection,
        create: Create,
    ) -> std::result::Result<Found, Fault> {
        let objects = definitions::read(connection, self.path()).await?;
        if definitions::has_schema_table(&objects) {
            let (found, needed) = self.versions(connection, &objects).await?;
            if needed > SCHEMA_VERSION {
                return Err(StoreError::TooNew {
                    path: self.path().to_owned(),
                    found,
                    ours: SCHEMA_VERSION,
                }
                .into());
            }
            self.ensure_known(&objects, Some(found))?;
            // A newer one that this program may use is as good as ours.
            return Ok(Found::Own(found.min(SCHEMA_VERSION)));
        }
        if shared::exists(connection).await? {
            self.ensure_known(&objects, None)?;
            Ok(Found::Bridge)
        } else if objects.iter().any(|object| object.kind == "table") {
            Err(StoreError::Foreign(self.path().to_owned()).into())
        } else if create == Create::Yes {
            Ok(Found::Nothing)
        } else {
            Err(StoreError::Empty(self.path().to_owned()).into())
        }
    }

    /// The schema that a store of ours says it has, and the oldest program that
    /// may use it.
    async fn versions(
        &self,
        connection: &mut SqliteConnection,
        objects: &[Object],
    ) -> std::result::Result<(i64, i64), Fault> {
        // Even this must not be asked of a view.
        if !definitions::says_its_schema(objects) {
            self.ensure_known(objects, Some(SCHEMA_VERSION))?;
        }
        let row = sqlx::query("SELECT version, min_compatible FROM bridge_schema")
            .fetch_one(connection)
            .await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    fn ensure_known(&self, objects: &[Object], schema: Option<i64>) -> Result<()> {
        definitions::ensure_known(objects, schema, self.path(), self.accepted.as_deref())
    }

    /// Looks whether the definitions are still known, if any may have changed
    /// since this connection looked: SQLite counts their changes.
    ///
    /// # Errors
    /// [`StoreError::UnknownDefinitions`].
    pub(super) async fn ensure_definitions(
        &self,
        writer: &Writer,
        connection: &mut SqliteConnection,
        version: i64,
    ) -> std::result::Result<(), Fault> {
        if writer.checked.load(Ordering::Relaxed) == version {
            return Ok(());
        }
        let objects = definitions::read(connection, self.path()).await?;
        let (schema, _) = self.versions(connection, &objects).await?;
        self.ensure_known(&objects, Some(schema))?;
        writer.checked.store(version, Ordering::Relaxed);
        Ok(())
    }
}

/// The statements that bring an empty database to a schema.
#[cfg(test)]
pub(super) fn steps_to(schema: i64) -> impl Iterator<Item = &'static str> {
    STEPS
        .iter()
        .filter(move |(version, ..)| *version <= schema)
        .map(|(_, _, sql)| *sql)
}

/// Whose database a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// One of ours, of this schema: a newer one that this program may use counts
    /// as its own.
    Own(i64),
    /// The Python bridge's, as it made it.
    Bridge,
    /// An empty file, where a store may be made.
    Nothing,
}

/// Sees to it that the database is in WAL mode, which stands in the file: it is
/// changed only by a program that may change the file.
async fn write_ahead(connection: &mut SqliteConnection) -> std::result::Result<(), Fault> {
    sqlx::query("PRAGMA journal_mode = wal")
        .fetch_one(connection)
        .await?;
    Ok(())
}

async fn migrate(
    connection: &mut SqliteConnection,
    found: &Found,
) -> std::result::Result<(), Fault> {
    let adopted = *found == Found::Bridge;
    let first_time = !matches!(found, Found::Own(_));
    if !first_time {
        take_for_ours(connection).await?;
    }
    // Inside our transaction: sqlx's own steps become savepoints of it.
    MIGRATIONS
        .run_direct(None, connection, false)
        .await
        .map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error) => Fault::Sql(error),
            other => Fault::Sql(sqlx::Error::Protocol(other.to_string())),
        })?;
    sqlx::query(
        "INSERT INTO bridge_schema (one, version, min_compatible) VALUES (1, ?1, ?2)
         ON CONFLICT (one) DO UPDATE SET version = excluded.version,
             min_compatible = excluded.min_compatible",
    )
    .bind(SCHEMA_VERSION)
    .bind(MIN_COMPATIBLE)
    .execute(&mut *connection)
    .await?;
    if first_time {
        // That bridge compares tokens as they stand: in a database of its own,
        // new ones must stand there in the clear, or its agents cannot log in.
        let storage = if adopted {
            TokenStorage::Plain
        } else {
            TokenStorage::Hashed
        };
        let origin = if adopted { "adopted" } else { "own" };
        for (key, value) in [("token_storage", storage.as_str()), ("origin", origin)] {
            sqlx::query("INSERT INTO bridge_setting (key, value) VALUES (?1, ?2)")
                .bind(key)
                .bind(value)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// Lets [`STRICT_ONES`] pass for the migrations of today.
async fn take_for_ours(connection: &mut SqliteConnection) -> std::result::Result<(), Fault> {
    for (version, then) in STRICT_ONES {
        let Some(step) = MIGRATIONS.iter().find(|step| step.version == version) else {
            continue;
        };
        sqlx::query(
            "UPDATE _sqlx_migrations SET checksum = ?2 WHERE version = ?1 AND hex(checksum) = ?3",
        )
        .bind(version)
        .bind(&*step.checksum)
        .bind(then)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
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

impl Writer {
    fn new(files: &Arc<Files>, durability: Durability, thread: &'static str) -> Self {
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
            writes: Arc::default(),
        }
    }
}

fn options(
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

fn pool(
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
}
