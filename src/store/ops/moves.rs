//! Moves of tasks that an orchestrator planned, made if the world is still as it
//! was when they were planned.

use std::time::Duration;

use jiff::Timestamp;

use super::alerts::ensure_acts;
use super::tasks::{Cause, Fitness, HAS_IT, Target, lease};
use crate::model::SessionKey;
use crate::model::standing::Standing;
use crate::store::executor::Transaction;
use crate::store::rows::{Due, Look, Rows, SUPERSEDED};
use crate::store::{Leader, Move, Moved, Result, Signal, StoreError, Task, Waiting, Why};

/// Most tasks of a role that wait and are looked at in one round: those of a
/// role that no session has must not hide those of the others.
const OF_A_ROLE: u32 = 5_000;

/// Tasks that wait or whose owner is gone, oldest first.
///
/// # Errors
/// The engine's.
pub(crate) fn waiting(
    rows: &mut dyn Rows,
    stalled: &[SessionKey],
    losses_within: Duration,
    now: Timestamp,
) -> Result<Vec<Waiting>> {
    rows.waiting(&Look {
        stalled,
        losses_since: now.checked_sub(losses_within).unwrap_or(Timestamp::MIN),
        due: Due::at(now),
        of_a_role: OF_A_ROLE,
    })
}

/// Makes moves; one that the world has overtaken is void, the others hold.
///
/// # Errors
/// [`StoreError::NotLeading`].
pub(crate) fn make(
    transaction: &mut Transaction<'_>,
    leader: &Leader,
    moves: &[Move],
    now: Timestamp,
) -> Result<Vec<Moved>> {
    let rows = transaction.rows();
    ensure_acts(rows, Some(leader))?;
    let mut made = Vec::with_capacity(moves.len());
    for planned in moves {
        made.push(make_one(rows, planned, now)?);
    }
    // A planner of what is void is not to be rung for it, and plan the same again.
    if made.iter().any(|made| matches!(made, Moved::Made(_))) {
        rows.signal(Signal::Work)?;
        transaction.ring();
    }
    Ok(made)
}

fn make_one(rows: &mut dyn Rows, planned: &Move, now: Timestamp) -> Result<Moved> {
    let found = match rows.task(planned.task) {
        Ok(Some(found)) => found,
        Ok(None) => return void("it does not exist any more"),
        Err(StoreError::OddRow { .. }) => return void("its row cannot be read"),
        Err(error) => return Err(error),
    };
    if found.fence != planned.fence || !found.state.is_open() {
        return void("another program moved or ended it");
    }
    if !may_be_taken(rows, &found, planned.why)? {
        return void("its owner is back");
    }
    if planned.to.is_some() && planned.to == found.owner {
        return void(HAS_IT);
    }
    if let Some(to) = &planned.to {
        let fit = match Fitness::of(rows, to, now) {
            Err(StoreError::OddRow { .. }) => {
                return void("its new owner's row cannot be read");
            }
            fit => fit?,
        };
        if let Err(unfit) = fit.takes(to, planned.task) {
            return Ok(Moved::Void(unfit.headline()));
        }
    }
    let target = match (&planned.give_up, &planned.to) {
        (Some(why), _) => Target::Dead(why),
        (None, Some(to)) => Target::Given(to),
        (None, None) => Target::Queue,
    };
    let cause = match planned.why {
        Why::Waited => Cause::Waited,
        Why::Lost => Cause::Lost,
        Why::Exited => Cause::Exited,
        Why::Stalled => Cause::Stalled,
    };
    let fence = lease(rows, &found, &target, cause, now)?;
    Ok(Moved::Made(fence))
}

fn void(why: &str) -> Result<Moved> {
    Ok(Moved::Void(why.to_owned()))
}

/// Whether a task has no owner, or the verdict on its owner still holds: a beat
/// since the verdict is life, and a call is life and progress, although no watcher
/// wrote so yet.
fn may_be_taken(rows: &mut dyn Rows, task: &Task, why: Why) -> Result<bool> {
    let Some(owner) = &task.owner else {
        return Ok(true);
    };
    let verdict = rows.verdict(owner)?;
    let standing = verdict.standing;
    let holds = match standing {
        Some(Standing::Stalled) => verdict.standing_seq != Some(SUPERSEDED),
        // Its daemon may have let go of the dead since.
        Some(Standing::Exited) => verdict.exited || verdict.seq == verdict.standing_seq,
        _ => verdict.seq == verdict.standing_seq,
    };
    let standing = standing.filter(|_| holds);
    let may = match why {
        Why::Lost | Why::Exited => standing.is_some_and(Standing::is_gone),
        Why::Stalled => standing == Some(Standing::Stalled),
        Why::Waited => return Ok(false),
    };
    // Without its conversation an owner can neither come back, nor be found lost.
    Ok(may || !rows.has_conversation(&owner.conversation)?)
}
