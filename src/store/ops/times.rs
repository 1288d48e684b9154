//! The ends of conversations that daemons keep alive.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::audit;
use super::callers::PLAUSIBLE;
use crate::model::{ConversationId, SessionKey, timestamp};
use crate::store::executor::Transaction;
use crate::store::rows::{Audit, LastBeat, Rows};
use crate::store::{DaemonRef, Result};

/// An end that a renewal wrote lies this much beyond what it may: the clock was
/// wrong.
const BEYOND: SignedDuration = SignedDuration::from_hours(24);

/// Takes back what daemons wrote while their clock was far ahead: an end that a
/// renewal set and that no renewal could set today. Not by a clock that is behind
/// what was written last. Returns how many conversations that were.
///
/// # Errors
/// The engine's.
pub(crate) fn mend(transaction: &mut Transaction<'_>, now: Timestamp) -> Result<u64> {
    let rows = transaction.rows();
    let newest = rows.witness()?.newest;
    if newest.is_some_and(|newest| newest.duration_since(now) > PLAUSIBLE) {
        return Ok(0);
    }
    let beyond = now.checked_add(BEYOND).unwrap_or(Timestamp::MAX);
    let mut mended = 0;
    for renewed in rows.renewed_beyond(beyond)? {
        let life = SignedDuration::from_millis(renewed.life);
        if renewed.end <= beyond.checked_add(life).unwrap_or(Timestamp::MAX) {
            continue;
        }
        let id = &renewed.conversation;
        let until = now.checked_add(life).unwrap_or(Timestamp::UNIX_EPOCH);
        rows.set_end(id, until)?;
        rows.note_renewed(std::slice::from_ref(id), until, now)?;
        let details = json!({
            "expires_at": timestamp::to_text(until),
            "instead_of": timestamp::to_text(renewed.end),
        });
        let row = audit::of(Some(id), "renewal_taken_back", details);
        audit::write(rows, vec![row], now)?;
        mended += 1;
    }
    Ok(mended)
}

/// Whether any of these sessions' conversations can be renewed though it has expired:
/// most that expired belong to no session any more, and take no write lock.
///
/// # Errors
/// The engine's.
pub(crate) fn any_expired(
    rows: &mut dyn Rows,
    daemon: &DaemonRef,
    sessions: &[SessionKey],
    now: Timestamp,
) -> Result<bool> {
    let beats = rows.last_beats(daemon, sessions)?;
    Ok(beats.iter().any(|beat| is_to_go_on(beat, now)))
}

/// Renews the conversations that expired while the program that kept them alive
/// could not renew them. Returns the sessions of those that were renewed.
///
/// # Errors
/// The engine's.
pub(crate) fn renew_expired(
    transaction: &mut Transaction<'_>,
    daemon: &DaemonRef,
    sessions: &[SessionKey],
    (until, now): (Timestamp, Timestamp),
) -> Result<Vec<SessionKey>> {
    let rows = transaction.rows();
    let mut renewed = Vec::new();
    for beat in rows.last_beats(daemon, sessions)? {
        let Some(session) = sessions.get(beat.place) else {
            continue;
        };
        let id = &session.conversation;
        // The other side's may have renewed it a moment ago.
        if !is_to_go_on(&beat, now) || !rows.move_end(id, &beat.written, until)? {
            continue;
        }
        rows.note_renewed(std::slice::from_ref(id), until, now)?;
        let row = Audit {
            conversation: Some(id.clone()),
            side: Some(session.side),
            action: "renew_conversation".into(),
            details: json!({ "expires_at": timestamp::to_text(until), "daemon": daemon.id }),
        };
        audit::write(rows, vec![row], now)?;
        renewed.push(session.clone());
    }
    Ok(renewed)
}

/// A session that was kept alive until its conversation ended. An end before the
/// heartbeat was set on purpose.
fn is_to_go_on(beat: &LastBeat, now: Timestamp) -> bool {
    beat.beat <= beat.end && beat.end <= now
}

/// Moves the ends of conversations to those that a round of heartbeats asks for.
///
/// # Errors
/// The engine's.
pub(super) fn renew(
    rows: &mut dyn Rows,
    ends: &[(&ConversationId, Timestamp)],
    now: Timestamp,
) -> Result<()> {
    // One daemon renews all of its conversations to the same end.
    let Some(until) = ends.iter().map(|(_, end)| *end).max() else {
        return Ok(());
    };
    let renewed = rows.renew(ends)?;
    if renewed.is_empty() {
        return Ok(());
    }
    rows.note_renewed(&renewed, until, now)
}
