//! Whose a process is, and which process started it.

use rustix::process::Pid;

use crate::model::process::ProcessId;

/// Started by one another: more than any client has.
const DEPTH: usize = 64;

/// Whether this very process runs and is this user's own.
///
/// # Errors
/// Why not, in plain words.
pub fn owned(process: ProcessId, uid: u32) -> Result<(), String> {
    let ProcessId { pid, start } = process;
    let number = i32::try_from(pid).ok().filter(|pid| *pid > 0);
    let number = number.ok_or_else(|| format!("{pid} is not a process id"))?;
    let held = Held::take(number)?;
    match super::of(number) {
        Some(found) if found.start == start && start != 0 => {}
        Some(_) => return Err(format!("process {pid} is another process than expected")),
        None => return Err(format!("process {pid} cannot be seen")),
    }
    let owner = owner(number);
    // All of that was said of one process only if it has not ended meanwhile.
    if !held.is_alive() {
        return Err(format!("process {pid} has ended"));
    }
    match owner {
        Some(owner) if owner == uid => Ok(()),
        Some(_) => Err(format!("process {pid} does not belong to user {uid}")),
        None => Err(format!("the owner of process {pid} is unknown")),
    }
}

/// Whether `ancestor` started this process, or one that did. Both run.
#[must_use]
pub fn is_below(process: ProcessId, ancestor: ProcessId) -> bool {
    let mut pid = i32::try_from(process.pid).ok();
    for _ in 0..DEPTH {
        pid = pid.and_then(parent).filter(|pid| *pid > 0);
        match pid {
            Some(pid) if i64::from(pid) == ancestor.pid => return super::runs(ancestor),
            Some(_) => {}
            None => return false,
        }
    }
    false
}

/// A process whose number is no other's as long as this says that it lives.
struct Held(#[cfg(target_os = "linux")] std::os::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl Held {
    fn take(pid: i32) -> Result<Self, String> {
        use rustix::process::{PidfdFlags, pidfd_open};
        let number = Pid::from_raw(pid).ok_or_else(|| format!("{pid} is not a process id"))?;
        let held = pidfd_open(number, PidfdFlags::empty());
        held.map(Self)
            .map_err(|error| format!("process {pid} cannot be read: {error}"))
    }

    fn is_alive(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut question = [PollFd::new(&self.0, PollFlags::IN)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // Readable means ended.
        matches!(poll(&mut question, Some(&at_once)), Ok(0))
    }
}

/// A number comes back there only after a hundred thousand others.
#[cfg(not(target_os = "linux"))]
impl Held {
    fn take(pid: i32) -> Result<Self, String> {
        match Pid::from_raw(pid) {
            Some(_) if !super::is_free(pid) => Ok(Self()),
            _ => Err(format!("there is no process {pid}")),
        }
    }

    #[expect(clippy::unused_self, reason = "as where there are descriptors")]
    fn is_alive(&self) -> bool {
        true
    }
}

/// The user whose rights the process has, if it has those of one alone.
#[cfg(target_os = "linux")]
fn owner(pid: i32) -> Option<u32> {
    let line = status(pid, "Uid:")?;
    let mut users = line.split_whitespace().map(str::parse);
    let (real, effective) = (users.next()?.ok()?, users.next()?.ok()?);
    (real == effective).then_some(real)
}

#[cfg(target_os = "linux")]
fn parent(pid: i32) -> Option<i32> {
    status(pid, "PPid:")?.trim().parse().ok()
}

/// A line of what the kernel says of a process. Its name, which the process chooses, is
/// escaped there, and so never a line.
#[cfg(target_os = "linux")]
fn status(pid: i32, line: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let found = text.lines().find_map(|found| found.strip_prefix(line));
    found.map(str::to_owned)
}

#[cfg(not(target_os = "linux"))]
use crate::ps::{owner, parent};

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::liveness;

    fn sleep(command: &mut Command) -> (Child, ProcessId) {
        let child = command.stdin(Stdio::null()).spawn().expect("started");
        let pid = i32::try_from(child.id()).expect("a process id");
        (child, liveness::of(pid).expect("a process"))
    }

    fn end(mut child: Child) {
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    fn own() -> ProcessId {
        liveness::own().expect("a process")
    }

    fn uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn a_process_is_its_users() {
        let (child, process) = sleep(Command::new("sleep").arg("1000"));
        assert_eq!(owned(process, uid()), Ok(()));
        let why = owned(process, uid() + 1).expect_err("another user's");
        assert!(why.contains("does not belong to user"), "{why}");
        let later = ProcessId {
            start: process.start + 1,
            ..process
        };
        let why = owned(later, uid()).expect_err("a reused number");
        assert!(why.contains("another process"), "{why}");
        end(child);
        assert!(owned(process, uid()).is_err(), "it has ended");
        for pid in [0, -1, i64::MAX] {
            let none = ProcessId { pid, start: 1 };
            assert!(owned(none, uid()).is_err(), "{pid}");
        }
    }

    #[test]
    fn a_process_is_below_those_that_started_it() {
        let (child, process) = sleep(Command::new("sleep").arg("1000"));
        assert!(is_below(process, own()));
        assert!(!is_below(own(), process) && !is_below(process, process));
        let earlier = ProcessId {
            start: own().start - 1,
            ..own()
        };
        assert!(!is_below(process, earlier), "its number was another's");
        end(child);
    }
}
