//! A task changes hands: one conditional update, and in the same transaction
//! everything that somebody must hear of it.

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::losses;
use super::rows::history;
use crate::model::SessionKey;
use crate::model::alert::AlertKind;
use crate::model::task::{Fence, TaskState};
use crate::store::Task;
use crate::store::ops::audit::ordered_by;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{alerts, fleet, millis, notices, shared};

/// Where a task goes.
#[derive(Debug, Clone, Copy)]
#[expect(
    dead_code,
    reason = "heartbeats alone move tasks with SQL of their own"
)]
pub(in crate::store::sqlite) enum Target<'a> {
    /// To the session that asked for it.
    Claimed(&'a SessionKey),
    /// To a session that hears of it by a message.
    Given(&'a SessionKey),
    /// Back, to wait for somebody.
    Queue,
    /// Nowhere any more, and why.
    Dead(&'a str),
    /// Nowhere any more, because somebody said so.
    Cancelled(Option<&'a str>),
}

/// Why it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    dead_code,
    reason = "heartbeats alone move tasks with SQL of their own"
)]
pub(in crate::store::sqlite) enum Cause {
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
            Self::Stalled => Some(("stalled", "did not move any more")),
            Self::Operator => Some(("taken", "was relieved of it by an operator")),
        }
    }
}

/// Moves `found`, as it was read in this transaction. Returns the fence that
/// holds from now on.
pub(in crate::store::sqlite) async fn lease(
    connection: &mut SqliteConnection,
    found: &Task,
    target: &Target<'_>,
    cause: Cause,
    now: Timestamp,
) -> Result<Fence, Fault> {
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
        losses::note(connection, found.id, word, now).await?;
    }
    sqlx::query(
        "UPDATE bridge_task SET state = ?3, fence = ?4, owner_conversation = ?5,
             owner_session = ?6, attempts = attempts + (?5 IS NOT NULL), retry_ms = NULL,
             failures = iif(state = 'dead', 0, failures),
             last_conversation = coalesce(owner_conversation, last_conversation),
             last_session = coalesce(owner_session, last_session),
             reason = coalesce(?7, reason), changed_ms = ?8
         WHERE task_id = ?1 AND fence = ?2",
    )
    .bind(found.id.0)
    .bind(found.fence.0)
    .bind(state.as_str())
    .bind(fence.0)
    .bind(to.map(|to| to.conversation.as_str()))
    .bind(to.map(|to| to.side.as_str()))
    .bind(reason)
    .bind(millis(now))
    .execute(&mut *connection)
    .await?
    // It was read in this transaction.
    .wrote(1, "bridge_task")?;
    if found.state == TaskState::Dead {
        // Somebody looked after it: what the operator was told is over.
        let subject = notices::task_subject(found.id);
        alerts::recover(connection, AlertKind::TaskDead, &subject, now).await?;
    }
    if let (Some(owner), Some((word, _)), Cause::Operator) = (&found.owner, went, cause) {
        let (at, owner) = ((found.id, found.fence), Some(owner));
        history(connection, at, word, owner, None, now).await?;
    }
    history(connection, (found.id, fence), event, to, reason, now).await?;
    tell(connection, found, fence, target, cause, now).await?;
    for session in found.owner.iter().chain(to) {
        fleet::bump(connection, session).await?;
    }
    let mut details = json!({
        "task_id": found.id, "fence": fence, "state": state, "cause": format!("{cause:?}").to_lowercase(),
        "from": found.owner.as_ref().map(SessionKey::to_string),
        "to": to.map(SessionKey::to_string),
    });
    if cause == Cause::Operator {
        details["by"] = ordered_by();
    }
    let about = to.or(found.owner.as_ref());
    shared::audit(
        connection,
        about.map(|session| &session.conversation),
        about.map(|session| session.side),
        &format!("task_{event}"),
        details,
        now,
    )
    .await?;
    Ok(fence)
}

/// Everybody's message: the new owner's, the old one's, the orchestrator's.
async fn tell(
    connection: &mut SqliteConnection,
    found: &Task,
    fence: Fence,
    target: &Target<'_>,
    cause: Cause,
    now: Timestamp,
) -> Result<(), Fault> {
    let before = found.owner.as_ref().or(found.last_owner.as_ref());
    if let Some(owner) = &found.owner {
        notices::withdraw(connection, found.id, owner, now).await?;
    }
    match target {
        Target::Claimed(to) | Target::Given(to) => {
            let was = found
                .owner
                .as_ref()
                .and(cause.of_owner())
                .map(|(_, words)| words);
            if matches!(target, Target::Given(_)) {
                notices::hand_out(connection, found, fence, to, was, now).await?;
            }
            if let Some(before) = before.filter(|before| before != to) {
                notices::hand_over(connection, found.id, before, to, now).await?;
            }
            notices::moved(connection, found, Some(to), fence, was, now).await?;
        }
        Target::Queue => {
            let was = found
                .owner
                .as_ref()
                .and(cause.of_owner())
                .map(|(_, words)| words);
            notices::moved(connection, found, None, fence, was, now).await?;
        }
        Target::Dead(why) => notices::bury(connection, found, why, now).await?,
        Target::Cancelled(_) => {}
    }
    // An owner that lives must hear that it is not its any more; one that was
    // given up hears it when it returns.
    if let Some(owner) = &found.owner
        && matches!(cause, Cause::Operator | Cause::Stalled)
    {
        let words = match (target, cause) {
            (Target::Cancelled(_), _) => "was cancelled",
            (_, Cause::Stalled) => "was taken from you, because you did not move any more",
            (Target::Queue, _) => "was put back into the queue by an operator",
            _ => "was given to somebody else by an operator",
        };
        notices::stop(connection, found, owner, words, now).await?;
    }
    Ok(())
}
