//! The store as a thing that can break: probes, checkpoints, the doorbell.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use tracing::{debug, warn};

use super::fault::Fault;
use super::newest::newest;
use super::tail::Tail;
use super::written::Written as _;
use super::{Durability, Ring, SqliteStore, reports};
use crate::clock;
use crate::doorbell::{Doorbell, Mode, Paths};
use crate::store::writes::health_of;
use crate::store::{Backend, OnRing, Result, StoreError, StoreProbe, WriteHealth};

/// Longest wait for calls that are under way when the store is closed.
const CLOSING: Duration = Duration::from_secs(10);

#[async_trait]
impl Backend for SqliteStore {
    fn location(&self) -> &Path {
        self.path()
    }

    fn doorbell(&self, mode: Mode, on_ring: OnRing) -> Result<Doorbell> {
        let tail = self.confined.run(|| Tail::open(&self.files))??;
        let paths = Paths {
            database: self.files.database.clone(),
            log: self.files.beside("-wal"),
            bell: self.files.beside("-bell"),
        };
        Doorbell::spawn(paths, mode, Box::new(tail.listen(on_ring)))
            .map_err(|error| StoreError::Io(self.path().to_owned(), error.to_string()))
    }

    async fn probe(&self) -> Result<StoreProbe> {
        let started = clock::since_boot();
        self.acceptance.renew(self.path());
        self.run("looking at it", async {
            // Before the look: another call may commit meanwhile.
            let seen = self.newest.seen();
            let found: (i64, i64) = sqlx::query_as(concat!(
                "SELECT version, (",
                newest!(),
                ") FROM bridge_schema"
            ))
            .fetch_one(&mut *self.reader().await?)
            .await?;
            Ok(self.newest.ensure_forwards(found.1, seen, &self.files)?)
        })
        .await?;
        Ok(StoreProbe {
            took: clock::since_boot().saturating_sub(started),
            log_bytes: reports::size(&self.files.beside("-wal")),
        })
    }

    fn writes(&self) -> WriteHealth {
        health_of(&self.messages.writes, &self.heartbeats.writes)
    }

    async fn try_write(&self) -> Result<()> {
        let doubtful = self.messages.writes.health().doubtful_since.is_some();
        self.run("trying to write", async {
            if doubtful {
                self.count_a_try(Durability::Full).await?;
            }
            self.count_a_try(Durability::Normal).await
        })
        .await
    }

    async fn tend(&self) -> Result<()> {
        if self.tended.stands_still(self.newest.seen())
            && let Err(error) = self.run("counting on", self.count_on()).await
        {
            if error.is_another_file() {
                return Err(error);
            }
            debug!(%error, "the store was not counted on");
        }
        let (tended, files) = (Arc::clone(&self.tended), Arc::clone(&self.files));
        tokio::task::spawn_blocking(move || tended.note(&files))
            .await
            .map_err(|died| StoreError::Io(self.path().to_owned(), died.to_string()))?
    }

    async fn checkpoint(&self) -> Result<()> {
        self.run("writing the log back", async {
            sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
                .fetch_one(&mut *self.reader().await?)
                .await?;
            Ok(())
        })
        .await
    }

    fn committed_at(&self) -> u64 {
        self.opened.committed_at()
    }

    async fn close(&self, threads: Vec<JoinHandle<()>>) {
        debug!(store = %self.path().display(), "closing the store");
        let closed = async {
            // What was asked for is written yet.
            for thread in threads {
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
            tokio::join!(
                self.messages.pool.close(),
                self.heartbeats.pool.close(),
                self.readers.close(),
            )
        };
        // sqlx waits for ever for a connection whose thread panicked; the end
        // of the process closes it as well.
        if tokio::time::timeout(CLOSING, closed).await.is_err() {
            warn!(
                event = "store-not-closed", store = %self.path().display(),
                "the store did not close in time"
            );
        }
    }
}

impl SqliteStore {
    /// Counts one further, so that a copy from before is known as older.
    async fn count_on(&self) -> std::result::Result<(), Fault> {
        let mut write = self.write(Durability::Full).await?;
        let counted =
            sqlx::query("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'bridge_time'")
                .execute(write.connection())
                .await?;
        if counted.rows_affected() == 0 {
            sqlx::query("INSERT INTO sqlite_sequence (name, seq) VALUES ('bridge_time', 1)")
                .execute(write.connection())
                .await?;
        }
        // Which notes it in the bell's file.
        write.commit(Ring::Yes).await
    }

    /// SQLite leaves a page alone whose content stays the same: a number counts
    /// on, in a circle, whatever another program made of it.
    async fn count_a_try(&self, durability: Durability) -> std::result::Result<(), Fault> {
        let mut write = self.write(durability).await?;
        sqlx::query(
            "INSERT INTO bridge_signal (name, n) VALUES ('tried', 1)
             ON CONFLICT (name) DO UPDATE SET n = (n & 1023) + 1",
        )
        .execute(write.connection())
        .await?
        .wrote(1, "bridge_signal")?;
        write.commit(Ring::No).await
    }
}
