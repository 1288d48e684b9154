//! In a store that the Python bridge made, the rows of the shared tables that we
//! did not write are not ours to delete. There our writers note what they write;
//! housekeeping goes by these notes.
//!
//! A trigger of the connection itself (`TEMP`) notes a row with any statement that
//! writes it: nothing stands in the database's own schema, other programs' writes note
//! nothing, and a store of our own has no part of it.

use rusqlite::{Connection, params};

use super::due::{LOOK, PART, due_conversation, due_message, look_on, looked, looked_to};
use super::fault::{Fault, is_locked};
use super::statements::Statements as _;

/// The time of a message `m` as a number: its second, and what it says of it behind
/// the point. The same text gives the same number, and a text that is no time 0.
macro_rules! message_us {
    () => {
        "coalesce(CAST(strftime('%s', m.timestamp) AS INTEGER) * 1000000
                      + CAST(substr(m.timestamp, 21, 6) AS INTEGER), 0)"
    };
}

/// The same of a row `a` of the audit log.
macro_rules! audit_us {
    () => {
        "coalesce(CAST(strftime('%s', a.timestamp) AS INTEGER) * 1000000
                      + CAST(substr(a.timestamp, 21, 6) AS INTEGER), 0)"
    };
}

/// The same of a conversation `c`.
macro_rules! conversation_us {
    () => {
        "coalesce(CAST(strftime('%s', c.created_at) AS INTEGER) * 1000000
                      + CAST(substr(c.created_at, 21, 6) AS INTEGER), 0)"
    };
}

/// What a connection that writes needs before its first write.
pub(super) const TRIGGERS: &str = "
     CREATE TEMP TRIGGER IF NOT EXISTS ours_message AFTER INSERT ON main.messages BEGIN
         INSERT OR REPLACE INTO bridge_ours (kind, id, at_us) VALUES ('m', NEW.id, coalesce(CAST(strftime('%s', NEW.timestamp) AS INTEGER) * 1000000
                      + CAST(substr(NEW.timestamp, 21, 6) AS INTEGER), 0)); END;
     CREATE TEMP TRIGGER IF NOT EXISTS ours_audit AFTER INSERT ON main.audit_log BEGIN
         INSERT OR REPLACE INTO bridge_ours (kind, id, at_us) VALUES ('a', NEW.id, coalesce(CAST(strftime('%s', NEW.timestamp) AS INTEGER) * 1000000
                      + CAST(substr(NEW.timestamp, 21, 6) AS INTEGER), 0)); END;
     CREATE TEMP TRIGGER IF NOT EXISTS ours_conversation AFTER INSERT ON main.conversations BEGIN
         INSERT OR REPLACE INTO bridge_ours (kind, id, at_us) VALUES ('c', NEW.id, coalesce(CAST(strftime('%s', NEW.created_at) AS INTEGER) * 1000000
                      + CAST(substr(NEW.created_at, 21, 6) AS INTEGER), 0)); END;
     CREATE TEMP TRIGGER IF NOT EXISTS ours_status AFTER INSERT ON main.session_status BEGIN
         INSERT OR REPLACE INTO bridge_ours (kind, id, at_us)
         VALUES ('s', NEW.conversation_id || '/' || NEW.session_id, 0); END;
     CREATE TEMP TRIGGER IF NOT EXISTS ours_message_gone AFTER DELETE ON main.messages BEGIN
         DELETE FROM bridge_ours WHERE kind = 'm' AND id = OLD.id; END;
     CREATE TEMP TRIGGER IF NOT EXISTS ours_audit_gone AFTER DELETE ON main.audit_log BEGIN
         DELETE FROM bridge_ours WHERE kind = 'a' AND id = OLD.id; END;
     CREATE TEMP TRIGGER IF NOT EXISTS ours_conversation_gone AFTER DELETE ON main.conversations BEGIN
         DELETE FROM bridge_ours WHERE kind = 'c' AND id = OLD.id; END;
     CREATE TEMP TRIGGER IF NOT EXISTS ours_status_gone AFTER DELETE ON main.session_status BEGIN
         DELETE FROM bridge_ours
         WHERE kind = 's' AND id = OLD.conversation_id || '/' || OLD.session_id; END;";

/// Whether the Python bridge made the store.
pub(super) const ADOPTED: &str =
    "SELECT EXISTS (SELECT 1 FROM bridge_setting WHERE key = 'origin' AND value = 'adopted')";

