//! Wakes.

use jiff::Timestamp;
use sqlx::Row;

use crate::store::rows::WakeRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::millis;
use crate::store::{Result, WakeClaim, WakeEnd, WakeRef};
use crate::text::millis as duration_millis;

impl WakeRows for SqliteRows {
    fn claim(&mut self, claim: &WakeClaim<'_>, now: Timestamp) -> Result<Option<WakeRef>> {
        self.run(async |connection| {
            let row = sqlx::query(
                "INSERT INTO bridge_wake (conversation_id, session_id, mark, claimant, boot_id,
                     lease_boot_ms, adapter, created_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6 + ?7, ?8, ?9)
                 ON CONFLICT (conversation_id, session_id) WHERE ended_ms IS NULL DO UPDATE SET
                     mark = excluded.mark, claimant = excluded.claimant, claim = claim + 1,
                     boot_id = excluded.boot_id, lease_boot_ms = excluded.lease_boot_ms,
                     adapter = excluded.adapter
                 WHERE bridge_wake.boot_id <> excluded.boot_id OR bridge_wake.lease_boot_ms < ?6
                 RETURNING wake_id, claim",
            )
            .bind(claim.session.conversation.as_str())
            .bind(claim.session.side.as_str())
            .bind(claim.mark.0)
            .bind(claim.claimant)
            .bind(&claim.boot.id)
            .bind(duration_millis(claim.boot.now))
            .bind(duration_millis(claim.lease))
            .bind(claim.adapter)
            .bind(millis(now))
            .fetch_optional(connection)
            .await?;
            Ok(match row {
                Some(row) => Some(WakeRef {
                    id: row.try_get(0)?,
                    claim: row.try_get(1)?,
                }),
                None => None,
            })
        })
    }

    fn end_wake(&mut self, wake: &WakeRef, end: &WakeEnd<'_>, now: Timestamp) -> Result<bool> {
        self.run(async |connection| {
            let changed = sqlx::query(
                "UPDATE bridge_wake SET outcome = ?3, reason = ?4, ended_ms = ?5
                 WHERE wake_id = ?1 AND claim = ?2 AND ended_ms IS NULL",
            )
            .bind(wake.id)
            .bind(wake.claim)
            .bind(end.outcome.as_str())
            .bind(end.reason)
            .bind(millis(now))
            .execute(connection)
            .await?
            .rows_affected();
            Ok(changed == 1)
        })
    }
}
