//! The reader on the doorbell's thread: what came since the last look.
//!
//! It speaks to SQLite without a hop to another thread, because a look takes a
//! microsecond and a hop takes ten. In SQLite a message's id ascends in commit order
//! (one writer at a time, AUTOINCREMENT), so one number is enough to find what is new;
//! the cursors that decide who has seen what stay one for each recipient, with its
//! listener.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};

use super::copy;
use super::fault::explain_rusqlite;
use super::file::{Files, keep_open};
use super::newest::{Newest, newest};
use super::{beside, shared, turnstile};
use crate::doorbell::{Listener, OwnCommits, Writer};
use crate::guarded;
use crate::model::message::Message;
use crate::model::{MessageId, SessionKey};
use crate::store::{Arrival, Look, OnRing, Result, Signal, Signalled, StoreError};

/// The byte of the `-shm` file that a writer of the log locks:
/// <https://sqlite.org/walformat.html#wal_locks>.
const WRITE_LOCK: u64 = 120;

/// The start of the `-shm` file: its header, which a commit changes, twice over.
/// <https://sqlite.org/walformat.html#the_wal_index_header>.
type IndexHeader = [u8; 96];

/// Reads messages in commit order.
pub(super) struct Tail {
    files: Arc<Files>,
    newest: Newest,
    connection: Connection,
    shared_memory: Option<&'static File>,
    /// Transactions of this process that may write to the log now.
    own: Arc<OwnCommits>,
    /// Where our writers give their word that they ring, once there is one.
    bell: Option<File>,
    /// Newest id that was returned, or was there at the start.
    head: i64,
    /// The signals' counts that were seen last.
    signals: [i64; 4],
    data_version: i64,
    /// As it was before the last look, if that read all that there was.
    looked: Option<IndexHeader>,
    /// As it was when that was asked last.
    header: Option<IndexHeader>,
    /// Set when the store became another one, or an older copy of itself, until a look
    /// has reported it.
    trouble: Option<StoreError>,
}

impl Tail {
    pub(super) fn open(files: &Arc<Files>, own: &Arc<OwnCommits>) -> Result<Self> {
        files.ensure_usable()?;
        beside::ensure_fit(&files.database)?;
        let words = |error: rusqlite::Error| explain_rusqlite(&error, &files.named, "watching it");
        let connection = Connection::open_with_flags(
            &files.database,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(words)?;
        copy::harden(&connection).map_err(words)?;
        connection
            .pragma_update(None, "query_only", true)
            .and_then(|()| connection.pragma_update(None, "temp_store", "memory"))
            .map_err(words)?;
        connection
            .busy_timeout(std::time::Duration::from_secs(5))
            .map_err(words)?;
        let head = connection
            .query_row("SELECT coalesce(max(id), 0) FROM messages", [], |row| {
                row.get(0)
            })
            .map_err(words)?;
        let newest = Newest::default();
        newest.saw(newest_number(&connection).map_err(words)?);
        let data_version = data_version(&connection).map_err(words)?;
        files.ensure_same()?;
        Ok(Self {
            shared_memory: keep_open(&files.beside("-shm")),
            own: Arc::clone(own),
            bell: None,
            files: Arc::clone(files),
            newest,
            connection,
            head,
            // Earlier messages are read in any case.
            signals: [0; 4],
            data_version,
            looked: None,
            header: None,
            trouble: None,
        })
    }

    /// The listener that calls `on_ring` with this reader.
    pub(super) fn listen(self, on_ring: OnRing) -> impl Listener {
        Listening {
            tail: self,
            on_ring,
        }
    }

    /// A look that failed, which the next ring repeats.
    fn failed(&mut self, error: &rusqlite::Error) -> StoreError {
        self.looked = None;
        self.words(error)
    }

    fn words(&self, error: &rusqlite::Error) -> StoreError {
        match self.files.ensure_usable() {
            Ok(()) => explain_rusqlite(error, &self.files.named, "reading new messages"),
            Err(replaced) => replaced,
        }
    }
}

fn newest_number(connection: &Connection) -> rusqlite::Result<i64> {
    let mut question = connection.prepare_cached(newest!())?;
    question.query_row([], |row| row.get(0))
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))
}

