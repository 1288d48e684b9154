//! The bell's file: how it is opened, and who may ring it.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Gid, Uid, fchown};

use crate::guarded;

/// Opens it, or makes it. The store's directory may be a group's: a user who may
/// write there may have put anything under this name.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    let (file, made) = guarded::open_or_make(path, 0o600)?;
    if made {
        // Without it the bell is its maker's alone, which costs others latency.
        let _ = share(&file, path);
    }
    Ok(file)
}

/// Lets those ring a new bell who may write the database beside it: its owner,
/// and its group if the database is the group's to write. Never others.
fn share(file: &File, path: &Path) -> std::io::Result<()> {
    let name = path.as_os_str().as_bytes().strip_suffix(b"-bell");
    let Some(database) = name.map(|name| Path::new(OsStr::from_bytes(name))) else {
        return Ok(());
    };
    let database = database.symlink_metadata()?;
    let (user, group) = (database.uid(), database.gid());
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    // Only root gives a file away; its group may be any that we are in.
    if fchown(file, Some(user), Some(group)).is_err() {
        let _ = fchown(file, None, Some(group));
    }
    if database.is_file() && file.metadata()?.gid() == database.gid() {
        let mode = 0o600 | (database.mode() & 0o060);
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("there").mode() & 0o7777
    }

    #[test]
    fn a_bell_is_never_for_others() {
        for (database, expected) in [
            (0o600, 0o600),
            (0o640, 0o640),
            (0o660, 0o660),
            (0o666, 0o660),
            (0o777, 0o660),
        ] {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("bridge.db");
            std::fs::write(&path, "").expect("written");
            let wanted = Permissions::from_mode(database);
            std::fs::set_permissions(&path, wanted).expect("set");
            let bell = dir.path().join("bridge.db-bell");
            open(&bell).expect("made");
            assert_eq!(mode(&bell), expected, "beside {database:o}");
        }
    }
}
