//! The database as a file: which one it is, what it may be, where it may lie.
//! By path and stat alone: see the module above for why nothing here opens a
//! file that SQLite has open.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use rustix::fs::OFlags;

use super::mounts;
use crate::store::{Result, StoreError};

/// One page of the smallest size there is.
const SMALLEST: u64 = 512;

/// A file's identity: two paths with the same one are one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file that stands at `path` now.
    pub(super) fn of(path: &Path) -> Option<Self> {
        Some(Self::from(&std::fs::metadata(path).ok()?))
    }

    /// What stands at `path` itself, be it a link.
    pub(super) fn there(path: &Path) -> Option<Self> {
        Some(Self::from(&path.symlink_metadata().ok()?))
    }
}

impl From<&std::fs::Metadata> for FileId {
    fn from(meta: &std::fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
        }
    }
}

/// The files of one open store: which they are, and whether they still are.
#[derive(Debug)]
pub(super) struct Files {
    /// The path as the user named it; perhaps a symbolic link.
    pub(super) named: PathBuf,
    /// Where the database really is: SQLite puts its other files beside that.
    pub(super) database: PathBuf,
    id: FileId,
    /// The log and its index. They must not be removed while we have the store open,
    /// and a program that finds them gone makes new ones, which we would never see.
    beside: OnceLock<Vec<(PathBuf, FileId)>>,
}

impl Files {
    /// The files of the database that is `id` at `named`.
    pub(super) fn new(named: PathBuf, id: FileId) -> Self {
        Self {
            database: std::fs::canonicalize(&named).unwrap_or_else(|_| named.clone()),
            named,
            id,
            beside: OnceLock::new(),
        }
    }

    /// `<db><suffix>`.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.database, suffix)
    }

    /// Notes which log belongs to the database, now that SQLite has it open.
    pub(super) fn note_log(&self) {
        self.beside.get_or_init(|| {
            ["-wal", "-shm"]
                .into_iter()
                .filter_map(|suffix| {
                    let path = self.beside(suffix);
                    FileId::of(&path).map(|id| (path, id))
                })
                .collect()
        });
    }

    /// Whether all of them are still the ones that were opened, and the database
    /// has no second name.
    ///
    /// # Errors
    /// [`StoreError::Replaced`], naming the one that is not; [`StoreError::Permission`]
    /// where that cannot be checked any more; [`StoreError::Linked`].
    pub(super) fn ensure_usable(&self) -> Result<()> {
        let meta = self.ensure_all_there()?;
        ensure_one_name(&self.named, &meta)
    }

    /// Whether all of them are still the ones that were opened. What was
    /// committed meanwhile is theirs, also under a second name.
    ///
    /// # Errors
    /// [`StoreError::Replaced`], naming the one that is not; [`StoreError::Permission`]
    /// where that cannot be checked any more.
    pub(super) fn ensure_same(&self) -> Result<()> {
        self.ensure_all_there().map(|_| ())
    }

    fn ensure_all_there(&self) -> Result<Metadata> {
        let replaced = || StoreError::Replaced(self.named.clone());
        let database = match std::fs::metadata(&self.named) {
            Ok(database) => database,
            // Its directory was closed to this user meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                let remedy = permission_remedy(&self.named);
                return Err(StoreError::Permission(self.named.clone(), remedy));
            }
            Err(_) => return Err(replaced()),
        };
        if FileId::from(&database) != self.id {
            return Err(replaced());
        }
        let beside = self.beside.get().map(Vec::as_slice).unwrap_or_default();
        match beside
            .iter()
            .find(|(path, id)| FileId::of(path) != Some(*id))
        {
            Some((path, _)) => Err(StoreError::Replaced(path.clone())),
            None => Ok(database),
        }
    }
}

/// `<db><suffix>`: the names that SQLite and the doorbell use.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// SQLite finds the log and the locks of a database by its name: processes that use two
/// names of one file do not see each other.
pub(super) fn ensure_one_name(path: &Path, meta: &Metadata) -> Result<()> {
    match meta.nlink() {
        // None: it was deleted, which is another trouble.
        0 | 1 => Ok(()),
        names => Err(StoreError::Linked(path.to_owned(), names)),
    }
}

/// Opens a file that SQLite uses, once for each file and for ever: closing any
/// descriptor of it would drop the locks that this process's connections hold.
pub(super) fn keep_open(path: &Path) -> Option<&'static File> {
    static KEPT: Mutex<Vec<(FileId, &'static File)>> = Mutex::new(Vec::new());
    let mut kept = KEPT.lock().ok()?;
    let id = FileId::of(path)?;
    if let Some((_, file)) = kept.iter().find(|(known, _)| *known == id) {
        return Some(file);
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)
        .ok()?;
    let file: &'static File = Box::leak(Box::new(file));
    kept.push((FileId::from(&file.metadata().ok()?), file));
    Some(file)
}

