//! The other side of a reload: asks a running daemon for one and returns when
//! the new settings are in force, or refused.
//!
//! A signal has no answer and service managers differ in whether they wait, so
//! the state file is waited on: it counts the reloads that have begun and says
//! how the last one ended.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::reload::PATIENCE;
use super::state_file::{LastReload, running};

/// Between two looks at the state file.
const LOOK: Duration = Duration::from_millis(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReloadRequestError {
    /// No daemon to ask.
    #[error("no running mcp-bridged writes {}\n  start it, or name the configuration that it was started with; a new service.state_file needs a restart", .0.display())]
    NotRunning(PathBuf),

    /// It is another user's.
    #[error("cannot signal mcp-bridged (pid {pid}): {cause}")]
    NotAsked {
        /// Its process.
        pid: u32,
        /// The system's reason. Part of the message, so not a `source`.
        cause: rustix::io::Errno,
    },

    /// It ended before it answered.
    #[error("mcp-bridged (pid {0}) ended before it had the new settings; see its log")]
    Ended(u32),

    /// It does not say.
    #[error("mcp-bridged (pid {pid}) did not report a result within {}; see its log", humantime::format_duration(*patience))]
    NoAnswer {
        /// Its process.
        pid: u32,
        /// How long was waited.
        patience: Duration,
    },
}

/// Asks the daemon that writes `state` to read its configuration again, and
/// waits until a reload has ended that began after this call did.
///
/// # Errors
/// If no daemon runs there, or it gives no answer. Settings that it refused
/// are an answer.
pub fn request_reload(state: &Path) -> Result<LastReload, ReloadRequestError> {
    let not_running = || ReloadRequestError::NotRunning(state.to_owned());
    let before = running(state).ok_or_else(not_running)?;
    let pid = before.pid;
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let id = id.ok_or_else(not_running)?;
    kill_process(id, Signal::HUP).map_err(|cause| ReloadRequestError::NotAsked { pid, cause })?;
    // A daemon that waits for its duties says so itself, at the latest then.
    let patience = PATIENCE + Duration::from_secs(5);
    let end = Instant::now() + patience;
    loop {
        match running(state) {
            Some(now) if now.pid == pid => {
                let answer = now.last_reload.filter(|last| last.number > before.reloads);
                if let Some(answer) = answer {
                    return Ok(answer);
                }
            }
            _ => return Err(ReloadRequestError::Ended(pid)),
        }
        if Instant::now() >= end {
            return Err(ReloadRequestError::NoAnswer { pid, patience });
        }
        std::thread::park_timeout(LOOK);
    }
}
