//! The fleet as an orchestrator reads it: whole rows, pages of them, and the
//! heartbeats alone that are most of what is new.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::fault::Fault;
use super::odd;
use super::owed::owed_mail;
use super::shared::{
    self, daemon_change, foreign_mark, read_mark, reported, session_change, spoken_mark,
};
use crate::model::{ConversationId, Label, SessionKey, timestamp};
use crate::store::{Cursor, Fleet, Process, ProcessId, Pulse, SeenBeat, SeenSession, Wanted};

pub(super) async fn fleet(
    connection: &mut SqliteConnection,
    wanted: Wanted<'_>,
    now: Timestamp,
) -> std::result::Result<Fleet, Fault> {
    // First: what changes while the rows are read is read again.
    let row = sqlx::query(concat!(
        "SELECT (",
        daemon_change!(),
        "), (",
        session_change!(),
        ")"
    ))
    .fetch_one(&mut *connection)
    .await?;
    let mut fleet = Fleet {
        cursor: Cursor {
            beats: row.try_get(0)?,
            sessions: row.try_get(1)?,
        },
        ..Fleet::default()
    };
    if let Wanted::Page {
        after,
        conversations,
    } = &wanted
    {
        fleet.page_end = page_end(connection, after.as_ref(), *conversations).await?;
    }
    // Before the rows are read, for the same reason.
    let named = match &wanted {
        Wanted::These(sessions) => sessions.to_vec(),
        Wanted::Since(since) => changed(connection, *since).await?,
        Wanted::All | Wanted::Page { .. } => Vec::new(),
    };
    let rows = rows(connection, &wanted, now, fleet.page_end.as_ref()).await?;
    fleet.sessions = odd::readable_of_ours(&rows, "sessions", seen);
    let there: HashSet<&SessionKey> = fleet.sessions.iter().map(|seen| &seen.key).collect();
    fleet.gone = named;
    fleet.gone.retain(|key| !there.contains(key));
    if let Wanted::Since(since) = wanted {
        fleet.pulses = pulses(connection, since, &fleet.sessions, now).await?;
    }
    Ok(fleet)
}

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

async fn rows(
    connection: &mut SqliteConnection,
    wanted: &Wanted<'_>,
    now: Timestamp,
    page_end: Option<&ConversationId>,
) -> std::result::Result<Vec<SqliteRow>, Fault> {
    let now = timestamp::to_text(now);
    let query = match wanted {
        Wanted::All => sqlx::query(fleet!(
            "SELECT id, side FROM conversations CROSS JOIN (SELECT 'a' AS side UNION ALL SELECT 'b')"
        ))
        .bind(now),
        Wanted::Page { after, .. } => sqlx::query(fleet!(
            "SELECT id, side
             FROM conversations CROSS JOIN (SELECT 'a' AS side UNION ALL SELECT 'b')
             WHERE id > ?2 AND id <= ?3"
        ))
        .bind(now)
        .bind(after.as_ref().map_or("", ConversationId::as_str))
        // Above every id.
        .bind(page_end.map_or("\u{10FFFF}", ConversationId::as_str)),
        Wanted::Since(cursor) => sqlx::query(fleet!(
            "SELECT conversation_id, session_id FROM bridge_session WHERE change > ?2"
        ))
        .bind(now)
        .bind(cursor.sessions),
        Wanted::These(sessions) => {
            let these: Vec<[&str; 2]> = sessions
                .iter()
                .map(|session| [session.conversation.as_str(), session.side.as_str()])
                .collect();
            sqlx::query(fleet!("SELECT value ->> 0, value ->> 1 FROM json_each(?2)"))
                .bind(now)
                .bind(json!(these).to_string())
        }
    };
    Ok(query.fetch_all(connection).await?)
}

/// Sessions that changed since, whether or not they are still in the fleet.
async fn changed(
    connection: &mut SqliteConnection,
    since: Cursor,
) -> std::result::Result<Vec<SessionKey>, Fault> {
    let rows =
        sqlx::query("SELECT conversation_id, session_id FROM bridge_session WHERE change > ?1")
            .bind(since.sessions)
            .fetch_all(connection)
            .await?;
    Ok(shared::sessions(&rows)?)
}

/// The conversation that ends a page; `None` if the page has no end.
async fn page_end(
    connection: &mut SqliteConnection,
    after: Option<&ConversationId>,
    conversations: u32,
) -> std::result::Result<Option<ConversationId>, Fault> {
    let end: Option<String> = sqlx::query_scalar(
        "SELECT id FROM conversations WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2",
    )
    .bind(after.map_or("", ConversationId::as_str))
    .bind(i64::from(conversations.max(1)) - 1)
    .fetch_optional(connection)
    .await?;
    // A name that another program made up ends no page: the rest is one.
    Ok(end.and_then(|id| id.parse().ok()))
}

