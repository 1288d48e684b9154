//! Time in a store runs forwards. The number of its newest message only grows,
//! as long as the file is the same: where it is lower than it was, an older copy
//! was written over the file (`cp`, `.restore`), and messages that were
//! acknowledged are gone.
//!
//! A process remembers the highest number that it saw. For the processes that
//! come later, the highest number whose commit is on the disk stands in the
//! bell's file: an older copy leaves that as it is. It costs nothing there, since
//! the bell is written after each of these commits anyway.

use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::SqliteConnection;

use super::fault::Fault;
use super::file::Files;
use crate::doorbell;
use crate::store::{Result, StoreError};

/// The number of the newest message that there ever was; no row before the first.
/// A macro, so that it can stand in a longer statement.
macro_rules! newest {
    () => {
        "SELECT CAST(seq AS INTEGER) FROM sqlite_sequence WHERE name = 'messages'"
    };
}
pub(super) use newest;

/// What this process saw of one store.
#[derive(Debug, Default)]
pub(super) struct Newest(AtomicI64);

impl Newest {
    /// Takes into account what other processes saw, and what is there now.
    pub(super) async fn look(
        &self,
        connection: &mut SqliteConnection,
        files: &Files,
    ) -> std::result::Result<(), Fault> {
        // Before the look: what is committed meanwhile is newer.
        let marked = doorbell::mark(&files.beside("-bell")).unwrap_or(0);
        self.0.fetch_max(marked, Ordering::AcqRel);
        let found = sqlx::query_scalar(newest!())
            .fetch_optional(connection)
            .await?;
        Ok(self.ensure_forwards(found, files)?)
    }

    /// # Errors
    /// [`StoreError::Older`] if the newest message that is there is older than
    /// one that was.
    pub(super) fn ensure_forwards(&self, found: Option<i64>, files: &Files) -> Result<()> {
        let found = found.unwrap_or(0);
        let seen = self.0.load(Ordering::Acquire);
        if found < seen {
            return Err(StoreError::Older {
                path: files.named.clone(),
                seen,
                found,
                bell: files.beside("-bell"),
            });
        }
        self.saw(found);
        Ok(())
    }

    /// Takes a committed number into account.
    pub(super) fn saw(&self, newest: i64) {
        self.0.fetch_max(newest, Ordering::AcqRel);
    }
}
