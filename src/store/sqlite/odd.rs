//! Rows that cannot be read, because another program put a value of a wrong type
//! into them, and ids that are used up. One such row must not stand in the way of
//! all others: listings leave it out, and the log, `store verify` and `doctor` tell
//! of it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use tracing::warn;

use super::definitions::{self, shown_name};
use crate::store::UsedUp;
use crate::text;

/// How many kinds of odd rows one process reports in its log at most.
const TOLD: usize = 100;

/// Says once that a row of these is left out: a daemon lists them all the time.
pub(super) fn tell(what: &'static str, error: &dyn std::error::Error) {
    static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let said = format!("{what}: {error}");
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() < TOLD && known.insert(said) {
        warn!(
            event = "row-odd",
            "one of the {what} in the store cannot be read and is skipped: {error}; \
             `mcp-bridge store verify` names it"
        );
    }
}

/// Every row of our tables with a value of a wrong type, by table.
pub(super) fn rows(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut found = Vec::new();
    for table in definitions::tables() {
        let mut statement =
            connection.prepare("SELECT name, upper(type), pk FROM pragma_table_info(?1)")?;
        let columns: Vec<(String, String, i64)> = statement
            .query_map([&table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let odd: Vec<(&str, String)> = columns
            .iter()
            .filter(|(_, kind, _)| kind == "INTEGER" || kind == "TEXT")
            .map(|(name, kind, _)| {
                let kind = kind.to_ascii_lowercase();
                (
                    name.as_str(),
                    format!("typeof(\"{name}\") NOT IN ('{kind}', 'null')"),
                )
            })
            .collect();
        if odd.is_empty() {
            continue;
        }
        let keys: Vec<String> = columns
            .iter()
            .filter(|(.., pk)| *pk > 0)
            .map(|(name, ..)| format!("substr(quote(\"{name}\"), 1, 40)"))
            .collect();
        let key = match keys.is_empty() {
            true => "''".to_owned(),
            false => keys.join(" || ', ' || "),
        };
        let column: String = odd
            .iter()
            .map(|(name, test)| format!(" WHEN {test} THEN '{name}'"))
            .collect();
        let any: Vec<&str> = odd.iter().map(|(_, test)| test.as_str()).collect();
        let mut question = "SELECT".to_owned();
        question.push_str(&format!(
            " count(*), {key}, CASE{column} END FROM \"{table}\" WHERE {}",
            any.join(" OR ")
        ));
        let (count, key, column): (i64, Option<String>, Option<String>) =
            connection.query_row(&question, [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        if let (1.., Some(key), Some(column)) = (count, key, column) {
            found.push(format!(
                "table {table}: {} with a value of a wrong type, such as {} in column {column}",
                text::count(count.unsigned_abs(), "row"),
                shown_name(&key)
            ));
        }
    }
    Ok(found)
}

/// The tables whose ids ascend, of which the last one that there can be was given
/// out: the row may be there, or have been deleted.
const USED_UP: &str = "SELECT * FROM (
     SELECT 'messages' AS name, 'id', max(id) IS 9223372036854775807 AS there FROM messages
     UNION ALL
     SELECT 'audit_log', 'id', max(id) IS 9223372036854775807 FROM audit_log
     UNION ALL
     SELECT 'bridge_task', 'task_id', max(task_id) IS 9223372036854775807 FROM bridge_task
     UNION ALL
     SELECT 'bridge_task_history', 'history_id', max(history_id) IS 9223372036854775807
         FROM bridge_task_history
     UNION ALL
     SELECT 'bridge_alert', 'alert_id', max(alert_id) IS 9223372036854775807 FROM bridge_alert) w
     WHERE there OR EXISTS (SELECT 1 FROM sqlite_sequence s
                            WHERE s.name = w.name AND s.seq >= 9223372036854775807)";

/// The tables that have none left.
pub(super) fn used_up(connection: &Connection) -> rusqlite::Result<Vec<UsedUp>> {
    let mut statement = connection.prepare(USED_UP)?;
    let found = statement.query_map([], |row| {
        Ok(UsedUp {
            table: row.get(0)?,
            column: row.get(1)?,
            there: row.get(2)?,
        })
    })?;
    found.collect()
}
