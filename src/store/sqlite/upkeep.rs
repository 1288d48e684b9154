//! The store as a thing that can break: probes, checkpoints, the doorbell.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use tracing::{debug, warn};

use super::tail::Tail;
use super::{SqliteStore, reports};
use crate::clock;
use crate::doorbell::{Doorbell, Mode, Paths};
use crate::store::{OnRing, Result, StoreError, StoreProbe, Upkeep};

/// Longest wait for calls that are under way when the store is closed.
const CLOSING: Duration = Duration::from_secs(10);

#[async_trait]
impl Upkeep for SqliteStore {
    fn location(&self) -> &Path {
        self.path()
    }

    fn doorbell(&self, mode: Mode, on_ring: OnRing) -> Result<Doorbell> {
        let tail = Tail::open(&self.files)?;
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
        self.run("looking at it", async {
            sqlx::query("SELECT version FROM bridge_schema")
                .fetch_one(&mut *self.reader().await?)
                .await?;
            Ok(())
        })
        .await?;
        Ok(StoreProbe {
            took: clock::since_boot().saturating_sub(started),
            log_bytes: reports::size(&self.files.beside("-wal")),
        })
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

    async fn close(&self) {
        debug!(store = %self.path().display(), "closing the store");
        let closed = async {
            tokio::join!(
                self.messages.pool.close(),
                self.heartbeats.pool.close(),
                self.readers.close()
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
