//! A word to a session that has a task, has read all its mail and does not
//! move: mail, so that the way which wakes idle agents wakes this one. Mail that
//! waits already does that by itself.

use jiff::Timestamp;
use serde_json::json;

use crate::model::SessionKey;
use crate::store::Result;
use crate::store::rows::Rows;
use crate::text;

/// Most reminders of one task without a sign of progress. An agent that reads them
/// and does nothing is not helped by another, and each would be an edge of the
/// alert: it moves, and is stalled again.
const MOST: u64 = 3;

/// Reminds a session that was found stalled, in the transaction that says so.
///
/// # Errors
/// The engine's.
pub(super) fn remind(rows: &mut dyn Rows, session: &SessionKey, now: Timestamp) -> Result<()> {
    let mail = rows.mail(std::slice::from_ref(session))?;
    if mail.iter().any(|mail| mail.unread > 0) {
        return Ok(());
    }
    let Some(id) = rows.tasks_of(session)?.first().copied() else {
        return Ok(());
    };
    let Some(task) = rows.task(id)? else {
        return Ok(());
    };
    let (given, fence) = (task.changed_at, task.fence);
    let heard = task.progress_at.map_or(given, |noted| noted.max(given));
    if rows.notices_since(id, session, "reminder", heard)? >= MOST {
        return Ok(());
    }
    let words = format!(
        "You have task {id} ({}), without a report for {}. Continue and report:\n  \
         mcp-bridge task progress {id} --fence {fence} \"your progress\"\n  mcp-bridge task done {id} --fence {fence} \"your result\"\n  mcp-bridge task fail {id} --fence {fence} \"why\"\n\
         If you need more time, report it: task progress ... --busy-for 20m\n",
        task.title,
        text::age(heard, now),
    );
    // No `task_id`: this is said to this owner alone, and goes to no other.
    let metadata = json!({ "action_type": "info", "event": "reminder", "fence": fence });
    if let Some(message) = rows.insert_notice(session, &words, &metadata, now)? {
        rows.link_message(id, message)?;
    }
    Ok(())
}

/// Takes back what was not read: the session moves, or is gone, and a reminder
/// must be no debt of its own.
///
/// # Errors
/// The engine's.
pub(super) fn take_back(rows: &mut dyn Rows, session: &SessionKey, now: Timestamp) -> Result<()> {
    let unread = rows.unread_notices(session, "reminder")?;
    if unread.is_empty() {
        return Ok(());
    }
    rows.withdraw_messages(session, &unread, "withdrawn", now)
}
