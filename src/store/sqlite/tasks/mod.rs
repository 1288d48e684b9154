//! Tasks: added, claimed, written with their fence, ended.

mod add;
mod anew;
mod claim;
mod end;
mod lease;
mod losses;
mod rows;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::fault::Fault;
use super::messages::{came_back, touch};
use super::{Durability, Ring, SqliteStore, millis, odd};
use crate::model::SessionKey;
use crate::model::redact::{redact, redact_within};
use crate::model::task::{Fence, MAX_PROGRESS, ProgressNote, TaskId, TaskState};
use crate::store::sqlite::written::Written as _;
use crate::store::unmoved::Tasks;
use crate::store::{
    Added, Caller, Ended, NewTask, Outcome, Result, StoreError, Task, TaskError, TaskEvent,
    TaskFilter,
};
use add::{Clean, add};
pub(super) use anew::give_anew;
use claim::{Claimable, busy, claimable, oldest_waiting, over};
use end::end;
pub(super) use lease::{Cause, Target, fitness, lease};
pub(super) use losses::{agent_ended, counted, fetched};
pub(super) use rows::session_of;
use rows::{history_of, not_written, row_of, task_columns};

/// Why a task is not given to its own owner, who would be told to stop.
pub(super) const HAS_IT: &str = "it has it already";

#[async_trait]
impl Tasks for SqliteStore {
    async fn add_tasks(
        &self,
        creator: Option<&Caller>,
        tasks: &[NewTask],
        now: Timestamp,
    ) -> Result<Vec<Added>> {
        self.run("adding tasks", async {
            // Before the lock is taken; so everywhere that secrets are looked for.
            let clean: Vec<_> = tasks.iter().map(Clean::new).collect();
            let mut write = self.write(Durability::Full).await?;
            let connection = write.connection();
            if let Some(caller) = creator {
                self.authenticate(connection, caller, now).await?;
                came_back(connection, &caller.session, now).await?;
                touch(connection, &caller.session, now).await?;
            }
            let creator = creator.map(|caller| &caller.session);
            let mut added = Vec::with_capacity(tasks.len());
            for task in clean {
                added.push(add(connection, creator, task, now).await?);
            }
            signal(connection).await?;
            write.commit(Ring::Yes).await?;
            Ok(added)
        })
        .await
    }

