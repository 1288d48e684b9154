//! Tasks, as the calls move them that still hold their own SQL.

mod anew;
mod lease;
mod losses;
mod rows;

use sqlx::SqliteConnection;

use super::fault::Fault;
use crate::model::task::TaskId;
use crate::store::sqlite::written::Written as _;
use crate::store::{StoreError, Task, TaskError};
pub(super) use anew::give_anew;
pub(super) use lease::{Cause, Target, lease};
pub(super) use losses::agent_ended;
use rows::{row_of, task_columns};

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
