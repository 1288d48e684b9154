//! The audit log: who did what, and which operator ordered it.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::host;
use crate::model::ConversationId;
use crate::store::Result;
use crate::store::rows::{Audit, Rows};

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
    rows.audit(&[row], now)
}

/// The user who gives an order, as an audit row names one.
pub(crate) fn ordered_by() -> Value {
    let caller = host::caller();
    json!({ "uid": caller.uid, "user": caller.name })
}
