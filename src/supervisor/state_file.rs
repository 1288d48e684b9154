//! The state file: what a reload that waits, `status` and `doctor` read. It is
//! replaced as a whole, so that a reader sees one state or the next.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};
use serde::{Deserialize, Serialize};

use super::figures::FigureState;
use crate::duties::{SessionState, StoreState};
use crate::store::locate;
use crate::{config, guarded, host};

/// What a daemon says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// Its process.
    pub pid: u32,
    /// The PID namespace in which that number means it; 0 where there is none.
    #[serde(default)]
    pub pid_ns: i64,
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
    /// The store, as the daemon sees it.
    #[serde(default)]
    pub store: Option<StoreState>,
    /// Sessions in trouble, as the daemon sees them.
    #[serde(default)]
    pub sessions: Vec<SessionState>,
    /// What the duties counted, as of [`super::FIGURES_EVERY`] ago or less.
    #[serde(default)]
    pub figures: Vec<FigureState>,
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
    /// Whether the configuration says where that is.
    configured: bool,
    /// See [`Instance::name`].
    name: String,
    /// See [`Instance::owner`].
    owner: Option<u32>,
    /// Locked as long as this process lives. A process's own lock, not flock's:
    /// that one would live on in a command that is being started at the moment
    /// when we are killed, and the next start would be refused. The file must
    /// not be opened a second time: any close of it would let the lock go.
    _lock: File,
}

/// Where what is one instance's alone goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstancePlace {
    /// The directory of its state file, or, where that was put somewhere, one beside
    /// it.
    pub directory: PathBuf,
    /// Whether it is the machine's own, whose socket a group may use.
    pub is_system: bool,
}

impl Instance {
    /// Claims the name of the daemon that is configured at `config`. `state` is
    /// where the state file goes, if not into the runtime directory.
    ///
    /// # Errors
    /// If another daemon has the name, or the directory cannot be written, or
    /// others can write it.
    pub fn claim(config: &Path, state: Option<&Path>) -> anyhow::Result<Self> {
        let instance = config::instance(config);
        let configured = state.is_some();
        let state = state_path(config, state)?;
        if !configured && let Some(pid) = running_elsewhere(config, &state) {
            return Err(taken(&instance, Some(pid)));
        }
        if let Some(directory) = state.parent() {
            make(directory).with_context(|| {
                let remedy = match state.starts_with(SYSTEM_STATE) {
                    true => format!("\n  this configuration is the service's: systemctl start mcp-bridged@{instance}"),
                    false => String::new(),
                };
                format!("directory {} cannot be created{remedy}", directory.display())
            })?;
            ensure_private(directory)?;
        }
        let path = lock_path(&state);
        let (lock, _) = guarded::open_or_make(&path, 0o644)
            .with_context(|| format!("lock {} cannot be opened", path.display()))?;
        if fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            // Nameless: in another process id namespace, or gone at this moment.
            let holder = holder(&lock).map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
            return Err(taken(&instance, holder));
        }
        let is_users = !is_system(config) && !state.starts_with(SYSTEM_STATE);
        let owner = is_users.then(|| rustix::process::geteuid().as_raw());
        let name = match owner {
            None => instance,
            Some(user) => format!("{}/{instance}", host::user_name(user)),
        };
        Ok(Self {
            state,
            configured,
            name,
            owner,
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

    /// The user whose own daemon this is; `None` of the machine's.
    #[must_use]
    pub fn owner(&self) -> Option<u32> {
        self.owner
    }

    /// Where what is this instance's alone goes.
    #[must_use]
    pub fn place(&self) -> InstancePlace {
        let directory = match self.configured {
            true => self.state.with_extension(""),
            false => self.state.parent().unwrap_or(Path::new("/")).to_owned(),
        };
        InstancePlace {
            directory,
            is_system: self.state.starts_with(SYSTEM_STATE),
        }
    }

    pub(super) fn write_state(&self, state: &StateFile) -> anyhow::Result<()> {
        // Always the same name: the daemon that has the lock is the only writer, and
        // one that is killed in between leaves nothing that piles up. Any file of that
        // name is removed and never written to.
        let new = self.state.with_extension("new");
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| new.display().to_string());
            }
            _ => {}
        }
        // One write: a serializer would write each of its thousand words by itself.
        let mut text = serde_json::to_vec_pretty(state)?;
        text.push(b'\n');
        guarded::make(&new, 0o644)?.write_all(&text)?;
        std::fs::rename(&new, &self.state)?;
        Ok(())
    }

    /// A daemon that stopped cleanly leaves no state.
    pub(super) fn remove_state(&self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.state);
    }
}

fn taken(instance: &str, holder: Option<u32>) -> anyhow::Error {
    let by = holder.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    anyhow::anyhow!(
        "another mcp-bridged runs as `{instance}`{by}\n  stop it, or name another configuration file"
    )
}

