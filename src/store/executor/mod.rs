//! Writes share commits.
//!
//! A write is a closure over rows ([`Transaction`]). It may run more than once,
//! and does no I/O of its own. One thread runs the writes of one connection, in
//! the order in which they were asked for; what arrives while a commit is under
//! way shares the next one. Each stands in a savepoint of its own, so a write
//! that is refused takes no other along. After an engine error such as a full
//! disk, which takes back everything, the same writes run again one by one, so
//! that each has an answer of its own. A caller hears of success after COMMIT
//! and never before.
//!
//! A caller that goes away before its write has the lock takes it along; one that
//! goes away later hears nothing, and the write stands or falls as if it had stayed.

mod engine;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::Span;

use engine::ReadsOnly;
pub use engine::{Engine, ReadEngine};

use super::rows::Rows;
use super::writes::{Attempt, Step, Writes};
use super::{Result, StoreError, WriteHealth, asker};
use crate::clock;

/// The most writes that share a commit. More would gain little: in a group of this
/// size, the wait for the disk is the smaller part of a message's cost.
pub const MOST: usize = 32;

/// No further write joins a transaction that has run for longer than this: writers of
/// other processes wait for its lock, and the first of the group for its answer. A full
/// group of messages takes a millisecond; this is for batches, which take longer each.
const LONGEST: Duration = Duration::from_millis(25);

/// How long a caller waits for the lock that another process holds. SQLite's own
/// waiting is unfair: of eight writers the unluckiest was seen to wait 0.8 s.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a write sees: the rows, and the list of what is to happen after the commit.
pub struct Transaction<'a> {
    rows: &'a mut dyn Rows,
    ring: bool,
    asked: Duration,
}

impl<'a> Transaction<'a> {
    fn new(rows: &'a mut dyn Rows, asked: Duration) -> Self {
        let ring = false;
        Self { rows, ring, asked }
    }

    /// How long ago the write was asked for: other writes of this process may have
    /// waited as long.
    pub fn waited(&self) -> Duration {
        clock::since_boot().saturating_sub(self.asked)
    }

    /// The rows.
    pub fn rows(&mut self) -> &mut dyn Rows {
        self.rows
    }

    /// After the commit, those who wait for messages or work are to look.
    pub fn ring(&mut self) {
        self.ring = true;
    }
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("ring", &self.ring)
            .finish_non_exhaustive()
    }
}

/// Starts a thread of that name.
pub type Threads =
    Arc<dyn Fn(&str, Box<dyn FnOnce() + Send>) -> std::io::Result<JoinHandle<()>> + Send + Sync>;

/// Threads like any other.
#[must_use]
pub fn plain_threads() -> Threads {
    Arc::new(|name, work| std::thread::Builder::new().name(name.into()).spawn(work))
}

/// Runs the writes of one connection.
pub struct Executor {
    state: Mutex<State>,
    writes: Arc<Writes>,
    threads: Threads,
    /// Writes that were asked for and are not at their turn yet.
    queued: Arc<AtomicUsize>,
    busy: AtomicUsize,
}

enum State {
    Idle(Box<dyn Engine>),
    Running(Sender<Box<dyn Write>>, JoinHandle<()>),
    Closed,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor")
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}

impl Executor {
    /// Its thread begins with the first write. `writes` records how writes succeed.
    pub fn new(engine: Box<dyn Engine>, writes: Arc<Writes>, threads: Threads) -> Self {
        Self {
            state: Mutex::new(State::Idle(engine)),
            writes,
            threads,
            queued: Arc::default(),
            busy: AtomicUsize::new(0),
        }
    }

    /// How many writes wait for their turn.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// The state of its writes.
    #[must_use]
    pub fn health(&self) -> WriteHealth {
        self.writes.health()
    }

    /// How many callers wait for it.
    fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Runs `act` in a transaction, and returns what it returned once that is
    /// committed. `doing` is the end of "while ..." in an error.
    ///
    /// # Errors
    /// What `act` refused with; the fault that kept it from being committed.
    pub async fn write<T, F>(&self, doing: &'static str, act: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let write = Act {
            act,
            doing,
            asked: clock::since_boot(),
            asker: asker::of_this_task(),
            attempt: Some(self.writes.begin()),
            span: Span::current(),
            done: None,
            tell,
        };
        self.submit(Box::new(write))?;
        self.busy.fetch_add(1, Ordering::Relaxed);
        let _over = Over(&self.busy);
        told.await.unwrap_or(Err(StoreError::Stopped))
    }

    fn submit(&self, write: Box<dyn Write>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Idle(_) = &*state {
            let State::Idle(engine) = std::mem::replace(&mut *state, State::Closed) else {
                return Err(StoreError::Stopped);
            };
            let (sender, queue) = channel();
            let queued = Arc::clone(&self.queued);
            let name = if engine.shares() {
                "store-writes"
            } else {
                "store-reads"
            };
            let work = Box::new(move || serve(engine, &queue, &queued));
            let thread = (self.threads)(name, work).map_err(|_| StoreError::Stopped)?;
            *state = State::Running(sender, thread);
        }
        match &*state {
            State::Running(queue, _) => {
                self.queued.fetch_add(1, Ordering::Relaxed);
                queue.send(write).map_err(|_| StoreError::Stopped)
            }
            State::Idle(_) | State::Closed => Err(StoreError::Stopped),
        }
    }

    /// Takes no further writes; returns the thread that runs those that were
    /// asked for, if there is one.
    pub fn close(&self) -> Option<JoinHandle<()>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Closed) {
            State::Running(_, thread) => Some(thread),
            State::Idle(_) | State::Closed => None,
        }
    }
}

