//! Messages: sent with their limits kept, handed out at least once.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::fault::Fault;
use super::millis;
use super::shared::session_change;
use super::written::Written as _;
use crate::model::SessionKey;
use crate::store::rows::OVERTAKEN;

/// The agent ended. It may not have acted on the messages in its hand: whoever
/// comes back for the session gets them again. And a turn that it was in is
/// nobody's, or its successor would be busy for ever.
pub(super) async fn agent_ended(
    connection: &mut SqliteConnection,
    session: &SessionKey,
) -> std::result::Result<(), Fault> {
    sqlx::query(
        "UPDATE bridge_receipt SET written_ms = NULL
         WHERE conversation_id = ?1 AND session_id = ?2
           AND acked_ms IS NULL AND written_ms IS NOT NULL",
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .execute(&mut *connection)
    .await?;
    sqlx::query(concat!(
        "UPDATE bridge_session SET turn = NULL, change = 1 + (",
        session_change!(),
        ")
             WHERE conversation_id = ?1 AND session_id = ?2 AND turn IS NOT NULL"
    ))
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes an authenticated call of the agent itself. A verdict that rests on its
/// silence is overtaken by that at once, before whoever found it looks again; an
/// end of its process is not.
pub(super) async fn touch(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    now: Timestamp,
) -> std::result::Result<(), Fault> {
    note(connection, session, Some(now)).await
}

/// The same of a bare heartbeat, which a script may give in a loop: it counts
/// as a call, and is nothing that the agent did.
pub(super) async fn called(
    connection: &mut SqliteConnection,
    session: &SessionKey,
) -> std::result::Result<(), Fault> {
    note(connection, session, None).await
}

pub(super) async fn note(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    did: Option<Timestamp>,
) -> std::result::Result<(), Fault> {
    sqlx::query(
        concat!(
        "INSERT INTO bridge_session (conversation_id, session_id, activity_seq, activity_ms, change)
         VALUES (?1, ?2, 1, ?3, 1 + (",
        session_change!(),
        "))
         ON CONFLICT (conversation_id, session_id) DO UPDATE SET
             activity_seq = activity_seq + 1,
             activity_ms = coalesce(excluded.activity_ms, activity_ms),
             change = excluded.change,
             standing_seq = iif(standing IN ('lost', 'stalled'), ?4, standing_seq)"),
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(did.map(millis))
    .bind(OVERTAKEN)
    .execute(connection)
    .await?
    .wrote(1, "bridge_session")?;
    Ok(())
}
