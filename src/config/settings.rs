//! What the rest of the program sees: complete, validated, comparable.
//!
//! No key is optional here unless its absence means something. Two values are
//! equal when nothing changed for the daemon, which is what a reload asks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::api::ApiSettings;
use super::orchestrator_settings::OrchestratorSettings;
use crate::alert::AlertSettings;
use crate::wake::WakeSettings;

/// The settings of one daemon.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The main file, as it was named.
    pub source: PathBuf,
    /// The name of this daemon: the main file's stem.
    pub instance: String,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[log]`.
    pub log: LogSettings,
    /// `[service]`.
    pub service: ServiceSettings,
    /// `[api]`.
    pub api: ApiSettings,
    /// `[heartbeat]`, `[message_watch]`, `[wake]` and each `[[session]]`.
    pub agents: AgentSettings,
    /// `[alert]`.
    pub alert: AlertSettings,
    /// What the daemon is for, with the settings of that role.
    pub role: RoleSettings,
}

/// Where the database is.
#[derive(Clone, PartialEq)]
pub struct StoreSettings {
    /// `sqlite:<path>` or a plain path, as written, wherever it was written;
    /// `None` leaves it to the store's resolver.
    pub url: Option<String>,
    /// The file that it stands in, an absolute path; `None` if it stands in the
    /// configuration itself.
    pub url_file: Option<PathBuf>,
    /// The hash of definitions in the database that the operator accepts.
    pub accepted_schema: Option<String>,
}

impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A database's URL may hold a password.
        f.debug_struct("StoreSettings")
            .field("url", &self.url.as_ref().map(|_| format_args!("..")))
            .field("url_file", &self.url_file)
            .field("accepted_schema", &self.accepted_schema)
            .finish()
    }
}

/// What is logged.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    /// A level in lower case, or a tracing filter directive such as `mcp_bridge=debug,info`.
    pub level: String,
}

/// How the daemon behaves as a service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSettings {
    /// The state file, an absolute path; `None` means the runtime directory's.
    pub state_file: Option<PathBuf>,
    /// How long duties may take to finish after the first signal, 100 ms to 60 s.
    pub shutdown_grace: Duration,
}

/// The agents of this machine whose sessions the daemon keeps, in either role:
/// an orchestrator's own agent is kept alive and woken, too.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSettings {
    /// `[heartbeat]`.
    pub heartbeat: HeartbeatSettings,
    /// `[message_watch]`.
    pub message_watch: MessageWatchSettings,
    /// Each `[[session]]`, in the order of the sources; none is a daemon that waits for work.
    pub sessions: Vec<SessionSettings>,
    /// With `sessions = "local"`, the sessions of clients that register on this machine
    /// are kept, too: how they are woken, which is the common `[wake]`.
    pub local: Option<WakeSettings>,
}

/// The role, and what only that role needs.
#[expect(
    clippy::large_enum_variant,
    reason = "a process has one of them, or two while it reloads"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum RoleSettings {
    /// Keeps heartbeats honest and pushes messages.
    Worker,
    /// The same for its own agent; and watches every session, hands out tasks.
    Orchestrator(OrchestratorSettings),
}

impl RoleSettings {
    /// The role's name, as `role = ".."` has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Orchestrator(_) => "orchestrator",
        }
    }
}

/// The duty *heartbeat*.
#[derive(Debug, Clone, PartialEq)]
pub struct HeartbeatSettings {
    /// Between two heartbeats, 100 ms to 5 min.
    pub interval: Duration,
    /// How long a heartbeat counts, at least three intervals and at most 1 h.
    pub ttl: Duration,
    /// Whether conversations that are kept alive are kept from expiring.
    pub renew_conversations: bool,
    /// How far ahead a renewal sets the expiry, 1 min to 30 d and never below the ttl.
    pub renew_for: Duration,
    /// Between two copies into the shared `session_status`, 1 s to 90 s.
    pub mirror_interval: Duration,
}

/// The duty *message watch*.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageWatchSettings {
    /// What rings.
    pub mode: WatchMode,
    /// Between two full looks, 100 ms to 10 min.
    pub poll_interval: Duration,
}

/// What makes the message watch look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchMode {
    /// The doorbell, and the full look as a backstop.
    Events,
    /// No event counts, as on a file system that has none: the store is asked
    /// for its data version every few milliseconds. The full look stands behind
    /// that, too.
    Poll,
}

/// One session that the daemon keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSettings {
    /// The credentials file, an absolute path; it need not be there yet.
    pub credentials: PathBuf,
    /// Whether the service manager hands over files of such a name and has not
    /// handed over this one: one that may be read all the same needs no more.
    pub not_handed_over: bool,
    /// How the agent is known to live.
    pub proof: ProofSettings,
    /// How the agent is woken: the global `[wake]` with this session's own keys over it.
    pub wake: WakeSettings,
}

/// How the daemon knows that the agent lives.
#[derive(Debug, Clone, PartialEq)]
pub enum ProofSettings {
    /// Not at all.
    None,
    /// By this process; above zero.
    Pid(i32),
    /// By the process whose id stands in this file, an absolute path.
    PidFile(PathBuf),
    /// By a command that ends with status 0.
    Exec {
        /// The program, looked up in PATH when it has no slash, and its arguments; never empty.
        command: Vec<String>,
        /// After which it counts as failed, 100 ms to 1 min.
        timeout: Duration,
    },
}

impl Settings {
    /// Files that this process can read only when the service manager hands
    /// them over, which it does at the next start.
    #[must_use]
    pub fn awaits_start(&self) -> Vec<&Path> {
        let sessions = self.agents.sessions.iter();
        let sessions = sessions
            .filter(|session| session.not_handed_over)
            .map(|session| session.credentials.as_path());
        let adapters = self.alert.adapters.iter();
        let alerts = adapters.flat_map(|adapter| adapter.as_adapter().not_handed_over());
        sessions
            .chain(alerts.map(PathBuf::as_path))
            .filter(|path| is_closed(path))
            .collect()
    }
}

/// Whether the file is kept from us; one that is not there yet is not.
pub(crate) fn is_closed(path: &Path) -> bool {
    crate::guarded::open_named(path)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// The dotted keys that differ and that a reload cannot apply.
///
/// Everything else is applied while the daemon runs.
#[must_use]
pub fn restart_keys(old: &Settings, new: &Settings) -> Vec<&'static str> {
    // The store counts, not where its name stands: the same in a file is no change.
    let other_store = old.store.url != new.store.url;
    let from_file = [old, new].iter().any(|s| s.store.url_file.is_some());
    [
        ("role", old.role.name() != new.role.name()),
        ("store.url", other_store && !from_file),
        ("store.url_file", other_store && from_file),
        (
            "store.accepted_schema",
            old.store.accepted_schema != new.store.accepted_schema,
        ),
        // The subscriber is installed once, before anything else runs.
        ("log.level", old.log.level != new.log.level),
        (
            "service.state_file",
            old.service.state_file != new.service.state_file,
        ),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}
