//! Rows of `messages`, and of ours about them.

use jiff::Timestamp;
use rusqlite::{Row, params};
use serde_json::json;

use crate::model::health::Turn;
use crate::model::message::{ClientMessageId, Message};
use crate::model::wake::Mail;
use crate::model::{MessageId, SessionKey, TaskId, timestamp};
use crate::store::rows::{Clean, ClientMessage, Handed, MessageRows, Page};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::owed::owed_mail;
use crate::store::sqlite::statements::{Statements as _, odd_value, text};
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{from_millis, millis, shared};
use crate::store::{FetchId, Result};

/// A row of id, conversation, from, to, message, metadata, timestamp. `None` for
/// one that names no session of ours.
fn message(row: &Row<'_>) -> rusqlite::Result<Option<Message>> {
    Ok(shared::assemble(
        row.get(0)?,
        &text(row, 1)?,
        &text(row, 2)?,
        &text(row, 3)?,
        &text(row, 4)?,
        Some(&text(row, 5)?),
        &text(row, 6)?,
    ))
}

impl MessageRows for SqliteRows {
    fn sent_at(
        &mut self,
        from: &SessionKey,
        now: Timestamp,
        skip: u32,
        count: u32,
    ) -> Result<Vec<Option<Timestamp>>> {
        self.run(|connection| {
            let times = connection.all(
                "SELECT timestamp FROM messages
                 WHERE conversation_id = ?1 AND from_session = ?2 AND timestamp <= ?3
                 ORDER BY timestamp DESC LIMIT ?4 OFFSET ?5",
                params![
                    from.conversation.as_str(),
                    from.side.as_str(),
                    timestamp::to_text(now),
                    count,
                    skip
                ],
                |row| Ok(timestamp::from_text(&text(row, 0)?)),
            )?;
            Ok(times)
        })
    }

    fn client_message(
        &mut self,
        from: &SessionKey,
        id: &ClientMessageId,
    ) -> Result<Option<ClientMessage>> {
        self.run(|connection| {
            let known = connection.first(
                "SELECT c.message_id, m.message FROM bridge_client_message c
                 LEFT JOIN messages m ON m.id = c.message_id
                 WHERE c.conversation_id = ?1 AND c.session_id = ?2 AND c.client_id = ?3",
                params![from.conversation.as_str(), from.side.as_str(), id.as_str()],
                |row| {
                    Ok(ClientMessage {
                        id: MessageId(row.get(0)?),
                        text: row.get(1)?,
                    })
                },
            )?;
            Ok(known)
        })
    }

