//! Opening: which file, which SQLite, and what an opening may change.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::confined::Confined;
use super::file::{FileId, Files};
use super::newest::Newest;
use super::pools::{UNCHECKED, options, pool};
use super::{Durability, Opened, PATIENCE, SqliteStore, Writer, admission, inspect};
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

/// What an opening that takes long is at, for whoever waits for it.
#[derive(Debug, Default)]
pub struct Opening {
    pub(super) accepted: Option<String>,
    migrating: AtomicI64,
    pub(super) brought: OnceLock<Brought>,
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
            .map_err(|error| StoreError::Io(path.to_owned(), error.to_string()))?;
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
            && confined.run(|| inspect::ensure_current(&files, accepts))??;
        let (full, normal) = (Arc::default(), Arc::default());
        for writes in [&full, &normal] {
            writes::register(&files.named, writes);
        }
        let store = Self::over(Opened {
            confined,
            messages: Writer::new(&files, messages, "store-messages", full),
            heartbeats: Writer::new(&files, Durability::Normal, "store-beats", normal),
            readers: pool(&files, 4, None).connect_lazy_with(options(
                &files,
                Durability::Normal,
                PATIENCE,
                "store-reader",
            )),
            committed_at: AtomicU64::new(0),
            known: AtomicI64::new(UNCHECKED),
            acceptance,
            bell: Bell::new(files.beside("-bell")),
            newest: Newest::default(),
            tended: Arc::default(),
            files,
        });
        if !is_current {
            store.prepare_in_turn(create, opening).await?;
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
        Ok(store.store(messages))
    }

    async fn prepare_in_turn(&self, create: Create, opening: &Opening) -> Result<()> {
        let deadline = clock::since_boot() + PATIENCE;
        loop {
            let prepared = self.run("opening it", self.prepare(create, opening)).await;
            opening.at(None);
            match prepared {
                Ok(()) => return Ok(()),
                // Somebody else is making the store now, or changing it.
                Err(error) if error.is_held_up() && clock::since_boot() < deadline => {
                    let pause = Duration::from_millis(fastrand::u64(2..20));
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(corrupt_or(error, self.path())),
            }
        }
    }
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
}
