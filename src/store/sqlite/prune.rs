//! What ended long ago is taken away, a part at a time, so that nobody waits
//! long for the lock.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::fault::Fault;
use super::millis;
use crate::model::timestamp;
use crate::store::{Pruned, Retention};
use crate::text::millis as duration_millis;

/// Rows of one kind that one part takes.
const PART: i64 = 500;

/// A statement that binds a time and [`PART`].
macro_rules! delete {
    ($connection:expr, $sql:expr, $before:expr) => {
        sqlx::query($sql)
            .bind($before)
            .bind(PART)
            .execute(&mut *$connection)
            .await?
            .rows_affected()
    };
}

/// Takes one part of everything that is due.
pub(super) async fn part(
    connection: &mut SqliteConnection,
    retention: &Retention,
    now: Timestamp,
) -> Result<Pruned, Fault> {
    let ago = |time: Duration| millis(now).saturating_sub(duration_millis(time));
    let text_ago = |time: Duration| {
        let then = Timestamp::from_millisecond(ago(time)).unwrap_or(Timestamp::UNIX_EPOCH);
        timestamp::to_text(then)
    };
    let ended = text_ago(retention.messages);
    // Whoever still has something unread keeps his conversation.
    let messages = delete!(
        connection,
        "DELETE FROM messages WHERE id IN (
             SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
             WHERE replace(c.expires_at, ' ', 'T') < ?1 AND replace(m.timestamp, ' ', 'T') < ?1
               AND m.read = 1
               AND NOT EXISTS (SELECT 1 FROM bridge_receipt r
                               WHERE r.message_id = m.id AND r.acked_ms IS NULL
                                 AND r.written_ms IS NULL)
             LIMIT ?2)",
        &ended
    );
    let conversations = delete!(
        connection,
        "DELETE FROM conversations WHERE id IN (
             SELECT c.id FROM conversations c
             WHERE replace(c.expires_at, ' ', 'T') < ?1
               AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = c.id)
               AND NOT EXISTS (SELECT 1 FROM bridge_task t
                               WHERE t.owner_conversation = c.id AND t.state = 'leased')
             LIMIT ?2)",
        &ended
    );
    orphans(connection).await?;
    let old = ago(retention.messages);
    delete!(
        connection,
        "DELETE FROM bridge_wake WHERE wake_id IN (
             SELECT wake_id FROM bridge_wake WHERE ended_ms < ?1 LIMIT ?2)",
        old
    );
    let audit = delete!(
        connection,
        "DELETE FROM audit_log WHERE id IN (
             SELECT id FROM audit_log WHERE id <= (
                 SELECT id FROM audit_log WHERE replace(timestamp, ' ', 'T') < ?1
                 ORDER BY id DESC LIMIT 1)
             AND replace(timestamp, ' ', 'T') < ?1 LIMIT ?2)",
        text_ago(retention.audit)
    );
    let tasks = delete!(
        connection,
        "DELETE FROM bridge_task WHERE task_id IN (
             SELECT task_id FROM bridge_task INDEXED BY bridge_task_over
             WHERE state IN ('done', 'dead', 'cancelled') AND changed_ms < ?1 LIMIT ?2)",
        ago(retention.tasks)
    );
    let alerts = delete!(
        connection,
        "DELETE FROM bridge_alert WHERE alert_id IN (
             SELECT alert_id FROM bridge_alert WHERE recovered_ms < ?1 LIMIT ?2)",
        ago(retention.alerts)
    );
    delete!(
        connection,
        "DELETE FROM bridge_control WHERE (kind, subject) IN (
             SELECT kind, subject FROM bridge_control WHERE until_ms < ?1 LIMIT ?2)",
        ago(retention.alerts)
    );
    Ok(Pruned {
        messages,
        conversations,
        audit,
        tasks,
        alerts,
    })
}

/// Rows of ours that belong to nothing any more, also because the Python
/// bridge's cleanup took away what they belonged to.
async fn orphans(connection: &mut SqliteConnection) -> Result<(), Fault> {
    for statement in [
        "DELETE FROM bridge_receipt WHERE message_id IN (
             SELECT r.message_id FROM bridge_receipt r
             WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = r.message_id) LIMIT ?1)",
        "DELETE FROM bridge_task_message WHERE message_id IN (
             SELECT l.message_id FROM bridge_task_message l
             WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = l.message_id) LIMIT ?1)",
        "DELETE FROM bridge_client_message WHERE conversation_id NOT IN (SELECT id FROM conversations)",
        "DELETE FROM bridge_heartbeat WHERE conversation_id NOT IN (SELECT id FROM conversations)",
        "DELETE FROM bridge_session WHERE conversation_id NOT IN (SELECT id FROM conversations)",
        "DELETE FROM bridge_conversation WHERE conversation_id NOT IN (SELECT id FROM conversations)",
        "DELETE FROM session_status WHERE conversation_id NOT IN (SELECT id FROM conversations)",
    ] {
        sqlx::query(statement)
            .bind(PART)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