/// Counts a caller off, also one that goes away.
struct Over<'a>(&'a AtomicUsize);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs what only reads, on as many threads as there are connections for it.
#[derive(Debug)]
pub struct Readers(Vec<Executor>);

impl Readers {
    /// One thread for each of the engines.
    #[must_use]
    pub fn new(engines: Vec<Box<dyn ReadEngine>>, threads: &Threads) -> Self {
        let executor = |engine| {
            let engine = Box::new(ReadsOnly(engine));
            Executor::new(engine, Arc::default(), Arc::clone(threads))
        };
        Self(engines.into_iter().map(executor).collect())
    }

    /// Runs `act`, which changes nothing, and returns what it returned.
    ///
    /// # Errors
    /// Those of `act`, and each fault that keeps the rows from being read.
    pub async fn read<T, F>(&self, doing: &'static str, mut act: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut dyn Rows) -> Result<T> + Send + 'static,
    {
        let Some(free) = self.0.iter().min_by_key(|executor| executor.busy()) else {
            return Err(StoreError::Stopped);
        };
        free.write(doing, move |transaction| act(transaction.rows()))
            .await
    }

    /// Takes no further reads; returns the threads.
    pub fn close(&self) -> Vec<JoinHandle<()>> {
        self.0.iter().filter_map(Executor::close).collect()
    }
}

/// The thread's life: as long as writes may come.
fn serve(mut engine: Box<dyn Engine>, queue: &Receiver<Box<dyn Write>>, queued: &AtomicUsize) {
    let mut waiting = VecDeque::new();
    loop {
        let left = waiting.len();
        if waiting.is_empty() {
            let Ok(first) = queue.recv() else {
                return;
            };
            waiting.push_back(first);
        }
        let room = MOST.saturating_sub(waiting.len());
        waiting.extend(queue.try_iter().take(room));
        queued.fetch_sub(waiting.len() - left, Ordering::Relaxed);
        waiting.retain(|write| write.is_wanted());
        if waiting.len() > 1 && engine.shares() {
            if let Taken::Back(many) = together(&mut *engine, &mut waiting) {
                for write in waiting.drain(..many).collect::<Vec<_>>() {
                    alone(&mut *engine, write);
                }
            }
        } else if let Some(write) = waiting.pop_front() {
            alone(&mut *engine, write);
        }
    }
}

/// What became of writes that were run together.
enum Taken {
    /// They are answered.
    Care,
    /// The engine took back this many; none was answered.
    Back(usize),
}

/// Runs writes from the front in one transaction.
fn together(engine: &mut dyn Engine, waiting: &mut VecDeque<Box<dyn Write>>) -> Taken {
    let Some(first) = waiting.front() else {
        return Taken::Care;
    };
    at(waiting, Step::Lock);
    let deadline = first.deadline();
    let goes_on =
        || clock::since_boot() < deadline && waiting.iter().any(|write| write.is_wanted());
    if engine.begin(&goes_on, first.doing()).is_err() {
        engine.roll_back();
        return Taken::Back(waiting.len());
    }
    at(waiting, Step::Work);
    let begun = clock::since_boot();
    let (mut ran, mut kept, mut ring) = (0, 0, false);
    for write in waiting.iter_mut() {
        if ran > 0 && clock::since_boot().saturating_sub(begun) > LONGEST {
            break;
        }
        ran += 1;
        // It may have gone away while the lock was waited for.
        if !write.is_wanted() {
            continue;
        }
        let part = engine.savepoint().and_then(|()| {
            let ended = write.run(engine.rows(write.doing()));
            match ended {
                Some(rings) => {
                    ring |= rings;
                    kept += 1;
                    engine.keep()
                }
                None => engine.take_back(),
            }
        });
        if part.is_err() {
            engine.roll_back();
            return Taken::Back(ran);
        }
    }
    waiting
        .iter()
        .take(ran)
        .for_each(|write| write.is_at(Step::Disk));
    let mut changed = false;
    if kept == 0 {
        engine.roll_back();
    } else if let Ok(any) = engine.commit(ring) {
        changed = any;
    } else {
        engine.roll_back();
        return Taken::Back(ran);
    }
    // Asked once: what holds for one of them holds for all. Otherwise each write gets
    // the reason.
    let acknowledged = kept > 0 && engine.acknowledge().is_ok();
    for mut write in waiting.drain(..ran) {
        if !write.is_kept() {
            write.answer(Ok(()));
            continue;
        }
        write.got_through(changed);
        write.answer(match acknowledged {
            true => Ok(()),
            false => engine.acknowledge(),
        });
    }
    Taken::Care
}

/// Notes how far writes are.
fn at(writes: &VecDeque<Box<dyn Write>>, step: Step) {
    writes.iter().for_each(|write| write.is_at(step));
}

/// Runs one write in a transaction of its own.
fn alone(engine: &mut dyn Engine, mut write: Box<dyn Write>) {
    if !write.is_wanted() {
        return;
    }
    write.is_at(Step::Lock);
    let deadline = write.deadline();
    let goes_on = || clock::since_boot() < deadline && write.is_wanted();
    let ended = engine.begin(&goes_on, write.doing()).and_then(|()| {
        write.is_at(Step::Work);
        let wanted = write.is_wanted();
        let ran = wanted.then(|| write.run(engine.rows(write.doing())));
        let Some(ring) = ran.flatten() else {
            engine.roll_back();
            return Ok(());
        };
        write.is_at(Step::Disk);
        let changed = engine.commit(ring)?;
        write.got_through(changed);
        engine.acknowledge()
    });
    if ended.is_err() {
        engine.roll_back();
    }
    write.answer(ended);
}

/// A write in the queue, of any result type.
trait Write: Send {
    fn doing(&self) -> &'static str;
    /// Whether its caller still waits.
    fn is_wanted(&self) -> bool;
    /// Until when the lock may be waited for.
    fn deadline(&self) -> Duration;
    /// It is at its next step.
    fn is_at(&self, step: Step);
    /// Runs it; `Some` with whether it rings, or `None` if it refused.
    fn run(&mut self, rows: &mut dyn Rows) -> Option<bool>;
    fn is_kept(&self) -> bool;
    /// It is committed, in a transaction that changed something or did not.
    fn got_through(&mut self, changed: bool);
    /// Answers the caller: with what it returned, or why that does not count.
    fn answer(self: Box<Self>, ended: Result<()>);
}

struct Act<T, F> {
    act: F,
    doing: &'static str,
    asked: Duration,
    /// The user of another program that it is for.
    asker: Option<u32>,
    attempt: Option<Attempt>,
    span: Span,
    done: Option<Result<T>>,
    tell: oneshot::Sender<Result<T>>,
}

impl<T, F> Write for Act<T, F>
where
    T: Send,
    F: FnMut(&mut Transaction<'_>) -> Result<T> + Send,
{
    fn doing(&self) -> &'static str {
        self.doing
    }

    fn is_wanted(&self) -> bool {
        !self.tell.is_closed()
    }

    fn deadline(&self) -> Duration {
        self.asked + PATIENCE
    }

    fn is_at(&self, step: Step) {
        if let Some(attempt) = &self.attempt {
            attempt.is_at(step);
        }
    }

    fn run(&mut self, rows: &mut dyn Rows) -> Option<bool> {
        let mut transaction = Transaction::new(rows, self.asked);
        let span = self.span.clone();
        let act = AssertUnwindSafe(|| {
            span.in_scope(|| asker::writing(self.asker, || (self.act)(&mut transaction)))
        });
        // A defect in one write must not end those of all others.
        let done = catch_unwind(act).unwrap_or(Err(StoreError::Stopped));
        let ring = done.is_ok().then_some(transaction.ring);
        self.done = Some(done);
        ring
    }

    fn is_kept(&self) -> bool {
        matches!(self.done, Some(Ok(_)))
    }

    fn got_through(&mut self, changed: bool) {
        match self.attempt.take() {
            Some(attempt) if changed => attempt.got_through(),
            Some(attempt) => attempt.changed_nothing(),
            None => {}
        }
    }

    fn answer(self: Box<Self>, ended: Result<()>) {
        let Self {
            done,
            tell,
            attempt,
            ..
        } = *self;
        // A doubt is known before the caller hears why.
        drop(attempt);
        let answer = ended.and_then(|()| done.unwrap_or(Err(StoreError::Stopped)));
        // One that does not wait any more is not answered.
        let _ = tell.send(answer);
    }
}
