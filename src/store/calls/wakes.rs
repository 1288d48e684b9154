//! Claims of wakes: one process at a time wakes a session.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{MessageId, SessionKey};
use crate::store::ops::wakes;
use crate::store::{Boot, Caller, Result, SpentWake, Store, WakeClaim, WakeEnd, WakeRef};

impl Store {
    /// Claims the right to wake a session about its mail up to `mark`. `None` if
    /// another process holds it under a lease that is not over, and if the session has no
    /// unread mail.
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
                wakes::claim(transaction.rows(), &claim, now)
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
                transaction.rows().end_wake(&wake, None, &end, now)
            })
            .await
    }

    /// For each of these sessions, in their order: its last wake, where that ended with no
    /// way left. Nothing where a fetch followed the last one.
    pub async fn spent_wakes(&self, sessions: &[SessionKey]) -> Result<Vec<Option<SpentWake>>> {
        let sessions = sessions.to_vec();
        self.reads
            .read("looking for failed wakes", move |rows| {
                rows.spent_wakes(&sessions)
            })
            .await
    }

    /// The same as [`Self::claim_wake`] for a program of the agent itself, by its token:
    /// its client's hook, or its tools. Counts as nothing that the agent did.
    ///
    /// # Errors
    /// Credentials.
    pub async fn claim_own_wake(
        &self,
        caller: &Caller,
        (mark, adapter): (MessageId, &str),
        lease: Duration,
        boot: &Boot,
        now: Timestamp,
    ) -> Result<Option<WakeRef>> {
        let (caller, boot, adapter) = (caller.clone(), boot.clone(), adapter.to_owned());
        self.normal
            .write("claiming a wake", move |transaction| {
                wakes::claim_own(transaction, &caller, (mark, &adapter), lease, &boot, now)
            })
            .await
    }

    /// Ends a wake of the caller's session. `false` if it is over already, if the claim was
    /// lost meanwhile, if the wake is another session's, and for one that ends as verified
    /// while mail up to its mark is unread.
    ///
    /// # Errors
    /// Credentials.
    pub async fn end_own_wake(
        &self,
        caller: &Caller,
        wake: &WakeRef,
        end: &WakeEnd<'_>,
        now: Timestamp,
    ) -> Result<bool> {
        let (caller, wake) = (caller.clone(), wake.clone());
        let (outcome, reason) = (end.outcome, end.reason.map(str::to_owned));
        self.normal
            .write("ending a wake", move |transaction| {
                let reason = reason.as_deref();
                let end = WakeEnd { outcome, reason };
                wakes::end_own(transaction, &caller, &wake, &end, now)
            })
            .await
    }
}
