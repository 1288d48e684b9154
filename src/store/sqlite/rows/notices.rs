//! Messages of the system.

use jiff::Timestamp;
use rusqlite::{Row, params};
use serde_json::{Value, json};

use crate::model::task::TaskId;
use crate::model::{MessageId, SessionKey, Side, timestamp};
use crate::store::Result;
use crate::store::rows::{NoticeRows, OwedMessage};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::millis;
use crate::store::sqlite::owed::owed_mail;
use crate::store::sqlite::statements::{Statements as _, count, text};
use crate::store::sqlite::written::Written as _;

fn id(row: &Row<'_>) -> rusqlite::Result<MessageId> {
    Ok(MessageId(row.get(0)?))
}

impl NoticeRows for SqliteRows {
    fn insert_notice(
        &mut self,
        to: &SessionKey,
        words: &str,
        metadata: &Value,
        now: Timestamp,
    ) -> Result<Option<MessageId>> {
        self.run(|connection| {
            let id = connection.first(
                "INSERT INTO messages
                     (conversation_id, from_session, to_session, message, metadata, timestamp)
                 SELECT id, 'system', ?2, ?3, ?4, ?5 FROM conversations WHERE id = ?1
                 RETURNING id",
                params![
                    to.conversation.as_str(),
                    to.side.as_str(),
                    words,
                    metadata.to_string(),
                    timestamp::to_text(now)
                ],
                id,
            )?;
            if id.is_some() {
                return Ok(id);
            }
            // There is no such conversation, or the row was kept out.
            let there: bool = connection.one(
                "SELECT EXISTS (SELECT 1 FROM conversations WHERE id = ?1)",
                [to.conversation.as_str()],
                |row| row.get(0),
            )?;
            if there {
                Err(Fault::Swallowed("messages"))
            } else {
                Ok(None)
            }
        })
    }

    fn owed_notices(
        &mut self,
        task: TaskId,
        to: &SessionKey,
        events: &[&str],
    ) -> Result<Vec<MessageId>> {
        self.run(|connection| {
            let owed = connection.all(
                // From the task's few messages, not through all that the system ever
                // sent to the session.
                "SELECT m.id FROM bridge_task_message l CROSS JOIN messages m
                     ON m.id = l.message_id
                 WHERE l.task_id = ?1 AND m.conversation_id = ?2 AND m.to_session = ?3
                   AND m.from_session = 'system'
                   AND iif(json_valid(m.metadata), m.metadata ->> 'event', NULL)
                       IN (SELECT value FROM json_each(?4))
                   AND (m.read = 0 OR EXISTS (SELECT 1 FROM bridge_receipt r
                                              WHERE r.message_id = m.id AND r.acked_ms IS NULL
                                                AND r.written_ms IS NULL))",
                params![
                    task.0,
                    to.conversation.as_str(),
                    to.side.as_str(),
                    json!(events).to_string()
                ],
                id,
            )?;
            Ok(owed)
        })
    }

    fn unread_notices(&mut self, to: &SessionKey, event: &str) -> Result<Vec<MessageId>> {
        self.run(|connection| {
            let unread = connection.all(
                "SELECT id FROM messages INDEXED BY bridge_messages_unread
                 WHERE conversation_id = ?1 AND to_session = ?2 AND read = 0
                   AND from_session = 'system'
                   AND iif(json_valid(metadata), metadata ->> 'event', NULL) = ?3",
                [to.conversation.as_str(), to.side.as_str(), event],
                id,
            )?;
            Ok(unread)
        })
    }

    fn notices_since(
        &mut self,
        task: TaskId,
        to: &SessionKey,
        event: &str,
        since: Timestamp,
    ) -> Result<u64> {
        self.run(|connection| {
            let sent = connection.one(
                "SELECT count(*) FROM bridge_task_message l CROSS JOIN messages m
                     ON m.id = l.message_id
                 WHERE l.task_id = ?1 AND m.conversation_id = ?2 AND m.to_session = ?3
                   AND m.from_session = 'system'
                   AND iif(json_valid(m.metadata), m.metadata ->> 'event', NULL) = ?4
                   AND m.timestamp > ?5",
                params![
                    task.0,
                    to.conversation.as_str(),
                    to.side.as_str(),
                    event,
                    timestamp::to_text(since)
                ],
                |row| count(row, 0),
            )?;
            Ok(sent)
        })
    }

