//! Wakes that an agent's own programs claim: one wakes at a time, and a daemon leaves
//! the session alone meanwhile.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{At, Operation, Rights, Route};
use crate::model::MessageId;
use crate::model::wake::{ClientWay, WakeOutcome};
use crate::model::wire::{object, seconds};
use crate::store::{Result, WakeEnd, WakeRef};
use crate::text::shown::shown;
use crate::{clock, host};

/// Characters of a reason that are kept.
const LONGEST_REASON: usize = 200;

/// Claims the right to wake the session's own agent. The answer is `null` if another
/// program is waking it, and if the session has no unread mail.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimWake {
    /// About mail up to this message.
    pub mark: MessageId,
    /// By which way.
    pub way: ClientWay,
    /// How long the right is needed; at most a minute.
    #[serde(rename = "lease_seconds", with = "seconds")]
    #[schemars(with = "f64")]
    pub lease: Duration,
}

impl Operation for ClaimWake {
    const ROUTE: Route = Route::once(
        "wake/claim",
        Rights::SESSION,
        "Claims the right to wake the session's agent.",
    );
    type Answer = Option<WakeRef>;

    async fn run(self, at: At<'_>) -> Result<Option<WakeRef>> {
        let caller = at.caller::<Self>()?;
        let what = (self.mark, self.way.as_str());
        let boot = host::boot();
        at.store
            .claim_own_wake(caller, what, self.lease, &boot, clock::now())
            .await
    }
}

/// Ends a claimed wake. The answer is `false` if it is over already, if the claim was lost
/// meanwhile, and for `verified` while mail up to the mark is unread.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndWake {
    /// Which.
    #[serde(deserialize_with = "object")]
    pub wake: WakeRef,
    /// The result.
    pub outcome: WakeOutcome,
    /// Why, for people; never a text of the mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Operation for EndWake {
    const ROUTE: Route = Route::post("wake/end", Rights::SESSION, "Reports the result of a wake.");
    type Answer = bool;

    async fn run(self, at: At<'_>) -> Result<bool> {
        let caller = at.caller::<Self>()?;
        let reason = self.reason.map(|reason| {
            let short: String = reason.chars().take(LONGEST_REASON).collect();
            shown(&short).into_owned()
        });
        let end = WakeEnd {
            outcome: self.outcome,
            reason: reason.as_deref(),
        };
        at.store
            .end_own_wake(caller, &self.wake, &end, clock::now())
            .await
    }
}
