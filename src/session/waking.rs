//! Waking an agent from a program that acts for it: one try at a time, each a row of the
//! store.

use std::time::Duration;

use super::Acting;
use super::notes::Claimed;
use crate::bridge::Bridge;
use crate::model::door::DoorError;
use crate::model::wake::{ClientWay, Mail, WakeOutcome};
use crate::store::{Result, StoreError};

/// How long a claim holds: so long a try may take to lead to something.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

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
