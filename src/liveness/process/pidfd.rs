//! A process by pidfd: it cannot be mistaken for a later one with its number,
//! and its end is an event.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::STOPPED_EVERY;
use crate::clock;
use crate::model::process::ProcessId;

/// A watched process. Dropping it ends the watch, not the process.
#[derive(Debug)]
pub(in crate::liveness) struct Process {
    descriptor: Arc<AsyncFd<OwnedFd>>,
    #[expect(dead_code, reason = "held for its drop")]
    watch: AbortOnDropHandle<()>,
    id: ProcessId,
    /// Whether it was stopped when that was looked at last, since boot.
    stopped: Mutex<(Duration, bool)>,
}

impl Process {
    /// Watches process `pid`; rings `ended` when it ends.
    pub(in crate::liveness) fn watch(pid: i32, ended: Arc<Notify>) -> Result<Self, String> {
        let id = Pid::from_raw(pid).ok_or_else(|| format!("{pid} is not a process id"))?;
        let descriptor = pidfd_open(id, PidfdFlags::NONBLOCK).map_err(|error| match error {
            Errno::SRCH => format!("there is no process {pid}"),
            rustix::io::Errno::INVAL => format!("{pid} is a thread, not a process"),
            error => format!("process {pid} cannot be watched: {error}"),
        })?;
        #[expect(
            deprecated,
            reason = "unsound for types that may change their descriptor; OwnedFd cannot"
        )]
        let descriptor = AsyncFd::with_interest(descriptor, Interest::READABLE)
            .map_err(|error| format!("process {pid} cannot be watched: {error}"))?;
        let descriptor = Arc::new(descriptor);
        let watched = Arc::clone(&descriptor);
        let watch = tokio::spawn(async move {
            // Readable means ended, for ever; an error is found by the
            // next check.
            if let Ok(guard) = watched.readable().await {
                drop(guard);
            }
            ended.notify_one();
        });
        let process = Self {
            descriptor,
            watch: AbortOnDropHandle::new(watch),
            // While its descriptor shows that it lives, the number is its.
            id: ProcessId {
                pid: i64::from(pid),
                start: stat(pid).map_or(0, |(_, start)| start),
            },
            stopped: Mutex::default(),
        };
        // A zombie has a number and no life.
        if process.is_alive() {
            Ok(process)
        } else {
            Err(format!("process {pid} has ended"))
        }
    }

    pub(in crate::liveness) fn id(&self) -> ProcessId {
        self.id
    }

    /// Whether it is stopped by a signal or a debugger, as it was at most
    /// [`STOPPED_EVERY`] ago: nothing rings for that.
    pub(in crate::liveness) fn is_stopped(&self) -> bool {
        let now = clock::since_boot();
        let mut known = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0.is_zero() || now.saturating_sub(known.0) >= STOPPED_EVERY {
            *known = (now, i32::try_from(self.id.pid).is_ok_and(stopped));
        }
        known.1
    }

    pub(in crate::liveness) fn is_alive(&self) -> bool {
        let mut question = [PollFd::new(self.descriptor.get_ref(), PollFlags::IN)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // Readable means ended. An interrupted question says nothing, and
        // the event comes anyway.
        !matches!(poll(&mut question, Some(&at_once)), Ok(1..))
    }
}

/// Whether the process with this number and this start runs.
pub(super) fn runs(pid: i32, start: i64) -> bool {
    stat(pid).is_some_and(|(state, began)| began == start && !matches!(state, 'Z' | 'X'))
}

pub(super) fn has_ended(pid: i32, start: i64) -> bool {
    match stat(pid) {
        Some((state, began)) => began != start || matches!(state, 'Z' | 'X'),
        None => super::is_free(pid),
    }
}

/// Whether the process with this number is stopped.
pub(super) fn stopped(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| matches!(state, 'T' | 't'))
}

/// When the process with this number began.
pub(super) fn start_of(pid: i32) -> Option<i64> {
    stat(pid).map(|(_, start)| start)
}

/// State of a process, and its start in clock ticks since boot, from proc(5).
fn stat(pid: i32) -> Option<(char, i64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}
