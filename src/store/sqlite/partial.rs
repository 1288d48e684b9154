//! A file that is being written under a name of its own, and gets its real
//! name when it is whole. One process at a time fills it; what a killed one
//! left is taken over by the next, so that nothing piles up on the disk.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, FlockOperation, Gid, OFlags, RenameFlags, Uid, fchown, flock, renameat_with,
};
use rustix::io::Errno;

use super::file::{FileId, beside, directory_of};

/// Who may use a database: a copy of it holds the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    mode: u32,
    user: u32,
    group: u32,
}

impl Access {
    /// Whoever may use the file at `path`.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let meta = std::fs::metadata(path)?;
        Ok(Self {
            mode: meta.mode() & 0o777,
            user: meta.uid(),
            group: meta.gid(),
        })
    }

    /// Whoever owns `directory`, with the mode of a new store there.
    pub(super) fn in_directory(directory: &Path, mode: u32) -> io::Result<Self> {
        Ok(Self {
            mode,
            ..Self::of(directory)?
        })
    }

    /// The same for its owner and its group alone.
    pub(super) fn private(self) -> Self {
        Self {
            mode: self.mode & 0o660,
            ..self
        }
    }

    /// Gives the file to them, as far as this user may; `false` if its group is
    /// another one in the end, which then gets nothing.
    fn give(self, file: &File) -> io::Result<bool> {
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
        // Only root gives a file away; its group may be any that we are in.
        if fchown(file, Some(user), Some(group)).is_err() {
            let _ = fchown(file, None, Some(group));
        }
        let meta = file.metadata()?;
        let theirs = meta.gid() == self.group;
        let mode = match theirs {
            true => self.mode,
            false => self.mode & 0o700,
        };
        // A file that another user of the group began has its mode already.
        if meta.mode() & 0o777 != mode {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(theirs)
    }
}

/// The file, while this process fills it; removed when it is dropped.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    /// Locked by flock(2), which ends with its process and which SQLite's own
    /// locks do not see.
    file: File,
    id: FileId,
    kept: bool,
    /// Whether it has the group that it was wanted for.
    pub(super) shared: bool,
}

impl Partial {
    /// Begins the file at `path`, empty. `None` if another process is filling
    /// it now.
    pub(super) fn claim(path: &Path, access: Access) -> io::Result<Option<Self>> {
        loop {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(access.mode & 0o600)
                // Never through a link that somebody put there.
                .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0))
                .open(path)?;
            // A file system without such locks has no second process either.
            if let Err(Errno::WOULDBLOCK) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
                return Ok(None);
            }
            let id = FileId::from(&file.metadata()?);
            // Whoever had it before may have given it its name meanwhile: then
            // this is somebody's whole copy.
            if FileId::of(path) != Some(id) {
                continue;
            }
            file.set_len(0)?;
            let shared = access.give(&file)?;
            let partial = Self {
                path: path.to_owned(),
                file,
                id,
                kept: false,
                shared,
            };
            partial.sweep();
            return Ok(Some(partial));
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, durably. `false` if something of that name is there
    /// already and `replace` was not wanted.
    pub(super) fn keep(mut self, name: &Path, replace: bool) -> io::Result<bool> {
        self.file.sync_all()?;
        if FileId::of(&self.path) != Some(self.id) {
            return Err(io::Error::other("another process took it away"));
        }
        self.sweep();
        if replace {
            std::fs::rename(&self.path, name)?;
        } else {
            match renameat_with(CWD, &self.path, CWD, name, RenameFlags::NOREPLACE) {
                Ok(()) => {}
                Err(Errno::EXIST) => return Ok(false),
                // Not on this file system.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    match std::fs::hard_link(&self.path, name) {
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                            return Ok(false);
                        }
                        linked => linked?,
                    }
                    std::fs::remove_file(&self.path)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.kept = true;
        sync_directory(directory_of(name))?;
        Ok(true)
    }

    /// What SQLite put beside it, now or in the life of one that was killed.
    fn sweep(&self) {
        for suffix in ["-wal", "-shm", "-journal"] {
            // Not there is the rule.
            let _ = std::fs::remove_file(beside(&self.path, suffix));
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept && FileId::of(&self.path) == Some(self.id) {
            self.sweep();
            // What cannot be removed is taken over the next time.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes a name that was made or changed in a directory outlive a power failure.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access {
            mode: 0o660,
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
        }
    }

    #[test]
    fn one_fills_it_and_what_a_killed_one_left_is_taken_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.partial");
        std::fs::write(&path, "left by one that was killed").expect("written");
        std::fs::write(dir.path().join("x.partial-wal"), "as well").expect("written");
        let first = Partial::claim(&path, access()).expect("claimed");
        let first = first.expect("nobody fills it");
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 0);
        assert!(!dir.path().join("x.partial-wal").exists());
        assert!(Partial::claim(&path, access()).expect("asked").is_none());
        drop(first);
        assert!(!path.exists(), "what is not whole does not stay");
        assert!(Partial::claim(&path, access()).expect("asked").is_some());
    }

    #[test]
    fn its_name_is_given_once_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, name) = (dir.path().join("x.partial"), dir.path().join("x"));
        for (text, kept) in [("one", true), ("two", false)] {
            let partial = Partial::claim(&path, access()).expect("claimed");
            let partial = partial.expect("nobody fills it");
            std::fs::write(&path, text).expect("written");
            assert_eq!(partial.keep(&name, false).expect("kept"), kept);
            assert_eq!(std::fs::read_to_string(&name).expect("there"), "one");
            assert!(!path.exists());
        }
        let mode = std::fs::metadata(&name).expect("there").mode() & 0o777;
        assert_eq!(mode, 0o660);
    }
}
