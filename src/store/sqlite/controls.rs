//! What operators said: drain, hold, mute; each until its end.

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::fault::Fault;
use super::written::Written as _;
use super::{from_millis, millis, odd};
use crate::model::SessionKey;
use crate::store::{Control, ControlKind};

pub(super) async fn set(connection: &mut SqliteConnection, control: &Control) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO bridge_control (kind, subject, set_ms, until_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (kind, subject) DO UPDATE SET set_ms = excluded.set_ms,
             until_ms = excluded.until_ms",
    )
    .bind(control.kind.as_str())
    .bind(&control.subject)
    .bind(millis(control.since))
    .bind(millis(control.until))
    .execute(connection)
    .await?
    .wrote(1, "bridge_control")?;
    Ok(())
}

/// Deletes it; returns its end.
pub(super) async fn delete(
    connection: &mut SqliteConnection,
    kind: ControlKind,
    subject: &str,
) -> Result<Option<Timestamp>, Fault> {
    let until: Option<i64> = sqlx::query_scalar(
        "DELETE FROM bridge_control WHERE kind = ?1 AND subject = ?2 RETURNING until_ms",
    )
    .bind(kind.as_str())
    .bind(subject)
    .fetch_optional(connection)
    .await?;
    Ok(until.map(from_millis))
}

pub(super) async fn all(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<Vec<Control>, Fault> {
    let rows = sqlx::query(
        "SELECT kind, subject, set_ms, until_ms FROM bridge_control WHERE until_ms > ?1
         ORDER BY kind, subject",
    )
    .bind(millis(now))
    .fetch_all(connection)
    .await?;
    Ok(odd::readable(&rows, "orders", |row| {
        let kind = match row.try_get(0)? {
            "drain" => ControlKind::Drain,
            "hold" => ControlKind::Hold,
            _ => ControlKind::Mute,
        };
        Ok(Control {
            kind,
            subject: row.try_get(1)?,
            since: from_millis(row.try_get(2)?),
            until: from_millis(row.try_get(3)?),
        })
    }))
}

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
