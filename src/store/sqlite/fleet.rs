//! The fleet as an orchestrator reads it, and what it writes of it.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::fault::Fault;
use super::tasks::{self, Cause, Target, session_of};
use super::{Durability, Ring, SqliteStore, findings, leader, millis, prune, shared};
use crate::model::{ConversationId, Fence, Label, SessionKey, TaskId, timestamp};
use crate::store::{
    Cursor, DaemonRef, Finding, Fleet, Leader, Lease, Move, Moved, Orchestration, Process,
    ProcessId, Pruned, Pulse, Result, Retention, SeenBeat, SeenSession, StoreError, TaskError,
    Waiting, Wanted, Why,
};
use crate::text::millis as duration_millis;

/// Most tasks that wait and are looked at in one round.
const WAITING: u32 = 5_000;

#[async_trait]
impl Orchestration for SqliteStore {
    async fn lease(&self) -> Result<Option<Lease>> {
        self.run("asking who acts", async {
            leader::read(&mut *self.reader().await?).await
        })
        .await
    }

    async fn take_lead(
        &self,
        daemon: &DaemonRef,
        seen: Option<&Lease>,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<Leader>> {
        self.run("taking the lead", async {
            let mut write = self.write(Durability::Full).await?;
            let taken = leader::take(write.connection(), daemon, seen, ttl, now).await?;
            let ring = match taken {
                Some(_) => Ring::Yes,
                None => Ring::No,
            };
            if taken.is_some() {
                tasks::signal(write.connection()).await?;
            }
            write.commit(ring).await?;
            Ok(taken)
        })
        .await
    }

    async fn renew_lead(&self, leader: &Leader) -> Result<()> {
        self.run("renewing the lead", async {
            let mut write = self.write(Durability::Normal).await?;
            leader::renew(write.connection(), leader).await?;
            write.commit(Ring::No).await
        })
        .await
    }

    async fn give_up_lead(&self, leader: &Leader) -> Result<()> {
        self.run("giving up the lead", async {
            let mut write = self.write(Durability::Normal).await?;
            leader::give_up(write.connection(), leader).await?;
            tasks::signal(write.connection()).await?;
            write.commit(Ring::Yes).await
        })
        .await
    }

    async fn fleet(&self, wanted: Wanted<'_>, now: Timestamp) -> Result<Fleet> {
        self.run("looking at the fleet", async {
            let mut connection = self.reader().await?;
            // First: what changes while the rows are read is read again.
            let row = sqlx::query(
                "SELECT (SELECT coalesce(max(change), 0) FROM bridge_daemon),
                        (SELECT coalesce(max(change), 0) FROM bridge_session)",
            )
            .fetch_one(&mut *connection)
            .await?;
            let cursor = Cursor {
                beats: row.try_get(0)?,
                sessions: row.try_get(1)?,
            };
            let mut fleet = Fleet {
                cursor,
                ..Fleet::default()
            };
            if let Wanted::Page {
                after,
                conversations,
            } = &wanted
            {
                fleet.page_end = page_end(&mut connection, after.as_ref(), *conversations).await?;
            }
            for row in &rows(&mut connection, &wanted, now, fleet.page_end.as_ref()).await? {
                fleet.sessions.extend(seen(row)?);
            }
            if let Wanted::Since(since) = wanted {
                fleet.pulses = pulses(&mut connection, since, &fleet.sessions, now).await?;
            }
            Ok(fleet)
        })
        .await
    }

    async fn settle(
        &self,
        leader: &Leader,
        findings: &[Finding],
        now: Timestamp,
    ) -> Result<Vec<bool>> {
        if findings.is_empty() {
            return Ok(Vec::new());
        }
        self.run("writing findings", async {
            let mut write = self.write(Durability::Full).await?;
            leader::ensure(write.connection(), leader).await?;
            let mut settled = Vec::with_capacity(findings.len());
            for finding in findings {
                let one = findings::settle(write.connection(), leader, finding, now).await?;
                settled.push(one);
            }
            write.commit(Ring::Yes).await?;
            Ok(settled)
        })
        .await
    }

    async fn waiting_tasks(
        &self,
        stalled: &[SessionKey],
        losses_within: Duration,
        now: Timestamp,
    ) -> Result<Vec<Waiting>> {
        self.run("looking for tasks that wait", async {
            let stalled: Vec<String> = stalled.iter().map(SessionKey::to_string).collect();
            let since = millis(now).saturating_sub(duration_millis(losses_within));
            let rows = sqlx::query(
                "SELECT t.task_id, t.role, t.fence, t.owner_conversation, t.owner_session,
                        t.last_conversation, t.last_session,
                        (SELECT count(*) FROM bridge_task_history y WHERE y.task_id = t.task_id
                             AND y.event IN ('lost', 'exited', 'stalled') AND y.at_ms > ?2
                             -- One that was given up and brought back begins anew.
                             AND y.history_id > (
                                 SELECT coalesce(max(d.history_id), 0) FROM bridge_task_history d
                                 WHERE d.task_id = t.task_id AND d.event = 'dead'))
                 FROM (SELECT task_id FROM (
                           SELECT task_id FROM bridge_task INDEXED BY bridge_task_waiting
                           WHERE state IN ('queued', 'retry_wait')
                             -- A clock that was set must not keep a task waiting for hours.
                             AND (state = 'queued' OR retry_ms <= ?3 OR retry_ms > ?3 + 2700000)
                           ORDER BY task_id LIMIT ?4)
                       UNION ALL
                       SELECT task_id FROM bridge_session s CROSS JOIN bridge_task o
                           ON o.owner_conversation = s.conversation_id
                              AND o.owner_session = s.session_id AND o.state = 'leased'
                       WHERE s.standing IN ('lost', 'exited')
                       UNION ALL
                       SELECT task_id FROM json_each(?1) j CROSS JOIN bridge_task o
                           ON o.owner_conversation = substr(j.value, 1, instr(j.value, '/') - 1)
                              AND o.owner_session = substr(j.value, instr(j.value, '/') + 1)
                              AND o.state = 'leased') w
                 JOIN bridge_task t USING (task_id) GROUP BY t.task_id ORDER BY t.task_id",
            )
            .bind(json!(stalled).to_string())
            .bind(since)
            .bind(millis(now))
            .bind(WAITING)
            .fetch_all(&mut *self.reader().await?)
            .await?;
            rows.iter()
                .map(|row| {
                    Ok(Waiting {
                        task: TaskId(row.try_get(0)?),
                        role: row.try_get(1)?,
                        fence: Fence(row.try_get(2)?),
                        owner: session_of(row.try_get(3)?, row.try_get(4)?),
                        last_owner: session_of(row.try_get(5)?, row.try_get(6)?),
                        losses: row.try_get(7)?,
                    })
                })
                .collect()
        })
        .await
    }

    async fn move_tasks(
        &self,
        leader: &Leader,
        moves: &[Move],
        now: Timestamp,
    ) -> Result<Vec<Moved>> {
        if moves.is_empty() {
            return Ok(Vec::new());
        }
        self.run("moving tasks", async {
            let mut write = self.write(Durability::Full).await?;
            leader::ensure(write.connection(), leader).await?;
            let mut made = Vec::with_capacity(moves.len());
            for planned in moves {
                made.push(make(write.connection(), planned, now).await?);
            }
            tasks::signal(write.connection()).await?;
            write.commit(Ring::Yes).await?;
            Ok(made)
        })
        .await
    }

    async fn set_capacity(&self, capacity: u32) -> Result<()> {
        let settings = [("task.capacity", capacity.to_string())];
        self.run("setting the capacity", self.set(&settings)).await
    }

    async fn set_session_capacity(
        &self,
        session: &SessionKey,
        capacity: Option<u32>,
    ) -> Result<()> {
        self.run("setting a capacity", async {
            let mut write = self.write(Durability::Full).await?;
            let known: bool =
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM conversations WHERE id = ?1)")
                    .bind(session.conversation.as_str())
                    .fetch_one(write.connection())
                    .await?;
            if !known {
                return Err(self.no_conversation(&session.conversation).into());
            }
            bump(write.connection(), session).await?;
            sqlx::query(
                "UPDATE bridge_session SET capacity = ?3
                 WHERE conversation_id = ?1 AND session_id = ?2",
            )
            .bind(session.conversation.as_str())
            .bind(session.side.as_str())
            .bind(capacity)
            .execute(write.connection())
            .await?;
            tasks::signal(write.connection()).await?;
            write.commit(Ring::Yes).await
        })
        .await
    }

