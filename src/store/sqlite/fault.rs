//! What SQLite says, put into words for the person who must act.

use std::path::Path;

use crate::files;
use crate::store::StoreError;

/// A failure inside a call: one that already has its words, or SQLite's own.
#[derive(Debug)]
pub(super) enum Fault {
    Store(StoreError),
    Sql(sqlx::Error),
    /// The same of a statement that an executor ran.
    Lite(rusqlite::Error),
    /// A statement that had to write rows of this table reported success, and the
    /// rows are not there.
    Swallowed(&'static str),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Lite(error)
    }
}

impl Fault {
    /// The error for `path`, which happened while `doing` something.
    pub(super) fn explain(self, path: &Path, doing: &'static str) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Swallowed(table) => {
                let path = path.into();
                StoreError::Swallowed {
                    path,
                    table: table.into(),
                }
            }
            Self::Sql(error @ sqlx::Error::ColumnDecode { .. }) => StoreError::OddRow {
                path: path.into(),
                doing: doing.into(),
                what: error.to_string(),
            },
            Self::Sql(error) => explain(code(&error), &error.to_string(), path, doing),
            Self::Lite(error) => explain_rusqlite(&error, path, doing),
        }
    }
}

/// Whether another process has the lock.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code & 0xff == 5)
}

/// The same of a connection of an executor.
pub(super) fn is_locked(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

/// The extended result code.
fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// Whether a row holds a value of a wrong type.
fn is_odd(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// The same of a statement that ran on the thread that holds the connection.
pub(super) fn explain_rusqlite(
    error: &rusqlite::Error,
    path: &Path,
    doing: &'static str,
) -> StoreError {
    if is_odd(error) {
        let (path, what) = (path.into(), error.to_string());
        return StoreError::OddRow {
            path,
            doing: doing.into(),
            what,
        };
    }
    let code = error.sqlite_error().map(|e| e.extended_code);
    explain(code, &error.to_string(), path, doing)
}

/// Result codes: <https://sqlite.org/rescode.html>; the low byte is the
/// primary one.
fn explain(code: Option<i32>, text: &str, path: &Path, doing: &'static str) -> StoreError {
    let file = || path.to_owned();
    match code.map(|code| code & 0xff) {
        Some(10 | 14) if files::are_exhausted() => StoreError::TooManyFiles(file(), files::words()),
        Some(5 | 6) => StoreError::Busy(path.into()),
        Some(8) => StoreError::ReadOnly(file()),
        // Out of room shows as this when it is the log's index that cannot grow.
        Some(10 | 13) if super::file::is_full(path) => StoreError::Full(path.into()),
        Some(10) => StoreError::Io(path.into(), text.to_owned()),
        Some(11) => StoreError::Corrupt(file(), text.to_owned()),
        Some(13) => StoreError::Full(path.into()),
        Some(14) => cannot_open(path),
        Some(26) => StoreError::NotADatabase(file()),
        _ => StoreError::Sql(path.into(), doing.into(), text.to_owned()),
    }
}

/// SQLite says only that it could not open it; the file system knows why.
fn cannot_open(path: &Path) -> StoreError {
    match super::file::examine(path) {
        Err(error) => error,
        Ok(_) if super::file::is_read_only(path) => StoreError::ReadOnly(path.to_owned()),
        Ok(_) => StoreError::Permission(path.to_owned(), super::file::permission_remedy(path)),
    }
}
