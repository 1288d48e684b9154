//! What SQLite says, put into words for the person who must act.

use std::path::Path;

use crate::store::StoreError;

/// A failure inside a call: one that already has its words, or SQLite's own.
#[derive(Debug)]
pub(super) enum Fault {
    Store(StoreError),
    Sql(sqlx::Error),
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

impl Fault {
    /// The error for `path`, which happened while `doing` something.
    pub(super) fn explain(self, path: &Path, doing: &'static str) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Sql(error) => {
                let code = error
                    .as_database_error()
                    .and_then(|e| e.code())
                    .and_then(|code| code.parse().ok());
                explain(code, &error.to_string(), path, doing)
            }
        }
    }
}

/// The same for the reader on the doorbell's thread.
pub(super) fn explain_rusqlite(
    error: &rusqlite::Error,
    path: &Path,
    doing: &'static str,
) -> StoreError {
    let code = error.sqlite_error().map(|e| e.extended_code);
    explain(code, &error.to_string(), path, doing)
}

/// Result codes: <https://sqlite.org/rescode.html>; the low byte is the
/// primary one.
fn explain(code: Option<i32>, text: &str, path: &Path, doing: &'static str) -> StoreError {
    let path = path.to_owned();
    match code.map(|code| code & 0xff) {
        Some(5 | 6) => StoreError::Busy(path),
        Some(8) => StoreError::ReadOnly(path),
        // A full disk that shows in the shared memory file, not in a write.
        Some(10) if has_no_room(&path) => StoreError::Full(path),
        Some(10) => StoreError::Io(path, text.to_owned()),
        Some(11) => StoreError::Corrupt(path, text.to_owned()),
        Some(13) => StoreError::Full(path),
        Some(14) => cannot_open(&path),
        Some(26) => StoreError::NotADatabase(path),
        _ => StoreError::Sql(path, doing, text.to_owned()),
    }
}

fn has_no_room(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|stat| stat.f_bavail == 0)
}

/// SQLite says only that it could not open it; the file system knows why.
fn cannot_open(path: &Path) -> StoreError {
    super::file::examine(path).err().unwrap_or_else(|| {
        StoreError::Permission(path.to_owned(), super::file::permission_remedy(path))
    })
}
