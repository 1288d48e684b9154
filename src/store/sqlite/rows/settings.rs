//! Settings and the audit log.

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use crate::model::rate::RateLimits;
use crate::model::token::TokenStorage;
use crate::model::{ConversationId, Side, timestamp};
use crate::store::Result;
use crate::store::rows::{Audit, SettingRows};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{reports, shared, tasks};

impl SettingRows for SqliteRows {
    fn rate_limits(&mut self) -> Result<RateLimits> {
        self.run(async |connection| reports::rate_limits(connection).await)
    }

    fn audit(&mut self, rows: &[Audit], now: Timestamp) -> Result<()> {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let conversation = row.conversation.as_ref().map(ConversationId::as_str);
                let side = row.side.map(Side::as_str);
                (conversation, side, &*row.action, row.details.to_string())
            })
            .collect();
        self.run(async |connection| {
            sqlx::query(
                "INSERT INTO audit_log (conversation_id, session_id, action, details, timestamp)
                 SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, ?2
                 FROM json_each(?1) ORDER BY key",
            )
            .bind(json!(rows).to_string())
            .bind(timestamp::to_text(now))
            .execute(connection)
            .await?
            .wrote(rows.len(), "audit_log")?;
            Ok(())
        })
    }

    fn newest_audit(&mut self) -> Result<Option<Timestamp>> {
        self.run(async |connection| newest_audit(connection).await)
    }

    fn token_storage(&mut self) -> Result<TokenStorage> {
        self.run(async |connection| {
            let word: Option<String> =
                sqlx::query_scalar("SELECT value FROM bridge_setting WHERE key = 'token_storage'")
                    .fetch_optional(connection)
                    .await?;
            let storage = word.and_then(|word| TokenStorage::from_word(&word));
            Ok(storage.unwrap_or(TokenStorage::Hashed))
        })
    }

    fn signal(&mut self) -> Result<()> {
        self.run(async |connection| tasks::signal(connection).await)
    }

    fn set_setting(&mut self, key: &'static str, value: &str) -> Result<()> {
        self.run(async |connection| {
            sqlx::query(
                "INSERT INTO bridge_setting (key, value) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            )
            .bind(key)
            .bind(value)
            .execute(connection)
            .await?
            .wrote(1, "bridge_setting")?;
            Ok(())
        })
    }
}

/// See [`SettingRows::newest_audit`].
pub(in crate::store::sqlite) async fn newest_audit(
    connection: &mut SqliteConnection,
) -> std::result::Result<Option<Timestamp>, Fault> {
    let row =
        sqlx::query("SELECT timestamp FROM audit_log WHERE id = (SELECT max(id) FROM audit_log)")
            .fetch_optional(connection)
            .await?;
    Ok(match &row {
        Some(row) => timestamp::from_text(&shared::text(row, 0)?),
        None => None,
    })
}
