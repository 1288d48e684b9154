//! A session asks for a task.

use jiff::Timestamp;

use super::fitness::Fitness;
use super::lease::{Cause, Target, lease};
use super::{get, named, over};
use crate::model::SessionKey;
use crate::model::message::ClientMessageId;
use crate::model::task::{TaskId, TaskState};
use crate::store::executor::Transaction;
use crate::store::ops::callers::{authenticate, came_back};
use crate::store::rows::{Due, Rows};
use crate::store::{Caller, HeldTask, Result, Signal, StoreError, Task, TaskError};

/// The task that a session wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This one.
    This(TaskId),
    /// The oldest that waits for its role; the same again for a claim of the same name.
    Oldest(Option<ClientMessageId>),
}

/// Gives the caller a task.
///
/// # Errors
/// As [`crate::store::Store::claim_task`].
pub(crate) fn claim(
    transaction: &mut Transaction<'_>,
    caller: &Caller,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Option<Task>> {
    let claimed = try_claim(transaction, caller, wanted, now);
    claimed.map_err(|refusal| named(transaction.rows(), refusal))
}

fn try_claim(
    transaction: &mut Transaction<'_>,
    caller: &Caller,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Option<Task>> {
    let rows = transaction.rows();
    let verified = authenticate(rows, caller, now)?;
    let session = &caller.session;
    came_back(rows, caller, now)?;
    rows.note_call(session, Some(now))?;
    let (found, name) = match wanted {
        Wanted::This(id) => {
            let found = get(rows, *id)?;
            match claimable(&found, session, &verified.role)? {
                Claimable::Free => (Some(found), None),
                // Asked again, because the first answer was lost.
                Claimable::Held => return Ok(Some(found)),
            }
        }
        Wanted::Oldest(name) => {
            if let Some(name) = name
                && let Some(held) = rows.claimed_as(session, name)?
            {
                // As above.
                return get(rows, held).map(Some);
            }
            let oldest = rows.oldest_waiting(&verified.role, Due::at(now))?;
            (oldest, name.as_ref())
        }
    };
    let Some(found) = found else {
        return Ok(None);
    };
    let admits = Fitness::of(rows, session, now)?.admits(session);
    admits.map_err(|refusal| with_oldest(rows, session, refusal))?;
    lease(rows, &found, &Target::Claimed(session), Cause::Claim, now)?;
    if let Some(name) = name {
        rows.name_claim(found.id, name)?;
    }
    let leased = get(rows, found.id)?;
    rows.signal(Signal::Work)?;
    transaction.ring();
    Ok(Some(leased))
}

/// A refusal that names the oldest task of the session, if its tasks are the reason.
fn with_oldest(rows: &mut dyn Rows, session: &SessionKey, mut refusal: StoreError) -> StoreError {
    if let StoreError::Task(TaskError::AtCapacity { held, .. }) = &mut refusal
        && let Ok(tasks) = rows.tasks_of(session)
    {
        let mut readable = tasks.iter().filter_map(|id| rows.task(*id).ok().flatten());
        *held = readable.next().map(|task| HeldTask {
            task: task.id,
            fence: task.fence,
        });
    }
    refusal
}

enum Claimable {
    Free,
    Held,
}

fn claimable(task: &Task, session: &SessionKey, role: &str) -> Result<Claimable> {
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
