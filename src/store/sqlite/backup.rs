//! A copy of the store for keeps: one that an operator asks for, and the one
//! that is kept before an older schema is brought up to date.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use tracing::info;

use super::admission::examine_store;
use super::confined::ConfinedPath;
use super::copy::{self, Attendant};
use super::file::{self, FileId, Files, beside};
use super::inspect::{self, Inspection, Kind};
use super::partial::{Access, Partial};
use crate::clock;
use crate::guarded;
use crate::store::accepted::Accepted;
use crate::store::{Result, StoreError};

/// What a name that is not whole yet ends with.
const PARTIAL: &str = ".partial";

/// A backup that was made.
#[derive(Debug)]
pub struct Copied {
    /// The copy.
    pub file: PathBuf,
    /// What is in it.
    pub content: Inspection,
}

/// Copies the store at `store`, as it is now, to `target`, while other processes go on
/// writing. The copy is checked before it gets its name; only the store's owner and
/// group may read it at most.
///
/// # Errors
/// [`StoreError::Taken`] if something stands at `target` and `force` does not say that
/// it may go; [`StoreError::NoRoom`], [`StoreError::CannotWrite`]; and each fault of
/// the store. Then no part of the copy is left.
pub fn backup(
    store: &Path,
    target: &Path,
    force: bool,
    attendant: &mut Attendant<'_>,
) -> Result<Copied> {
    let cannot =
        |error: std::io::Error| StoreError::CannotWrite(target.to_owned(), error.to_string());
    let id = examine_store(store)?;
    let database = std::fs::canonicalize(store).unwrap_or_else(|_| store.to_owned());
    ensure_other(&database, target)?;
    if !force && target.symlink_metadata().is_ok() {
        return Err(StoreError::Taken(target.to_owned()));
    }
    let access = Access::of(&database).map_err(cannot)?.private();
    let path = beside(target, PARTIAL);
    let partial = Partial::claim(&path, access)
        .map_err(cannot)?
        .ok_or_else(|| {
            let why = "another process is writing it now".to_owned();
            StoreError::CannotWrite(target.to_owned(), why)
        })?;
    let here = ConfinedPath::of_database(&database)?;
    let mut source = here.run(|| snapshot(&database))??;
    // The path meant one file when it was looked at and may mean another now.
    if FileId::of(store) != Some(id) {
        return Err(StoreError::Replaced(store.to_owned()));
    }
    let there = ConfinedPath::of_file(partial.path())?;
    there
        .run(|| copy::copy(&mut source, &database, partial.path(), attendant))?
        .map_err(|error| named(error, target))?;
    here.run(|| drop(source))?;
    let accepted = Accepted::of(store);
    let content = there.run(|| {
        if let Some(problem) = copy::check(partial.path(), attendant)? {
            return Err(StoreError::Corrupt(store.to_owned(), problem));
        }
        copy::still(partial.path())
            .and_then(|copy| inspect::look(&copy, target, &accepted, false))
            .map_err(|error| StoreError::CannotWrite(target.to_owned(), error.to_string()))
    })??;
    attendant.ensure_wanted()?;
    if !partial.keep(target, force).map_err(cannot)? {
        return Err(StoreError::Taken(target.to_owned()));
    }
    Ok(Copied {
        content: Inspection {
            bytes: std::fs::metadata(target).map_or(content.bytes, |meta| meta.len()),
            ..content
        },
        file: target.to_owned(),
    })
}

/// Opens all the files that it needs: from then on it may be read on any thread.
fn snapshot(database: &Path) -> Result<rusqlite::Connection> {
    let source = copy::reader(database)?;
    copy::take_snapshot(&source)
        .map_err(|error| super::fault::explain_rusqlite(&error, database, "reading it"))?;
    Ok(source)
}

/// An error of the unfinished file is one of the file that was wanted.
fn named(error: StoreError, target: &Path) -> StoreError {
    match error {
        StoreError::NoRoom { needed, free, .. } => StoreError::NoRoom {
            file: target.to_owned(),
            needed,
            free,
        },
        StoreError::CannotWrite(_, why) => StoreError::CannotWrite(target.to_owned(), why),
        other => other,
    }
}

/// A copy over the store, or over what belongs to it, would be its end.
fn ensure_other(database: &Path, target: &Path) -> Result<()> {
    let files = ["", "-wal", "-shm", "-journal", "-bell"].map(|suffix| beside(database, suffix));
    let directory = std::fs::canonicalize(file::directory_of(target)).ok();
    let there = directory
        .zip(target.file_name())
        .map(|(d, name)| d.join(name));
    let same_file = FileId::of(target).is_some_and(|id| FileId::of(database) == Some(id));
    if same_file || there.is_some_and(|there| files.contains(&there)) {
        let why = "this is the store itself, or belongs to it".to_owned();
        return Err(StoreError::CannotWrite(target.to_owned(), why));
    }
    Ok(())
}

/// A copy younger than this is the one that is needed: another opening made it, or an
/// earlier try of this one. A process that tries again and again, while others write,
/// must not fill the disk.
const JUST_NOW: Duration = Duration::from_secs(60);

/// The copy of a database that is about to get another schema.
pub(super) enum SchemaCopy {
    /// It stands here.
    At(PathBuf),
    /// Another process is making one at this moment.
    ByAnother,
    /// There is nothing to keep: the database has the schema already.
    NotNeeded,
}

