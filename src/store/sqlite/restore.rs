//! Puts a backup in the place of the store.
//!
//! What was acknowledged stands afterwards in the new store or in the old file,
//! which is kept; and whenever this is killed, the old store or the new one
//! stands at the path, whole:
//!
//! 1. the backup is copied beside the store, checked, and gets the numbers that the old
//!    store had counted to;
//! 2. alone with the old store, its log is written back into it, so that one
//!    file holds everything;
//! 3. what is left of its log is removed; the copy gets the name under which
//!    the old file is kept, and the two exchange their names in one step.
//!
//! A damaged store cannot write its log back: then the log is kept as well,
//! under the name that belongs to the kept file.

use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, DropBehavior, OpenFlags};
use rustix::fs::{CWD, FlockOperation, RenameFlags, fcntl_lock, renameat_with};
use rustix::io::Errno;

use super::admission::mode_in;
use super::beside as sidecars;
use super::confined::ConfinedPath;
use super::copy::{self, Attendant};
use super::fault::explain_rusqlite;
use super::file::{self, FileId, beside, directory_of};
use super::holders;
use super::inspect::{self, Inspection};
use super::numbers::Numbers;
use super::partial::{Access, Partial, sync_directory};
use crate::doorbell;
use crate::guarded;
use crate::store::accepted::Accepted;
use crate::store::{ErrorClass, Result, StoreError};

/// What belongs to a database besides its file.
const BESIDE: [&str; 3] = ["-wal", "-journal", "-shm"];
/// How often another process may come in between before it counts as a user.
const TRIES: u32 = 3;

/// A store that was restored.
#[derive(Debug)]
pub struct Restored {
    /// The store.
    pub store: PathBuf,
    /// What is in it.
    pub content: Inspection,
    /// What stood there before, under its new name.
    pub replaced: Option<PathBuf>,
    /// Why that one could not be read, if it could not.
    pub damaged: Option<String>,
    /// The processes that opened the old file in that very moment and still have it
    /// open.
    pub late: String,
}

/// What a backup holds, if a store can be restored from it.
///
/// # Errors
/// [`StoreError::BadBackup`].
pub fn candidate(file: &Path, store: &Path) -> Result<Inspection> {
    let bad = |why: String| StoreError::BadBackup(file.to_owned(), why);
    file::examine(file).map_err(|error| bad(reason(&error)))?;
    let store = real(store);
    let same = FileId::of(file).is_some_and(|id| FileId::of(&store) == Some(id));
    if same {
        return Err(bad("this is the store itself".into()));
    }
    // What is meant to be in the store may be in its copy.
    let accepted = Accepted::of(&store);
    let found = ConfinedPath::of_database(&real(file))?.run(|| {
        let source = source(file)?;
        inspect::look(&source, file, &accepted, false).map_err(|error| bad(damage(&error)))
    })??;
    if let Some(why) = found.kind.refusal() {
        return Err(bad(why));
    }
    if !found.differences.is_empty() && found.accepted.is_none() {
        return Err(bad(format!(
            "it contains definitions that this program does not know: {}",
            found.differences.join("; ")
        )));
    }
    Ok(found)
}

/// Restores the store at `store` from the backup `file`.
///
/// # Errors
/// [`StoreError::BadBackup`]; [`StoreError::InUse`] while a process has the store open;
/// [`StoreError::NoRoom`], and what the file system reports. Then the store is as it
/// was.
pub fn restore(
    store: &Path,
    file: &Path,
    now: Timestamp,
    attendant: &mut Attendant<'_>,
) -> Result<Restored> {
    let content = candidate(file, store)?;
    let store = real(store);
    let directory = directory_of(&store).to_owned();
    file::refuse_network_file_system(&directory)?;
    ensure_unused(&store)?;
    let cannot = |error: std::io::Error| StoreError::CannotWrite(store.clone(), error.to_string());
    let access = match Access::of(&store) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Access::in_directory(&directory, mode_in(&directory))
        }
        access => access,
    };
    let path = beside(&store, ".restoring");
    let partial = Partial::claim(&path, access.map_err(cannot)?)
        .map_err(cannot)?
        .ok_or_else(|| StoreError::InUse(store.clone(), "another restore".into()))?;
    if !partial.shared {
        let why = "this user cannot give it to the store's owner and group; run this as its owner or as root";
        return Err(StoreError::CannotWrite(store.clone(), why.into()));
    }
    take(file, &store, &partial, attendant)?;
    attendant.ensure_wanted()?;
    let old = Old::quiet(&store)?;
    ConfinedPath::of_database(&store)?
        .run(|| Numbers::carry_over(old.numbers.as_ref(), partial.path(), now))?
        .map_err(|error| explain_rusqlite(&error, &store, "carrying numbers over"))?;
    // The operator chose the older one.
    doorbell::forget_marks(&beside(&store, "-bell")).map_err(cannot)?;
    let replaced = old.exchange(partial, now).map_err(cannot)?;
    let damaged = old.damaged;
    let late = match old.id {
        Some(id) => holders::names(&[id], &store),
        None => String::new(),
    };
    Ok(Restored {
        content: Inspection {
            path: store.clone(),
            bytes: std::fs::metadata(&store).map_or(content.bytes, |meta| meta.len()),
            ..content
        },
        store,
        replaced,
        damaged,
        late,
    })
}

