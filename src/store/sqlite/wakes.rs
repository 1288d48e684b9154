//! Wakes: each a row, claimed by compare-and-set, so that the daemon, an MCP
//! server and a hook never wake one session twice for the same mail.

use async_trait::async_trait;
use jiff::Timestamp;

use super::SqliteStore;
use crate::store::{Result, WakeClaim, WakeEnd, WakeRef, Wakes};

#[async_trait]
impl Wakes for SqliteStore {
    async fn claim_wake(&self, claim: &WakeClaim<'_>, now: Timestamp) -> Result<Option<WakeRef>> {
        let (session, boot) = (claim.session.clone(), claim.boot.clone());
        let (adapter, claimant) = (claim.adapter.to_owned(), claim.claimant.to_owned());
        let (mark, lease) = (claim.mark, claim.lease);
        self.normal
            .write("claiming a wake", move |transaction| {
                let claim = WakeClaim {
                    session: &session,
                    mark,
                    adapter: &adapter,
                    claimant: &claimant,
                    lease,
                    boot: &boot,
                };
                transaction.rows().claim(&claim, now)
            })
            .await
    }

    async fn end_wake(&self, wake: &WakeRef, end: &WakeEnd<'_>, now: Timestamp) -> Result<bool> {
        let wake = wake.clone();
        let (outcome, reason) = (end.outcome, end.reason.map(str::to_owned));
        self.normal
            .write("ending a wake", move |transaction| {
                let end = WakeEnd {
                    outcome,
                    reason: reason.as_deref(),
                };
                transaction.rows().end_wake(&wake, &end, now)
            })
            .await
    }
}
