//! Waking an agent from a program that acts for it: one try at a time, each a row of the
//! store.

use std::time::Duration;

use super::news::names;
use super::notes::{Claimed, Notes, Told, millis};
use super::{Acting, SessionError};
use crate::bridge::Bridge;
use crate::host;
use crate::model::door::DoorError;
use crate::model::wake::{ClientWay, Mail, WakeOutcome};
use crate::store::{Result, StoreError};

/// How long a claim holds: so long a try may take to lead to something.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// What came of the begin of a wake.
pub(crate) enum Begun {
    /// It is this program's. The agent counts as told now.
    Here {
        claimed: Vec<Claimed>,
        /// What is noted of the agent now.
        told: Told,
    },
    /// Another program wakes the agent, or told it of its mail this moment.
    Elsewhere,
    /// The agent was woken too often within the last hour.
    TooOften,
}

/// Begins a wake: claims it in the store, and notes that the agent is told now, up to
/// message `newest`. `is_due` looks once more at what is noted, when no other program can
/// change it.
///
/// # Errors
/// Credentials; if the store failed; if nothing can be noted. Nothing is claimed then.
pub(crate) async fn begin(
    bridge: &Bridge,
    (acting, notes): (&Acting, &Notes),
    (mail, newest): (&[Mail], i64),
    way: ClientWay,
    is_due: impl FnOnce(&Told) -> bool,
) -> std::result::Result<Begun, SessionError> {
    let boot = host::boot();
    let now = millis(boot.now);
    if !notes.told(&boot.id).may_wake(now) {
        return Ok(Begun::TooOften);
    }
    let Some(claimed) = claim(bridge, acting, mail, way).await? else {
        return Ok(Begun::Elsewhere);
    };
    let noted = notes.change(&boot.id, |told| {
        if !is_due(told) {
            return None;
        }
        told.wake(newest, now);
        if way == ClientWay::Hook {
            // Its program ends with the wake: another one says what came of it.
            told.claimed.clone_from(&claimed);
        }
        Some(told.clone())
    });
    match noted {
        Ok(Some(told)) => Ok(Begun::Here { claimed, told }),
        Ok(None) => {
            end(bridge, acting, claimed, WakeOutcome::Abandoned, None).await;
            Ok(Begun::Elsewhere)
        }
        Err(error) => {
            end(bridge, acting, claimed, WakeOutcome::Abandoned, None).await;
            let agent = names(acting);
            Err(SessionError::NotNoted { agent, error })
        }
    }
}

/// Claims the wake of each session that has mail. Nothing where another program is waking
/// one of them: two wakes for one message are one too many.
///
/// # Errors
/// Credentials; if the store failed.
pub(crate) async fn claim(
    bridge: &Bridge,
    acting: &Acting,
    mail: &[Mail],
    way: ClientWay,
) -> Result<Option<Vec<Claimed>>> {
    let mut claimed = Vec::new();
    for (member, mail) in acting.members.iter().zip(mail) {
        let Some(mark) = mail.newest_unread else {
            continue;
        };
        let caller = &member.caller;
        match bridge.claim_wake(caller, mark, way, LEASE).await {
            Ok(Some(wake)) => {
                let session = caller.session.clone();
                claimed.push(Claimed {
                    session,
                    wake,
                    mark,
                });
            }
            Ok(None) => {
                end(bridge, acting, claimed, WakeOutcome::Abandoned, None).await;
                return Ok(None);
            }
            // An older daemon keeps no such rows, and one that went away has written one
            // that ends by itself: the agent is woken all the same.
            Err(StoreError::Door(DoorError::Older { .. } | DoorError::Cut { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(claimed))
}

/// Says what came of claimed wakes. A row that cannot be ended is taken over by the next
/// program that wakes.
pub(crate) async fn end(
    bridge: &Bridge,
    acting: &Acting,
    claimed: Vec<Claimed>,
    outcome: WakeOutcome,
    reason: Option<String>,
) {
    for Claimed { session, wake, .. } in claimed {
        let mut members = acting.members.iter();
        if let Some(member) = members.find(|member| member.caller.session == session) {
            let ended = bridge.end_wake(&member.caller, &wake, outcome, reason.clone());
            let _ = ended.await;
        }
    }
}
