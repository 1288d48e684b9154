//! What operators say: orders with an end, limits, settings of the store.

use std::time::Duration;

use jiff::Timestamp;

use super::Bridge;
use crate::clock;
use crate::model::SessionKey;
use crate::model::rate::RateLimits;
use crate::model::token::TokenStorage;
use crate::store::{Control, ControlKind, Result};

impl Bridge {
    /// Gives the orchestrator an order that holds for this time.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn order(
        &self,
        kind: ControlKind,
        subject: String,
        time: Duration,
    ) -> Result<Control> {
        let since = clock::now();
        let control = Control {
            kind,
            subject,
            since,
            until: since.checked_add(time).unwrap_or(Timestamp::MAX),
        };
        self.store.set_control(&control).await?;
        Ok(control)
    }

    /// Takes an order back. `false` if it did not hold any more.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn take_back(&self, kind: ControlKind, subject: &str) -> Result<bool> {
        let now = clock::now();
        let controls = self.store.controls(now).await?;
        let held = controls
            .iter()
            .any(|control| control.kind == kind && control.subject == subject);
        Ok(self.store.clear_control(kind, subject, now).await? && held)
    }

    /// How many tasks a session may have; `None` leaves it to the orchestrator.
    ///
    /// # Errors
    /// No such conversation.
    pub async fn set_session_capacity(
        &self,
        session: &SessionKey,
        capacity: Option<u32>,
    ) -> Result<()> {
        self.store.set_session_capacity(session, capacity).await
    }

    /// The limits that every sender keeps.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn rate_limits(&self) -> Result<RateLimits> {
        self.store.rate_limits().await
    }

    /// Sets them.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn set_rate_limits(&self, limits: RateLimits) -> Result<()> {
        self.store.set_rate_limits(limits).await
    }

    /// How new tokens are kept.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn token_storage(&self) -> Result<TokenStorage> {
        self.store.token_storage().await
    }

    /// Sets how new tokens are kept.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn set_token_storage(&self, storage: TokenStorage) -> Result<()> {
        self.store.set_token_storage(storage).await
    }

    /// Sets whether housekeeping takes away rows of the Python bridge, too.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn set_prune_foreign(&self, prune: bool) -> Result<()> {
        self.store.set_prune_foreign(prune).await
    }
}
