//! Who acts for the fleet: one lease, taken by compare-and-set. No clock but the
//! watcher's own decides that a holder is gone.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::audit;
use crate::store::executor::Transaction;
use crate::store::{DaemonRef, Leader, Lease, Result, Signal, StoreError};

/// Takes the lease, if it is still the one that was seen.
///
/// # Errors
/// The engine's.
pub(crate) fn take(
    transaction: &mut Transaction<'_>,
    daemon: &DaemonRef,
    seen: Option<&Lease>,
    ttl: Duration,
    now: Timestamp,
) -> Result<Option<Leader>> {
    let rows = transaction.rows();
    let Some(epoch) = rows.take_lead(daemon, seen, ttl, now)? else {
        return Ok(None);
    };
    let details = json!({ "daemon": daemon.id, "epoch": epoch });
    audit::write(rows, vec![audit::of(None, "leader_changed", details)], now)?;
    rows.signal(Signal::Work)?;
    transaction.ring();
    Ok(Some(Leader {
        daemon: daemon.clone(),
        epoch,
    }))
}

/// Renews the lease, or finds out that another daemon acts.
///
/// # Errors
/// [`StoreError::NotLeading`].
pub(crate) fn renew(transaction: &mut Transaction<'_>, leader: &Leader) -> Result<()> {
    let rows = transaction.rows();
    if rows.renew_lead(leader)? {
        return Ok(());
    }
    let epoch = rows.acts(leader)?.err();
    Err(StoreError::NotLeading(epoch.unwrap_or(leader.epoch)))
}

/// Gives the lease back, so that no daemon need wait for its end.
///
/// # Errors
/// The engine's.
pub(crate) fn give_up(transaction: &mut Transaction<'_>, leader: &Leader) -> Result<()> {
    let rows = transaction.rows();
    rows.give_up_lead(leader)?;
    rows.signal(Signal::Work)?;
    transaction.ring();
    Ok(())
}
