//! A file that is being written under a name of its own, and gets its real
//! name when it is whole. One process at a time fills it; what a killed one
//! left is taken over by the next, so that nothing piles up on the disk.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Gid, RenameFlags, Uid, fchown, flock, renameat_with};
use rustix::io::Errno;

use super::file::{FileId, beside, directory_of};
use crate::guarded;

/// Which users may use a database: a copy of it holds the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    mode: u32,
    user: u32,
    group: u32,
}

impl Access {
    /// Owner and mode of the file at `path`.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let meta = std::fs::metadata(path)?;
        Ok(Self {
            mode: meta.mode() & 0o777,
            user: meta.uid(),
            group: meta.gid(),
        })
    }

    /// The owner of `directory`, with the mode of a new store there.
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

    /// Gives the file to them, as far as this user may; `false` if its owner or
    /// its group is another one in the end. Another group gets nothing.
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
        Ok(theirs && meta.uid() == self.user)
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
    /// Whether it has the owner and the group that it was wanted for.
    pub(super) shared: bool,
}

impl Partial {
    /// Begins the file at `path`, empty. `None` if another process is filling
    /// it now.
    ///
    /// It is always a new file: one that another user put there, or has open,
    /// is removed and never filled. What is no file there is an error.
    pub(super) fn claim(path: &Path, access: Access) -> io::Result<Option<Self>> {
        let path = real(path)?;
        loop {
            match guarded::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                    return Err(named(&path, &error));
                }
                left => {
                    // A file system without such locks has no second process
                    // either; another user's that may not be read has no holder.
                    if let Ok(left) = &left
                        && let Err(Errno::WOULDBLOCK) =
                            flock(left, FlockOperation::NonBlockingLockExclusive)
                    {
                        return Ok(None);
                    }
                    // The program that had it before may have given it its name
                    // meanwhile: then this is a whole copy of that program. The
                    // lock is held until the file is gone: without it, a second
                    // program would take away what this one is about to fill.
                    if let Ok(left) = &left
                        && FileId::there(&path) != Some(FileId::from(&left.metadata()?))
                    {
                        continue;
                    }
                    match std::fs::remove_file(&path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(named(&path, &error));
                        }
                        _ => {}
                    }
                }
            }
            let file = match guarded::make(&path, 0o600) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            };
            if let Err(Errno::WOULDBLOCK) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
                return Ok(None);
            }
            let id = FileId::from(&file.metadata()?);
            // Another process may have taken it for one that was left.
            if FileId::there(&path) != Some(id) {
                continue;
            }
            let shared = access.give(&file)?;
            let partial = Self {
                path,
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
        if FileId::there(&self.path) != Some(self.id) {
            return Err(io::Error::other("another process removed it"));
        }
        self.sweep();
        if replace {
            ensure_replaceable(name)?;
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
        if !self.kept && FileId::there(&self.path) == Some(self.id) {
            self.sweep();
            // What cannot be removed is taken over the next time.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes a name that was made or changed in a directory outlive a power failure.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    guarded::directory(directory)?.sync_all()
}

/// The path without links: SQLite is set to follow none.
fn real(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(std::fs::canonicalize(directory_of(path))?.join(name))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Only a file may be written over, never what stands for a device or leads
/// elsewhere.
fn ensure_replaceable(name: &Path) -> io::Result<()> {
    let there = name.symlink_metadata().ok();
    match there.and_then(|meta| guarded::other_kind(meta.file_type())) {
        Some(kind) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("there is a {kind} with that name; only a file is replaced"),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn access() -> Access {
        Access {
            mode: 0o660,
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
        }
    }

    #[test]
    fn remains_of_a_killed_writer_are_taken_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.partial");
        std::fs::write(&path, "left by one that was killed").expect("written");
        std::fs::write(dir.path().join("x.partial-wal"), "as well").expect("written");
        let first = Partial::claim(&path, access()).expect("claimed");
        let first = first.expect("no other program fills it");
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 0);
        assert!(!dir.path().join("x.partial-wal").exists());
        assert!(Partial::claim(&path, access()).expect("asked").is_none());
        drop(first);
        assert!(!path.exists(), "what is not whole does not stay");
        assert!(Partial::claim(&path, access()).expect("asked").is_some());
    }

    #[test]
    fn no_other_program_takes_a_claimed_file_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.partial");
        let (together, name) = (Barrier::new(4), dir.path().join("x"));
        // Each thread opens the file for itself, as a process does.
        let claim = || {
            std::fs::write(&path, "left by one that was killed").expect("written");
            together.wait();
            let claimed = Partial::claim(&path, access());
            let kept =
                claimed.and_then(|it| it.map(|partial| partial.keep(&name, true)).transpose());
            together.wait();
            kept
        };
        std::thread::scope(|scope| {
            let claims = || (0..200).map(|_| claim()).collect::<Vec<_>>();
            let all: Vec<_> = (0..4).map(|_| scope.spawn(claims)).collect();
            for kept in all.into_iter().flat_map(|one| one.join().expect("ended")) {
                assert!(matches!(kept, Ok(None | Some(true))), "{kept:?}");
            }
        });
    }

    #[test]
    fn file_of_another_user_is_never_filled() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().expect("a directory");
        let (path, victim) = (dir.path().join("x.partial"), dir.path().join("victim"));
        std::fs::write(&victim, "kept").expect("written");
        for target in [victim.as_path(), Path::new("nowhere")] {
            symlink(target, &path).expect("linked");
            let refused = Partial::claim(&path, access()).expect_err("a link");
            assert!(refused.to_string().contains("symbolic link"), "{refused}");
            std::fs::remove_file(&path).expect("removed");
        }
        std::fs::hard_link(&victim, &path).expect("linked");
        let held = File::open(&path).expect("there");
        let partial = Partial::claim(&path, access()).expect("claimed");
        let partial = partial.expect("no other program fills it");
        std::fs::write(partial.path(), "new").expect("written");
        assert_eq!(std::fs::read(&victim).expect("there"), b"kept");
        assert_eq!(held.metadata().expect("known").len(), 4, "another file");
        symlink(&victim, dir.path().join("y")).expect("linked");
        let refused = partial.keep(&dir.path().join("y"), true);
        let refused = refused.expect_err("a link").to_string();
        assert!(refused.contains("symbolic link"), "{refused}");
    }

    #[test]
    fn its_name_is_given_once_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, name) = (dir.path().join("x.partial"), dir.path().join("x"));
        for (text, kept) in [("one", true), ("two", false)] {
            let partial = Partial::claim(&path, access()).expect("claimed");
            let partial = partial.expect("no other program fills it");
            std::fs::write(&path, text).expect("written");
            assert_eq!(partial.keep(&name, false).expect("kept"), kept);
            assert_eq!(std::fs::read_to_string(&name).expect("there"), "one");
            assert!(!path.exists());
        }
        let mode = std::fs::metadata(&name).expect("there").mode() & 0o777;
        assert_eq!(mode, 0o660);
    }
}