/// The heartbeats of all sessions whose daemon beat or let go since, but for
/// those of `whole`, which were just read with everything else. In a fleet at work nearly all that is new is this, so
/// it counts neither mail nor tasks: they do not change with a heartbeat.
async fn pulses(
    connection: &mut SqliteConnection,
    since: Cursor,
    whole: &[SeenSession],
    now: Timestamp,
) -> std::result::Result<Vec<Pulse>, Fault> {
    let whole: HashSet<&SessionKey> = whole.iter().map(|seen| &seen.key).collect();
    let rows = sqlx::query(concat!(
        "SELECT h.conversation_id, h.session_id, d.host, h.seq, h.ttl_ms,
                h.daemon_id IS NOT NULL AND NOT h.released, h.exited_ms IS NOT NULL,
                h.pid, h.pid_start, h.boot_id, h.pid_ns, ",
        reported!(),
        ", ",
        foreign_mark!(),
        ", h.proof = 'stopped'
         FROM bridge_daemon d CROSS JOIN bridge_heartbeat h ON h.daemon_id = d.daemon_id
         CROSS JOIN conversations c ON c.id = h.conversation_id
         LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
         LEFT JOIN session_status st
             ON st.conversation_id = h.conversation_id AND st.session_id = h.session_id
         LEFT JOIN session_status so
             ON so.conversation_id = h.conversation_id
                AND so.session_id = 'session_' || h.session_id
         WHERE d.change > ?1 AND replace(c.expires_at, ' ', 'T') > ?2 AND l.closed_ms IS NULL",
    ))
    .bind(since.beats)
    .bind(timestamp::to_text(now))
    .fetch_all(connection)
    .await?;
    Ok(odd::readable_of_ours(&rows, "heartbeats", |row| {
        let (Ok(conversation), Ok(side)) =
            (shared::text(row, 0)?.parse(), shared::text(row, 1)?.parse())
        else {
            return Ok(None);
        };
        let key = SessionKey::new(conversation, side);
        if whole.contains(&key) {
            return Ok(None);
        }
        let process = match (row.try_get(7)?, row.try_get(8)?) {
            (Some(pid), Some(start)) => Some(Process {
                boot_id: row.try_get(9)?,
                pid_ns: row.try_get(10)?,
                id: ProcessId { pid, start },
            }),
            _ => None,
        };
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Some(Pulse {
            key,
            host: row.try_get(2)?,
            beat: SeenBeat {
                seq: row.try_get(3)?,
                ttl: Duration::from_millis(u64::try_from(row.try_get::<i64, _>(4)?).unwrap_or(0)),
                kept: row.try_get(5)?,
                exited: row.try_get(6)?,
                stopped: row.try_get(13)?,
                process,
            },
            reported: some(shared::text(row, 11)?.into_owned()),
            foreign: some(shared::text(row, 12)?.into_owned()),
        }))
    }))
}

fn seen(row: &SqliteRow) -> std::result::Result<Option<SeenSession>, sqlx::Error> {
    let (Ok(conversation), Ok(side)) = (
        shared::text(row, "conversation")?.parse(),
        shared::text(row, "side")?.parse(),
    ) else {
        return Ok(None);
    };
    let duration = |millis: i64| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    let beat = match row.try_get::<Option<i64>, _>("seq")? {
        None => None,
        Some(seq) => Some(SeenBeat {
            seq,
            ttl: duration(row.try_get("ttl_ms")?),
            kept: row.try_get("kept")?,
            exited: row.try_get("exited")?,
            stopped: row.try_get("stopped")?,
            process: match (row.try_get("pid")?, row.try_get("pid_start")?) {
                (Some(pid), Some(start)) => Some(Process {
                    boot_id: row.try_get("boot_id")?,
                    pid_ns: row.try_get("pid_ns")?,
                    id: ProcessId { pid, start },
                }),
                _ => None,
            },
        }),
    };
    let busy: Option<i64> = row.try_get("busy_for_ms")?;
    let label: Option<&str> = row.try_get("label")?;
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Some(SeenSession {
        key: SessionKey::new(conversation, side),
        label: label.and_then(|label| label.parse::<Label>().ok()),
        role: shared::text(row, "role")?.into_owned(),
        host: row.try_get("host")?,
        beat,
        activity: row.try_get("activity")?,
        foreign: some(shared::text(row, "foreign_mark")?.into_owned()),
        spoken: some(shared::text(row, "spoken_mark")?.into_owned()),
        read_there: row.try_get("read_mark")?,
        fetched: row.try_get("fetched")?,
        busy: busy
            .map(|time| Ok::<_, sqlx::Error>((row.try_get("busy_seq")?, duration(time))))
            .transpose()?,
        turn: row
            .try_get::<Option<&str>, _>("turn")?
            .map(|word| word == "inside"),
        reported: some(shared::text(row, "reported")?.into_owned()),
        unread: row.try_get("unread")?,
        open_tasks: row.try_get("open_tasks")?,
        capacity: row.try_get("capacity")?,
        crashes: row.try_get("crashes")?,
        standing: row.try_get("standing")?,
        standing_seq: row.try_get("standing_seq")?,
    }))
}
