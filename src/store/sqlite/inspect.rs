//! What a database file is, without making anything of it: no schema is
//! brought up to date, no empty file becomes a store.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};

use super::admission::examine_store;
use super::confined::ConfinedPath;
use super::fault::explain_rusqlite;
use super::file::Files;
use super::odd;
use super::{FIRST_SCHEMA, SCHEMA_VERSION, copy, definitions, file, from_millis, shared};
use crate::model::timestamp;
use crate::store::accepted::Accepted;
use crate::store::{Result, StoreError, UsedUp};

/// Whose database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of ours.
    Own {
        /// Its schema.
        schema: i64,
        /// The oldest program that may use it.
        needed: i64,
        /// Whether the Python bridge made it.
        adopted: bool,
    },
    /// The Python bridge's, as it made it.
    Bridge,
    /// No tables at all.
    Empty,
    /// Another program's.
    Foreign,
}

impl Kind {
    /// Why this program cannot use it, if it cannot.
    #[must_use]
    pub fn refusal(self) -> Option<String> {
        match self {
            Self::Own { needed, schema, .. } if needed > SCHEMA_VERSION => Some(format!(
                "it has schema version {schema}, and this program reads versions up to {SCHEMA_VERSION}"
            )),
            Self::Own { schema, .. } if schema < FIRST_SCHEMA => Some(format!(
                "a build of before the first release made it (schema version {schema}), and no released program reads it"
            )),
            Self::Own { .. } | Self::Bridge => None,
            Self::Empty => Some("it is a database without tables".into()),
            Self::Foreign => Some("it is the database of another program".into()),
        }
    }

    /// Whether a build of before the first release made it.
    #[must_use]
    pub fn is_unreleased(self) -> bool {
        self.schema().is_some_and(|schema| schema < FIRST_SCHEMA)
    }

    /// The schema, of one of ours.
    #[must_use]
    pub fn schema(self) -> Option<i64> {
        match self {
            Self::Own { schema, .. } => Some(schema),
            _ => None,
        }
    }
}

/// What is in a database file.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub kind: Kind,
    /// `3.51.3`, of the linked SQLite.
    pub engine: String,
    /// `wal`, for anything sane.
    pub journal_mode: String,
    /// Rows of the shared tables; none in a foreign one.
    pub conversations: u64,
    /// The same of messages.
    pub messages: u64,
    /// The newest time that stands in it.
    pub newest: Option<Timestamp>,
    /// Bytes of the database file.
    pub bytes: u64,
    /// Bytes of its log.
    pub log_bytes: u64,
    /// Definitions that this program does not know, by name.
    pub differences: Vec<String>,
    /// The hash of all of them.
    pub fingerprint: String,
    /// The file in which root or this user accepted them.
    pub accepted: Option<PathBuf>,
    /// Rows of ours that cannot be read, if a thorough look was wanted.
    pub odd: Vec<String>,
    /// Tables that have no id left for another row.
    pub used_up: Vec<UsedUp>,
    /// What a quick look through all of it complains of, if one was wanted.
    pub problem: Option<String>,
}

/// Looks at the database that others may be using. `thorough` reads all of it.
///
/// # Errors
/// Each fault of the file or of SQLite's opening it.
pub fn inspect(path: &Path, thorough: bool) -> Result<Inspection> {
    examine_store(path)?;
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let accepted = Accepted::of(path);
    ConfinedPath::of_database(&real)?.run(|| {
        let connection = copy::reader(path)?;
        look(&connection, path, &accepted, thorough)
            .map_err(|error| explain_rusqlite(&error, path, "looking at it"))
    })?
}

/// Refuses a database that this program would have to change before it could
/// read it, and leaves no trace at it or beside it. Whether it is one that can be
/// read as it is; of what else it may be, the opening tells.
///
/// # Errors
/// [`StoreError::NotAdopted`], [`StoreError::OldSchema`], [`StoreError::Unreleased`];
/// of what else may be wrong, the opening tells.
pub(super) fn ensure_current(
    files: &Files,
    newest: i64,
    accepts: impl Fn(&str) -> bool,
) -> Result<bool> {
    let path = &files.database;
    let words = |error| explain_rusqlite(&error, &files.named, "looking at it");
    let has_log = std::fs::metadata(files.beside("-wal")).is_ok_and(|meta| meta.len() > 0);
    let connection = if has_log {
        let connection = copy::reader(path)?;
        // It may be the last one that closes: the log stays as it is.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(words)?;
        connection
    } else {
        copy::still(path).map_err(words)?
    };
    let objects = definitions::of(&connection).map_err(words)?;
    let known = |schema| definitions::ensure_known(&objects, schema, &files.named, &accepts);
    if definitions::has_schema_table(&objects) && !definitions::says_its_schema(&objects) {
        known(Some(SCHEMA_VERSION))?;
    }
    match kind(&connection).map_err(words)? {
        Kind::Bridge => {
            known(None)?;
            Err(StoreError::NotAdopted(files.named.clone()))
        }
        Kind::Own { schema, .. } if schema < FIRST_SCHEMA => Err(StoreError::Unreleased {
            path: files.named.clone(),
            found: schema,
        }),
        Kind::Own { schema, .. } if schema < newest => {
            known(Some(schema))?;
            Err(StoreError::OldSchema {
                path: files.named.clone().into(),
                found: schema,
            })
        }
        Kind::Own { schema, needed, .. } if needed <= newest => known(Some(schema)).map(|()| true),
        _ => Ok(false),
    }
}

