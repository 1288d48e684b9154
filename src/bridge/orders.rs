//! What operators say: orders with an end, limits, settings of the store.

use std::time::Duration;

use super::Bridge;
use crate::api::operations::{
    Order, RateLimitsNow, SetCapacity, SetPruneForeign, SetRateLimits, SetTokenStorage, TakeBack,
    TokenStorageNow,
};
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
        let order = Order {
            kind,
            subject,
            time,
        };
        self.ask_as_operator(order).await
    }

    /// Ends an order. `false` if it did not hold any more.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn take_back(&self, kind: ControlKind, subject: &str) -> Result<bool> {
        let subject = subject.to_owned();
        self.ask_as_operator(TakeBack { kind, subject }).await
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
        let session = session.clone();
        self.ask_as_operator(SetCapacity { session, capacity })
            .await
    }

    /// The limits that every sender keeps.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn rate_limits(&self) -> Result<RateLimits> {
        self.ask_openly(RateLimitsNow {}).await
    }

    /// Sets them.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn set_rate_limits(&self, limits: RateLimits) -> Result<()> {
        self.ask_as_operator(SetRateLimits { limits }).await
    }

    /// How new tokens are kept.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn token_storage(&self) -> Result<TokenStorage> {
        self.ask_openly(TokenStorageNow {}).await
    }

    /// Sets how new tokens are kept.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn set_token_storage(&self, storage: TokenStorage) -> Result<()> {
        self.ask_as_operator(SetTokenStorage { storage }).await
    }

    /// Sets whether housekeeping takes away rows of the Python bridge, too.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn set_prune_foreign(&self, prune: bool) -> Result<()> {
        self.ask_as_operator(SetPruneForeign { prune }).await
    }
}
