//! How a task ends in its owner's hands: done, to be tried again, or given up.

use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::get;
use super::rows::{history, session_of, stale};
use crate::model::SessionKey;
use crate::model::redact::redact_within;
use crate::model::task::{Fence, MAX_RESULT, TaskId, TaskState, retry_delay};
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{millis, notices, shared};
use crate::store::{Ended, Outcome};
use crate::text::millis as duration_millis;

/// What an outcome says, without secrets.
pub(super) fn clean(outcome: &Outcome) -> Option<String> {
    let text = match outcome {
        Outcome::Done(result) => result.as_str(),
        Outcome::Failed { reason, .. } => reason.as_str(),
    };
    Some(redact_within(text, MAX_RESULT).text.into_owned()).filter(|text| !text.is_empty())
}

pub(super) async fn end(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    task: TaskId,
    fence: Fence,
    (outcome, text): (&Outcome, Option<String>),
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
    let (state, random) = match outcome {
        Outcome::Done(_) => (TaskState::Done, 0.0),
        Outcome::Failed { random, .. } => (TaskState::after_failure(failures), *random),
    };
    let failed = state != TaskState::Done;
    let retry_in = (state == TaskState::RetryWait).then(|| retry_delay(failures, random));
    sqlx::query(
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
    // It was read in this transaction.
    .wrote(1, "bridge_task")?;
    super::losses::forgive(connection, session).await?;
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

pub(super) async fn last_owner(
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
