//! What a store is called.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A store, as people, credentials and advice name it: the path of its SQLite file.
/// It holds no secret, whatever else a store may be one day.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct StoreName(PathBuf);

impl StoreName {
    /// The SQLite file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl From<PathBuf> for StoreName {
    fn from(file: PathBuf) -> Self {
        Self(file)
    }
}

impl From<&Path> for StoreName {
    fn from(file: &Path) -> Self {
        Self(file.to_owned())
    }
}

impl From<&str> for StoreName {
    fn from(file: &str) -> Self {
        Self(file.into())
    }
}
