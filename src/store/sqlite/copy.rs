//! A copy of a database as it is at one moment, while others go on writing.
//!
//! SQLite's own backup begins anew whenever another process commits, and would never
//! end beside a steady writer. Here the connection that is read holds a read
//! transaction all along: in WAL mode that is one snapshot, which no commit disturbs
//! and which delays no writer. The log cannot begin anew in that time, and grows by
//! what is written meanwhile.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::fault::explain_rusqlite;
use super::{beside, file};
use crate::store::{Result, StoreError};

/// A mebibyte, with pages of the usual size: often enough for a bar.
const STEP: i32 = 256;
/// How often a check asks whether it should end, in steps of SQLite's machine.
const ASK: i32 = 50_000;
/// How long a lock is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bytes that are there, of how many.
    Copying(u64, u64),
    /// All are there, and are looked through.
    Checking,
}

/// The caller that waits for a long copy.
pub struct Attendant<'a> {
    /// Gets the progress.
    pub tell: &'a mut (dyn FnMut(Progress) + Send),
    /// Ends it when it is set.
    pub halt: Arc<AtomicBool>,
}

impl std::fmt::Debug for Attendant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attendant").finish_non_exhaustive()
    }
}

impl Attendant<'_> {
    /// # Errors
    /// [`StoreError::Stopped`] if the caller stopped it.
    pub(super) fn ensure_wanted(&self) -> Result<()> {
        match self.halt.load(Ordering::Relaxed) {
            true => Err(StoreError::Stopped),
            false => Ok(()),
        }
    }
}

/// Lets nothing that stands in the schema run on this connection.
pub(super) fn harden(connection: &Connection) -> rusqlite::Result<()> {
    for (config, on) in [
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
    ] {
        connection.set_db_config(config, on)?;
    }
    Ok(())
}

/// Opens a database that others may be writing, to read it.
pub(super) fn reader(path: &Path) -> Result<Connection> {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    beside::ensure_fit(&real)?;
    let open = || {
        // In WAL mode a reader, too, writes: into the log's index.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        harden(&connection)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        Ok(connection)
    };
    open().map_err(|error| explain_rusqlite(&error, path, "opening it"))
}

/// Opens a database that no process writes, and leaves nothing beside it.
pub(super) fn still(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' => uri.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    harden(&connection)?;
    Ok(connection)
}

/// Takes the snapshot: from here on the connection sees no later commit.
pub(super) fn take_snapshot(source: &Connection) -> rusqlite::Result<()> {
    source.execute_batch("BEGIN")?;
    // The first read takes it, not the word.
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// Copies the snapshot of `source`, which is the database at `from`, into the
/// empty file at `to`. Returns its bytes. Takes the connection for itself alone,
/// because it runs on another thread than the one that opened it.
pub(super) fn copy(
    source: &mut Connection,
    from: &Path,
    to: &Path,
    attendant: &mut Attendant<'_>,
) -> Result<u64> {
    let words = |error: rusqlite::Error| explain_rusqlite(&error, from, "copying it");
    let source = &*source;
    let pragma = |name| source.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count").map_err(words)?;
    let page = pragma("page_size").map_err(words)?;
    let in_bytes = |pages: i64| u64::try_from(pages * page).unwrap_or(0);
    let needed = in_bytes(pages);
    ensure_room(to, needed)?;
    let open = || {
        // No other process knows this file: no locks on it, and no journal, for one
        // that is not finished is thrown away.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let target = Connection::open_with_flags_and_vfs(to, flags, c"unix-none")?;
        target.pragma_update(None, "journal_mode", "off")?;
        target.pragma_update(None, "synchronous", "off")?;
        // Only now: it would not let the journal be turned off.
        harden(&target)?;
        Ok(target)
    };
    let theirs = |error: rusqlite::Error| cannot_write(&error, to, needed);
    let mut target = open().map_err(theirs)?;
    let backup = Backup::new(source, &mut target).map_err(theirs)?;
    loop {
        attendant.ensure_wanted()?;
        let step = backup
            .step(STEP)
            .map_err(|error| match is_of_target(&error, to) {
                true => theirs(error),
                false => words(error),
            })?;
        let left = in_bytes(backup.progress().remaining.into());
        (attendant.tell)(Progress::Copying(needed.saturating_sub(left), needed));
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            _ => return Err(StoreError::Busy(from.into())),
        }
    }
    drop(backup);
    target.close().map_err(|(_, error)| theirs(error))?;
    Ok(needed)
}

/// Looks through a file that is whole; what is wrong with it, if anything.
pub(super) fn check(path: &Path, attendant: &mut Attendant<'_>) -> Result<Option<String>> {
    attendant.ensure_wanted()?;
    (attendant.tell)(Progress::Checking);
    let halt = Arc::clone(&attendant.halt);
    let look = || {
        let connection = still(path)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        connection.progress_handler(ASK, Some(move || halt.load(Ordering::Relaxed)))?;
        let mut statement = connection.prepare("PRAGMA integrity_check(1)")?;
        statement.query_row([], |row| row.get::<_, String>(0))
    };
    match look() {
        Ok(said) if said == "ok" => Ok(None),
        Ok(said) => Ok(Some(said)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Err(StoreError::Stopped)
        }
        Err(error) => Ok(Some(error.to_string())),
    }
}

/// Checks that `needed` bytes fit where `file` is.
fn ensure_room(file: &Path, needed: u64) -> Result<()> {
    match file::room(file) {
        Some((free, _)) if free < needed => Err(no_room(file, needed, free)),
        _ => Ok(()),
    }
}

fn no_room(file: &Path, needed: u64, free: u64) -> StoreError {
    StoreError::NoRoom {
        file: file.to_owned(),
        needed,
        free,
    }
}

/// Whether a copy failed at the end that is written.
fn is_of_target(error: &rusqlite::Error, to: &Path) -> bool {
    match error.sqlite_error().map(|error| error.extended_code) {
        // Full, or a failed write: nothing is written at the other end.
        Some(13 | 778) => true,
        Some(code) => code & 0xff == 10 && file::is_full(to),
        None => false,
    }
}

fn cannot_write(error: &rusqlite::Error, to: &Path, needed: u64) -> StoreError {
    let code = error.sqlite_error().map(|error| error.extended_code & 0xff);
    if code == Some(13) || (code == Some(10) && file::is_full(to)) {
        let free = file::room(to).map_or(0, |(free, _)| free);
        let written = std::fs::metadata(to).map_or(0, |meta| meta.len());
        return no_room(to, needed, free + written);
    }
    StoreError::CannotWrite(to.to_owned(), error.to_string())
}
