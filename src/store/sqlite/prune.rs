//! What ended long ago is taken away, a part at a time, so that nobody waits
//! long for the lock.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::due::{LOOK, PART, due_conversation, due_message, look_on, looked_to, of_messages};
use super::fault::Fault;
use super::shared::{daemon_change, session_change};
use super::{millis, ours, times};
use crate::model::timestamp;
use crate::store::ops::settings::PRUNE_FOREIGN;
use crate::store::{Pruned, Retention};
use crate::text::millis as duration_millis;

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
    let all = deletes_all_shared_rows(connection).await?;
    let shared = match all {
        true => shared_part(connection, retention, &text_ago).await?,
        false => ours::part(connection, retention, &text_ago).await?,
    };
    orphans(connection, all).await?;
    let old = ago(retention.messages);
    let wakes = delete!(
        connection,
        "DELETE FROM bridge_wake WHERE wake_id IN (
             SELECT wake_id FROM bridge_wake WHERE ended_ms < ?1 LIMIT ?2)",
        old
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
    daemons(connection, ago(retention.audit)).await?;
    moot(connection, now).await?;
    times::pruned(connection, now).await?;
    Ok(Pruned {
        tasks,
        alerts,
        wakes,
        ..shared
    })
}

/// Whether all rows of the four shared tables are ours to delete. In a store that
/// the Python bridge made, those that we did not write are its own, until the
/// operator says otherwise.
async fn deletes_all_shared_rows(connection: &mut SqliteConnection) -> Result<bool, Fault> {
    let allowed = sqlx::query_scalar(
        "SELECT coalesce((SELECT value FROM bridge_setting WHERE key = 'origin'), 'own') <> 'adopted'
             OR coalesce((SELECT value FROM bridge_setting WHERE key = ?1), 'off') = 'on'",
    )
    .bind(PRUNE_FOREIGN)
    .fetch_one(connection)
    .await?;
    Ok(allowed)
}

/// One part of what is due in the shared tables.
async fn shared_part(
    connection: &mut SqliteConnection,
    retention: &Retention,
    text_ago: &(impl Fn(Duration) -> String + Sync),
) -> Result<Pruned, Fault> {
    let ended = text_ago(retention.messages);
    let read: Vec<i64> = sqlx::query_scalar(concat!(
        "DELETE FROM messages WHERE id IN (
             SELECT m.id FROM conversations c CROSS JOIN messages m ON m.conversation_id = c.id
             WHERE ",
        due_message!(),
        " LIMIT ?2) RETURNING id",
    ))
    .bind(&ended)
    .bind(PART)
    .fetch_all(&mut *connection)
    .await?;
    of_messages(connection, &read).await?;
    let messages = u64::try_from(read.len()).unwrap_or(u64::MAX);
    let conversations = delete!(
        connection,
        concat!(
            "DELETE FROM conversations WHERE id IN (
                 SELECT c.id FROM conversations c WHERE ",
            due_conversation!(),
            " LIMIT ?2)"
        ),
        &ended
    );
    let audit = audit(connection, &text_ago(retention.audit)).await?;
    Ok(Pruned {
        messages,
        conversations,
        audit,
        ..Pruned::default()
    })
}

/// Audit rows, from the oldest on: nobody counts through what is to stay. But
/// where a clock ran ahead, the oldest are of a time to come, and what stands
/// behind them is looked through a part at a time.
async fn audit(connection: &mut SqliteConnection, before: &str) -> Result<u64, Fault> {
    let oldest = delete!(
        connection,
        "DELETE FROM audit_log WHERE id IN (
             SELECT id FROM (SELECT id, timestamp FROM audit_log ORDER BY id LIMIT ?2)
             WHERE replace(timestamp, ' ', 'T') < ?1)",
        before
    );
    if oldest > 0 {
        return Ok(oldest);
    }
    let from = looked_to(connection, "audit").await?;
    let row = sqlx::query(
        "SELECT count(*), coalesce(max(id), 0) FROM (
             SELECT id FROM audit_log WHERE id > ?1 ORDER BY id LIMIT ?2)",
    )
    .bind(from)
    .bind(LOOK)
    .fetch_one(&mut *connection)
    .await?;
    let (looked, until): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let behind = sqlx::query(
        "DELETE FROM audit_log WHERE id IN (
             SELECT id FROM audit_log WHERE id > ?3 AND id <= ?4
               AND replace(timestamp, ' ', 'T') < ?1 ORDER BY id LIMIT ?2)",
    )
    .bind(before)
    .bind(PART)
    .bind(from)
    .bind(until)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    // Where something went there may be more.
    let next = match (behind, looked) {
        (0, ..LOOK) => 0,
        (0, _) => until,
        _ => from,
    };
    look_on(connection, "audit", next).await?;
    Ok(behind)
}

