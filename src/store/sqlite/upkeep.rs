//! The store as a thing that can break: its files, the doorbell, its end.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use tracing::{debug, warn};

use super::SqliteStore;
use super::file::size;
use super::tail::Tail;
use crate::doorbell::{Doorbell, Mode, Paths};
use crate::model::StoreName;
use crate::store::writes::health_of;
use crate::store::{Backend, OnRing, Result, StoreError, WriteHealth};

/// Longest wait for calls that are under way when the store is closed.
const CLOSING: Duration = Duration::from_secs(10);

#[async_trait]
impl Backend for SqliteStore {
    fn location(&self) -> &StoreName {
        &self.name
    }

    fn doorbell(&self, mode: Mode, on_ring: OnRing) -> Result<Doorbell> {
        let tail = self
            .confined
            .run(|| Tail::open(&self.files, &self.own_commits))??;
        let paths = Paths {
            database: self.files.database.clone(),
            log: self.files.beside("-wal"),
            bell: self.files.beside("-bell"),
        };
        let own = Arc::clone(&self.own_commits);
        Doorbell::spawn(paths, mode, own, Box::new(tail.listen(on_ring)))
            .map_err(|error| StoreError::Io(self.path().into(), error.to_string()))
    }

    fn renew(&self) {
        self.acceptance.renew(self.path());
    }

    fn log_bytes(&self) -> u64 {
        size(&self.files.beside("-wal"))
    }

    fn writes(&self) -> WriteHealth {
        health_of(&self.full, &self.normal)
    }

    fn stands_still(&self) -> bool {
        self.tended.stands_still(self.newest.seen())
    }

    async fn note_count(&self) -> Result<()> {
        let (tended, files) = (Arc::clone(&self.tended), Arc::clone(&self.files));
        tokio::task::spawn_blocking(move || tended.note(&files))
            .await
            .map_err(|died| StoreError::Io(self.path().into(), died.to_string()))?
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
        };
        // The end of the process closes it as well.
        if tokio::time::timeout(CLOSING, closed).await.is_err() {
            warn!(
                event = "store-not-closed", store = %self.path().display(),
                "the store did not close in time"
            );
        }
    }
}
