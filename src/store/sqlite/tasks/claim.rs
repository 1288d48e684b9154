//! What a session may claim, and for how long it may be silent about it.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::rows::{row_of, task_columns};
use crate::model::SessionKey;
use crate::model::task::TaskState;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{millis, odd};
use crate::store::{StoreError, Task, TaskError};
use crate::text::millis as duration_millis;

pub(super) enum Claimable {
    Free,
    Held,
}

pub(super) fn claimable(
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
            session: session.clone().into(),
            yours: role.to_owned(),
        }
        .into()),
        (None, _) => Err(over(task)),
    }
}

pub(super) fn over(task: &Task) -> StoreError {
    TaskError::Over {
        task: task.id,
        state: task.state,
    }
    .into()
}

pub(super) async fn oldest_waiting(
    connection: &mut SqliteConnection,
    role: &str,
    now: Timestamp,
) -> std::result::Result<Option<Task>, Fault> {
    // The first one that can be read: nearly always the first.
    for page in [1, ODD] {
        let rows = waiting(connection, role, page, now).await?;
        let first = odd::readable(&rows, "tasks", row_of).into_iter().next();
        if first.is_some() || rows.is_empty() {
            return Ok(first);
        }
    }
    Ok(None)
}

/// So many tasks that cannot be read may wait before one that can.
const ODD: i64 = 1_000;

async fn waiting(
    connection: &mut SqliteConnection,
    role: &str,
    limit: i64,
    now: Timestamp,
) -> std::result::Result<Vec<SqliteRow>, Fault> {
    Ok(sqlx::query(concat!(
        "SELECT ",
        task_columns!(),
        " FROM bridge_task t INDEXED BY bridge_task_role LEFT JOIN bridge_conversation l
              ON l.conversation_id = t.owner_conversation
          WHERE t.state IN ('queued', 'retry_wait') AND t.role = ?1
            AND (t.state = 'queued' OR t.retry_ms <= ?2
                 -- A clock that was set must not keep a task waiting for hours.
                 OR t.retry_ms > ?2 + 2700000)
          ORDER BY t.task_id LIMIT ?3"
    ))
    .bind(role)
    .bind(millis(now))
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

/// Declares that the agent may be silent for so long. Who watches counts it
/// from when he saw the declaration; the wall time is for people.
pub(super) async fn busy(
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
    .await?
    .wrote(1, "bridge_session")?;
    Ok(())
}
