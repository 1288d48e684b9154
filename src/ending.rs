//! What a program that waits ends with: the reader of its standard output, and a process
//! that its caller named.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Pid;
use tokio::sync::oneshot;

/// How often to look where the kernel may tell of nothing by itself.
const LOOK: Duration = Duration::from_secs(1);

/// Which of them went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The other end of standard output: an error on a pipe, a hang-up on a
    /// socket or a terminal. A write would find out with the next message only,
    /// which may never come.
    Reader,
    /// The process.
    Process,
}

/// Reports when one of them goes. A thread of its own asks the kernel, so that it
/// reports at once.
///
/// # Errors
/// If there is no such process now.
pub(crate) fn when_gone(process: Option<i32>) -> io::Result<oneshot::Receiver<Gone>> {
    let process = process.map(Watched::new).transpose()?;
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new()
        .name("ending".into())
        .spawn(move || {
            // The receiver is gone only if the process is about to end.
            let _ = tell.send(wait(process.as_ref()));
        })?;
    Ok(told)
}

fn wait(process: Option<&Watched>) -> Gone {
    let out = std::io::stdout();
    loop {
        let mut polled = vec![PollFd::new(&out, PollFlags::empty())];
        #[cfg(target_os = "linux")]
        polled.extend(process.map(|process| PollFd::new(&process.descriptor, PollFlags::IN)));
        // On Linux both wake it; elsewhere neither is sure to.
        let pause = (!cfg!(target_os = "linux")).then(|| Timespec {
            tv_sec: i64::try_from(LOOK.as_secs()).unwrap_or(1),
            tv_nsec: 0,
        });
        match poll(&mut polled, pause.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            // Nothing tells here: a write will.
            Err(_) => std::thread::park_timeout(LOOK),
        }
        let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        if polled[0].revents().intersects(gone) {
            return Gone::Reader;
        }
        if process.is_some_and(Watched::has_ended) {
            return Gone::Process;
        }
    }
}

/// A process that is watched for its end: through its descriptor where there is
/// one, by its number elsewhere.
struct Watched {
    #[cfg(target_os = "linux")]
    descriptor: rustix::fd::OwnedFd,
    #[cfg(not(target_os = "linux"))]
    pid: Pid,
}

impl Watched {
    fn new(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or(Errno::SRCH);
        Ok(pid.and_then(Self::of)?)
    }

    #[cfg(target_os = "linux")]
    fn of(pid: Pid) -> Result<Self, Errno> {
        use rustix::process::{PidfdFlags, pidfd_open};
        let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { descriptor })
    }

    #[cfg(target_os = "linux")]
    fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    #[cfg(not(target_os = "linux"))]
    fn of(pid: Pid) -> Result<Self, Errno> {
        let watched = Self { pid };
        if watched.has_ended() {
            return Err(Errno::SRCH);
        }
        Ok(watched)
    }

    #[cfg(not(target_os = "linux"))]
    fn has_ended(&self) -> bool {
        rustix::process::test_kill_process(self.pid) == Err(Errno::SRCH)
    }
}
