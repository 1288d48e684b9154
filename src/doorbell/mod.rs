//! The doorbell: something may have been committed, look now.
//!
//! It is a hint and never data. Our own writers ring it after COMMIT returned,
//! by writing one byte into `<db>-bell`. A foreign writer rings nothing, but
//! its write to `<db>-wal` is seen; that happens before its commit can be read,
//! so the listener looks again until no writer can be in the middle of one.
//! Behind both stands a periodic question to the database itself.
//!
//! One thread for each doorbell settles and looks, because tokio's timers have
//! a grain of a millisecond and a hop between threads costs ten microseconds.

mod bell;
#[cfg(target_os = "linux")]
mod directory;
mod file;
mod files;
mod marks;
mod own;
mod ring;
pub mod settle;
mod sleep;
mod watch;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

pub use bell::Bell;
pub(crate) use file::open;
pub(crate) use marks::{Base, forget_marks, marks, note_base};
pub use own::{OwnCommit, OwnCommits};
use ring::{Pending, Ringer};
use settle::Events;
use watch::Scope;

/// The files of a store that tell of a commit.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The database.
    pub database: PathBuf,
    /// Its write-ahead log.
    pub log: PathBuf,
    /// The file that our own writers touch.
    pub bell: PathBuf,
}

/// How commits are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By the file system's events, with the periodic question behind them.
    Events,
    /// By the periodic question alone, asked often: for file systems that
    /// raise no events.
    Poll,
}

/// Who may be in the middle of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// No process.
    None,
    /// This process. What it has written is heard of when it is done.
    Here,
    /// One that rings when it has committed.
    Ours,
    /// One that may not ring.
    Foreign,
}

/// Who is called when it rings; all calls come from one thread.
pub trait Listener: Send {
    /// In which process a commit may be under way at this moment.
    fn writer(&mut self) -> Writer;

    /// Whether a commit may have become visible since the last look: asked
    /// often, so it is to cost less than a look.
    fn published(&mut self) -> bool;

    /// Reads what is new. May find nothing.
    fn look(&mut self);

    /// Whether the database changed since this was asked last and since the last
    /// look, or cannot tell.
    fn changed(&mut self) -> bool;
}

/// A doorbell that is mounted; dropping it takes it down and waits until its listener
/// is gone. It does not wait for the watch: to close one takes the kernel 5 to 15 ms, as
/// long as all the rest of a short program.
#[derive(Debug)]
pub struct Doorbell {
    ringer: Ringer,
    /// Says that the listener is gone, or hears that the thread panicked.
    gone: Mutex<Receiver<()>>,
}

impl Doorbell {
    /// Mounts a doorbell; `listener` lives on its thread. `own` are the commits of this
    /// process to the same store.
    ///
    /// # Errors
    /// If no thread can be had. That no file can be watched is no error: the
    /// periodic question takes over, and a warning says so.
    pub fn spawn(
        paths: Paths,
        mode: Mode,
        own: Arc<OwnCommits>,
        listener: Box<dyn Listener>,
    ) -> std::io::Result<Self> {
        let events = Events::new(paths, mode, Scope::HERE, own);
        Self::mount(events, listener)
    }

    fn mount(events: Events, listener: Box<dyn Listener>) -> std::io::Result<Self> {
        let (ringer, sleep) = sleep::sleep()?;
        let (span, own) = (tracing::Span::current(), ringer.clone());
        let (says, gone) = sync_channel(1);
        std::thread::Builder::new()
            .name("doorbell".into())
            // Its records are those of the duty that it works for.
            .spawn(move || {
                let run = || settle::run(events, &own, &sleep, listener);
                let watch = span.in_scope(run);
                // The doorbell may be gone already, after a panic elsewhere.
                let _ = says.send(());
                drop(watch);
            })?;
        Ok(Self {
            ringer,
            gone: Mutex::new(gone),
        })
    }

    /// Makes the listener look soon.
    pub fn ask(&self) {
        self.ringer.ring(Pending::ASKED);
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        self.ringer.ring(Pending::STOP);
        let gone = self.gone.get_mut().unwrap_or_else(PoisonError::into_inner);
        if gone.recv().is_err() {
            tracing::error!(event = "doorbell-died", "the doorbell's thread panicked");
        }
    }
}

#[cfg(test)]
mod tests;
