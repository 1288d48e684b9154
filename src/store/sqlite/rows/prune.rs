//! What is taken away once it ended long ago: one part of it with each call.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::model::timestamp;
use crate::store::Result;
use crate::store::rows::{PruneRows, Scope};
use crate::store::sqlite::due::{
    LOOK, PART, due_conversation, due_message, look_on, looked, looked_to, of_messages,
};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::shared::{daemon_change, session_change};
use crate::store::sqlite::statements::Statements as _;
use crate::store::sqlite::{millis, ours};

impl PruneRows for SqliteRows {
    fn delete_messages(&mut self, scope: Scope, before: Timestamp) -> Result<u64> {
        let before = timestamp::to_text(before);
        self.run(|connection| {
            let gone = match scope {
                Scope::All => connection.all(
                    concat!(
                        "DELETE FROM messages WHERE id IN (
                             SELECT m.id
                             FROM conversations c CROSS JOIN messages m ON m.conversation_id = c.id
                             WHERE ",
                        due_message!(),
                        " LIMIT ?2) RETURNING id",
                    ),
                    params![before, PART],
                    |row| row.get(0),
                )?,
                Scope::Ours => ours::messages(connection, &before)?,
            };
            of_messages(connection, &gone)?;
            Ok(taken(gone.len()))
        })
    }

    fn delete_conversations(&mut self, scope: Scope, before: Timestamp) -> Result<u64> {
        let before = timestamp::to_text(before);
        self.run(|connection| {
            let gone = match scope {
                Scope::All => connection.change(
                    concat!(
                        "DELETE FROM conversations WHERE id IN (
                             SELECT c.id FROM conversations c WHERE ",
                        due_conversation!(),
                        " LIMIT ?2)"
                    ),
                    params![before, PART],
                )?,
                Scope::Ours => ours::conversations(connection, &before)?,
            };
            Ok(taken(gone))
        })
    }

    fn delete_audit(&mut self, scope: Scope, before: Timestamp) -> Result<u64> {
        let before = timestamp::to_text(before);
        self.run(|connection| {
            let gone = match scope {
                Scope::All => audit(connection, &before)?,
                Scope::Ours => ours::audit(connection, &before)?,
            };
            Ok(taken(gone))
        })
    }

    fn delete_orphans(&mut self, scope: Scope) -> Result<()> {
        self.run(|connection| orphans(connection, scope))
    }

    fn delete_wakes(&mut self, before: Timestamp) -> Result<u64> {
        self.delete_part(
            "DELETE FROM bridge_wake WHERE wake_id IN (
                 SELECT wake_id FROM bridge_wake WHERE ended_ms < ?1 LIMIT ?2)",
            before,
        )
    }

    fn delete_tasks(&mut self, before: Timestamp) -> Result<u64> {
        self.delete_part(
            "DELETE FROM bridge_task WHERE task_id IN (
                 SELECT task_id FROM bridge_task INDEXED BY bridge_task_over
                 WHERE state IN ('done', 'dead', 'cancelled') AND changed_ms < ?1 LIMIT ?2)",
            before,
        )
    }

    fn delete_alerts(&mut self, before: Timestamp) -> Result<u64> {
        self.delete_part(
            "DELETE FROM bridge_alert WHERE alert_id IN (
                 SELECT alert_id FROM bridge_alert WHERE recovered_ms < ?1 LIMIT ?2)",
            before,
        )
    }

    fn delete_controls(&mut self, before: Timestamp) -> Result<()> {
        self.delete_part(
            "DELETE FROM bridge_control WHERE (kind, subject) IN (
                 SELECT kind, subject FROM bridge_control WHERE until_ms < ?1 LIMIT ?2)",
            before,
        )?;
        Ok(())
    }

    fn delete_daemons(&mut self, before: Timestamp) -> Result<()> {
        self.run(|connection| {
            // One that comes back after all is registered with its first epoch again.
            connection.change(
                concat!(
                    "DELETE FROM bridge_daemon AS d
                     WHERE max(d.started_ms, coalesce(d.stopped_ms, 0), coalesce(
                               (SELECT n FROM bridge_signal WHERE name = 'seen:' || d.daemon_id),
                               0)) < ?1
                       AND NOT EXISTS (SELECT 1 FROM bridge_heartbeat h
                                       WHERE h.daemon_id = d.daemon_id)
                       AND NOT EXISTS (SELECT 1 FROM bridge_leader l WHERE l.holder = d.daemon_id)
                       -- The newest change stays: numbers that were seen must not come again.
                       AND d.change < (",
                    daemon_change!(),
                    ")",
                ),
                [millis(before)],
            )?;
            connection.change(
                "DELETE FROM bridge_signal WHERE name GLOB 'seen:*'
                   AND substr(name, 6) NOT IN (SELECT daemon_id FROM bridge_daemon)",
                [],
            )?;
            Ok(())
        })
    }

    fn end_moot_alerts(&mut self, now: Timestamp) -> Result<()> {
        self.run(|connection| {
            connection.change(
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
                               AND t.owner_session = bridge_alert.session_id
                               AND t.state = 'leased'))",
                params![millis(now), timestamp::to_text(now)],
            )?;
            Ok(())
        })
    }
}

