//! The database's file and its log belong together. SQLite knows no more of that
//! than the name: where an older copy of the file is put beside the log of the
//! newer one, it reads the log's pages over those of the copy, and the newest
//! count that stands in the log hides that the rest is older, or mixed.
//!
//! The file by itself never counts backwards either, since a checkpoint only
//! brings newer pages. So a daemon notes in the bell's file how far the file had
//! counted without its log, whenever a checkpoint changed it. Where the file was
//! changed since, it is asked again before SQLite puts the two together. What
//! else changes a file's time (`touch`, `chmod`) does not change the answer.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::confined::ConfinedPath;
use super::file::{Files, beside};
use super::newest::newest;
use super::{copy, file};
use crate::clock;
use crate::doorbell::{self, Base};
use crate::store::{Result, StoreError};

/// So long a store may count no further before a daemon does it.
const STANDS_STILL: Duration = Duration::from_secs(30);
/// How often a file must have counted less, since a checkpoint may be writing the
/// very page that is read.
const LOOKS: u32 = 4;
/// Between two of these looks.
const AGAIN: Duration = Duration::from_millis(20);
/// Noted of a file that was found to be an older copy: no count is enough.
const REFUSED: Base = Base {
    count: i64::MAX,
    changed: 0,
};

/// Refuses a database whose log belongs to a newer one. `real` is the path
/// without links. Before SQLite opens it: the last connection that closes writes
/// the log into the file, and what was wrong cannot be seen any more.
///
/// # Errors
/// [`StoreError::Mixed`].
pub(super) fn ensure_whole(named: &Path, real: &Path) -> Result<()> {
    let bell = beside(real, "-bell");
    let Some(base) = doorbell::marks(&bell).base else {
        return Ok(());
    };
    if base != REFUSED {
        let log = std::fs::symlink_metadata(beside(real, "-wal"));
        // Without a log, the count that the bell has is enough.
        if changed(real) == Some(base.changed) || log.map_or(0, |log| log.len()) == 0 {
            return Ok(());
        }
        if !counts_less(&ConfinedPath::of_database(real)?, real, base.count)? {
            return Ok(());
        }
        let _ = doorbell::note_base(&bell, REFUSED);
    }
    Err(mixed(named, real))
}

fn mixed(named: &Path, real: &Path) -> StoreError {
    StoreError::Mixed {
        path: named.to_owned(),
        log: beside(real, "-wal"),
        bell: beside(real, "-bell"),
    }
}

/// When the file was changed last, in nanoseconds.
fn changed(path: &Path) -> Option<i64> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    let seconds = meta.ctime().checked_mul(1_000_000_000)?;
    seconds.checked_add(meta.ctime_nsec())
}

