//! What must be true of a database before SQLite opens it, and how a new one is
//! made: by all that is known of its place, its owner and the files beside it.

use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::confined::ConfinedPath;
use super::file::{
    FileId, beside, directory_of, ensure_one_name, examine, permission_remedy,
    refuse_network_file_system,
};
use super::{base, beside as sidecars, mounts, owners};
use crate::store::{Result, StoreError};

/// Whether the path is a database file with one name and nothing beside it that
/// SQLite must not see: to be asked before SQLite opens it.
pub(super) fn examine_store(path: &Path) -> Result<FileId> {
    owners::ensure_path(path)?;
    let id = examine(path)?;
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    owners::ensure_owner(&real)?;
    if let Ok(meta) = std::fs::metadata(&real) {
        ensure_one_name(path, &meta)?;
    }
    if mounts::is_mount(&real) {
        return Err(StoreError::Mounted(path.to_owned()));
    }
    sidecars::ensure_fit(&real)?;
    base::ensure_whole(path, &real)?;
    Ok(id)
}

/// Makes an empty file for a new store; an empty one that stands there is
/// taken. The mode is set before SQLite sees the file, because the files that
/// it puts beside it copy the mode. In a directory that passes its group on
/// (2770), the group shares the store; elsewhere it is its owner's alone.
pub(super) fn create(path: &Path) -> Result<()> {
    let denied = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            StoreError::Permission(path.to_owned(), permission_remedy(path))
        }
        std::io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(path.to_owned()),
        std::io::ErrorKind::StorageFull => StoreError::Full(path.into()),
        _ => StoreError::Io(path.into(), error.to_string()),
    };
    let directory = directory_of(path);
    if !directory.exists() {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| denied(&error))?;
    }
    refuse_network_file_system(directory)?;
    refuse_remains(path)?;
    owners::ensure_path(path)?;
    owners::ensure_owner(path)?;
    // Root makes it as the owner of the directory.
    ConfinedPath::of_database(path)?
        .run(|| make(path, mode_in(directory)))?
        .map_err(|error| denied(&error))
}

/// Makes the file, if nothing of that name is there.
fn make(path: &Path, mode: u32) -> std::io::Result<()> {
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
    {
        // The umask may have taken the group's bits.
        Ok(made) => owners::give(&made, directory_of(path))
            .and_then(|()| made.set_permissions(std::fs::Permissions::from_mode(mode))),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The mode of a new store in this directory.
pub(super) fn mode_in(directory: &Path) -> u32 {
    let shared = std::fs::metadata(directory).is_ok_and(|meta| meta.mode() & 0o2020 == 0o2020);
    if shared { 0o660 } else { 0o600 }
}

/// Refuses to put a new database where a lost one was: SQLite would take what is left
/// of the old one for its own, and a process that still has the old one open would
/// write into the new one's log
fn refuse_remains(path: &Path) -> Result<()> {
    let left = ["-wal", "-shm"]
        .map(|suffix| beside(path, suffix))
        .into_iter()
        .find(|left| left.symlink_metadata().is_ok());
    match left {
        // After the look at what is beside it: a process that makes the store now
        // writes into the database first.
        Some(left) if path.symlink_metadata().map_or(true, |meta| meta.len() == 0) => {
            Err(StoreError::Remains(path.to_owned(), left))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_directory_makes_a_shared_file() {
        let dir = tempfile::tempdir().expect("a directory");
        if rustix::process::geteuid().is_root() {
            // One of root's that a group shares is refused.
            std::os::unix::fs::chown(dir.path(), Some(65_534), Some(65_534)).expect("root may");
        }
        for (mode, expected) in [(0o700, 0o600), (0o2770, 0o660)] {
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode))
                .expect("set");
            let path = dir.path().join(format!("{mode:o}.db"));
            create(&path).expect("made");
            let made = std::fs::metadata(&path).expect("there").mode() & 0o777;
            assert_eq!(made, expected, "in {mode:o}");
        }
    }
}
