//! The store on SQLite: one file, shared with any process on this machine,
//! the Python bridge among them.
//!
//! Three kinds of connection, each opened when it is first needed: a writer at
//! `synchronous=FULL` for messages, one at `NORMAL` for heartbeats, and
//! readers. Nothing in this process ever closes a descriptor of its own on a
//! database file: that would drop the locks that SQLite holds on it.

mod admission;
mod alerts;
mod backup;
mod base;
mod beside;
mod confined;
mod conversations;
mod copy;
mod definitions;
mod due;
mod engine;
mod fault;
mod file;
mod fleet;
mod heartbeats;
mod holders;
mod inspect;
mod losses;
mod messages;
mod mounts;
mod newest;
mod notices;
mod numbers;
mod odd;
mod open;
mod ours;
mod owed;
mod owners;
mod partial;
mod pools;
mod restore;
mod rows;
mod schema;
mod shared;
mod statements;
mod tail;
mod tasks;
mod times;
mod turnstile;
mod upkeep;
mod written;

use std::future::Future;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqlitePool;
use sqlx::{Row as _, Sqlite, SqliteConnection};

pub use super::Durability;
use super::accepted::Acceptance;
use super::executor::PATIENCE;
use super::postponed::Postponed;
pub use super::writes::held_up;
use super::writes::{Attempt, Step, Writes};
use super::{Result, Store, StoreError, UsedUp};
use crate::clock;
use crate::doorbell::Bell;
use crate::model::{Label, SessionKey};
pub use backup::{Copied, backup};
use base::Tended;
use confined::Confined;
pub use confined::{Confinement, confinement};
pub use copy::{Attendant, Progress};
use fault::Fault;
use file::Files;
pub use file::room;
pub use inspect::{Inspection, Kind, answers, inspect, odd_rows};
pub use mounts::file_system;
use newest::{Newest, newest};
pub use open::{Brought, Create, Opening};
pub use restore::{Restored, candidate, restore};
use turnstile::{Place, Turnstile};

/// The schema that this program writes.
pub const SCHEMA_VERSION: i64 = 4;

/// Connections that read for the executors; so many more read for the rest.
const READERS: usize = 2;

/// A store in an SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    opened: Arc<Opened>,
}

impl Deref for SqliteStore {
    type Target = Opened;
    fn deref(&self) -> &Opened {
        &self.opened
    }
}

/// The files and the connections.
#[derive(Debug)]
pub struct Opened {
    /// The files that were opened; others at the same paths are not ours.
    files: Arc<Files>,
    messages: Writer,
    heartbeats: Writer,
    readers: SqlitePool,
    /// Opens the connections.
    confined: Arc<Confined>,
    bell: Bell,
    newest: Newest,
    tended: Arc<Tended>,
    /// The count of changes of the schema up to which readers know the definitions.
    known: AtomicI64,
    /// Which unknown definitions are accepted.
    acceptance: Acceptance,
    /// See [`Opened::committed_at`].
    committed_at: AtomicU64,
}

/// The one connection that writes at one durability.
#[derive(Debug)]
struct Writer {
    pool: SqlitePool,
    turnstile: Turnstile,
    /// Whether a transaction may be open on it: one that failed or was
    /// cancelled is rolled back before anybody else gets the connection.
    begun: Arc<AtomicBool>,
    /// The count of changes of the schema up to which its connection knows the
    /// definitions.
    checked: Arc<AtomicI64>,
    writes: Arc<Writes>,
}

/// Whether a commit may interest someone who waits for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ring {
    Yes,
    No,
}

/// A write transaction, begun with the lock it needs. Not one of sqlx's: when
/// SQLite ends a transaction by itself, as it does on a full disk, sqlx goes on
/// counting it, and its connection can never begin another.
struct Write {
    store: Arc<Opened>,
    durability: Durability,
    connection: PoolConnection<Sqlite>,
    /// Held until the transaction is over.
    place: Place,
    attempt: Attempt,
}