/// Whose database it is, if it answers: a look that takes no longer for a large
/// one.
///
/// # Errors
/// As [`inspect`].
pub fn answers(path: &Path) -> Result<Kind> {
    examine_store(path)?;
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    ConfinedPath::of_database(&real)?.run(|| {
        let connection = copy::reader(path)?;
        kind(&connection).map_err(|error| explain_rusqlite(&error, path, "looking at it"))
    })?
}

/// Looks for rows of ours that cannot be read, in a store that can be.
///
/// # Errors
/// As [`inspect`].
pub fn odd_rows(path: &Path) -> Result<Vec<String>> {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    ConfinedPath::of_database(&real)?.run(|| {
        let connection = copy::reader(path)?;
        odd::rows(&connection)
            .map_err(|error| explain_rusqlite(&error, path, "looking at its rows"))
    })?
}

/// The same on an open connection.
pub(super) fn look(
    connection: &Connection,
    path: &Path,
    accepted: &Accepted,
    thorough: bool,
) -> rusqlite::Result<Inspection> {
    let objects = definitions::of(connection)?;
    let hidden = definitions::has_schema_table(&objects) && !definitions::says_its_schema(&objects);
    let kind = match hidden {
        // What says whose it is, is not ours: nothing in it is believed.
        true => Kind::Own {
            schema: SCHEMA_VERSION,
            needed: 1,
            adopted: false,
        },
        false => kind(connection)?,
    };
    let differences = match kind {
        // Nothing of it is read, so that nothing of it needs to be known.
        _ if kind.is_unreleased() => Vec::new(),
        Kind::Own { schema, .. } => definitions::differences(&objects, Some(schema)),
        Kind::Bridge => definitions::differences(&objects, None),
        Kind::Empty | Kind::Foreign => Vec::new(),
    };
    let fingerprint = definitions::fingerprint(&differences);
    let accepted = match differences.is_empty() {
        true => None,
        false => accepted.noted_in(&fingerprint).map(Path::to_owned),
    };
    let known = matches!(kind, Kind::Own { .. } | Kind::Bridge)
        && !kind.is_unreleased()
        && (differences.is_empty() || accepted.is_some());
    let count = |table: &str| match known {
        true => number(connection, &format!("SELECT count(*) FROM {table}")),
        false => Ok(0),
    };
    let problem = match thorough {
        true => connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?,
        false => "ok".to_owned(),
    };
    Ok(Inspection {
        path: path.to_owned(),
        kind,
        engine: rusqlite::version().to_owned(),
        journal_mode: connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?,
        conversations: count("conversations")?,
        messages: count("messages")?,
        newest: match known {
            true => newest(connection, kind)?,
            false => None,
        },
        bytes: file::size(path),
        log_bytes: file::size(&file::beside(
            &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
            "-wal",
        )),
        differences: differences.into_iter().map(|found| found.what).collect(),
        fingerprint,
        accepted,
        odd: match kind {
            Kind::Own { .. } if known && thorough => odd::rows(connection)?,
            _ => Vec::new(),
        },
        used_up: match kind {
            Kind::Own { .. } if known => odd::used_up(connection)?,
            _ => Vec::new(),
        },
        problem: Some(problem).filter(|said| said != "ok"),
    })
}

/// Whose database it is.
pub(super) fn kind(connection: &Connection) -> rusqlite::Result<Kind> {
    let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
    let tables = number(connection, tables)?;
    if has(connection, "bridge_schema")? {
        let (schema, needed) = connection.query_row(
            "SELECT version, min_compatible FROM bridge_schema",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let origin: Option<String> = connection
            .query_row(
                "SELECT value FROM bridge_setting WHERE key = 'origin'",
                [],
                |row| row.get(0),
            )
            .optional()?;
        return Ok(Kind::Own {
            schema,
            needed,
            adopted: origin.as_deref() == Some("adopted"),
        });
    }
    let missing = number(connection, shared::MISSING_COLUMNS)?;
    Ok(match (missing, tables) {
        (0, _) => Kind::Bridge,
        (_, 0) => Kind::Empty,
        _ => Kind::Foreign,
    })
}

fn number(connection: &Connection, question: &str) -> rusqlite::Result<u64> {
    let answer: i64 = connection.query_row(question, [], |row| row.get(0))?;
    Ok(u64::try_from(answer).unwrap_or(0))
}

/// Whether there is a table of that name.
pub(super) fn has(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)",
        [table],
        |row| row.get(0),
    )
}

fn newest(connection: &Connection, kind: Kind) -> rusqlite::Result<Option<Timestamp>> {
    let text = |table: &str| -> rusqlite::Result<Option<Timestamp>> {
        let sql = format!("SELECT CAST(timestamp AS TEXT) FROM {table} ORDER BY id DESC LIMIT 1");
        let found: Option<Option<String>> = connection
            .query_row(&sql, [], |row| row.get(0))
            .optional()?;
        Ok(found.flatten().and_then(|text| timestamp::from_text(&text)))
    };
    let mut times = vec![text("messages")?];
    if let Kind::Own { .. } = kind {
        times.push(text("audit_log")?);
        let beat: Option<i64> = connection.query_row(
            "SELECT max(beat_ms) FROM bridge_heartbeat WHERE typeof(beat_ms) = 'integer'",
            [],
            |row| row.get(0),
        )?;
        times.push(beat.map(from_millis));
    }
    Ok(times.into_iter().flatten().max())
}
