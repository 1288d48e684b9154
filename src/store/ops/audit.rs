//! The audit log: who did what, and which operator ordered it.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::host;
use crate::model::ConversationId;
use crate::store::rows::{Audit, Rows};
use crate::store::{AuditCursor, AuditFilter, AuditPage, Result, asker};

/// The audit row of something that no session did.
pub(super) fn of(
    conversation: Option<&ConversationId>,
    action: impl Into<Cow<'static, str>>,
    details: Value,
) -> Audit {
    Audit {
        conversation: conversation.cloned(),
        side: None,
        action: action.into(),
        details,
    }
}

/// Writes the audit row of an operator's order, with the user who gave it.
///
/// # Errors
/// The engine's.
pub(super) fn order(
    rows: &mut dyn Rows,
    conversation: Option<&ConversationId>,
    action: impl Into<Cow<'static, str>>,
    details: Value,
    now: Timestamp,
) -> Result<()> {
    by_operator(rows, of(conversation, action, details), now)
}

/// The same of a whole row.
///
/// # Errors
/// The engine's.
pub(super) fn by_operator(rows: &mut dyn Rows, mut row: Audit, now: Timestamp) -> Result<()> {
    row.details["by"] = ordered_by();
    write(rows, vec![row], now)
}

/// The user who gives an order, as an audit row names one.
pub(crate) fn ordered_by() -> Value {
    match asker::of_this_write() {
        Some(uid) => json!({ "uid": uid, "user": host::user_name(uid) }),
        None => {
            let caller = host::caller();
            json!({ "uid": caller.uid, "user": caller.name })
        }
    }
}

/// Writes audit rows. What came through the daemon's door has the number of the user
/// at the other end beside its circumstances.
///
/// # Errors
/// The engine's.
pub(super) fn write(rows: &mut dyn Rows, mut all: Vec<Audit>, now: Timestamp) -> Result<()> {
    if let Some(uid) = asker::of_this_write() {
        for row in &mut all {
            if row.details.get("by").is_none() {
                row.details["uid"] = uid.into();
            }
        }
    }
    rows.audit(&all, now)
}

/// What a filter admits behind a cursor, or without one the newest of it.
///
/// # Errors
/// The engine's.
pub(crate) fn page(
    rows: &mut dyn Rows,
    filter: &AuditFilter,
    behind: Option<AuditCursor>,
) -> Result<AuditPage> {
    rows.hold_view()?;
    let entries = match behind {
        Some(AuditCursor(number)) => rows.audited_behind(number, filter)?,
        None => rows.audited(filter)?,
    };
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let is_full = behind.is_some() && entries.len() >= limit;
    let cursor = match entries.last() {
        Some(last) if is_full => last.cursor(),
        // What was not admitted is not looked at again.
        _ => AuditCursor(rows.newest_audit_id()?),
    };
    Ok(AuditPage {
        entries,
        cursor,
        is_full,
    })
}
