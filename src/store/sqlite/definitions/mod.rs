//! What stands in a database besides data, and would run, hide or change
//! something when we read or write: triggers, views in the place of tables,
//! computed columns, constraints that delete. Definitions are compared with those
//! that we know; of everything else the operator decides, outside the store.

mod known;
mod shape;
mod tokens;

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use sha2::{Digest as _, Sha256};
use sqlx::{Row as _, SqliteConnection};

use super::fault::Fault;
use super::{FIRST_SCHEMA, SCHEMA_VERSION, shared};
use crate::store::StoreError;
use known::known;
pub(super) use shape::shown_name;

/// The tables that we share with the Python bridge, and what their keys may be.
const SHARED: [(&str, &[&[&str]]); 4] = [
    ("conversations", &[&["id"]]),
    ("messages", &[&["id"]]),
    (
        "session_status",
        &[&["conversation_id", "session_id"], &["conversation_id"]],
    ),
    ("audit_log", &[&["id"]]),
];

/// The migrations' own table, and functions of SQLite that a table of the same
/// name would hide.
const MIGRATIONS_TABLE: &str = "_sqlx_migrations";
const FUNCTIONS: [&str; 2] = ["json_each", "pragma_table_info"];

/// A row of `sqlite_schema`.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) table: String,
    /// `None` of what SQLite makes by itself.
    pub(super) sql: Option<String>,
}

impl Object {
    /// Whether `sql` defines the same.
    fn is(&self, sql: &str) -> bool {
        let own = self.sql.as_deref().unwrap_or_default();
        // As it is, in every store of ours: the words are only for the others.
        own == sql || tokens::same(sql, own)
    }
}

/// Something that we do not know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Difference {
    /// What it is, by name, for the operator.
    pub(super) what: String,
    /// What it is made of, for the hash.
    made_of: String,
}

/// All objects of a database.
const OBJECTS: &str = "SELECT type, name, tbl_name, sql FROM sqlite_schema";

