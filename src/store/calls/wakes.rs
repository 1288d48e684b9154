//! Who wakes whom: one at a time.

use jiff::Timestamp;

use crate::store::{Result, Store, WakeClaim, WakeEnd, WakeRef};

impl Store {
    /// Claims the right to wake a session about its mail up to `mark`. `None`
    /// if somebody holds it and his lease is not over.
    pub async fn claim_wake(
        &self,
        claim: &WakeClaim<'_>,
        now: Timestamp,
    ) -> Result<Option<WakeRef>> {
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

    /// Ends a claimed wake. `false` if the claim was lost meanwhile.
    pub async fn end_wake(
        &self,
        wake: &WakeRef,
        end: &WakeEnd<'_>,
        now: Timestamp,
    ) -> Result<bool> {
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
