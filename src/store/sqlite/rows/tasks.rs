//! Tasks.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Row, params};
use serde_json::json;

use crate::model::door::DoorError;
use crate::model::message::ClientMessageId;
use crate::model::task::{Fence, TaskId, TaskState};
use crate::model::{Label, SessionKey};
use crate::store::rows::{ClientTask, NewTaskRow, TaskRows};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::statements::{Statements as _, count, readable, text};
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{from_millis, millis};
use crate::store::{Result, StoreError, Task, TaskFilter};

/// What [`task`] reads, of a task `t` and its owner's conversation `l`.
macro_rules! task_columns {
    () => {
        "t.task_id, t.role, t.title, t.body, t.files, t.state, t.fence, t.owner_conversation,
         t.owner_session, l.label, t.attempts, t.failures, t.progress, t.progress_ms, t.result,
         t.reason, t.retry_ms, t.created_ms, t.changed_ms, t.creator, t.last_conversation,
         t.last_session"
    };
}

pub(super) use task_columns;

/// The newest that a filter admits.
macro_rules! wanted_tasks {
    () => {
        "WHERE (?1 = '[]' OR t.state IN (SELECT value FROM json_each(?1)))
           AND (?2 IS NULL OR t.role = ?2)
           AND (?3 IS NULL OR (t.owner_conversation = ?3 AND t.owner_session = ?4))
           AND (?6 IS NULL OR t.creator = ?6
                OR t.owner_conversation || '/' || t.owner_session = ?6)
         ORDER BY t.task_id DESC LIMIT ?5"
    };
}

/// Text of the tasks that one session is shown at once, in bytes: an answer stands in
/// memory whole, and a session may add many tasks.
const MOST_TEXT: f64 = 8.0 * 1024.0 * 1024.0;

fn too_long() -> DoorError {
    DoorError::Malformed(
        "these tasks have more than 8 MiB of text; ask for fewer at once (limit), or for those in some states"
            .to_owned(),
    )
}

pub(super) fn task(row: &Row<'_>) -> rusqlite::Result<Task> {
    let time = |column: usize| {
        row.get::<_, Option<i64>>(column)
            .map(|at| at.map(from_millis))
    };
    let label: Option<String> = row.get(9)?;
    let files: String = row.get(4)?;
    Ok(Task {
        id: TaskId(row.get(0)?),
        role: row.get(1)?,
        title: row.get(2)?,
        body: row.get(3)?,
        files: serde_json::from_str(&files).unwrap_or_default(),
        // The schema admits no other word.
        state: TaskState::from_word(&row.get::<_, String>(5)?).unwrap_or(TaskState::Dead),
        fence: Fence(row.get(6)?),
        owner: session(row, 7)?,
        owner_label: label.and_then(|label| label.parse::<Label>().ok()),
        attempts: row.get(10)?,
        failures: row.get(11)?,
        progress: row.get(12)?,
        progress_at: time(13)?,
        result: row.get(14)?,
        reason: row.get(15)?,
        retry_at: time(16)?,
        created_at: time(17)?.unwrap_or(Timestamp::UNIX_EPOCH),
        changed_at: time(18)?.unwrap_or(Timestamp::UNIX_EPOCH),
        creator: row.get::<_, String>(19)?.parse().ok(),
        last_owner: session(row, 20)?,
    })
}

