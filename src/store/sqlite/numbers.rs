//! Numbers that were handed out once are not handed out again by a restored store: an
//! agent that the restore does not know may still hold task 7 under fence 3, and
//! messages are distinguished by their ids.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, params};
use serde_json::json;

use super::copy;
use super::inspect::has;
use super::ours;
use crate::model::timestamp;
use crate::store::ops::audit::ordered_by;

/// What is added where the store that was replaced cannot be asked.
const GAP: i64 = 1_000;
/// Tables whose ids a program outside may know.
const NUMBERED: [&str; 2] = ["messages", "bridge_task"];

/// How far a store had counted.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    sequences: Vec<(String, i64)>,
    fences: Vec<(i64, i64)>,
}

impl Numbers {
    /// How far this store has counted.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let mut numbers = Self::default();
        if has(connection, "sqlite_sequence")? {
            let mut statement = connection.prepare("SELECT name, seq FROM sqlite_sequence")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            numbers.sequences = rows.collect::<rusqlite::Result<_>>()?;
        }
        if has(connection, "bridge_task")? {
            let mut statement =
                connection.prepare("SELECT task_id, fence FROM bridge_task WHERE fence > 0")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            numbers.fences = rows.collect::<rusqlite::Result<_>>()?;
        }
        Ok(numbers)
    }

    /// Lets the database at `path`, which no other process knows, count on from there;
    /// without numbers, from a safe distance.
    ///
    /// The order to restore it, given `now`, stands in its audit log.
    pub(super) fn carry_over(
        numbers: Option<&Self>,
        path: &Path,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut connection = Connection::open_with_flags_and_vfs(path, flags, c"unix-none")?;
        copy::harden(&connection)?;
        // Alone with it, SQLite needs no shared memory for its log.
        connection.pragma_update(None, "locking_mode", "exclusive")?;
        connection.pragma_update(None, "temp_store", "memory")?;
        let change = connection.transaction()?;
        let tasks = has(&change, "bridge_task")?;
        let counted = has(&change, "sqlite_sequence")?;
        match numbers {
            Some(numbers) => {
                let known = numbers.sequences.iter().filter(|(name, _)| {
                    NUMBERED.contains(&name.as_str()) && (tasks || name == "messages")
                });
                for (name, seq) in known.filter(|_| counted) {
                    let moved = change.execute(
                        "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1",
                        params![name, seq],
                    )?;
                    if moved == 0 {
                        change.execute(
                            "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)",
                            params![name, seq],
                        )?;
                    }
                }
                for (task, fence) in numbers.fences.iter().filter(|_| tasks) {
                    change.execute(
                        "UPDATE bridge_task SET fence = ?2 WHERE task_id = ?1 AND fence < ?2",
                        [task, fence],
                    )?;
                }
            }
            None => {
                if counted {
                    for name in NUMBERED {
                        change.execute(
                            "UPDATE sqlite_sequence SET seq = seq + ?2 WHERE name = ?1",
                            params![name, GAP],
                        )?;
                    }
                }
                if tasks {
                    change.execute("UPDATE bridge_task SET fence = fence + ?1", [GAP])?;
                }
            }
        }
        if has(&change, "bridge_ours")? && change.query_one(ours::ADOPTED, [], |row| row.get(0))? {
            change.execute_batch(ours::TRIGGERS)?;
        }
        if has(&change, "audit_log")? {
            // An insertion that writes no row is an error.
            change
                .prepare(
                    "INSERT INTO audit_log (action, details, timestamp)
                     VALUES ('restore_store', ?1, ?2)",
                )?
                .insert(params![
                    json!({ "by": ordered_by() }).to_string(),
                    timestamp::to_text(now)
                ])?;
        }
        change.commit()?;
        connection.close().map_err(|(_, error)| error)
    }
}