/// Lets a connection note from now on what it writes, where that matters. A store
/// that is not as it must be is refused by the first write itself.
///
/// # Errors
/// If another process has the file alone: nothing must be written unnoted.
pub(super) fn note_rows(connection: &Connection) -> rusqlite::Result<()> {
    let adopted = connection.query_row(ADOPTED, [], |row| row.get(0));
    let noted = match adopted {
        Ok(true) => connection.execute_batch(TRIGGERS),
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    noted.or_else(|error| {
        if is_locked(&error) {
            Err(error)
        } else {
            Ok(())
        }
    })
}

/// Deletes one part of the conversations that are due.
pub(super) fn conversations(connection: &Connection, before: &str) -> Result<usize, Fault> {
    let gone = connection.change(
        concat!(
            "DELETE FROM conversations WHERE id IN (
                 SELECT c.id FROM bridge_ours o CROSS JOIN conversations c ON c.id = o.id
                 WHERE o.kind = 'c' AND o.at_us = ",
            conversation_us!(),
            " AND ",
            due_conversation!(),
            " LIMIT ?2)"
        ),
        params![before, PART],
    )?;
    Ok(gone)
}

/// The same of the messages; returns their ids.
pub(super) fn messages(connection: &Connection, before: &str) -> Result<Vec<i64>, Fault> {
    window(connection, &MESSAGES, before)
}

/// The same of the audit log.
pub(super) fn audit(connection: &Connection, before: &str) -> Result<usize, Fault> {
    Ok(window(connection, &AUDIT, before)?.len())
}

/// Statuses and notes of what is gone. Before the heartbeats go that tell which
/// statuses still have the value that we wrote.
pub(super) fn orphans(connection: &Connection) -> Result<(), Fault> {
    for statement in [
        "DELETE FROM session_status
         WHERE conversation_id NOT IN (SELECT id FROM conversations)
           AND EXISTS (SELECT 1 FROM bridge_ours o WHERE o.kind = 's'
                       AND o.id = session_status.conversation_id || '/' || session_status.session_id)
           AND EXISTS (SELECT 1 FROM bridge_heartbeat h
                       WHERE h.conversation_id = session_status.conversation_id
                         AND h.session_id = session_status.session_id
                         AND h.mirrored = session_status.last_heartbeat)",
        "DELETE FROM bridge_ours WHERE kind = 'c' AND id NOT IN (SELECT id FROM conversations)",
        "DELETE FROM bridge_ours WHERE kind = 's'
           AND NOT EXISTS (SELECT 1 FROM session_status s
                           WHERE s.conversation_id = substr(bridge_ours.id, 1, length(bridge_ours.id) - 2)
                             AND s.session_id = substr(bridge_ours.id, -1))",
    ] {
        connection.change(statement, [])?;
    }
    Ok(())
}

/// How the notes of one kind are looked through.
struct Kind {
    letter: &'static str,
    /// Where the last look ended.
    mark: &'static str,
    /// Deletes what is due of the notes between two ids.
    delete: &'static str,
    /// Takes away notes of rows that are gone or another program's.
    stale: &'static str,
}

const MESSAGES: Kind = Kind {
    letter: "m",
    mark: "ours:m",
    delete: concat!(
        "DELETE FROM messages WHERE id IN (
             SELECT m.id FROM bridge_ours o CROSS JOIN messages m ON m.id = o.id
             CROSS JOIN conversations c ON c.id = m.conversation_id
             WHERE o.kind = 'm' AND o.id > ?3 AND o.id <= ?4 AND o.at_us = ",
        message_us!(),
        " AND ",
        due_message!(),
        " LIMIT ?2) RETURNING id"
    ),
    stale: concat!(
        "DELETE FROM bridge_ours WHERE kind = 'm' AND id > ?1 AND id <= ?2
           AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = bridge_ours.id
                           AND bridge_ours.at_us = ",
        message_us!(),
        ")"
    ),
};

const AUDIT: Kind = Kind {
    letter: "a",
    mark: "ours:a",
    delete: concat!(
        "DELETE FROM audit_log WHERE id IN (
             SELECT a.id FROM bridge_ours o CROSS JOIN audit_log a ON a.id = o.id
             WHERE o.kind = 'a' AND o.id > ?3 AND o.id <= ?4 AND o.at_us = ",
        audit_us!(),
        " AND replace(a.timestamp, ' ', 'T') < ?1 LIMIT ?2) RETURNING id"
    ),
    stale: concat!(
        "DELETE FROM bridge_ours WHERE kind = 'a' AND id > ?1 AND id <= ?2
           AND NOT EXISTS (SELECT 1 FROM audit_log a WHERE a.id = bridge_ours.id
                           AND bridge_ours.at_us = ",
        audit_us!(),
        ")"
    ),
};

/// Looks through the next notes of a kind, and deletes what is due of their rows:
/// what stays must not be counted through each time.
fn window(connection: &Connection, kind: &Kind, before: &str) -> Result<Vec<i64>, Fault> {
    let from = looked_to(connection, kind.mark)?;
    let (many, until) = connection.one(
        "SELECT count(*), coalesce(max(id), 0) FROM (
             SELECT id FROM bridge_ours WHERE kind = ?3 AND id > ?1 ORDER BY id LIMIT ?2)",
        params![from, LOOK, kind.letter],
        looked,
    )?;
    let gone = connection.all(kind.delete, params![before, PART, from, until], |row| {
        row.get(0)
    })?;
    connection.change(kind.stale, [from, until])?;
    // Where something went there may be more.
    let next = match (gone.is_empty(), many) {
        (true, ..LOOK) => 0,
        (true, _) => until,
        (false, _) => from,
    };
    look_on(connection, kind.mark, next)?;
    Ok(gone)
}
