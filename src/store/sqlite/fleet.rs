//! What an orchestrator does to the fleet.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::fault::Fault;
use super::messages::OVERTAKEN;
use super::shared::session_change;
use super::tasks::{self, Cause, Target, counted, fetched, session_of};
use super::written::Written as _;
use super::{Durability, Ring, SqliteStore, findings, leader, millis, odd};
use crate::model::{Fence, SessionKey, TaskId};
use crate::store::unmoved::Orchestration;
use crate::store::{
    DaemonRef, Finding, Leader, Lease, Move, Moved, Result, StoreError, TaskError, Waiting, Why,
};
use crate::text::millis as duration_millis;

/// Most tasks of a role that wait and are looked at in one round: those of a
/// role that nobody has must not hide those of the others.
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
            let kept_waiting = write.was_kept_waiting();
            leader::ensure(write.connection(), leader).await?;
            let mut settled = Vec::with_capacity(findings.len());
            for finding in findings {
                if kept_waiting && finding.standing == "lost" && self.postponed.once_more(finding) {
                    settled.push(false);
                    continue;
                }
                let one = findings::settle(write.connection(), leader, finding, now).await?;
                settled.push(one);
            }
            let ring = if settled.contains(&true) {
                Ring::Yes
            } else {
                Ring::No
            };
            write.commit(ring).await?;
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
            let rows = sqlx::query(concat!(
                // From role to role along the index, and of each the oldest.
                "WITH RECURSIVE roles(role) AS (
                     SELECT min(role) FROM bridge_task INDEXED BY bridge_task_role
                     WHERE state IN ('queued', 'retry_wait') AND role > ''
                     UNION ALL
                     SELECT (SELECT min(role) FROM bridge_task INDEXED BY bridge_task_role
                             WHERE state IN ('queued', 'retry_wait') AND role > roles.role)
                     FROM roles WHERE role IS NOT NULL)
                 SELECT t.task_id, t.role, t.fence, t.owner_conversation, t.owner_session,
                        t.last_conversation, t.last_session,
                        -- Each session once, and without the owner of today.
                        (SELECT count(DISTINCT y.conversation_id || '/' || y.session_id)
                         FROM bridge_task_history y
                         WHERE NOT (y.conversation_id IS t.owner_conversation
                                    AND y.session_id IS t.owner_session) AND ",
                counted!(),
                "),
                        t.owner_conversation IS NOT NULL
                            AND (",
                fetched!(),
                " OR EXISTS (SELECT 1 FROM bridge_task_history y
                             WHERE y.conversation_id = t.owner_conversation
                               AND y.session_id = t.owner_session AND ",
                counted!(),
                "))
                 FROM (SELECT q.task_id AS task_id FROM roles CROSS JOIN bridge_task q
                       WHERE q.task_id IN (
                           SELECT b.task_id FROM bridge_task b INDEXED BY bridge_task_role
                           WHERE b.role = roles.role AND b.state IN ('queued', 'retry_wait')
                             -- A clock that was set must not keep a task waiting for hours.
                             AND (b.state = 'queued' OR b.retry_ms <= ?3
                                  OR b.retry_ms > ?3 + 2700000)
                           ORDER BY b.task_id LIMIT ?4)
                       UNION ALL
                       SELECT task_id FROM bridge_session s CROSS JOIN bridge_task o
                           ON o.owner_conversation = s.conversation_id
                              AND o.owner_session = s.session_id AND o.state = 'leased'
                       WHERE s.standing IN ('lost', 'exited')
                       UNION ALL
                       -- The Python bridge's cleanup asks nobody who has a task.
                       SELECT o.task_id FROM bridge_task o INDEXED BY bridge_task_owner
                       WHERE o.state = 'leased' AND NOT EXISTS (
                           SELECT 1 FROM conversations c WHERE c.id = o.owner_conversation)
                       UNION ALL
                       SELECT task_id FROM json_each(?1) j CROSS JOIN bridge_task o
                           ON o.owner_conversation = substr(j.value, 1, instr(j.value, '/') - 1)
                              AND o.owner_session = substr(j.value, instr(j.value, '/') + 1)
                              AND o.state = 'leased') w
                 CROSS JOIN bridge_task t ON t.task_id = w.task_id
                 GROUP BY t.task_id ORDER BY t.task_id",
            ))
            .bind(json!(stalled).to_string())
            .bind(since)
            .bind(millis(now))
            .bind(WAITING)
            .fetch_all(&mut *self.reader().await?)
            .await?;
            Ok(odd::readable(&rows, "tasks", |row| {
                Ok(Waiting {
                    task: TaskId(row.try_get(0)?),
                    role: row.try_get(1)?,
                    fence: Fence(row.try_get(2)?),
                    owner: session_of(row.try_get(3)?, row.try_get(4)?),
                    last_owner: session_of(row.try_get(5)?, row.try_get(6)?),
                    losses: row.try_get(7)?,
                    fetched: row.try_get(8)?,
                })
            }))
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
            // Whoever planned what is void is not to be rung for it, and plan
            // the same again.
            let ring = if made.iter().any(|made| matches!(made, Moved::Made(_))) {
                tasks::signal(write.connection()).await?;
                Ring::Yes
            } else {
                Ring::No
            };
            write.commit(ring).await?;
            Ok(made)
        })
        .await
    }
}

