//! Rows of `messages`, and of ours about them.

use jiff::Timestamp;
use serde_json::json;
use sqlx::Row;

use crate::model::message::{ClientMessageId, Message};
use crate::model::wake::Mail;
use crate::model::{MessageId, SessionKey, TaskId, timestamp};
use crate::store::rows::{Clean, ClientMessage, Handed, MessageRows};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{from_millis, messages as calls, millis, notices, owed, shared};
use crate::store::{FetchId, Result};

impl MessageRows for SqliteRows {
    fn sent_at(
        &mut self,
        from: &SessionKey,
        now: Timestamp,
        skip: u32,
        count: u32,
    ) -> Result<Vec<Option<Timestamp>>> {
        self.run(async |connection| {
            let sent: Vec<String> = sqlx::query_scalar(
                "SELECT timestamp FROM messages
                 WHERE conversation_id = ?1 AND from_session = ?2 AND timestamp <= ?3
                 ORDER BY timestamp DESC LIMIT ?4 OFFSET ?5",
            )
            .bind(from.conversation.as_str())
            .bind(from.side.as_str())
            .bind(timestamp::to_text(now))
            .bind(count)
            .bind(skip)
            .fetch_all(connection)
            .await?;
            let times = sent.iter().map(|text| timestamp::from_text(text));
            Ok(times.collect())
        })
    }

    fn client_message(
        &mut self,
        from: &SessionKey,
        id: &ClientMessageId,
    ) -> Result<Option<ClientMessage>> {
        self.run(async |connection| {
            let row = sqlx::query(
                "SELECT c.message_id, m.message FROM bridge_client_message c
                 LEFT JOIN messages m ON m.id = c.message_id
                 WHERE c.conversation_id = ?1 AND c.session_id = ?2 AND c.client_id = ?3",
            )
            .bind(from.conversation.as_str())
            .bind(from.side.as_str())
            .bind(id.as_str())
            .fetch_optional(connection)
            .await?;
            Ok(match row {
                Some(row) => Some(ClientMessage {
                    id: MessageId(row.try_get(0)?),
                    text: row.try_get(1)?,
                }),
                None => None,
            })
        })
    }

    fn name_message(
        &mut self,
        from: &SessionKey,
        id: &ClientMessageId,
        message: MessageId,
    ) -> Result<()> {
        self.run(async |connection| {
            sqlx::query(
                "INSERT INTO bridge_client_message
                     (conversation_id, session_id, client_id, message_id)
                 VALUES (?1, ?2, ?3, ?4)",
            )
            .bind(from.conversation.as_str())
            .bind(from.side.as_str())
            .bind(id.as_str())
            .bind(message.0)
            .execute(connection)
            .await?
            .wrote(1, "bridge_client_message")?;
            Ok(())
        })
    }

