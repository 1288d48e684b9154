//! The files beside a database, looked at before SQLite sees them. SQLite trusts
//! what it finds there: it writes through a symbolic link, and it deletes the
//! file that the end of a rollback journal names, wherever that is. Every user
//! who may write the directory can put such files there.

use std::fs::{Metadata, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use super::file::{beside, keep_open};
use crate::clock;
use crate::store::{Result, StoreError};

/// How long a journal may stay that is right for a moment: while a writer
/// commits, or while another process turns the database to WAL mode.
const A_MOMENT: Duration = Duration::from_secs(2);
/// Between two looks at it.
const AGAIN: Duration = Duration::from_millis(5);

/// What every header of a rollback journal begins with, and what ends a journal
/// that names a super-journal: <https://sqlite.org/fileformat.html>, 3.
const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// Where the header of a database says how it is written and read, and what
/// stands there in WAL mode.
const VERSIONS: (u64, [u8; 2]) = (18, [2, 2]);

/// What is wrong with a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Wrong now and later.
    Lasting(&'static str),
    /// Right, if it is gone in a moment.
    Passing(&'static str),
}

/// What matters of a journal.
#[derive(Debug, Clone, Copy)]
struct Journal {
    /// Its owner.
    user: u32,
    first: u8,
    last: [u8; 8],
}

/// What matters of its database.
#[derive(Debug, Clone, Copy)]
struct Database {
    user: u32,
    wal: bool,
}

/// Refuses files beside the database that SQLite must not see. `database` is
/// the path without links.
///
/// # Errors
/// [`StoreError::Beside`].
pub(super) fn ensure_fit(database: &Path) -> Result<()> {
    for suffix in ["-wal", "-shm"] {
        let path = beside(database, suffix);
        if let Some(why) = std::fs::symlink_metadata(&path)
            .ok()
            .and_then(|meta| not_plain(&meta))
        {
            return Err(refused(database, path, why));
        }
    }
    let path = beside(database, "-journal");
    let deadline = clock::since_boot() + A_MOMENT;
    loop {
        match judged(&path, database) {
            None => return Ok(()),
            Some(Fault::Passing(_)) if clock::since_boot() < deadline => {
                std::thread::park_timeout(AGAIN);
            }
            Some(Fault::Passing(why) | Fault::Lasting(why)) => {
                return Err(refused(database, path, why));
            }
        }
    }
}

fn refused(database: &Path, file: PathBuf, why: &'static str) -> StoreError {
    StoreError::Beside {
        store: database.to_owned(),
        file,
        why: why.into(),
    }
}

/// Why a file was not made there by SQLite.
fn not_plain(meta: &Metadata) -> Option<&'static str> {
    if meta.is_symlink() {
        Some("it is a symbolic link")
    } else if !meta.is_file() {
        Some("it is not a regular file")
    } else if meta.nlink() > 1 {
        Some("it has another name, too (a hard link)")
    } else {
        None
    }
}

fn judged(path: &Path, database: &Path) -> Option<Fault> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    if let Some(why) = not_plain(&meta) {
        return Some(Fault::Lasting(why));
    }
    if meta.len() == 0 {
        // What some journal modes leave; SQLite ignores it.
        return None;
    }
    let journal = match read(path) {
        Ok(journal) => journal?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(_) => return Some(Fault::Lasting("this user may not read it")),
    };
    let owner = std::fs::symlink_metadata(database).ok()?;
    judge(
        journal,
        Database {
            user: owner.uid(),
            wal: is_wal(database),
        },
    )
}

/// Whether a journal may stand beside the database.
fn judge(journal: Journal, database: Database) -> Option<Fault> {
    if journal.first == 0 {
        // Ended: SQLite looks at no more than this byte.
        None
    } else if journal.last == MAGIC {
        Some(Fault::Lasting(
            "it names a further file, which SQLite would delete",
        ))
    } else if database.wal {
        Some(Fault::Passing(
            "it is a rollback journal, which a database in WAL mode does not have",
        ))
    } else if journal.user != database.user {
        Some(Fault::Passing(
            "it is a rollback journal of another user than the database's owner",
        ))
    } else {
        None
    }
}

/// The two ends of a journal; `None` for one that was emptied meanwhile.
fn read(path: &Path) -> std::io::Result<Option<Journal>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)?;
    let meta = file.metadata()?;
    let (mut first, mut last) = ([0; 1], [0; 8]);
    if !meta.is_file() || file.read_at(&mut first, 0)? == 0 {
        return Ok(None);
    }
    if let Some(end) = meta.len().checked_sub(8) {
        file.read_exact_at(&mut last, end)?;
    }
    Ok(Some(Journal {
        user: meta.uid(),
        first: first[0],
        last,
    }))
}

