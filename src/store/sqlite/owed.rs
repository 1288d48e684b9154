//! What a session is owed: the one definition for whoever counts, hands out or
//! names it.

use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::fault::Fault;
use super::{from_millis, shared};
use crate::model::health::Turn;
use crate::model::wake::Mail;
use crate::model::{MessageId, SessionKey};

/// The ids of the messages that a session `w(conversation, side)` is owed:
/// unread ones, and those that were handed out by a call that died before it
/// could answer.
macro_rules! owed_mail {
    () => {
        "SELECT m.id AS id FROM messages m INDEXED BY bridge_messages_unread
             WHERE m.conversation_id = w.conversation
               AND m.to_session IN (w.side, 'session_' || w.side) AND m.read = 0
         UNION ALL
         SELECT r.message_id FROM bridge_receipt r INDEXED BY bridge_receipt_open
             WHERE r.conversation_id = w.conversation AND r.session_id = w.side
               AND r.acked_ms IS NULL AND r.written_ms IS NULL"
    };
}

pub(super) use owed_mail;

/// Unread mail of many sessions: one statement, one index probe a session.
pub(super) async fn mail_of(
    connection: &mut SqliteConnection,
    sessions: &[SessionKey],
) -> std::result::Result<Vec<Mail>, Fault> {
    let wanted: Vec<[&str; 2]> = sessions
        .iter()
        .map(|session| [session.conversation.as_str(), session.side.as_str()])
        .collect();
    let rows = sqlx::query(concat!(
        "WITH w AS (SELECT key, value ->> 0 AS conversation, value ->> 1 AS side
                    FROM json_each(?1))
         SELECT (SELECT json_array(min(id), max(id), count(*)) FROM (",
        owed_mail!(),
        ")), s.activity_ms, s.turn
         FROM w LEFT JOIN bridge_session s
             ON s.conversation_id = w.conversation AND s.session_id = w.side
         ORDER BY w.key",
    ))
    .bind(json!(wanted).to_string())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let total: (Option<i64>, Option<i64>, u64) =
                serde_json::from_str(row.try_get(0)?).map_err(|e| sqlx::Error::Decode(e.into()))?;
            Ok(Mail {
                oldest_unread: total.0.map(MessageId),
                newest_unread: total.1.map(MessageId),
                unread: total.2,
                // One that cannot be read is not known: mail is told of all the same.
                acted_at: row
                    .try_get::<Option<i64>, _>(1)
                    .unwrap_or(None)
                    .map(from_millis),
                in_turn: shared::text(row, 2)? == Turn::Inside.as_str(),
            })
        })
        .collect()
}
