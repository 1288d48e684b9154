//! A backend in memory. It shows what a backend must write, and fails on
//! request: a lock that is held, a full disk, a broken one, a process that stops
//! between its commit and its answer. No program of ours opens it.

mod beats;
mod keeper;
mod rows;
mod tables;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tables::Tables;

use super::executor::{Engine, Executor, ReadEngine, plain_threads};
use super::rows::Rows;
use super::{Result, StoreError};
use crate::clock;
use crate::model::MessageId;
use crate::model::message::Message;

/// How often one that waits for the lock looks whether it is still to.
const LOOK: Duration = Duration::from_millis(20);

/// Where the engine asks whether it is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// At the beginning of a transaction.
    Begin,
    /// At an operation on rows.
    Row,
    /// At the commit.
    Commit,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// Another process holds the lock.
    Busy,
    /// The disk is full; the engine takes back the whole transaction.
    Full,
    /// The disk failed; the engine takes back the whole transaction.
    Io,
    /// The process ends. At a commit that is done, and nothing was answered.
    Stop,
}

/// Answers at each step whether and how to fail.
pub type Troubles = Arc<dyn Fn(Step) -> Option<Trouble> + Send + Sync>;

/// The tables, as the processes that have them open share them.
#[derive(Clone, Default)]
pub struct Memory(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    free: Condvar,
}

#[derive(Default)]
struct State {
    tables: Tables,
    locked: bool,
    commits: u64,
    /// Commits that ring.
    rings: u64,
    committed_at: u64,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Memory {
    /// How many commits there were.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// Opens it, as a process of its own.
    #[must_use]
    pub fn open(&self, troubles: &Troubles) -> Executor {
        let engine = MemoryEngine::new(self, troubles);
        Executor::new(Box::new(engine), Arc::default(), plain_threads())
    }

    /// The texts of all messages, in the order of their ids.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.lock().tables.texts()
    }

    /// How many audit rows tell of this.
    #[must_use]
    pub fn audited(&self, action: &str) -> usize {
        self.lock().tables.audited(action)
    }

    fn rings(&self) -> u64 {
        self.lock().rings
    }

    fn committed_at(&self) -> u64 {
        self.lock().committed_at
    }

    /// The counts of signals: work, access, agents, and mail that is owed again.
    fn signals(&self) -> [u64; 4] {
        let state = self.lock();
        let tables = &state.tables;
        [tables.work, tables.access, tables.agents, tables.owed_again]
    }

    fn newest(&self) -> MessageId {
        let state = self.lock();
        state
            .tables
            .messages
            .keys()
            .last()
            .copied()
            .unwrap_or_default()
    }

    fn messages_after(&self, id: MessageId) -> Vec<Message> {
        use std::ops::Bound::{Excluded, Unbounded};
        let state = self.lock();
        let new = state.tables.messages.range((Excluded(id), Unbounded));
        new.map(|(_, row)| row.message.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection.
struct MemoryEngine {
    memory: Memory,
    troubles: Troubles,
    open: Option<Open>,
}

/// A transaction that is under way.
struct Open {
    rows: rows::MemoryRows,
    savepoint: Option<Tables>,
}

impl MemoryEngine {
    fn new(memory: &Memory, troubles: &Troubles) -> Self {
        Self {
            memory: memory.clone(),
            troubles: Arc::clone(troubles),
            open: None,
        }
    }

    fn over(&self) -> StoreError {
        StoreError::Io(tables::NAME.clone(), "the transaction is over".into())
    }

    fn open(&mut self) -> Result<&mut Open> {
        let over = self.over();
        match &mut self.open {
            Some(open) if !open.rows.is_over() => Ok(open),
            _ => Err(over),
        }
    }
}

impl Engine for MemoryEngine {
    fn begin(&mut self, goes_on: &dyn Fn() -> bool, _doing: &'static str) -> Result<()> {
        if let Some(trouble) = (self.troubles)(Step::Begin) {
            return Err(trouble.fail());
        }
        let mut state = self.memory.lock();
        while state.locked {
            if !goes_on() {
                return Err(Trouble::Busy.fail());
            }
            let waited = self.memory.0.free.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.locked = true;
        let rows = rows::MemoryRows::new(state.tables.clone(), Arc::clone(&self.troubles));
        drop(state);
        self.open = Some(Open {
            rows,
            savepoint: None,
        });
        Ok(())
    }

    fn savepoint(&mut self) -> Result<()> {
        let open = self.open()?;
        open.savepoint = Some(open.rows.tables().clone());
        Ok(())
    }

    fn keep(&mut self) -> Result<()> {
        self.open()?.savepoint = None;
        Ok(())
    }

    fn take_back(&mut self) -> Result<()> {
        let open = self.open()?;
        if let Some(tables) = open.savepoint.take() {
            *open.rows.tables() = tables;
        }
        Ok(())
    }

    fn commit(&mut self, ring: bool) -> Result<bool> {
        let trouble = (self.troubles)(Step::Commit);
        if let Some(trouble) = trouble.filter(|trouble| *trouble != Trouble::Stop) {
            return Err(trouble.fail());
        }
        let tables = self.open()?.rows.tables().clone();
        let mut state = self.memory.lock();
        state.tables = tables;
        state.commits += 1;
        if ring {
            state.rings += 1;
            state.committed_at = clock::monotonic_nanos();
        }
        drop(state);
        self.roll_back();
        if trouble.is_some() {
            Trouble::Stop.fail();
        }
        Ok(true)
    }

    fn acknowledge(&mut self) -> Result<()> {
        Ok(())
    }

    fn roll_back(&mut self) {
        if self.open.take().is_some() {
            self.memory.lock().locked = false;
            self.memory.0.free.notify_all();
        }
    }

    fn rows(&mut self, _doing: &'static str) -> &mut dyn Rows {
        let open = self.open.get_or_insert_with(|| Open {
            // Asked outside a transaction: every operation fails.
            rows: rows::MemoryRows::over(),
            savepoint: None,
        });
        &mut open.rows
    }
}

/// One connection that reads what was committed last.
struct MemoryReader {
    memory: Memory,
    troubles: Troubles,
    rows: rows::MemoryRows,
}

impl MemoryReader {
    fn new(memory: &Memory, troubles: &Troubles) -> Self {
        Self {
            memory: memory.clone(),
            troubles: Arc::clone(troubles),
            rows: rows::MemoryRows::over(),
        }
    }
}

impl ReadEngine for MemoryReader {
    fn begin(&mut self, _doing: &'static str) -> Result<()> {
        let tables = self.memory.lock().tables.clone();
        self.rows = rows::MemoryRows::new(tables, Arc::clone(&self.troubles));
        Ok(())
    }

    fn rows(&mut self, _doing: &'static str) -> &mut dyn Rows {
        &mut self.rows
    }
}

impl Drop for MemoryEngine {
    fn drop(&mut self) {
        self.roll_back();
    }
}

impl Trouble {
    fn fail(self) -> StoreError {
        let name = || tables::NAME.clone();
        match self {
            Self::Busy => StoreError::Busy(name()),
            Self::Full => StoreError::Full(name()),
            Self::Io => StoreError::Io(name(), "the disk failed".into()),
            // As silent as a process that is killed: its thread ends.
            Self::Stop => std::panic::resume_unwind(Box::new("stopped")),
        }
    }
}
