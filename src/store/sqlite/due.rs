//! What may be taken away, and how much of it at a time: the same for all rows of a
//! store of our own and for ours in an adopted one.

use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::statements::{Statements as _, json};
use super::written::Written as _;

/// Rows of one kind that one part takes.
pub(super) const PART: i64 = 500;

/// Receipts, or audit rows, that one part looks at.
pub(super) const LOOK: i64 = 5_000;

/// Whether a message `m` of a conversation `c` that ended before `?1` may go: a
/// session that still has something unread keeps its conversation.
macro_rules! due_message {
    () => {
        "replace(c.expires_at, ' ', 'T') < ?1 AND replace(m.timestamp, ' ', 'T') < ?1
         AND m.read = 1
         AND NOT EXISTS (SELECT 1 FROM bridge_receipt r
                         WHERE r.message_id = m.id AND r.acked_ms IS NULL
                           AND r.written_ms IS NULL)"
    };
}

/// Whether a conversation `c` that ended before `?1` may go.
macro_rules! due_conversation {
    () => {
        "replace(c.expires_at, ' ', 'T') < ?1
         AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = c.id)
         AND NOT EXISTS (SELECT 1 FROM bridge_task t
                         WHERE t.owner_conversation = c.id AND t.state = 'leased')"
    };
}

pub(super) use {due_conversation, due_message};

/// Where the last look through rows of this name ended; 0 for the beginning.
pub(super) fn looked_to(connection: &Connection, name: &str) -> Result<i64, Fault> {
    let until = connection.one(
        "SELECT CAST(coalesce(max(n), 0) AS INTEGER) FROM bridge_signal WHERE name = ?1",
        [name],
        |row| row.get(0),
    )?;
    Ok(until)
}

/// How many rows a look covered, and the last of them.
pub(super) fn looked(row: &Row<'_>) -> rusqlite::Result<(i64, i64)> {
    Ok((row.get(0)?, row.get(1)?))
}

/// Notes where the next look through rows of this name begins.
pub(super) fn look_on(connection: &Connection, name: &str, until: i64) -> Result<(), Fault> {
    connection
        .change(
            "INSERT INTO bridge_signal (name, n) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET n = excluded.n",
            params![name, until],
        )?
        .wrote(1, "bridge_signal")?;
    Ok(())
}

/// What belongs to messages that were just taken away.
pub(super) fn of_messages(connection: &Connection, gone: &[i64]) -> Result<(), Fault> {
    let gone = json(&gone);
    for statement in [
        "DELETE FROM bridge_receipt WHERE message_id IN (SELECT value FROM json_each(?1))",
        "DELETE FROM bridge_task_message WHERE message_id IN (SELECT value FROM json_each(?1))",
    ] {
        connection.change(statement, [&gone])?;
    }
    Ok(())
}
