//! The audit log.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::model::{ConversationId, Side, timestamp};
use crate::store::rows::{Audit, AuditRows};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::statements::{Statements as _, text, words};
use crate::store::sqlite::written::Written as _;
use crate::store::{AuditEntry, AuditFilter, Result};

impl AuditRows for SqliteRows {
    fn audit(&mut self, rows: &[Audit], now: Timestamp) -> Result<()> {
        let now = timestamp::to_text(now);
        self.run(|connection| {
            for row in rows {
                connection
                    .change(
                        "INSERT INTO audit_log
                             (conversation_id, session_id, action, details, timestamp)
                         VALUES (?1, ?2, ?3, ?4, ?5)",
                        params![
                            row.conversation.as_ref().map(ConversationId::as_str),
                            row.side.map(Side::as_str),
                            row.action,
                            row.details.to_string(),
                            now
                        ],
                    )?
                    .wrote(1, "audit_log")?;
            }
            Ok(())
        })
    }

    fn newest_audit(&mut self) -> Result<Option<Timestamp>> {
        self.run(|connection| {
            let newest = connection.first(
                "SELECT timestamp FROM audit_log WHERE id = (SELECT max(id) FROM audit_log)",
                [],
                |row| Ok(timestamp::from_text(&text(row, 0)?)),
            )?;
            Ok(newest.flatten())
        })
    }

    fn newest_audit_id(&mut self) -> Result<i64> {
        self.run(|connection| {
            let newest = connection.first("SELECT max(id) FROM audit_log", [], |row| row.get(0))?;
            Ok(newest.flatten().unwrap_or(0))
        })
    }

    fn audited_behind(&mut self, number: i64, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        self.run(|connection| {
            let rows = "SELECT id, timestamp, conversation_id, session_id, action, details
                     FROM audit_log
                     WHERE id > ?4
                       AND (?1 IS NULL OR conversation_id = ?1)
                       AND (?2 IS NULL OR session_id IN (?2, 'session_' || ?2))
                       AND (?3 IS NULL OR action = ?3)
                     ORDER BY id";
            Ok(admitted(connection, rows, number, filter)?)
        })
    }

    fn audited(&mut self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        self.run(|connection| {
            let rows = "SELECT id, timestamp, conversation_id, session_id, action, details
                     FROM audit_log
                     WHERE (?1 IS NULL OR conversation_id = ?1)
                       AND (?2 IS NULL OR session_id IN (?2, 'session_' || ?2))
                       AND (?3 IS NULL OR action = ?3)
                       AND id > ?4
                     ORDER BY id DESC";
            let mut entries = admitted(connection, rows, i64::MIN, filter)?;
            entries.reverse();
            Ok(entries)
        })
    }
}

/// The first of these rows that a filter admits, up to its limit. What SQL cannot judge
/// of what other programs wrote, a time and details, is judged here.
fn admitted(
    connection: &Connection,
    rows: &str,
    number: i64,
    filter: &AuditFilter,
) -> rusqlite::Result<Vec<AuditEntry>> {
    let mut question = connection.prepare_cached(rows)?;
    let mut rows = question.query(params![
        filter.conversation.as_ref().map(ConversationId::as_str),
        filter.side.map(Side::as_str),
        filter.action,
        number
    ])?;
    let mut entries = Vec::new();
    let limit = filter.limit as usize;
    while entries.len() < limit
        && let Some(row) = rows.next()?
    {
        let entry = entry(row)?;
        if filter.admits(&entry) {
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        id: row.get(0)?,
        at: timestamp::from_text(&text(row, 1)?),
        conversation: words(row, 2)?,
        session: words(row, 3)?,
        action: text(row, 4)?.into_owned(),
        details: words(row, 5)?
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or(serde_json::Value::Null),
    })
}