    fn insert_messages(
        &mut self,
        from: &SessionKey,
        messages: &[Clean],
        now: Timestamp,
    ) -> Result<Vec<MessageId>> {
        let rows: Vec<_> = messages.iter().map(|m| (&m.text, &m.metadata)).collect();
        let rows = json!(rows).to_string();
        self.run(async |connection| {
            let ids: Vec<i64> = sqlx::query_scalar(
                "INSERT INTO messages (conversation_id, from_session, to_session, message,
                     metadata, timestamp)
                 SELECT ?1, ?2, ?3, value ->> 0, value ->> 1, ?4 FROM json_each(?5) ORDER BY key
                 RETURNING id",
            )
            .bind(from.conversation.as_str())
            .bind(from.side.as_str())
            .bind(from.side.other().as_str())
            .bind(timestamp::to_text(now))
            .bind(&rows)
            .fetch_all(connection)
            .await?;
            // Ids ascend in the order of writing; SQLite promises nothing of that of
            // RETURNING.
            let mut ids = ids.wrote(messages.len(), "messages")?;
            ids.sort_unstable();
            Ok(ids.into_iter().map(MessageId).collect())
        })
    }

    fn has_task(&mut self, task: TaskId) -> Result<bool> {
        self.run(async |connection| {
            let found: bool =
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM bridge_task WHERE task_id = ?1)")
                    .bind(task.0)
                    .fetch_one(connection)
                    .await?;
            Ok(found)
        })
    }

    fn link_message(&mut self, task: TaskId, message: MessageId) -> Result<()> {
        self.run(async |connection| notices::link(connection, task, Some(message)).await)
    }

    fn owed(
        &mut self,
        session: &SessionKey,
        after: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>> {
        self.run(async |connection| owed::owed(connection, session, after, limit).await)
    }

    fn mail(&mut self, sessions: &[SessionKey]) -> Result<Vec<Mail>> {
        self.run(async |connection| owed::mail_of(connection, sessions).await)
    }

    fn handed(
        &mut self,
        session: &SessionKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Handed>> {
        self.run(async |connection| {
            let rows = sqlx::query(
                "SELECT message_id, fetch_id, fetched_ms
                 FROM bridge_receipt INDEXED BY bridge_receipt_open
                 WHERE conversation_id = ?1 AND session_id = ?2
                   AND acked_ms IS NULL AND written_ms IS NULL AND fetched_ms BETWEEN ?3 AND ?4",
            )
            .bind(session.conversation.as_str())
            .bind(session.side.as_str())
            .bind(millis(from))
            .bind(millis(to))
            .fetch_all(connection)
            .await?;
            let mut handed = Vec::with_capacity(rows.len());
            for row in &rows {
                handed.push(Handed {
                    message: MessageId(row.try_get(0)?),
                    fetch: FetchId(shared::text(row, 1)?.into_owned()),
                    at: from_millis(row.try_get(2).unwrap_or(0)),
                });
            }
            Ok(handed)
        })
    }

    fn hand_out(
        &mut self,
        session: &SessionKey,
        messages: &[MessageId],
        fetch: &FetchId,
        now: Timestamp,
    ) -> Result<()> {
        let ids = json!(messages).to_string();
        self.run(async |connection| {
            sqlx::query(
                "UPDATE messages SET read = 1 WHERE id IN (SELECT value FROM json_each(?1))",
            )
            .bind(&ids)
            .execute(&mut *connection)
            .await?
            .wrote(messages.len(), "messages")?;
            sqlx::query(
                "INSERT INTO bridge_receipt
                     (message_id, conversation_id, session_id, fetch_id, fetched_ms)
                 SELECT value, ?2, ?3, ?4, ?5 FROM json_each(?1) WHERE true
                 ON CONFLICT (message_id) DO UPDATE SET fetch_id = excluded.fetch_id,
                     fetched_ms = excluded.fetched_ms",
            )
            .bind(&ids)
            .bind(session.conversation.as_str())
            .bind(session.side.as_str())
            .bind(&fetch.0)
            .bind(millis(now))
            .execute(connection)
            .await?
            .wrote(messages.len(), "bridge_receipt")?;
            Ok(())
        })
    }

    fn confirm(&mut self, fetch: &FetchId, now: Timestamp) -> Result<()> {
        self.run(async |connection| {
            sqlx::query(
                "UPDATE bridge_receipt SET written_ms = ?2
                 WHERE fetch_id = ?1 AND written_ms IS NULL",
            )
            .bind(&fetch.0)
            .bind(millis(now))
            .execute(connection)
            .await?;
            Ok(())
        })
    }

    fn acknowledge_confirmed(&mut self, session: &SessionKey, now: Timestamp) -> Result<()> {
        self.run(async |connection| calls::came_back(connection, session, now).await)
    }

    fn mark_read(&mut self, session: &SessionKey, message: MessageId) -> Result<bool> {
        self.run(async |connection| {
            let marked = sqlx::query(
                "UPDATE messages SET read = 1
                 WHERE id = ?1 AND conversation_id = ?2 AND to_session IN (?3, 'session_' || ?3)",
            )
            .bind(message.0)
            .bind(session.conversation.as_str())
            .bind(session.side.as_str())
            .execute(connection)
            .await?;
            Ok(marked.rows_affected() > 0)
        })
    }

    fn acknowledge(
        &mut self,
        session: &SessionKey,
        message: MessageId,
        now: Timestamp,
    ) -> Result<bool> {
        self.run(async |connection| {
            let changed = sqlx::query(
                "INSERT INTO bridge_receipt (message_id, conversation_id, session_id, fetch_id,
                     fetched_ms, written_ms, acked_ms)
                 VALUES (?1, ?2, ?3, 'ack', ?4, ?4, ?4)
                 ON CONFLICT (message_id) DO UPDATE SET acked_ms = excluded.acked_ms,
                     written_ms = coalesce(written_ms, excluded.written_ms)
                 WHERE bridge_receipt.acked_ms IS NULL",
            )
            .bind(message.0)
            .bind(session.conversation.as_str())
            .bind(session.side.as_str())
            .bind(millis(now))
            .execute(&mut *connection)
            .await?;
            if changed.rows_affected() > 0 {
                return Ok(true);
            }
            // Acknowledged before, or kept out.
            sqlx::query_scalar::<_, i64>(
                "SELECT 1 FROM bridge_receipt WHERE message_id = ?1 AND acked_ms IS NOT NULL",
            )
            .bind(message.0)
            .fetch_optional(connection)
            .await?
            .wrote(1, "bridge_receipt")?;
            Ok(false)
        })
    }
}
