//! What is noted of a session for those who watch it.

use sqlx::SqliteConnection;

use super::fault::Fault;
use super::shared::session_change;
use super::written::Written as _;
use crate::model::SessionKey;

/// Something about a session is new to whoever watches it.
pub(super) async fn bump(
    connection: &mut SqliteConnection,
    session: &SessionKey,
) -> std::result::Result<(), Fault> {
    sqlx::query(concat!(
        "INSERT INTO bridge_session (conversation_id, session_id, change)
             VALUES (?1, ?2, 1 + (",
        session_change!(),
        "))
             ON CONFLICT (conversation_id, session_id) DO UPDATE SET change = excluded.change"
    ))
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .execute(connection)
    .await?
    .wrote(1, "bridge_session")?;
    Ok(())
}

/// Whether a session's conversation still stands in the shared table.
pub(super) async fn is_there(
    connection: &mut SqliteConnection,
    session: &SessionKey,
) -> std::result::Result<bool, Fault> {
    Ok(
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM conversations WHERE id = ?1)")
            .bind(session.conversation.as_str())
            .fetch_one(connection)
            .await?,
    )
}
