//! A process by pidfd: it cannot be mistaken for a later one with its number,
//! and its end is an event.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Notify;

#[cfg(target_os = "linux")]
pub(super) use linux::Process;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Process;

#[cfg(target_os = "linux")]
mod linux {
    use super::{Arc, Notify, SystemTime};
    use jiff::{SignedDuration, Timestamp};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::os::fd::OwnedFd;
    use std::time::Duration;
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    use tokio_util::task::AbortOnDropHandle;

    use crate::clock;

    /// Clocks of file systems are coarse, and those of file servers are other
    /// clocks.
    const SLACK: SignedDuration = SignedDuration::from_secs(10);

    /// A watched process. Dropping it ends the watch, not the process.
    #[derive(Debug)]
    pub(in super::super) struct Process {
        id: Pid,
        descriptor: Arc<AsyncFd<OwnedFd>>,
        #[expect(dead_code, reason = "held for its drop")]
        watch: AbortOnDropHandle<()>,
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
                id,
                descriptor,
                watch: AbortOnDropHandle::new(watch),
            };
            // A zombie has a number and no life.
            if process.is_alive() {
                Ok(process)
            } else {
                Err(format!("process {pid} has ended"))
            }
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

        /// Whether the process is younger than a file that was written at
        /// `written`: then that file means an earlier one of the same number.
        /// `false` if that cannot be known.
        pub(in super::super) fn started_after(&self, written: SystemTime) -> bool {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id.as_raw_nonzero()));
            let Some(start) = stat.ok().as_deref().and_then(start_of) else {
                return false;
            };
            // The number did not pass on while it was looked up.
            let Ok(written) = Timestamp::try_from(written) else {
                return false;
            };
            self.is_alive() && younger(start, written, clock::now(), clock::since_boot())
        }
    }

    /// When a process started, since boot, from its `/proc/PID/stat`: field 22,
    /// in clock ticks; field 2, the name, may hold anything and ends with the
    /// last parenthesis.
    fn start_of(stat: &str) -> Option<Duration> {
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
        let per_second = rustix::param::clock_ticks_per_second();
        Some(Duration::from_millis(
            ticks.saturating_mul(1000) / per_second.max(1),
        ))
    }

    fn younger(start: Duration, written: Timestamp, now: Timestamp, since_boot: Duration) -> bool {
        let age = SignedDuration::try_from(since_boot.saturating_sub(start));
        age.ok()
            .and_then(|age| now.checked_sub(age).ok())
            .is_some_and(|started| started.duration_since(written) > SLACK)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
            let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1500 9 9";
            let per_second = rustix::param::clock_ticks_per_second();
            assert_eq!(
                start_of(stat),
                Some(Duration::from_millis(1_500_000 / per_second))
            );
            assert_eq!(start_of("7 (a) S 1"), None);
        }

        #[test]
        fn a_process_is_younger_than_a_file_only_beyond_the_slack() {
            let at = |second| Timestamp::from_second(second).expect("a time");
            let seconds = Duration::from_secs;
            // Started 100 s ago, at 900.
            let younger = |written| younger(seconds(50), at(written), at(1000), seconds(150));
            assert!(!younger(900) && !younger(950) && !younger(891));
            assert!(younger(880));
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use super::{Arc, Notify, SystemTime};
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

        pub(in super::super) fn is_alive(&self) -> bool {
            // One of another user is there, too.
            !matches!(test_kill_process(self.0), Err(rustix::io::Errno::SRCH))
        }

        pub(in super::super) fn started_after(&self, _written: SystemTime) -> bool {
            false
        }
    }
}
