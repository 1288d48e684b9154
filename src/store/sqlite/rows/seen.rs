//! The fleet as an orchestrator reads it.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::heartbeats::process;
use crate::model::{ConversationId, Label, SessionKey, timestamp};
use crate::store::rows::{SeenRows, Which};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::owed::owed_mail;
use crate::store::sqlite::shared::{
    daemon_change, foreign_mark, read_mark, reported, session_change, spoken_mark,
};
use crate::store::sqlite::statements::{
    Statements as _, count, readable, session_at, session_list, standing_at, text, words,
};
use crate::store::{Cursor, Pulse, Result, SeenBeat, SeenSession};

/// The columns of a session, for the sessions of a table `w` (conversation,
/// side); only of conversations that are open. One that ended while it had a
/// task is still watched, so that it is found lost and the task moves; it may
/// have no other.
macro_rules! fleet {
    ($wanted:literal) => {
        concat!(
            "WITH w(conversation, side) AS (",
            $wanted,
            ")
            SELECT c.id AS conversation, w.side AS side, l.label AS label,
                iif(w.side = 'a', c.session_a_role, c.session_b_role) AS role,
                d.host AS host, h.seq AS seq, h.ttl_ms AS ttl_ms,
                h.daemon_id IS NOT NULL AND NOT h.released AS kept,
                h.exited_ms IS NOT NULL AS exited, h.proof = 'stopped' AS stopped, h.boot_id AS boot_id, h.pid_ns AS pid_ns,
                h.pid AS pid, h.pid_start AS pid_start,
                coalesce(s.activity_seq, 0) AS activity, s.busy_seq AS busy_seq,
                s.busy_for_ms AS busy_for_ms, s.turn AS turn,
                iif(replace(c.expires_at, ' ', 'T') > ?1 AND l.closed_ms IS NULL, s.capacity, 0)
                    AS capacity,
                coalesce(s.crashes, 0) AS crashes, s.standing AS standing, s.standing_seq AS standing_seq,
                ",
            foreign_mark!(),
            " AS foreign_mark,
                ",
            spoken_mark!(),
            " AS spoken_mark,
                ",
            read_mark!(),
            " AS read_mark, s.fetched_ms IS NOT NULL AS fetched,
                ",
            reported!(),
            " AS reported,
                (SELECT count(*) FROM (",
            owed_mail!(),
            ")) AS unread,
                (SELECT count(*) FROM bridge_task t INDEXED BY bridge_task_owner
                     WHERE t.owner_conversation = c.id AND t.owner_session = w.side
                       AND t.state = 'leased') AS open_tasks
            FROM w CROSS JOIN conversations c ON c.id = w.conversation
            LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
            LEFT JOIN bridge_heartbeat h ON h.conversation_id = c.id AND h.session_id = w.side
            LEFT JOIN bridge_daemon d ON d.daemon_id = h.daemon_id
            LEFT JOIN bridge_session s ON s.conversation_id = c.id AND s.session_id = w.side
            LEFT JOIN session_status st ON st.conversation_id = c.id AND st.session_id = w.side
            LEFT JOIN session_status so
                ON so.conversation_id = c.id AND so.session_id = 'session_' || w.side
            WHERE (replace(c.expires_at, ' ', 'T') > ?1 AND l.closed_ms IS NULL)
               OR EXISTS (SELECT 1 FROM bridge_task t INDEXED BY bridge_task_owner
                          WHERE t.owner_conversation = c.id AND t.owner_session = w.side
                            AND t.state = 'leased')"
        )
    };
}

impl SeenRows for SqliteRows {
    fn cursor(&mut self) -> Result<Cursor> {
        self.run(|connection| {
            let cursor = connection.one(
                concat!("SELECT (", daemon_change!(), "), (", session_change!(), ")"),
                [],
                |row| {
                    Ok(Cursor {
                        beats: row.get(0)?,
                        sessions: row.get(1)?,
                    })
                },
            )?;
            Ok(cursor)
        })
    }

    fn page_end(
        &mut self,
        after: Option<&ConversationId>,
        conversations: u32,
    ) -> Result<Option<ConversationId>> {
        self.run(|connection| {
            let end = connection.first(
                "SELECT id FROM conversations WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2",
                params![
                    after.map_or("", ConversationId::as_str),
                    i64::from(conversations.max(1)) - 1
                ],
                // A name that another program made up ends no page: the rest is one.
                |row| Ok(text(row, 0)?.parse().ok()),
            )?;
            Ok(end.flatten())
        })
    }

    fn changed_since(&mut self, since: Cursor) -> Result<Vec<SessionKey>> {
        self.run(|connection| {
            let changed = connection.all(
                "SELECT conversation_id, session_id FROM bridge_session WHERE change > ?1",
                [since.sessions],
                |row| session_at(row, 0),
            )?;
            Ok(changed.into_iter().flatten().collect())
        })
    }

    fn seen(&mut self, which: Which<'_>, now: Timestamp) -> Result<Vec<SeenSession>> {
        let now = timestamp::to_text(now);
        let read = |row: &Row<'_>| Ok(readable("sessions", session(row)).flatten());
        self.run(|connection| {
            let sessions = match which {
                Which::All => connection.all(
                    fleet!(
                        "SELECT id, side FROM conversations
                         CROSS JOIN (SELECT 'a' AS side UNION ALL SELECT 'b')"
                    ),
                    [now],
                    read,
                ),
                Which::Page(after, until) => connection.all(
                    fleet!(
                        "SELECT id, side
                         FROM conversations CROSS JOIN (SELECT 'a' AS side UNION ALL SELECT 'b')
                         WHERE id > ?2 AND id <= ?3"
                    ),
                    params![
                        now,
                        after.map_or("", ConversationId::as_str),
                        // Above every id.
                        until.map_or("\u{10FFFF}", ConversationId::as_str)
                    ],
                    read,
                ),
                Which::Since(cursor) => connection.all(
                    fleet!(
                        "SELECT conversation_id, session_id FROM bridge_session WHERE change > ?2"
                    ),
                    params![now, cursor.sessions],
                    read,
                ),
                Which::These(sessions) => connection.all(
                    fleet!("SELECT value ->> 0, value ->> 1 FROM json_each(?2)"),
                    params![now, session_list(sessions)],
                    read,
                ),
            };
            Ok(sessions?.into_iter().flatten().collect())
        })
    }

    fn pulses(&mut self, since: Cursor, now: Timestamp) -> Result<Vec<Pulse>> {
        self.run(|connection| {
            let pulses = connection.all(
                concat!(
                    "SELECT h.conversation_id, h.session_id, d.host, h.seq, h.ttl_ms,
                            h.daemon_id IS NOT NULL AND NOT h.released, h.exited_ms IS NOT NULL,
                            h.proof = 'stopped', h.boot_id, h.pid_ns, h.pid, h.pid_start, ",
                    reported!(),
                    ", ",
                    foreign_mark!(),
                    "
                     FROM bridge_daemon d
                     CROSS JOIN bridge_heartbeat h ON h.daemon_id = d.daemon_id
                     CROSS JOIN conversations c ON c.id = h.conversation_id
                     LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
                     LEFT JOIN session_status st
                         ON st.conversation_id = h.conversation_id
                            AND st.session_id = h.session_id
                     LEFT JOIN session_status so
                         ON so.conversation_id = h.conversation_id
                            AND so.session_id = 'session_' || h.session_id
                     WHERE d.change > ?1 AND replace(c.expires_at, ' ', 'T') > ?2
                       AND l.closed_ms IS NULL",
                ),
                params![since.beats, timestamp::to_text(now)],
                |row| Ok(readable("heartbeats", pulse(row)).flatten()),
            )?;
            Ok(pulses.into_iter().flatten().collect())
        })
    }
}

fn pulse(row: &Row<'_>) -> rusqlite::Result<Option<Pulse>> {
    let Some(key) = session_at(row, 0)? else {
        return Ok(None);
    };
    Ok(Some(Pulse {
        key,
        host: row.get(2)?,
        beat: beat(row, 3)?,
        reported: words(row, 12)?,
        foreign: words(row, 13)?,
    }))
}

/// A heartbeat of nine columns, in the order of [`pulse`].
fn beat(row: &Row<'_>, first: usize) -> rusqlite::Result<SeenBeat> {
    Ok(SeenBeat {
        seq: row.get(first)?,
        ttl: duration(row.get(first + 1)?),
        kept: row.get(first + 2)?,
        exited: row.get(first + 3)?,
        stopped: row.get(first + 4)?,
        process: process(row, [first + 5, first + 6, first + 7, first + 8])?,
    })
}

/// A row of [`fleet`].
fn session(row: &Row<'_>) -> rusqlite::Result<Option<SeenSession>> {
    let Some(key) = session_at(row, 0)? else {
        return Ok(None);
    };
    let beat = match row.get::<_, Option<i64>>(5)? {
        None => None,
        Some(_) => Some(beat(row, 5)?),
    };
    let busy: Option<i64> = row.get(16)?;
    Ok(Some(SeenSession {
        key,
        label: row
            .get::<_, Option<String>>(2)?
            .and_then(|label| label.parse::<Label>().ok()),
        role: text(row, 3)?.into_owned(),
        host: row.get(4)?,
        beat,
        activity: row.get(14)?,
        busy: match busy {
            Some(time) => Some((row.get(15)?, duration(time))),
            None => None,
        },
        turn: row
            .get::<_, Option<String>>(17)?
            .map(|word| word == "inside"),
        capacity: row.get(18)?,
        crashes: row.get(19)?,
        standing: standing_at(row, 20)?,
        standing_seq: row.get(21)?,
        foreign: words(row, 22)?,
        spoken: words(row, 23)?,
        read_there: row.get(24)?,
        fetched: row.get(25)?,
        reported: words(row, 26)?,
        unread: count(row, 27)?,
        open_tasks: row.get(28)?,
    }))
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
