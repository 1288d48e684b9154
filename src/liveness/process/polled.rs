//! A process by its number, where there is no pidfd: a thread asks for it twice a
//! second. macOS has an event for the end (kqueue's NOTE_EXIT), but only by unsafe
//! code, which this crate forbids. Compiled and tested on Linux, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, getpgid};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use super::STOPPED_EVERY;
use crate::model::process::ProcessId;
use crate::ps;

/// How late an end is noticed at most. A number comes back there only after a hundred
/// thousand others, so no other process has it meanwhile.
const EVERY: Duration = Duration::from_millis(500);

/// A watched process. Dropping it ends the watch, not the process.
#[derive(Debug)]
pub(in crate::liveness) struct Process {
    pid: Pid,
    id: ProcessId,
    /// Once gone it stays gone, also if another process gets the number.
    gone: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    #[expect(dead_code, reason = "held for its drop")]
    watch: AbortOnDropHandle<()>,
}

impl Process {
    /// Watches process `pid`; rings `ended` when it ends.
    pub(in crate::liveness) fn watch(pid: i32, ended: Arc<Notify>) -> Result<Self, String> {
        let number = Pid::from_raw(pid).ok_or_else(|| format!("{pid} is not a process id"))?;
        if !is_there(number) {
            return Err(format!("there is no process {pid}"));
        }
        let start = ps::start(pid).unwrap_or(0);
        let gone = Arc::new(AtomicBool::new(false));
        let stopped = Arc::new(AtomicBool::new(false));
        let (seen, halted) = (Arc::clone(&gone), Arc::clone(&stopped));
        let watch = tokio::spawn(async move {
            let mut look = interval(EVERY);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut asked: Option<Instant> = None;
            while !seen.load(Ordering::Acquire) && is_there(number) {
                if asked.is_none_or(|then| then.elapsed() >= STOPPED_EVERY) {
                    asked = Some(Instant::now());
                    let answer = tokio::task::spawn_blocking(move || ps::is_stopped(pid)).await;
                    halted.store(answer.unwrap_or(false), Ordering::Release);
                }
                look.tick().await;
            }
            seen.store(true, Ordering::Release);
            ended.notify_one();
        });
        Ok(Self {
            pid: number,
            id: ProcessId {
                pid: i64::from(pid),
                start,
            },
            gone,
            stopped,
            watch: AbortOnDropHandle::new(watch),
        })
    }

    pub(in crate::liveness) fn id(&self) -> ProcessId {
        self.id
    }

    /// Whether it was stopped when ps(1) was asked last.
    pub(in crate::liveness) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(in crate::liveness) fn is_alive(&self) -> bool {
        if !self.gone.load(Ordering::Acquire) && !is_there(self.pid) {
            self.gone.store(true, Ordering::Release);
        }
        !self.gone.load(Ordering::Acquire)
    }
}

/// Whether the process with this number and this start runs. Where the start is not
/// known, the number is the process.
pub(super) fn runs(pid: i32, start: i64) -> bool {
    Pid::from_raw(pid).is_some_and(is_there)
        && (start == 0 || ps::start(pid).is_none_or(|began| began == start))
}

/// A second to and fro is no other start: some systems derive it anew each time.
pub(super) fn has_ended(pid: i32, start: i64) -> bool {
    let other = |began: i64| began.abs_diff(start) > 1;
    Pid::from_raw(pid).is_some_and(|at| !is_there(at) || ps::start(pid).is_some_and(other))
}

/// Whether the process with this number is stopped.
#[cfg(not(target_os = "linux"))]
pub(super) fn stopped(pid: i32) -> bool {
    ps::is_stopped(pid)
}

/// When the process with this number began.
#[cfg(not(target_os = "linux"))]
pub(super) fn start_of(pid: i32) -> Option<i64> {
    ps::start(pid)
}

/// Whether there is a process of this number, of any user.
fn is_there(pid: Pid) -> bool {
    !matches!(getpgid(Some(pid)), Err(Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use tokio::time::timeout;

    use super::*;

    fn agent() -> (Child, i32) {
        let child = Command::new("sleep").arg("1000").spawn().expect("sleep");
        let pid = i32::try_from(child.id()).expect("a process id");
        (child, pid)
    }

    fn end(mut child: Child) {
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    #[tokio::test]
    async fn an_end_rings() {
        let (child, pid) = agent();
        let ended = Arc::new(Notify::new());
        let process = Process::watch(pid, Arc::clone(&ended)).expect("watched");
        assert!(process.is_alive());
        timeout(2 * EVERY, ended.notified())
            .await
            .expect_err("rung while it lives");
        end(child);
        timeout(Duration::from_secs(20), ended.notified())
            .await
            .expect("rung");
        assert!(!process.is_alive());
    }

    #[tokio::test]
    async fn end_that_a_check_finds_first_rings_too() {
        let (child, pid) = agent();
        let ended = Arc::new(Notify::new());
        let process = Process::watch(pid, Arc::clone(&ended)).expect("watched");
        end(child);
        assert!(!process.is_alive(), "found without waiting for the watch");
        timeout(Duration::from_secs(20), ended.notified())
            .await
            .expect("rung");
    }

    #[tokio::test]
    async fn next_process_of_a_number_is_another() {
        let (child, pid) = agent();
        let mut process = Process::watch(pid, Arc::default()).expect("watched");
        end(child);
        assert!(!process.is_alive());
        // A number that is in use: our own.
        process.pid = rustix::process::getpid();
        assert!(!process.is_alive());
    }

    #[tokio::test]
    async fn ps_recognises_a_stopped_process() {
        let (child, pid) = agent();
        let number = Pid::from_child(&child);
        rustix::process::kill_process(number, rustix::process::Signal::STOP).expect("stopped");
        let process = Process::watch(pid, Arc::default()).expect("watched");
        timeout(Duration::from_secs(60), async {
            let mut look = interval(Duration::from_millis(20));
            while !process.is_stopped() {
                look.tick().await;
            }
        })
        .await
        .expect("told");
        end(child);
    }

    #[tokio::test]
    async fn absent_process_is_not_watched() {
        let (child, pid) = agent();
        end(child);
        let why = Process::watch(pid, Arc::default()).expect_err("refused");
        assert_eq!(why, format!("there is no process {pid}"));
        assert!(Process::watch(0, Arc::default()).is_err());
    }

    #[tokio::test]
    async fn start_tells_two_processes_of_one_number_apart() {
        let (child, pid) = agent();
        let id = Process::watch(pid, Arc::default()).expect("watched").id();
        assert_eq!(id.pid, i64::from(pid));
        assert_ne!(id.start, 0, "ps told");
        // A second to and fro: Linux's ps derives it from the time since boot.
        assert!((-1..=1).any(|off| runs(pid, id.start + off)));
        assert!(!runs(pid, id.start - 60));
        assert!(runs(pid, 0), "where it is not known");
        assert!(has_ended(pid, id.start - 60) && !has_ended(pid, id.start));
        end(child);
        assert!(!runs(pid, id.start) && !runs(pid, 0));
        assert!(has_ended(pid, id.start));
    }
}
