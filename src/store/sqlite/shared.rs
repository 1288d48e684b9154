//! The four tables that we share with the Python bridge: their text forms.

use std::borrow::Cow;

use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Row, SqliteConnection};

use super::fault::Fault;
use crate::model::message::{Message, Sender};
use crate::model::{ConversationId, MessageId, Side, timestamp};

/// How many columns of that bridge's tables are missing. Their names are common ones,
/// so their columns must be there too: no table of another program is ever touched.
pub(super) const MISSING_COLUMNS: &str = "SELECT count(*) FROM (
             SELECT 'conversations' AS tab, value AS col FROM json_each(
                 '[\"id\",\"session_a_role\",\"session_b_role\",\"session_a_token\",\"session_b_token\",\"created_at\",\"expires_at\"]')
             UNION ALL
             SELECT 'messages', value FROM json_each(
                 '[\"id\",\"conversation_id\",\"from_session\",\"to_session\",\"message\",\"metadata\",\"timestamp\",\"read\"]')
         ) wanted
         WHERE NOT EXISTS (SELECT 1 FROM pragma_table_info(wanted.tab) WHERE name = wanted.col)";

/// The sign that another program gave of a session, by its rows of `session_status`:
/// `st` of the side and `so` of the side as scripts spell it (`session_b`). Our mirror
/// of the heartbeat `h` writes into either, so what it wrote is known by its value, and
/// counts under neither id. The newer of two foreign rows counts.
macro_rules! foreign_mark {
    () => {
        "CASE WHEN st.last_heartbeat IS NOT NULL AND st.last_heartbeat IS NOT h.mirrored
                   AND (so.last_heartbeat IS NULL OR so.last_heartbeat IS h.mirrored
                        OR replace(st.last_heartbeat, ' ', 'T')
                           >= replace(so.last_heartbeat, ' ', 'T'))
              THEN st.last_heartbeat || ' ' || coalesce(st.status, 'active')
              WHEN so.last_heartbeat IS NOT h.mirrored
              THEN so.last_heartbeat || ' ' || coalesce(so.status, 'active') END"
    };
}

/// What a session last said of itself, by the same two rows. `active` is what keepalive
/// scripts and our mirror write in a loop: it does not replace the agent's own report.
macro_rules! reported {
    () => {
        "CASE WHEN so.status IS NULL THEN st.status
              WHEN coalesce(st.status, 'active') = 'active' THEN so.status
              WHEN so.status = 'active'
                   OR replace(st.last_heartbeat, ' ', 'T')
                      >= replace(so.last_heartbeat, ' ', 'T') THEN st.status
              ELSE so.status END"
    };
}

/// When a session sent its newest message, through any program, for a session (`c.id`,
/// `w.side`).
macro_rules! spoken_mark {
    () => {
        "(SELECT max(timestamp) FROM (
              SELECT max(timestamp) AS timestamp FROM messages INDEXED BY bridge_messages_sent
                  WHERE conversation_id = c.id AND from_session = w.side
              UNION ALL
              SELECT max(timestamp) FROM messages INDEXED BY bridge_messages_sent
                  WHERE conversation_id = c.id AND from_session = 'session_' || w.side))"
    };
}

/// The newest message that the other bridge handed to a session: read, and without
/// a receipt of ours. Of the partner's newest few, which that bridge hands out all
/// at once. Only where neither a daemon nor a script beats for the session: a
/// script's watcher marks mail as read that its agent has not seen.
macro_rules! read_mark {
    () => {
        "CASE WHEN h.daemon_id IS NULL AND st.session_id IS NULL AND so.session_id IS NULL THEN
             (SELECT max(m.id) FROM (
                  SELECT id, read FROM messages INDEXED BY bridge_messages_sent
                  WHERE conversation_id = c.id
                    AND from_session = iif(w.side = 'a', 'b', 'a')
                  ORDER BY timestamp DESC LIMIT 8) m
              WHERE m.read = 1
                AND NOT EXISTS (SELECT 1 FROM bridge_receipt r WHERE r.message_id = m.id)) END"
    };
}

/// The newest change of a session, 0 without one. An odd one that no count comes
/// to, or that is no number, counts nothing.
macro_rules! session_change {
    () => {
        "SELECT CAST(coalesce(max(change), 0) AS INTEGER) FROM bridge_session
         WHERE change < 4611686018427387904"
    };
}

/// The same of a daemon.
macro_rules! daemon_change {
    () => {
        "SELECT CAST(coalesce(max(change), 0) AS INTEGER) FROM bridge_daemon
         WHERE change < 4611686018427387904"
    };
}

pub(super) use {daemon_change, foreign_mark, read_mark, reported, session_change, spoken_mark};

/// Whether that bridge's tables stand here already.
pub(super) async fn exists(connection: &mut SqliteConnection) -> Result<bool, Fault> {
    let missing: i64 = sqlx::query_scalar(MISSING_COLUMNS)
        .fetch_one(connection)
        .await?;
    Ok(missing == 0)
}

/// A column's text. A foreign writer may have put bytes there, or none, and
/// one odd row must not stand in the way of all that come after it.
pub(super) fn text(
    row: &SqliteRow,
    column: impl ColumnIndex<SqliteRow>,
) -> Result<Cow<'_, str>, sqlx::Error> {
    let bytes: Option<&[u8]> = row.try_get_unchecked(column)?;
    Ok(String::from_utf8_lossy(bytes.unwrap_or_default()))
}

/// The same from its parts, for the other reader.
pub(super) fn assemble(
    id: i64,
    conversation: &str,
    from: &str,
    to: &str,
    message: &str,
    metadata: Option<&str>,
    sent_at: &str,
) -> Option<Message> {
    Some(Message {
        id: MessageId(id),
        conversation: conversation.parse::<ConversationId>().ok()?,
        from: Sender::from(from),
        to: to.parse::<Side>().ok()?,
        message: message.to_owned(),
        metadata: metadata
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_else(|| Value::Object(serde_json::Map::new())),
        sent_at: timestamp::from_text(sent_at),
    })
}
