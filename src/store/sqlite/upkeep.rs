//! The store as a thing that can break: probes, checkpoints, the doorbell.

use std::path::Path;

use async_trait::async_trait;
use tracing::debug;

use super::tail::Tail;
use super::{SqliteStore, file, reports};
use crate::clock;
use crate::doorbell::{Doorbell, Mode, Paths};
use crate::store::{OnRing, Result, StoreError, StoreProbe, Upkeep};

#[async_trait]
impl Upkeep for SqliteStore {
    fn location(&self) -> &Path {
        &self.path
    }

    fn doorbell(&self, mode: Mode, on_ring: OnRing) -> Result<Doorbell> {
        let tail = Tail::open(&self.path, self.file)?;
        let paths = Paths {
            database: self.path.clone(),
            log: file::beside(&self.path, "-wal"),
            bell: file::beside(&self.path, "-bell"),
        };
        Doorbell::spawn(paths, mode, Box::new(tail.listen(on_ring)))
            .map_err(|error| StoreError::Io(self.path.clone(), error.to_string()))
    }

    async fn probe(&self) -> Result<StoreProbe> {
        self.ensure_same_file()?;
        let started = clock::since_boot();
        self.run("looking at it", async {
            sqlx::query("SELECT version FROM bridge_schema")
                .fetch_one(&self.readers)
                .await?;
            Ok(())
        })
        .await?;
        Ok(StoreProbe {
            took: clock::since_boot().saturating_sub(started),
            log_bytes: reports::size(&file::beside(&self.path, "-wal")),
        })
    }

    async fn checkpoint(&self) -> Result<()> {
        self.run("writing the log back", async {
            sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
                .fetch_one(&self.readers)
                .await?;
            Ok(())
        })
        .await
    }

    async fn close(&self) {
        debug!(store = %self.path.display(), "closing the store");
        tokio::join!(
            self.messages.close(),
            self.heartbeats.close(),
            self.readers.close()
        );
    }
}