/// Whether the path is a file that a store could be in. Says nothing about its
/// content.
pub(super) fn examine(path: &Path) -> Result<FileId> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(StoreError::Permission(
                path.to_owned(),
                permission_remedy(path),
            ));
        }
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound) => {
            return Err(StoreError::Missing(path.to_owned()));
        }
        Err(error) => return Err(StoreError::Io(path.into(), error.to_string())),
    };
    let kind = meta.file_type();
    let wrong = if kind.is_dir() {
        Some("directory")
    } else if kind.is_socket() {
        Some("socket")
    } else if kind.is_fifo() {
        Some("pipe")
    } else if !kind.is_file() {
        Some("device")
    } else {
        None
    };
    match wrong {
        Some(kind) => Err(StoreError::NotAFile(path.to_owned(), kind.into())),
        None if meta.len() == 0 => Err(StoreError::Empty(path.to_owned())),
        // SQLite takes it for an empty database and writes over it.
        None if meta.len() < SMALLEST => Err(StoreError::NotADatabase(path.to_owned())),
        None => {
            refuse_network_file_system(path)?;
            Ok(FileId::from(&meta))
        }
    }
}

/// Bytes of a file; 0 if it is not there.
pub(super) fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

/// The directory that a file stands in.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// What the file system of `path` has left for this user, and has in all, in
/// bytes.
#[must_use]
pub fn room(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
}

/// Whether the file system of `path` has no room left.
pub(super) fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|stat| stat.f_bavail == 0)
}

/// Whether the file system of `path` is mounted read-only.
pub(super) fn is_read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path)
        .is_ok_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Where the machine's daemons have their store, which is theirs alone.
const OF_THE_MACHINE: &str = "/var/lib/mcp-bridge";

/// What to do about a store that may not be opened.
pub(super) fn permission_remedy(path: &Path) -> String {
    let place = path.parent().unwrap_or(Path::new("/"));
    let subject = if std::fs::metadata(path).is_ok() {
        path
    } else {
        place
    };
    let is_root = rustix::process::geteuid().is_root();
    if subject == Path::new(OF_THE_MACHINE) && !is_root {
        return format!(
            "\n  {} is only for the system's daemons; use one of them: --store unix:/run/mcp-bridge/NAME/api.sock",
            subject.display()
        );
    }
    match std::fs::metadata(subject) {
        // Root works as the owner of the directory.
        Ok(meta) if is_root => format!(
            "\n  {} belongs to user {} and group {} with mode {:o}, and root opens a store as the owner of its directory; give the file to that user: chown --reference={} {}",
            subject.display(),
            meta.uid(),
            meta.gid(),
            meta.mode() & 0o7777,
            place.display(),
            subject.display(),
        ),
        Ok(meta) => format!(
            "\n  {} belongs to user {} and group {} with mode {:o}; run this as a user who may write it, or join that group",
            subject.display(),
            meta.uid(),
            meta.gid(),
            meta.mode() & 0o7777,
        ),
        Err(_) => format!(
            "\n  one of the directories above {} may not be entered by this user",
            path.display()
        ),
    }
}

/// Their byte-range locks or shared memory do not reach other machines.
pub(super) fn refuse_network_file_system(path: &Path) -> Result<()> {
    match mounts::remote(path) {
        Some(name) => Err(StoreError::NetworkFileSystem(path.to_owned(), name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_that_is_no_store_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(matches!(
            examine(dir.path()),
            Err(StoreError::NotAFile(_, kind)) if kind == "directory"
        ));
        assert!(matches!(
            examine(&dir.path().join("x")),
            Err(StoreError::Missing(_))
        ));
        let empty = dir.path().join("empty");
        std::fs::write(&empty, "").expect("written");
        assert!(matches!(examine(&empty), Err(StoreError::Empty(_))));
    }

    /// Root sees through closed directories: one of its threads becomes another user.
    #[cfg(target_os = "linux")]
    fn become_another_user() {
        if rustix::process::geteuid().is_root() {
            let uid = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_uid(uid).expect("another user");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_closed_directory_is_no_replaced_store() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        let set = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path(), mode).expect("set");
        };
        set(0o755);
        let path = dir.path().join("bridge.db");
        std::fs::write(&path, "x").expect("written");
        let id = FileId::of(&path).expect("it is there");
        let files = Files::new(path, id);
        let looked = || {
            std::thread::scope(|scope| {
                let looking = scope.spawn(|| {
                    become_another_user();
                    [files.ensure_usable(), files.ensure_same()]
                });
                looking.join().expect("it looked")
            })
        };
        assert!(looked().iter().all(Result::is_ok));
        set(0o000);
        for refused in looked() {
            let error = refused.expect_err("it cannot be told");
            assert!(matches!(error, StoreError::Permission(..)), "{error}");
        }
        set(0o755);
        std::fs::remove_file(&files.named).expect("removed");
        for refused in looked() {
            let error = refused.expect_err("it is gone");
            assert!(matches!(error, StoreError::Replaced(_)), "{error}");
        }
    }
}
