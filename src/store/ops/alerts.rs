//! Alerts: open from when they are raised until their matter recovers; and what
//! operators said: drain, hold, mute, each until its end.

use jiff::Timestamp;
use serde_json::json;

use super::audit;
use crate::model::alert::AlertKind;
use crate::store::executor::Transaction;
use crate::store::rows::{Audit, Raise, Rows};
use crate::store::{AlertNote, Control, ControlKind, Leader, NewAlert, Result, Signal, StoreError};

/// Raises an alert unless one of its kind is open for its subject. Whether it is
/// new.
///
/// # Errors
/// [`StoreError::NotLeading`].
pub(crate) fn raise(
    transaction: &mut Transaction<'_>,
    leader: Option<&Leader>,
    alert: &NewAlert,
    now: Timestamp,
) -> Result<bool> {
    let rows = transaction.rows();
    ensure_acts(rows, leader)?;
    let raise = Raise {
        kind: alert.kind,
        subject: &alert.subject,
        session: alert.session.as_ref(),
        task: None,
        text: &alert.text,
        by: &alert.by,
    };
    let new = begin(rows, &raise, now)?;
    if new && alert.told {
        rows.note_all_told(alert.kind, &alert.subject)?;
    }
    Ok(new)
}

/// Ends the alert of this kind about the subject. Whether there was one.
///
/// # Errors
/// [`StoreError::NotLeading`].
pub(crate) fn recover(
    transaction: &mut Transaction<'_>,
    leader: Option<&Leader>,
    kind: AlertKind,
    subject: &str,
    now: Timestamp,
) -> Result<bool> {
    let rows = transaction.rows();
    ensure_acts(rows, leader)?;
    end(rows, kind, subject, now)
}

/// Raises an alert, if none of its kind is open for its subject, and writes down that it
/// did. Its text is not for the audit log: a task's title may stand in it.
///
/// # Errors
/// The engine's.
pub(super) fn begin(rows: &mut dyn Rows, raise: &Raise<'_>, now: Timestamp) -> Result<bool> {
    let new = rows.raise(raise, now)?;
    if new {
        let mut details = json!({
            "kind": raise.kind, "subject": raise.subject, "raised_by": raise.by,
        });
        if let Some(task) = raise.task {
            details["task_id"] = task.0.into();
        }
        let row = Audit {
            conversation: raise.session.map(|session| session.conversation.clone()),
            side: raise.session.map(|session| session.side),
            action: "alert_raised".into(),
            details,
        };
        audit::write(rows, vec![row], now)?;
    }
    Ok(new)
}

/// Ends one, if it is open, and writes that down.
///
/// # Errors
/// The engine's.
pub(super) fn end(
    rows: &mut dyn Rows,
    kind: AlertKind,
    subject: &str,
    now: Timestamp,
) -> Result<bool> {
    let ended = rows.recover(kind, subject, now)?;
    if ended {
        let details = json!({ "kind": kind, "subject": subject });
        audit::write(rows, vec![audit::of(None, "alert_ended", details)], now)?;
    }
    Ok(ended)
}

/// Notes what was announced.
///
/// # Errors
/// [`StoreError::NotLeading`].
pub(crate) fn note(
    transaction: &mut Transaction<'_>,
    leader: &Leader,
    notes: &[AlertNote],
) -> Result<()> {
    let rows = transaction.rows();
    ensure_acts(rows, Some(leader))?;
    notes.iter().try_for_each(|note| rows.note_told(note))
}

/// Writes down what an operator said.
///
/// # Errors
/// The engine's.
pub(crate) fn set_control(transaction: &mut Transaction<'_>, control: &Control) -> Result<()> {
    let rows = transaction.rows();
    rows.set_control(control)?;
    let details = json!({ "subject": control.subject, "until": control.until.to_string() });
    let action = format!("{}_on", control.kind.as_str());
    audit::order(rows, None, action, details, control.since)?;
    rows.signal(Signal::Work)?;
    transaction.ring();
    Ok(())
}

/// Takes it back. Whether it held.
///
/// # Errors
/// The engine's.
pub(crate) fn clear_control(
    transaction: &mut Transaction<'_>,
    kind: ControlKind,
    subject: &str,
    now: Timestamp,
) -> Result<bool> {
    let rows = transaction.rows();
    let held = rows
        .delete_control(kind, subject)?
        .is_some_and(|until| until > now);
    if held {
        let action = format!("{}_off", kind.as_str());
        audit::order(rows, None, action, json!({ "subject": subject }), now)?;
    }
    rows.signal(Signal::Work)?;
    transaction.ring();
    Ok(held)
}

/// Refuses a writer that does not lead any more, inside the transaction of its write.
pub(super) fn ensure_acts(rows: &mut dyn Rows, leader: Option<&Leader>) -> Result<()> {
    match leader {
        Some(leader) => rows.acts(leader)?.map_err(StoreError::NotLeading),
        None => Ok(()),
    }
}