    fn name_message(
        &mut self,
        from: &SessionKey,
        id: &ClientMessageId,
        message: MessageId,
    ) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_client_message
                         (conversation_id, session_id, client_id, message_id)
                     VALUES (?1, ?2, ?3, ?4)",
                    params![
                        from.conversation.as_str(),
                        from.side.as_str(),
                        id.as_str(),
                        message.0
                    ],
                )?
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
        let (sent, side) = (timestamp::to_text(now), from.side);
        self.run(|connection| {
            let mut ids = Vec::with_capacity(messages.len());
            for Clean { text, metadata, .. } in messages {
                connection
                    .change(
                        "INSERT INTO messages (conversation_id, from_session, to_session,
                             message, metadata, timestamp)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                        params![
                            from.conversation.as_str(),
                            side.as_str(),
                            side.other().as_str(),
                            text,
                            metadata,
                            sent
                        ],
                    )?
                    .wrote(1, "messages")?;
                ids.push(MessageId(connection.last_insert_rowid()));
            }
            Ok(ids)
        })
    }

    fn link_message(&mut self, task: TaskId, message: MessageId) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_task_message (message_id, task_id) VALUES (?1, ?2)
                     ON CONFLICT (message_id) DO UPDATE SET task_id = excluded.task_id",
                    [message.0, task.0],
                )?
                .wrote(1, "bridge_task_message")?;
            Ok(())
        })
    }

    /// What [`owed_mail`] names, but each of its parts ends
    /// where the page does: a page costs no more when a thousand others come after
    /// it. Their texts are read one after the other: in one statement, SQLite would
    /// sort them with all that a page can name.
    fn owed(
        &mut self,
        session: &SessionKey,
        after: Option<MessageId>,
        mut page: Page<'_>,
    ) -> Result<Vec<Message>> {
        self.run(|connection| {
            let ids = connection.all(
                "SELECT id FROM (SELECT m.id AS id
                     FROM messages m INDEXED BY bridge_messages_unread
                     WHERE m.conversation_id = ?1 AND m.to_session = ?2 AND m.read = 0
                       AND m.id > ?3 ORDER BY m.id LIMIT ?4)
                 UNION
                 SELECT id FROM (SELECT m.id AS id
                     FROM messages m INDEXED BY bridge_messages_unread
                     WHERE m.conversation_id = ?1 AND m.to_session = 'session_' || ?2
                       AND m.read = 0 AND m.id > ?3 ORDER BY m.id LIMIT ?4)
                 UNION
                 -- Not one that was cleaned away: it has no place in the page.
                 SELECT id FROM (SELECT m.id AS id
                     FROM bridge_receipt r INDEXED BY bridge_receipt_open
                     CROSS JOIN messages m ON m.id = r.message_id
                     WHERE r.conversation_id = ?1 AND r.session_id = ?2
                       AND r.acked_ms IS NULL AND r.written_ms IS NULL
                       AND r.message_id > ?3 ORDER BY r.message_id LIMIT ?4)
                 ORDER BY id LIMIT ?4",
                params![
                    session.conversation.as_str(),
                    session.side.as_str(),
                    after.map_or(i64::MIN, |id| id.0),
                    page.rows()
                ],
                |row| row.get(0).map(MessageId),
            )?;
            for id in ids
                .into_iter()
                .filter(|id| page.wants(*id))
                .collect::<Vec<_>>()
            {
                let found = connection.first(
                    "SELECT id, conversation_id, from_session, to_session, message, metadata,
                            timestamp
                     FROM messages WHERE id = ?1",
                    [id.0],
                    message,
                )?;
                if let Some(message) = found.flatten()
                    && page.take(message).is_break()
                {
                    break;
                }
            }
            Ok(page.into_messages())
        })
    }

    fn mail(&mut self, sessions: &[SessionKey]) -> Result<Vec<Mail>> {
        let wanted: Vec<[&str; 2]> = sessions
            .iter()
            .map(|session| [session.conversation.as_str(), session.side.as_str()])
            .collect();
        let wanted = json!(wanted).to_string();
        self.run(|connection| {
            let mail = connection.all(
                concat!(
                    "WITH w AS (SELECT key, value ->> 0 AS conversation, value ->> 1 AS side
                                FROM json_each(?1))
                     SELECT (SELECT json_array(min(id), max(id), count(*)) FROM (",
                    owed_mail!(),
                    ")), s.activity_ms, s.turn
                     FROM w LEFT JOIN bridge_session s
                         ON s.conversation_id = w.conversation AND s.session_id = w.side
                     ORDER BY w.key",
                ),
                [wanted],
                |row| {
                    let total = row.get_ref(0)?.as_bytes()?;
                    let total: (Option<i64>, Option<i64>, u64) =
                        serde_json::from_slice(total).map_err(|odd| odd_value(0, odd))?;
                    // One that cannot be read is not known: the mail is still reported.
                    let acted_at = row.get::<_, Option<i64>>(1).unwrap_or(None);
                    Ok(Mail {
                        oldest_unread: total.0.map(MessageId),
                        newest_unread: total.1.map(MessageId),
                        unread: total.2,
                        acted_at: acted_at.map(from_millis),
                        in_turn: text(row, 2)? == Turn::Inside.as_str(),
                    })
                },
            )?;
            Ok(mail)
        })
    }

    fn handed(
        &mut self,
        session: &SessionKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Handed>> {
        self.run(|connection| {
            let handed = connection.all(
                "SELECT message_id, fetch_id, fetched_ms
                 FROM bridge_receipt INDEXED BY bridge_receipt_open
                 WHERE conversation_id = ?1 AND session_id = ?2
                   AND acked_ms IS NULL AND written_ms IS NULL AND fetched_ms BETWEEN ?3 AND ?4",
                params![
                    session.conversation.as_str(),
                    session.side.as_str(),
                    millis(from),
                    millis(to)
                ],
                |row| {
                    Ok(Handed {
                        message: MessageId(row.get(0)?),
                        fetch: FetchId(text(row, 1)?.into_owned()),
                        at: from_millis(row.get(2).unwrap_or(0)),
                    })
                },
            )?;
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
        self.run(|connection| {
            connection
                .change(
                    "UPDATE messages SET read = 1 WHERE id IN (SELECT value FROM json_each(?1))",
                    [&ids],
                )?
                .wrote(messages.len(), "messages")?;
            connection
                .change(
                    "INSERT INTO bridge_receipt
                         (message_id, conversation_id, session_id, fetch_id, fetched_ms)
                     SELECT value, ?2, ?3, ?4, ?5 FROM json_each(?1) WHERE true
                     ON CONFLICT (message_id) DO UPDATE SET fetch_id = excluded.fetch_id,
                         fetched_ms = excluded.fetched_ms",
                    params![
                        ids,
                        session.conversation.as_str(),
                        session.side.as_str(),
                        fetch.0,
                        millis(now)
                    ],
                )?
                .wrote(messages.len(), "bridge_receipt")?;
            Ok(())
        })
    }

    fn confirm(&mut self, session: &SessionKey, fetch: &FetchId, now: Timestamp) -> Result<()> {
        self.run(|connection| {
            connection.change(
                "UPDATE bridge_receipt SET written_ms = ?2
                 WHERE fetch_id = ?1 AND written_ms IS NULL
                   AND conversation_id = ?3 AND session_id = ?4",
                params![
                    fetch.0,
                    millis(now),
                    session.conversation.as_str(),
                    session.side.as_str()
                ],
            )?;
            Ok(())
        })
    }

    fn acknowledge_confirmed(&mut self, session: &SessionKey, now: Timestamp) -> Result<()> {
        self.run(|connection| {
            connection.change(
                "UPDATE bridge_receipt SET acked_ms = ?3
                 WHERE conversation_id = ?1 AND session_id = ?2
                   AND acked_ms IS NULL AND written_ms IS NOT NULL",
                params![
                    session.conversation.as_str(),
                    session.side.as_str(),
                    millis(now)
                ],
            )?;
            Ok(())
        })
    }

    fn mark_read(&mut self, session: &SessionKey, message: MessageId) -> Result<bool> {
        self.run(|connection| {
            let marked = connection.change(
                "UPDATE messages SET read = 1
                 WHERE id = ?1 AND conversation_id = ?2 AND to_session IN (?3, 'session_' || ?3)",
                params![
                    message.0,
                    session.conversation.as_str(),
                    session.side.as_str()
                ],
            )?;
            Ok(marked > 0)
        })
    }

    fn acknowledge(
        &mut self,
        session: &SessionKey,
        message: MessageId,
        now: Timestamp,
    ) -> Result<bool> {
        self.run(|connection| {
            let changed = connection.change(
                "INSERT INTO bridge_receipt (message_id, conversation_id, session_id, fetch_id,
                     fetched_ms, written_ms, acked_ms)
                 VALUES (?1, ?2, ?3, 'ack', ?4, ?4, ?4)
                 ON CONFLICT (message_id) DO UPDATE SET acked_ms = excluded.acked_ms,
                     written_ms = coalesce(written_ms, excluded.written_ms)
                 WHERE bridge_receipt.acked_ms IS NULL",
                params![
                    message.0,
                    session.conversation.as_str(),
                    session.side.as_str(),
                    millis(now)
                ],
            )?;
            if changed > 0 {
                return Ok(true);
            }
            // Acknowledged before, or kept out.
            connection
                .first(
                    "SELECT 1 FROM bridge_receipt WHERE message_id = ?1 AND acked_ms IS NOT NULL",
                    [message.0],
                    |row| row.get::<_, i64>(0),
                )?
                .wrote(1, "bridge_receipt")?;
            Ok(false)
        })
    }
}