/// Whether the file by itself has counted less than that.
fn counts_less(place: &ConfinedPath, database: &Path, than: i64) -> Result<bool> {
    for look in 0..LOOKS {
        if look > 0 {
            std::thread::park_timeout(AGAIN);
        }
        match place.run(|| count(database))? {
            Some(found) if found < than => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// How far the file by itself has counted; `None` where that cannot be said, as
/// in a file into which a checkpoint was cut short.
fn count(database: &Path) -> Option<i64> {
    let ask = || -> rusqlite::Result<Option<i64>> {
        let connection: Connection = copy::still(database)?;
        connection.query_row(concat!("SELECT nullif((", newest!(), "), 0)"), [], |row| {
            row.get(0)
        })
    };
    ask().ok().flatten()
}

/// What a daemon has noted.
#[derive(Debug, Default)]
pub(super) struct Tended(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The last count, and since when it stands still.
    count: Option<(i64, Duration)>,
    /// The time of the file's last change, as it was at the last look.
    changed: Option<i64>,
    noted: Option<Base>,
}

impl Tended {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to count on: once at the start, and whenever `count`
    /// has stood still for long.
    pub(super) fn stands_still(&self, count: i64) -> bool {
        let now = clock::since_boot();
        let mut state = self.state();
        let still = match state.count {
            Some((known, _)) if known != count => false,
            Some((_, since)) if now.saturating_sub(since) < STANDS_STILL => return false,
            _ => true,
        };
        state.count = Some((count, now));
        still
    }

    /// Notes how far the file by itself has counted, if it was changed since that
    /// was noted, and rests again.
    ///
    /// # Errors
    /// [`StoreError::Mixed`] if it has counted less than before. This is noted as
    /// well: the connections that are open put both together when they close.
    pub(super) fn note(&self, files: &Files) -> Result<()> {
        let real = &files.database;
        let now = changed(real);
        let (before, noted) = {
            let mut state = self.state();
            (std::mem::replace(&mut state.changed, now), state.noted)
        };
        let (Some(changed_at), true) = (now, before == now) else {
            // A page that is being written may be read by halves.
            return Ok(());
        };
        if noted.is_some_and(|noted| noted.changed == changed_at) {
            return Ok(());
        }
        let bell = beside(real, "-bell");
        let known = doorbell::marks(&bell).base;
        let least = known.into_iter().chain(noted).map(|base| base.count).max();
        let place = ConfinedPath::of_database(real)?;
        if let Some(least) = least
            && counts_less(&place, real, least)?
        {
            let _ = doorbell::note_base(&bell, REFUSED);
            return Err(mixed(&files.named, real));
        }
        let count = place.run(|| count(real))?;
        // What is noted must be true after a power failure, too.
        let kept = file::keep_open(real).is_some_and(|file| file.sync_data().is_ok());
        if let (Some(count), true) = (count, kept && changed(real) == now) {
            let base = Base {
                count,
                changed: changed_at,
            };
            if doorbell::note_base(&bell, base).is_ok() {
                self.state().noted = Some(base);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database in WAL mode with a log, whose file by itself has counted to 2.
    fn database(directory: &Path) -> (std::path::PathBuf, Connection) {
        let path = directory.join("bridge.db");
        let connection = Connection::open(&path).expect("opened");
        connection
            .execute_batch(
                "PRAGMA journal_mode = wal;
                 CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, x);
                 INSERT INTO messages (x) VALUES (1), (2);
                 PRAGMA wal_checkpoint(TRUNCATE);
                 INSERT INTO messages (x) VALUES (3);",
            )
            .expect("made");
        (path, connection)
    }

    fn note(path: &Path, count: i64, changed: i64) {
        let base = Base { count, changed };
        doorbell::note_base(&beside(path, "-bell"), base).expect("noted");
    }

    #[test]
    fn a_file_counts_without_its_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, connection) = database(dir.path());
        assert_eq!(count(&path), Some(2));
        let query = "SELECT max(id) FROM messages";
        let all = connection.query_row(query, [], |row| row.get::<_, i64>(0));
        assert_eq!(all.expect("asked"), 3);
    }

    #[test]
    fn file_that_was_touched_is_no_older_copy() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, _open) = database(dir.path());
        ensure_whole(&path, &path).expect("nothing is noted");
        note(&path, 2, changed(&path).expect("a time") - 1);
        ensure_whole(&path, &path).expect("it has counted as far");
    }

    #[test]
    fn file_that_counted_less_is_refused_beside_its_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, open) = database(dir.path());
        let now = changed(&path).expect("a time");
        note(&path, 3, now);
        ensure_whole(&path, &path).expect("the file was not changed since");
        note(&path, 3, now - 1);
        let refused = ensure_whole(&path, &path);
        assert!(
            matches!(refused, Err(StoreError::Mixed { .. })),
            "{refused:?}"
        );
        drop(open);
        ensure_whole(&path, &path).expect_err("it was found once");
        note(&path, 3, now - 1);
        ensure_whole(&path, &path).expect("there is no log any more");
    }

    #[test]
    fn a_file_that_cannot_be_asked_says_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, open) = database(dir.path());
        note(&path, 3, 1);
        std::fs::write(&path, "a page of a checkpoint that was cut short").expect("written");
        assert_eq!(count(&path), None);
        ensure_whole(&path, &path).expect("SQLite has its word for it");
        std::mem::forget(open);
    }
}
