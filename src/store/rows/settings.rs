//! Settings that all programs on a store share, and the audit log.

use crate::model::rate::RateLimits;
use crate::model::token::TokenStorage;
use crate::store::Result;

/// Operations on settings and the audit log.
pub trait SettingRows {
    /// The limits that every sender keeps.
    ///
    /// # Errors
    /// The engine's.
    fn rate_limits(&mut self) -> Result<RateLimits>;

    /// How tokens of new conversations are kept.
    ///
    /// # Errors
    /// The engine's.
    fn token_storage(&mut self) -> Result<TokenStorage>;

    /// Writes a setting.
    ///
    /// # Errors
    /// The engine's.
    fn set_setting(&mut self, key: &'static str, value: &str) -> Result<()>;
}
