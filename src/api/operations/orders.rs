//! What operators say: orders with an end, limits, settings of the store.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{At, Operation, Rights, Route};
use crate::clock;
use crate::model::SessionKey;
use crate::model::rate::RateLimits;
use crate::model::token::TokenStorage;
use crate::model::wire::{object, seconds};
use crate::store::{AuditFilter, Control, ControlKind, Result};

/// Gives the orchestrator an order that holds for some time.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// To do what.
    pub kind: ControlKind,
    /// With whom: a session, `host:NAME`, `fleet`, or an alert's kind.
    pub subject: String,
    /// For how long.
    #[serde(rename = "seconds", with = "seconds")]
    #[schemars(with = "f64")]
    pub time: Duration,
}

impl Operation for Order {
    const ROUTE: Route = Route::post(
        "order",
        Rights::OPERATOR,
        "Drains, holds or mutes, for a time.",
    );
    type Answer = Control;

    async fn run(self, at: At<'_>) -> Result<Control> {
        let since = clock::now();
        let control = Control {
            kind: self.kind,
            subject: self.subject,
            since,
            until: since.checked_add(self.time).unwrap_or(Timestamp::MAX),
        };
        at.store.set_control(&control).await?;
        Ok(control)
    }
}

/// Ends an order. `false` if it did not hold any more.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeBack {
    /// To do what.
    pub kind: ControlKind,
    /// With whom.
    pub subject: String,
}

impl Operation for TakeBack {
    const ROUTE: Route = Route::post("order/take-back", Rights::OPERATOR, "Ends an order.");
    type Answer = bool;

    async fn run(self, at: At<'_>) -> Result<bool> {
        let now = clock::now();
        let controls = at.store.controls(now).await?;
        let held = controls
            .iter()
            .any(|control| control.kind == self.kind && control.subject == self.subject);
        let cleared = at.store.clear_control(self.kind, &self.subject, now);
        match cleared.await? && held {
            false if at.is_repeated => self.was_done_just_now(at).await,
            done => Ok(done),
        }
    }
}

impl TakeBack {
    /// Whether the audit log says that it was taken back a moment ago: by the first of
    /// two tries, whose answer was lost.
    async fn was_done_just_now(&self, at: At<'_>) -> Result<bool> {
        let filter = AuditFilter {
            action: Some(format!("{}_off", self.kind.as_str())),
            limit: 100,
            ..AuditFilter::default()
        };
        let since = clock::now().checked_sub(JUST_NOW).unwrap_or(Timestamp::MIN);
        let rows = at.store.audit(&filter).await?;
        Ok(rows.iter().any(|row| {
            let is_late = row.at.is_some_and(|at| at >= since);
            is_late && row.details["subject"] == *self.subject
        }))
    }
}

/// Longer than a client tries again.
const JUST_NOW: Duration = Duration::from_mins(1);

/// Sets how many tasks a session may have.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCapacity {
    /// Which session.
    pub session: SessionKey,
    /// Number of tasks; none leaves it to the orchestrator.
    #[serde(default)]
    pub capacity: Option<u32>,
}

impl Operation for SetCapacity {
    const ROUTE: Route = Route::post("capacity", Rights::OPERATOR, "Sets a session's capacity.");
    type Answer = ();

    async fn run(self, at: At<'_>) -> Result<()> {
        at.store
            .set_session_capacity(&self.session, self.capacity)
            .await
    }
}

/// The limits that every sender keeps.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RateLimitsNow {}

impl Operation for RateLimitsNow {
    const ROUTE: Route = Route::get("limits", Rights::ANYONE, "Shows the rate limits.");
    type Answer = RateLimits;

    async fn run(self, at: At<'_>) -> Result<RateLimits> {
        at.store.rate_limits().await
    }
}

/// Sets them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRateLimits {
    /// The new ones.
    #[serde(deserialize_with = "object")]
    pub limits: RateLimits,
}

impl Operation for SetRateLimits {
    const ROUTE: Route = Route::post("limits/set", Rights::OPERATOR, "Sets the rate limits.");
    type Answer = ();

    async fn run(self, at: At<'_>) -> Result<()> {
        at.store.set_rate_limits(self.limits).await
    }
}

/// Sets how tokens of new conversations are kept.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetTokenStorage {
    /// How.
    pub storage: TokenStorage,
}

impl Operation for SetTokenStorage {
    const ROUTE: Route = Route::post(
        "token-storage/set",
        Rights::OPERATOR,
        "Sets how tokens of new conversations are kept.",
    );
    type Answer = ();

    async fn run(self, at: At<'_>) -> Result<()> {
        at.store.set_token_storage(self.storage).await
    }
}

/// How tokens of new conversations are kept.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct TokenStorageNow {}

impl Operation for TokenStorageNow {
    const ROUTE: Route = Route::get(
        "token-storage",
        Rights::ANYONE,
        "Shows how tokens of new conversations are kept.",
    );
    type Answer = TokenStorage;

    async fn run(self, at: At<'_>) -> Result<TokenStorage> {
        at.store.token_storage().await
    }
}

/// Sets whether housekeeping takes away rows of the Python bridge, too.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPruneForeign {
    /// Whether.
    pub prune: bool,
}

impl Operation for SetPruneForeign {
    const ROUTE: Route = Route::post(
        "prune-foreign/set",
        Rights::OPERATOR,
        "Sets whether rows of the Python bridge are deleted, too.",
    );
    type Answer = ();

    async fn run(self, at: At<'_>) -> Result<()> {
        at.store.set_prune_foreign(self.prune).await
    }
}
