//! Whose the store is: a program works with the rights of the user who started
//! it, and another user must not decide on which file.
//!
//! A link is followed to the store if the link is root's or this user's, or if
//! no other user may write its directory. Root opens a store as the owner of its
//! directory: that helps nothing where the directory is root's and others may
//! write it, and the owner of the directory must own the file. In a directory
//! that is sticky (`/tmp`) a file belongs to its owner, and root works as that.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid, fchown};

use super::file::directory_of;
use crate::guarded;
use crate::host::user_name;
use crate::store::{Result, StoreError};

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// Refuses a path that another user could have pointed here.
///
/// # Errors
/// [`StoreError::Untrusted`].
pub(super) fn ensure_path(path: &Path) -> Result<()> {
    let mut place = PathBuf::from(path);
    for _ in 0..MOST_LINKS {
        if let Err(error) = guarded::ensure_link_is_trusted(&place)
            && error.kind() == std::io::ErrorKind::InvalidInput
        {
            let why = format!(
                "{error}\n  name the file itself, or move it to a directory that other users may not write"
            );
            return Err(StoreError::Untrusted(place, why));
        }
        // At its end, another look shows what is there.
        let Ok(target) = std::fs::read_link(&place) else {
            break;
        };
        place = directory_of(&place).join(target);
    }
    Ok(())
}

/// Refuses, for root, a store that another user may turn against root. `path` is
/// without links; there need be no file yet.
///
/// # Errors
/// [`StoreError::Untrusted`].
pub(super) fn ensure_owner(path: &Path) -> Result<()> {
    let directory = directory_of(path);
    let (Ok(place), true) = (
        std::fs::metadata(directory),
        rustix::process::geteuid().is_root(),
    ) else {
        return Ok(());
    };
    if place.mode() & 0o1000 != 0 {
        return Ok(());
    }
    let shown = directory.display();
    if place.uid() == 0 && guarded::others_may_write(&place) {
        let why = format!(
            "its directory belongs to root, and other users may write it\n  give it to the user of the daemons: chown USER {shown}; or let only root write it: chmod go-w {shown}"
        );
        return Err(StoreError::Untrusted(path.to_owned(), why));
    }
    match path.symlink_metadata() {
        Ok(file) if file.uid() != place.uid() => {
            let (its, whose) = (user_name(file.uid()), user_name(place.uid()));
            let why = format!(
                "it belongs to {its}, but its directory to {whose}; root opens it as the owner of the directory\n  give it to that user: chown {whose} {}",
                path.display()
            );
            Err(StoreError::Untrusted(path.to_owned(), why))
        }
        _ => Ok(()),
    }
}

/// Gives a file that root made to the owner of its directory.
pub(super) fn give(made: &File, directory: &Path) -> std::io::Result<()> {
    let place = std::fs::metadata(directory)?;
    if !rustix::process::geteuid().is_root() || place.mode() & 0o1000 != 0 {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(place.uid()), Gid::from_raw(place.gid()));
    Ok(fchown(made, Some(user), Some(group))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    const NOBODY: u32 = 65_534;

    #[test]
    fn root_opens_only_what_its_owner_guards() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bridge.db");
        std::fs::write(&path, "").expect("written");
        let set = |mode, user, file| {
            chown(dir.path(), Some(user), Some(NOBODY)).expect("root may");
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path(), mode).expect("set");
            chown(&path, Some(file), None).expect("root may");
        };
        for (mode, user, file, fine) in [
            (0o700, 0, 0, true),
            (0o2770, 0, 0, false),
            (0o777, 0, 0, false),
            (0o1777, 0, NOBODY, true),
            (0o2770, NOBODY, NOBODY, true),
            (0o2770, NOBODY, 0, false),
            (0o755, 0, NOBODY, false),
        ] {
            set(mode, user, file);
            let judged = ensure_owner(&path);
            assert_eq!(judged.is_ok(), fine, "{mode:o} {user} {file}: {judged:?}");
        }
    }

    #[test]
    fn another_users_link_leads_to_no_store() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (path, link) = (dir.path().join("real.db"), dir.path().join("bridge.db"));
        std::fs::write(&path, "").expect("written");
        symlink("real.db", &link).expect("linked");
        assert!(ensure_path(&link).is_ok() && ensure_path(&path).is_ok());
        let shared = std::fs::Permissions::from_mode(0o2777);
        std::fs::set_permissions(dir.path(), shared).expect("set");
        assert!(ensure_path(&link).is_ok(), "root's own");
        lchown(&link, Some(NOBODY), None).expect("root may");
        let refused = ensure_path(&link).expect_err("a stranger's").to_string();
        assert!(refused.contains("symbolic link of user"), "{refused}");
        let first = dir.path().join("first.db");
        symlink("bridge.db", &first).expect("linked");
        assert!(ensure_path(&first).is_err(), "by way of another");
    }
}
