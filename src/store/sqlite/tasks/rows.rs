//! Rows of tasks and of their history.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::model::task::{Fence, TaskId, TaskState};
use crate::model::{Label, SessionKey};
use crate::store::Task;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{from_millis, millis};

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
