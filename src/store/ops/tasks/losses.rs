//! Owners that went away, as they count: against a task only if that owner had
//! fetched it, and each session once; against a session if its agent ended right
//! after it was given a task.

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::model::assignment::{AssignmentPolicy, CRASH_WITHIN};
use crate::model::task::TaskId;
use crate::store::ops::settings;
use crate::store::rows::{Event, Rows};
use crate::store::{Result, Task};

/// Agents whose last starts ended this many times in a row right after they got a task
/// get no task at once.
const CRASHES: i64 = 2;

/// Notes in a task's history that its owner went away, before it is taken from it.
pub(super) fn note(rows: &mut dyn Rows, task: &Task, event: &str, now: Timestamp) -> Result<()> {
    let counts = rows.is_fetched(task.id)?;
    let event = Event {
        task: task.id,
        fence: task.fence,
        event,
        session: task.owner.as_ref(),
        counts,
        note: (!counts).then_some("it had not read the task, so this does not count"),
    };
    rows.note_event(&event, now)
}

/// An agent ended: whether right after it was given a task. Without one, it tells
/// nothing.
///
/// # Errors
/// The engine's.
pub(crate) fn agent_ended(rows: &mut dyn Rows, session: &SessionKey, now: Timestamp) -> Result<()> {
    let Some(given) = rows.newest_lease(session)? else {
        return Ok(());
    };
    let since = now.checked_sub(CRASH_WITHIN).unwrap_or(Timestamp::MIN);
    if given > since {
        rows.count_crash(session)
    } else {
        rows.forget_crashes(session)
    }
}

/// Whether a task may go to its own session again at once, now that another agent
/// is there: not when they end one after the other, and not when the task may be
/// what kills its owners. The daemon that gives out tasks decides then.
pub(super) fn may_go_on(rows: &mut dyn Rows, task: TaskId, session: &SessionKey) -> Result<bool> {
    if rows.crashes(session)? >= CRASHES {
        return Ok(false);
    }
    let most = settings::number(rows, "task.max_losses")?;
    let most = most.unwrap_or(u64::from(AssignmentPolicy::default().max_losses));
    let losses = rows.losses(task, session)? + u64::from(rows.is_fetched(task)?);
    Ok(losses < most)
}
