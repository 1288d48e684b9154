//! Settings.

use super::MemoryRows;
use crate::store::Result;
use crate::store::rows::SettingRows;

impl SettingRows for MemoryRows {
    fn settings(&mut self, beginning: &'static str) -> Result<Vec<(String, String)>> {
        let settings = self.at()?.settings.iter();
        let found = settings.filter(|(key, _)| key.starts_with(beginning));
        Ok(found
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn setting(&mut self, key: &'static str) -> Result<Option<String>> {
        Ok(self.at()?.settings.get(key).cloned())
    }

    fn set_setting(&mut self, key: &'static str, value: &str) -> Result<()> {
        let settings = &mut self.at()?.settings;
        settings.insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}
