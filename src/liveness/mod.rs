//! Proofs that an agent lives. A heartbeat without one proves only that our
//! own loop runs, which is what the scripts this replaces got wrong.

mod probe;
mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Notify;

use crate::config::ProofSettings;
use crate::model::session::ProofKind;
use probe::Probe;
use process::Process;

/// What is known of an agent at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It lives, and this proved it.
    Alive(ProofKind),
    /// Its process was there and has ended: confirmed.
    Exited,
    /// Nothing proves it; the words say why.
    Unproven(String),
}

/// The proof of one configured session (or several that one agent holds).
#[derive(Debug)]
pub struct Proof {
    settings: ProofSettings,
    state: State,
    /// Rung when the verdict may have changed.
    changed: Arc<Notify>,
}

#[derive(Debug)]
enum State {
    /// Nothing to look at.
    None,
    /// No process has been found yet.
    Absent,
    /// A process that is watched, and the state of the file that named it.
    Watched(Process, Option<FileStamp>),
    /// A process that ended, and the state of the file that named it: the
    /// number in there may meanwhile belong to somebody else.
    Ended(Option<FileStamp>),
    /// A command that is asked.
    Probed(Probe),
}

/// Tells a file that was written again from one that was left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    inode: u64,
    modified: Option<SystemTime>,
}

impl FileStamp {
    fn of(path: &std::path::Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: meta.ino(),
            modified: meta.modified().ok(),
        })
    }
}

impl Proof {
    /// Begins to look. `changed` is rung when there is news between two
    /// checks: a process that ends is noticed at once.
    #[must_use]
    pub fn new(settings: &ProofSettings, changed: Arc<Notify>) -> Self {
        let state = match settings {
            ProofSettings::None => State::None,
            ProofSettings::Exec { command, timeout } => {
                State::Probed(Probe::new(command.clone(), *timeout))
            }
            ProofSettings::Pid(_) | ProofSettings::PidFile(_) => State::Absent,
        };
        Self {
            settings: settings.clone(),
            state,
            changed,
        }
    }

    /// The settings that it was made from.
    #[must_use]
    pub fn settings(&self) -> &ProofSettings {
        &self.settings
    }

    /// The verdict now. Cheap: a running process is one poll(2), a probe is
    /// asked in the background and answers with its last result.
    pub fn check(&mut self) -> Verdict {
        match &self.settings {
            ProofSettings::Pid(pid) => {
                let pid = *pid;
                self.check_process(None, || Ok(pid))
            }
            ProofSettings::PidFile(path) => {
                let path: PathBuf = path.clone();
                let stamp = FileStamp::of(&path);
                self.check_process(stamp, || read_pid(&path))
            }
            ProofSettings::None | ProofSettings::Exec { .. } => match &mut self.state {
                State::Probed(probe) => probe.verdict(&self.changed),
                _ => Verdict::Alive(ProofKind::None),
            },
        }
    }

    fn check_process(
        &mut self,
        stamp: Option<FileStamp>,
        pid: impl FnOnce() -> Result<i32, String>,
    ) -> Verdict {
        match &self.state {
            State::Watched(process, seen) => {
                let alive = process.is_alive();
                if *seen == stamp || (alive && stamp.is_none()) {
                    // A file that vanished does not end the process.
                    if alive {
                        return Verdict::Alive(ProofKind::Process);
                    }
                    self.state = State::Ended(stamp);
                    return Verdict::Exited;
                }
            }
            State::Ended(seen) if *seen == stamp => return Verdict::Exited,
            _ => {}
        }
        // Nobody yet, or the file was written again: look at whom it names.
        let ended = matches!(self.state, State::Watched(..) | State::Ended(_));
        match pid().and_then(|pid| Process::watch(pid, Arc::clone(&self.changed))) {
            Ok(process) => {
                self.state = State::Watched(process, stamp);
                Verdict::Alive(ProofKind::Process)
            }
            Err(_) if ended => {
                self.state = State::Ended(stamp);
                Verdict::Exited
            }
            Err(why) => {
                self.state = State::Absent;
                Verdict::Unproven(why)
            }
        }
    }
}

fn read_pid(path: &std::path::Path) -> Result<i32, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("pid file {}: {error}", path.display()))?;
    text.split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .filter(|pid| *pid > 0)
        .ok_or_else(|| format!("pid file {}: it holds no process id", path.display()))
}
