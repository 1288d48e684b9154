//! The store as a thing that can break.

use crate::store::Result;

/// Operations that keep a store going.
pub trait UpkeepRows {
    /// A cheap look: whether it answers, and is no older copy of what it was.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Older`], and the engine's.
    fn look(&mut self) -> Result<()>;

    /// Counts one further, so that a copy from before is known as older.
    ///
    /// # Errors
    /// The engine's.
    fn count_on(&mut self) -> Result<()>;

    /// Writes a little that means nothing.
    ///
    /// # Errors
    /// The engine's.
    fn try_write(&mut self) -> Result<()>;

    /// Writes what it can of a log back into the data, without waiting. Not inside a
    /// transaction that writes.
    ///
    /// # Errors
    /// The engine's.
    fn write_log_back(&mut self) -> Result<()>;
}
