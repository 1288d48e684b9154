//! What an executor needs of a database.

use crate::store::Result;
use crate::store::rows::Rows;

/// One way to write: a connection, used by one thread.
pub trait Engine: Send {
    /// Whether several writes may share a transaction of it. One that reads has no
    /// commit to share.
    fn shares(&self) -> bool {
        true
    }

    /// Begins a transaction with the lock that a write needs. Tries at least
    /// once, and again while it `goes_on`. `doing` says what a failure happened to.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Busy`], and each fault that keeps it from beginning.
    fn begin(&mut self, goes_on: &dyn Fn() -> bool, doing: &'static str) -> Result<()>;

    /// Begins a part that can be taken back by itself.
    ///
    /// # Errors
    /// If the transaction is over.
    fn savepoint(&mut self) -> Result<()>;

    /// Keeps the part.
    ///
    /// # Errors
    /// If the transaction is over.
    fn keep(&mut self) -> Result<()>;

    /// Takes the part back.
    ///
    /// # Errors
    /// If the transaction is over: the engine took back everything.
    fn take_back(&mut self) -> Result<()>;

    /// Commits, and rings the bell if what was written may interest others. Whether
    /// anything was changed: an empty commit does not test the disk.
    ///
    /// # Errors
    /// If it is not committed. What was committed and must not be acknowledged
    /// is [`Engine::acknowledge`]'s to say.
    fn commit(&mut self, ring: bool) -> Result<bool>;

    /// Whether what was just committed may be acknowledged: a commit into a file
    /// that was renamed away is lost to everyone else. Asked after the commit, once if
    /// it may, and once for each write of it that may not.
    ///
    /// # Errors
    /// Why not.
    fn acknowledge(&mut self) -> Result<()>;

    /// Ends the transaction, if there is one, and discards it.
    fn roll_back(&mut self);

    /// The rows, inside the transaction. `doing` says what a failure happened to.
    fn rows(&mut self, doing: &'static str) -> &mut dyn Rows;
}

/// One way to read: a connection, used by one thread. It needs no transaction: each
/// question sees what was committed last.
pub trait ReadEngine: Send {
    /// Makes the connection ready for questions. `doing` says what a failure
    /// happened to.
    ///
    /// # Errors
    /// Each fault that keeps the rows from being read.
    fn begin(&mut self, doing: &'static str) -> Result<()>;

    /// The rows. `doing` says what a failure happened to.
    fn rows(&mut self, doing: &'static str) -> &mut dyn Rows;

    /// The questions are answered: a view that was held ([`Rows::hold_view`]) is let go
    /// of.
    fn end(&mut self) {}
}

/// One that reads, for an executor: there is nothing to commit or to take back.
pub(super) struct ReadsOnly(pub(super) Box<dyn ReadEngine>);

impl Engine for ReadsOnly {
    fn shares(&self) -> bool {
        false
    }

    fn begin(&mut self, _goes_on: &dyn Fn() -> bool, doing: &'static str) -> Result<()> {
        self.0.begin(doing)
    }

    fn savepoint(&mut self) -> Result<()> {
        Ok(())
    }

    fn keep(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_back(&mut self) -> Result<()> {
        Ok(())
    }

    fn commit(&mut self, _ring: bool) -> Result<bool> {
        self.0.end();
        Ok(false)
    }

    fn acknowledge(&mut self) -> Result<()> {
        Ok(())
    }

    fn roll_back(&mut self) {
        self.0.end();
    }

    fn rows(&mut self, doing: &'static str) -> &mut dyn Rows {
        self.0.rows(doing)
    }
}
