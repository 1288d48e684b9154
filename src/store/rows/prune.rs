//! What is taken away once it ended long ago. One call takes a part, so that no
//! writer waits long for the lock; the next one goes on from there.

use jiff::Timestamp;

use crate::store::Result;

/// Which rows of the tables that the Python bridge reads may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All that are due.
    All,
    /// Of these, those that programs of ours wrote.
    Ours,
}

/// Operations of housekeeping. Each returns how many rows it took, where that is
/// reported.
pub trait PruneRows {
    /// Messages that were read, of conversations that ended before; with what belongs
    /// to them.
    ///
    /// # Errors
    /// The engine's.
    fn delete_messages(&mut self, scope: Scope, before: Timestamp) -> Result<u64>;

    /// Conversations that ended before, and have neither messages nor tasks that are
    /// under way.
    ///
    /// # Errors
    /// The engine's.
    fn delete_conversations(&mut self, scope: Scope, before: Timestamp) -> Result<u64>;

    /// Rows of the audit log that are older.
    ///
    /// # Errors
    /// The engine's.
    fn delete_audit(&mut self, scope: Scope, before: Timestamp) -> Result<u64>;

    /// Rows that belong to nothing any more, also because another program took away
    /// what they belonged to.
    ///
    /// # Errors
    /// The engine's.
    fn delete_orphans(&mut self, scope: Scope) -> Result<()>;

    /// Wakes that ended before.
    ///
    /// # Errors
    /// The engine's.
    fn delete_wakes(&mut self, before: Timestamp) -> Result<u64>;

    /// Tasks that were over before.
    ///
    /// # Errors
    /// The engine's.
    fn delete_tasks(&mut self, before: Timestamp) -> Result<u64>;

    /// Alerts that recovered before.
    ///
    /// # Errors
    /// The engine's.
    fn delete_alerts(&mut self, before: Timestamp) -> Result<u64>;

    /// Words of operators that held until before.
    ///
    /// # Errors
    /// The engine's.
    fn delete_controls(&mut self, before: Timestamp) -> Result<()>;

    /// Daemons that gave no sign since, and that no row names.
    ///
    /// # Errors
    /// The engine's.
    fn delete_daemons(&mut self, before: Timestamp) -> Result<()>;

    /// Ends the alerts that no reader can do anything about any more, and notes them as
    /// announced: about a task that was taken away, or a session whose conversation has
    /// ended and that has no task.
    ///
    /// # Errors
    /// The engine's.
    fn end_moot_alerts(&mut self, now: Timestamp) -> Result<()>;
}
