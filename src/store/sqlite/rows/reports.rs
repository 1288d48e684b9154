//! What people ask about.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Row;

use crate::model::ConversationId;
use crate::model::health::Turn;
use crate::model::process::{Process, ProcessId};
use crate::model::session::{Heartbeat, ProofKind, SessionView};
use crate::model::timestamp;
use crate::model::token::TokenStorage;
use crate::store::rows::{ReportRows, Rows as _};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::file::size;
use crate::store::sqlite::from_millis;
use crate::store::sqlite::owed::owed_mail;
use crate::store::sqlite::shared::{foreign_mark, reported, spoken_mark};
use crate::store::sqlite::statements::{
    Statements as _, count, readable, session_at, standing_at, text, words,
};
use crate::store::{Result, StoreCheck};

impl ReportRows for SqliteRows {
    fn sessions(
        &mut self,
        since: Timestamp,
        of: Option<&ConversationId>,
    ) -> Result<Vec<SessionView>> {
        // A range, so that the index is used for one as well as for all.
        let (first, last) = of.map_or(("", "\u{10ffff}"), |of| (of.as_str(), of.as_str()));
        self.run(|connection| {
            let sessions = connection.all(
                concat!(
                    "SELECT c.id, w.side AS side, l.label,
                            iif(w.side = 'a', c.session_a_role, c.session_b_role) AS role,
                            c.expires_at, h.seq, h.beat_ms, h.ttl_ms, h.proof, h.exited_ms,
                            h.daemon_id, h.released, coalesce(g.pid, h.pid), s.activity_ms, ",
                    reported!(),
                    " AS status, ",
                    foreign_mark!(),
                    " AS foreign_mark, ",
                    spoken_mark!(),
                    " AS spoken_mark,
                            s.capacity, s.standing, s.standing_ms, s.turn, s.busy_until_ms, d.host,
                            g.client || coalesce(' ' || g.client_version, '') AS client,
                            (SELECT count(*) FROM bridge_task t INDEXED BY bridge_task_owner
                             WHERE t.owner_conversation = c.id AND t.owner_session = w.side
                               AND t.state = 'leased') AS open_tasks,
                            (SELECT count(*) FROM (",
                    owed_mail!(),
                    ")) AS unread,
                            (SELECT k.adapter || ': ' || coalesce(k.outcome, 'waiting') ||
                                    coalesce(' (' || k.reason || ')', '')
                             FROM bridge_wake k
                             WHERE k.conversation_id = c.id AND k.session_id = w.side
                             ORDER BY k.wake_id DESC LIMIT 1) AS wake,
                            g.boot_id, g.pid_ns, g.pid, g.pid_start,
                            (SELECT max(k.wake_id) FROM bridge_wake k
                             WHERE k.conversation_id = c.id AND k.session_id = w.side)
                     FROM (SELECT id AS conversation, side FROM conversations
                           CROSS JOIN (SELECT 'a' AS side UNION ALL SELECT 'b')
                           WHERE id BETWEEN ?2 AND ?3) w
                     CROSS JOIN conversations c ON c.id = w.conversation
                     LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
                     LEFT JOIN bridge_heartbeat h
                         ON h.conversation_id = c.id AND h.session_id = w.side
                     LEFT JOIN bridge_session s
                         ON s.conversation_id = c.id AND s.session_id = w.side
                     LEFT JOIN session_status st
                         ON st.conversation_id = c.id AND st.session_id = w.side
                     LEFT JOIN session_status so
                         ON so.conversation_id = c.id AND so.session_id = 'session_' || w.side
                     LEFT JOIN bridge_daemon d ON d.daemon_id = h.daemon_id
                     LEFT JOIN bridge_registration g
                         ON g.conversation_id = c.id AND g.session_id = w.side
                     WHERE replace(c.expires_at, ' ', 'T') >= ?1 AND l.closed_ms IS NULL
                     ORDER BY l.label IS NULL, l.label, c.created_at, c.id, w.side",
                ),
                [&timestamp::to_text(since), first, last],
                |row| Ok(readable("sessions", session(row)).flatten()),
            )?;
            Ok(sessions.into_iter().flatten().collect())
        })
    }

    fn check(&mut self) -> Result<StoreCheck> {
        let (location, files) = (self.store().clone(), &self.opened().files);
        let (database, log) = (files.database.clone(), files.beside("-wal"));
        self.run(|connection| {
            let problems: Vec<String> =
                connection.all("PRAGMA integrity_check(20)", [], |row| row.get(0))?;
            let journal_mode = connection.one("PRAGMA journal_mode", [], |row| row.get(0))?;
            let check = connection.one(
                "SELECT (SELECT count(*) FROM conversations), (SELECT count(*) FROM messages),
                        (SELECT count(*) FROM messages WHERE read = 0)
                            + (SELECT count(*) FROM bridge_receipt r
                               WHERE r.acked_ms IS NULL AND r.written_ms IS NULL),
                        (SELECT version FROM bridge_schema), sqlite_version(),
                        (SELECT value FROM bridge_setting WHERE key = 'token_storage'),
                        (SELECT value FROM bridge_setting WHERE key = 'origin')",
                [],
                |row| {
                    let storage = TokenStorage::from_word(&text(row, 5)?);
                    Ok(StoreCheck {
                        location,
                        engine: format!("sqlite {}", text(row, 4)?),
                        schema: row.get(3)?,
                        token_storage: storage.unwrap_or(TokenStorage::Hashed),
                        adopted: text(row, 6)? == "adopted",
                        journal_mode,
                        problems: problems.into_iter().filter(|line| line != "ok").collect(),
                        conversations: count(row, 0)?,
                        messages: count(row, 1)?,
                        unread: count(row, 2)?,
                        bytes: size(&database),
                        log_bytes: size(&log),
                    })
                },
            )?;
            Ok(check)
        })
    }
}

/// A row of [`ReportRows::sessions`].
fn session(row: &Row<'_>) -> rusqlite::Result<Option<SessionView>> {
    let Some(key) = session_at(row, 0)? else {
        return Ok(None);
    };
    let heartbeat = match row.get::<_, Option<i64>>(5)? {
        None => None,
        Some(seq) => Some(Heartbeat {
            seq,
            at: from_millis(row.get(6)?),
            ttl: Duration::from_millis(u64::try_from(row.get::<_, i64>(7)?).unwrap_or(0)),
            proof: ProofKind::from_word(&row.get::<_, String>(8)?).unwrap_or(ProofKind::None),
            exited_at: time(row, 9)?,
            daemon: row.get(10)?,
            released: row.get(11)?,
        }),
    };
    // What it did through the other bridge is its doing, too.
    let foreign = text(row, 15)?;
    let foreign = foreign.rsplit_once(' ').map(|(at, _)| at);
    let activity_at = time(row, 13)?
        .max(timestamp::from_text(&text(row, 16)?))
        .max(foreign.and_then(timestamp::from_text));
    Ok(Some(SessionView {
        key,
        label: row
            .get::<_, Option<String>>(2)?
            .and_then(|label| label.parse().ok()),
        role: text(row, 3)?.into_owned(),
        expires_at: timestamp::from_text(&text(row, 4)?),
        heartbeat,
        activity_at,
        reported: words(row, 14)?,
        unread: count(row, 25)?,
        wake: row.get(26)?,
        wake_id: row.get(31)?,
        open_tasks: count(row, 24)?,
        capacity: row.get(17)?,
        standing: standing_at(row, 18)?,
        standing_at: time(row, 19)?,
        turn: row
            .get::<_, Option<String>>(20)?
            .and_then(|word| Turn::from_word(&word))
            .unwrap_or_default(),
        busy_until: time(row, 21)?,
        host: row.get(22)?,
        pid: row.get(12)?,
        client: row.get(23)?,
        registered: registered(row, 27)?,
        client_runs: None,
        client_stopped: None,
    }))
}

/// Boot, namespace, number and start of a client's process.
fn registered(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Process>> {
    let Some(pid) = row.get(at + 2)? else {
        return Ok(None);
    };
    let start = row.get::<_, Option<i64>>(at + 3)?.unwrap_or(0);
    Ok(Some(Process {
        boot_id: row.get(at)?,
        pid_ns: row.get(at + 1)?,
        id: ProcessId { pid, start },
    }))
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(from_millis))
}