/// A session of two of our own columns; `None` where there is none.
pub(super) fn session(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<SessionKey>> {
    let conversation: Option<String> = row.get(column)?;
    let side: Option<String> = row.get(column + 1)?;
    let parsed = conversation.zip(side).and_then(|(conversation, side)| {
        Some(SessionKey::new(
            conversation.parse().ok()?,
            side.parse().ok()?,
        ))
    });
    Ok(parsed)
}

impl TaskRows for SqliteRows {
    fn task(&mut self, id: TaskId) -> Result<Option<Task>> {
        self.run(|connection| {
            let found = connection.first(
                concat!(
                    "SELECT ",
                    task_columns!(),
                    " FROM bridge_task t LEFT JOIN bridge_conversation l
                          ON l.conversation_id = t.owner_conversation WHERE t.task_id = ?1"
                ),
                [id.0],
                task,
            )?;
            Ok(found)
        })
    }

    fn has_task(&mut self, task: TaskId) -> Result<bool> {
        self.run(|connection| {
            let found = connection.one(
                "SELECT EXISTS (SELECT 1 FROM bridge_task WHERE task_id = ?1)",
                [task.0],
                |row| row.get(0),
            )?;
            Ok(found)
        })
    }

    fn tasks(&mut self, filter: &TaskFilter) -> Result<Vec<Task>> {
        let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
        let states = json!(states).to_string();
        let (owner, party) = (filter.owner.as_ref(), filter.party.as_ref());
        self.run(|connection| {
            let party = party.map(ToString::to_string);
            let values = params![
                states,
                filter.role,
                owner.map(|owner| owner.conversation.as_str()),
                owner.map(|owner| owner.side.as_str()),
                filter.limit,
                party,
            ];
            // Of lengths SQLite reads no text.
            if party.is_some() {
                let length: f64 = connection.one(
                    concat!(
                        "SELECT total(length) FROM (SELECT octet_length(t.title)
                             + octet_length(t.body) + octet_length(t.files)
                             + octet_length(coalesce(t.progress, ''))
                             + octet_length(coalesce(t.result, ''))
                             + octet_length(coalesce(t.reason, '')) AS length
                         FROM bridge_task t ",
                        wanted_tasks!(),
                        ")"
                    ),
                    values,
                    |row| row.get(0),
                )?;
                if length > MOST_TEXT {
                    return Err(StoreError::from(too_long()).into());
                }
            }
            let tasks = connection.all(
                concat!(
                    "SELECT * FROM (SELECT ",
                    task_columns!(),
                    " FROM bridge_task t LEFT JOIN bridge_conversation l
                          ON l.conversation_id = t.owner_conversation ",
                    wanted_tasks!(),
                    ") ORDER BY task_id"
                ),
                values,
                |row| Ok(readable("tasks", task(row))),
            )?;
            Ok(tasks.into_iter().flatten().collect())
        })
    }

    fn task_counts(&mut self) -> Result<HashMap<String, u64>> {
        self.run(|connection| {
            let counts = connection.all(
                "SELECT state, count(*) FROM bridge_task GROUP BY state",
                [],
                |row| {
                    let count = row.get(0).and_then(|state| Ok((state, count(row, 1)?)));
                    Ok(readable("states of tasks", count))
                },
            )?;
            Ok(counts.into_iter().flatten().collect())
        })
    }

    fn client_task(
        &mut self,
        creator: Option<&SessionKey>,
        id: &ClientMessageId,
    ) -> Result<Option<ClientTask>> {
        let creator = creator.map(SessionKey::to_string).unwrap_or_default();
        self.run(|connection| {
            let known = connection.first(
                "SELECT task_id, title, body FROM bridge_task
                 WHERE creator = ?1 AND client_id = ?2",
                [creator.as_str(), id.as_str()],
                |row| {
                    Ok(ClientTask {
                        id: TaskId(row.get(0)?),
                        title: text(row, 1)?.into_owned(),
                        body: text(row, 2)?.into_owned(),
                    })
                },
            )?;
            Ok(known)
        })
    }

    fn insert_task(&mut self, task: &NewTaskRow<'_>, now: Timestamp) -> Result<TaskId> {
        let creator = task.creator.map(SessionKey::to_string).unwrap_or_default();
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_task (role, title, body, files, creator, client_id,
                         created_ms, changed_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
                    params![
                        task.role,
                        task.title,
                        task.body,
                        json!(task.files).to_string(),
                        creator,
                        task.client_id.map(ClientMessageId::as_str),
                        millis(now)
                    ],
                )?
                .wrote(1, "bridge_task")?;
            Ok(TaskId(connection.last_insert_rowid()))
        })
    }

    fn write_task(&mut self, task: &Task, was: Fence) -> Result<()> {
        let (owner, last) = (task.owner.as_ref(), task.last_owner.as_ref());
        self.run(|connection| {
            connection
                .change(
                    "UPDATE bridge_task SET state = ?3, fence = ?4, owner_conversation = ?5,
                         owner_session = ?6, last_conversation = ?7, last_session = ?8,
                         attempts = ?9, failures = ?10, retry_ms = ?11, result = ?12,
                         reason = ?13, changed_ms = ?14,
                         claim_id = CASE fence WHEN ?4 THEN claim_id END
                     WHERE task_id = ?1 AND fence = ?2",
                    params![
                        task.id.0,
                        was.0,
                        task.state.as_str(),
                        task.fence.0,
                        owner.map(|owner| owner.conversation.as_str()),
                        owner.map(|owner| owner.side.as_str()),
                        last.map(|last| last.conversation.as_str()),
                        last.map(|last| last.side.as_str()),
                        task.attempts,
                        task.failures,
                        task.retry_at.map(millis),
                        task.result,
                        task.reason,
                        millis(task.changed_at)
                    ],
                )?
                .wrote(1, "bridge_task")?;
            Ok(())
        })
    }

    fn claimed_as(&mut self, owner: &SessionKey, name: &ClientMessageId) -> Result<Option<TaskId>> {
        self.run(|connection| {
            let known = connection.first(
                "SELECT task_id FROM bridge_task INDEXED BY bridge_task_owner
                 WHERE owner_conversation = ?1 AND owner_session = ?2 AND state = 'leased'
                   AND claim_id = ?3",
                [
                    owner.conversation.as_str(),
                    owner.side.as_str(),
                    name.as_str(),
                ],
                |row| Ok(TaskId(row.get(0)?)),
            )?;
            Ok(known)
        })
    }

    fn name_claim(&mut self, task: TaskId, name: &ClientMessageId) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "UPDATE bridge_task SET claim_id = ?2 WHERE task_id = ?1",
                    params![task.0, name.as_str()],
                )?
                .wrote(1, "bridge_task")?;
            Ok(())
        })
    }

    fn note_progress(
        &mut self,
        task: TaskId,
        fence: Fence,
        owner: &SessionKey,
        note: &str,
        now: Timestamp,
    ) -> Result<bool> {
        self.run(|connection| {
            let changed = connection.change(
                "UPDATE bridge_task SET progress = ?5, progress_ms = ?6
                 WHERE task_id = ?1 AND fence = ?2 AND state = 'leased'
                   AND owner_conversation = ?3 AND owner_session = ?4",
                params![
                    task.0,
                    fence.0,
                    owner.conversation.as_str(),
                    owner.side.as_str(),
                    note,
                    millis(now)
                ],
            )?;
            if changed > 0 {
                return Ok(true);
            }
            // It is another's now, or the note was kept out.
            let still: bool = connection.one(
                "SELECT EXISTS (SELECT 1 FROM bridge_task
                     WHERE task_id = ?1 AND fence = ?2 AND state = 'leased'
                       AND owner_conversation = ?3 AND owner_session = ?4)",
                params![
                    task.0,
                    fence.0,
                    owner.conversation.as_str(),
                    owner.side.as_str()
                ],
                |row| row.get(0),
            )?;
            if still {
                return Err(Fault::Swallowed("bridge_task"));
            }
            Ok(false)
        })
    }

    fn tasks_of(&mut self, session: &SessionKey) -> Result<Vec<TaskId>> {
        self.run(|connection| {
            let tasks = connection.all(
                "SELECT task_id FROM bridge_task INDEXED BY bridge_task_owner
                 WHERE owner_conversation = ?1 AND owner_session = ?2 AND state = 'leased'
                 ORDER BY task_id",
                [session.conversation.as_str(), session.side.as_str()],
                |row| Ok(TaskId(row.get(0)?)),
            )?;
            Ok(tasks)
        })
    }

    fn newest_lease(&mut self, session: &SessionKey) -> Result<Option<Timestamp>> {
        self.run(|connection| {
            let newest: Option<i64> = connection.one(
                "SELECT CAST(max(changed_ms) AS INTEGER) FROM bridge_task
                     INDEXED BY bridge_task_owner
                 WHERE owner_conversation = ?1 AND owner_session = ?2 AND state = 'leased'",
                [session.conversation.as_str(), session.side.as_str()],
                |row| row.get(0),
            )?;
            Ok(newest.map(from_millis))
        })
    }
}
