//! Wakes: one at a time for each session, by a daemon or by the agent's own programs.

use std::time::Duration;

use jiff::Timestamp;

use super::callers::authenticate;
use crate::model::MessageId;
use crate::model::wake::WakeOutcome;
use crate::store::executor::Transaction;
use crate::store::rows::Rows;
use crate::store::{Boot, Caller, Result, WakeClaim, WakeEnd, WakeRef};

/// How long such a claim holds at most: until then no daemon wakes the session.
const LONGEST_LEASE: Duration = Duration::from_secs(60);

/// Claims a session's wake. An earlier one whose mail a program of the Python bridge read
/// has done what it was for, and stands in the way of none. `None` where another program
/// has it, and where the session's mail was read since it was looked at: there is nothing
/// to wake it for.
///
/// # Errors
/// The engine's.
pub(crate) fn claim(
    rows: &mut dyn Rows,
    claim: &WakeClaim<'_>,
    now: Timestamp,
) -> Result<Option<WakeRef>> {
    rows.verify_wake(claim.session, now)?;
    let mail = rows.mail(std::slice::from_ref(claim.session))?;
    match mail.first().and_then(|mail| mail.oldest_unread) {
        Some(_) => rows.claim(claim, now),
        None => Ok(None),
    }
}

/// Claims the caller's own wake.
///
/// # Errors
/// Credentials; the engine's.
pub(crate) fn claim_own(
    transaction: &mut Transaction<'_>,
    caller: &Caller,
    (mark, adapter): (MessageId, &str),
    lease: Duration,
    boot: &Boot,
    now: Timestamp,
) -> Result<Option<WakeRef>> {
    let rows = transaction.rows();
    authenticate(rows, caller, now)?;
    // No daemon's name begins so: what a daemon left open is not taken for this.
    let claimant = format!("agent of {}", caller.session);
    let wanted = WakeClaim {
        session: &caller.session,
        mark,
        adapter,
        claimant: &claimant,
        lease: lease.min(LONGEST_LEASE),
        boot,
    };
    claim(rows, &wanted, now)
}

/// Ends one of the caller's own wakes. Whether its mail was read, the store decides: the
/// caller may have looked before the newest came.
///
/// # Errors
/// Credentials; the engine's.
pub(crate) fn end_own(
    transaction: &mut Transaction<'_>,
    caller: &Caller,
    wake: &WakeRef,
    end: &WakeEnd<'_>,
    now: Timestamp,
) -> Result<bool> {
    let rows = transaction.rows();
    authenticate(rows, caller, now)?;
    if end.outcome == WakeOutcome::Verified {
        return rows.verify_wake(&caller.session, now);
    }
    rows.end_wake(wake, Some(&caller.session), end, now)
}
