//! Conversations that expired while whoever kept them alive could not renew
//! them.

use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row as _, SqliteConnection};

use crate::model::{SessionKey, timestamp};
use crate::store::DaemonRef;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::{from_millis, shared, times};

/// A session that was kept alive until its conversation ended.
pub(super) struct Ended {
    pub(super) session: SessionKey,
    /// The end as it is written, to be compared when it is written anew.
    written: String,
}

/// Those among the sessions whose last heartbeat is not later than the end of
/// their conversation, and this daemon's, or a call of the agent itself, which
/// takes the place of a daemon's that is down. An end before the heartbeat was
/// set by somebody who meant it, and one that cannot be read has passed for
/// good.
pub(super) async fn of(
    connection: &mut SqliteConnection,
    daemon: &DaemonRef,
    sessions: &[SessionKey],
    now: Timestamp,
) -> Result<Vec<Ended>, Fault> {
    let rows = sqlx::query(
        "SELECT w.key, c.expires_at, h.beat_ms FROM json_each(?1) w
         CROSS JOIN conversations c ON c.id = w.value ->> 0
         CROSS JOIN bridge_heartbeat h
             ON h.conversation_id = c.id AND h.session_id = w.value ->> 1
         WHERE (h.daemon_id = ?2 OR h.daemon_id IS NULL) AND h.exited_ms IS NULL
           AND NOT EXISTS (SELECT 1 FROM bridge_conversation l
                           WHERE l.conversation_id = c.id AND l.closed_ms IS NOT NULL)
         ORDER BY w.key",
    )
    .bind(super::wanted(sessions))
    .bind(&daemon.id)
    .fetch_all(connection)
    .await?;
    let mut ended = Vec::with_capacity(rows.len());
    for row in &rows {
        let place = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
        let written = shared::text(row, 1)?.into_owned();
        let Ok(beat) = row.try_get(2).map(from_millis) else {
            continue;
        };
        let end = timestamp::from_text(&written);
        if let (Some(session), Some(end)) = (sessions.get(place), end)
            && beat <= end
            && end <= now
        {
            let session = session.clone();
            ended.push(Ended { session, written });
        }
    }
    Ok(ended)
}

/// Writes the new end, if the old one is still what was read: `false` if not,
/// as for the other side of a conversation that has just been renewed.
pub(super) async fn renew(
    connection: &mut SqliteConnection,
    ended: &Ended,
    daemon: &DaemonRef,
    (until, now): (Timestamp, Timestamp),
) -> Result<bool, Fault> {
    let id = &ended.session.conversation;
    let end = until;
    let until = timestamp::to_text(end);
    let renewed =
        sqlx::query("UPDATE conversations SET expires_at = ?3 WHERE id = ?1 AND expires_at = ?2")
            .bind(id.as_str())
            .bind(&ended.written)
            .bind(&until)
            .execute(&mut *connection)
            .await?
            .rows_affected()
            > 0;
    if renewed {
        times::set(&mut *connection, &[id.as_str()], Some((end, now)), now).await?;
        let details = json!({ "expires_at": until, "daemon": daemon.id });
        let side = Some(ended.session.side);
        shared::audit(
            connection,
            Some(id),
            side,
            "renew_conversation",
            details,
            now,
        )
        .await?;
    }
    Ok(renewed)
}
