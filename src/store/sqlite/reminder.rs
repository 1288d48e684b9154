//! A word to a session that has a task, has read all its mail and does not
//! move: mail, so that the way which wakes idle agents wakes this one. Mail that
//! waits already does that by itself.

use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::fault::Fault;
use super::{from_millis, notices, owed};
use crate::model::{SessionKey, TaskId, timestamp};
use crate::text;

/// Most reminders of one task without a sign of progress. Whoever reads them
/// and does nothing is not helped by another, and each would be an edge of the
/// alert: it moves, and is stalled again.
const MOST: i64 = 3;

/// Reminds a session that was found stalled, in the transaction that says so.
pub(super) async fn remind(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    now: Timestamp,
) -> Result<(), Fault> {
    let mail = owed::mail_of(connection, std::slice::from_ref(session)).await?;
    if mail.iter().any(|mail| mail.unread > 0) {
        return Ok(());
    }
    let Some(task) = sqlx::query(
        "SELECT t.task_id, t.title, t.fence, t.changed_ms, t.progress_ms FROM bridge_task t
         WHERE t.owner_conversation = ?1 AND t.owner_session = ?2 AND t.state = 'leased'
         ORDER BY t.task_id LIMIT 1",
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .fetch_optional(&mut *connection)
    .await?
    else {
        return Ok(());
    };
    let (id, fence): (i64, i64) = (task.try_get(0)?, task.try_get(2)?);
    let given = from_millis(task.try_get(3)?);
    let noted = task.try_get::<Option<i64>, _>(4)?.map(from_millis);
    let heard = noted.map_or(given, |noted| noted.max(given));
    let told: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM bridge_task_message l CROSS JOIN messages m ON m.id = l.message_id
         WHERE l.task_id = ?1 AND m.conversation_id = ?2 AND m.to_session = ?3
           AND m.from_session = 'system'
           AND iif(json_valid(m.metadata), m.metadata ->> 'event', NULL) = 'reminder'
           AND m.timestamp > ?4",
    )
    .bind(id)
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(timestamp::to_text(heard))
    .fetch_one(&mut *connection)
    .await?;
    if told >= MOST {
        return Ok(());
    }
    let words = format!(
        "You have task {id} ({}), and nothing was heard of it for {}. Go on with it and report:\n  \
         mcp-bridge task progress {id} --fence {fence} \"how far you are\"\n  \
         mcp-bridge task done {id} --fence {fence} \"what came of it\"\n  \
         mcp-bridge task fail {id} --fence {fence} \"why\"\n\
         If it only takes long, say so: task progress ... --busy-for 20m\n",
        task.try_get::<&str, _>(1)?,
        text::age(heard, now),
    );
    // No `task_id`: this is said to this owner alone, and goes to no other.
    let metadata = json!({ "action_type": "info", "event": "reminder", "fence": fence });
    let message = notices::system_message(connection, session, &words, &metadata, now).await?;
    notices::link(connection, TaskId(id), message).await
}

/// Takes back what was not read: the session moves, or is gone, and a reminder
/// must be no debt of its own.
pub(super) async fn take_back(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    now: Timestamp,
) -> Result<(), Fault> {
    let unread: Vec<i64> = sqlx::query_scalar(
        "SELECT id FROM messages
         WHERE conversation_id = ?1 AND to_session = ?2 AND read = 0 AND from_session = 'system'
           AND iif(json_valid(metadata), metadata ->> 'event', NULL) = 'reminder'",
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .fetch_all(&mut *connection)
    .await?;
    if unread.is_empty() {
        return Ok(());
    }
    notices::settle(connection, &unread, session, "withdrawn", now).await
}
