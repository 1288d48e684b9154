//! A process by pidfd: it cannot be mistaken for a later one with its number,
//! and its end is an event.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::store::ProcessId;

#[cfg(target_os = "linux")]
pub(super) use linux::Process;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Process;

#[cfg(target_os = "linux")]
mod linux {
    use super::{Arc, Notify, ProcessId, start_of};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::os::fd::OwnedFd;
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    use tokio_util::task::AbortOnDropHandle;

    /// A watched process. Dropping it ends the watch, not the process.
    #[derive(Debug)]
    pub(in super::super) struct Process {
        descriptor: Arc<AsyncFd<OwnedFd>>,
        #[expect(dead_code, reason = "held for its drop")]
        watch: AbortOnDropHandle<()>,
        id: ProcessId,
    }

    impl Process {
        /// Watches process `pid`; rings `ended` when it ends.
        pub(in super::super) fn watch(pid: i32, ended: Arc<Notify>) -> Result<Self, String> {
            let id = Pid::from_raw(pid).ok_or_else(|| format!("{pid} is not a process id"))?;
            let descriptor = pidfd_open(id, PidfdFlags::NONBLOCK).map_err(|error| match error {
                rustix::io::Errno::SRCH => format!("there is no process {pid}"),
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
                    start: start_of(pid).unwrap_or(0),
                },
            };
            // A zombie has a number and no life.
            if process.is_alive() {
                Ok(process)
            } else {
                Err(format!("process {pid} has ended"))
            }
        }

        pub(in super::super) fn id(&self) -> ProcessId {
            self.id
        }

        pub(in super::super) fn is_alive(&self) -> bool {
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
}

/// Whether this very process still runs on this machine. `false` for a zombie,
/// and for a later process with its number.
#[must_use]
pub fn runs(process: ProcessId) -> bool {
    let Ok(pid) = i32::try_from(process.pid) else {
        return false;
    };
    match stat(pid) {
        Some((state, start)) => start == process.start && !matches!(state, 'Z' | 'X'),
        None => false,
    }
}

/// When a process started, in clock ticks since boot.
fn start_of(pid: i32) -> Option<i64> {
    stat(pid).map(|(_, start)| start)
}

/// State and start time of a process, from proc(5).
#[cfg(target_os = "linux")]
fn stat(pid: i32) -> Option<(char, i64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

/// Nobody tells the start there without unsafe code: a number is a process.
#[cfg(not(target_os = "linux"))]
fn stat(pid: i32) -> Option<(char, i64)> {
    let id = rustix::process::Pid::from_raw(pid)?;
    let gone = matches!(
        rustix::process::test_kill_process(id),
        Err(rustix::io::Errno::SRCH)
    );
    (!gone).then_some(('R', 0))
}

#[cfg(not(target_os = "linux"))]
mod other {
    use super::{Arc, Notify, ProcessId, start_of};
    use rustix::process::{Pid, test_kill_process};

    /// A process by its number alone: its end is found at the next check.
    #[derive(Debug)]
    pub(in super::super) struct Process(Pid);

    impl Process {
        pub(in super::super) fn watch(pid: i32, _ended: Arc<Notify>) -> Result<Self, String> {
            let id = Pid::from_raw(pid).ok_or_else(|| format!("{pid} is not a process id"))?;
            let process = Self(id);
            if process.is_alive() {
                Ok(process)
            } else {
                Err(format!("there is no process {pid}"))
            }
        }

        pub(in super::super) fn id(&self) -> ProcessId {
            let pid = self.0.as_raw_nonzero().get();
            ProcessId {
                pid: i64::from(pid),
                start: start_of(pid).unwrap_or(0),
            }
        }

        pub(in super::super) fn is_alive(&self) -> bool {
            // One of another user is there, too.
            !matches!(test_kill_process(self.0), Err(rustix::io::Errno::SRCH))
        }
    }
}