    async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>> {
        self.run("listing tasks", async {
            let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
            let rows = sqlx::query(concat!(
                "SELECT * FROM (SELECT ",
                task_columns!(),
                " FROM bridge_task t LEFT JOIN bridge_conversation l
                      ON l.conversation_id = t.owner_conversation
                  WHERE (?1 = '[]' OR t.state IN (SELECT value FROM json_each(?1)))
                    AND (?2 IS NULL OR t.role = ?2)
                    AND (?3 IS NULL OR (t.owner_conversation = ?3 AND t.owner_session = ?4))
                  ORDER BY t.task_id DESC LIMIT ?5) ORDER BY task_id"
            ))
            .bind(json!(states).to_string())
            .bind(&filter.role)
            .bind(
                filter
                    .owner
                    .as_ref()
                    .map(|owner| owner.conversation.as_str()),
            )
            .bind(filter.owner.as_ref().map(|owner| owner.side.as_str()))
            .bind(filter.limit)
            .fetch_all(&mut *self.reader().await?)
            .await?;
            Ok(odd::readable(&rows, "tasks", row_of))
        })
        .await
    }

    async fn task(&self, id: TaskId) -> Result<(Task, Vec<TaskEvent>)> {
        self.run("looking at a task", async {
            let mut connection = self.reader().await?;
            let task = get(&mut connection, id).await?;
            let history = history_of(&mut connection, id).await?;
            Ok((task, history))
        })
        .await
    }

    async fn claim_task(
        &self,
        caller: &Caller,
        task: Option<TaskId>,
        now: Timestamp,
    ) -> Result<Option<Task>> {
        self.run("claiming a task", async {
            let mut write = self.write(Durability::Full).await?;
            let connection = write.connection();
            let verified = self.authenticate(connection, caller, now).await?;
            let session = &caller.session;
            came_back(connection, session, now).await?;
            touch(connection, session, now).await?;
            let wanted = match task {
                Some(id) => {
                    let found = get(connection, id).await?;
                    match claimable(&found, session, &verified.role)? {
                        Claimable::Free => Some(found),
                        // Asked again, because the first answer was lost.
                        Claimable::Held => {
                            write.commit(Ring::No).await?;
                            return Ok(Some(found));
                        }
                    }
                }
                None => oldest_waiting(connection, &verified.role, now).await?,
            };
            let Some(found) = wanted else {
                write.commit(Ring::No).await?;
                return Ok(None);
            };
            let fit = fitness(connection, session, now).await?;
            fit.admits(session)?;
            let target = Target::Claimed(session);
            lease(connection, &found, &target, Cause::Claim, now).await?;
            let leased = get(connection, found.id).await?;
            signal(connection).await?;
            write.commit(Ring::Yes).await?;
            Ok(Some(leased))
        })
        .await
    }

    async fn task_progress(
        &self,
        caller: &Caller,
        task: TaskId,
        fence: Fence,
        note: &ProgressNote,
        busy_for: Option<Duration>,
        now: Timestamp,
    ) -> Result<()> {
        self.run("noting progress", async {
            let note = redact_within(note.as_str(), MAX_PROGRESS).text;
            let mut write = self.write(Durability::Full).await?;
            let connection = write.connection();
            self.authenticate(connection, caller, now).await?;
            let session = &caller.session;
            came_back(connection, session, now).await?;
            let changed = sqlx::query(
                "UPDATE bridge_task SET progress = ?5, progress_ms = ?6
                 WHERE task_id = ?1 AND fence = ?2 AND state = 'leased'
                   AND owner_conversation = ?3 AND owner_session = ?4",
            )
            .bind(task.0)
            .bind(fence.0)
            .bind(session.conversation.as_str())
            .bind(session.side.as_str())
            .bind(&*note)
            .bind(millis(now))
            .execute(&mut *connection)
            .await?
            .rows_affected();
            if changed == 0 {
                return Err(not_written(connection, task, fence, session).await?);
            }
            if let Some(time) = busy_for {
                busy(connection, session, time, now).await?;
            }
            touch(connection, session, now).await?;
            write.commit(Ring::No).await
        })
        .await
    }

    async fn end_task(
        &self,
        caller: &Caller,
        task: TaskId,
        fence: Fence,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<Ended> {
        self.run("ending a task", async {
            let text = end::clean(outcome);
            let mut write = self.write(Durability::Full).await?;
            let connection = write.connection();
            self.authenticate(connection, caller, now).await?;
            let session = &caller.session;
            came_back(connection, session, now).await?;
            let ended = end(connection, session, task, fence, (outcome, text), now).await?;
            touch(connection, session, now).await?;
            signal(connection).await?;
            write.commit(Ring::Yes).await?;
            Ok(ended)
        })
        .await
    }

    async fn cancel_task(
        &self,
        task: TaskId,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<Task> {
        self.run("cancelling a task", async {
            let reason = reason.map(redact);
            let mut write = self.write(Durability::Full).await?;
            let connection = write.connection();
            let found = get(connection, task).await?;
            if !found.state.is_open() && found.state != TaskState::Dead {
                return Err(over(&found).into());
            }
            let target = Target::Cancelled(reason.as_ref().map(|reason| &*reason.text));
            lease(connection, &found, &target, Cause::Operator, now).await?;
            let cancelled = get(connection, task).await?;
            signal(connection).await?;
            write.commit(Ring::Yes).await?;
            Ok(cancelled)
        })
        .await
    }

    async fn reassign_task(
        &self,
        task: TaskId,
        to: Option<&SessionKey>,
        now: Timestamp,
    ) -> Result<Task> {
        self.run("reassigning a task", async {
            let mut write = self.write(Durability::Full).await?;
            let connection = write.connection();
            let found = get(connection, task).await?;
            if matches!(found.state, TaskState::Done | TaskState::Cancelled) {
                return Err(over(&found).into());
            }
            if let Some(to) = to {
                if found.owner.as_ref() == Some(to) {
                    let (session, why) = (to.clone().into(), HAS_IT.to_owned());
                    return Err(StoreError::from(TaskError::Unfit { session, task, why }).into());
                }
                fitness(connection, to, now).await?.takes(to, task)?;
            }
            let target = to.map_or(Target::Queue, Target::Given);
            lease(connection, &found, &target, Cause::Operator, now).await?;
            let moved = get(connection, task).await?;
            signal(connection).await?;
            write.commit(Ring::Yes).await?;
            Ok(moved)
        })
        .await
    }
}

/// Tells whoever orchestrates that there is something to look at.
pub(super) async fn signal(connection: &mut SqliteConnection) -> std::result::Result<(), Fault> {
    sqlx::query(
        "INSERT INTO bridge_signal (name, n) VALUES ('work', 1)
         ON CONFLICT (name) DO UPDATE SET n = n + 1",
    )
    .execute(connection)
    .await?
    .wrote(1, "bridge_signal")?;
    Ok(())
}

pub(super) async fn get(
    connection: &mut SqliteConnection,
    id: TaskId,
) -> std::result::Result<Task, Fault> {
    let row = sqlx::query(concat!(
        "SELECT ",
        task_columns!(),
        " FROM bridge_task t LEFT JOIN bridge_conversation l
              ON l.conversation_id = t.owner_conversation WHERE t.task_id = ?1"
    ))
    .bind(id.0)
    .fetch_optional(connection)
    .await?
    .ok_or(StoreError::Task(TaskError::NoTask(id)))?;
    Ok(row_of(&row)?)
}
