//! Wakes that an agent's own programs claim.

use std::time::Duration;

use super::Bridge;
use crate::api::operations::{ClaimWake, EndWake};
use crate::model::MessageId;
use crate::model::wake::{ClientWay, WakeOutcome};
use crate::store::{Caller, Result, WakeRef};

impl Bridge {
    /// Claims the right to wake this session's agent about mail up to `mark`. `None`
    /// where another program has it, or none of the session's mail is unread any more.
    ///
    /// # Errors
    /// Credentials.
    pub async fn claim_wake(
        &self,
        caller: &Caller,
        mark: MessageId,
        way: ClientWay,
        lease: Duration,
    ) -> Result<Option<WakeRef>> {
        self.ask_as(caller, ClaimWake { mark, way, lease }).await
    }

    /// Reports the result of a wake. `false` if the claim was lost meanwhile.
    ///
    /// # Errors
    /// Credentials.
    pub async fn end_wake(
        &self,
        caller: &Caller,
        wake: &WakeRef,
        outcome: WakeOutcome,
        reason: Option<String>,
    ) -> Result<bool> {
        let wake = wake.clone();
        let end = EndWake {
            wake,
            outcome,
            reason,
        };
        self.ask_as(caller, end).await
    }
}
