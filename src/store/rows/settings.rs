//! Settings that all programs on a store share.

use crate::store::Result;

/// Operations on settings.
pub trait SettingRows {
    /// The settings whose keys begin like this: key and value.
    ///
    /// # Errors
    /// The engine's.
    fn settings(&mut self, beginning: &'static str) -> Result<Vec<(String, String)>>;

    /// A setting, as it is written; `None` if it is not set.
    ///
    /// # Errors
    /// The engine's.
    fn setting(&mut self, key: &'static str) -> Result<Option<String>>;

    /// Writes a setting.
    ///
    /// # Errors
    /// The engine's.
    fn set_setting(&mut self, key: &'static str, value: &str) -> Result<()>;
}
