//! Settings and the audit log.

use jiff::Timestamp;
use rusqlite::params;

use crate::model::rate::RateLimits;
use crate::model::token::TokenStorage;
use crate::model::{ConversationId, Side, timestamp};
use crate::store::Result;
use crate::store::rows::{Audit, SettingRows};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::statements::{Statements as _, text};
use crate::store::sqlite::written::Written as _;

impl SettingRows for SqliteRows {
    fn rate_limits(&mut self) -> Result<RateLimits> {
        self.run(|connection| {
            let mut limits = RateLimits::default();
            connection.all(
                "SELECT key, value FROM bridge_setting WHERE key GLOB 'rate.*'",
                [],
                |row| {
                    if let Ok(limit) = text(row, 1)?.parse() {
                        match &*text(row, 0)? {
                            "rate.per_minute" => limits.per_minute = limit,
                            "rate.per_hour" => limits.per_hour = limit,
                            "rate.per_day" => limits.per_day = limit,
                            _ => {}
                        }
                    }
                    Ok(())
                },
            )?;
            Ok(limits)
        })
    }

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

    fn token_storage(&mut self) -> Result<TokenStorage> {
        self.run(|connection| {
            let storage = connection.first(
                "SELECT value FROM bridge_setting WHERE key = 'token_storage'",
                [],
                |row| Ok(TokenStorage::from_word(&row.get::<_, String>(0)?)),
            )?;
            Ok(storage.flatten().unwrap_or(TokenStorage::Hashed))
        })
    }

    fn signal(&mut self) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_signal (name, n) VALUES ('work', 1)
                     ON CONFLICT (name) DO UPDATE SET n = n + 1",
                    [],
                )?
                .wrote(1, "bridge_signal")?;
            Ok(())
        })
    }

    fn set_setting(&mut self, key: &'static str, value: &str) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_setting (key, value) VALUES (?1, ?2)
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    [key, value],
                )?
                .wrote(1, "bridge_setting")?;
            Ok(())
        })
    }
}