    fn owed_about(
        &mut self,
        task: TaskId,
        session: &SessionKey,
        but_events: &[&str],
    ) -> Result<Vec<OwedMessage>> {
        self.run(|connection| {
            let owed = connection.all(
                concat!(
                    "WITH w(conversation, side) AS (SELECT ?2, ?3)
                     SELECT m.id, m.from_session, m.message
                     FROM w CROSS JOIN json_each((SELECT json_group_array(DISTINCT id) FROM (",
                    owed_mail!(),
                    "))) j
                     CROSS JOIN messages m ON m.id = j.value
                     WHERE NOT (m.from_session = 'system'
                                AND coalesce(iif(json_valid(m.metadata),
                                                 m.metadata ->> 'event', ''), '')
                                    IN (SELECT value FROM json_each(?4)))
                       AND (m.id IN (SELECT message_id FROM bridge_task_message WHERE task_id = ?1)
                            OR iif(json_valid(m.metadata), m.metadata ->> 'task_id', NULL)
                               IN (?1, CAST(?1 AS TEXT)))
                     ORDER BY m.id",
                ),
                params![
                    task.0,
                    session.conversation.as_str(),
                    session.side.as_str(),
                    json!(but_events).to_string()
                ],
                |row| {
                    Ok(OwedMessage {
                        id: id(row)?,
                        from: text(row, 1)?.parse::<Side>().ok(),
                        text: text(row, 2)?.into_owned(),
                    })
                },
            )?;
            Ok(owed)
        })
    }

    fn owed_ids(&mut self, session: &SessionKey) -> Result<Vec<MessageId>> {
        self.run(|connection| {
            let owed = connection.all(
                concat!(
                    "WITH w(conversation, side) AS (SELECT ?1, ?2)
                     SELECT j.value FROM w
                     CROSS JOIN json_each((SELECT json_group_array(id) FROM (",
                    owed_mail!(),
                    "))) j ORDER BY j.value",
                ),
                [session.conversation.as_str(), session.side.as_str()],
                id,
            )?;
            Ok(owed)
        })
    }

    fn withdraw_messages(
        &mut self,
        session: &SessionKey,
        messages: &[MessageId],
        why: &str,
        now: Timestamp,
    ) -> Result<()> {
        let ids = json!(messages).to_string();
        self.run(|connection| {
            connection
                .change(
                    "UPDATE messages SET read = 1 WHERE id IN (SELECT value FROM json_each(?1))",
                    [&ids],
                )?
                .wrote(messages.len(), "messages")?;
            connection
                .change(
                    "INSERT INTO bridge_receipt (message_id, conversation_id, session_id, fetch_id,
                         fetched_ms, written_ms, acked_ms)
                     SELECT value, ?2, ?3, ?4, ?5, ?5, ?5 FROM json_each(?1) WHERE true
                     ON CONFLICT (message_id) DO UPDATE SET fetch_id = excluded.fetch_id,
                         acked_ms = excluded.acked_ms",
                    params![
                        ids,
                        session.conversation.as_str(),
                        session.side.as_str(),
                        why,
                        millis(now)
                    ],
                )?
                .wrote(messages.len(), "bridge_receipt")?;
            Ok(())
        })
    }

    fn owe_again(&mut self, session: &SessionKey) -> Result<bool> {
        self.run(|connection| {
            let changed = connection.change(
                "UPDATE bridge_receipt SET written_ms = NULL
                 WHERE conversation_id = ?1 AND session_id = ?2
                   AND acked_ms IS NULL AND written_ms IS NOT NULL",
                [session.conversation.as_str(), session.side.as_str()],
            )?;
            Ok(changed > 0)
        })
    }
}
