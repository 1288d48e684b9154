//! The connection that an executor writes with.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection};
use tokio::runtime::Handle;

use super::fault::Fault;
use super::turnstile::Place;
use super::{Durability, Opened, Ring, Writer};
use crate::store::executor::{Engine, Executor, Readers};
use crate::store::rows::Rows;
use crate::store::{Result, StoreError};

/// An executor over a connection that writes at this durability.
pub(super) fn executor(opened: Arc<Opened>, durability: Durability) -> Executor {
    let writes = Arc::clone(&opened.writer(durability).writes);
    let rows = SqliteRows {
        runtime: opened.confined.runtime(),
        opened,
        connection: None,
        doing: "writing",
    };
    let engine = SqliteEngine {
        durability,
        rows,
        place: None,
    };
    Executor::new(Box::new(engine), writes)
}

/// What only reads, over so many connections.
pub(super) fn readers(opened: &Arc<Opened>, connections: usize) -> Readers {
    let engine = || -> Box<dyn Engine> {
        Box::new(SqliteReader(SqliteRows {
            runtime: opened.confined.runtime(),
            opened: Arc::clone(opened),
            connection: None,
            doing: "reading",
        }))
    };
    Readers::new(std::iter::repeat_with(engine).take(connections).collect())
}

/// One connection, and the transaction on it.
struct SqliteEngine {
    durability: Durability,
    rows: SqliteRows,
    /// In the queue of writers, while a transaction is under way.
    place: Option<Place>,
}

/// The rows inside a transaction. The statements are in the files of their
/// tables; each is waited for on the executor's own thread.
pub(super) struct SqliteRows {
    opened: Arc<Opened>,
    runtime: Handle,
    connection: Option<PoolConnection<Sqlite>>,
    doing: &'static str,
}

impl SqliteRows {
    /// Runs statements in the transaction.
    pub(super) fn run<T>(
        &mut self,
        statements: impl AsyncFnOnce(&mut SqliteConnection) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        let Some(connection) = &mut self.connection else {
            return Err(StoreError::Stopped);
        };
        let (opened, doing) = (&self.opened, self.doing);
        self.runtime.block_on(async {
            match statements(connection).await {
                Ok(done) => Ok(done),
                Err(fault) => Err(opened.explain(fault, doing).await),
            }
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.opened.path()
    }

    fn execute(&mut self, sql: &'static str) -> Result<()> {
        self.run(async |connection| {
            sqlx::query(sql).execute(connection).await?;
            Ok(())
        })
    }
}

impl Rows for SqliteRows {
    fn store(&self) -> &Path {
        self.opened.path()
    }
}

impl SqliteEngine {
    fn writer(opened: &Opened, durability: Durability) -> &Writer {
        match (&opened.shared, durability) {
            ([full, _], Durability::Full) => full,
            ([_, normal], Durability::Normal) => normal,
        }
    }
}

impl Engine for SqliteEngine {
    fn begin(&mut self, deadline: Duration) -> Result<()> {
        let SqliteRows {
            opened,
            runtime,
            connection,
            doing,
        } = &mut self.rows;
        let writer = Self::writer(opened, self.durability);
        let place = runtime.block_on(async {
            let begin = async {
                opened.files.ensure_usable()?;
                let connection = match connection {
                    Some(connection) => connection,
                    None => connection.insert(opened.connection(&writer.pool).await?),
                };
                opened.begin(writer, connection, deadline).await
            };
            match begin.await {
                Ok(place) => Ok(place),
                Err(fault) => Err(opened.explain(fault, doing).await),
            }
        });
        self.place = Some(place?);
        Ok(())
    }

    fn savepoint(&mut self) -> Result<()> {
        self.rows.execute("SAVEPOINT part")
    }

    fn keep(&mut self) -> Result<()> {
        self.rows.execute("RELEASE part")
    }

    fn take_back(&mut self) -> Result<()> {
        self.rows.execute("ROLLBACK TO part; RELEASE part")
    }

    fn commit(&mut self, ring: bool) -> Result<()> {
        let ring = if ring { Ring::Yes } else { Ring::No };
        let opened = Arc::clone(&self.rows.opened);
        let durability = self.durability;
        let newest = self
            .rows
            .run(async |connection| opened.commit(connection, durability, ring).await)?;
        Self::writer(&opened, durability)
            .begun
            .store(false, Ordering::Release);
        self.place = None;
        opened.ring(ring, newest);
        Ok(())
    }

    fn acknowledge(&mut self) -> Result<()> {
        self.rows.opened.files.ensure_same()
    }

    fn roll_back(&mut self) {
        let opened = Arc::clone(&self.rows.opened);
        let begun = &Self::writer(&opened, self.durability).begun;
        if begun.load(Ordering::Acquire) {
            // SQLite may have done it by itself, and then says that there is no
            // transaction. The pool tries again, and closes what stays stuck.
            if self.rows.execute("ROLLBACK").is_ok() {
                begun.store(false, Ordering::Release);
            } else {
                let _entered = self.rows.runtime.enter();
                self.rows.connection = None;
            }
        }
        self.place = None;
    }

    fn rows(&mut self, doing: &'static str) -> &mut dyn Rows {
        self.rows.doing = doing;
        &mut self.rows
    }
}

impl Drop for SqliteRows {
    fn drop(&mut self) {
        // The pool takes it back on a task of its own.
        let _entered = self.runtime.enter();
        self.connection = None;
    }
}

/// One connection that reads; each statement sees the newest commit.
struct SqliteReader(SqliteRows);

impl Engine for SqliteReader {
    fn shares(&self) -> bool {
        false
    }

    fn begin(&mut self, _deadline: Duration) -> Result<()> {
        let SqliteRows {
            opened,
            runtime,
            connection,
            doing,
        } = &mut self.0;
        opened.files.ensure_usable()?;
        runtime.block_on(async {
            let begin = async {
                let connection = match connection {
                    Some(connection) => connection,
                    None => connection.insert(opened.connection(&opened.readers).await?),
                };
                opened.ensure_known_to_readers(connection).await
            };
            match begin.await {
                Ok(()) => Ok(()),
                Err(fault) => Err(opened.explain(fault, doing).await),
            }
        })
    }

    fn savepoint(&mut self) -> Result<()> {
        Ok(())
    }

    fn keep(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_back(&mut self) -> Result<()> {
        Ok(())
    }

    fn commit(&mut self, _ring: bool) -> Result<()> {
        Ok(())
    }

    fn acknowledge(&mut self) -> Result<()> {
        Ok(())
    }

    fn roll_back(&mut self) {}

    fn rows(&mut self, doing: &'static str) -> &mut dyn Rows {
        self.0.doing = doing;
        &mut self.0
    }
}
