//! The audit log.

use jiff::Timestamp;
use rusqlite::{Row, params};

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

    fn audited(&mut self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        self.run(|connection| {
            let entries = connection.all(
                "SELECT * FROM (
                     SELECT id, timestamp, conversation_id, session_id, action, details
                     FROM audit_log
                     WHERE (?1 IS NULL OR conversation_id = ?1)
                       AND (?2 IS NULL OR session_id IN (?2, 'session_' || ?2))
                       AND (?3 IS NULL OR action = ?3)
                     ORDER BY id DESC LIMIT ?4
                 ) ORDER BY id",
                params![
                    filter.conversation.as_ref().map(ConversationId::as_str),
                    filter.side.map(Side::as_str),
                    filter.action,
                    filter.limit
                ],
                entry,
            )?;
            Ok(entries)
        })
    }
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
