//! An owner reports on its task: how far it is, and how it ends: done, to be tried
//! again, or given up. Each report carries the fence.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::{get, noted};
use crate::model::SessionKey;
use crate::model::redact::redact_within;
use crate::model::task::{
    Fence, MAX_PROGRESS, MAX_RESULT, ProgressNote, TaskId, TaskState, retry_delay,
};
use crate::store::executor::Transaction;
use crate::store::ops::callers::{authenticate, came_back};
use crate::store::ops::{audit, notices};
use crate::store::rows::{Audit, Rows};
use crate::store::{Caller, Ended, Outcome, Result, Signal, StoreError, Task, TaskError};

/// A note without secrets.
pub(crate) fn clean_note(note: &ProgressNote) -> String {
    redact_within(note.as_str(), MAX_PROGRESS).text.into_owned()
}

/// What an outcome says, without secrets.
pub(crate) fn clean_outcome(outcome: &Outcome) -> Option<String> {
    let text = match outcome {
        Outcome::Done(result) => result.as_str(),
        Outcome::Failed { reason, .. } => reason.as_str(),
    };
    Some(redact_within(text, MAX_RESULT).text.into_owned()).filter(|text| !text.is_empty())
}

/// Notes progress, and that the agent may be silent for a while.
///
/// # Errors
/// As [`crate::store::Store::task_progress`].
pub(crate) fn progress(
    transaction: &mut Transaction<'_>,
    caller: &Caller,
    (task, fence): (TaskId, Fence),
    note: &str,
    busy_for: Option<Duration>,
    now: Timestamp,
) -> Result<()> {
    let rows = transaction.rows();
    authenticate(rows, caller, now)?;
    let session = &caller.session;
    came_back(rows, caller, now)?;
    if !rows.note_progress(task, fence, session, note, now)? {
        return Err(stale(&get(rows, task)?, fence));
    }
    if let Some(time) = busy_for {
        rows.note_busy(session, time, now)?;
    }
    rows.note_call(session, Some(now))
}

/// Ends a task. `text` is what [`clean_outcome`] made of the outcome.
///
/// # Errors
/// As [`crate::store::Store::end_task`].
pub(crate) fn end(
    transaction: &mut Transaction<'_>,
    caller: &Caller,
    at: (TaskId, Fence),
    (outcome, text): (&Outcome, Option<&str>),
    now: Timestamp,
) -> Result<Ended> {
    let rows = transaction.rows();
    authenticate(rows, caller, now)?;
    let session = &caller.session;
    came_back(rows, caller, now)?;
    let ended = end_one(rows, session, at, (outcome, text), now)?;
    rows.note_call(session, Some(now))?;
    rows.signal(Signal::Work)?;
    transaction.ring();
    Ok(ended)
}

fn end_one(
    rows: &mut dyn Rows,
    session: &SessionKey,
    (task, fence): (TaskId, Fence),
    (outcome, text): (&Outcome, Option<&str>),
    now: Timestamp,
) -> Result<Ended> {
    let found = get(rows, task)?;
    if !found.is_held(session, fence) {
        // Reported again, because the first answer was lost.
        if is_repeated(rows, session, &found, fence, outcome)? {
            return Ok(Ended {
                state: found.state,
                repeated: true,
            });
        }
        return Err(stale(&found, fence));
    }
    let failures = found.failures + 1;
    let (state, random) = match outcome {
        Outcome::Done(_) => (TaskState::Done, 0.0),
        Outcome::Failed { random, .. } => (TaskState::after_failure(failures), *random),
    };
    let failed = state != TaskState::Done;
    let mut next = found.clone();
    next.state = state;
    next.last_owner = next.owner.take();
    next.reason = None;
    match failed {
        true => (next.failures, next.reason) = (failures, text.map(str::to_owned)),
        false => next.result = text.map(str::to_owned),
    }
    let pause = (state == TaskState::RetryWait).then(|| retry_delay(failures, random));
    next.retry_at = pause.map(|pause| now.checked_add(pause).unwrap_or(Timestamp::MAX));
    next.changed_at = now;
    rows.write_task(&next, fence)?;
    rows.forget_crashes(session)?;
    let at = (task, fence);
    let event = if failed { "failed" } else { "done" };
    noted(rows, at, event, Some(session), text.filter(|_| failed), now)?;
    let audit = Audit {
        conversation: Some(session.conversation.clone()),
        side: Some(session.side),
        action: if failed { "task_failed" } else { "task_done" }.into(),
        details: json!({ "task_id": task, "fence": fence, "state": state }),
    };
    audit::write(rows, vec![audit], now)?;
    match state {
        TaskState::Done => {
            notices::tell_creator(rows, &found, "is done", Some(session), text, now)?;
        }
        TaskState::Dead => {
            let why = format!("it failed {failures} times");
            noted(rows, at, "dead", None, Some(&why), now)?;
            notices::report_dead(rows, &found, &why, now)?;
        }
        _ => {}
    }
    Ok(Ended {
        state,
        repeated: false,
    })
}

/// Whether this session ended this lease in this way before. A task that is done stays as
/// it is. One that failed goes on, perhaps with another owner: its history knows.
fn is_repeated(
    rows: &mut dyn Rows,
    session: &SessionKey,
    found: &Task,
    fence: Fence,
    outcome: &Outcome,
) -> Result<bool> {
    match outcome {
        Outcome::Done(_) => Ok(found.state == TaskState::Done
            && found.fence == fence
            && found.last_owner.as_ref() == Some(session)),
        Outcome::Failed { .. } => rows.has_failed(found.id, fence, session),
    }
}

/// Why a report with this fence is refused: what became of the task.
fn stale(task: &Task, yours: Fence) -> StoreError {
    let now_with = match task.state {
        TaskState::Leased => format!("is now with {}", task.owner_name()),
        // It was no session's, so nothing is old.
        TaskState::Queued if task.fence == Fence(0) => {
            return TaskError::NotClaimed(task.id).into();
        }
        TaskState::Queued => "was moved and waits for another worker".to_owned(),
        TaskState::RetryWait => "waits for another attempt".to_owned(),
        TaskState::Done => "is done already".to_owned(),
        TaskState::Dead => "is dead".to_owned(),
        TaskState::Cancelled => "was cancelled".to_owned(),
        TaskState::Unknown => "is in an unknown state".to_owned(),
    };
    TaskError::StaleLease {
        task: task.id,
        yours,
        fence: task.fence,
        now_with,
    }
    .into()
}
