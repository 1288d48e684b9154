//! A process and its end: by pidfd on Linux, by asking again and again where there is
//! none. Both watches look the same to the caller.

mod owner;
#[cfg(target_os = "linux")]
mod pidfd;
#[cfg(any(test, not(target_os = "linux")))]
mod polled;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::{Pid, getpgid};
use tokio::sync::Notify;

use crate::model::process::ProcessId;

#[cfg(target_os = "linux")]
use pidfd as system;
#[cfg(not(target_os = "linux"))]
use polled as system;

pub use owner::{is_below, owned};
pub(super) use system::Process;

/// How old the answer may be whether a process is stopped: what follows from it is a
/// matter of minutes, and it costs a file of `/proc`, or a run of ps(1).
const STOPPED_EVERY: Duration = Duration::from_secs(10);

/// Whether this very process still runs on this machine. `false` for a zombie,
/// and for a later process with its number.
#[must_use]
pub fn runs(process: ProcessId) -> bool {
    i32::try_from(process.pid).is_ok_and(|pid| system::runs(pid, process.start))
}

/// Whether this very process is known to have ended: its number is free, or a later
/// process has it. `false` where that is not known, which is not what [`runs`] answers
/// then.
#[must_use]
pub fn has_ended(process: ProcessId) -> bool {
    process.start != 0
        && i32::try_from(process.pid).is_ok_and(|pid| system::has_ended(pid, process.start))
}

/// Whether this very process is stopped by a signal or a debugger.
#[must_use]
pub fn is_stopped(process: ProcessId) -> bool {
    runs(process) && i32::try_from(process.pid).is_ok_and(system::stopped)
}

/// Returns once this process has ended; at once if there is none. One that cannot be
/// watched (another user's, where `/proc` hides those) never ends here.
pub async fn ended(pid: i32) {
    let changed = Arc::new(Notify::new());
    let Ok(process) = Process::watch(pid, Arc::clone(&changed)) else {
        // One that ended and was not waited for keeps its number.
        if !of(pid).map_or_else(|| is_free(pid), has_ended) {
            std::future::pending::<()>().await;
        }
        return;
    };
    while process.is_alive() {
        changed.notified().await;
    }
}

/// This process; nothing where the system does not tell when it began.
#[must_use]
pub fn own() -> Option<ProcessId> {
    of(i32::try_from(std::process::id()).ok()?)
}

/// The process that has this number now.
#[must_use]
pub fn of(pid: i32) -> Option<ProcessId> {
    let start = system::start_of(pid)?;
    Some(ProcessId {
        pid: i64::from(pid),
        start,
    })
}

/// When the process began, where that is known, to a second and by the clock that
/// stamps files.
#[must_use]
pub fn began(process: ProcessId) -> Option<Timestamp> {
    let start = u64::try_from(process.start)
        .ok()
        .filter(|start| *start > 0)?;
    #[cfg(target_os = "linux")]
    {
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let began = Duration::from_millis(start.saturating_mul(1_000) / ticks);
        let booted = Timestamp::from_second(booted()?).ok()?;
        booted.checked_add(began).ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        Timestamp::from_second(i64::try_from(start).ok()?).ok()
    }
}

/// When the machine booted, in seconds by the clock that stamps its files. That is
/// the kernel's own, which no environment variable of ours sets back.
#[cfg(target_os = "linux")]
fn booted() -> Option<i64> {
    // The kernel's own file: no other user can put anything there.
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

/// Whether no process has this number, by the kernel's own word: `/proc` may hide
/// those of other users.
pub(super) fn is_free(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| matches!(getpgid(Some(pid)), Err(Errno::SRCH)))
}
