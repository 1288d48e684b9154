//! Settings and the audit log.

use crate::model::rate::RateLimits;
use crate::model::token::TokenStorage;
use crate::store::Result;
use crate::store::rows::SettingRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::statements::{Statements as _, text};
use crate::store::sqlite::written::Written as _;

impl SettingRows for SqliteRows {
    fn rate_limits(&mut self) -> Result<RateLimits> {
        self.run(|connection| {
            let mut limits = RateLimits::default();
            connection.all(
                "SELECT key, value FROM bridge_setting WHERE key GLOB 'rate.*'",
                [],
                |row| {
                    if let Ok(limit) = text(row, 1)?.parse() {
                        match &*text(row, 0)? {
                            "rate.per_minute" => limits.per_minute = limit,
                            "rate.per_hour" => limits.per_hour = limit,
                            "rate.per_day" => limits.per_day = limit,
                            _ => {}
                        }
                    }
                    Ok(())
                },
            )?;
            Ok(limits)
        })
    }

    fn token_storage(&mut self) -> Result<TokenStorage> {
        self.run(|connection| {
            let storage = connection.first(
                "SELECT value FROM bridge_setting WHERE key = 'token_storage'",
                [],
                |row| Ok(TokenStorage::from_word(&row.get::<_, String>(0)?)),
            )?;
            Ok(storage.flatten().unwrap_or(TokenStorage::Hashed))
        })
    }

    fn set_setting(&mut self, key: &'static str, value: &str) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_setting (key, value) VALUES (?1, ?2)
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    [key, value],
                )?
                .wrote(1, "bridge_setting")?;
            Ok(())
        })
    }
}
