//! What ps(1) knows of a process, where there is no /proc. It takes some
//! milliseconds: for a process that is met for the first time, not for a loop.
//! Compiled and tested on Linux, too.

use std::process::{Command, Stdio};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// When it started, in seconds since 1970. `None` where ps(1) does not say: a missing
/// ps(1) must not make one process look like another.
pub(crate) fn start(pid: i32) -> Option<i64> {
    seconds(&ask(pid, "lstart=")?)
}

/// The name of its program, without directories.
pub(crate) fn program(pid: i32) -> Option<String> {
    let path = ask(pid, "comm=")?;
    Some(path.rsplit('/').next().unwrap_or_default().to_owned())
}

/// Whether it is stopped by a signal: `T` is what every ps(1) says then.
pub(crate) fn is_stopped(pid: i32) -> bool {
    ask(pid, "state=").is_some_and(|state| state.starts_with(['T', 't']))
}

/// The user whose rights it has, if it has those of one alone.
#[cfg_attr(
    all(target_os = "linux", not(test)),
    expect(dead_code, reason = "/proc tells there")
)]
pub(crate) fn owner(pid: i32) -> Option<u32> {
    let users = ask(pid, "ruid=,uid=")?;
    let mut users = users.split_whitespace().map(str::parse);
    let (real, effective) = (users.next()?.ok()?, users.next()?.ok()?);
    (real == effective).then_some(real)
}

/// The process that started it.
#[cfg_attr(
    all(target_os = "linux", not(test)),
    expect(dead_code, reason = "/proc tells there")
)]
pub(crate) fn parent(pid: i32) -> Option<i32> {
    ask(pid, "ppid=")?.parse().ok()
}

fn ask(pid: i32, column: &str) -> Option<String> {
    let output = Command::new("/bin/ps")
        .args(["-o", column, "-p"])
        .arg(pid.to_string())
        .env_clear()
        // Its times are the reader's, in words.
        .envs([("LC_ALL", "C"), ("TZ", "UTC")])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// `Mon Nov  9 20:34:12 2026`, as ps(1) writes it in the C locale.
fn seconds(text: &str) -> Option<i64> {
    let time = DateTime::strptime("%a %b %e %H:%M:%S %Y", text).ok()?;
    let zoned = time.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_start_is_read_as_ps_writes_it() {
        assert_eq!(seconds("Mon Nov 23 20:34:12 2026"), Some(1_795_466_052));
        assert_eq!(seconds("Mon Nov  9 00:00:00 2026"), Some(1_794_182_400));
        assert_eq!(seconds("Thu Jan  1 00:00:01 1970"), Some(1));
        for other in ["", "STARTED", "Mo 9 Nov 00:00:00 2026"] {
            assert_eq!(seconds(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_process_has_a_start_and_a_program() {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("sleep");
        let pid = i32::try_from(child.id()).expect("a process id");
        let (started, program) = (start(pid), program(pid));
        let (owner, parent) = (owner(pid), parent(pid));
        let now = clock::now().as_second();
        child.kill().expect("killed");
        child.wait().expect("ended");
        let started = started.expect("ps(1)");
        assert!((now - 60..=now + 2).contains(&started), "{started} {now}");
        assert_eq!(program.as_deref(), Some("sleep"));
        assert_eq!(owner, Some(rustix::process::geteuid().as_raw()));
        let own = i32::try_from(std::process::id()).expect("a process id");
        assert_eq!(parent, Some(own));
        assert_eq!(start(pid), None);
    }
}
