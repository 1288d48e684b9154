//! The tasks of a session whose agent ended and has a successor already.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{Cause, Target, get, lease, losses};
use crate::model::SessionKey;
use crate::model::task::TaskId;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::odd;

/// Gives a session's tasks to its new agent, each with its text and a new fence,
/// in the transaction of the heartbeat that names that agent; into the queue, if
/// the session's agents end one after the other.
pub(in crate::store::sqlite) async fn give_anew(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    now: Timestamp,
) -> Result<(), Fault> {
    let tasks: Vec<i64> = sqlx::query_scalar(
        "SELECT task_id FROM bridge_task INDEXED BY bridge_task_owner
         WHERE owner_conversation = ?1 AND owner_session = ?2 AND state = 'leased'
         ORDER BY task_id",
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .fetch_all(&mut *connection)
    .await?;
    for task in tasks {
        let found = match get(connection, TaskId(task)).await {
            // It stays where it is, and holds nothing else up.
            Err(fault) if odd::is_odd(&fault) => continue,
            found => found?,
        };
        let target = if losses::may_go_on(connection, found.id, session).await? {
            Target::Given(session)
        } else {
            Target::Queue
        };
        lease(connection, &found, &target, Cause::Exited, now).await?;
    }
    Ok(())
}
