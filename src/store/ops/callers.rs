//! Who calls, at what time, and what a call means by itself.

use jiff::{SignedDuration, Timestamp};

use crate::host;
use crate::store::rows::{EndSet, Rows};
use crate::store::{Caller, Result, StoreError, Verified};

/// A caller's clock may be behind by so much and still be its own.
const BEHIND: SignedDuration = SignedDuration::from_secs(5);

/// Where no end was set in this boot the newest row tells the time, if it is not
/// itself of a clock that ran ahead.
const PLAUSIBLE: SignedDuration = SignedDuration::from_mins(5);

/// Verifies a caller.
///
/// # Errors
/// Wrong, missing or expired credentials. The token is checked first: a caller
/// that does not have it learns nothing else.
pub(crate) fn authenticate(
    rows: &mut dyn Rows,
    caller: &Caller,
    now: Timestamp,
) -> Result<Verified> {
    let id = &caller.session.conversation;
    let Some(party) = rows.party(&caller.session)? else {
        return Err(StoreError::NoConversation(id.clone(), rows.store().into()));
    };
    let now = match party.set.as_ref().and_then(|set| passed_since(set, now)) {
        Some(now) => now,
        None => {
            let newest = rows.newest_audit()?;
            let newest = newest.filter(|at| at.duration_since(now) <= PLAUSIBLE);
            newest.map_or(now, |newest| later(now, newest))
        }
    };
    if !caller.token.matches(&party.token) {
        return Err(StoreError::WrongToken(caller.session.clone()));
    }
    if party.closed {
        return Err(StoreError::Closed(id.clone()));
    }
    // An end that cannot be read is an end that has passed: fail closed.
    let expires_at = party.expires_at.unwrap_or(Timestamp::UNIX_EPOCH);
    if expires_at <= now {
        return Err(StoreError::Expired {
            id: id.clone(),
            expired_at: expires_at,
            now,
        });
    }
    Ok(Verified {
        now,
        expires_at,
        label: party.label,
        role: party.role,
        partner_role: party.partner_role,
    })
}

/// The time at a caller's: its own clock, unless the end of its conversation was
/// set at a time from which more has passed. `None` if that is not known, because
/// the end was set in another boot.
fn passed_since(set: &EndSet, own: Timestamp) -> Option<Timestamp> {
    let boot = host::boot();
    if set.boot_id != boot.id || set.boot_id.is_empty() {
        return None;
    }
    let passed = SignedDuration::try_from(boot.now.saturating_sub(set.boot)).ok()?;
    let known = set.at.checked_add(passed).unwrap_or(Timestamp::MAX);
    Some(later(own, known))
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
