//! The state file: what a reload that waits, `status` and `doctor` read. It is
//! replaced as a whole, so that a reader sees one state or the next.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};
use serde::{Deserialize, Serialize};

use crate::store::locate;

/// What a daemon says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// Its process.
    pub pid: u32,
    /// The program's version.
    pub version: String,
    /// `worker` or `orchestrator`.
    pub role: String,
    /// Whether all duties have run.
    pub ready: bool,
    /// Counts the settings that have been in force, from 1.
    pub generation: u64,
    /// Reloads that have begun, from 0: one that begins after this was read
    /// reads the configuration after that, too.
    pub reloads: u64,
    /// How the last reload went.
    pub last_reload: Option<LastReload>,
    /// The status line.
    pub status: String,
    /// The duties.
    pub duties: Vec<DutyState>,
}

/// How a reload went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    /// Which of the [`StateFile::reloads`] it was.
    pub number: u64,
    /// When it ended.
    pub at: Timestamp,
    /// Why the new settings were refused.
    pub error: Option<String>,
    /// Keys that are not as they were at the start, and files that came after
    /// it: they will count after a restart.
    pub needs_restart: Vec<String>,
}

/// How a duty does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DutyState {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub summary: String,
    /// What keeps it from its work.
    pub trouble: Option<String>,
}

/// One daemon of this name on this machine: the lock, and its state file.
#[derive(Debug)]
pub struct Instance {
    state: PathBuf,
    /// Locked as long as this process lives. A process's own lock, not flock's:
    /// that one would live on in a command that is being started at the moment
    /// when we are killed, and the next start would be refused. The file must
    /// not be opened a second time: any close of it would let the lock go.
    _lock: File,
}

impl Instance {
    /// Claims the name. `state` is where the state file goes, if not into the
    /// runtime directory.
    ///
    /// # Errors
    /// If another daemon has the name, or the directory cannot be written.
    pub fn claim(name: &str, state: Option<&Path>) -> anyhow::Result<Self> {
        let state = state_path(name, state)?;
        if let Some(directory) = state.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("directory {} cannot be made", directory.display()))?;
        }
        let path = lock_path(&state);
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("lock {} cannot be opened", path.display()))?;
        if fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            // Nameless: in another process id namespace, or gone at this moment.
            let by = holder(&lock).map_or_else(String::new, |pid| format!(" (pid {pid})"));
            anyhow::bail!(
                "another mcp-bridged runs as `{name}`{by}\n  stop it, or name another configuration file"
            );
        }
        Ok(Self { state, _lock: lock })
    }

    pub(super) fn write_state(&self, state: &StateFile) -> anyhow::Result<()> {
        // Always the same name: whoever has the lock is the only writer, and
        // one that is killed in between leaves nothing that piles up.
        let new = self.state.with_extension("new");
        let mut file = File::create(&new)?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        serde_json::to_writer_pretty(&mut file, state)?;
        file.write_all(b"\n")?;
        std::fs::rename(&new, &self.state)?;
        Ok(())
    }

    /// A daemon that stopped cleanly leaves no state.
    pub(super) fn remove_state(&self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.state);
    }
}

/// The state file of the daemon called `name`; `configured` is
/// `service.state_file`.
///
/// # Errors
/// If nothing is configured and this user has no directory for it.
pub fn state_path(name: &str, configured: Option<&Path>) -> anyhow::Result<PathBuf> {
    match configured {
        Some(path) => Ok(path.to_owned()),
        None => Ok(runtime_directory()
            .context("no directory for the state file: set service.state_file")?
            .join(format!("{name}.json"))),
    }
}

/// What a running daemon says of itself; `None` if none runs that writes here.
///
/// A daemon that was killed leaves its file, but not its lock.
#[must_use]
pub fn running(state: &Path) -> Option<StateFile> {
    let said: StateFile = serde_json::from_slice(&std::fs::read(state).ok()?).ok()?;
    let lock = File::open(lock_path(state)).ok()?;
    (holder(&lock)?.as_raw_nonzero().get().unsigned_abs() == said.pid).then_some(said)
}

fn lock_path(state: &Path) -> PathBuf {
    state.with_extension("lock")
}

/// The process that has the lock.
fn holder(lock: &File) -> Option<Pid> {
    fcntl_getlk(lock, &Flock::from(FlockType::WriteLock))
        .ok()??
        .pid
}

/// Where state files go: the service's runtime directory, the user's, or
/// beside the user's store.
fn runtime_directory() -> Option<PathBuf> {
    let from = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
    if let Some(directories) = from("RUNTIME_DIRECTORY") {
        // systemd separates several with colons.
        return std::env::split_paths(&directories).next();
    }
    if let Some(user) = from("XDG_RUNTIME_DIR") {
        return Some(PathBuf::from(user).join("mcp-bridge"));
    }
    locate::state_directory().map(|directory| directory.join("run"))
}