impl SqliteRows {
    /// Runs a statement that takes a time and [`PART`].
    fn delete_part(&mut self, sql: &str, before: Timestamp) -> Result<u64> {
        self.run(|connection| {
            let gone = connection.change(sql, params![millis(before), PART])?;
            Ok(taken(gone))
        })
    }
}

fn taken(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

/// Audit rows, from the oldest on: what is to stay is not counted through. But
/// where a clock ran ahead, the oldest are of a time to come, and what stands
/// behind them is looked through a part at a time.
fn audit(connection: &Connection, before: &str) -> std::result::Result<usize, Fault> {
    let oldest = connection.change(
        "DELETE FROM audit_log WHERE id IN (
             SELECT id FROM (SELECT id, timestamp FROM audit_log ORDER BY id LIMIT ?2)
             WHERE replace(timestamp, ' ', 'T') < ?1)",
        params![before, PART],
    )?;
    if oldest > 0 {
        return Ok(oldest);
    }
    let from = looked_to(connection, "audit")?;
    let (many, until) = connection.one(
        "SELECT count(*), coalesce(max(id), 0) FROM (
             SELECT id FROM audit_log WHERE id > ?1 ORDER BY id LIMIT ?2)",
        [from, LOOK],
        looked,
    )?;
    let behind = connection.change(
        "DELETE FROM audit_log WHERE id IN (
             SELECT id FROM audit_log WHERE id > ?3 AND id <= ?4
               AND replace(timestamp, ' ', 'T') < ?1 ORDER BY id LIMIT ?2)",
        params![before, PART, from, until],
    )?;
    // Where something went there may be more.
    let next = match (behind, many) {
        (0, ..LOOK) => 0,
        (0, _) => until,
        _ => from,
    };
    look_on(connection, "audit", next)?;
    Ok(behind)
}

/// Rows of ours that belong to nothing any more, and statuses, all of them or those
/// that we wrote.
fn orphans(connection: &Connection, scope: Scope) -> std::result::Result<(), Fault> {
    match scope {
        Scope::All => {
            connection.change(
                "DELETE FROM session_status
                 WHERE conversation_id NOT IN (SELECT id FROM conversations)",
                [],
            )?;
        }
        Scope::Ours => ours::orphans(connection)?,
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
        "DELETE FROM bridge_registration
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
        connection.change(statement, [])?;
    }
    receipts(connection)
}

/// Receipts of messages that the Python bridge's cleanup took away. Nothing but
/// the receipts themselves tells of them, so each call looks through a part of
/// them and the next one goes on from there.
fn receipts(connection: &Connection) -> std::result::Result<(), Fault> {
    let from = looked_to(connection, "receipts")?;
    let (many, until) = connection.one(
        "SELECT count(*), coalesce(max(message_id), 0) FROM (
             SELECT message_id FROM bridge_receipt WHERE message_id > ?1
             ORDER BY message_id LIMIT ?2)",
        [from, LOOK],
        looked,
    )?;
    connection.change(
        "DELETE FROM bridge_receipt WHERE message_id > ?1 AND message_id <= ?2
           AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = bridge_receipt.message_id)",
        [from, until],
    )?;
    let next = if many < LOOK { 0 } else { until };
    look_on(connection, "receipts", next)
}
