//! The connection that an executor writes with: held by the executor's thread,
//! which is confined to the store's directory, and asked without a hop.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::fault::{Fault, is_locked};
use super::newest::newest;
use super::statements::Statements as _;
use super::turnstile::{QueuePlace, Turnstile, Word};
use super::{Durability, Opened, odd, ours};
use crate::doorbell::OwnCommit;
use crate::model::StoreName;
use crate::store::executor::{Engine, Executor, PATIENCE, ReadEngine, Readers, Threads};
use crate::store::rows::Rows;
use crate::store::{Result, StoreError};

/// How long SQLite itself waits for the write lock: the writer whose turn it is tries
/// again after a millisecond or two, and all others go back to the queue.
pub(super) const AT_THE_DOOR: Duration = Duration::from_millis(5);

/// How often a writer in the queue looks whether anything still waits for it.
const LOOK: Duration = Duration::from_millis(20);

/// No count of changes.
const UNCHECKED: i64 = i64::MIN;

/// An executor of the writes that are to be so durable, over a connection that
/// syncs like this; `first` is one that was opened already.
pub(super) fn executor(
    opened: &Arc<Opened>,
    durability: Durability,
    synchronous: Durability,
    first: Option<Connection>,
) -> Executor {
    let mut rows = SqliteRows::new(opened, synchronous);
    rows.connection = first;
    let engine = SqliteEngine {
        durability,
        turnstile: Turnstile::new(opened.files.beside("-bell")),
        place: None,
        word: None,
        own: None,
        rows,
        changes: 0,
        begun: false,
    };
    let writes = Arc::clone(opened.writes(durability));
    Executor::new(Box::new(engine), writes, threads(opened))
}

/// What only reads, over this number of connections.
pub(super) fn readers(opened: &Arc<Opened>, connections: usize) -> Readers {
    let engine = || -> Box<dyn ReadEngine> {
        let rows = SqliteRows::new(opened, Durability::Normal);
        Box::new(SqliteReader(rows))
    };
    let engines = std::iter::repeat_with(engine).take(connections).collect();
    Readers::new(engines, &threads(opened))
}

/// The first thread that asks SQLite opens the files.
fn threads(opened: &Arc<Opened>) -> Threads {
    let confined = Arc::clone(&opened.confined);
    Arc::new(move |name, work| confined.thread(name, work))
}

/// The rows inside a transaction. The statements are in the files of their
/// tables.
pub(super) struct SqliteRows {
    opened: Arc<Opened>,
    synchronous: Durability,
    connection: Option<Connection>,
    /// The count of changes of the schema up to which the connection knows the
    /// definitions.
    checked: i64,
    doing: &'static str,
}

impl SqliteRows {
    fn new(opened: &Arc<Opened>, synchronous: Durability) -> Self {
        Self {
            opened: Arc::clone(opened),
            synchronous,
            connection: None,
            checked: UNCHECKED,
            doing: "opening it",
        }
    }

    /// Runs statements in the transaction.
    pub(super) fn run<T>(
        &mut self,
        statements: impl FnOnce(&Connection) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        let Some(connection) = &self.connection else {
            return Err(StoreError::Stopped);
        };
        statements(connection).map_err(|fault| self.explain(connection, fault))
    }

    pub(super) fn path(&self) -> &Path {
        self.opened.path()
    }

    pub(super) fn opened(&self) -> &Arc<Opened> {
        &self.opened
    }

    fn execute(&mut self, sql: &'static str) -> Result<()> {
        self.run(|connection| {
            connection.change(sql, [])?;
            Ok(())
        })
    }

    fn explain(&self, connection: &Connection, fault: Fault) -> StoreError {
        if let Fault::Lite(error) = &fault {
            // A file that vanished explains what SQLite said about it.
            if let Err(replaced) = self.opened.files.ensure_usable() {
                return replaced;
            }
            // SQLite calls it full, too, when a table has no id left.
            let is_full = error
                .sqlite_error()
                .is_some_and(|e| e.extended_code & 0xff == 13);
            if is_full
                && let Ok(tables) = odd::used_up(connection)
                && let Some(what) = tables.into_iter().next()
            {
                let path = self.opened.name.clone();
                return StoreError::NoIdLeft { path, what };
            }
        }
        fault.explain(self.path(), self.doing)
    }

    /// Closes the connection, if there is one, while no other of this process closes:
    /// of two that close at once neither is the last, and the log would stay.
    fn close(&mut self) {
        if self.connection.is_none() {
            return;
        }
        let closing = self.opened.closing.lock();
        let _one = closing.unwrap_or_else(PoisonError::into_inner);
        self.connection = None;
    }

    /// The connection, opened if there is none.
    fn connected(&mut self) -> std::result::Result<&Connection, Fault> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                // What one connection has seen does not hold for another.
                self.checked = UNCHECKED;
                self.opened.open_another(self.synchronous)?
            }
        };
        Ok(self.connection.insert(connection))
    }
}

impl Drop for SqliteRows {
    fn drop(&mut self) {
        self.close();
    }
}

impl Rows for SqliteRows {
    fn store(&self) -> &StoreName {
        &self.opened.name
    }

    fn hold_view(&mut self) -> Result<()> {
        self.execute("BEGIN")
    }
}

struct SqliteEngine {
    durability: Durability,
    turnstile: Turnstile,
    /// In the queue of writers, while a transaction is under way.
    place: Option<QueuePlace>,
    /// Given for as long; the next writer's begins behind it.
    word: Option<Word>,
    /// For as long, and until it has rung.
    own: Option<OwnCommit>,
    rows: SqliteRows,
    /// What the connection had changed when the transaction began.
    changes: u64,
    /// Whether it was used: from then on its thread is a confined one.
    begun: bool,
}

