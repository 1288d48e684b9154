//! The audit log.

use jiff::Timestamp;
use rusqlite::params;

use crate::model::{ConversationId, Side, timestamp};
use crate::store::Result;
use crate::store::rows::{Audit, AuditRows};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::statements::{Statements as _, text};
use crate::store::sqlite::written::Written as _;

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
}
