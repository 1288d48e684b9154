//! Who calls, at what time, and what a call means by itself.

use jiff::{SignedDuration, Timestamp};

use crate::host;
use crate::model::{ConversationId, SessionKey, StoreName};
use crate::store::rows::{Party, Rows};
use crate::store::{Caller, Result, StoreError, Verified};

/// A caller's clock may be behind by so much and still be its own.
const BEHIND: SignedDuration = SignedDuration::from_secs(5);

/// Where no end was set in this boot the newest row tells the time, if it is not
/// itself of a clock that ran ahead.
pub(super) const PLAUSIBLE: SignedDuration = SignedDuration::from_mins(5);

/// Verifies a caller; inside a transaction, so that what follows rests on it.
/// `now` is the caller's own clock, which may be behind: what follows goes by the
/// time that comes back.
///
/// # Errors
/// Wrong, missing or expired credentials.
pub(crate) fn authenticate(
    rows: &mut dyn Rows,
    caller: &Caller,
    now: Timestamp,
) -> Result<Verified> {
    let (party, now) = party_and_time(rows, &caller.session, now)?;
    judge(party, caller, now)
}

/// Refuses a session of a conversation that has ended, to an operator as well.
///
/// # Errors
/// No such conversation, or one that was closed or has expired.
pub(crate) fn ensure_open(rows: &mut dyn Rows, session: &SessionKey, now: Timestamp) -> Result<()> {
    let (party, now) = party_and_time(rows, session, now)?;
    end_of(&party, &session.conversation, now).map(drop)
}

fn party_and_time(
    rows: &mut dyn Rows,
    session: &SessionKey,
    now: Timestamp,
) -> Result<(Party, Timestamp)> {
    let Some(party) = rows.party(session)? else {
        return Err(nowhere(rows.store(), &session.conversation));
    };
    let now = match set_time(&party, now) {
        Some(now) => now,
        None => row_time(rows.newest_audit()?, now),
    };
    Ok((party, now))
}

/// Verifies many callers, each with its own answer.
///
/// # Errors
/// The engine's.
pub(crate) fn verify(
    rows: &mut dyn Rows,
    callers: &[Caller],
    now: Timestamp,
) -> Result<Vec<Result<Verified>>> {
    let sessions: Vec<_> = callers
        .iter()
        .map(|caller| caller.session.clone())
        .collect();
    each(rows, &sessions, now, |place, party, now| {
        judge(party, &callers[place], now)
    })
}

/// What the conversations of sessions say, each with its own answer, to a caller that
/// needs no token: a daemon, of the sessions of its machine.
///
/// # Errors
/// The engine's.
pub(crate) fn standing(
    rows: &mut dyn Rows,
    sessions: &[SessionKey],
    now: Timestamp,
) -> Result<Vec<Result<Verified>>> {
    each(rows, sessions, now, |place, party, now| {
        verified(party, &sessions[place].conversation, now)
    })
}

/// Judges sessions by what their conversations say, each at its time.
fn each(
    rows: &mut dyn Rows,
    sessions: &[SessionKey],
    now: Timestamp,
    judge: impl Fn(usize, Party, Timestamp) -> Result<Verified>,
) -> Result<Vec<Result<Verified>>> {
    let parties = rows.parties(sessions)?;
    let mut by_rows = None;
    let mut answers = Vec::with_capacity(sessions.len());
    for (place, party) in parties.into_iter().enumerate() {
        answers.push(match party {
            Ok(Some(party)) => {
                let now = match (set_time(&party, now), by_rows) {
                    (Some(at), _) | (None, Some(at)) => at,
                    (None, None) => *by_rows.insert(row_time(rows.newest_audit()?, now)),
                };
                judge(place, party, now)
            }
            Ok(None) => Err(nowhere(rows.store(), &sessions[place].conversation)),
            Err(unreadable) => Err(unreadable),
        });
    }
    Ok(answers)
}

pub(crate) fn nowhere(store: &StoreName, id: &ConversationId) -> StoreError {
    StoreError::NoConversation(id.clone(), store.clone())
}

/// Whether a caller is the session that it says it is. The token is checked first:
/// a caller that does not have it learns nothing else.
///
/// # Errors
/// Wrong or expired credentials.
pub(crate) fn judge(party: Party, caller: &Caller, now: Timestamp) -> Result<Verified> {
    if !caller.token.matches(&party.token) {
        return Err(StoreError::WrongToken(caller.session.clone()));
    }
    verified(party, &caller.session.conversation, now)
}

fn verified(party: Party, id: &ConversationId, now: Timestamp) -> Result<Verified> {
    let expires_at = end_of(&party, id, now)?;
    Ok(Verified {
        now,
        expires_at,
        label: party.label,
        role: party.role,
        partner_role: party.partner_role,
    })
}

/// When a conversation ends that has not ended yet.
fn end_of(party: &Party, id: &ConversationId, now: Timestamp) -> Result<Timestamp> {
    if party.closed {
        return Err(StoreError::Closed(id.clone()));
    }
    // An end that cannot be read is an end that has passed: fail closed.
    let expires_at = party.expires_at.unwrap_or(Timestamp::UNIX_EPOCH);
    if expires_at > now {
        return Ok(expires_at);
    }
    Err(StoreError::Expired {
        id: id.clone(),
        expired_at: expires_at,
        now,
    })
}

/// The time at a caller's: its own clock, unless the end of its conversation was
/// set at a time from which more has passed. `None` if that is not known, because
/// the end was set in another boot, or by the Python bridge.
pub(crate) fn set_time(party: &Party, own: Timestamp) -> Option<Timestamp> {
    let set = party.set.as_ref()?;
    let boot = host::boot();
    if set.boot_id != boot.id || set.boot_id.is_empty() {
        return None;
    }
    let passed = SignedDuration::try_from(boot.now.saturating_sub(set.boot)).ok()?;
    let known = set.at.checked_add(passed).unwrap_or(Timestamp::MAX);
    Some(later(own, known))
}

/// The same where only rows tell: the newest one of any program counts.
pub(crate) fn row_time(newest: Option<Timestamp>, own: Timestamp) -> Timestamp {
    let newest = newest.filter(|at| at.duration_since(own) <= PLAUSIBLE);
    newest.map_or(own, |newest| later(own, newest))
}

fn later(own: Timestamp, known: Timestamp) -> Timestamp {
    if known.duration_since(own) > BEHIND {
        known
    } else {
        own
    }
}

/// The agent itself called again, so it has seen what an earlier fetch wrote to
/// it: that is acknowledged now.
pub(crate) fn came_back(rows: &mut dyn Rows, caller: &Caller, now: Timestamp) -> Result<()> {
    rows.acknowledge_confirmed(&caller.session, now)
}