/// Makes a directory that only this user may write, if it is not there. Others
/// may read a state file.
fn make(directory: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o755).create(directory)
}

/// Refuses a place in which others could put their own files for ours.
fn ensure_private(directory: &Path) -> anyhow::Result<()> {
    match guarded::exposed(directory) {
        None => Ok(()),
        Some(place) => anyhow::bail!(
            "state directory {}: other users may write {}\n  set service.state_file to a file in a directory that only this user may write",
            directory.display(),
            place.display()
        ),
    }
}

/// The state file of the daemon that is configured at `config`; `configured` is
/// `service.state_file`. Otherwise that of a daemon that runs, and where none
/// does, the first place that this process would use.
///
/// # Errors
/// If nothing is configured and this user has no directory for it.
pub fn state_path(config: &Path, configured: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = configured {
        return Ok(path.to_owned());
    }
    places(config).into_iter().next().context(
        "no directory for the state file that only this user may write: set service.state_file",
    )
}

/// The same for a reader. A daemon that was started with another environment,
/// by cron for one, keeps its state in another of this user's places.
///
/// # Errors
/// As [`state_path`].
pub fn find_state(config: &Path, configured: Option<&Path>) -> anyhow::Result<PathBuf> {
    let usual = state_path(config, configured)?;
    if configured.is_some() || running(&usual).is_some() {
        return Ok(usual);
    }
    let mut others = places(config).into_iter();
    let found = others.find(|place| running(place).is_some());
    Ok(found.unwrap_or(usual))
}

/// A daemon of this configuration that keeps its state in another place.
fn running_elsewhere(config: &Path, here: &Path) -> Option<u32> {
    let others = places(config).into_iter().filter(|place| place != here);
    others
        .filter_map(|place| running(&place))
        .map(|state| state.pid)
        .next()
}

/// What a running daemon says of itself; `None` if none runs that writes here.
///
/// A daemon that was killed leaves its file, but not its lock.
#[must_use]
pub fn running(state: &Path) -> Option<StateFile> {
    let said = read(state)?;
    let lock = guarded::open(&lock_path(state)).ok()?;
    (holder(&lock)?.as_raw_nonzero().get().unsigned_abs() == said.pid).then_some(said)
}

/// Whether the daemon runs that wrote `said` into this state file: by its lock. A
/// number that another PID namespace counted does not show which process holds it.
#[must_use]
pub(crate) fn runs(state: &Path, said: &StateFile) -> bool {
    let Ok(lock) = guarded::open(&lock_path(state)) else {
        return false;
    };
    let Ok(Some(held)) = fcntl_getlk(&lock, &Flock::from(FlockType::WriteLock)) else {
        return false;
    };
    let same = |holder: Pid| holder.as_raw_nonzero().get().unsigned_abs() == said.pid;
    is_elsewhere(said) || held.pid.is_none_or(same)
}

/// Whether the number of its process means another one here.
pub(crate) fn is_elsewhere(said: &StateFile) -> bool {
    said.pid_ns != 0 && said.pid_ns != host::boot().pid_ns
}

/// What stands in a state file, of a daemon that runs or one that was killed;
/// `None` for a file that is not one.
#[must_use]
pub fn read(state: &Path) -> Option<StateFile> {
    let bytes = guarded::read(state, guarded::MOST_BYTES).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether the lock beside a state file is kept from this user.
pub(crate) fn lock_is_closed(state: &Path) -> bool {
    guarded::open(&lock_path(state))
        .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
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
const SYSTEM_STATE: &str = host::SYSTEM_DAEMONS;

/// Whether a configuration is one of the machine's own.
fn is_system(config: &Path) -> bool {
    let path = std::path::absolute(config).ok();
    path.as_deref().and_then(Path::parent) == Some(Path::new(SYSTEM))
}

/// Where the state file of this configuration may be, best first: the directory
/// that the service manager made, or would have made for it, so that a daemon
/// that was called by hand finds the one that the service manager started; else
/// one that only this user may write. Never one that a group shares, like that
/// of a store.
fn places(config: &Path) -> Vec<PathBuf> {
    let from = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
    let instance = config::instance(config);
    let file = format!("{instance}.json");
    if let Some(directories) = from("RUNTIME_DIRECTORY") {
        // systemd separates several with colons.
        let first = std::env::split_paths(&directories).next();
        return first.map(|place| place.join(file)).into_iter().collect();
    }
    let is_there = Path::new(SYSTEM_STATE).parent().is_some_and(Path::is_dir);
    if is_system(config) && is_there {
        return vec![Path::new(SYSTEM_STATE).join(&instance).join(file)];
    }
    let (login, own) = locate::user_daemons();
    let places = login.into_iter().chain(own);
    places
        .map(|directory| directory.join(&instance).join(&file))
        .collect()
}
