//! Settings that all programs on a store share, and the audit log.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

use crate::model::rate::RateLimits;
use crate::model::token::TokenStorage;
use crate::model::{ConversationId, Side};
use crate::store::Result;

/// A row of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// What it is about.
    pub conversation: Option<ConversationId>,
    /// Who did it.
    pub side: Option<Side>,
    /// A word of the Python bridge's or of ours.
    pub action: Cow<'static, str>,
    /// No message body and no secret.
    pub details: Value,
}

/// Operations on settings and the audit log.
pub trait SettingRows {
    /// The limits that every sender keeps.
    ///
    /// # Errors
    /// The engine's.
    fn rate_limits(&mut self) -> Result<RateLimits>;

    /// Writes audit rows, in order.
    ///
    /// # Errors
    /// The engine's.
    fn audit(&mut self, rows: &[Audit], now: Timestamp) -> Result<()>;

    /// When the newest audit row was written.
    ///
    /// # Errors
    /// The engine's.
    fn newest_audit(&mut self) -> Result<Option<Timestamp>>;

    /// How tokens of new conversations are kept.
    ///
    /// # Errors
    /// The engine's.
    fn token_storage(&mut self) -> Result<TokenStorage>;

    /// Counts that there is work for an orchestrator.
    ///
    /// # Errors
    /// The engine's.
    fn signal(&mut self) -> Result<()>;

    /// Writes a setting.
    ///
    /// # Errors
    /// The engine's.
    fn set_setting(&mut self, key: &'static str, value: &str) -> Result<()>;
}
