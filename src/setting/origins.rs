//! Where a key stands.

use figment::{Figment, Metadata};

use super::error::{SettingPlace, Source};

/// Which source a merged key came from.
#[derive(Debug)]
pub(crate) struct Origins {
    merged: Figment,
    main: Source,
}

impl Origins {
    pub(crate) fn new(merged: Figment, main: Source) -> Self {
        Self { merged, main }
    }

    /// Whether any source has `key`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.merged.find_value(key).is_ok()
    }

    /// Where `key` stands, or belongs when no source has it.
    pub(crate) fn place(&self, key: &str) -> SettingPlace {
        let found = self.merged.find_metadata(key).and_then(source_of);
        SettingPlace {
            source: found.unwrap_or_else(|| self.main.clone()),
            session: None,
            key: key.to_owned(),
        }
    }
}

/// The source that a merged value came from.
fn source_of(metadata: &Metadata) -> Option<Source> {
    match metadata.source.as_ref()? {
        figment::Source::File(path) => Some(Source::File(path.clone())),
        figment::Source::Custom(name) => Some(Source::Variable(name.clone())),
        _ => None,
    }
}
