//! Time in a store runs forwards: the numbers that it gives only grow, as long as
//! the file is the same. Where their sum is lower than it was, an older copy was
//! written over the file (`cp`, `.restore`), and what was acknowledged is gone.
//!
//! Messages and rows of the audit log are numbered anyway; a daemon counts on
//! where neither came for a while, so that a copy without newer messages is known
//! as well. A process remembers the highest sum that it saw. For the processes
//! that come later, the highest sum whose commit is on the disk stands in the
//! bell's file: an older copy leaves that as it is. It costs nothing there, since
//! the bell is written after each of these commits anyway.

use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;

use super::fault::Fault;
use super::file::Files;
use super::statements::Statements as _;
use crate::doorbell;
use crate::store::{Result, StoreError};

/// How far the store has counted. A macro, so that it can stand in a longer
/// statement.
macro_rules! newest {
    () => {
        // The sum of three such numbers is one, too.
        "SELECT coalesce(sum(max(0, min(CAST(seq AS INTEGER), 1152921504606846976))), 0)
         FROM sqlite_sequence
         WHERE name IN ('messages', 'audit_log', 'bridge_time')"
    };
}
pub(super) use newest;

/// Whether rows that were written one after the other can have come to this count.
pub(super) fn is_plausible(newest: i64) -> bool {
    newest < 1 << 60
}

/// What this process saw of one store.
#[derive(Debug, Default)]
pub(super) struct Newest(AtomicI64);

impl Newest {
    /// Takes into account what other processes saw, and what is there now.
    pub(super) fn look(
        &self,
        connection: &Connection,
        files: &Files,
    ) -> std::result::Result<(), Fault> {
        // Before the look: what is committed meanwhile is newer.
        let marked = doorbell::marks(&files.beside("-bell")).count;
        self.saw(marked.unwrap_or(0));
        let seen = self.seen();
        let found = connection.one(newest!(), [], |row| row.get(0))?;
        Ok(self.ensure_forwards(found, seen, files)?)
    }

    /// The highest count that this process saw.
    pub(super) fn seen(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }

    /// Refuses a count that is lower than one that was seen before the look.
    ///
    /// # Errors
    /// [`StoreError::Older`].
    pub(super) fn ensure_forwards(&self, found: i64, seen: i64, files: &Files) -> Result<()> {
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

    /// Takes a committed count into account, if it is one that a store can come to:
    /// where the last id was given out, an operator sets the count back.
    pub(super) fn saw(&self, newest: i64) {
        if is_plausible(newest) {
            self.0.fetch_max(newest, Ordering::AcqRel);
        }
    }
}
