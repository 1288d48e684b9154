//! A task changes hands: one conditional write, and in the same transaction
//! everything that others must hear of it.

use jiff::Timestamp;
use serde_json::json;

use super::{losses, noted};
use crate::model::SessionKey;
use crate::model::alert::AlertKind;
use crate::model::task::{Fence, TaskState};
use crate::store::ops::{alerts, audit, notices};
use crate::store::rows::{Audit, Rows};
use crate::store::{Result, Task};

/// Where a task goes.
#[derive(Debug, Clone, Copy)]
pub(in crate::store::ops) enum Target<'a> {
    /// To the session that asked for it.
    Claimed(&'a SessionKey),
    /// To a session that hears of it by a message.
    Given(&'a SessionKey),
    /// Back, to wait for a worker.
    Queue,
    /// Nowhere any more, and why.
    Dead(&'a str),
    /// Nowhere any more, because an operator said so.
    Cancelled(Option<&'a str>),
}

/// Why it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::ops) enum Cause {
    /// Its new owner asked.
    Claim,
    /// It waited.
    Waited,
    /// Its owner fell silent.
    Lost,
    /// Its owner's process ended.
    Exited,
    /// Its owner owed and did not move.
    Stalled,
    /// An operator said so.
    Operator,
}

impl Cause {
    /// What became of the owner before, in a history and a sentence.
    fn of_owner(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Claim | Self::Waited => None,
            Self::Lost => Some(("lost", "fell silent")),
            Self::Exited => Some(("exited", "ended")),
            Self::Stalled => Some(("stalled", "stalled")),
            Self::Operator => Some(("taken", "lost it: an operator moved it")),
        }
    }
}

/// Moves `found`, as it was read in this transaction. Returns the fence that
/// holds from now on.
///
/// # Errors
/// The engine's.
pub(in crate::store::ops) fn lease(
    rows: &mut dyn Rows,
    found: &Task,
    target: &Target<'_>,
    cause: Cause,
    now: Timestamp,
) -> Result<Fence> {
    let to = match target {
        Target::Claimed(to) | Target::Given(to) => Some(*to),
        _ => None,
    };
    let (state, event) = match target {
        Target::Claimed(_) => (TaskState::Leased, "claimed"),
        Target::Given(_) => (TaskState::Leased, "given"),
        Target::Queue => (TaskState::Queued, "queued"),
        Target::Dead(_) => (TaskState::Dead, "dead"),
        Target::Cancelled(_) => (TaskState::Cancelled, "cancelled"),
    };
    let reason = match target {
        Target::Dead(why) => Some(*why),
        Target::Cancelled(why) => *why,
        _ => None,
    };
    let fence = found.fence.next();
    let went = found.owner.as_ref().and(cause.of_owner());
    if let (Some((word, _)), true) = (went, cause != Cause::Operator) {
        losses::note(rows, found, word, now)?;
    }
    let mut next = found.clone();
    next.state = state;
    next.fence = fence;
    next.last_owner = next.owner.take().or(next.last_owner);
    next.owner = to.cloned();
    next.attempts += i64::from(to.is_some());
    next.retry_at = None;
    if found.state == TaskState::Dead {
        next.failures = 0;
    }
    next.reason = reason.map(str::to_owned).or(next.reason);
    next.changed_at = now;
    rows.write_task(&next, found.fence)?;
    if found.state == TaskState::Dead {
        // An operator looked after it: end the alert.
        let subject = notices::task_subject(found.id);
        alerts::end(rows, AlertKind::TaskDead, &subject, now)?;
    }
    if let (Some(owner), Some((word, _)), Cause::Operator) = (&found.owner, went, cause) {
        noted(rows, (found.id, found.fence), word, Some(owner), None, now)?;
    }
    noted(rows, (found.id, fence), event, to, reason, now)?;
    tell(rows, found, fence, target, cause, now)?;
    for session in found.owner.iter().chain(to) {
        rows.note_change(session)?;
    }
    let mut details = json!({
        "task_id": found.id, "fence": fence, "state": state, "cause": format!("{cause:?}").to_lowercase(),
        "from": found.owner.as_ref().map(SessionKey::to_string),
        "to": to.map(SessionKey::to_string),
    });
    if cause == Cause::Operator {
        details["by"] = audit::ordered_by();
    }
    let about = to.or(found.owner.as_ref());
    let audit = Audit {
        conversation: about.map(|session| session.conversation.clone()),
        side: about.map(|session| session.side),
        action: format!("task_{event}").into(),
        details,
    };
    audit::write(rows, vec![audit], now)?;
    Ok(fence)
}

/// The messages of a move: to the new owner, to the old one, to the orchestrator.
fn tell(
    rows: &mut dyn Rows,
    found: &Task,
    fence: Fence,
    target: &Target<'_>,
    cause: Cause,
    now: Timestamp,
) -> Result<()> {
    let before = found.owner.as_ref().or(found.last_owner.as_ref());
    if let Some(owner) = &found.owner {
        notices::withdraw(rows, found.id, owner, now)?;
    }
    let was = found.owner.as_ref().and(cause.of_owner());
    let was = was.map(|(_, words)| words);
    match target {
        Target::Claimed(to) | Target::Given(to) => {
            if matches!(target, Target::Given(_)) {
                notices::hand_out(rows, found, fence, to, was, now)?;
            }
            if let Some(before) = before.filter(|before| before != to) {
                notices::hand_over(rows, found.id, before, to, now)?;
            }
            notices::moved(rows, found, Some(to), fence, was, now)?;
        }
        Target::Queue => notices::moved(rows, found, None, fence, was, now)?,
        Target::Dead(why) => notices::report_dead(rows, found, why, now)?,
        Target::Cancelled(_) => {}
    }
    // An owner that lives must hear that it is not its any more; one that was
    // given up hears it when it returns.
    if let Some(owner) = &found.owner
        && matches!(cause, Cause::Operator | Cause::Stalled)
    {
        let words = match (target, cause) {
            (Target::Cancelled(_), _) => "was cancelled",
            (_, Cause::Stalled) => "was taken from you, because you had no activity",
            (Target::Queue, _) => "was put back into the queue by an operator",
            _ => "was given to another session by an operator",
        };
        notices::stop(rows, found, owner, words, now)?;
    }
    Ok(())
}
