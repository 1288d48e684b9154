//! The ends of conversations that daemons set.

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::fault::Fault;
use super::millis;
use super::written::Written as _;
use crate::host;
use crate::model::timestamp;
use crate::text::millis as duration_millis;

/// Notes the two clocks beside the ends of conversations that were just set, and
/// by which renewal, if a daemon did it.
pub(super) async fn set(
    connection: &mut SqliteConnection,
    conversations: &[&str],
    renewed: Option<(Timestamp, Timestamp)>,
    now: Timestamp,
) -> Result<(), Fault> {
    let boot = host::boot();
    let life = renewed.map(|(until, now)| until.as_millisecond() - now.as_millisecond());
    sqlx::query(
        "INSERT INTO bridge_conversation (conversation_id, set_ms, set_boot_ms, set_boot_id,
             renewed_to, renewed_for_ms)
         SELECT value, ?2, ?3, ?4, ?5, ?6 FROM json_each(?1) WHERE true
         ON CONFLICT (conversation_id) DO UPDATE SET
             set_ms = excluded.set_ms, set_boot_ms = excluded.set_boot_ms,
             set_boot_id = excluded.set_boot_id, renewed_to = excluded.renewed_to,
             renewed_for_ms = excluded.renewed_for_ms",
    )
    .bind(json!(conversations).to_string())
    .bind(millis(now))
    .bind(duration_millis(boot.now))
    .bind(&boot.id)
    .bind(renewed.map(|(until, _)| timestamp::to_text(until)))
    .bind(life)
    .execute(connection)
    .await?
    .wrote(conversations.len(), "bridge_conversation")?;
    Ok(())
}
