//! Settings and the audit log.

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::rate::RateLimits;
use crate::model::token::TokenStorage;
use crate::store::Result;
use crate::store::rows::{Audit, SettingRows};

impl SettingRows for MemoryRows {
    fn rate_limits(&mut self) -> Result<RateLimits> {
        Ok(self.at()?.limits)
    }

    fn audit(&mut self, rows: &[Audit], now: Timestamp) -> Result<()> {
        let tables = self.at()?;
        tables
            .audit
            .extend(rows.iter().map(|row| (row.clone(), now)));
        Ok(())
    }

    fn newest_audit(&mut self) -> Result<Option<Timestamp>> {
        Ok(self.at()?.audit.last().map(|(_, at)| *at))
    }

    fn token_storage(&mut self) -> Result<TokenStorage> {
        self.at()?;
        Ok(TokenStorage::Hashed)
    }

    fn signal(&mut self) -> Result<()> {
        self.at()?.work += 1;
        Ok(())
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
