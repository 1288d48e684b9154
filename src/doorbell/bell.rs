//! Ringing: one byte into a file that all listeners watch.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Gid, Uid, fchown};
use tracing::debug;

use super::marks::{COUNT_BYTES, counted};
use crate::guarded;

/// The bell of one store. Rung after COMMIT returned, so whoever looks then
/// sees the commit.
#[derive(Debug)]
pub struct Bell {
    path: PathBuf,
    file: OnceLock<Option<File>>,
}

impl Bell {
    /// The bell at `path`; the file is made when it is first rung.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: OnceLock::new(),
        }
    }

    /// Rings. A bell that cannot be rung costs latency and no message: the
    /// listeners' other ways of noticing stand behind it.
    pub fn ring(&self) {
        // Behind the count.
        self.write(b".", COUNT_BYTES);
    }

    /// Rings, and notes for the processes that come later how far the store has
    /// counted: a number whose commit is on the disk.
    pub fn ring_at(&self, count: i64) {
        self.write(&counted(count), 0);
    }

    fn write(&self, bytes: &[u8], at: u64) {
        let file = self.file.get_or_init(|| match open(&self.path) {
            Ok(file) => Some(file),
            Err(error) => {
                debug!(bell = %self.path.display(), %error, "the doorbell cannot be opened");
                None
            }
        });
        if let Some(file) = file
            && let Err(error) = file.write_at(bytes, at)
        {
            debug!(bell = %self.path.display(), %error, "the doorbell cannot be rung");
        }
    }
}

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

    #[test]
    fn a_bell_that_is_a_link_is_not_rung() {
        let dir = tempfile::tempdir().expect("a directory");
        let (victim, new) = (dir.path().join("victim"), dir.path().join("new"));
        std::fs::write(&victim, "secret").expect("written");
        for target in [&victim, &new] {
            let bell = dir.path().join("bridge.db-bell");
            std::os::unix::fs::symlink(target, &bell).expect("linked");
            Bell::new(bell.clone()).ring();
            std::fs::remove_file(&bell).expect("removed");
        }
        assert_eq!(std::fs::read(&victim).expect("there"), b"secret");
        assert!(!new.exists(), "made through a link");
    }
}
