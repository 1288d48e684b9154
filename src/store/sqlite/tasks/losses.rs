//! Owners that went away, as they count: against a task only if that owner had
//! fetched it, and each session once; against a session if its agent ended right
//! after it was given a task.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::model::SessionKey;
use crate::model::assignment::CRASH_WITHIN;
use crate::model::task::TaskId;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::losses::{counted, fetched};
use crate::store::sqlite::millis;
use crate::store::sqlite::written::Written as _;
use crate::text::millis as duration_millis;

/// Notes in a task's history that its owner went away, before it is taken from it.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    task: TaskId,
    event: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    sqlx::query(concat!(
        "INSERT INTO bridge_task_history (task_id, fence, event, conversation_id, session_id,
             at_ms, counts, note)
         SELECT task_id, fence, ?2, owner_conversation, owner_session, ?3, fetched,
                iif(fetched, NULL, 'it had not read the task, which does not count against it')
         FROM (SELECT t.*, ",
        fetched!(),
        " AS fetched FROM bridge_task t WHERE t.task_id = ?1)",
    ))
    .bind(task.0)
    .bind(event)
    .bind(millis(now))
    .execute(connection)
    .await?
    .wrote(1, "bridge_task_history")?;
    Ok(())
}

/// An agent ended: whether right after it was given a task. Without one, it tells
/// nothing.
pub(in crate::store::sqlite) async fn agent_ended(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    now: Timestamp,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE bridge_session SET crashes = iif(
             (SELECT max(t.changed_ms) FROM bridge_task t INDEXED BY bridge_task_owner
              WHERE t.owner_conversation = ?1 AND t.owner_session = ?2 AND t.state = 'leased')
                 > ?3, crashes + 1, 0)
         WHERE conversation_id = ?1 AND session_id = ?2
           AND EXISTS (SELECT 1 FROM bridge_task t INDEXED BY bridge_task_owner
                       WHERE t.owner_conversation = ?1 AND t.owner_session = ?2
                         AND t.state = 'leased')",
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(millis(now).saturating_sub(duration_millis(CRASH_WITHIN)))
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether a task may go to its own session again at once, now that another agent
/// is there: not when they end one after the other, and not when the task may be
/// what kills its owners. The daemon that gives out tasks decides then.
pub(super) async fn may_go_on(
    connection: &mut SqliteConnection,
    task: TaskId,
    session: &SessionKey,
) -> Result<bool, Fault> {
    Ok(sqlx::query_scalar(concat!(
        "SELECT coalesce((SELECT crashes FROM bridge_session
                          WHERE conversation_id = ?3 AND session_id = ?4), 0) < 2
            AND (SELECT count(DISTINCT y.conversation_id || '/' || y.session_id)
                 FROM bridge_task t CROSS JOIN bridge_task_history y
                 WHERE t.task_id = ?1 AND (y.conversation_id, y.session_id) <> (?3, ?4) AND ",
        counted!(),
        ") + (SELECT ",
        fetched!(),
        " FROM bridge_task t WHERE t.task_id = ?1)
            < coalesce((SELECT CAST(value AS INTEGER) FROM bridge_setting
                        WHERE key = 'task.max_losses'), 3)",
    ))
    .bind(task.0)
    .bind(i64::MIN)
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .fetch_one(connection)
    .await?)
}