/// Copies the backup beside the store and looks it through.
fn take(from: &Path, store: &Path, partial: &Partial, attendant: &mut Attendant<'_>) -> Result<()> {
    let bad = |why: String| StoreError::BadBackup(from.to_owned(), why);
    let here = ConfinedPath::of_database(&real(from))?;
    let mut source = here.run(|| {
        let source = source(from)?;
        copy::take_snapshot(&source).map_err(|error| bad(damage(&error)))?;
        Ok::<_, StoreError>(source)
    })??;
    let there = ConfinedPath::of_file(partial.path())?;
    let copied = there.run(|| copy::copy(&mut source, from, partial.path(), attendant))?;
    copied.map_err(|error| match error {
        StoreError::NoRoom { needed, free, .. } => StoreError::NoRoom {
            file: store.to_owned(),
            needed,
            free,
        },
        error
            if matches!(error.class(), ErrorClass::Unusable | ErrorClass::Other)
                && !matches!(error, StoreError::Stopped) =>
        {
            bad(reason(&error))
        }
        other => other,
    })?;
    here.run(|| drop(source))?;
    match there.run(|| copy::check(partial.path(), attendant))?? {
        Some(problem) => Err(bad(format!("it is damaged ({problem})"))),
        None => Ok(()),
    }
}

/// Opens a backup. One that was copied together with its log is read with it;
/// any other is left as it is, also on a disk that cannot be written.
fn source(file: &Path) -> Result<Connection> {
    let bad = |why| StoreError::BadBackup(file.to_owned(), why);
    let has_log = ["-wal", "-journal"].iter().any(|suffix| {
        std::fs::metadata(beside(&real(file), suffix)).is_ok_and(|meta| meta.len() > 0)
    });
    if has_log {
        copy::reader(file).map_err(|error| bad(reason(&error)))
    } else {
        copy::still(file).map_err(|error| bad(damage(&error)))
    }
}

/// The store that is to be replaced, while no other process can reach it.
struct Old {
    path: PathBuf,
    id: Option<FileId>,
    numbers: Option<Numbers>,
    damaged: Option<String>,
    /// Locks the whole file, and with it what SQLite locks of it. SQLite has
    /// nothing open in this process any more, which a close would unlock.
    _lock: Option<File>,
}

impl Old {
    /// Writes its log back and locks every other process out.
    fn quiet(path: &Path) -> Result<Self> {
        for _ in 0..TRIES {
            let Some(id) = FileId::of(path) else {
                return Ok(Self {
                    path: path.to_owned(),
                    id: None,
                    numbers: None,
                    damaged: None,
                    _lock: None,
                });
            };
            let (numbers, damaged) = match ConfinedPath::of_database(path)?.run(|| fold(path))? {
                Ok(numbers) => (Some(numbers), None),
                Err(StoreError::Busy(_)) => return Err(in_use(path)),
                Err(error) if is_damage(&error) => (None, Some(reason(&error))),
                Err(error) => return Err(error),
            };
            let lock = lock(path)?;
            let log = beside(path, "-wal");
            let written = std::fs::metadata(log).is_ok_and(|meta| meta.len() > 0);
            if damaged.is_none() && written {
                // Another process came and went in between.
                continue;
            }
            ensure_unused(path)?;
            return Ok(Self {
                path: path.to_owned(),
                id: Some(id),
                numbers,
                damaged,
                _lock: Some(lock),
            });
        }
        Err(in_use(path))
    }

