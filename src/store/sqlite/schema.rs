//! The schema: whose database a file is, and how it becomes ours and up to date.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection as _, Row, SqliteConnection};

use super::backup::SchemaCopy;
use super::definitions::{self, Object};
use super::fault::{self, Fault};
use super::history::{Migrates, newest_of};
use super::open::{Brought, Create, Opening};
use super::statements::Statements as _;
use super::turnstile::{QueuePlace, Turnstile};
use super::written::Written as _;
use super::{FIRST_SCHEMA, Opened, PATIENCE, SCHEMA_VERSION, backup, shared};
use crate::clock;
use crate::doorbell;
use crate::model::token::TokenStorage;
use crate::store::{Result, StoreError};

/// Between two looks whether another process has finished its copy.
const ANOTHER_COPIES: Duration = Duration::from_millis(20);

/// Programs of an older schema must not write a store of [`SCHEMA_VERSION`].
const MIN_COMPATIBLE: i64 = FIRST_SCHEMA;

impl Opened {
    /// Brings the schema up to date, one process at a time.
    pub(super) async fn prepare(
        &self,
        connection: &mut SqliteConnection,
        create: Create,
        opening: &Opening,
    ) -> std::result::Result<(), Fault> {
        let newest = opening.newest_schema();
        let found = self.schema(connection, create, newest).await?;
        let there = match found {
            Found::Own(schema) if schema == newest => {
                if create != Create::Look {
                    write_ahead(connection).await?;
                }
                return Ok(());
            }
            Found::Own(schema) if create == Create::Look => {
                return Err(StoreError::OldSchema {
                    path: self.path().into(),
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
        let mut copy = None;
        if there {
            opening.at(Some(newest));
            copy = self.keep_a_copy(newest).await?;
            // A writer that has the lock now is another matter.
            opening.at(None);
        }
        write_ahead(connection).await?;
        // As any writer: behind those that wait already, and as patient, however
        // long the copy took. Where there was no store there is no queue.
        let deadline = clock::since_boot() + PATIENCE;
        let mut place = match there {
            true => Turnstile::new(self.files.beside("-bell")).line_up(),
            false => QueuePlace::Nowhere(0),
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
        let found = self.schema(&mut write, create, newest).await?;
        let changed = found != Found::Own(newest);
        if changed {
            opening.at(Some(newest));
            migrate(&mut write, found, opening.history).await?;
        }
        write.commit().await?;
        if matches!(found, Found::Nothing | Found::Bridge) {
            // Of another store that was here.
            doorbell::forget_marks(&self.files.beside("-bell"))
                .map_err(|error| StoreError::Io(self.path().into(), error.to_string()))?;
        }
        if let (true, Some(copy)) = (changed, copy) {
            let from = match found {
                Found::Own(schema) => Some(schema),
                Found::Bridge | Found::Nothing => None,
            };
            let _ = opening.brought.set(Brought { from, copy });
        }
        drop(place);
        // From the log into the file: even if the log is lost, the file shows that it
        // is a store. A reader may prevent it.
        let _ = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
            .fetch_one(connection)
            .await?;
        Ok(())
    }

    /// Keeps a copy of a store that is about to get another schema, before the write
    /// lock is taken, so that only this process waits for it. A caller that loses
    /// patience leaves it to be finished, and finds it the next time.
    async fn keep_a_copy(&self, newest: i64) -> Result<Option<PathBuf>> {
        loop {
            let files = Arc::clone(&self.files);
            let copied =
                tokio::task::spawn_blocking(move || backup::before_migration(&files, newest));
            let copied = copied
                .await
                .map_err(|died| StoreError::Io(self.path().into(), died.to_string()))?;
            match copied? {
                SchemaCopy::At(copy) => return Ok(Some(copy)),
                SchemaCopy::NotNeeded => return Ok(None),
                SchemaCopy::ByAnother => {}
            }
            tokio::time::sleep(ANOTHER_COPIES).await;
        }
    }

    /// Whose database it is, and of which schema, for a program that knows the
    /// schemas up to `newest`.
    async fn schema(
        &self,
        connection: &mut SqliteConnection,
        create: Create,
        newest: i64,
    ) -> std::result::Result<Found, Fault> {
        let objects = definitions::read(connection, self.path()).await?;
        if definitions::has_schema_table(&objects) {
            let (found, needed) = self.versions(connection, &objects).await?;
            if needed > newest {
                return Err(StoreError::TooNew {
                    path: self.path().into(),
                    found,
                    ours: newest,
                }
                .into());
            }
            if found < FIRST_SCHEMA {
                return Err(StoreError::Unreleased {
                    path: self.path().to_owned(),
                    found,
                }
                .into());
            }
            self.ensure_known(&objects, Some(found))?;
            // A newer one that this program may use is as good as ours.
            return Ok(Found::Own(found.min(newest)));
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
}

impl Opened {
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
        definitions::ensure_known(objects, schema, self.path(), |hash| {
            self.acceptance.accepts(hash)
        })
    }

    /// Looks whether the definitions are still known, if any may have changed since
    /// `checked`: SQLite counts their changes. Returns what the connection may
    /// remember as checked.
    ///
    /// # Errors
    /// [`StoreError::UnknownDefinitions`].
    pub(super) fn checked_definitions(
        &self,
        checked: i64,
        connection: &Connection,
    ) -> std::result::Result<i64, Fault> {
        // The pragma itself: in the place of its table function there can be a table
        // of that name.
        let version = connection.one("PRAGMA schema_version", [], |row| row.get(0))?;
        if version == checked {
            return Ok(checked);
        }
        let objects = definitions::of(connection)?;
        // Even this must not be asked of a view.
        if !definitions::says_its_schema(&objects) {
            self.ensure_known(&objects, Some(SCHEMA_VERSION))?;
        }
        let schema = connection.one("SELECT version FROM bridge_schema", [], |row| row.get(0))?;
        self.ensure_known(&objects, Some(schema))?;
        Ok(version)
    }
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
    found: Found,
    history: &[Migrates],
) -> std::result::Result<(), Fault> {
    let adopted = found == Found::Bridge;
    let first_time = !matches!(found, Found::Own(_));
    let migration = |&(version, name, sql): &Migrates| {
        let kind = MigrationType::Simple;
        Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
    };
    let migrations = Migrator::with_migrations(history.iter().map(migration).collect());
    // Inside our transaction: sqlx's own steps become savepoints of it.
    migrations
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
    .bind(newest_of(history))
    .bind(MIN_COMPATIBLE)
    .execute(&mut *connection)
    .await?
    .wrote(1, "bridge_schema")?;
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
                .await?
                .wrote(1, "bridge_setting")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
