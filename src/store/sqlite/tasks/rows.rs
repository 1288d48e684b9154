//! Rows of tasks and of their history.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::model::task::{Fence, TaskId, TaskState};
use crate::model::{Label, SessionKey};
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{from_millis, millis, odd};
use crate::store::{StoreError, Task, TaskError, TaskEvent};

/// What [`row_of`] reads, of a task `t` and its owner's conversation `l`.
macro_rules! task_columns {
    () => {
        "t.task_id, t.role, t.title, t.body, t.files, t.state, t.fence, t.owner_conversation,
         t.owner_session, l.label, t.attempts, t.failures, t.progress, t.progress_ms, t.result,
         t.reason, t.retry_ms, t.created_ms, t.changed_ms, t.creator, t.last_conversation,
         t.last_session"
    };
}
pub(in crate::store::sqlite) use task_columns;

pub(in crate::store::sqlite) fn row_of(row: &SqliteRow) -> Result<Task, sqlx::Error> {
    let time = |column: usize| {
        Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(from_millis))
    };
    let label: Option<&str> = row.try_get(9)?;
    let files: &str = row.try_get(4)?;
    Ok(Task {
        id: TaskId(row.try_get(0)?),
        role: row.try_get(1)?,
        title: row.try_get(2)?,
        body: row.try_get(3)?,
        files: serde_json::from_str(files).unwrap_or_default(),
        // The schema admits no other word.
        state: TaskState::from_word(row.try_get(5)?).unwrap_or(TaskState::Dead),
        fence: Fence(row.try_get(6)?),
        owner: session_of(row.try_get(7)?, row.try_get(8)?),
        owner_label: label.and_then(|label| label.parse::<Label>().ok()),
        attempts: row.try_get(10)?,
        failures: row.try_get(11)?,
        progress: row.try_get(12)?,
        progress_at: time(13)?,
        result: row.try_get(14)?,
        reason: row.try_get(15)?,
        retry_at: time(16)?,
        created_at: time(17)?.unwrap_or(Timestamp::UNIX_EPOCH),
        changed_at: time(18)?.unwrap_or(Timestamp::UNIX_EPOCH),
        creator: row.try_get::<&str, _>(19)?.parse().ok(),
        last_owner: session_of(row.try_get(20)?, row.try_get(21)?),
    })
}

/// A session of its two columns; `None` where there is none.
pub(in crate::store::sqlite) fn session_of(
    conversation: Option<&str>,
    side: Option<&str>,
) -> Option<SessionKey> {
    Some(SessionKey::new(
        conversation?.parse().ok()?,
        side?.parse().ok()?,
    ))
}

/// Adds a line to a task's history, in the transaction of what it tells about.
pub(super) async fn history(
    connection: &mut SqliteConnection,
    (task, fence): (TaskId, Fence),
    event: &str,
    session: Option<&SessionKey>,
    note: Option<&str>,
    now: Timestamp,
) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO bridge_task_history (task_id, fence, event, conversation_id, session_id, at_ms, note)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .bind(task.0)
    .bind(fence.0)
    .bind(event)
    .bind(session.map(|session| session.conversation.as_str()))
    .bind(session.map(|session| session.side.as_str()))
    .bind(millis(now))
    .bind(note)
    .execute(connection)
    .await?
    .wrote(1, "bridge_task_history")?;
    Ok(())
}

pub(super) async fn history_of(
    connection: &mut SqliteConnection,
    task: TaskId,
) -> Result<Vec<TaskEvent>, Fault> {
    let rows = sqlx::query(
        "SELECT h.at_ms, h.event, h.fence,
                coalesce(l.label, h.conversation_id) || '/' || h.session_id, h.note
         FROM bridge_task_history h LEFT JOIN bridge_conversation l
             ON l.conversation_id = h.conversation_id
         WHERE h.task_id = ?1 ORDER BY h.history_id",
    )
    .bind(task.0)
    .fetch_all(connection)
    .await?;
    Ok(odd::readable(&rows, "events of tasks", |row| {
        Ok(TaskEvent {
            at: from_millis(row.try_get(0)?),
            event: row.try_get(1)?,
            fence: Fence(row.try_get(2)?),
            session: row.try_get(3)?,
            note: row.try_get(4)?,
        })
    }))
}

/// Why a write of its owner changed nothing: what became of the task, or, if
/// nothing did, that the write was kept out.
pub(super) async fn not_written(
    connection: &mut SqliteConnection,
    id: TaskId,
    fence: Fence,
    owner: &SessionKey,
) -> Result<Fault, Fault> {
    let task = super::get(connection, id).await?;
    let as_it_was = task.state == TaskState::Leased && task.fence == fence;
    if as_it_was && task.owner.as_ref() == Some(owner) {
        return Ok(Fault::Swallowed("bridge_task"));
    }
    Ok(stale(connection, id, fence).await?.into())
}

/// Why a write with this fence changed nothing: what became of the task.
pub(super) async fn stale(
    connection: &mut SqliteConnection,
    id: TaskId,
    yours: Fence,
) -> Result<StoreError, Fault> {
    let task = super::get(connection, id).await?;
    let now_with = match task.state {
        TaskState::Leased => format!("is now with {}", task.owner_name()),
        TaskState::Queued if task.fence == Fence(0) => "was never given out".to_owned(),
        TaskState::Queued => "was taken back and waits for another worker".to_owned(),
        TaskState::RetryWait => "waits for another try".to_owned(),
        TaskState::Done => "is done already".to_owned(),
        TaskState::Dead => "was given up".to_owned(),
        TaskState::Cancelled => "was cancelled".to_owned(),
    };
    Ok(TaskError::StaleLease {
        task: id,
        yours,
        fence: task.fence,
        now_with,
    }
    .into())
}
