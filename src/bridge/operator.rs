//! Who may give an operator's order: the owner of the store's directory, or root.
//!
//! This holds against other users who come through our programs, and no further:
//! a user who may write the store's file can write into it by other means. See
//! docs/threat-model.md.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::{Bridge, Found};
use crate::host;
use crate::model::StoreName;

/// Mode bit of a directory in which each user's files are that user's own.
const STICKY: u32 = 0o1000;

/// An order of a user who is no operator of the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "only an operator of the store may do this: root, or {owner}, who owns {}; you are {caller}",
    .directory.display()
)]
pub struct NotOperator {
    /// The store.
    pub store: StoreName,
    directory: PathBuf,
    owner: String,
    caller: String,
}

impl Bridge {
    /// Refuses an order of a user who is no operator of the store that was found.
    /// Asked before the store is opened, so that a refused order changes nothing.
    ///
    /// # Errors
    /// [`NotOperator`].
    pub fn ensure_operator(found: &Found) -> Result<(), NotOperator> {
        if found.socket().is_some() {
            // The daemon says who is one.
            return Ok(());
        }
        let location = &found.location;
        let path = location.path();
        // Named before any thread takes another user's place.
        let me = host::caller();
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let Ok(found) = std::fs::metadata(directory) else {
            // The opening says what is wrong with it.
            return Ok(());
        };
        let owner = match found.mode() & STICKY != 0 {
            true => std::fs::metadata(path).map_or(found.uid(), |file| file.uid()),
            false => found.uid(),
        };
        if may(geteuid().as_raw(), owner) {
            return Ok(());
        }
        Err(NotOperator {
            store: location.name.clone(),
            directory: directory.to_owned(),
            owner: host::user_name(owner),
            caller: me.name.clone(),
        })
    }
}

fn may(caller: u32, owner: u32) -> bool {
    caller == 0 || caller == owner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_may() {
        assert!(may(0, 1_000) && may(1_000, 1_000) && may(0, 0));
        assert!(!may(1_001, 1_000) && !may(1_000, 0));
    }
}
