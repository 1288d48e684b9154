//! Settings and the audit log.

use super::MemoryRows;
use crate::model::rate::RateLimits;
use crate::model::token::TokenStorage;
use crate::store::Result;
use crate::store::rows::SettingRows;

impl SettingRows for MemoryRows {
    fn rate_limits(&mut self) -> Result<RateLimits> {
        Ok(self.at()?.limits)
    }

    fn token_storage(&mut self) -> Result<TokenStorage> {
        self.at()?;
        Ok(TokenStorage::Hashed)
    }

    fn set_setting(&mut self, key: &'static str, value: &str) -> Result<()> {
        let tables = self.at()?;
        let Ok(number) = value.parse() else {
            return Ok(());
        };
        match key {
            "rate.per_minute" => tables.limits.per_minute = number,
            "rate.per_hour" => tables.limits.per_hour = number,
            "rate.per_day" => tables.limits.per_day = number,
            _ => {}
        }
        Ok(())
    }
}