/// Whether the database's header says WAL. One that cannot be read says
/// nothing, and SQLite cannot read it either.
fn is_wal(database: &Path) -> bool {
    let mut found = [0; 2];
    let read = keep_open(database).map(|file| file.read_exact_at(&mut found, VERSIONS.0));
    matches!(read, Some(Ok(()))) && found == VERSIONS.1
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Journal = Journal {
        user: 7,
        first: MAGIC[0],
        last: [0; 8],
    };
    const ROLLBACK: Database = Database {
        user: 7,
        wal: false,
    };
    const WAL: Database = Database {
        wal: true,
        ..ROLLBACK
    };

    #[test]
    fn crashed_writer_s_journal_is_left_to_sqlite() {
        assert_eq!(judge(PLAIN, ROLLBACK), None);
        let other = Journal { user: 8, ..PLAIN };
        assert!(matches!(judge(other, ROLLBACK), Some(Fault::Passing(_))));
    }

    #[test]
    fn a_journal_beside_a_wal_database_is_refused() {
        assert!(matches!(judge(PLAIN, WAL), Some(Fault::Passing(_))));
        let ended = Journal { first: 0, ..PLAIN };
        assert_eq!(judge(ended, WAL), None, "SQLite takes it for none");
    }

    #[test]
    fn journal_that_names_a_file_is_refused_at_once() {
        let naming = Journal {
            last: MAGIC,
            ..PLAIN
        };
        for database in [WAL, ROLLBACK] {
            assert!(matches!(judge(naming, database), Some(Fault::Lasting(_))));
        }
    }

    /// A database in WAL mode, as any SQLite makes it.
    fn database(directory: &Path, mode: &str) -> PathBuf {
        let path = directory.join("bridge.db");
        let connection = rusqlite::Connection::open(&path).expect("opened");
        connection
            .pragma_update(None, "journal_mode", mode)
            .expect("set");
        connection
            .execute_batch("CREATE TABLE t (x)")
            .expect("made");
        path
    }

    #[test]
    fn only_plain_files_may_stand_beside_a_database() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = database(dir.path(), "wal");
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "theirs").expect("written");
        ensure_fit(&path).expect("nothing is there");
        for suffix in ["-wal", "-shm", "-journal"] {
            let file = beside(&path, suffix);
            let refused = |what: &str| {
                let error = ensure_fit(&path).expect_err(what);
                assert!(
                    matches!(&error, StoreError::Beside { file: named, .. } if *named == file),
                    "{suffix} {what}: {error}"
                );
                std::fs::remove_file(&file).expect("removed");
            };
            std::os::unix::fs::symlink(&victim, &file).expect("linked");
            refused("a link");
            std::os::unix::fs::symlink(dir.path().join("nothing"), &file).expect("linked");
            refused("a link to nothing");
            std::fs::hard_link(&victim, &file).expect("linked");
            refused("a hard link");
            std::os::unix::net::UnixListener::bind(&file).expect("bound");
            refused("a socket");
        }
        ensure_fit(&path).expect("nothing is left");
    }

    #[test]
    fn journal_is_judged_by_the_mode_of_its_database() {
        for (mode, fits) in [("wal", false), ("delete", true)] {
            let dir = tempfile::tempdir().expect("a directory");
            let path = database(dir.path(), mode);
            let mut journal = MAGIC.to_vec();
            journal.resize(512, 0);
            std::fs::write(beside(&path, "-journal"), journal).expect("written");
            assert_eq!(ensure_fit(&path).is_ok(), fits, "{mode}");
            std::fs::write(beside(&path, "-journal"), "").expect("emptied");
            ensure_fit(&path).expect("an empty one is none");
        }
    }

    #[test]
    fn journal_that_goes_in_a_moment_is_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = database(dir.path(), "wal");
        let journal = beside(&path, "-journal");
        std::fs::write(&journal, MAGIC).expect("written");
        assert!(judged(&journal, &path).is_some());
        let mut short = MAGIC.to_vec();
        short.push(1);
        std::fs::write(&journal, short).expect("written");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| ensure_fit(&path));
            std::fs::remove_file(&journal).expect("removed");
            waits.join().expect("whole").expect("it went");
        });
    }
}