/// What of `objects` this program does not know, in a store of this schema; `None`
/// for a database that was not adopted yet.
pub(super) fn differences(objects: &[Object], schema: Option<i64>) -> Vec<Difference> {
    let known = schema.map(|schema| known(schema.clamp(FIRST_SCHEMA, SCHEMA_VERSION)));
    let newer = schema.is_some_and(|schema| schema > SCHEMA_VERSION);
    let empty = BTreeMap::new();
    let known = known.as_deref().unwrap_or(&empty);
    let mut found: Vec<Difference> = objects
        .iter()
        .filter_map(|object| {
            let what = judge(object, known, newer)?;
            let sql = object.sql.as_deref().map(tokens::line);
            let made_of = format!(
                "{} {:?} {:?} {}",
                object.kind,
                object.name.to_ascii_lowercase(),
                object.table.to_ascii_lowercase(),
                sql.unwrap_or_default()
            );
            Some(Difference { what, made_of })
        })
        .collect();
    let there = |kind: &str, name: &str| {
        let mut all = objects.iter();
        all.any(|object| object.kind == kind && object.name.eq_ignore_ascii_case(name))
    };
    for (name, object) in known {
        if !there(&object.kind, name) {
            found.push(Difference {
                what: format!("{} {} is missing", object.kind, shown_name(name)),
                made_of: format!("missing {name}"),
            });
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What is wrong with an object, if anything.
fn judge(object: &Object, known: &BTreeMap<String, Object>, newer: bool) -> Option<String> {
    let (name, table) = (
        object.name.to_ascii_lowercase(),
        object.table.to_ascii_lowercase(),
    );
    let ours = |name: &str| {
        let reserved = known.get(name).is_some_and(|known| known.kind == "table");
        reserved || name == MIGRATIONS_TABLE || SHARED.iter().any(|(shared, _)| *shared == name)
    };
    let shown = shown_name(&object.name);
    let sql = object.sql.as_deref();
    match object.kind.as_str() {
        "trigger" if ours(&table) => Some(format!("trigger {shown} on {}", shown_name(&table))),
        "view" if ours(&name) => Some(format!("view {shown} instead of a table")),
        "table" | "view" if FUNCTIONS.contains(&name.as_str()) => {
            Some(format!("{} {shown} instead of a function", object.kind))
        }
        "table" if ours(&name) => {
            let sql = sql.unwrap_or_default();
            let wrong = match known.get(&name) {
                Some(known) => of_ours(sql, known, newer),
                None => of_theirs(&name, sql),
            }?;
            Some(format!("table {shown}: {wrong}"))
        }
        // What SQLite makes for a key is judged with its table.
        "index" if ours(&table) && sql.is_some() => {
            let sql = sql.unwrap_or_default();
            let fits = match known.get(&name) {
                Some(known) => known.is(sql),
                None => shape::is_plain_index(sql),
            };
            (!fits).then(|| format!("index {shown} on {}", shown_name(&table)))
        }
        _ => None,
    }
}

/// What is wrong with a table that only we make.
fn of_ours(sql: &str, known: &Object, newer: bool) -> Option<String> {
    let grown = || newer && is_grown(sql, known.sql.as_deref().unwrap_or_default());
    let fits = known.is(sql) || grown();
    (!fits).then(|| "its definition is not the one of its schema".to_owned())
}

/// Whether a newer version added plain columns behind all others.
fn is_grown(sql: &str, known: &str) -> bool {
    let (Some(sql), Some(known)) = (tokens::tokens(sql), tokens::tokens(known)) else {
        return false;
    };
    let Some(added) = sql.len().checked_sub(known.len()).filter(|n| *n > 0) else {
        return false;
    };
    let common = sql.iter().zip(&known).take_while(|(a, b)| a == b).count();
    // The comma before the new column may be taken for the one behind it.
    (common.saturating_sub(added)..=common).any(|at| {
        sql[..at] == known[..at]
            && sql[at + added..] == known[at..]
            && shape::adds_plain_columns(&sql[at..at + added])
    })
}

/// What is wrong with a table of the Python bridge, or of the migrations.
fn of_theirs(name: &str, sql: &str) -> Option<String> {
    let shape = match shape::table(sql) {
        Ok(shape) => shape,
        Err(what) => return Some(format!("{what} is not plain")),
    };
    let keys = SHARED.iter().find(|(shared, _)| *shared == name)?.1;
    let fits = keys.iter().any(|key| shape.key == *key);
    (!fits).then(|| format!("its key is ({})", shape.key.join(", ")))
}

/// The tables that only we make.
pub(super) fn tables() -> Vec<String> {
    let known = known(SCHEMA_VERSION);
    let tables = known.iter().filter(|(_, object)| object.kind == "table");
    tables.map(|(name, _)| name.clone()).collect()
}

/// The objects of an open database.
pub(super) fn of(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    let mut statement = connection.prepare(OBJECTS)?;
    let rows = statement.query_map([], |row| {
        let text = |column: usize| -> rusqlite::Result<Option<String>> {
            Ok(match row.get_ref(column)? {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                    Some(String::from_utf8_lossy(bytes).into_owned())
                }
                _ => None,
            })
        };
        Ok(Object {
            kind: text(0)?.unwrap_or_default(),
            name: text(1)?.unwrap_or_default(),
            table: text(2)?.unwrap_or_default(),
            sql: text(3)?,
        })
    })?;
    rows.collect()
}

/// The same on a connection of sqlx's, of the database at `path`.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<Vec<Object>, Fault> {
    let rows = sqlx::query(OBJECTS).fetch_all(connection).await?;
    let mut objects = Vec::with_capacity(rows.len());
    for row in &rows {
        // sqlx takes the names and types of columns for UTF-8 and panics on its
        // worker's thread when damage made something else of them.
        let sql: Option<&[u8]> = row.try_get_unchecked(3)?;
        if std::str::from_utf8(sql.unwrap_or_default()).is_err() {
            let what = "its schema is not text".to_owned();
            return Err(StoreError::Corrupt(path.to_owned(), what).into());
        }
        objects.push(Object {
            kind: shared::text(row, 0)?.into_owned(),
            name: shared::text(row, 1)?.into_owned(),
            table: shared::text(row, 2)?.into_owned(),
            sql: sql.map(|sql| String::from_utf8_lossy(sql).into_owned()),
        });
    }
    Ok(objects)
}

/// The schema that a store says it has, if the table that says so is our own.
pub(super) fn says_its_schema(objects: &[Object]) -> bool {
    let named = |object: &&Object| object.name.eq_ignore_ascii_case("bridge_schema");
    objects.iter().find(named).is_some_and(|object| {
        let known = known(FIRST_SCHEMA);
        let ours = known
            .get("bridge_schema")
            .and_then(|known| known.sql.as_deref());
        let sql = object.sql.as_deref().unwrap_or_default();
        object.kind == "table" && tokens::same(sql, ours.unwrap_or_default())
    })
}

/// Whether an object of that name takes the place of ours.
pub(super) fn has_schema_table(objects: &[Object]) -> bool {
    let mut all = objects.iter();
    all.any(|object| object.name.eq_ignore_ascii_case("bridge_schema"))
}

/// One hash of all differences: what an operator accepts.
pub(super) fn fingerprint(differences: &[Difference]) -> String {
    let mut hash = Sha256::new();
    for difference in differences {
        hash.update(difference.made_of.as_bytes());
        hash.update(b"\n");
    }
    // Half of it is enough, and fits on a line.
    hash.finalize()
        .iter()
        .take(16)
        .fold(String::new(), |mut hex, byte| {
            hex.push_str(&format!("{byte:02x}"));
            hex
        })
}

/// Refuses what the operator has not accepted.
///
/// # Errors
/// [`StoreError::UnknownDefinitions`].
pub(super) fn ensure_known(
    objects: &[Object],
    schema: Option<i64>,
    path: &Path,
    accepts: impl Fn(&str) -> bool,
) -> Result<(), StoreError> {
    let found = differences(objects, schema);
    if found.is_empty() {
        return Ok(());
    }
    let hash = fingerprint(&found);
    if accepts(&hash) {
        return Ok(());
    }
    Err(StoreError::UnknownDefinitions {
        path: path.to_owned(),
        what: found
            .into_iter()
            .map(|difference| difference.what)
            .collect(),
        hash,
    })
}

#[cfg(test)]
mod tests;