/// Sees to it that a copy of the database as it is before schema `next` stands
/// beside it: an older store of ours, or the Python bridge's own. The database
/// must be open; in WAL mode it holds up no writer.
///
/// A copy from an earlier upgrade, after which an older version worked on, is another
/// state: it stays, and a further one is kept.
///
/// # Errors
/// [`StoreError::NoRoomToMigrate`], or that it cannot be written.
pub(super) fn before_migration(files: &Files, next: i64) -> Result<SchemaCopy> {
    let database = &files.database;
    let first = beside(database, &format!(".before-schema-{next}"));
    if let Some(copy) = copies(&first).0.filter(|copy| is_of_now(copy)) {
        return Ok(SchemaCopy::At(copy));
    }
    let cannot = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(files.named.clone()),
        _ => StoreError::CannotWrite(first.clone(), error.to_string()),
    };
    let access = Access::of(database).map_err(cannot)?.private();
    let Some(partial) = Partial::claim(&beside(&first, PARTIAL), access).map_err(cannot)? else {
        return Ok(SchemaCopy::ByAnother);
    };
    // The process that filled it before may have ended between the two questions.
    let (newest, kept) = copies(&first);
    if let Some(copy) = newest.as_ref().filter(|copy| is_of_now(copy)) {
        return Ok(SchemaCopy::At(copy.clone()));
    }
    let here = ConfinedPath::of_database(database)?;
    let mut source = here.run(|| snapshot(database))??;
    files.ensure_usable()?;
    let words = |error| super::fault::explain_rusqlite(&error, database, "reading it");
    match inspect::kind(&source).map_err(words)? {
        Kind::Own { schema, .. } if schema < next => {}
        Kind::Bridge => {}
        Kind::Own { .. } | Kind::Empty | Kind::Foreign => return Ok(SchemaCopy::NotNeeded),
    }
    info!(event = "store-copied", copy = %kept.display(), "keeping a copy of the store before the upgrade to schema {next}");
    let mut attendant = Attendant {
        tell: &mut |_| {},
        halt: Arc::new(AtomicBool::new(false)),
    };
    let there = ConfinedPath::of_file(partial.path())?;
    let copied = there.run(|| copy::copy(&mut source, database, partial.path(), &mut attendant))?;
    copied.map_err(|error| match named(error, &kept) {
        StoreError::NoRoom { needed, free, .. } => StoreError::NoRoomToMigrate {
            path: files.named.clone(),
            schema: next,
            copy: kept.clone(),
            needed,
            free,
        },
        other => other,
    })?;
    here.run(|| drop(source))?;
    // One that cannot be read does not count.
    let known = newest.filter(|newest| same_content(newest, partial.path()).unwrap_or(false));
    if let Some(known) = known {
        return Ok(SchemaCopy::At(known));
    }
    // If another one was quicker, there is one.
    partial.keep(&kept, false).map_err(cannot)?;
    Ok(SchemaCopy::At(kept))
}

/// The newest of the copies, `first` or one with a number behind it, and what
/// the next one is called.
fn copies(first: &Path) -> (Option<PathBuf>, PathBuf) {
    let mut newest = None;
    let mut next = first.to_owned();
    for number in 2_u32.. {
        if next.symlink_metadata().is_err() {
            break;
        }
        newest = Some(next);
        next = beside(first, &format!(".{number}"));
    }
    (newest, next)
}

fn is_of_now(copy: &Path) -> bool {
    // A link does not show the state of the store.
    let made = copy
        .symlink_metadata()
        .ok()
        .filter(std::fs::Metadata::is_file);
    let made = made.and_then(|meta| meta.modified().ok());
    let made = made.and_then(|made| Timestamp::try_from(made).ok());
    let age = made.and_then(|made| Duration::try_from(clock::now().duration_since(made)).ok());
    age.is_some_and(|age| age < JUST_NOW)
}

/// Whether two copies hold the same, page by page.
fn same_content(one: &Path, other: &Path) -> std::io::Result<bool> {
    let open = |path: &Path| -> std::io::Result<(u64, BufReader<File>)> {
        let file = guarded::open(path)?;
        Ok((file.metadata()?.len(), BufReader::with_capacity(PART, file)))
    };
    let ((length, mut one), (other_length, mut other)) = (open(one)?, open(other)?);
    if length != other_length {
        return Ok(false);
    }
    let mut begun = false;
    loop {
        let (ours, theirs) = (one.fill_buf()?, other.fill_buf()?);
        let count = ours.len().min(theirs.len());
        if count == 0 {
            return Ok(true);
        }
        let same = ours[..count]
            .iter()
            .zip(&theirs[..count])
            .enumerate()
            .all(|(at, (a, b))| a == b || (!begun && COUNTERS.iter().any(|c| c.contains(&at))));
        if !same {
            return Ok(false);
        }
        begun = true;
        one.consume(count);
        other.consume(count);
    }
}

/// How much is compared at once, more than a header.
const PART: usize = 1 << 16;
/// Where a database's header counts its changes, and says who made the last:
/// that differs between copies of the same.
const COUNTERS: [Range<usize>; 2] = [24..28, 92..100];
