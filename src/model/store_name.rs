//! What a store is called.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What stands before the socket of a daemon that has the store.
pub const DOOR: &str = "unix:";

/// A store, as people, credentials and advice name it: the path of its SQLite file, or
/// `unix:` and the socket of the daemon that has it open. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(from = "PathBuf", into = "PathBuf")]
#[schemars(with = "String")]
pub struct StoreName {
    path: PathBuf,
    is_door: bool,
}

impl StoreName {
    /// The store of the daemon that answers at this socket.
    #[must_use]
    pub fn of_door(socket: &Path) -> Self {
        Self {
            path: socket.to_owned(),
            is_door: true,
        }
    }

    /// The SQLite file, or the socket.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.path
    }

    /// The socket, if a daemon is asked for it.
    #[must_use]
    pub fn door(&self) -> Option<&Path> {
        self.is_door.then_some(&*self.path)
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_door {
            f.write_str(DOOR)?;
        }
        self.path.display().fmt(f)
    }
}

impl From<StoreName> for PathBuf {
    fn from(name: StoreName) -> Self {
        match name.is_door {
            true => {
                let mut text = std::ffi::OsString::from(DOOR);
                text.push(&name.path);
                text.into()
            }
            false => name.path,
        }
    }
}

impl From<PathBuf> for StoreName {
    fn from(file: PathBuf) -> Self {
        match file.to_str().and_then(|text| text.strip_prefix(DOOR)) {
            Some(socket) => Self::of_door(Path::new(socket)),
            None => Self {
                path: file,
                is_door: false,
            },
        }
    }
}

impl From<&Path> for StoreName {
    fn from(file: &Path) -> Self {
        file.to_owned().into()
    }
}

impl From<&str> for StoreName {
    fn from(file: &str) -> Self {
        PathBuf::from(file).into()
    }
}