impl Look for Tail {
    fn arrivals(&mut self, whole: &HashSet<SessionKey>) -> Result<Vec<Arrival>> {
        self.ensure_well()?;
        let new = self.arrivals_since(whole);
        let (arrivals, head) = new.map_err(|error| self.failed(&error))?;
        self.head = head;
        Ok(arrivals)
    }

    fn messages(&mut self, of: &HashSet<SessionKey>) -> Result<Vec<Message>> {
        self.ensure_well()?;
        let new = self.messages_since(of);
        let (messages, head) = new.map_err(|error| self.failed(&error))?;
        self.head = head;
        Ok(messages)
    }

    fn signalled(&mut self) -> Result<Signalled> {
        let now = self.signals_now().map_err(|error| self.failed(&error))?;
        let before = std::mem::replace(&mut self.signals, now);
        Ok(Signalled {
            work: now[0] != before[0],
            access: now[1] != before[1],
            agents: now[2] != before[2],
            owed: now[3] != before[3],
        })
    }
}

impl Tail {
    /// Whether the store is the one that was opened, as far as is known.
    fn ensure_well(&mut self) -> Result<()> {
        self.trouble.take().map_or(Ok(()), Err)
    }

    /// Whether the store is no older copy of itself, in which a listener would wait
    /// for numbers that do not come.
    fn ensure_forwards(&self) -> Result<()> {
        let found = newest_number(&self.connection).map_err(|error| self.words(&error))?;
        let seen = self.newest.seen();
        self.newest.ensure_forwards(found, seen, &self.files)
    }

    /// Whether the process that has SQLite's lock has given its word that it rings.
    /// What cannot be said of one in another namespace it has not.
    fn will_ring(&mut self, writer: Option<Pid>) -> bool {
        if self.bell.is_none() {
            self.bell = guarded::open(&self.files.beside("-bell")).ok();
        }
        let bell = self.bell.as_ref();
        writer.is_some() && bell.and_then(turnstile::word) == writer
    }

    /// The header as it is now; half of it may be older than the rest.
    fn header_now(&self) -> Option<IndexHeader> {
        let mut header = [0; size_of::<IndexHeader>()];
        self.shared_memory?.read_exact_at(&mut header, 0).ok()?;
        Some(header)
    }

    fn signals_now(&self) -> rusqlite::Result<[i64; 4]> {
        let mut question = self.connection.prepare_cached(
            "SELECT CAST(coalesce(max(n) FILTER (WHERE name = ?1), 0) AS INTEGER),
                    CAST(coalesce(max(n) FILTER (WHERE name = ?2), 0) AS INTEGER),
                    CAST(coalesce(max(n) FILTER (WHERE name = ?3), 0) AS INTEGER),
                    CAST(coalesce(max(n) FILTER (WHERE name = ?4), 0) AS INTEGER)
             FROM bridge_signal WHERE name IN (?1, ?2, ?3, ?4)",
        )?;
        let signals = [Signal::Work, Signal::Access, Signal::Agents, Signal::Owed];
        question.query_row(signals.map(Signal::name), |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
        })
    }

    fn arrivals_since(&self, whole: &HashSet<SessionKey>) -> rusqlite::Result<(Vec<Arrival>, i64)> {
        let mut statement = self.connection.prepare_cached(NEW)?;
        let mut rows = statement.query([self.head])?;
        let (mut arrivals, mut head) = (Vec::new(), self.head);
        while let Some(row) = rows.next()? {
            head = row.get(0)?;
            if let Some(to) = recipient(row)? {
                let message = match whole.contains(&to) {
                    true => message(row, head)?,
                    false => None,
                };
                let id = MessageId(head);
                arrivals.push(Arrival { id, to, message });
            }
        }
        Ok((arrivals, head))
    }

    fn messages_since(&self, of: &HashSet<SessionKey>) -> rusqlite::Result<(Vec<Message>, i64)> {
        let mut statement = self.connection.prepare_cached(NEW)?;
        let mut rows = statement.query([self.head])?;
        let (mut messages, mut head) = (Vec::new(), self.head);
        while let Some(row) = rows.next()? {
            head = row.get(0)?;
            // Most are for others.
            if !recipient(row)?.is_some_and(|to| of.contains(&to)) {
                continue;
            }
            messages.extend(message(row, head)?);
        }
        Ok((messages, head))
    }
}

