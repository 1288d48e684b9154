//! Waking an agent from a program that acts for it: one try at a time, each a row of the
//! store.

use std::time::Duration;

use super::news::names;
use super::notes::{AgentNote, Claimed, Notes, millis};
use super::{Acting, SessionError};
use crate::bridge::Bridge;
use crate::host;
use crate::model::MessageId;
use crate::model::door::DoorError;
use crate::model::wake::{ClientWay, Mail, WakeOutcome};
use crate::store::{Caller, Result, StoreError};

/// How long a claim holds: so long a try may take to lead to something.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// What came of the begin of a wake.
pub(crate) enum Begun {
    /// It is this program's. The agent counts as informed now.
    Here {
        claimed: Vec<Claimed>,
        /// What is noted of the agent now.
        told: AgentNote,
    },
    /// Another program wakes the agent, or announced its mail this moment, or that was read.
    Elsewhere,
    /// The agent was woken too often within the last hour.
    TooOften,
    /// The daemon is older than this way, and keeps no rows of it.
    UnknownWay,
}

/// Whether a wake that no row can be written for is made all the same: that two programs
/// make it is better than that none does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unclaimed {
    /// No other way is left.
    Made,
    /// Another way is tried first.
    PassedOver,
}

/// What came of the claims.
enum Claims {
    Made(Vec<Claimed>),
    Elsewhere,
    UnknownWay,
}

/// Begins a wake: claims it in the store, and notes that the agent hears of its mail now,
/// up to message `newest`. `is_due` looks once more at what is noted, when no other
/// program can change it.
///
/// # Errors
/// Credentials; if the store failed; if nothing can be noted. Nothing is claimed then.
pub(crate) async fn begin(
    bridge: &Bridge,
    (acting, notes): (&Acting, &Notes),
    (mail, newest): (&[Mail], i64),
    (way, unclaimed): (ClientWay, Unclaimed),
    is_due: impl FnOnce(&AgentNote) -> bool,
) -> std::result::Result<Begun, SessionError> {
    let boot = host::boot();
    let now = millis(boot.now);
    if !notes.told(&boot.id).may_wake(now) {
        return Ok(Begun::TooOften);
    }
    let claimed = match claims(bridge, acting, mail, way).await? {
        Claims::Made(claimed) => claimed,
        Claims::Elsewhere => return Ok(Begun::Elsewhere),
        Claims::UnknownWay if unclaimed == Unclaimed::PassedOver => return Ok(Begun::UnknownWay),
        Claims::UnknownWay => Vec::new(),
    };
    let noted = notes.change(&boot.id, |told| {
        if !is_due(told) {
            return None;
        }
        told.wake(newest, now);
        if way == ClientWay::Hook {
            // Its program ends with the wake: another one says what came of it. A claim
            // of before has ended where its session is claimed again.
            let again = |former: &Claimed| claimed.iter().any(|one| one.session == former.session);
            told.claimed.retain(|former| !again(former));
            told.claimed.extend_from_slice(&claimed);
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
/// one of them, where all mail was read, or the daemon does not know the way.
///
/// # Errors
/// Credentials; if the store failed.
pub(crate) async fn claim(
    bridge: &Bridge,
    acting: &Acting,
    mail: &[Mail],
    way: ClientWay,
) -> Result<Option<Vec<Claimed>>> {
    Ok(match claims(bridge, acting, mail, way).await? {
        Claims::Made(claimed) => Some(claimed),
        Claims::Elsewhere | Claims::UnknownWay => None,
    })
}

async fn claims(bridge: &Bridge, acting: &Acting, mail: &[Mail], way: ClientWay) -> Result<Claims> {
    let (mut claimed, mut is_read) = (Vec::new(), false);
    for (member, mail) in acting.members.iter().zip(mail) {
        let Some(mark) = mail.newest_unread else {
            continue;
        };
        let caller = &member.caller;
        let lost = match bridge.claim_wake(caller, mark, way, LEASE).await {
            Ok(Some(wake)) => {
                let session = caller.session.clone();
                claimed.push(Claimed {
                    session,
                    wake,
                    mark,
                });
                continue;
            }
            // It was read since the look, which leaves the mail of the others.
            Ok(None) if has_read(bridge, caller).await => {
                is_read = true;
                continue;
            }
            // Two wakes for one message are one too many.
            Ok(None) => Ok(Claims::Elsewhere),
            Err(StoreError::Door(error)) if does_not_know(&error, way) => Ok(Claims::UnknownWay),
            // An older daemon keeps no such rows, and one that went away has written one
            // that ends by itself: the agent is woken all the same.
            Err(StoreError::Door(DoorError::Older { .. } | DoorError::Cut { .. })) => continue,
            Err(error) => Err(error),
        };
        end(bridge, acting, claimed, WakeOutcome::Abandoned, None).await;
        return lost;
    }
    match claimed.is_empty() && is_read {
        true => Ok(Claims::Elsewhere),
        false => Ok(Claims::Made(claimed)),
    }
}

/// Whether a session has no unread mail now, as far as can be found out.
async fn has_read(bridge: &Bridge, caller: &Caller) -> bool {
    let mail = bridge.unread(std::slice::from_ref(&caller.session)).await;
    mail.is_ok_and(|mail| mail.iter().all(|mail| mail.unread == 0))
}

/// Whether a daemon refused this way as a word that it does not know.
fn does_not_know(error: &DoorError, way: ClientWay) -> bool {
    match error {
        DoorError::Malformed(what) | DoorError::Older { what, .. } => {
            what.contains(&format!("unknown variant `{}`", way.as_str()))
        }
        _ => false,
    }
}

/// Says of the wakes that the client's hook claimed that their mail was read: the program
/// that claimed one has ended with it, and the store knows only what was read through us.
/// `oldest` is the agent's oldest unread message.
pub(crate) async fn end_read(
    bridge: &Bridge,
    (acting, notes): (&Acting, &Notes),
    oldest: Option<MessageId>,
) {
    let read = taken(notes, |mark| oldest.is_none_or(|oldest| mark < oldest));
    end(bridge, acting, read, WakeOutcome::Verified, None).await;
}

/// Takes the claims about such messages out of the notes.
pub(crate) fn taken(notes: &Notes, is_over: impl Fn(MessageId) -> bool) -> Vec<Claimed> {
    let over = notes.change(&host::boot().id, |told| {
        let over = told.claimed.extract_if(.., |one| is_over(one.mark));
        over.collect()
    });
    // What cannot be noted stays for the next look; a row ends by itself at last.
    over.unwrap_or_default()
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
