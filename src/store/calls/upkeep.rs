//! What keeps a store going, and finds out whether it goes.

use tracing::debug;

use crate::clock;
#[cfg(doc)]
use crate::store::StoreError;
use crate::store::{Result, Store, StoreProbe};

impl Store {
    /// A cheap look: is what stands there still what is open, and does it answer?
    ///
    /// # Errors
    /// [`StoreError::Replaced`], and what the store reports.
    pub async fn probe(&self) -> Result<StoreProbe> {
        let started = clock::since_boot();
        self.backend.renew();
        self.reads.read("looking at it", |rows| rows.look()).await?;
        Ok(StoreProbe {
            took: clock::since_boot().saturating_sub(started),
            log_bytes: self.backend.log_bytes(),
        })
    }

    /// Writes a little, to find out whether the store takes writes: at the
    /// durability of the writes that are in doubt, and without a wait for the
    /// disk where none is.
    ///
    /// # Errors
    /// Each fault that keeps the store from being written.
    pub async fn try_write(&self) -> Result<()> {
        let doing = "trying to write";
        if self.full.health().doubtful_since.is_some() {
            self.full
                .write(doing, |transaction| transaction.rows().try_write())
                .await?;
        }
        self.normal
            .write(doing, |transaction| transaction.rows().try_write())
            .await
    }

    /// Lets the store count on where nothing else does, and notes how far it is:
    /// by that an older copy is known that is put in its place. For a daemon, about
    /// once a second.
    ///
    /// # Errors
    /// [`StoreError::Older`] and [`StoreError::Mixed`] of such a copy.
    pub async fn tend(&self) -> Result<()> {
        if self.backend.stands_still() {
            let counted = self.full.write("updating the counters", |transaction| {
                transaction.rows().count_on()?;
                // Which notes it in the bell's file.
                transaction.ring();
                Ok(())
            });
            match counted.await {
                Err(error) if error.is_another_file() => return Err(error),
                Err(error) => debug!(%error, "the store's counters were not updated"),
                Ok(()) => {}
            }
        }
        self.backend.note_count().await
    }

    /// Writes what it can of the log back into the database, without waiting
    /// for anyone.
    ///
    /// # Errors
    /// The engine's.
    pub async fn checkpoint(&self) -> Result<()> {
        self.reads
            .read("writing the log back", |rows| rows.write_log_back())
            .await
    }
}