    async fn prune(&self, retention: &Retention, now: Timestamp) -> Result<Pruned> {
        self.run("taking away what ended", async {
            let mut write = self.write(Durability::Normal).await?;
            let pruned = prune::part(write.connection(), retention, now).await?;
            write.commit(Ring::No).await?;
            Ok(pruned)
        })
        .await
    }
}

/// Something about a session is new to whoever watches it.
pub(super) async fn bump(
    connection: &mut SqliteConnection,
    session: &SessionKey,
) -> std::result::Result<(), Fault> {
    sqlx::query(
        "INSERT INTO bridge_session (conversation_id, session_id, change)
         VALUES (?1, ?2, (SELECT coalesce(max(change), 0) + 1 FROM bridge_session))
         ON CONFLICT (conversation_id, session_id) DO UPDATE SET change = excluded.change",
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

async fn make(
    connection: &mut SqliteConnection,
    planned: &Move,
    now: Timestamp,
) -> std::result::Result<Moved, Fault> {
    let found = match tasks::get(connection, planned.task).await {
        Err(Fault::Store(StoreError::Task(TaskError::NoTask(_)))) => {
            return Ok(Moved::Void("it is not there any more".into()));
        }
        other => other?,
    };
    if found.fence != planned.fence || !found.state.is_open() {
        return Ok(Moved::Void("somebody else moved or ended it".into()));
    }
    if let Some(owner) = &found.owner {
        // A beat since the verdict is life, although nobody wrote so yet.
        let standing: Option<String> = sqlx::query_scalar(
            "SELECT iif(s.standing = 'stalled' OR h.seq IS s.standing_seq, s.standing, NULL)
             FROM bridge_session s LEFT JOIN bridge_heartbeat h USING (conversation_id, session_id)
             WHERE s.conversation_id = ?1 AND s.session_id = ?2",
        )
        .bind(owner.conversation.as_str())
        .bind(owner.side.as_str())
        .fetch_optional(&mut *connection)
        .await?
        .flatten();
        let holds = match planned.why {
            Why::Lost | Why::Exited => matches!(standing.as_deref(), Some("lost" | "exited")),
            Why::Stalled => standing.as_deref() == Some("stalled"),
            Why::Waited => false,
        };
        if !holds {
            return Ok(Moved::Void("its owner is back".into()));
        }
    }
    if planned.to.is_some() && planned.to == found.owner {
        return Ok(Moved::Void(tasks::HAS_IT.to_owned()));
    }
    if let Some(to) = &planned.to
        && let Err(unfit) = tasks::fitness(connection, to, now)
            .await?
            .takes(to, planned.task)
    {
        return Ok(Moved::Void(unfit.headline()));
    }
    let target = match (&planned.bury, &planned.to) {
        (Some(why), _) => Target::Dead(why),
        (None, Some(to)) => Target::Given(to),
        (None, None) => Target::Queue,
    };
    let cause = match planned.why {
        Why::Waited => Cause::Waited,
        Why::Lost => Cause::Lost,
        Why::Exited => Cause::Exited,
        Why::Stalled => Cause::Stalled,
    };
    let fence = tasks::lease(connection, &found, &target, cause, now).await?;
    Ok(Moved::Made(fence))
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
                h.exited_ms IS NOT NULL AS exited, h.boot_id AS boot_id, h.pid_ns AS pid_ns,
                h.pid AS pid, h.pid_start AS pid_start,
                coalesce(s.activity_seq, 0) AS activity, s.busy_seq AS busy_seq,
                s.busy_for_ms AS busy_for_ms, s.turn AS turn,
                iif(replace(c.expires_at, ' ', 'T') > ?1 AND l.closed_ms IS NULL, s.capacity, 0)
                    AS capacity,
                s.standing AS standing, s.standing_seq AS standing_seq,
                iif(st.last_heartbeat IS NOT h.mirrored, st.last_heartbeat || ' ' || st.status, NULL)
                    AS foreign_mark,
                st.status AS reported,
                (SELECT count(*) FROM messages m INDEXED BY bridge_messages_unread
                     WHERE m.conversation_id = c.id
                       AND m.to_session IN (w.side, 'session_' || w.side) AND m.read = 0)
                + (SELECT count(*) FROM bridge_receipt r INDEXED BY bridge_receipt_open
                       WHERE r.conversation_id = c.id AND r.session_id = w.side
                         AND r.acked_ms IS NULL AND r.written_ms IS NULL) AS unread,
                (SELECT count(*) FROM bridge_task t INDEXED BY bridge_task_owner
                     WHERE t.owner_conversation = c.id AND t.owner_session = w.side
                       AND t.state = 'leased') AS open_tasks
            FROM w CROSS JOIN conversations c ON c.id = w.conversation
            LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
            LEFT JOIN bridge_heartbeat h ON h.conversation_id = c.id AND h.session_id = w.side
            LEFT JOIN bridge_daemon d ON d.daemon_id = h.daemon_id
            LEFT JOIN bridge_session s ON s.conversation_id = c.id AND s.session_id = w.side
            LEFT JOIN session_status st ON st.conversation_id = c.id AND st.session_id = w.side
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
    let rows = sqlx::query(
        "SELECT h.conversation_id, h.session_id, d.host, h.seq, h.ttl_ms,
                h.daemon_id IS NOT NULL AND NOT h.released, h.exited_ms IS NOT NULL,
                h.pid, h.pid_start, h.boot_id, h.pid_ns, st.status,
                iif(st.last_heartbeat IS NOT h.mirrored,
                    st.last_heartbeat || ' ' || st.status, NULL)
         FROM bridge_daemon d CROSS JOIN bridge_heartbeat h ON h.daemon_id = d.daemon_id
         CROSS JOIN conversations c ON c.id = h.conversation_id
         LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
         LEFT JOIN session_status st
             ON st.conversation_id = h.conversation_id AND st.session_id = h.session_id
         WHERE d.change > ?1 AND replace(c.expires_at, ' ', 'T') > ?2 AND l.closed_ms IS NULL",
    )
    .bind(since.beats)
    .bind(timestamp::to_text(now))
    .fetch_all(connection)
    .await?;
    let mut pulses = Vec::with_capacity(rows.len());
    for row in &rows {
        let (Ok(conversation), Ok(side)) = (
            row.try_get::<&str, _>(0)?.parse(),
            row.try_get::<&str, _>(1)?.parse(),
        ) else {
            continue;
        };
        let key = SessionKey::new(conversation, side);
        if whole.contains(&key) {
            continue;
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
        pulses.push(Pulse {
            key,
            host: row.try_get(2)?,
            beat: SeenBeat {
                seq: row.try_get(3)?,
                ttl: Duration::from_millis(u64::try_from(row.try_get::<i64, _>(4)?).unwrap_or(0)),
                kept: row.try_get(5)?,
                exited: row.try_get(6)?,
                process,
            },
            reported: some(shared::text(row, 11)?.into_owned()),
            foreign: some(shared::text(row, 12)?.into_owned()),
        });
    }
    Ok(pulses)
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
        standing: row.try_get("standing")?,
        standing_seq: row.try_get("standing_seq")?,
    }))
}
