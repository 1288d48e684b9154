//! Where the sockets of a daemon are.

use std::path::{Path, PathBuf};

/// The two sockets of an instance, in a directory of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sockets {
    directory: PathBuf,
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// For sessions, by their tokens, and for what may be known without one.
    Sessions,
    /// For operators.
    Operators,
}

impl Sockets {
    /// The sockets in this directory.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        let directory = directory.to_owned();
        Self { directory }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// One of them.
    #[must_use]
    pub fn path(&self, purpose: Purpose) -> PathBuf {
        self.directory.join(match purpose {
            Purpose::Sessions => "api.sock",
            Purpose::Operators => "admin.sock",
        })
    }
}