impl Drop for SqliteEngine {
    fn drop(&mut self) {
        if !self.begun && self.rows.connection.is_some() {
            let opened = Arc::clone(&self.rows.opened);
            // What cannot be done here is done by the end of the process.
            let _ = opened.confined.run(|| self.rows.close());
        }
    }
}

impl SqliteEngine {
    fn try_begin(&mut self, goes_on: &dyn Fn() -> bool) -> std::result::Result<(), Fault> {
        let opened = Arc::clone(&self.rows.opened);
        opened.files.ensure_usable()?;
        let checked = self.rows.checked;
        let connection = self.rows.connected()?;
        if checked == UNCHECKED {
            ours::note_rows(connection)?;
        }
        let mut place = self.turnstile.line_up();
        connection.busy_timeout(AT_THE_DOOR)?;
        let begun = loop {
            if !place.is_in_front() {
                opened.confined.runtime().block_on(async {
                    tokio::select! {
                        () = place.wait() => {}
                        () = until_not(goes_on) => {}
                    }
                });
            }
            match connection.change("BEGIN IMMEDIATE", []) {
                Err(error) if is_locked(&error) && goes_on() => {}
                begun => break begun,
            }
        };
        connection.busy_timeout(PATIENCE)?;
        begun?;
        self.changes = connection.total_changes();
        self.own = Some(opened.own_commits.begin());
        self.word = self.turnstile.give_word();
        self.place = Some(place);
        // Nothing is committed while the lock is held.
        let seen = opened.newest.seen();
        let found = connection.one(newest!(), [], |row| row.get(0))?;
        opened.newest.ensure_forwards(found, seen, &opened.files)?;
        let checked = opened.checked_definitions(checked, connection)?;
        self.rows.checked = checked;
        Ok(())
    }
}

impl SqliteEngine {
    /// Lets the next writer in.
    fn leave(&mut self) {
        self.word = None;
        self.place = None;
    }
}

/// Returns once it does not go on.
async fn until_not(goes_on: &dyn Fn() -> bool) {
    while goes_on() {
        tokio::time::sleep(LOOK).await;
    }
}

impl Engine for SqliteEngine {
    fn begin(&mut self, goes_on: &dyn Fn() -> bool, doing: &'static str) -> Result<()> {
        self.rows.doing = doing;
        self.begun = true;
        let begun = self.try_begin(goes_on);
        begun.map_err(|fault| match &self.rows.connection {
            Some(connection) => self.rows.explain(connection, fault),
            None => fault.explain(self.rows.path(), doing),
        })
    }

    fn savepoint(&mut self) -> Result<()> {
        self.rows.execute("SAVEPOINT part")
    }

    fn keep(&mut self) -> Result<()> {
        self.rows.execute("RELEASE part")
    }

    fn take_back(&mut self) -> Result<()> {
        self.rows.execute("ROLLBACK TO part")?;
        self.rows.execute("RELEASE part")
    }

    fn commit(&mut self, ring: bool) -> Result<bool> {
        let full = self.durability == Durability::Full;
        let before = self.changes;
        let own = &mut self.own;
        let (newest, changed) = self.rows.run(|connection| {
            // What is asked first counts once the commit is on the disk.
            let newest = match full && ring {
                true => Some(connection.one(newest!(), [], |row| row.get(0))?),
                false => None,
            };
            if let Some(own) = own {
                own.commits();
            }
            connection.change("COMMIT", [])?;
            Ok((newest, connection.total_changes() != before))
        })?;
        // The next writer need not wait for the rest.
        self.leave();
        if ring {
            self.rows.opened.ring(newest);
        }
        self.own = None;
        Ok(changed)
    }

    fn acknowledge(&mut self) -> Result<()> {
        self.rows.opened.files.ensure_same()
    }

    fn roll_back(&mut self) {
        // SQLite may have done it by itself.
        let open = |connection: &Connection| !connection.is_autocommit();
        if self.rows.connection.as_ref().is_some_and(open)
            && self.rows.execute("ROLLBACK").is_err()
            && self.rows.connection.as_ref().is_some_and(open)
        {
            // Its lock would hold everyone up.
            self.rows.connection = None;
        }
        self.leave();
        self.own = None;
    }

    fn rows(&mut self, doing: &'static str) -> &mut dyn Rows {
        self.rows.doing = doing;
        &mut self.rows
    }
}

/// One connection that reads; each statement sees the newest commit, unless
/// [`Rows::hold_view`] says otherwise.
struct SqliteReader(SqliteRows);

impl SqliteReader {
    fn try_begin(&mut self) -> std::result::Result<(), Fault> {
        let opened = Arc::clone(&self.0.opened);
        opened.files.ensure_usable()?;
        let checked = self.0.checked;
        let connection = self.0.connected()?;
        // What a view shows in the place of a table is nothing to go by.
        self.0.checked = opened.checked_definitions(checked, connection)?;
        Ok(())
    }
}

impl ReadEngine for SqliteReader {
    fn begin(&mut self, doing: &'static str) -> Result<()> {
        self.0.doing = doing;
        let begun = self.try_begin();
        begun.map_err(|fault| match &self.0.connection {
            Some(connection) => self.0.explain(connection, fault),
            None => fault.explain(self.0.path(), doing),
        })
    }

    fn rows(&mut self, doing: &'static str) -> &mut dyn Rows {
        self.0.doing = doing;
        &mut self.0
    }

    fn end(&mut self) {
        let connection = self.0.connection.take();
        // A view that cannot be let go of would keep the log from being emptied: its
        // connection goes with it.
        self.0.connection = connection.filter(|connection| {
            connection.is_autocommit() || connection.change("ROLLBACK", []).is_ok()
        });
    }
}
