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
use crate::{config, host};

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
    /// What keeps it from its work; what to do, if anything, stands below.
    pub trouble: Option<String>,
}

/// One daemon of this name on this machine: the lock, and its state file.
#[derive(Debug)]
pub struct Instance {
    state: PathBuf,
    /// See [`Instance::name`].
    name: String,
    /// Locked as long as this process lives. A process's own lock, not flock's:
    /// that one would live on in a command that is being started at the moment
    /// when we are killed, and the next start would be refused. The file must
    /// not be opened a second time: any close of it would let the lock go.
    _lock: File,
}

impl Instance {
    /// Claims the name of the daemon that is configured at `config`. `state` is
    /// where the state file goes, if not into the runtime directory.
    ///
    /// # Errors
    /// If another daemon has the name, or the directory cannot be written.
    pub fn claim(config: &Path, state: Option<&Path>) -> anyhow::Result<Self> {
        let instance = config::instance(config);
        let state = state_path(config, state)?;
        if let Some(directory) = state.parent() {
            std::fs::create_dir_all(directory).with_context(|| {
                let remedy = match state.starts_with(SYSTEM_STATE) {
                    true => format!("\n  this configuration is the service's: systemctl start mcp-bridged@{instance}"),
                    false => String::new(),
                };
                format!("directory {} cannot be made{remedy}", directory.display())
            })?;
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
                "another mcp-bridged runs as `{instance}`{by}\n  stop it, or name another configuration file"
            );
        }
        let name = if is_system(config) || state.starts_with(SYSTEM_STATE) {
            instance
        } else {
            let user = rustix::process::geteuid().as_raw();
            format!("{}/{instance}", host::user_name(user))
        };
        Ok(Self {
            state,
            name,
            _lock: lock,
        })
    }

    /// What tells this daemon from every other one of this machine: `worker` of
    /// the machine's own, `alice/worker` of a user's. Each user may have one of
    /// a name, and all of them may share a store.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
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

/// The state file of the daemon that is configured at `config`; `configured` is
/// `service.state_file`.
///
/// # Errors
/// If nothing is configured and this user has no directory for it.
pub fn state_path(config: &Path, configured: Option<&Path>) -> anyhow::Result<PathBuf> {
    match configured {
        Some(path) => Ok(path.to_owned()),
        None => Ok(runtime_directory(config)
            .context("no directory for the state file: set service.state_file")?
            .join(format!("{}.json", config::instance(config)))),
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

/// The machine's own configurations, and where their services keep their state.
const SYSTEM: &str = "/etc/mcp-bridge";
const SYSTEM_STATE: &str = "/run/mcp-bridge";

/// Whether a configuration is one of the machine's own.
fn is_system(config: &Path) -> bool {
    let path = std::path::absolute(config).ok();
    path.as_deref().and_then(Path::parent) == Some(Path::new(SYSTEM))
}

/// Where state files go: the directory that the service manager made, or would
/// have made for this configuration. So whoever calls the daemon by hand finds
/// the one that the service manager started. Otherwise beside the user's store.
fn runtime_directory(config: &Path) -> Option<PathBuf> {
    let from = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
    if let Some(directories) = from("RUNTIME_DIRECTORY") {
        // systemd separates several with colons.
        return std::env::split_paths(&directories).next();
    }
    let instance = config::instance(config);
    // Not on macOS, which has no such place.
    if is_system(config) && Path::new("/run").is_dir() {
        return Some(Path::new(SYSTEM_STATE).join(instance));
    }
    if let Some(user) = from("XDG_RUNTIME_DIR") {
        return Some(PathBuf::from(user).join("mcp-bridge").join(instance));
    }
    locate::state_directory().map(|directory| directory.join("run"))
}