/// Something about a session is new to whoever watches it.
pub(super) async fn bump(
    connection: &mut SqliteConnection,
    session: &SessionKey,
) -> std::result::Result<(), Fault> {
    sqlx::query(concat!(
        "INSERT INTO bridge_session (conversation_id, session_id, change)
             VALUES (?1, ?2, 1 + (",
        session_change!(),
        "))
             ON CONFLICT (conversation_id, session_id) DO UPDATE SET change = excluded.change"
    ))
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .execute(connection)
    .await?
    .wrote(1, "bridge_session")?;
    Ok(())
}

/// Whether a session's conversation still stands in the shared table.
pub(super) async fn is_there(
    connection: &mut SqliteConnection,
    session: &SessionKey,
) -> std::result::Result<bool, Fault> {
    Ok(
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM conversations WHERE id = ?1)")
            .bind(session.conversation.as_str())
            .fetch_one(connection)
            .await?,
    )
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
        Err(fault) if odd::is_odd(&fault) => {
            return Ok(Moved::Void("its row cannot be read".into()));
        }
        other => other?,
    };
    if found.fence != planned.fence || !found.state.is_open() {
        return Ok(Moved::Void("somebody else moved or ended it".into()));
    }
    if let Some(owner) = &found.owner {
        // A beat since the verdict is life, and a call is life and progress,
        // although nobody wrote so yet.
        let standing: Option<String> = sqlx::query_scalar(
            "SELECT iif(CASE s.standing
                            WHEN 'stalled' THEN s.standing_seq IS NOT ?3
                            -- Its daemon may have let go of the dead since.
                            WHEN 'exited' THEN h.exited_ms IS NOT NULL OR h.seq IS s.standing_seq
                            ELSE h.seq IS s.standing_seq END, s.standing, NULL)
             FROM bridge_session s LEFT JOIN bridge_heartbeat h USING (conversation_id, session_id)
             WHERE s.conversation_id = ?1 AND s.session_id = ?2",
        )
        .bind(owner.conversation.as_str())
        .bind(owner.side.as_str())
        .bind(OVERTAKEN)
        .fetch_optional(&mut *connection)
        .await?
        .flatten();
        let holds = match planned.why {
            // Without its conversation nobody can come back, nor be found lost.
            Why::Lost | Why::Exited | Why::Stalled if !is_there(connection, owner).await? => true,
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
    if let Some(to) = &planned.to {
        let fit = match tasks::fitness(connection, to, now).await {
            Err(fault) if odd::is_odd(&fault) => {
                return Ok(Moved::Void("its new owner's row cannot be read".into()));
            }
            fit => fit?,
        };
        if let Err(unfit) = fit.takes(to, planned.task) {
            return Ok(Moved::Void(unfit.headline()));
        }
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