/// Messages behind an id. A column that is not asked for costs nothing.
const NEW: &str =
    "SELECT id, conversation_id, from_session, to_session, message, metadata, timestamp
     FROM messages WHERE id > ?1 ORDER BY id";

/// Whom the message of a row of [`NEW`] is for.
fn recipient(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<SessionKey>> {
    let (conversation, side) = (text(row, 1)?.parse(), text(row, 3)?.parse());
    Ok(match (conversation, side) {
        (Ok(conversation), Ok(side)) => Some(SessionKey::new(conversation, side)),
        _ => None,
    })
}

/// The message of a row of [`NEW`].
fn message(row: &rusqlite::Row<'_>, id: i64) -> rusqlite::Result<Option<Message>> {
    Ok(shared::assemble(
        id,
        &text(row, 1)?,
        &text(row, 2)?,
        &text(row, 3)?,
        &text(row, 4)?,
        Some(&text(row, 5)?),
        &text(row, 6)?,
    ))
}

/// A column's text, of any type, as [`shared::text`] reads it.
fn text<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Cow<'a, str>> {
    let bytes = match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => &[],
    };
    Ok(String::from_utf8_lossy(bytes))
}

struct Listening {
    tail: Tail,
    on_ring: OnRing,
}

impl Listener for Listening {
    fn writer(&mut self) -> Writer {
        // The lock would not show: it is this process's own.
        if self.tail.own.is_under_way() {
            return Writer::Here;
        }
        let Some(shared_memory) = self.tail.shared_memory else {
            return Writer::None;
        };
        let question = Flock {
            start: WRITE_LOCK,
            length: 1,
            ..Flock::from(FlockType::WriteLock)
        };
        match fcntl_getlk(shared_memory.as_fd(), &question) {
            Ok(Some(writer)) if self.tail.will_ring(writer.pid) => Writer::Ours,
            Ok(Some(_)) => Writer::Foreign,
            Ok(None) | Err(_) => Writer::None,
        }
    }

    fn published(&mut self) -> bool {
        self.tail.header = self.tail.header_now();
        self.tail.header.is_none() || self.tail.header != self.tail.looked
    }

    fn look(&mut self) {
        // As it was when it was asked for: what is published meanwhile is looked at
        // again.
        self.tail.looked = self.tail.header.take();
        (self.on_ring)(&mut self.tail);
    }

    fn changed(&mut self) -> bool {
        let tail = &mut self.tail;
        tail.trouble = tail.files.ensure_usable().err();
        if tail.trouble.is_some() {
            return true;
        }
        let Ok(version) = data_version(&tail.connection) else {
            // Let the look find out and report it.
            return true;
        };
        if std::mem::replace(&mut tail.data_version, version) == version {
            return false;
        }
        tail.trouble = tail.ensure_forwards().err();
        tail.trouble.is_some() || self.published()
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::FileId;
    use super::*;
    use crate::store::locate::{self, Location, Origin};
    use crate::store::sqlite::Create;

    #[tokio::test]
    async fn transaction_of_this_process_is_known() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bridge.db");
        let (name, origin) = (path.clone().into(), Origin::Flag);
        let location = Location { name, origin };
        let store = locate::open(&location, Create::Yes).await.expect("open");
        let id = FileId::of(&path).expect("there");
        let own = Arc::<OwnCommits>::default();
        let tail = Tail::open(&Arc::new(Files::new(path, id)), &own).expect("opened");
        let mut listener = tail.listen(Box::new(|_| {}));
        assert_eq!(listener.writer(), Writer::None);
        let commit = own.begin();
        assert_eq!(listener.writer(), Writer::Here);
        drop(commit);
        assert_eq!(listener.writer(), Writer::None);
        store.close().await;
    }
}
