//! Settings.

use crate::store::Result;
use crate::store::rows::SettingRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::statements::{Statements as _, text};
use crate::store::sqlite::written::Written as _;

impl SettingRows for SqliteRows {
    fn settings(&mut self, beginning: &'static str) -> Result<Vec<(String, String)>> {
        self.run(|connection| {
            let settings = connection.all(
                "SELECT key, value FROM bridge_setting WHERE substr(key, 1, length(?1)) = ?1",
                [beginning],
                |row| Ok((text(row, 0)?.into_owned(), text(row, 1)?.into_owned())),
            )?;
            Ok(settings)
        })
    }

    fn setting(&mut self, key: &'static str) -> Result<Option<String>> {
        self.run(|connection| {
            let value = connection.first(
                "SELECT value FROM bridge_setting WHERE key = ?1",
                [key],
                |row| Ok(text(row, 0)?.into_owned()),
            )?;
            Ok(value)
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
