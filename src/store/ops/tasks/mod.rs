//! Tasks: added, claimed, written with their fence, ended, moved by hand.

mod add;
mod anew;
mod claim;
mod end;
mod fitness;
mod lease;
mod losses;

use jiff::Timestamp;

pub(crate) use add::{add, clean};
pub(crate) use anew::give_anew;
pub(crate) use claim::{Wanted, claim};
pub(crate) use end::{clean_note, clean_outcome, end, progress};
pub(super) use fitness::Fitness;
use fitness::unfit;
pub(super) use lease::{Cause, Target, lease};
pub(crate) use losses::agent_ended;

use crate::model::SessionKey;
use crate::model::task::{Fence, TaskId, TaskState};
use crate::store::executor::Transaction;
use crate::store::rows::{Event, Rows};
use crate::store::{Result, Signal, StoreError, Task, TaskError, TaskEvent};

/// Why a task is not given to its own owner, who would get a notice to stop.
pub(super) const HAS_IT: &str = "it has the task already";

/// One task, with its history, oldest first.
///
/// # Errors
/// [`TaskError::NoTask`].
pub(crate) fn show(rows: &mut dyn Rows, id: TaskId) -> Result<(Task, Vec<TaskEvent>)> {
    Ok((get(rows, id)?, rows.history(id)?))
}

/// Ends a task for good that is not to be done any more.
///
/// # Errors
/// As [`crate::store::Store::cancel_task`].
pub(crate) fn cancel(
    transaction: &mut Transaction<'_>,
    task: TaskId,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<Task> {
    let rows = transaction.rows();
    let found = get(rows, task)?;
    if !found.state.is_open() && found.state != TaskState::Dead {
        return Err(over(&found));
    }
    let target = Target::Cancelled(reason);
    lease(rows, &found, &target, Cause::Operator, now)?;
    let cancelled = get(rows, task)?;
    rows.signal(Signal::Work)?;
    transaction.ring();
    Ok(cancelled)
}

/// An operator's move: to this session, or back into the queue.
///
/// # Errors
/// As [`crate::store::Store::reassign_task`].
pub(crate) fn reassign(
    transaction: &mut Transaction<'_>,
    task: TaskId,
    to: Option<&SessionKey>,
    now: Timestamp,
) -> Result<Task> {
    let moved = try_reassign(transaction.rows(), task, to, now);
    let moved = moved.map_err(|refusal| named(transaction.rows(), refusal))?;
    transaction.ring();
    Ok(moved)
}

fn try_reassign(
    rows: &mut dyn Rows,
    task: TaskId,
    to: Option<&SessionKey>,
    now: Timestamp,
) -> Result<Task> {
    let found = get(rows, task)?;
    if matches!(found.state, TaskState::Done | TaskState::Cancelled) {
        return Err(over(&found));
    }
    if let Some(to) = to {
        if found.owner.as_ref() == Some(to) {
            return Err(unfit(to, task, HAS_IT));
        }
        Fitness::of(rows, to, now)?.takes(to, task)?;
    }
    let target = to.map_or(Target::Queue, Target::Given);
    lease(rows, &found, &target, Cause::Operator, now)?;
    let moved = get(rows, task)?;
    rows.signal(Signal::Work)?;
    Ok(moved)
}

/// A task that must be there.
///
/// # Errors
/// [`TaskError::NoTask`].
pub(super) fn get(rows: &mut dyn Rows, id: TaskId) -> Result<Task> {
    rows.task(id)?
        .ok_or(StoreError::Task(TaskError::NoTask(id)))
}

fn over(task: &Task) -> StoreError {
    TaskError::Over {
        task: task.id,
        state: task.state,
    }
    .into()
}

/// Adds a line to a task's history, in the transaction of what it tells about.
fn noted(
    rows: &mut dyn Rows,
    (task, fence): (TaskId, Fence),
    event: &str,
    session: Option<&SessionKey>,
    note: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let event = Event {
        task,
        fence,
        event,
        session,
        counts: true,
        note,
    };
    rows.note_event(&event, now)
}

/// A refusal with the label of the session that it names: without it, the key has
/// to do.
fn named(rows: &mut dyn Rows, error: StoreError) -> StoreError {
    let StoreError::Task(mut refusal) = error else {
        return error;
    };
    if let Some(session) = refusal.session_mut() {
        session.label = rows.label(&session.key.conversation).ok().flatten();
    }
    refusal.into()
}
