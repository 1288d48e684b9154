//! Alerts: open from when they are raised until their matter recovers.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::fault::Fault;
use super::millis;
use crate::model::alert::AlertKind;
use crate::store::rows::Raise;

/// Raises it unless one of the kind is open for the subject.
pub(super) async fn raise(
    connection: &mut SqliteConnection,
    alert: &Raise<'_>,
    now: Timestamp,
) -> std::result::Result<bool, Fault> {
    let new = sqlx::query(
        "INSERT INTO bridge_alert (kind, subject, conversation_id, session_id, task_id, text,
             raised_by, raised_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (kind, subject) WHERE recovered_ms IS NULL DO NOTHING",
    )
    .bind(alert.kind.as_str())
    .bind(alert.subject)
    .bind(alert.session.map(|session| session.conversation.as_str()))
    .bind(alert.session.map(|session| session.side.as_str()))
    .bind(alert.task.map(|task| task.0))
    .bind(alert.text)
    .bind(alert.by)
    .bind(millis(now))
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if new == 0 && !is_open(connection, alert.kind, alert.subject).await? {
        return Err(Fault::Swallowed("bridge_alert"));
    }
    Ok(new == 1)
}

/// Whether one of this kind is open for the subject.
pub(super) async fn is_open(
    connection: &mut SqliteConnection,
    kind: AlertKind,
    subject: &str,
) -> std::result::Result<bool, Fault> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM bridge_alert
                        WHERE kind = ?1 AND subject = ?2 AND recovered_ms IS NULL)",
    )
    .bind(kind.as_str())
    .bind(subject)
    .fetch_one(connection)
    .await?)
}

/// Ends the alert of this kind about the subject.
pub(super) async fn recover(
    connection: &mut SqliteConnection,
    kind: AlertKind,
    subject: &str,
    now: Timestamp,
) -> std::result::Result<bool, Fault> {
    let ended = sqlx::query(
        "UPDATE bridge_alert SET recovered_ms = ?3
         WHERE kind = ?1 AND subject = ?2 AND recovered_ms IS NULL",
    )
    .bind(kind.as_str())
    .bind(subject)
    .bind(millis(now))
    .execute(connection)
    .await?
    .rows_affected();
    Ok(ended > 0)
}
