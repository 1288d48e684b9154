//! Tasks: added, claimed, written with their fence, ended.

mod lease;
mod rows;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::fault::Fault;
use super::messages::{came_back, touch};
use super::notices;
use super::{Durability, Ring, SqliteStore, millis, shared};
use crate::model::SessionKey;
use crate::model::message::ClientMessageId;
use crate::model::redact::redact;
use crate::model::task::{Fence, ProgressNote, TaskId, TaskState, retry_delay};
use crate::store::{
    Added, Caller, Ended, NewTask, Outcome, Result, StoreError, Task, TaskError, TaskEvent,
    TaskFilter, Tasks,
};
use crate::text::millis as duration_millis;
pub(super) use lease::{Cause, Target, fitness, lease};
pub(super) use rows::session_of;
use rows::{history, history_of, row_of, stale, task_columns};

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
            let mut write = self.write(Durability::Full).await?;
            let connection = write.connection();
            if let Some(caller) = creator {
                self.authenticate(connection, caller, now).await?;
                came_back(connection, &caller.session, now).await?;
                touch(connection, &caller.session, now).await?;
            }
            let creator = creator.map(|caller| &caller.session);
            let mut added = Vec::with_capacity(tasks.len());
            for task in tasks {
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
            Ok(rows
                .iter()
                .map(row_of)
                .collect::<std::result::Result<_, _>>()?)
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
            let mut write = self.write(Durability::Full).await?;
            let connection = write.connection();
            self.authenticate(connection, caller, now).await?;
            let session = &caller.session;
            came_back(connection, session, now).await?;
            let note = redact(note.as_str()).text;
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
                return Err(stale(connection, task, fence).await?.into());
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
            let mut write = self.write(Durability::Full).await?;
            let connection = write.connection();
            self.authenticate(connection, caller, now).await?;
            let session = &caller.session;
            came_back(connection, session, now).await?;
            let ended = end(connection, session, task, fence, outcome, now).await?;
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
            let mut write = self.write(Durability::Full).await?;
            let connection = write.connection();
            let found = get(connection, task).await?;
            if !found.state.is_open() && found.state != TaskState::Dead {
                return Err(over(&found).into());
            }
            let reason = reason.map(redact);
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
                    let (session, why) = (to.clone(), HAS_IT.to_owned());
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
    .await?;
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

async fn add(
    connection: &mut SqliteConnection,
    creator: Option<&SessionKey>,
    task: &NewTask,
    now: Timestamp,
) -> std::result::Result<Added, Fault> {
    let (title, body) = (redact(task.title.as_str()), redact(task.body.as_str()));
    let mut redacted = title.kinds;
    for kind in body.kinds {
        if !redacted.contains(&kind) {
            redacted.push(kind);
        }
    }
    let creator = creator.map(SessionKey::to_string).unwrap_or_default();
    if let Some(id) = &task.client_id
        && let Some(row) = sqlx::query(
            "SELECT task_id, title = ?3 AND body = ?4 FROM bridge_task
             WHERE creator = ?1 AND client_id = ?2",
        )
        .bind(&creator)
        .bind(id.as_str())
        .bind(&*title.text)
        .bind(&*body.text)
        .fetch_optional(&mut *connection)
        .await?
    {
        let known = TaskId(row.try_get(0)?);
        return if row.try_get(1)? {
            Ok(Added {
                id: known,
                redacted,
                duplicate: true,
            })
        } else {
            let reused = TaskError::IdReused {
                id: id.as_str().to_owned(),
                task: known,
            };
            Err(StoreError::Task(reused).into())
        };
    }
    let id = sqlx::query(
        "INSERT INTO bridge_task (role, title, body, files, creator, client_id, created_ms, changed_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
    )
    .bind(&task.role)
    .bind(&*title.text)
    .bind(&*body.text)
    .bind(json!(task.files).to_string())
    .bind(&creator)
    .bind(task.client_id.as_ref().map(ClientMessageId::as_str))
    .bind(millis(now))
    .execute(&mut *connection)
    .await?
    .last_insert_rowid();
    let id = TaskId(id);
    history(connection, (id, Fence(0)), "added", None, None, now).await?;
    let by: Option<SessionKey> = creator.parse().ok();
    let details = json!({ "task_id": id, "role": task.role, "redacted_kinds": redacted });
    let (conversation, side) = by.map(|key| (key.conversation, key.side)).unzip();
    shared::audit(
        connection,
        conversation.as_ref(),
        side,
        "task_added",
        details,
        now,
    )
    .await?;
    Ok(Added {
        id,
        redacted,
        duplicate: false,
    })
}

enum Claimable {
    Free,
    Held,
}

fn claimable(
    task: &Task,
    session: &SessionKey,
    role: &str,
) -> std::result::Result<Claimable, StoreError> {
    match (&task.owner, task.state) {
        (Some(owner), _) if owner == session => Ok(Claimable::Held),
        (Some(_), _) => Err(TaskError::Taken {
            task: task.id,
            owner: task.owner_name(),
        }
        .into()),
        (None, TaskState::Queued | TaskState::RetryWait) if task.role == role => {
            Ok(Claimable::Free)
        }
        (None, TaskState::Queued | TaskState::RetryWait) => Err(TaskError::OtherRole {
            task: task.id,
            role: task.role.clone(),
            session: session.clone(),
            yours: role.to_owned(),
        }
        .into()),
        (None, _) => Err(over(task)),
    }
}

fn over(task: &Task) -> StoreError {
    TaskError::Over {
        task: task.id,
        state: task.state,
    }
    .into()
}

async fn oldest_waiting(
    connection: &mut SqliteConnection,
    role: &str,
    now: Timestamp,
) -> std::result::Result<Option<Task>, Fault> {
    let row = sqlx::query(concat!(
        "SELECT ",
        task_columns!(),
        " FROM bridge_task t INDEXED BY bridge_task_waiting LEFT JOIN bridge_conversation l
              ON l.conversation_id = t.owner_conversation
          WHERE t.state IN ('queued', 'retry_wait') AND t.role = ?1
            AND (t.state = 'queued' OR t.retry_ms <= ?2
                 -- A clock that was set must not keep a task waiting for hours.
                 OR t.retry_ms > ?2 + 2700000)
          ORDER BY t.task_id LIMIT 1"
    ))
    .bind(role)
    .bind(millis(now))
    .fetch_optional(connection)
    .await?;
    Ok(row.as_ref().map(row_of).transpose()?)
}

/// Declares that the agent may be silent for so long. Who watches counts it
/// from when he saw the declaration; the wall time is for people.
async fn busy(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    time: Duration,
    now: Timestamp,
) -> std::result::Result<(), Fault> {
    sqlx::query(
        "INSERT INTO bridge_session (conversation_id, session_id, busy_seq, busy_for_ms, busy_until_ms)
         VALUES (?1, ?2, 1, ?3, ?3 + ?4)
         ON CONFLICT (conversation_id, session_id) DO UPDATE SET busy_seq = busy_seq + 1,
             busy_for_ms = excluded.busy_for_ms, busy_until_ms = excluded.busy_until_ms",
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(duration_millis(time))
    .bind(millis(now))
    .execute(connection)
    .await?;
    Ok(())
}

async fn end(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    task: TaskId,
    fence: Fence,
    outcome: &Outcome,
    now: Timestamp,
) -> std::result::Result<Ended, Fault> {
    let found = get(connection, task).await?;
    let mine = found.fence == fence && found.owner.as_ref() == Some(session);
    if !mine {
        let last = last_owner(connection, task).await?;
        let same = match outcome {
            Outcome::Done(_) => found.state == TaskState::Done,
            Outcome::Failed { .. } => {
                matches!(found.state, TaskState::RetryWait | TaskState::Dead)
            }
        };
        // Said again, because the first answer was lost.
        if same && found.fence == fence && last.as_ref() == Some(session) {
            return Ok(Ended {
                state: found.state,
                repeated: true,
            });
        }
        return Err(stale(connection, task, fence).await?.into());
    }
    let failures = found.failures + 1;
    let (state, text, random) = match outcome {
        Outcome::Done(result) => (TaskState::Done, result.as_str(), 0.0),
        Outcome::Failed { reason, random } => {
            (TaskState::after_failure(failures), reason.as_str(), *random)
        }
    };
    let failed = state != TaskState::Done;
    let retry_in = (state == TaskState::RetryWait).then(|| retry_delay(failures, random));
    let text = Some(redact(text).text.into_owned()).filter(|text| !text.is_empty());
    let ended = sqlx::query(
        "UPDATE bridge_task SET state = ?2, owner_conversation = NULL, owner_session = NULL,
             last_conversation = owner_conversation, last_session = owner_session,
             failures = failures + ?3, retry_ms = ?4, changed_ms = ?5,
             result = iif(?3, result, ?6), reason = iif(?3, ?6, NULL)
         WHERE task_id = ?1 AND fence = ?7 AND state = 'leased'",
    )
    .bind(task.0)
    .bind(state.as_str())
    .bind(failed)
    .bind(retry_in.map(|pause| millis(now).saturating_add(duration_millis(pause))))
    .bind(millis(now))
    .bind(&text)
    .bind(fence.0)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if ended == 0 {
        return Err(stale(connection, task, fence).await?.into());
    }
    let at = (task, fence);
    let note = text.as_deref().filter(|_| failed);
    let event = if failed { "failed" } else { "done" };
    history(connection, at, event, Some(session), note, now).await?;
    let details = json!({ "task_id": task, "fence": fence, "state": state });
    let action = if failed { "task_failed" } else { "task_done" };
    let (conversation, side) = (Some(&session.conversation), Some(session.side));
    shared::audit(connection, conversation, side, action, details, now).await?;
    match state {
        TaskState::Done => {
            let text = text.as_deref();
            notices::tell_creator(connection, &found, "is done", Some(session), text, now).await?;
        }
        TaskState::Dead => {
            let why = format!("it failed {failures} times");
            history(connection, at, "dead", None, Some(&why), now).await?;
            notices::bury(connection, &found, &why, now).await?;
        }
        _ => {}
    }
    Ok(Ended {
        state,
        repeated: false,
    })
}

async fn last_owner(
    connection: &mut SqliteConnection,
    task: TaskId,
) -> std::result::Result<Option<SessionKey>, Fault> {
    let row =
        sqlx::query("SELECT last_conversation, last_session FROM bridge_task WHERE task_id = ?1")
            .bind(task.0)
            .fetch_one(connection)
            .await?;
    Ok(session_of(row.try_get(0)?, row.try_get(1)?))
}