/// Daemons that nobody has heard of since, and that nothing names: one that
/// comes back after all is registered with its first epoch again.
async fn daemons(connection: &mut SqliteConnection, before: i64) -> Result<(), Fault> {
    sqlx::query(concat!(
        "DELETE FROM bridge_daemon AS d
         WHERE max(d.started_ms, coalesce(d.stopped_ms, 0), coalesce(
                   (SELECT n FROM bridge_signal WHERE name = 'seen:' || d.daemon_id), 0)) < ?1
           AND NOT EXISTS (SELECT 1 FROM bridge_heartbeat h WHERE h.daemon_id = d.daemon_id)
           AND NOT EXISTS (SELECT 1 FROM bridge_leader l WHERE l.holder = d.daemon_id)
           -- The newest change stays: numbers that were seen must not come again.
           AND d.change < (",
        daemon_change!(),
        ")",
    ))
    .bind(before)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM bridge_signal WHERE name GLOB 'seen:*'
           AND substr(name, 6) NOT IN (SELECT daemon_id FROM bridge_daemon)",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Rows of ours that belong to nothing any more, also because the Python
/// bridge's cleanup took away what they belonged to; and statuses, all of them or
/// those that we wrote.
async fn orphans(connection: &mut SqliteConnection, all: bool) -> Result<(), Fault> {
    if all {
        sqlx::query(
            "DELETE FROM session_status
             WHERE conversation_id NOT IN (SELECT id FROM conversations)",
        )
        .execute(&mut *connection)
        .await?;
    } else {
        ours::orphans(connection).await?;
    }
    for statement in [
        // From one conversation to the next, not from one row to the next.
        "WITH RECURSIVE named(id) AS (
             SELECT min(conversation_id) FROM bridge_client_message
             UNION ALL
             SELECT (SELECT min(conversation_id) FROM bridge_client_message
                     WHERE conversation_id > named.id)
             FROM named WHERE named.id IS NOT NULL)
         DELETE FROM bridge_client_message WHERE conversation_id IN (
             SELECT id FROM named WHERE id NOT IN (SELECT id FROM conversations))",
        "DELETE FROM bridge_wake
         WHERE ended_ms IS NULL AND conversation_id NOT IN (SELECT id FROM conversations)",
        "DELETE FROM bridge_heartbeat
         WHERE conversation_id NOT IN (SELECT id FROM conversations)",
        // The newest change stays: numbers that were seen must not come again.
        concat!(
            "DELETE FROM bridge_session
             WHERE conversation_id NOT IN (SELECT id FROM conversations)
               AND change < (",
            session_change!(),
            ")"
        ),
        "DELETE FROM bridge_conversation
         WHERE conversation_id NOT IN (SELECT id FROM conversations)",
    ] {
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    receipts(connection).await
}

/// Receipts of messages that the Python bridge's cleanup took away. Nothing but
/// the receipts themselves tells of them, so each call looks through a part of
/// them and the next one goes on from there.
async fn receipts(connection: &mut SqliteConnection) -> Result<(), Fault> {
    let from = looked_to(connection, "receipts").await?;
    let row = sqlx::query(
        "SELECT count(*), coalesce(max(message_id), 0) FROM (
             SELECT message_id FROM bridge_receipt WHERE message_id > ?1
             ORDER BY message_id LIMIT ?2)",
    )
    .bind(from)
    .bind(LOOK)
    .fetch_one(&mut *connection)
    .await?;
    let (looked, until): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    sqlx::query(
        "DELETE FROM bridge_receipt WHERE message_id > ?1 AND message_id <= ?2
           AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = bridge_receipt.message_id)",
    )
    .bind(from)
    .bind(until)
    .execute(&mut *connection)
    .await?;
    let next = if looked < LOOK { 0 } else { until };
    look_on(connection, "receipts", next).await
}

/// Ends the alerts that nobody can do anything about any more: about a task
/// that was taken away, or a session whose conversation has ended. Silently:
/// nothing recovered.
async fn moot(connection: &mut SqliteConnection, now: Timestamp) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE bridge_alert SET recovered_ms = ?1, told = 2
         WHERE recovered_ms IS NULL AND iif(
             task_id IS NOT NULL,
             NOT EXISTS (SELECT 1 FROM bridge_task t WHERE t.task_id = bridge_alert.task_id),
             conversation_id IS NOT NULL
                 AND NOT EXISTS (
                     SELECT 1 FROM conversations c
                     LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
                     WHERE c.id = bridge_alert.conversation_id AND l.closed_ms IS NULL
                       AND replace(c.expires_at, ' ', 'T') > ?2)
                 AND NOT EXISTS (
                     SELECT 1 FROM bridge_task t
                     WHERE t.owner_conversation = bridge_alert.conversation_id
                       AND t.owner_session = bridge_alert.session_id AND t.state = 'leased'))",
    )
    .bind(millis(now))
    .bind(timestamp::to_text(now))
    .execute(connection)
    .await?;
    Ok(())
}
