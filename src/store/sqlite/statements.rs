//! How the rows' SQL is run: each statement is prepared once for a connection,
//! and run on the thread that holds it.

use std::borrow::Cow;
use std::time::Duration;

use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Params, Row};
use serde::Serialize;

use super::Durability;
use super::beside;
use super::fault::Fault;
use super::file::Files;
use super::odd;
use crate::model::SessionKey;
use crate::model::standing::Standing;

/// More than all the statements that there are.
const PREPARED: usize = 256;

/// Opens a connection of an executor, on a confined thread. `busy` is how long
/// SQLite itself waits for a lock.
///
/// # Errors
/// If the file is another one now, or SQLite cannot open it.
pub(super) fn open(
    files: &Files,
    durability: Durability,
    busy: Duration,
) -> Result<Connection, Fault> {
    files.ensure_usable()?;
    beside::ensure_fit(&files.database)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&files.database, flags)?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    connection.busy_timeout(busy)?;
    let synchronous = match durability {
        Durability::Full => "full",
        Durability::Normal => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What stands in the schema runs nothing that is not harmless.
    connection.pragma_update(None, "trusted_schema", false)?;
    // Files of its own elsewhere are none of a confined thread's.
    connection.pragma_update(None, "temp_store", "memory")?;
    // One that is opened late must not end up on another file.
    files.ensure_usable()?;
    Ok(connection)
}

/// Statements that are prepared once for each connection.
pub(super) trait Statements {
    /// Runs a statement that returns no rows; how many rows it changed.
    fn change(&self, sql: &str, values: impl Params) -> rusqlite::Result<usize>;

    /// The one row that there is.
    fn one<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T>;

    /// The first row, if there is one.
    fn first<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.one(sql, values, read).optional()
    }

    /// All rows, in order.
    fn all<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>>;
}

impl Statements for Connection {
    fn change(&self, sql: &str, values: impl Params) -> rusqlite::Result<usize> {
        self.prepare_cached(sql)?.execute(values)
    }

    fn one<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.prepare_cached(sql)?.query_row(values, read)
    }

    fn all<T>(
        &self,
        sql: &str,
        values: impl Params,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(read(row)?);
        }
        Ok(all)
    }
}

/// A column's text. A foreign writer may have put bytes there, or none, and one
/// odd row must not stand in the way of all that come after it.
pub(super) fn text<'row>(row: &'row Row<'_>, column: usize) -> rusqlite::Result<Cow<'row, str>> {
    let bytes = match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => &[],
    };
    Ok(String::from_utf8_lossy(bytes))
}

/// A column's text, if it says something.
pub(super) fn words(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    let text = text(row, column)?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

/// A session of its two columns, the conversation first; `None` where there is
/// none.
pub(super) fn session_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<SessionKey>> {
    let (conversation, side) = (text(row, column)?.parse(), text(row, column + 1)?.parse());
    Ok(match (conversation, side) {
        (Ok(conversation), Ok(side)) => Some(SessionKey::new(conversation, side)),
        _ => None,
    })
}

/// A list, as `json_each` takes it.
pub(super) fn json(list: &impl Serialize) -> String {
    // What cannot be written is no JSON, and refused by the statement.
    serde_json::to_string(list).unwrap_or_default()
}

/// Sessions, as `json_each` takes them: each a list of conversation and side.
pub(super) fn session_list(sessions: &[SessionKey]) -> String {
    let list: Vec<[&str; 2]> = sessions
        .iter()
        .map(|session| [session.conversation.as_str(), session.side.as_str()])
        .collect();
    json(&list)
}

/// The place in a list, as `json_each` counts it.
pub(super) fn place(row: &Row<'_>, column: usize) -> rusqlite::Result<usize> {
    Ok(usize::try_from(row.get::<_, i64>(column)?).unwrap_or(usize::MAX))
}

/// What was found of a session; the word of a newer program is not known.
pub(super) fn standing_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Standing>> {
    let word: Option<String> = row.get(column)?;
    Ok(word.as_deref().and_then(Standing::from_word))
}

/// A count of rows.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

/// A row, if it can be read: one that cannot must not stand in the way of all
/// others. `what` names it.
pub(super) fn readable<T>(what: &'static str, row: rusqlite::Result<T>) -> Option<T> {
    row.map_err(|error| odd::tell(what, &error)).ok()
}

/// A value in a column that holds something else than what was written there.
pub(super) fn odd_value(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