impl Write {
    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Commits, and says so only if the files are still the ones at their
    /// paths: a commit into a file that somebody renamed away is lost to
    /// everyone else.
    async fn commit(mut self, ring: Ring) -> std::result::Result<(), Fault> {
        self.attempt.is_at(Step::Disk);
        let store = Arc::clone(&self.store);
        let durability = self.durability;
        let newest = store.commit(self.connection(), durability, ring).await?;
        store
            .writer(durability)
            .begun
            .store(false, Ordering::Release);
        self.attempt.got_through();
        // The next writer need not wait for the rest.
        self.place = Place::Nowhere(0);
        store.ring(ring, newest);
        store.files.ensure_same()?;
        Ok(())
    }
}

impl SqliteStore {
    fn over(opened: Opened) -> Self {
        Self {
            opened: Arc::new(opened),
        }
    }

    /// The store whose data it keeps, with messages that are so durable.
    fn store(self, messages: Durability) -> Store {
        let backend = Arc::new(self);
        let executor =
            |durability, synchronous| engine::executor(&backend.opened, durability, synchronous);
        Store {
            full: executor(Durability::Full, messages),
            normal: executor(Durability::Normal, Durability::Normal),
            reads: engine::readers(&backend.opened, READERS),
            postponed: Arc::new(Postponed::new(Arc::clone(&backend.heartbeats.writes))),
            unmoved: Some(Arc::clone(&backend)),
            backend,
        }
    }

    async fn write(&self, durability: Durability) -> std::result::Result<Write, Fault> {
        self.files.ensure_usable()?;
        let writer = self.writer(durability);
        let attempt = writer.writes.begin();
        let mut connection = self.connection(&writer.pool).await?;
        attempt.is_at(Step::Lock);
        let deadline = clock::since_boot() + PATIENCE;
        let place = self.begin(writer, &mut connection, deadline).await?;
        attempt.is_at(Step::Work);
        Ok(Write {
            store: Arc::clone(&self.opened),
            durability,
            connection,
            place,
            attempt,
        })
    }
}

impl Opened {
    /// When the newest COMMIT of this process that rings had returned, by
    /// [`clock::monotonic_nanos`]: where the latency of a message begins.
    #[must_use]
    pub fn committed_at(&self) -> u64 {
        self.committed_at.load(Ordering::Relaxed)
    }

    fn path(&self) -> &Path {
        &self.files.named
    }

    fn writer(&self, durability: Durability) -> &Writer {
        match durability {
            Durability::Full => &self.messages,
            Durability::Normal => &self.heartbeats,
        }
    }

    /// Begins a transaction with the lock that a write needs; the place in the
    /// queue is held until it is over.
    async fn begin(
        &self,
        writer: &Writer,
        connection: &mut SqliteConnection,
        deadline: Duration,
    ) -> std::result::Result<Place, Fault> {
        if writer.checked.load(Ordering::Relaxed) == pools::UNCHECKED {
            ours::note(connection).await;
        }
        let mut place = writer.turnstile.line_up();
        let begun = loop {
            place.wait().await;
            writer.begun.store(true, Ordering::Release);
            // The pragma itself: in the place of its table function there can be a
            // table of that name.
            match sqlx::query(concat!(
                "BEGIN IMMEDIATE; PRAGMA schema_version; SELECT (",
                newest!(),
                ")"
            ))
            .fetch_all(&mut *connection)
            .await
            {
                Ok(begun) => break begun,
                Err(error) if fault::is_busy(&error) && clock::since_boot() < deadline => {
                    writer.begun.store(false, Ordering::Release);
                }
                Err(error) => return Err(error.into()),
            }
        };
        let [version, found] = &begun[..] else {
            return Err(sqlx::Error::RowNotFound.into());
        };
        let (version, found) = (version.try_get(0)?, found.try_get(0)?);
        // Nothing is committed while the lock is held.
        let seen = self.newest.seen();
        self.newest.ensure_forwards(found, seen, &self.files)?;
        self.ensure_definitions(&writer.checked, connection, version)
            .await?;
        Ok(place)
    }

    /// Commits; returns how far the store has counted, if others are to look.
    async fn commit(
        &self,
        connection: &mut SqliteConnection,
        durability: Durability,
        ring: Ring,
    ) -> std::result::Result<Option<i64>, Fault> {
        // What is asked first counts once the commit is on the disk.
        if durability == Durability::Full && ring == Ring::Yes {
            let mut newest =
                sqlx::query_scalar(concat!("/* then the end */ ", newest!(), "; COMMIT"))
                    .fetch_all(connection)
                    .await?;
            return Ok(newest.pop());
        }
        sqlx::query("COMMIT").execute(connection).await?;
        Ok(None)
    }