    /// Puts the copy in the place of the old file, which gets a name of its own;
    /// its log, if there is one, gets that which belongs to it. Neither file ever
    /// has two names: SQLite would keep a log for each.
    fn exchange(&self, copy: Partial, now: Timestamp) -> std::io::Result<Option<PathBuf>> {
        let stamp = now.strftime("%Y%m%dT%H%M%SZ");
        let name = |n: u32| match n {
            0 => beside(&self.path, &format!(".replaced-{stamp}")),
            n => beside(&self.path, &format!(".replaced-{stamp}-{n}")),
        };
        let free = |n: &u32| name(*n).symlink_metadata().is_err();
        let kept = name((0..).find(free).unwrap_or(0));
        let mut log_is_kept = false;
        for suffix in ["-wal", "-journal"] {
            let old = beside(&self.path, suffix);
            if std::fs::symlink_metadata(&old).is_ok_and(|meta| meta.len() > 0) {
                std::fs::hard_link(&old, beside(&kept, suffix))?;
                log_is_kept = true;
            }
        }
        sync_directory(directory_of(&self.path))?;
        self.clear()?;
        if self.id.is_none() {
            copy.keep(&self.path, true)?;
            return Ok(log_is_kept.then_some(kept));
        }
        if !copy.keep(&kept, false)? {
            return Err(std::io::Error::other("another process keeps a store there"));
        }
        match renameat_with(CWD, &kept, CWD, &self.path, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            // Not on this file system: two names for a moment.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let second = beside(&kept, ".old");
                std::fs::hard_link(&self.path, &second)?;
                std::fs::rename(&kept, &self.path)?;
                std::fs::rename(&second, &kept)?;
            }
            Err(error) => return Err(error.into()),
        }
        sync_directory(directory_of(&self.path))?;
        Ok(Some(kept))
    }

    /// Removes what SQLite would take for the new file's own.
    fn clear(&self) -> std::io::Result<()> {
        for suffix in BESIDE {
            match std::fs::remove_file(beside(&self.path, suffix)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        sync_directory(directory_of(&self.path))
    }
}

/// Writes the log back into the file, alone with it, and says how far the store
/// had counted.
fn fold(path: &Path) -> Result<Numbers> {
    file::examine(path)?;
    sidecars::ensure_fit(path)?;
    let words = |error: rusqlite::Error| explain_rusqlite(&error, path, "writing its log back");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(words)?;
    copy::harden(&connection).map_err(words)?;
    // A log that SQLite cannot read would be removed when this is closed.
    let keep = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(keep, true).map_err(words)?;
    let alone = |connection: &mut Connection| {
        // Before the first read: SQLite then lets no other process in, or reports that
        // one is there.
        connection.pragma_update(None, "locking_mode", "exclusive")?;
        let mut look =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
        look.set_drop_behavior(DropBehavior::Rollback);
        let numbers = Numbers::of(&look)?;
        drop(look);
        let left: i64 =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        Ok((numbers, left))
    };
    let (numbers, left) = alone(&mut connection).map_err(words)?;
    connection.close().map_err(|(_, error)| words(error))?;
    match left {
        0 => Ok(numbers),
        _ => Err(StoreError::Busy(path.into())),
    }
}

/// Locks all of the file against every other process.
fn lock(path: &Path) -> Result<File> {
    let file = guarded::open_to_write(path)
        .map_err(|error| StoreError::Io(path.into(), error.to_string()))?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(StoreError::InUse(path.to_owned(), holders::locker(&file))),
    }
}

/// Refuses while a process has the store open, also without a lock on it.
fn ensure_unused(path: &Path) -> Result<()> {
    let names = users(path);
    match names.is_empty() {
        true => Ok(()),
        false => Err(StoreError::InUse(path.to_owned(), names)),
    }
}

fn users(path: &Path) -> String {
    let files: Vec<FileId> = ["", "-wal", "-shm"]
        .iter()
        .filter_map(|suffix| FileId::of(&beside(path, suffix)))
        .collect();
    holders::names(&files, path)
}

/// The processes that SQLite's locks show.
fn in_use(path: &Path) -> StoreError {
    let names = users(path);
    if !names.is_empty() {
        return StoreError::InUse(path.to_owned(), names);
    }
    // Another user's, whose files we may not see: the lock has its process number.
    match lock(path) {
        Err(error) => error,
        Ok(_) => StoreError::InUse(path.to_owned(), "another process".into()),
    }
}

/// Whether a store cannot be read for what it is, rather than for who asks.
fn is_damage(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Corrupt(..)
            | StoreError::NotADatabase(_)
            | StoreError::Empty(_)
            | StoreError::Beside { .. }
            | StoreError::Io(..)
            | StoreError::Sql(..)
    )
}

/// Where the store really is, if it is there.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path)
        .or_else(|_| std::path::absolute(path))
        .unwrap_or_else(|_| path.to_owned())
}

/// What is wrong, without the name that the whole sentence begins with.
fn reason(error: &StoreError) -> String {
    let line = error.headline();
    line.split_once(": ")
        .map_or(line.clone(), |(_, why)| why.to_owned())
}

fn damage(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => "it is not an SQLite database".to_owned(),
        _ => format!("it cannot be read ({error})"),
    }
}
