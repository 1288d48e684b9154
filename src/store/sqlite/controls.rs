//! What operators said: drain, hold, mute; each until its end.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::fault::Fault;
use super::millis;
use crate::model::SessionKey;

/// Whether a session, or the host of the daemon that keeps it, is drained.
pub(super) async fn draining(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    now: Timestamp,
) -> Result<bool, Fault> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM bridge_control c
             WHERE c.kind = 'drain' AND c.until_ms > ?4
               AND c.subject IN (?1, 'host:' || (
                   SELECT d.host FROM bridge_heartbeat h JOIN bridge_daemon d USING (daemon_id)
                   WHERE h.conversation_id = ?2 AND h.session_id = ?3)))",
    )
    .bind(session.to_string())
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(millis(now))
    .fetch_one(connection)
    .await?)
}