    /// Tells those who wait for messages or work that they are to look.
    fn ring(&self, ring: Ring, newest: Option<i64>) {
        if ring == Ring::No {
            return;
        }
        let now = clock::monotonic_nanos();
        self.committed_at.store(now, Ordering::Relaxed);
        match newest.filter(|newest| newest::is_plausible(*newest)) {
            Some(newest) => {
                self.newest.saw(newest);
                self.bell.ring_at(newest);
            }
            None => self.bell.ring(),
        }
    }

    /// A connection for reading. What stands in a file that was replaced is
    /// nothing to go by either, nor is what a view shows in the place of a table.
    async fn reader(&self) -> std::result::Result<PoolConnection<Sqlite>, Fault> {
        self.files.ensure_usable()?;
        let mut connection = self.connection(&self.readers).await?;
        self.ensure_known_to_readers(&mut connection).await?;
        Ok(connection)
    }

    async fn ensure_known_to_readers(
        &self,
        connection: &mut SqliteConnection,
    ) -> std::result::Result<(), Fault> {
        let version = sqlx::query_scalar("PRAGMA schema_version")
            .fetch_one(&mut *connection)
            .await?;
        self.ensure_definitions(&self.known, connection, version)
            .await
    }

    /// A connection of the pool. One that is there costs nothing; a new one is
    /// opened on the confined thread, on which its own thread is then born.
    async fn connection(
        &self,
        pool: &SqlitePool,
    ) -> std::result::Result<PoolConnection<Sqlite>, Fault> {
        if let Some(connection) = pool.try_acquire() {
            return Ok(connection);
        }
        let (pool, files) = (pool.clone(), Arc::clone(&self.files));
        self.confined
            .spawn(async move {
                if pool.size() < pool.options().get_max_connections() {
                    beside::ensure_fit(&files.database)?;
                }
                Ok(pool.acquire().await?)
            })
            .await?
    }

    /// Runs one call and puts its faults into words; `doing` says what it was.
    async fn run<T>(
        &self,
        doing: &'static str,
        call: impl Future<Output = std::result::Result<T, Fault>> + Send,
    ) -> Result<T> {
        let fault = match call.await {
            Ok(done) => return Ok(done),
            Err(fault) => fault,
        };
        Err(match fault {
            Fault::Store(StoreError::Task(mut refusal)) => {
                if let Some(session) = refusal.session_mut() {
                    session.label = self.label_of(&session.key).await;
                }
                refusal.into()
            }
            fault => self.explain(fault, doing).await,
        })
    }

    async fn explain(&self, fault: Fault, doing: &'static str) -> StoreError {
        match fault {
            // A file that vanished explains whatever SQLite said about it.
            Fault::Sql(error) => match self.files.ensure_usable() {
                Err(replaced) => replaced,
                Ok(()) => match self.without_ids(&error).await {
                    Some(what) => {
                        let path = self.path().to_owned();
                        StoreError::NoIdLeft { path, what }
                    }
                    None => Fault::Sql(error).explain(self.path(), doing),
                },
            },
            fault @ (Fault::Store(_) | Fault::Lite(_) | Fault::Swallowed(_)) => {
                fault.explain(self.path(), doing)
            }
        }
    }

    /// The table that has no id left for another row, which SQLite calls a full
    /// disk.
    async fn without_ids(&self, error: &sqlx::Error) -> Option<UsedUp> {
        if !fault::is_full(error) {
            return None;
        }
        odd::without_ids(&mut *self.reader().await.ok()?).await
    }

    /// For the words of a refusal: without it, the key has to do.
    async fn label_of(&self, session: &SessionKey) -> Option<Label> {
        let mut reader = self.reader().await.ok()?;
        let label: Option<String> =
            sqlx::query_scalar("SELECT label FROM bridge_conversation WHERE conversation_id = ?1")
                .bind(session.conversation.as_str())
                .fetch_optional(&mut *reader)
                .await
                .ok()??;
        label?.parse().ok()
    }
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}
