//! A row that a statement had to write was written. A trigger with
//! `raise(ignore)`, or a constraint that ignores its conflicts, keeps a row out and
//! reports success; an operator may have accepted such a definition. Each write
//! that must hit counts its rows, so that no caller hears of a row that is not
//! there.

use sqlx::sqlite::SqliteQueryResult;

use super::fault::Fault;

/// What a statement did, for one that had to change rows.
pub(super) trait Written: Sized {
    /// Refuses to go on if it did not change `rows` rows of `table`.
    ///
    /// # Errors
    /// [`Fault::Swallowed`].
    fn wrote(self, rows: usize, table: &'static str) -> Result<Self, Fault>;
}

/// How many rows a statement changed.
impl Written for usize {
    fn wrote(self, rows: usize, table: &'static str) -> Result<Self, Fault> {
        if self == rows {
            return Ok(self);
        }
        Err(Fault::Swallowed(table))
    }
}

impl Written for SqliteQueryResult {
    fn wrote(self, rows: usize, table: &'static str) -> Result<Self, Fault> {
        if u64::try_from(rows) == Ok(self.rows_affected()) {
            return Ok(self);
        }
        Err(Fault::Swallowed(table))
    }
}

/// The row that a statement gave back, for one that had to write one.
impl<T> Written for Option<T> {
    fn wrote(self, rows: usize, table: &'static str) -> Result<Self, Fault> {
        if self.iter().count() == rows {
            return Ok(self);
        }
        Err(Fault::Swallowed(table))
    }
}
