//! Which client acts for a session.

use jiff::Timestamp;
use serde_json::json;

use super::audit;
use super::callers::{self, authenticate};
use crate::store::executor::Transaction;
use crate::store::rows::{Audit, Rows};
use crate::store::{
    Boot, Caller, RegisteredSession, Registration, Result, Signal, StoreError, Verified,
};

/// Notes the client of the caller's session. Whether that is news.
///
/// # Errors
/// Credentials; the engine's.
pub(crate) fn register(
    transaction: &mut Transaction<'_>,
    caller: &Caller,
    registration: &Registration,
    now: Timestamp,
) -> Result<bool> {
    let rows = transaction.rows();
    let now = authenticate(rows, caller, now)?.now;
    let session = &caller.session;
    let before = rows.registration(session)?;
    let registration = registration.clone().after(before.as_ref());
    if before.as_ref() == Some(&registration) {
        return Ok(false);
    }
    rows.set_registration(session, &registration, now)?;
    let row = Audit {
        conversation: Some(session.conversation.clone()),
        side: Some(session.side),
        action: "register_agent".into(),
        details: json!({
            "client": registration.client,
            "version": registration.version,
            "pid": registration.process.map(|process| process.pid),
            "uid": registration.uid,
        }),
    };
    audit::write(rows, vec![row], now)?;
    rows.signal(Signal::Agents)?;
    transaction.ring();
    Ok(true)
}

/// The client of the caller's session.
///
/// # Errors
/// Credentials; the engine's.
pub(crate) fn of_caller(
    rows: &mut dyn Rows,
    caller: &Caller,
    now: Timestamp,
) -> Result<Option<Registration>> {
    authenticate(rows, caller, now)?;
    rows.registration(&caller.session)
}

/// The sessions whose client's process is of this boot and namespace, each with what its
/// conversation says.
///
/// # Errors
/// The engine's.
pub(crate) fn here(
    rows: &mut dyn Rows,
    boot: &Boot,
    uid: Option<u32>,
    now: Timestamp,
) -> Result<Vec<RegisteredSession>> {
    let found = rows.registrations(&boot.id, boot.pid_ns, uid)?;
    let sessions: Vec<_> = found.iter().map(|(session, _)| session.clone()).collect();
    let verified = callers::standing(rows, &sessions, now)?;
    let each = found.into_iter().zip(verified);
    Ok(each
        .map(|((session, registration), verified)| RegisteredSession {
            session,
            registration,
            verified,
        })
        .filter(|one| !is_over(&one.verified))
        .collect())
}

/// Whether the conversation is over for good, or is not there.
fn is_over(verified: &Result<Verified>) -> bool {
    matches!(
        verified,
        Err(StoreError::Closed(_) | StoreError::NoConversation(..))
    )
}
