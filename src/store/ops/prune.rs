//! Housekeeping: what ended long ago is taken away.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::alerts::ensure_acts;
use super::settings::PRUNE_FOREIGN;
use crate::store::executor::Transaction;
use crate::store::rows::{Rows, Scope};
use crate::store::{Leader, Pruned, Result, Retention};

/// Takes one part of everything that is due.
///
/// # Errors
/// [`crate::store::StoreError::NotLeading`].
pub(crate) fn part(
    transaction: &mut Transaction<'_>,
    leader: Option<&Leader>,
    retention: &Retention,
    now: Timestamp,
) -> Result<Pruned> {
    let rows = transaction.rows();
    ensure_acts(rows, leader)?;
    let ago = |time: Duration| {
        let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        now.checked_sub(time).unwrap_or(Timestamp::UNIX_EPOCH)
    };
    let scope = scope(rows)?;
    let old = ago(retention.messages);
    let messages = rows.delete_messages(scope, old)?;
    let conversations = rows.delete_conversations(scope, old)?;
    let audit = rows.delete_audit(scope, ago(retention.audit))?;
    rows.delete_orphans(scope)?;
    let wakes = rows.delete_wakes(old)?;
    let tasks = rows.delete_tasks(ago(retention.tasks))?;
    let alerts = rows.delete_alerts(ago(retention.alerts))?;
    rows.delete_controls(ago(retention.alerts))?;
    rows.delete_daemons(ago(retention.audit))?;
    // Silently: nothing recovered.
    rows.end_moot_alerts(now)?;
    rows.note_pruned(now)?;
    Ok(Pruned {
        messages,
        conversations,
        audit,
        tasks,
        alerts,
        wakes,
    })
}

/// In a store that the Python bridge made, the rows of the shared tables that we did
/// not write are its own, until the operator says otherwise.
fn scope(rows: &mut dyn Rows) -> Result<Scope> {
    let adopted = rows.setting("origin")?.as_deref() == Some("adopted");
    let allowed = rows.setting(PRUNE_FOREIGN)?.as_deref() == Some("on");
    Ok(match adopted && !allowed {
        true => Scope::Ours,
        false => Scope::All,
    })
}
